/* Adds the time of an honest disk to every fsync and fdatasync: 1 ms, a usual data-centre SSD. Loaded with LD_PRELOAD.
 * Virtual disks acknowledge flushes from the host's memory in 50 us, which says nothing about real ones. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

#ifndef DELAY_NS
#define DELAY_NS 1000000L
#endif

static void wait_for_disk(void) {
    struct timespec pause = {0, DELAY_NS};
    while (nanosleep(&pause, &pause) != 0) {}
}

int fsync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_for_disk();
    return real(file);
}

int fdatasync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_for_disk();
    return real(file);
}
