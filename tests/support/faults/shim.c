/* Makes the nth call of a kind fail in the supervisor, by LD_PRELOAD.
 *
 * FAIL_CALL names the kind, FAIL_NTH counts from 1, FAIL_ERRNO is the error number. Calls are counted in the process
 * that makes the first eventfd, from then on: that is the supervisor once it is past its settings. FAIL_REPORT is a
 * file to which a byte is written when the call has been made to fail.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t supervisor;
static long left;
static const char *kind;
static int failure;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Whether this call is the one. */
static int fails(const char *name)
{
    if (!supervisor || getpid() != supervisor || strcmp(name, kind) || --left)
        return 0;
    long report = syscall(SYS_openat, AT_FDCWD, getenv("FAIL_REPORT"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    syscall(SYS_write, report, "!", 1);
    syscall(SYS_close, report);
    errno = failure;
    return 1;
}

static void begin(void)
{
    if (supervisor || !getenv("FAIL_CALL"))
        return;
    kind = getenv("FAIL_CALL");
    left = atol(getenv("FAIL_NTH"));
    failure = atoi(getenv("FAIL_ERRNO"));
    supervisor = getpid();
}

#define FAILING(kind_name, type, name, parameters, arguments)                                                          \
    type name parameters                                                                                               \
    {                                                                                                                  \
        if (fails(kind_name))                                                                                          \
            return (type)-1;                                                                                           \
        return REAL(name) arguments;                                                                                   \
    }

FAILING("fork", pid_t, fork, (void), ())
FAILING("pipe", int, pipe, (int fds[2]), (fds))
FAILING("pipe", int, pipe2, (int fds[2], int flags), (fds, flags))
FAILING("write", ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
FAILING("mmap", void *, mmap, (void *at, size_t size, int prot, int flags, int fd, off_t offset),
        (at, size, prot, flags, fd, offset))
FAILING("mmap", void *, mmap64, (void *at, size_t size, int prot, int flags, int fd, off64_t offset),
        (at, size, prot, flags, fd, offset))

int eventfd(unsigned int value, int flags)
{
    begin();
    if (fails("eventfd"))
        return -1;
    return REAL(eventfd)(value, flags);
}

FAILING("waitpid", pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options))
FAILING("waitpid", pid_t, wait4, (pid_t pid, int *status, int options, struct rusage *usage),
        (pid, status, options, usage))
FAILING("waitpid", int, waitid, (idtype_t type, id_t id, siginfo_t *info, int options), (type, id, info, options))
FAILING("kill", int, kill, (pid_t pid, int number), (pid, number))
FAILING("poll", int, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
FAILING("poll", int, select, (int count, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout),
        (count, r, w, e, timeout))

#define FAILING_OPEN(name, parameters, arguments)                                                                      \
    int name parameters                                                                                                \
    {                                                                                                                  \
        mode_t mode = 0;                                                                                               \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                           \
            va_list list;                                                                                              \
            va_start(list, flags);                                                                                     \
            mode = va_arg(list, mode_t);                                                                               \
            va_end(list);                                                                                              \
        }                                                                                                              \
        if (fails("open"))                                                                                             \
            return -1;                                                                                                 \
        return REAL(name) arguments;                                                                                   \
    }

FAILING_OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
FAILING_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
FAILING_OPEN(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode))
FAILING_OPEN(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))
