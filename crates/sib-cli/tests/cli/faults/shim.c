/* Lets one call of a program to the file system go wrong: preloaded with LD_PRELOAD, it stands between the program
 * and the C library.
 *
 *   SIB_FAULT_UNDER  folder, without links in its path, under which calls count
 *   SIB_FAULT_STATE  file, mapped by all processes of the command; new and empty for each
 *   SIB_FAULT_LOG    file that gets a line "KIND PATH" for each call, before anything becomes of it
 *   SIB_FAULT        KIND:K, what becomes of the K-th call and from then on; see `enum fault`
 *   SIB_FAULT_CLOCK  if set, the time of day jumps back an hour at each call
 *
 * What only reads does not count. Calls go to the kernel by syscall(2), so that there is no function of the C library
 * to look up, and none that calls back in here.
 *
 * Files are known by what /proc/self/fd says of a descriptor: that follows renames and needs no table of descriptors,
 * which close, dup and fork would have to keep right. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum fault {
    NONE,
    ERROR,       /* EIO, once */
    DENIED,      /* EACCES, once */
    FULL,        /* ENOSPC from now on, for all that takes room */
    SHORT,       /* half of the bytes are written, then FULL */
    KILL_BEFORE, /* SIGKILL */
    KILL_AFTER,
    POWER,       /* all processes end, and what was not synchronised is gone; names stay, which is the worst case */
};

static const char *const FAULTS[] = {
    "none", "error", "denied", "full", "short", "kill-before", "kill-after", "power",
};

/* A file that was written to: how much of it would be there after a power cut. */
struct file {
    char path[PATH_MAX];
    off_t durable;
};

struct state {
    atomic_flag lock;
    unsigned calls;
    int is_full;
    unsigned number;
    struct file files[1024];
};

static struct state *state;
static char under[PATH_MAX];
static enum fault fault;
static unsigned long chosen;
static int log_file = -1;

static void must(int holds, const char *what)
{
    if (!holds) {
        dprintf(2, "shim: %s: %s\n", what, strerror(errno));
        _exit(99);
    }
}

static int open_as_is(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0666);
}

__attribute__((constructor)) static void start(void)
{
    const char *folder = getenv("SIB_FAULT_UNDER"), *wanted = getenv("SIB_FAULT");
    if (!folder)
        return;
    snprintf(under, sizeof under, "%s/", folder);
    const char *path = getenv("SIB_FAULT_STATE"), *log_path = getenv("SIB_FAULT_LOG");
    must(path && log_path, "SIB_FAULT_STATE, SIB_FAULT_LOG");
    int file = open_as_is(path, O_RDWR | O_CREAT);
    must(file >= 0 && syscall(SYS_ftruncate, file, sizeof *state) == 0, path);
    struct state *mapped = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    must(mapped != MAP_FAILED, path);
    syscall(SYS_close, file);
    log_file = open_as_is(log_path, O_WRONLY | O_CREAT | O_APPEND);
    must(log_file >= 0, log_path);
    if (wanted) {
        const char *colon = strchr(wanted, ':');
        for (enum fault kind = ERROR; colon && kind <= POWER; kind++)
            if (strncmp(FAULTS[kind], wanted, (size_t)(colon - wanted)) == 0 && !FAULTS[kind][colon - wanted])
                fault = kind;
        must(fault != NONE && (chosen = strtoul(colon + 1, NULL, 10)) > 0, wanted);
    }
    state = mapped;
}

/* No fault ends a process that holds the lock. */
static void lock(void)
{
    while (atomic_flag_test_and_set(&state->lock))
        ;
}

static void unlock(void)
{
    atomic_flag_clear(&state->lock);
}

static struct file *find(const char *path)
{
    for (unsigned i = 0; i < state->number; i++)
        if (strcmp(state->files[i].path, path) == 0)
            return &state->files[i];
    return NULL;
}

/* Notes that so much of the file is durable; the place of one that is gone is free. */
static void note(const char *path, off_t durable)
{
    lock();
    struct file *file = find(path);
    file = file ? file : find("");
    if (!file) {
        must(state->number < sizeof state->files / sizeof *state->files, "too many files");
        file = &state->files[state->number++];
    }
    strcpy(file->path, path);
    file->durable = durable;
    unlock();
}

/* How much of a file is durable; -1 of one that was not written to. */
static off_t durable_of(const char *path)
{
    lock();
    const struct file *file = find(path);
    off_t durable = file ? file->durable : -1;
    unlock();
    return durable;
}

/* Notes that what was `from` is `to`, or gone where there is no `to`. */
static void note_move(const char *from, const char *to)
{
    lock();
    struct file *replaced = to ? find(to) : NULL;
    if (replaced)
        replaced->path[0] = 0;
    struct file *moved = find(from);
    if (moved)
        strcpy(moved->path, to ? to : "");
    unlock();
}

