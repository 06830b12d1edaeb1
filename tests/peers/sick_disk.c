/*
 * A sick disk: makes calls of a process on files below a directory fail. For LD_PRELOAD, Linux, 64 bits.
 *
 *   SICK_DIR     the directory, absolute
 *   SICK_PLAN    faults, each "calls errno skip most from until file", separated by ';':
 *                  calls  which ones, the sum of the numbers below       errno  what they fail with; -1: they hang until the
 *                                                                               disk is healed, and then succeed
 *                  skip   let this many through first                      most   then fail this many (0: all)
 *                  from, until  milliseconds after the start of the process (until 0: for ever)
 *                  file   what the path must contain, '*' for anything
 *   SICK_HEALED  once this file exists nothing fails any more
 *   SICK_LOG     what failed, a line each
 *
 * A write that fails for want of room has written its first half, as on a disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPEN = 1, MAKE = 2, READ = 4, WRITE = 8, SYNC = 16, SIZE = 32, RENAME = 64, UNLINK = 128, MKDIR = 256, MAP = 512 };
enum { MOST_FDS = 1024, MOST_FAULTS = 16, LONGEST = 256 };

struct fault {
    int calls, error;
    long skip, most, from, until;
    char file[64];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *dir, *healed;
static size_t dir_len;
static int out = -1, is_healed;
static struct timespec start;
static struct fault faults[MOST_FAULTS];
static int count;
static char path_of[MOST_FDS][LONGEST]; /* empty: not below the directory */

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *plan = getenv("SICK_PLAN"), *log = getenv("SICK_LOG");
    dir = getenv("SICK_DIR");
    healed = getenv("SICK_HEALED");
    if (!dir || !plan || !healed || !log) { dir = NULL; return; }
    dir_len = strlen(dir);
    clock_gettime(CLOCK_MONOTONIC, &start);
    out = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    for (int len = 0; *plan; plan += len + (plan[len] == ';')) {
        struct fault *f = &faults[count++];
        int words = sscanf(plan, "%d %d %ld %ld %ld %ld %63[^;]%n", &f->calls, &f->error, &f->skip, &f->most, &f->from,
                           &f->until, f->file, &len);
        if (words != 7 || count == MOST_FAULTS) abort();
    }
}

static int ours(const char *path) {
    return dir && path && strncmp(path, dir, dir_len) == 0 && (path[dir_len] == '/' || path[dir_len] == 0);
}

static const char *path(int fd) { return fd >= 0 && fd < MOST_FDS && path_of[fd][0] ? path_of[fd] : NULL; }

/* What a call fails with; 0: it does not. */
static int error_of(int call, const char *name, const char *at) {
    if (!ours(at) || is_healed) return 0;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long ms = (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
    int error = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < count && !error; i++) {
        struct fault *f = &faults[i];
        if (!(f->calls & call) || ms < f->from || (f->until && ms >= f->until)) continue;
        if (f->file[0] != '*' && !strstr(at + dir_len, f->file)) continue;
        if (f->skip > 0) { f->skip--; continue; }
        if (f->most < 0) continue;
        /* -1: used up. 0 is no end. */
        if (f->most > 0 && --f->most == 0) f->most = -1;
        error = f->error;
    }
    if (error && access(healed, F_OK) == 0) { is_healed = 1; error = 0; }
    pthread_mutex_unlock(&lock);
    if (error < 0) {
        dprintf(out, "%ld ms: %s %s hangs\n", ms, name, at + dir_len);
        while (access(healed, F_OK) != 0) usleep(10000);
        return 0;
    }
    if (error) dprintf(out, "%ld ms: %s %s: %s\n", ms, name, at + dir_len, strerror(error));
    return error;
}

#define FAIL(call, name, at, result) \
    do { int error_ = error_of(call, name, at); if (error_) { errno = error_; return result; } } while (0)

static int opened(int at, const char *file, int flags, mode_t mode) {
    if (ours(file)) {
        FAIL(OPEN, "open", file, -1);
        if ((flags & O_ACCMODE) != O_RDONLY) FAIL(MAKE, "open to write", file, -1);
    }
    int fd = REAL(openat)(at, file, flags, mode);
    if (fd >= 0 && fd < MOST_FDS) {
        if (ours(file)) strncpy(path_of[fd], file, LONGEST - 1);
        else path_of[fd][0] = 0;
    }
    return fd;
}

#define MODE(last) mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { va_list ap; va_start(ap, last); mode = va_arg(ap, mode_t); va_end(ap); }

