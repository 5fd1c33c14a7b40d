//! What depends on the processor architecture: call numbers, their shapes, registers.

mod x86_64;

use crate::access::{EscapeKind, Fact, Made, Meta};

pub(crate) use x86_64::{
    AUDIT_ARCH, CLONE, CLONE3, DESCRIPTOR_USERS, DUPLICATORS, EXECVE, EXECVEAT, EXIT, EXIT_GROUP, FCNTL,
    FOREIGN_ABI_BIT, FOREIGN_EXECS, HIGHEST_KNOWN, IO_URING_SETUP, IOCTL, OPEN_BY_HANDLE_AT, PTRACE, READERS,
    RT_SIGACTION, SENDMSG, SENDTO, STAT_BUFFERS, STDIN_ASKERS, STDIN_READERS, TABLE, TERMINAL_OWNERS,
    TERMINAL_REQUESTS, TERMINAL_SETTERS, TERMINAL_SETTERS_OLD, TIOCGPGRP, UTIMENSAT, call_again, exit_group_registers,
};

/// Where a call's path is, and whether its last symbolic link is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follow {
    /// The last component is resolved.
    Yes,
    /// It is not.
    No,
    /// It is not when argument `.0` has bit `AT_SYMLINK_NOFOLLOW`.
    UnlessFlag(u8),
    /// It is when argument `.0` has bit `AT_SYMLINK_FOLLOW`.
    IfFlag(u8),
}

/// A path argument: index of the directory descriptor (`None`: the working directory), index of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At(pub Option<u8>, pub u8);

/// What a system call does, and where its operands are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// open, openat: path and index of the flags.
    Open(At, u8),
    /// creat.
    Creat(At),
    /// openat2: path and index of the `struct open_how` pointer.
    OpenHow(At, u8),
    /// stat and its like: metadata only.
    Stat(At, Follow),
    /// access: the same, and index of what one wants to do.
    Access(At, u8, Follow),
    /// getxattr, listxattr.
    Attributes(At, Follow),
    /// fgetxattr, flistxattr on the descriptor in argument 0.
    AttributesFd,
    /// readlink.
    Readlink(At),
    /// rename, from and to, and index of the flags, if there are any.
    Rename(At, At, Option<u8>),
    /// link, from and to.
    Link(At, At, Follow),
    /// symlink, mknod: a new name.
    Make(At, Made),
    /// mkdir: path and index of the mode.
    MakeDirectory(At, u8),
    /// unlink, rmdir.
    Unlink(At),
    /// chmod, chown, setxattr: metadata is written.
    SetMeta(At, Follow, Meta),
    /// utime and its like: index of the times, which may be null for "now".
    SetTimes(At, Follow, u8),
    /// fchmod, fchown, fsetxattr on the descriptor in argument 0.
    SetMetaFd(Meta),
    /// ftruncate, fallocate on the descriptor in argument 0.
    TruncateFd,
    /// truncate.
    Truncate(At),
    /// chdir, fchdir: the working directory changes.
    Chdir(Option<At>),
    /// getdents on the descriptor in argument 0.
    List,
    /// getcwd, uname, …: a fact of the machine or the process.
    Fact(Fact),
    /// getrlimit, setrlimit: index of the resource.
    Limit(u8),
    /// connect, bind, sendto with an address: index of the address and of its length.
    Socket(u8, u8),
    /// seccomp: a listener is asked for by a flag in argument 1.
    Seccomp,
    /// sendmsg: index of the `struct msghdr` pointer.
    Message(u8),
    /// kill, tgkill: indexes of the process or thread (other than a positive number is a group), and of the signal.
    Signal(u8, u8),
    /// setuid, setresgid and their like: how many ids there are, and whether they are groups.
    Ids(u8, bool),
    /// Something that no observation can describe.
    Escape(EscapeKind),
}

/// Can a call be told of after it has happened, because it changes nothing that matters?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looks {
    /// No: the state before it counts, or it may have to wait, or its arguments are behind pointers.
    No,
    Yes,
    /// Unless argument `.0` has one of the bits of `OPEN_CHANGES`.
    UnlessChanging(u8),
}

impl Shape {
    /// What an observer that learns of calls afterwards may have to itself; everything else is the gate's. Listings and
    /// extended attributes are the gate's, too: what they were a moment ago cannot be found out.
    pub(crate) fn looks(&self) -> Looks {
        match self {
            Self::Open(_, flags) => Looks::UnlessChanging(*flags),
            Self::Stat(..) | Self::Access(..) | Self::Readlink(_) | Self::Fact(_) | Self::Limit(_) => Looks::Yes,
            _ => Looks::No,
        }
    }

    /// Index of the argument whose bits decide what a look means.
    pub(crate) fn flags(&self) -> Option<u8> {
        match self {
            Self::Open(_, i)
            | Self::Stat(_, Follow::UnlessFlag(i) | Follow::IfFlag(i))
            | Self::Access(_, _, Follow::UnlessFlag(i))
            | Self::Access(_, i, _)
            | Self::Limit(i) => Some(*i),
            _ => None,
        }
    }

    /// Does it give names to files, or take them away?
    pub(crate) fn renames(&self) -> bool {
        matches!(self, Self::Rename(..) | Self::Link(..) | Self::Make(..) | Self::MakeDirectory(..) | Self::Unlink(_))
    }
}