/* Ends this process, or all of the command: its first process leads a group of its own. */
static _Noreturn void end(pid_t whom)
{
    kill(whom, SIGKILL);
    for (;;)
        pause();
}

static _Noreturn void cut_power(void)
{
    for (unsigned i = 0; i < state->number; i++) {
        const struct file *file = &state->files[i];
        struct stat now;
        if (file->path[0] && stat(file->path, &now) == 0 && now.st_size > file->durable)
            syscall(SYS_truncate, file->path, file->durable);
    }
    end(0);
}

/* What a call does, where a fault is for some calls only. */
enum { NAMES = 1, WRITES = 2, TAKES_ROOM = 4 };

/* Of the call that this thread is in. */
static _Thread_local int is_short, is_last;

/* Counts a call; returns the error that it shall fail with, or 0. */
static int enter(const char *kind, int does, const char *path)
{
    char line[PATH_MAX + 32];
    lock();
    unsigned long number = ++state->calls;
    int length = snprintf(line, sizeof line, "%s %s\n", kind, path);
    must(syscall(SYS_write, log_file, line, length) == length, "log");
    int is_chosen = number == chosen;
    is_last = is_chosen && fault == KILL_AFTER;
    is_short = is_chosen && fault == SHORT && does & WRITES;
    int is_full = state->is_full;
    state->is_full |= is_chosen && (fault == FULL || fault == SHORT);
    unlock();
    if (is_chosen && fault == KILL_BEFORE)
        end(getpid());
    if (is_chosen && fault == POWER)
        cut_power();
    if (is_chosen && fault == ERROR)
        return EIO;
    if (is_chosen && fault == DENIED && does & NAMES)
        return EACCES;
    return (is_full || (is_chosen && fault == FULL)) && does & TAKES_ROOM ? ENOSPC : 0;
}

static void leave(void)
{
    if (is_last)
        end(getpid());
}

/* How many of `length` bytes are written. */
static size_t part(size_t length)
{
    return is_short && length > 1 ? length / 2 : length;
}

/* The result of `real`, unless the call shall fail. */
#define COUNTED(kind, does, path, real)           \
    ({                                            \
        long result = -1;                         \
        int refused = enter(kind, does, path);    \
        if (refused) {                            \
            errno = refused;                      \
        } else {                                  \
            result = (long)(real);                \
            leave();                              \
        }                                         \
        result;                                   \
    })

static int is_under(const char *path)
{
    return state && strncmp(path, under, strlen(under)) == 0;
}

/* The path of an open file; whether it counts. */
static int path_of(int file, char path[PATH_MAX])
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = state ? readlink(link, path, PATH_MAX - 1) : -1;
    path[length > 0 ? length : 0] = 0;
    return is_under(path);
}

/* The whole path of what is called `name` in `folder`: links are followed but for a last one, which a rename or
 * unlink would be of. Whether it counts. */
static int resolve(int folder, const char *name, char path[PATH_MAX])
{
    char whole[2 * PATH_MAX], start[PATH_MAX] = "";
    if (!state)
        return 0;
    if (name[0] != '/' && folder == AT_FDCWD)
        must(getcwd(start, sizeof start) != NULL, "getcwd");
    else if (name[0] != '/')
        path_of(folder, start);
    snprintf(whole, sizeof whole, "%s/%s", start, name);
    for (size_t end = strlen(whole); end > 1 && whole[end - 1] == '/';)
        whole[--end] = 0;
    char *last = strrchr(whole, '/');
    *last = 0;
    /* Where there is no such folder, the call will fail by itself. */
    if (!realpath(whole, path))
        return 0;
    size_t length = strlen(path);
    must(length + strlen(last) + 1 < PATH_MAX, "a long path");
    strcpy(path + length, "/");
    strcat(path, last + 1);
    return is_under(path);
}

static off_t size_of(int file)
{
    struct stat now;
    return fstat(file, &now) == 0 ? now.st_size : 0;
}

static int opened(int folder, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    int writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;
    if (!writes || !resolve(folder, name, path))
        return (int)syscall(SYS_openat, folder, name, flags, mode);
    int is_new = flags & O_CREAT && access(path, F_OK) != 0;
    int file = (int)COUNTED(is_new ? "create" : "open", is_new ? NAMES | TAKES_ROOM : NAMES, path,
                            syscall(SYS_openat, folder, name, flags, mode));
    /* What was there before the command is taken for durable. */
    if (file >= 0 && (is_new || flags & O_TRUNC || durable_of(path) < 0))
        note(path, is_new || flags & O_TRUNC ? 0 : size_of(file));
    return file;
}

