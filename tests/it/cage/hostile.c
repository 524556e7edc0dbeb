/* A PKCS#11 module around SoftHSM that tries to get out. For tests only.
 *
 * It tries at C_Initialize and at the first C_Sign, and writes "probe WHEN NAME ok; NAME ERRNO; ..." to
 * standard error. $HOSTILE is "@LEDGER@TLS_KEY@PIN@DIRECTORY@TOKENS".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

typedef unsigned long ulong;
typedef ulong (*function)();
struct list { unsigned char version[2]; function functions[68]; };
enum { INITIALIZE = 0, SIGN = 43 };

static struct list *real, list;
static char ledger[512], tls_key[512], pin[512], directory[512], tokens[512];
extern char **environ;

/* Several to a line: the daemon takes so many lines of a module, and so many octets of a line. */
static char line[200];

static void flush_line(const char *when) {
    if (line[0]) fprintf(stderr, "probe %s %s\n", when, line);
    line[0] = 0;
}

static void note(const char *when, const char *name, const char *outcome) {
    if (strlen(line) + strlen(name) + strlen(outcome) + 4 > sizeof line) flush_line(when);
    size_t used = strlen(line);
    snprintf(line + used, sizeof line - used, "%s%s %s", used ? "; " : "", name, outcome);
}

static void say(const char *when, const char *name, long result) {
    note(when, name, result >= 0 ? "ok" : strerrorname_np(errno));
}

static long opens(const char *path, int flags) {
    int file = open(path, flags | O_CLOEXEC, 0600);
    if (file >= 0) close(file);
    return file;
}

static long lists(const char *path) {
    DIR *stream = opendir(path);
    if (stream) closedir(stream);
    return stream ? 0 : -1;
}

static long of_process(pid_t pid, const char *file) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    return opens(path, O_RDONLY);
}

static long child(pid_t pid) {
    if (pid == 0) _exit(0);
    if (pid > 0) waitpid(pid, 0, 0);
    return pid;
}

static long program(void) {
    pid_t pid = vfork();
    if (pid < 0) return pid;
    if (pid == 0) { execl("/bin/true", "true", (char *)0); _exit(9); }
    int status = 0;
    waitpid(pid, &status, 0);
    return status == 0 ? 0 : -1;
}

static long executes(void) {
    char *none[] = { 0 };
    /* Fails for another reason where it is allowed: there is no such program. */
    execve("/nonexistent", none, none);
    return errno == ENOENT ? 0 : -1;
}

static long connects(void) {
    int out = socket(AF_INET, SOCK_STREAM, 0);
    if (out < 0) return -1;
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    long result = connect(out, (struct sockaddr *)&to, sizeof to);
    int refused = errno == ECONNREFUSED;
    close(out);
    return refused ? 0 : result;
}

static long speaks_to(const char *path) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) < 0) return -1;
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    strcpy(to.sun_path, path);
    long result = sendto(pair[0], "x", 1, 0, (struct sockaddr *)&to, sizeof to);
    int nobody = errno == ENOENT || errno == ECONNREFUSED;
    close(pair[0]);
    close(pair[1]);
    return nobody ? 0 : result;
}

static long reads_memory(pid_t pid) {
    char octet;
    struct iovec here = { &octet, 1 }, there = { (void *)&environ, 1 };
    long result = process_vm_readv(pid, &here, 1, &there, 1, 0);
    return result < 0 && errno == EFAULT ? 0 : result;
}

static long traces(pid_t pid) {
    long result = ptrace(PTRACE_SEIZE, pid, 0, 0);
    if (result == 0) ptrace(PTRACE_DETACH, pid, 0, 0);
    return result;
}

static long takes_memory(void) {
    size_t length = 100UL << 20;
    void *taken = mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (taken == MAP_FAILED) return -1;
    munmap(taken, length);
    return 0;
}

static long raises_limit(void) {
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
    return setrlimit(RLIMIT_DATA, &limit);
}

static long limits(pid_t pid) {
    struct rlimit limit;
    if (prlimit(pid, RLIMIT_NOFILE, 0, &limit) < 0) return -1;
    return prlimit(pid, RLIMIT_NOFILE, &limit, 0);
}

static long hinders(pid_t pid) {
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    return sched_setaffinity(pid, sizeof set, &set);
}

