/* One system call a case, with what an observer must report of it.
 *
 * `calls --list` prints the cases; `calls NAME` performs one in the current directory, which holds: files f and g, an
 * executable s, an empty directory m, a directory d with d/f, links l -> f, x -> nowhere, dl -> d and d/up -> ../g.
 * An expectation is a list of KIND:NAME; kinds are the sets of `xl trace --json`, names are relative to the directory
 * and `.` is the directory itself. `dirs` that are only walked through are not mentioned. `escapes` gives a word of the
 * escape. Calls are made raw, so that no library stands between. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define C(...) ((long)syscall(__VA_ARGS__))
static const char *self;
static char buf[8192];
/* The call must succeed, or fail with this errno: a case that does not do what it says proves nothing. */
static void ok(long r, const char *what) { if (r < 0) { fprintf(stderr, "%s: %s\n", what, strerror(errno)); _exit(99); } }
static void no(long r, int e, const char *what) {
    if (r >= 0 || errno != e) { fprintf(stderr, "%s: %ld, %s\n", what, r, strerror(errno)); _exit(98); }
}
#define OK(x) ok((x), #x)
#define NO(e, x) no((x), (e), #x)
static int dir(const char *n) { int fd = C(SYS_open, n, O_RDONLY | O_DIRECTORY); OK(fd); return fd; }
static int rd(const char *n) { int fd = C(SYS_open, n, O_RDONLY); OK(fd); return fd; }
static void list(int fd) { while (C(SYS_getdents64, fd, buf, sizeof buf) > 0) {} }
static char *argv_s[] = {"s", 0}, *env0[] = {0};
static void child(void (*f)(void)) { pid_t p = fork(); if (!p) { f(); _exit(0); } int st; waitpid(p, &st, 0); if (st) _exit(97); }
static struct timespec T[2] = {{1000, 0}, {1000, 0}};

