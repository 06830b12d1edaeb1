/*
 * Records, in one order, whatever a process does to the files below a directory: for LD_PRELOAD, Linux, 64 bits.
 *
 *   RECORD_DIR   the directory, absolute
 *   RECORD_LOG   where the record goes
 *
 * One lock is held over each call and its record, so the record's order is the order in which the kernel saw them. A call that
 * failed is not recorded; a sync is recorded when it has succeeded. The log is a sequence of
 *
 *   u8 kind, u64 inode, u64 a, u32 length of the path, u32 length of the data, path, data     (little endian)
 *
 *   'o' opened (a: 1 it was made, 2 it was cut to nothing, 4 it is a directory; path)   'w' written (a: offset; data)
 *   't' cut or grown (a: size)      'g' room was made (a: new least size)               's' synced
 *   'r' renamed (path, data: the new path)    'u' unlinked (path)    'm' directory made (path)
 *
 * A file without a name (O_TMPFILE) is refused, as some file systems do: no power cut can leave one, but what whoever is
 * refused does instead leaves names.
 *
 * What it does not see (a write through a mapping, a copy in the kernel) is found by whoever compares the replayed record
 * with the directory.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *dir;
static size_t dir_len;
static int out = -1;

enum { MOST_FDS = 4096 };
static uint64_t inode_of[MOST_FDS]; /* 0: not below the directory */

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("RECORD_LOG");
    dir = getenv("RECORD_DIR");
    if (!dir || !log) { dir = NULL; return; }
    dir_len = strlen(dir);
    out = REAL(open)(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0) abort();
}

static void put(const void *bytes, size_t len) {
    const char *at = bytes;
    while (len > 0) {
        ssize_t n = REAL(write)(out, at, len);
        if (n <= 0) abort();
        at += n;
        len -= (size_t)n;
    }
}

static void note(char kind, uint64_t inode, uint64_t a, const void *path, size_t path_len, const void *data, size_t len) {
    unsigned char head[25];
    uint32_t lens[2] = { (uint32_t)path_len, (uint32_t)len };
    head[0] = (unsigned char)kind;
    memcpy(head + 1, &inode, 8);
    memcpy(head + 9, &a, 8);
    memcpy(head + 17, lens, 8);
    put(head, sizeof head);
    put(path, path_len);
    put(data, len);
}

static int ours(const char *path) {
    return dir && path && strncmp(path, dir, dir_len) == 0 && (path[dir_len] == '/' || path[dir_len] == 0);
}

static uint64_t inode(int fd) { return fd >= 0 && fd < MOST_FDS ? inode_of[fd] : 0; }

/* Calls are let through as they are where nothing is recorded. */
#define ENTER() int saved_; pthread_mutex_lock(&lock)
#define LEAVE() saved_ = errno; pthread_mutex_unlock(&lock); errno = saved_

static int opened(int at, const char *path, int flags, mode_t mode) {
    ENTER();
    struct stat st;
    if (ours(path) && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        LEAVE();
        return -1;
    }
    int exists = ours(path) && stat(path, &st) == 0;
    int fd = REAL(openat)(at, path, flags, mode);
    if (fd >= 0 && fd < MOST_FDS && ours(path) && fstat(fd, &st) == 0) {
        inode_of[fd] = st.st_ino;
        uint64_t how = (exists ? 0 : 1) | (flags & O_TRUNC ? 2 : 0) | (S_ISDIR(st.st_mode) ? 4 : 0);
        note('o', st.st_ino, how, path, strlen(path), "", 0);
    }
    LEAVE();
    return fd;
}

#define MODE(last) mode_t mode = 0; \
    if (flags & O_CREAT) { va_list ap; va_start(ap, last); mode = va_arg(ap, mode_t); va_end(ap); }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

int close(int fd) {
    ENTER();
    if (fd >= 0 && fd < MOST_FDS) inode_of[fd] = 0;
    int result = REAL(close)(fd);
    LEAVE();
    return result;
}

ssize_t write(int fd, const void *data, size_t len) {
    if (!inode(fd)) return REAL(write)(fd, data, len);
    ENTER();
    ssize_t n = REAL(write)(fd, data, len);
    /* Also right with O_APPEND: behind what was written is the end. */
    if (n > 0) note('w', inode(fd), (uint64_t)lseek(fd, 0, SEEK_CUR) - (uint64_t)n, "", 0, data, (size_t)n);
    LEAVE();
    return n;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset) {
    if (!inode(fd)) return REAL(pwrite64)(fd, data, len, offset);
    ENTER();
    ssize_t n = REAL(pwrite64)(fd, data, len, offset);
    if (n > 0) note('w', inode(fd), (uint64_t)offset, "", 0, data, (size_t)n);
    LEAVE();
    return n;
}
ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) { return pwrite64(fd, data, len, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!inode(fd)) return REAL(writev)(fd, parts, count);
    /* A short result is allowed, and whoever writes goes on behind it. */
    return count > 0 ? write(fd, parts[0].iov_base, parts[0].iov_len) : 0;
}

int ftruncate64(int fd, off64_t size) {
    ENTER();
    int result = REAL(ftruncate64)(fd, size);
    if (result == 0 && inode(fd)) note('t', inode(fd), (uint64_t)size, "", 0, "", 0);
    LEAVE();
    return result;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int room(int fd, off64_t offset, off64_t len, int result) {
    if (result == 0 && inode(fd)) note('g', inode(fd), (uint64_t)(offset + len), "", 0, "", 0);
    return result;
}
int fallocate64(int fd, int mode, off64_t offset, off64_t len) {
    ENTER();
    int result = REAL(fallocate64)(fd, mode, offset, len);
    if (mode == 0) room(fd, offset, len, result);
    LEAVE();
    return result;
}
int fallocate(int fd, int mode, off_t offset, off_t len) { return fallocate64(fd, mode, offset, len); }
int posix_fallocate64(int fd, off64_t offset, off64_t len) {
    ENTER();
    int result = room(fd, offset, len, REAL(posix_fallocate64)(fd, offset, len));
    LEAVE();
    return result;
}
int posix_fallocate(int fd, off_t offset, off_t len) { return posix_fallocate64(fd, offset, len); }

static int synced(int fd, int result) {
    if (result == 0 && inode(fd)) note('s', inode(fd), 0, "", 0, "", 0);
    return result;
}
int fsync(int fd) {
    ENTER();
    int result = synced(fd, REAL(fsync)(fd));
    LEAVE();
    return result;
}
int fdatasync(int fd) {
    ENTER();
    int result = synced(fd, REAL(fdatasync)(fd));
    LEAVE();
    return result;
}

int rename(const char *from, const char *to) {
    ENTER();
    int result = REAL(rename)(from, to);
    if (result == 0 && ours(from)) note('r', 0, 0, from, strlen(from), to, strlen(to));
    LEAVE();
    return result;
}

int unlink(const char *path) {
    ENTER();
    int result = REAL(unlink)(path);
    if (result == 0 && ours(path)) note('u', 0, 0, path, strlen(path), "", 0);
    LEAVE();
    return result;
}

int mkdir(const char *path, mode_t mode) {
    ENTER();
    int result = REAL(mkdir)(path, mode);
    if (result == 0 && ours(path)) note('m', 0, 0, path, strlen(path), "", 0);
    LEAVE();
    return result;
}
