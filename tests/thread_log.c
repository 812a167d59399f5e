/* Logs every pthread_create of the programs it is loaded into (LD_PRELOAD), for tests only.
 *
 * One line per thread into the file that THREAD_LOG names: pid, thread, creator, the file that holds the start
 * routine, and the files of the callers from the innermost out, separated by tabs. The thread's own stack and
 * start routine stay as they are: its id is read from its CPU clock, whose number holds it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST_FRAMES 16

typedef int (*create_fn)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static const char *file_of(void *address) {
    Dl_info info;
    return dladdr(address, &info) && info.dli_fname ? info.dli_fname : "?";
}

static void write_down(pthread_t thread, void *routine, void **frames, int count) {
    const char *path = getenv("THREAD_LOG");
    clockid_t clock;
    char line[8192];
    int length, log;
    if (!path || pthread_getcpuclockid(thread, &clock)) return;
    length = snprintf(line, sizeof line, "%d\t%d\t%ld\t%s", getpid(), ~(clock >> 3), syscall(SYS_gettid),
                      file_of(routine));
    for (int i = 0; i < count && length < (int)sizeof line - 600; i++)
        length += snprintf(line + length, sizeof line - length, "\t%s", file_of(frames[i]));
    line[length++] = '\n';
    log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0) return;
    if (write(log, line, length) != length) abort();
    close(log);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*routine)(void *), void *arg) {
    static create_fn real;
    void *frames[MOST_FRAMES];
    int count = backtrace(frames, MOST_FRAMES), result;
    if (!real) real = (create_fn)dlsym(RTLD_NEXT, "pthread_create");
    result = real(thread, attr, routine, arg);
    if (!result) write_down(*thread, (void *)routine, frames + 1, count - 1);
    return result;
}