static long owns(pid_t pid) {
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    long result = fcntl(file, F_SETOWN, pid);
    close(file);
    return result;
}

/* The calls that act by path and came after fchmodat2: as setxattr and the like, by number, for older
 * headers. A POSIX ACL gives the file to all (acl(5)). */
static long gives_away(const char *path) {
    static const unsigned char everybody[] = {
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 6, 0, 255, 255, 255, 255,
        32, 0, 6, 0, 255, 255, 255, 255 };
    struct { unsigned long value; unsigned size, flags; } arguments = {
        (unsigned long)everybody, sizeof everybody, 0 };
    return syscall(463, AT_FDCWD, path, 0, "system.posix_acl_access", &arguments, sizeof arguments);
}

static long takes_attribute_away(const char *path) {
    long result = syscall(466, AT_FDCWD, path, 0, "user.none");
    return result < 0 && errno == ENODATA ? 0 : result;
}

static long reads_attributes(const char *path) {
    char list[64];
    return syscall(465, AT_FDCWD, path, 0, list, sizeof list);
}

static long reads_flags(const char *path) {
    unsigned long long attributes[3] = { 0, 0, 0 };
    return syscall(468, AT_FDCWD, path, attributes, sizeof attributes, 0);
}

static long sets_flags(const char *path) {
    unsigned long long attributes[3] = { 0x40 /* FS_XFLAG_NOATIME */, 0, 0 };
    return syscall(469, AT_FDCWD, path, attributes, sizeof attributes, 0);
}

/* Of a file that may be read only, by descriptor. */
static long by_descriptor(const char *path, int what) {
    int file = open(path, O_RDONLY | O_CLOEXEC), flags = 0;
    if (file < 0) return -1;
    long result = what == 0 ? fsetxattr(file, "user.x", "x", 1, 0)
                : what == 1 ? (ioctl(file, 0x80086601 /* FS_IOC_GETFLAGS */, &flags) < 0 ? -1
                               : ioctl(file, 0x40086602 /* FS_IOC_SETFLAGS */, &flags))
                : fcntl(file, F_SETLEASE, F_RDLCK);
    close(file);
    return result;
}

/* All of the group or the user would get the weight that this one has: mostly what they have already. */
static long weighs(int which) { return setpriority(which, 0, getpriority(PRIO_PROCESS, 0)); }

/* Of no class that there is, so that nothing changes; 1 is a process, 2 its group, 3 all of the user. */
static long queues(int which) {
    long result = syscall(SYS_ioprio_set, which, 0, 7 << 13);
    return result < 0 && errno == EINVAL ? 0 : result;
}

static void *thread(void *nothing) { return nothing; }
static long threads(void) {
    pthread_t made;
    errno = pthread_create(&made, 0, thread, 0);
    if (errno) return -1;
    pthread_join(made, 0);
    return 0;
}