#define MODE(flags)                                   \
    ({                                                \
        mode_t mode = 0;                              \
        if ((flags) & O_CREAT) {                      \
            va_list more;                             \
            va_start(more, flags);                    \
            mode = (mode_t)va_arg(more, unsigned);    \
            va_end(more);                             \
        }                                             \
        mode;                                         \
    })

int open(const char *name, int flags, ...) { return opened(AT_FDCWD, name, flags, MODE(flags)); }
int open64(const char *name, int flags, ...) { return opened(AT_FDCWD, name, flags, MODE(flags)); }
int openat(int folder, const char *name, int flags, ...) { return opened(folder, name, flags, MODE(flags)); }
int openat64(int folder, const char *name, int flags, ...) { return opened(folder, name, flags, MODE(flags)); }
int creat(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *name, mode_t mode) { return creat(name, mode); }

/* What `real`, which writes to `file`, comes to. */
#define WRITTEN(file, real)                                                                            \
    ({                                                                                                 \
        char path[PATH_MAX];                                                                           \
        is_short = 0;                                                                                  \
        path_of(file, path) ? COUNTED("write", WRITES | TAKES_ROOM, path, real) : (long)(real);        \
    })

ssize_t write(int file, const void *bytes, size_t length)
{
    return WRITTEN(file, syscall(SYS_write, file, bytes, part(length)));
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at)
{
    return WRITTEN(file, syscall(SYS_pwrite64, file, bytes, part(length), at));
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off_t at) { return pwrite(file, bytes, length, at); }

ssize_t writev(int file, const struct iovec *parts, int number)
{
    /* Of several buffers, the first. */
    return WRITTEN(file, is_short && number > 0 ? syscall(SYS_write, file, parts->iov_base, part(parts->iov_len))
                                                : syscall(SYS_writev, file, parts, number));
}

ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t length, unsigned flags)
{
    return WRITTEN(to, syscall(SYS_copy_file_range, from, from_at, to, to_at, part(length), flags));
}

ssize_t sendfile(int to, int from, off_t *at, size_t length)
{
    return WRITTEN(to, syscall(SYS_sendfile, to, from, at, part(length)));
}

static int synchronised(int file, long call)
{
    char path[PATH_MAX];
    if (!path_of(file, path))
        return (int)syscall(call, file);
    int result = (int)COUNTED("sync", 0, path, syscall(call, file));
    if (result == 0)
        note(path, size_of(file));
    return result;
}

int fsync(int file) { return synchronised(file, SYS_fsync); }
int fdatasync(int file) { return synchronised(file, SYS_fdatasync); }

int ftruncate(int file, off_t length)
{
    char path[PATH_MAX];
    if (!path_of(file, path))
        return (int)syscall(SYS_ftruncate, file, length);
    int result = (int)COUNTED("truncate", 0, path, syscall(SYS_ftruncate, file, length));
    if (result == 0 && durable_of(path) > length)
        note(path, length);
    return result;
}

int ftruncate64(int file, off_t length) { return ftruncate(file, length); }

/* A rename counts by the name that it gives. */
int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    char before[PATH_MAX], path[PATH_MAX];
    int counts = resolve(to_folder, to, path) | resolve(from_folder, from, before);
    if (!counts)
        return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    int result = (int)COUNTED("rename", NAMES, path, syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
    if (result == 0)
        note_move(before, path);
    return result;
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return renameat2(from_folder, from, to_folder, to, 0);
}

int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int folder, const char *name, int flags)
{
    char path[PATH_MAX];
    if (!resolve(folder, name, path))
        return (int)syscall(SYS_unlinkat, folder, name, flags);
    const char *kind = flags & AT_REMOVEDIR ? "rmdir" : "unlink";
    int result = (int)COUNTED(kind, NAMES, path, syscall(SYS_unlinkat, folder, name, flags));
    if (result == 0)
        note_move(path, NULL);
    return result;
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int folder, const char *name, mode_t mode)
{
    char path[PATH_MAX];
    if (!resolve(folder, name, path))
        return (int)syscall(SYS_mkdirat, folder, name, mode);
    return (int)COUNTED("mkdir", NAMES | TAKES_ROOM, path, syscall(SYS_mkdirat, folder, name, mode));
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    char path[PATH_MAX];
    if (!resolve(to_folder, to, path))
        return (int)syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
    return (int)COUNTED("link", NAMES | TAKES_ROOM, path,
                        syscall(SYS_linkat, from_folder, from, to_folder, to, flags));
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int clock_gettime(clockid_t clock, struct timespec *time)
{
    static atomic_uint calls;
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && getenv("SIB_FAULT_CLOCK"))
        time->tv_sec -= 3600L * atomic_fetch_add(&calls, 1);
    return result;
}
