/* fsync(2) and fdatasync(2) that take as many milliseconds as the file named by SLOW_FSYNC says; one that
   is not there says none. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_as_told(void) {
    const char *name = getenv("SLOW_FSYNC");
    FILE *told = name ? fopen(name, "r") : NULL;
    int milliseconds = 0;
    if (!told) return;
    if (fscanf(told, "%d", &milliseconds) == 1) {
        while (milliseconds > 0) {
            int step = milliseconds < 100 ? milliseconds : 100;
            usleep(step * 1000);
            milliseconds -= step;
        }
    }
    fclose(told);
}

int fsync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_as_told();
    return real(file);
}

int fdatasync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_as_told();
    return real(file);
}