static void probe(const char *when) {
    pid_t front = getppid();
    char made[600];
    struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
#define TRY(name, attempt) say(when, name, (long)(attempt))
    TRY("read-ledger", opens(ledger, O_RDONLY));
    TRY("write-ledger", opens(ledger, O_WRONLY));
    TRY("truncate-ledger", truncate(ledger, 1 << 30));
    TRY("chmod-ledger", chmod(ledger, 0600));
    TRY("chown-ledger", chown(ledger, getuid(), getgid()));
    TRY("touch-ledger", utimensat(AT_FDCWD, ledger, now, 0));
    TRY("attribute-ledger", setxattr(ledger, "user.x", "x", 1, 0));
    TRY("give-ledger-away", gives_away(ledger));
    TRY("attributes-of-ledger", reads_attributes(ledger));
    TRY("no-attribute-of-ledger", takes_attribute_away(ledger));
    TRY("flags-of-ledger", reads_flags(ledger));
    TRY("set-flags-of-ledger", sets_flags(ledger));
    TRY("attribute-by-descriptor", by_descriptor(getenv("SOFTHSM2_CONF"), 0));
    TRY("flags-by-descriptor", by_descriptor(getenv("SOFTHSM2_CONF"), 1));
    TRY("lease-by-descriptor", by_descriptor(getenv("SOFTHSM2_CONF"), 2));
    TRY("read-tls-key", opens(tls_key, O_RDONLY));
    TRY("read-pin", opens(pin, O_RDONLY));
    TRY("list-directory", lists(directory));
    snprintf(made, sizeof made, "%s/made", directory);
    TRY("make-file", opens(made, O_WRONLY | O_CREAT));
    snprintf(made, sizeof made, "%s/link", directory);
    TRY("make-link", symlink(ledger, made));
    unlink(made);
    TRY("list-root", lists("/"));
    TRY("read-shadow", opens("/etc/shadow", O_RDONLY));
    TRY("front-environment", of_process(front, "environ"));
    TRY("front-memory-file", of_process(front, "mem"));
    TRY("front-files", of_process(front, "maps"));
    TRY("front-memory", reads_memory(front));
    TRY("front-trace", traces(front));
    TRY("front-signal", kill(front, 0));
    TRY("front-thread-signal", syscall(SYS_tgkill, front, front, 0));
    TRY("front-descriptor", syscall(SYS_pidfd_open, front, 0));
    TRY("front-limits", limits(front));
    TRY("front-processors", hinders(front));
    TRY("front-owner", owns(front));
    TRY("front-weight", setpriority(PRIO_PROCESS, front, getpriority(PRIO_PROCESS, front)));
    TRY("group-weight", weighs(PRIO_PGRP));
    TRY("user-weight", weighs(PRIO_USER));
    TRY("group-queue", queues(2));
    TRY("user-queue", queues(3));
    TRY("socketpair-other", socketpair(AF_TIPC, SOCK_STREAM, 0, (int[2]){ 0, 0 }) < 0
                            && errno != EPERM ? 0 : -1);
    TRY("connect", connects());
    TRY("socket-unix", socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    TRY("socket-raw", socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    TRY("datagram", speaks_to("/run/nobody"));
    TRY("io-uring", syscall(SYS_io_uring_setup, 0, 0) < 0 && errno == EFAULT ? 0 : -1);
    TRY("fork", child(fork()));
    TRY("vfork", program());
    TRY("clone", child(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)));
    TRY("exec", executes());
    TRY("dumpable", prctl(PR_SET_DUMPABLE, 1));
    TRY("outlive", prctl(PR_SET_PDEATHSIG, 0));
    TRY("memory", takes_memory());
    TRY("memory-limit", raises_limit());
    /* What a module needs. */
    TRY("needs-threads", threads());
    TRY("needs-weight", weighs(PRIO_PROCESS));
    TRY("needs-queue", queues(1));
    TRY("needs-libraries", opens("/usr/lib/softhsm/libsofthsm2.so", O_RDONLY));
    TRY("needs-randomness", opens("/dev/urandom", O_RDONLY));
    TRY("needs-configuration", opens(getenv("SOFTHSM2_CONF"), O_RDONLY));
    snprintf(made, sizeof made, "%s/made", tokens);
    TRY("needs-tokens", opens(made, O_RDWR | O_CREAT));
    unlink(made);
    for (char **variable = environ; *variable; variable++) {
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*variable, "="), *variable);
        note(when, "variable", name);
    }
    for (int file = 0; file < 256; file++) {
        char link[64], target[256];
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        long length = readlink(link, target, sizeof target - 1);
        if (length <= 0) continue;
        target[length] = 0;
        note(when, "descriptor", target);
    }
    flush_line(when);
    fprintf(stderr, "probe %s done\n", when);
}

static ulong initialize(void *arguments) {
    probe("initialize");
    return real->functions[INITIALIZE](arguments);
}

static ulong sign(ulong session, void *data, ulong length, void *to, ulong *to_length) {
    static int tried;
    if (!__atomic_exchange_n(&tried, 1, __ATOMIC_SEQ_CST)) probe("sign");
    return real->functions[SIGN](session, data, length, to, to_length);
}

ulong C_GetFunctionList(struct list **to) {
    if (sscanf(getenv("HOSTILE"), "@%511[^@]@%511[^@]@%511[^@]@%511[^@]@%511[^@]", ledger, tls_key,
               pin, directory, tokens) != 5) return 5;
    void *module = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
    ulong (*functions)(struct list **) = (void *)dlsym(module, "C_GetFunctionList");
    ulong value = functions(&real);
    if (value) return value;
    list = *real;
    list.functions[INITIALIZE] = initialize;
    list.functions[SIGN] = sign;
    *to = &list;
    return 0;
}
