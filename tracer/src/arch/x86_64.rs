//! x86-64: numbers from `arch/x86/entry/syscalls/syscall_64.tbl` of Linux 6.18.

use super::{At, Follow, Shape};
use crate::access::{EscapeKind, Fact, Made, Meta};

/// `AUDIT_ARCH_X86_64` of `linux/audit.h`.
pub(crate) const AUDIT_ARCH: u32 = 0xc000_003e;
/// Numbers with this bit are x32 calls.
pub(crate) const FOREIGN_ABI_BIT: u32 = 0x4000_0000;
/// The highest number that this table was written against (`file_setattr`); a higher one is unknown.
pub(crate) const HIGHEST_KNOWN: u32 = 470;

/// `execve` and `execveat` of i386 (`arch/x86/entry/syscalls/syscall_32.tbl`), and of x32 (`syscall_64.tbl`).
pub(crate) const FOREIGN_EXECS: &[i32] = &[11, 358, FOREIGN_ABI_BIT as i32 + 520, FOREIGN_ABI_BIT as i32 + 545];
pub(crate) const EXECVE: i32 = 59;
pub(crate) const EXECVEAT: i32 = 322;
pub(crate) const CLONE: i32 = 56;
pub(crate) const CLONE3: i32 = 435;
pub(crate) const EXIT: i32 = 60;
pub(crate) const EXIT_GROUP: i32 = 231;
pub(crate) const FCNTL: i32 = 72;
pub(crate) const RT_SIGACTION: i32 = 13;
pub(crate) const PTRACE: i32 = 101;
pub(crate) const SENDMSG: i32 = 46;
pub(crate) const UTIMENSAT: i32 = 280;
pub(crate) const SENDTO: i32 = 44;
pub(crate) const IO_URING_SETUP: i32 = 425;
pub(crate) const OPEN_BY_HANDLE_AT: i32 = 304;

/// Calls that may consume or duplicate standard input, with the index of the descriptor argument:
/// read, pread64, readv, preadv, preadv2, splice, sendfile, copy_file_range, dup, dup2, dup3, tee.
pub(crate) const STDIN_READERS: &[(i32, u8)] =
    &[(0, 0), (17, 0), (19, 0), (295, 0), (327, 0), (275, 0), (40, 1), (326, 0), (32, 0), (33, 0), (292, 0), (276, 0)];

/// Calls that read from the descriptor that is their first argument, as far as terminals are read: read, readv.
pub(crate) const READERS: &[i32] = &[0, 19];

/// Calls that tell what standard input is, with the index of the descriptor argument: fstat, lseek, ioctl (`isatty`),
/// newfstatat and statx with an empty path.
pub(crate) const STDIN_ASKERS: &[(i32, u8)] = &[(5, 0), (8, 0), (16, 0), (262, 0), (332, 0)];

/// Calls that give a descriptor another name, a number that is their second argument: dup2, dup3.
pub(crate) const DUPLICATORS: &[i32] = &[33, 292];

pub(crate) const IOCTL: i32 = 16;

/// Requests that any file but a terminal refuses with `ENOTTY` (ioctl_tty(2)): TCGETS (`isatty` of glibc), TCGETS2,
/// TIOCGWINSZ (`isatty` of musl), TIOCGPGRP.
pub(crate) const TERMINAL_REQUESTS: &[u32] = &[0x5401, 0x802c_542a, 0x5413, 0x540f];

/// Those of [`TERMINAL_SETTERS`] that are given a `struct termio`: TCSETA, TCSETAW, TCSETAF.
pub(crate) const TERMINAL_SETTERS_OLD: &[u32] = &[0x5406, 0x5407, 0x5408];

/// Requests that set the modes of a terminal (ioctl_tty(2)): TCSETS, TCSETSW, TCSETSF, TCSETA, TCSETAW, TCSETAF,
/// TCSETS2, TCSETSW2, TCSETSF2.
pub(crate) const TERMINAL_SETTERS: &[u32] =
    &[0x5402, 0x5403, 0x5404, 0x5406, 0x5407, 0x5408, 0x402c_542b, 0x402c_542c, 0x402c_542d];