#define CASES(X) \
X(open_read, "read:f", OK(C(SYS_open, "f", O_RDONLY))) \
X(open_absent, "absent:no", NO(ENOENT, C(SYS_open, "no", O_RDONLY))) \
X(open_link, "read:f symlinks:l", OK(C(SYS_open, "l", O_RDONLY))) \
X(open_dangling, "absent:nowhere symlinks:x", NO(ENOENT, C(SYS_open, "x", O_RDONLY))) \
X(open_nofollow, "read:l", NO(ELOOP, C(SYS_open, "l", O_RDONLY | O_NOFOLLOW))) \
X(open_path, "probed:f", OK(C(SYS_open, "f", O_PATH))) \
X(open_directory, "probed:d", OK(C(SYS_open, "d", O_RDONLY | O_DIRECTORY))) \
X(open_file_as_directory, "probed:f", NO(ENOTDIR, C(SYS_open, "f", O_RDONLY | O_DIRECTORY))) \
X(open_not_a_directory, "absent:f/z", NO(ENOTDIR, C(SYS_open, "f/z", O_RDONLY))) \
X(open_through_link, "read:d/f symlinks:dl", OK(C(SYS_open, "dl/f", O_RDONLY))) \
X(open_up_through_link, "read:g symlinks:dl,d/up", OK(C(SYS_open, "dl/up", O_RDONLY))) \
X(open_dots, "read:f", OK(C(SYS_open, "./d/../m/.././f", O_RDONLY))) \
X(open_slashes, "read:d/f", OK(C(SYS_open, "d////f", O_RDONLY))) \
X(open_trailing_slash, "read:f", NO(ENOTDIR, C(SYS_open, "f/", O_RDONLY))) \
X(open_create, "absent:n written:n outputs:n", OK(C(SYS_open, "n", O_WRONLY | O_CREAT, 0644))) \
X(open_create_old, "read:f written:f outputs:f inputs:f", OK(C(SYS_write, C(SYS_open, "f", O_WRONLY | O_CREAT, 0644), "zz", 2))) \
X(open_truncate, "written:f outputs:f", OK(C(SYS_open, "f", O_WRONLY | O_TRUNC))) \
X(open_append, "read:f written:f outputs:f inputs:f", OK(C(SYS_write, C(SYS_open, "f", O_WRONLY | O_APPEND), "z", 1))) \
X(open_rdwr, "read:f written:f outputs:f inputs:f", OK(C(SYS_write, C(SYS_open, "f", O_RDWR), "z", 1))) \
X(open_rdwr_only_read, "read:f inputs:f", OK(C(SYS_open, "f", O_RDWR))) \
X(open_exclusive, "written:n outputs:n", OK(C(SYS_open, "n", O_WRONLY | O_CREAT | O_EXCL, 0600))) \
X(open_exclusive_old, "", NO(EEXIST, C(SYS_open, "f", O_WRONLY | O_CREAT | O_EXCL, 0600))) \
X(open_create_through_dangling, "absent:nowhere symlinks:x written:nowhere outputs:nowhere", OK(C(SYS_open, "x", O_WRONLY | O_CREAT, 0644))) \
X(open_tmpfile, "probed:.", OK(C(SYS_open, ".", O_TMPFILE | O_RDWR, 0600))) \
X(openat_dirfd, "read:d/f probed:d", OK(C(SYS_openat, dir("d"), "f", O_RDONLY))) \
X(openat_cwd, "read:f", OK(C(SYS_openat, AT_FDCWD, "f", O_RDONLY))) \
X(openat_absolute_ignores_dirfd, "read:f", OK(C(SYS_openat, 999, strcat(getcwd(buf, 4096), "/f"), O_RDONLY))) \
X(openat_bad_dirfd, "", NO(EBADF, C(SYS_openat, 999, "f", O_RDONLY))) \
X(openat2_read, "read:f", struct open_how h = {.flags = O_RDONLY}; OK(C(SYS_openat2, AT_FDCWD, "f", &h, sizeof h))) \
X(openat2_create, "absent:n written:n outputs:n", struct open_how h = {.flags = O_WRONLY | O_CREAT, .mode = 0644}; OK(C(SYS_openat2, AT_FDCWD, "n", &h, sizeof h))) \
X(openat2_beneath, "read:d/f probed:d", struct open_how h = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH}; OK(C(SYS_openat2, dir("d"), "f", &h, sizeof h))) \
X(creat_new, "written:n outputs:n", OK(C(SYS_creat, "n", 0644))) \
X(creat_old, "written:f outputs:f", OK(C(SYS_creat, "f", 0644))) \
X(getrlimit, "facts:the limit on open files", char r[16]; OK(C(SYS_getrlimit, 7, r))) \
X(setrlimit, "facts:the limit on pending signals", char r[16]; OK(C(SYS_getrlimit, 11, r)); OK(C(SYS_setrlimit, 11, r))) \
X(prlimit64, "facts:the limit on core file size", char r[16]; OK(C(SYS_prlimit64, 0, 4, 0, r))) \
X(prlimit64_set, "facts:the limit on locked memory", char r[16]; OK(C(SYS_prlimit64, 0, 8, 0, r)); OK(C(SYS_prlimit64, 0, 8, r, 0))) \
X(uname, "facts:the kernel or host name", char r[512]; OK(C(SYS_uname, r))) \
X(sched_getaffinity, "facts:the number of processors", char r[1024]; OK(C(SYS_sched_getaffinity, 0, sizeof r, r))) \
X(stat_file, "probed:f", struct stat s; OK(C(SYS_stat, "f", &s))) \
X(stat_absent, "absent:no", struct stat s; NO(ENOENT, C(SYS_stat, "no", &s))) \
X(stat_link, "probed:f symlinks:l", struct stat s; OK(C(SYS_stat, "l", &s))) \
X(lstat_link, "probed:l symlinks:l", struct stat s; OK(C(SYS_lstat, "l", &s))) \
X(newfstatat_dirfd, "probed:d,d/f", struct stat s; OK(C(SYS_newfstatat, dir("d"), "f", &s, 0))) \
X(newfstatat_nofollow, "probed:l symlinks:l", struct stat s; OK(C(SYS_newfstatat, AT_FDCWD, "l", &s, AT_SYMLINK_NOFOLLOW))) \
X(newfstatat_empty, "read:f", struct stat s; OK(C(SYS_newfstatat, rd("f"), "", &s, AT_EMPTY_PATH))) \
X(fstat_fd, "read:f", struct stat s; OK(C(SYS_fstat, rd("f"), &s))) \
X(statx_file, "probed:f", struct statx s; OK(C(SYS_statx, AT_FDCWD, "f", 0, STATX_ALL, &s))) \
X(statx_nofollow, "probed:x symlinks:x", struct statx s; OK(C(SYS_statx, AT_FDCWD, "x", AT_SYMLINK_NOFOLLOW, STATX_ALL, &s))) \
X(statx_absent, "absent:d/no", struct statx s; NO(ENOENT, C(SYS_statx, AT_FDCWD, "d/no", 0, STATX_ALL, &s))) \
X(access_file, "probed:f", OK(C(SYS_access, "f", R_OK))) \
X(access_absent, "absent:no", NO(ENOENT, C(SYS_access, "no", F_OK))) \
X(faccessat_dirfd, "probed:d,d/f", OK(C(SYS_faccessat, dir("d"), "f", R_OK))) \
X(faccessat2_nofollow, "probed:x symlinks:x", OK(C(SYS_faccessat2, AT_FDCWD, "x", F_OK, AT_SYMLINK_NOFOLLOW))) \
X(statfs_file, "probed:f", OK(C(SYS_statfs, "f", buf))) \
X(getxattr_file, "probed:f", NO(ENODATA, C(SYS_getxattr, "f", "user.none", buf, 10))) \
X(lgetxattr_link, "probed:l symlinks:l", C(SYS_lgetxattr, "l", "user.none", buf, 10)) \
X(listxattr_file, "probed:f", OK(C(SYS_listxattr, "f", buf, 100))) \
X(llistxattr_link, "probed:l symlinks:l", C(SYS_llistxattr, "l", buf, 100)) \
X(fgetxattr_fd, "read:f", NO(ENODATA, C(SYS_fgetxattr, rd("f"), "user.none", buf, 10))) \
X(flistxattr_fd, "read:f", OK(C(SYS_flistxattr, rd("f"), buf, 100))) \
X(readlink_link, "probed:l symlinks:l", OK(C(SYS_readlink, "l", buf, 100))) \
X(readlink_file, "probed:f", NO(EINVAL, C(SYS_readlink, "f", buf, 100))) \
X(readlink_absent, "absent:no", NO(ENOENT, C(SYS_readlink, "no", buf, 100))) \
X(readlinkat_dirfd, "probed:d,d/up symlinks:d/up", OK(C(SYS_readlinkat, dir("d"), "up", buf, 100))) \
X(rename_file, "read:f written:n outputs:n deleted:f inputs:f", OK(C(SYS_rename, "f", "n"))) \
X(rename_over, "read:f written:g outputs:g deleted:f inputs:f", OK(C(SYS_rename, "f", "g"))) \
X(rename_absent, "absent:no", NO(ENOENT, C(SYS_rename, "no", "n"))) \
X(rename_directory, "listed:d written:n/f,n/up outputs:n/f,n/up deleted:d directories:n", OK(C(SYS_rename, "d", "n"))) \
X(renameat_dirfds, "read:d/f probed:d,m written:m/n outputs:m/n deleted:d/f inputs:d/f", OK(C(SYS_renameat, dir("d"), "f", dir("m"), "n"))) \
X(renameat2_noreplace, "read:f written:n outputs:n deleted:f inputs:f", OK(C(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "n", 1))) \
X(renameat2_noreplace_old, "read:f inputs:f", NO(EEXIST, C(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "g", 1))) \
X(renameat2_exchange, "read:f written:f,g outputs:f,g escapes:EXCHANGE", OK(C(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "g", 2))) \
X(link_file, "read:f written:n outputs:n", OK(C(SYS_link, "f", "n"))) \
X(link_old, "read:f inputs:f", NO(EEXIST, C(SYS_link, "f", "g"))) \
X(linkat_follow, "read:f symlinks:l written:n outputs:n", OK(C(SYS_linkat, AT_FDCWD, "l", AT_FDCWD, "n", AT_SYMLINK_FOLLOW))) \
X(linkat_fd, "read:f written:n outputs:n", OK(C(SYS_linkat, rd("f"), "", AT_FDCWD, "n", AT_EMPTY_PATH))) \
X(linkat_tmpfile, "probed:. written:n outputs:n", int fd = C(SYS_open, ".", O_TMPFILE | O_RDWR, 0600); OK(fd); sprintf(buf, "/proc/self/fd/%d", fd); OK(C(SYS_linkat, AT_FDCWD, buf, AT_FDCWD, "n", AT_SYMLINK_FOLLOW))) \
X(symlink_new, "written:n outputs:n", OK(C(SYS_symlink, "f", "n"))) \
X(symlinkat_dirfd, "probed:d written:d/n outputs:d/n", OK(C(SYS_symlinkat, "f", dir("d"), "n"))) \
X(unlink_file, "deleted:f", OK(C(SYS_unlink, "f"))) \
X(unlink_absent, "absent:no", NO(ENOENT, C(SYS_unlink, "no"))) \
X(unlink_link, "deleted:l", OK(C(SYS_unlink, "l"))) \
X(unlinkat_dirfd, "probed:d deleted:d/f", OK(C(SYS_unlinkat, dir("d"), "f", 0))) \
X(unlinkat_directory, "listed:m deleted:m", OK(C(SYS_unlinkat, AT_FDCWD, "m", AT_REMOVEDIR))) \
X(rmdir_empty, "listed:m deleted:m", OK(C(SYS_rmdir, "m"))) \
X(rmdir_full, "listed:d", NO(ENOTEMPTY, C(SYS_rmdir, "d"))) \
X(mkdir_new, "directories:n", OK(C(SYS_mkdir, "n", 0755))) \
X(mkdir_old, "", NO(EEXIST, C(SYS_mkdir, "d", 0755))) \
X(mkdirat_dirfd, "probed:d directories:d/n", OK(C(SYS_mkdirat, dir("d"), "n", 0755))) \
X(mkdir_without_parent, "absent:no", NO(ENOENT, C(SYS_mkdir, "no/n", 0755))) \
X(create_without_parent, "absent:no", NO(ENOENT, C(SYS_open, "no/n", O_WRONLY | O_CREAT, 0644))) \
X(create_under_a_file, "probed:f", NO(ENOTDIR, C(SYS_open, "f/n", O_WRONLY | O_CREAT, 0644))) \
X(mknod_fifo, "written:n outputs:n", OK(C(SYS_mknod, "n", S_IFIFO | 0600, 0))) \
X(mknodat_file, "probed:d written:d/n outputs:d/n", OK(C(SYS_mknodat, dir("d"), "n", S_IFREG | 0600, 0))) \
X(create_and_remove, "written:n temps:n", OK(C(SYS_creat, "n", 0600)); OK(C(SYS_unlink, "n"))) \
X(replace_by_rename, "written:n,f temps:n outputs:f", OK(C(SYS_creat, "n", 0600)); OK(C(SYS_rename, "n", "f"))) \
X(chmod_file, "read:f written:f outputs:f", OK(C(SYS_chmod, "f", 0600))) \
X(chmod_link, "read:f symlinks:l written:f outputs:f", OK(C(SYS_chmod, "l", 0600))) \
X(chmod_absent, "absent:no", NO(ENOENT, C(SYS_chmod, "no", 0600))) \
X(fchmod_fd, "read:f written:f outputs:f", OK(C(SYS_fchmod, rd("f"), 0600))) \
X(fchmodat_dirfd, "read:d/f probed:d written:d/f outputs:d/f", OK(C(SYS_fchmodat, dir("d"), "f", 0600))) \
X(fchmodat2_dirfd, "read:d/f probed:d written:d/f outputs:d/f", OK(C(452, dir("d"), "f", 0600, 0))) \
X(chown_file, "read:f written:f outputs:f", OK(C(SYS_chown, "f", geteuid(), getegid()))) \
X(lchown_link, "probed:l symlinks:l written:l outputs:l", OK(C(SYS_lchown, "l", geteuid(), getegid()))) \
X(fchown_fd, "read:f written:f outputs:f", OK(C(SYS_fchown, rd("f"), geteuid(), getegid()))) \
X(fchownat_nofollow, "probed:l symlinks:l written:l outputs:l", OK(C(SYS_fchownat, AT_FDCWD, "l", geteuid(), getegid(), AT_SYMLINK_NOFOLLOW))) \
X(utime_file, "read:f written:f outputs:f", OK(C(SYS_utime, "f", 0))) \
X(utimes_file, "read:f written:f outputs:f", OK(C(SYS_utimes, "f", 0))) \
X(futimesat_dirfd, "read:d/f probed:d written:d/f outputs:d/f", OK(C(SYS_futimesat, dir("d"), "f", 0))) \
X(utimensat_file, "read:f written:f outputs:f", OK(C(SYS_utimensat, AT_FDCWD, "f", T, 0))) \
X(utimensat_fd, "read:f written:f outputs:f", OK(C(SYS_utimensat, rd("f"), 0, T, 0))) \
X(utimensat_nofollow, "probed:l symlinks:l written:l outputs:l", OK(C(SYS_utimensat, AT_FDCWD, "l", T, AT_SYMLINK_NOFOLLOW))) \
X(truncate_file, "read:f written:f outputs:f", OK(C(SYS_truncate, "f", 1))) \
X(ftruncate_fd, "read:f written:f outputs:f inputs:f", int fd = C(SYS_open, "f", O_RDWR); OK(C(SYS_ftruncate, fd, 1))) \
X(fallocate_fd, "read:f written:f outputs:f inputs:f", int fd = C(SYS_open, "f", O_RDWR); OK(C(SYS_fallocate, fd, 0, 0, 100))) \
X(chdir_then_read, "read:d/f probed:d", OK(C(SYS_chdir, "d")); OK(C(SYS_open, "f", O_RDONLY))) \
X(chdir_absent, "absent:no", NO(ENOENT, C(SYS_chdir, "no"))) \
X(chdir_link, "read:d/f probed:d symlinks:dl", OK(C(SYS_chdir, "dl")); OK(C(SYS_open, "f", O_RDONLY))) \
X(fchdir_then_read, "read:d/f probed:d", OK(C(SYS_fchdir, dir("d"))); OK(C(SYS_open, "f", O_RDONLY))) \
X(getdents64_directory, "listed:d probed:d", list(dir("d"))) \
X(getdents_directory, "listed:d probed:d", OK(C(SYS_getdents, dir("d"), buf, sizeof buf))) \
X(getdents_through_link, "listed:d probed:d symlinks:dl", list(dir("dl"))) \
X(execve_program, "read:s", child(({ void f(void) { C(SYS_execve, "./s", argv_s, env0); _exit(1); } f; }))) \
X(execve_absent, "absent:no", NO(ENOENT, C(SYS_execve, "./no", argv_s, env0))) \
X(execve_not_executable, "probed:f", NO(EACCES, C(SYS_execve, "./f", argv_s, env0))) \
X(execveat_dirfd, "read:s probed:.", int fd = dir("."); (void)fd; child(({ void f(void) { C(SYS_execveat, dir("."), "s", argv_s, env0, 0); _exit(1); } f; }))) \
X(execveat_fd, "read:s", child(({ void f(void) { int fd = C(SYS_open, "s", O_RDONLY); C(SYS_execveat, fd, "", argv_s, env0, AT_EMPTY_PATH); _exit(1); } f; }))) \
X(fork_reads, "read:f", child(({ void f(void) { rd("f"); } f; }))) \
X(vfork_reads, "read:f", pid_t p = vfork(); if (!p) { syscall(SYS_open, "f", O_RDONLY); _exit(0); } waitpid(p, 0, 0)) \
X(clone3_reads, "read:f", uint64_t a[11] = {0}; a[4] = SIGCHLD; long p = C(SYS_clone3, a, sizeof a); if (!p) { rd("f"); _exit(0); } OK(p); waitpid(p, 0, 0)) \
X(double_fork_reads, "read:f", child(({ void f(void) { child(({ void g(void) { rd("f"); } g; })); } f; }))) \
X(thread_reads, "read:f", pthread_t t; pthread_create(&t, 0, ({ void *f(void *a) { rd("f"); return a; } f; }), 0); pthread_join(t, 0)) \
X(thread_execs, "read:s", child(({ void f(void) { pthread_t t; pthread_create(&t, 0, ({ void *g(void *a) { C(SYS_execve, "./s", argv_s, env0); return a; } g; }), 0); pthread_join(t, 0); _exit(1); } f; }))) \
X(thread_with_own_cwd, "read:d/f,f probed:d escapes:namespaces", pthread_t t; pthread_create(&t, 0, ({ void *g(void *a) { OK(unshare(CLONE_FS)); OK(C(SYS_chdir, "d")); rd("f"); return a; } g; }), 0); pthread_join(t, 0); rd("f")) \
X(mmap_of_a_read_file, "read:f", int fd = rd("f"); OK(mmap(0, 1, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0)) \
X(sendfile_copies, "read:f written:n outputs:n", int o = C(SYS_creat, "n", 0600); OK(sendfile(o, rd("f"), 0, 1))) \
X(copy_file_range_copies, "read:f written:n outputs:n", int o = C(SYS_creat, "n", 0600); OK(C(SYS_copy_file_range, rd("f"), 0, o, 0, 1, 0))) \
X(dup_writes, "written:n outputs:n", int o = C(SYS_creat, "n", 0600); OK(write(dup(o), "x", 1))) \
X(proc_self_fd, "read:f", int fd = rd("f"); sprintf(buf, "/proc/self/fd/%d", fd); OK(C(SYS_open, buf, O_RDONLY))) \
X(proc_self_cwd, "read:f", OK(C(SYS_open, "/proc/self/cwd/f", O_RDONLY))) \
X(proc_self_root, "read:f", sprintf(buf, "/proc/self/root%s/f", getcwd(buf + 4096, 4000)); OK(C(SYS_open, buf, O_RDONLY))) \
X(passed_fd, "read:f", int p[2]; OK(socketpair(AF_UNIX, SOCK_STREAM, 0, p)); char b[64] = {0}; struct iovec v = {b, 1}; struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = b + 8, .msg_controllen = CMSG_SPACE(4)}; struct cmsghdr *m = CMSG_FIRSTHDR(&h); m->cmsg_level = SOL_SOCKET; m->cmsg_type = SCM_RIGHTS; m->cmsg_len = CMSG_LEN(4); *(int *)CMSG_DATA(m) = rd("f"); OK(sendmsg(p[0], &h, 0)); OK(recvmsg(p[1], &h, 0))) \
X(memfd, "", OK(C(SYS_memfd_create, "m", 0))) \
X(inotify_watch, "probed:d", OK(C(SYS_inotify_add_watch, C(SYS_inotify_init1, 0), "d", 2))) \
X(deleted_cwd, "probed:m listed:m deleted:m escapes:directory is gone", OK(C(SYS_chdir, "m")); OK(C(SYS_rmdir, "../m")); NO(ENOENT, C(SYS_open, "f", O_RDONLY))) \
X(long_path, "", memset(buf, 'a', 5000); buf[5000] = 0; NO(ENAMETOOLONG, C(SYS_open, buf, O_RDONLY))) \
X(long_relative_walk, "read:f", for (int i = 0; i < 1300; i++) memcpy(buf + 3 * i, "./.", 3), buf[3 * i + 2] = '/'; strcpy(buf + 3900, "f"); OK(C(SYS_open, buf, O_RDONLY))) \
X(bad_pointer, "", NO(EFAULT, C(SYS_open, 1, O_RDONLY))) \
X(empty_path, "", NO(ENOENT, C(SYS_open, "", O_RDONLY))) \
X(link_loop, "symlinks:q written:q outputs:q", OK(symlink("q", "q")); NO(ELOOP, C(SYS_open, "q", O_RDONLY))) \
X(io_uring, "", NO(ENOSYS, C(SYS_io_uring_setup, 4, buf))) \
X(open_by_handle, "", NO(EPERM, C(SYS_open_by_handle_at, AT_FDCWD, buf, 0))) \
X(name_to_handle, "probed:f", struct file_handle *h = (void *)buf; h->handle_bytes = 128; int id; OK(C(SYS_name_to_handle_at, AT_FDCWD, "f", h, &id, 0))) \
X(unknown_number, "escapes:does not know", NO(ENOSYS, C(1000))) \
X(x32_number, "escapes:32-bit", C(0x40000000 | SYS_getpid)) \
X(int_0x80, "escapes:32-bit", int r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory")) \
X(connect_unix, "escapes:socket", struct sockaddr_un a = {AF_UNIX, "./nobody"}; NO(ENOENT, C(SYS_connect, C(SYS_socket, AF_UNIX, SOCK_STREAM, 0), &a, sizeof a))) \
X(shm_get, "escapes:IPC", C(SYS_shmget, 0, 4096, 01600)) \
X(unshare_mounts, "escapes:namespaces", C(SYS_unshare, CLONE_NEWNS)) \
X(chroot_here, "escapes:namespaces", C(SYS_chroot, ".")) \
X(set_user, "escapes:its user, groups", C(SYS_setuid, 65534)) \
X(set_group, "escapes:its user, groups", C(SYS_setgid, 65534)) \
X(set_users, "escapes:its user, groups", C(SYS_setreuid, -1, 65534)) \
X(set_groups_2, "escapes:its user, groups", C(SYS_setregid, 65534, -1)) \
X(set_three_users, "escapes:its user, groups", C(SYS_setresuid, -1, -1, 65534)) \
X(set_three_groups, "escapes:its user, groups", C(SYS_setresgid, -1, 65534, -1)) \
X(set_group_list, "escapes:its user, groups", OK(C(SYS_setgroups, 0, 0))) \
X(set_fs_user, "escapes:its user, groups", C(SYS_setfsuid, 65534)) \
X(set_fs_group, "escapes:its user, groups", C(SYS_setfsgid, 65534)) \
X(set_own_ids, "", OK(C(SYS_setuid, geteuid())); OK(C(SYS_setresgid, -1, getegid(), -1)); OK(C(SYS_setreuid, -1, -1))) \
X(set_capabilities, "escapes:its user, groups", NO(EFAULT, C(SYS_capset, 0, 0)))

#define NAMES(n, e, ...) {#n, e, case_##n},
#define BODY(n, e, ...) static void case_##n(void) { __VA_ARGS__; }
CASES(BODY)
static const struct { const char *name, *expect; void (*run)(void); } all[] = {CASES(NAMES)};

int main(int c, char **v) {
    self = v[0];
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        if (c > 1 && !strcmp(v[1], "--list")) printf("%s\t%s\n", all[i].name, all[i].expect);
        else if (c > 1 && !strcmp(v[1], all[i].name)) { all[i].run(); return 0; }
    }
    return c > 1 && !strcmp(v[1], "--list") ? 0 : 2;
}
