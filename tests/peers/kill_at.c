/* Kills the process before its nth change of a name: rename, unlink, unlinkat, rmdir, mkdir. For LD_PRELOAD; n is in
 * KILL_AT. What has happened by then is what a power cut at that moment would leave, on a disk that keeps the order. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_int changes;

static void step(void) {
    const char *at = getenv("KILL_AT");
    if (at && atomic_fetch_add(&changes, 1) + 1 == atoi(at)) {
        kill(getpid(), SIGKILL);
    }
}

#define NEXT(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

int rename(const char *from, const char *to) {
    step();
    return NEXT(rename)(from, to);
}

int unlink(const char *path) {
    step();
    return NEXT(unlink)(path);
}

int unlinkat(int dir, const char *path, int flags) {
    step();
    return NEXT(unlinkat)(dir, path, flags);
}

int rmdir(const char *path) {
    step();
    return NEXT(rmdir)(path);
}

int mkdir(const char *path, mode_t mode) {
    step();
    return NEXT(mkdir)(path, mode);
}
