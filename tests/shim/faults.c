/* Makes chosen calls on chosen files fail, or ends the process before one that changes something, or writes down all of those:
 * loaded with LD_PRELOAD, armed at run time (tests/python/faults.py).
 *
 * Owns one rule and one watch at a time, behind a lock, and what they count. It sees what goes through the C library: opening, reading,
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
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char call[16];     /* "" for none, "*" for any */
    char path[256];    /* a part of the path */
    long skip, count;  /* let so many pass, then fail so many; count < 0: for good */
    int error;         /* 0: write or read only half, without an error; < 0: take so many ms, then succeed */
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

/* How long the call that this thread makes is to take. */
static __thread int wait_ms;

/* Whether this call is to fail; then errno is set. */
static int fails(const char *call, const char *path) {
    int verdict = 0;
    wait_ms = 0;
    pthread_mutex_lock(&lock);
    if (rule.call[0] && (rule.call[0] == '*' || !strcmp(rule.call, call)) && strstr(path, rule.path)) {
        long at = rule.seen++;
        if (at >= rule.skip && (rule.count < 0 || at < rule.skip + rule.count)) {
            rule.failed++;
            wait_ms = rule.error < 0 ? -rule.error : 0;
            errno = wait_ms ? 0 : rule.error;
            verdict = !wait_ms;
        }
    }
    pthread_mutex_unlock(&lock);
    return verdict;
}

/* What a sync gave, after as long as it is to take: a disk takes its time once the kernel has looked at the pages. */
static int in_time(int result) {
    int error = errno;
    for (; wait_ms > 0; wait_ms--)
        usleep(1000);
    errno = error;
    return result;
}

static struct {
    char path[256]; /* a part of the path; "" for none */
    long die_at;    /* the change before which the process ends; < 0: none */
    int record;     /* a file that gets a line for each change; < 0: none */
    long changes;
} watch = {.record = -1};

/* Counts the changes to paths with `path` in them from now on. */
void fault_watch(const char *path, long die_at, int record) {
    pthread_mutex_lock(&lock);
    snprintf(watch.path, sizeof watch.path, "%s", path);
    watch.die_at = die_at;
    watch.record = record;
    watch.changes = 0;
    pthread_mutex_unlock(&lock);
}

long fault_changes(void) {
    pthread_mutex_lock(&lock);
    long changes = watch.changes;
    pthread_mutex_unlock(&lock);
    return changes;
}

/* Before a call that changes something. */
static void changes(const char *call, const char *path, const char *to) {
    if (!watch.path[0]) return;
    pthread_mutex_lock(&lock);
    if (strstr(path, watch.path) || strstr(to, watch.path)) {
        if (watch.changes++ == watch.die_at) kill(getpid(), SIGKILL);
        if (watch.record >= 0) dprintf(watch.record, "%s\t%s\t%s\n", call, path, to);
    }
    pthread_mutex_unlock(&lock);
}

static void path_of(int fd, char *path, size_t room) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, room - 1);
    path[length < 0 ? 0 : length] = 0;
}

static int fails_on(const char *call, int fd) {
    char path[512];
    path_of(fd, path, sizeof path);
    return fails(call, path);
}

static void changes_in(const char *call, int fd) {
    char path[512];
    if (!watch.path[0] || fd == watch.record) return;
    path_of(fd, path, sizeof path);
    changes(call, path, "");
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fdatasync(int fd) {
    changes_in("fsync", fd);
    return fails_on("fdatasync", fd) ? -1 : in_time(NEXT(fdatasync)(fd));
}

int fsync(int fd) {
    changes_in("fsync", fd);
    return fails_on("fsync", fd) ? -1 : in_time(NEXT(fsync)(fd));
}

int rename(const char *from, const char *to) {
    changes("rename", from, to);
    return fails("rename", to) ? -1 : NEXT(rename)(from, to);
}

int link(const char *from, const char *to) {
    changes("link", from, to);
    return fails("link", to) ? -1 : NEXT(link)(from, to);
}

int unlink(const char *path) {
    changes("unlink", path, "");
    return fails("unlink", path) ? -1 : NEXT(unlink)(path);
}

int mkdir(const char *path, mode_t mode) {
    changes("mkdir", path, "");
    return fails("mkdir", path) ? -1 : NEXT(mkdir)(path, mode);
}

int rmdir(const char *path) {
    changes("unlink", path, "");
    return fails("rmdir", path) ? -1 : NEXT(rmdir)(path);
}

int unlinkat(int folder, const char *name, int flags) {
    char path[1024];
    path_of(folder, path, 512);
    snprintf(path + strlen(path), 512, "/%s", name);
    changes("unlink", path, "");
    return fails("unlink", path) ? -1 : NEXT(unlinkat)(folder, name, flags);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    changes_in("write", fd);
    return NEXT(write)(fd, bytes, count);
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t count) {
    changes_in("write", to);
    return NEXT(sendfile64)(to, from, offset, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    changes_in("write", fd);
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
    if (flags & O_TRUNC) changes("truncate", path, "");
    else if (flags & O_CREAT) changes("create", path, "");
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