/// Requests by which a terminal becomes somebody's own: TIOCSCTTY, TIOCSPGRP, TIOCSTI, TIOCSWINSZ.
pub(crate) const TERMINAL_OWNERS: &[u32] = &[0x540e, 0x5410, 0x5412, 0x5414];

/// The request that asks for the process group of a terminal, which is written where its argument points.
pub(crate) const TIOCGPGRP: u32 = 0x540f;

/// Calls that use or duplicate a descriptor, with the index of the argument: read, write, pread64, pwrite64, readv,
/// writev, preadv, pwritev, preadv2, pwritev2, splice, tee, vmsplice, sendfile, dup, dup2, dup3, fcntl, recvfrom,
/// recvmsg, sendto, sendmsg.
pub(crate) const DESCRIPTOR_USERS: &[(i32, u8)] = &[
    (0, 0),
    (1, 0),
    (17, 0),
    (18, 0),
    (19, 0),
    (20, 0),
    (295, 0),
    (296, 0),
    (327, 0),
    (328, 0),
    (275, 0),
    (275, 2),
    (276, 0),
    (276, 1),
    (278, 0),
    (40, 0),
    (40, 1),
    (32, 0),
    (33, 0),
    (292, 0),
    (FCNTL, 0),
    (45, 0),
    (47, 0),
    (SENDTO, 0),
    (SENDMSG, 0),
];

/// Calls that fill a `struct stat`, or, if `true`, a `struct statx`, with the index of the argument that points to it.
pub(crate) const STAT_BUFFERS: &[(i32, u8, bool)] = &[(4, 1, false), (6, 1, false), (262, 2, false), (332, 4, true)];

/// Turns the registers of a task stopped inside a system call into "call exit_group(code) instead": back
/// over the two-byte `syscall` instruction, no restart (`orig_rax` = -1).
pub(crate) fn exit_group_registers(regs: &mut libc::user_regs_struct, code: i32) {
    regs.rip -= 2;
    regs.orig_rax = u64::MAX;
    regs.rax = EXIT_GROUP as u64;
    regs.rdi = code as u64;
}

/// Turns the registers of a task stopped at the entry of a system call into "about to make it", from the exit of
/// another.
pub(crate) fn call_again(regs: &mut libc::user_regs_struct) {
    regs.rip -= 2;
    regs.rax = regs.orig_rax;
    regs.orig_rax = u64::MAX;
}

const fn cwd(path: u8) -> At {
    At(None, path)
}
const fn at(dir: u8, path: u8) -> At {
    At(Some(dir), path)
}

