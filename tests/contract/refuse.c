/* refuse WHAT... -- CMD: runs CMD where the kernel refuses ptrace, seccomp listeners, bpf, or pidfd_getfd, as containers do; or any call,
   named as NUMBER:ERRNO. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(f) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, f))
#define IS(v, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, v, yes, no)
#define REFUSE(e) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (e))

static int install(struct sock_filter *f, unsigned short n) {
    struct sock_fprog p = {n, f};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p);
}

static int call(int nr, int e) {
    struct sock_filter f[] = {LOAD(nr), IS(nr, 0, 1), REFUSE(e), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    return install(f, sizeof f / sizeof *f);
}

static int listener(void) {
    struct sock_filter f[] = {LOAD(nr), IS(SYS_seccomp, 0, 3), LOAD(args[1]),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, SECCOMP_FILTER_FLAG_NEW_LISTENER, 0, 1), REFUSE(EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    return install(f, sizeof f / sizeof *f);
}

int main(int c, char **v) {
    int i = 1, bad = 0;
    for (; i < c && strcmp(v[i], "--"); i++) {
        if (!strcmp(v[i], "listener")) bad |= listener();
        else if (!strcmp(v[i], "ptrace")) bad |= call(SYS_ptrace, EPERM);
        else if (!strcmp(v[i], "bpf")) bad |= call(SYS_bpf, EPERM);
        else if (!strcmp(v[i], "nothing")) bad |= call(SYS_acct, EPERM);
        else if (!strcmp(v[i], "getfd")) bad |= call(SYS_pidfd_getfd, EPERM);
        else if (strchr(v[i], ':')) bad |= call(atoi(v[i]), atoi(strchr(v[i], ':') + 1));
        else return 2;
    }
    if (bad) { perror("refuse"); return 3; }
    execvp(v[i + 1], v + i + 1);
    perror(v[i + 1]);
    return 127;
}