int open(const char *file, int flags, ...) { MODE(flags) return opened(AT_FDCWD, file, flags, mode); }
int open64(const char *file, int flags, ...) { MODE(flags) return opened(AT_FDCWD, file, flags, mode); }
int openat(int at, const char *file, int flags, ...) { MODE(flags) return opened(at, file, flags, mode); }
int openat64(int at, const char *file, int flags, ...) { MODE(flags) return opened(at, file, flags, mode); }
int creat(const char *file, mode_t mode) { return opened(AT_FDCWD, file, O_WRONLY | O_CREAT | O_TRUNC, mode); }

int close(int fd) {
    if (fd >= 0 && fd < MOST_FDS) path_of[fd][0] = 0;
    return REAL(close)(fd);
}

ssize_t read(int fd, void *data, size_t len) {
    if (path(fd)) FAIL(READ, "read", path(fd), -1);
    return REAL(read)(fd, data, len);
}
ssize_t pread64(int fd, void *data, size_t len, off64_t offset) {
    if (path(fd)) FAIL(READ, "read", path(fd), -1);
    return REAL(pread64)(fd, data, len, offset);
}
ssize_t pread(int fd, void *data, size_t len, off_t offset) { return pread64(fd, data, len, offset); }
ssize_t readv(int fd, const struct iovec *parts, int number) {
    if (path(fd)) FAIL(READ, "read", path(fd), -1);
    return REAL(readv)(fd, parts, number);
}

/* How much of a write is done: all, half of it, or nothing. */
static ssize_t room(int fd, size_t len) {
    if (!path(fd)) return (ssize_t)len;
    int error = error_of(WRITE, "write", path(fd));
    if (!error) return (ssize_t)len;
    errno = error;
    return error == ENOSPC && len > 1 ? (ssize_t)(len / 2) : -1;
}
ssize_t write(int fd, const void *data, size_t len) {
    ssize_t part = room(fd, len);
    return part < 0 ? -1 : REAL(write)(fd, data, (size_t)part);
}
ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset) {
    ssize_t part = room(fd, len);
    return part < 0 ? -1 : REAL(pwrite64)(fd, data, (size_t)part, offset);
}
ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) { return pwrite64(fd, data, len, offset); }
ssize_t writev(int fd, const struct iovec *parts, int number) {
    if (!path(fd)) return REAL(writev)(fd, parts, number);
    /* A short result is allowed, and the caller goes on behind it. */
    return number > 0 ? write(fd, parts[0].iov_base, parts[0].iov_len) : 0;
}

int fsync(int fd) {
    if (path(fd)) FAIL(SYNC, "fsync", path(fd), -1);
    return REAL(fsync)(fd);
}
int fdatasync(int fd) {
    if (path(fd)) FAIL(SYNC, "fdatasync", path(fd), -1);
    return REAL(fdatasync)(fd);
}

int ftruncate64(int fd, off64_t size) {
    if (path(fd)) FAIL(SIZE, "ftruncate", path(fd), -1);
    return REAL(ftruncate64)(fd, size);
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
int fallocate64(int fd, int mode, off64_t offset, off64_t len) {
    if (path(fd)) FAIL(SIZE, "fallocate", path(fd), -1);
    return REAL(fallocate64)(fd, mode, offset, len);
}
int fallocate(int fd, int mode, off_t offset, off_t len) { return fallocate64(fd, mode, offset, len); }
int posix_fallocate64(int fd, off64_t offset, off64_t len) {
    /* It returns its error. */
    int error = path(fd) ? error_of(SIZE, "posix_fallocate", path(fd)) : 0;
    return error ? error : REAL(posix_fallocate64)(fd, offset, len);
}
int posix_fallocate(int fd, off_t offset, off_t len) { return posix_fallocate64(fd, offset, len); }

void *mmap64(void *at, size_t len, int protection, int flags, int fd, off64_t offset) {
    if (path(fd)) FAIL(MAP, "mmap", path(fd), MAP_FAILED);
    return REAL(mmap64)(at, len, protection, flags, fd, offset);
}
void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset) {
    return mmap64(at, len, protection, flags, fd, offset);
}

int rename(const char *from, const char *to) {
    FAIL(RENAME, "rename", from, -1);
    return REAL(rename)(from, to);
}
int unlink(const char *file) {
    FAIL(UNLINK, "unlink", file, -1);
    return REAL(unlink)(file);
}
int mkdir(const char *file, mode_t mode) {
    FAIL(MKDIR, "mkdir", file, -1);
    return REAL(mkdir)(file, mode);
}
