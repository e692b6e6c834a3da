/* A library to preload: some reads and writes of files below FAULT_ROOT fail with EIO.
 *
 * FAULT_RATE is how many of a million calls fail, FAULT_SEED starts the random numbers. Built and used by
 * batches.py:  gcc -shared -fPIC -O1 -o eio.so eio.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static __thread unsigned int state;

static int fails(int fd) {
    const char *root = getenv("FAULT_ROOT"), *rate = getenv("FAULT_RATE");
    char link[64], path[PATH_MAX];
    if (!root || !rate || fd < 3) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, root, strlen(root)) != 0) return 0;
    if (!state) {
        const char *seed = getenv("FAULT_SEED");
        state = (unsigned)getpid() * 2654435761u + (seed ? (unsigned)atoi(seed) : 0) + (unsigned)(size_t)&state;
    }
    if (rand_r(&state) % 1000000 >= atoi(rate)) return 0;
    errno = EIO;
    return 1;
}

#define NEXT(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

ssize_t read(int fd, void *data, size_t count) { return fails(fd) ? -1 : NEXT(read)(fd, data, count); }
ssize_t write(int fd, const void *data, size_t count) { return fails(fd) ? -1 : NEXT(write)(fd, data, count); }
ssize_t pread64(int fd, void *data, size_t count, off64_t at) { return fails(fd) ? -1 : NEXT(pread64)(fd, data, count, at); }
ssize_t pread(int fd, void *data, size_t count, off_t at) { return fails(fd) ? -1 : NEXT(pread)(fd, data, count, at); }
ssize_t preadv64(int fd, const struct iovec *v, int n, off64_t at) { return fails(fd) ? -1 : NEXT(preadv64)(fd, v, n, at); }
ssize_t preadv64v2(int fd, const struct iovec *v, int n, off64_t at, int flags) {
    return fails(fd) ? -1 : NEXT(preadv64v2)(fd, v, n, at, flags);
}
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) { return fails(fd) ? -1 : NEXT(pwrite64)(fd, data, count, at); }
ssize_t pwrite(int fd, const void *data, size_t count, off_t at) { return fails(fd) ? -1 : NEXT(pwrite)(fd, data, count, at); }
int fsync(int fd) { return fails(fd) ? -1 : NEXT(fsync)(fd); }