/// Every call that names a file, changes one, lists a directory, states a fact or escapes observation.
pub(crate) const TABLE: &[(i32, &str, Shape)] = &[
    (2, "open", Shape::Open(cwd(0), 1)),
    (257, "openat", Shape::Open(at(0, 1), 2)),
    (437, "openat2", Shape::OpenHow(at(0, 1), 2)),
    (85, "creat", Shape::Creat(cwd(0))),
    (4, "stat", Shape::Stat(cwd(0), Follow::Yes)),
    (6, "lstat", Shape::Stat(cwd(0), Follow::No)),
    (262, "newfstatat", Shape::Stat(at(0, 1), Follow::UnlessFlag(3))),
    (332, "statx", Shape::Stat(at(0, 1), Follow::UnlessFlag(2))),
    (21, "access", Shape::Access(cwd(0), 1, Follow::Yes)),
    (269, "faccessat", Shape::Access(at(0, 1), 2, Follow::Yes)),
    (439, "faccessat2", Shape::Access(at(0, 1), 2, Follow::UnlessFlag(3))),
    (137, "statfs", Shape::Stat(cwd(0), Follow::Yes)),
    (191, "getxattr", Shape::Attributes(cwd(0), Follow::Yes)),
    (192, "lgetxattr", Shape::Attributes(cwd(0), Follow::No)),
    (194, "listxattr", Shape::Attributes(cwd(0), Follow::Yes)),
    (195, "llistxattr", Shape::Attributes(cwd(0), Follow::No)),
    (193, "fgetxattr", Shape::AttributesFd),
    (196, "flistxattr", Shape::AttributesFd),
    (303, "name_to_handle_at", Shape::Stat(at(0, 1), Follow::IfFlag(4))),
    (464, "getxattrat", Shape::Attributes(at(0, 1), Follow::UnlessFlag(2))),
    (465, "listxattrat", Shape::Attributes(at(0, 1), Follow::UnlessFlag(2))),
    (468, "file_getattr", Shape::Stat(at(0, 1), Follow::UnlessFlag(4))),
    (254, "inotify_add_watch", Shape::Stat(cwd(1), Follow::Yes)),
    (89, "readlink", Shape::Readlink(cwd(0))),
    (267, "readlinkat", Shape::Readlink(at(0, 1))),
    (82, "rename", Shape::Rename(cwd(0), cwd(1), None)),
    (264, "renameat", Shape::Rename(at(0, 1), at(2, 3), None)),
    (316, "renameat2", Shape::Rename(at(0, 1), at(2, 3), Some(4))),
    (86, "link", Shape::Link(cwd(0), cwd(1), Follow::No)),
    (265, "linkat", Shape::Link(at(0, 1), at(2, 3), Follow::IfFlag(4))),
    (88, "symlink", Shape::Make(cwd(1), Made::Symlink)),
    (266, "symlinkat", Shape::Make(at(1, 2), Made::Symlink)),
    (87, "unlink", Shape::Unlink(cwd(0))),
    (263, "unlinkat", Shape::Unlink(at(0, 1))),
    (84, "rmdir", Shape::Unlink(cwd(0))),
    (83, "mkdir", Shape::MakeDirectory(cwd(0), 1)),
    (258, "mkdirat", Shape::MakeDirectory(at(0, 1), 2)),
    (133, "mknod", Shape::Make(cwd(0), Made::Node)),
    (259, "mknodat", Shape::Make(at(0, 1), Made::Node)),
    (90, "chmod", Shape::SetMeta(cwd(0), Follow::Yes, Meta::Mode)),
    (268, "fchmodat", Shape::SetMeta(at(0, 1), Follow::Yes, Meta::Mode)),
    (452, "fchmodat2", Shape::SetMeta(at(0, 1), Follow::UnlessFlag(3), Meta::Mode)),
    (92, "chown", Shape::SetMeta(cwd(0), Follow::Yes, Meta::Owner)),
    (94, "lchown", Shape::SetMeta(cwd(0), Follow::No, Meta::Owner)),
    (260, "fchownat", Shape::SetMeta(at(0, 1), Follow::UnlessFlag(4), Meta::Owner)),
    (188, "setxattr", Shape::SetMeta(cwd(0), Follow::Yes, Meta::Attribute)),
    (189, "lsetxattr", Shape::SetMeta(cwd(0), Follow::No, Meta::Attribute)),
    (197, "removexattr", Shape::SetMeta(cwd(0), Follow::Yes, Meta::NoAttribute)),
    (198, "lremovexattr", Shape::SetMeta(cwd(0), Follow::No, Meta::NoAttribute)),
    (463, "setxattrat", Shape::SetMeta(at(0, 1), Follow::UnlessFlag(2), Meta::Attribute)),
    (466, "removexattrat", Shape::SetMeta(at(0, 1), Follow::UnlessFlag(2), Meta::NoAttribute)),
    (469, "file_setattr", Shape::SetMeta(at(0, 1), Follow::UnlessFlag(4), Meta::Flags)),
    (91, "fchmod", Shape::SetMetaFd(Meta::Mode)),
    (93, "fchown", Shape::SetMetaFd(Meta::Owner)),
    (190, "fsetxattr", Shape::SetMetaFd(Meta::Attribute)),
    (199, "fremovexattr", Shape::SetMetaFd(Meta::NoAttribute)),
    (132, "utime", Shape::SetTimes(cwd(0), Follow::Yes, 1)),
    (235, "utimes", Shape::SetTimes(cwd(0), Follow::Yes, 1)),
    (261, "futimesat", Shape::SetTimes(at(0, 1), Follow::Yes, 2)),
    (280, "utimensat", Shape::SetTimes(at(0, 1), Follow::UnlessFlag(3), 2)),
    (76, "truncate", Shape::Truncate(cwd(0))),
    (77, "ftruncate", Shape::TruncateFd),
    (285, "fallocate", Shape::TruncateFd),
    (80, "chdir", Shape::Chdir(Some(cwd(0)))),
    (81, "fchdir", Shape::Chdir(None)),
    (78, "getdents", Shape::List),
    (217, "getdents64", Shape::List),
    (79, "getcwd", Shape::Fact(Fact::Cwd)),
    (63, "uname", Shape::Fact(Fact::Uname)),
    (204, "sched_getaffinity", Shape::Fact(Fact::Cpus)),
    (99, "sysinfo", Shape::Fact(Fact::Memory)),
    (97, "getrlimit", Shape::Limit(0)),
    (160, "setrlimit", Shape::Limit(0)),
    (302, "prlimit64", Shape::Limit(1)),
    (42, "connect", Shape::Socket(1, 2)),
    (49, "bind", Shape::Socket(1, 2)),
    (SENDTO, "sendto", Shape::Socket(4, 5)),
    (SENDMSG, "sendmsg", Shape::Message(1)),
    (307, "sendmmsg", Shape::Message(1)),
    (317, "seccomp", Shape::Seccomp),
    (62, "kill", Shape::Signal(0, 1)),
    (200, "tkill", Shape::Signal(0, 1)),
    (234, "tgkill", Shape::Signal(0, 2)),
    (424, "pidfd_send_signal", Shape::Escape(EscapeKind::Signal)),
    (29, "shmget", Shape::Escape(EscapeKind::Ipc)),
    (64, "semget", Shape::Escape(EscapeKind::Ipc)),
    (68, "msgget", Shape::Escape(EscapeKind::Ipc)),
    (240, "mq_open", Shape::Escape(EscapeKind::Ipc)),
    (105, "setuid", Shape::Ids(1, false)),
    (106, "setgid", Shape::Ids(1, true)),
    (113, "setreuid", Shape::Ids(2, false)),
    (114, "setregid", Shape::Ids(2, true)),
    (116, "setgroups", Shape::Escape(EscapeKind::Rights)),
    (117, "setresuid", Shape::Ids(3, false)),
    (119, "setresgid", Shape::Ids(3, true)),
    (122, "setfsuid", Shape::Ids(1, false)),
    (123, "setfsgid", Shape::Ids(1, true)),
    (126, "capset", Shape::Escape(EscapeKind::Rights)),
    (155, "pivot_root", Shape::Escape(EscapeKind::Namespace)),
    (161, "chroot", Shape::Escape(EscapeKind::Namespace)),
    (165, "mount", Shape::Escape(EscapeKind::Namespace)),
    (166, "umount2", Shape::Escape(EscapeKind::Namespace)),
    (272, "unshare", Shape::Escape(EscapeKind::Namespace)),
    (308, "setns", Shape::Escape(EscapeKind::Namespace)),
    (428, "open_tree", Shape::Escape(EscapeKind::Namespace)),
    (429, "move_mount", Shape::Escape(EscapeKind::Namespace)),
    (430, "fsopen", Shape::Escape(EscapeKind::Namespace)),
    (438, "pidfd_getfd", Shape::Escape(EscapeKind::ForeignDescriptor)),
];
