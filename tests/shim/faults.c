/* Makes chosen calls on chosen files fail: loaded with LD_PRELOAD, armed at run time (tests/python/faults.py).
 *
 * Owns one rule at a time, behind a lock, and what it counts. It sees what goes through the C library: opening, reading,
 * writing, syncing, renaming, removing, making folders. The engine makes fallocate, flock, mmap and madvise without the
 * C library; fault_refuse lets the kernel refuse those, by number and for the rest of the process, through seccomp. fault_pretend lets the
 * kernel ask us what statfs says, and we name another kind of file system.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char call[16];     /* "" for none, "*" for any */
    char path[256];    /* a part of the path */
    long skip, count;  /* let so many pass, then fail so many; count < 0: for good */
    int error;         /* 0: write or read only half, without an error */
    long seen, failed;
} rule;

void fault_arm(const char *call, const char *path, long skip, long count, int error) {
    pthread_mutex_lock(&lock);
    snprintf(rule.call, sizeof rule.call, "%s", call);
    snprintf(rule.path, sizeof rule.path, "%s", path);
    rule.skip = skip;
    rule.count = count;
    rule.error = error;
    rule.seen = rule.failed = 0;
    pthread_mutex_unlock(&lock);
}

long fault_seen(void) {
    pthread_mutex_lock(&lock);
    long seen = rule.seen;
    pthread_mutex_unlock(&lock);
    return seen;
}

long fault_failed(void) {
    pthread_mutex_lock(&lock);
    long failed = rule.failed;
    pthread_mutex_unlock(&lock);
    return failed;
}

/* Whether this call is to fail; then errno is set. */
static int fails(const char *call, const char *path) {
    int verdict = 0;
    pthread_mutex_lock(&lock);
    if (rule.call[0] && (rule.call[0] == '*' || !strcmp(rule.call, call)) && strstr(path, rule.path)) {
        long at = rule.seen++;
        if (at >= rule.skip && (rule.count < 0 || at < rule.skip + rule.count)) {
            rule.failed++;
            errno = rule.error;
            verdict = 1;
        }
    }
    pthread_mutex_unlock(&lock);
    return verdict;
}

static int fails_on(const char *call, int fd) {
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return fails(call, path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fdatasync(int fd) { return fails_on("fdatasync", fd) ? -1 : NEXT(fdatasync)(fd); }
int fsync(int fd) { return fails_on("fsync", fd) ? -1 : NEXT(fsync)(fd); }
int rename(const char *from, const char *to) { return fails("rename", to) ? -1 : NEXT(rename)(from, to); }
int unlink(const char *path) { return fails("unlink", path) ? -1 : NEXT(unlink)(path); }
int mkdir(const char *path, mode_t mode) { return fails("mkdir", path) ? -1 : NEXT(mkdir)(path, mode); }

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    if (fails_on("pwrite", fd)) {
        if (errno) return -1;
        count = (count + 1) / 2;
    }
    return NEXT(pwrite64)(fd, bytes, count, offset);
}

ssize_t pread64(int fd, void *bytes, size_t count, off64_t offset) {
    if (fails_on("pread", fd)) {
        if (errno) return -1;
        count = (count + 1) / 2;
    }
    return NEXT(pread64)(fd, bytes, count, offset);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails("open", path) ? -1 : NEXT(open64)(path, flags, mode);
}

/* From now on the kernel refuses system call `number` in every thread of this process, where argument `at` (none: < 0)
 * has all bits of `bits`. 0, or the errno of the attempt. */
int fault_refuse(int number, int at, unsigned bits, int error) {
    unsigned argument = offsetof(struct seccomp_data, args) + 8 * (at < 0 ? 0 : at);
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, at < 0 ? 0 : bits),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, at < 0 ? 0 : bits, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return errno;
    long answer = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    return answer ? (answer > 0 ? EBUSY : errno) : 0;
}

static struct {
    char path[256];
    long kind;
    int ready[2]; /* a pipe: the listener, once the filter stands */
} pretence;

/* Runs without the filter, in the memory of who asks. */
static void *answer_statfs(void *unused) {
    int listener;
    if (read(pretence.ready[0], &listener, sizeof listener) != sizeof listener) return unused;
    for (;;) {
        struct seccomp_notif asked;
        memset(&asked, 0, sizeof asked);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked)) continue;
        const char *path = (const char *)asked.data.args[0];
        struct statfs *found = (struct statfs *)asked.data.args[1];
        struct seccomp_notif_resp answer = {.id = asked.id};
        if (syscall(SYS_statfs, path, found)) answer.error = -errno;
        else if (strstr(path, pretence.path)) found->f_type = pretence.kind;
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}

/* From now on statfs says, in this thread and those it starts, of paths with `path` in them that they lie on a file system of
 * that kind. 0, or the errno of the attempt. */
int fault_pretend(const char *path, long kind) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_statfs, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    pthread_t thread;
    snprintf(pretence.path, sizeof pretence.path, "%s", path);
    pretence.kind = kind;
    if (pipe(pretence.ready)) return errno;
    if (pthread_create(&thread, NULL, answer_statfs, NULL)) return EAGAIN;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return errno;
    int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (listener < 0) return errno;
    return write(pretence.ready[1], &listener, sizeof listener) == sizeof listener ? 0 : errno;
}

int fault_number(const char *call) {
    if (!strcmp(call, "fallocate")) return SYS_fallocate;
    if (!strcmp(call, "flock")) return SYS_flock;
    if (!strcmp(call, "mmap")) return SYS_mmap;
    if (!strcmp(call, "madvise")) return SYS_madvise;
    return -1;
}
