/* Faults of a disk, injected where the program meets the system. Loaded into the agent with LD_PRELOAD; only files under
 * $STRONGROOM_SHIM_FOLDER are touched. $STRONGROOM_SHIM_CONTROL names a file with one line, read anew at every call:
 *
 *   ok                  nothing
 *   write ERRNO         writes and truncations fail with this number
 *   fsync ERRNO         syncs fail with this number
 *   slow MICROSECONDS   syncs take this much longer
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

/* Reads the control line with bare system calls: the wrappers below must not see them. */
static int fault(const char *kind, long *number) {
    const char *path = getenv("STRONGROOM_SHIM_CONTROL");
    char line[64] = {0}, word[16] = {0};
    if (!path) return 0;
    int control = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (control < 0) return 0;
    long count = syscall(SYS_read, control, line, sizeof line - 1);
    syscall(SYS_close, control);
    return count > 0 && sscanf(line, "%15s %ld", word, number) == 2 && strcmp(word, kind) == 0;
}

static int ours(int file) {
    const char *folder = getenv("STRONGROOM_SHIM_FOLDER");
    char link[64], path[4096];
    if (!folder) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    long count = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (count <= 0) return 0;
    path[count] = 0;
    return strncmp(path, folder, strlen(folder)) == 0;
}

static int writing_fails(int file) {
    int before = errno;
    long number;
    if (ours(file) && fault("write", &number)) {
        errno = (int)number;
        return 1;
    }
    errno = before;
    return 0;
}

static int syncing_fails(int file) {
    int before = errno;
    long number;
    if (ours(file)) {
        if (fault("fsync", &number)) {
            errno = (int)number;
            return 1;
        }
        if (fault("slow", &number)) usleep((useconds_t)number);
    }
    errno = before;
    return 0;
}

ssize_t write(int file, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = next("write");
    return writing_fails(file) ? -1 : real(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t place) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = next("pwrite");
    return writing_fails(file) ? -1 : real(file, bytes, count, place);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t place) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = next("pwrite64");
    return writing_fails(file) ? -1 : real(file, bytes, count, place);
}

int ftruncate(int file, off_t length) {
    static int (*real)(int, off_t);
    if (!real) real = next("ftruncate");
    return writing_fails(file) ? -1 : real(file, length);
}

int ftruncate64(int file, off64_t length) {
    static int (*real)(int, off64_t);
    if (!real) real = next("ftruncate64");
    return writing_fails(file) ? -1 : real(file, length);
}

int fsync(int file) {
    static int (*real)(int);
    if (!real) real = next("fsync");
    return syncing_fails(file) ? -1 : real(file);
}

int fdatasync(int file) {
    static int (*real)(int);
    if (!real) real = next("fdatasync");
    return syncing_fails(file) ? -1 : real(file);
}
