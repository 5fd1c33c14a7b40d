//! What a backend reports: one access of one task, before it happens.
//!
//! Accesses are *intents*: whether a creation succeeded is found out later, by whoever compares states.

use crate::resolve::Resolved;

/// A machine or process fact that a command asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fact {
    /// Its working directory (`getcwd`).
    Cwd,
    /// Kernel and host name (`uname`).
    Uname,
    /// The processors it may use.
    Cpus,
    /// Memory size (`sysinfo`); load and uptime, which are there too, are not a fact that a result may depend on.
    Memory,
    /// A limit on a resource, asked for or set, by its number (`RLIMIT_*`).
    Limit(u8),
}

/// What is done with standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StdinUse {
    /// Somebody asks whether it is a terminal (`isatty`): anything else gives one answer.
    AsksTerminal,
    /// Somebody finds out what it is: `fstat`.
    Asks,
    /// It gets a second name of a high number, as shells put it aside while a command of theirs has another.
    Saves,
    /// It gets a second name of a low number, which all that is started from there on inherit (`exec 5<&0`).
    Lends,
    /// It is read, or gets any other second name.
    Takes,
}

/// Why a pip's result cannot be described by observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EscapeKind {
    /// System V or POSIX message queues, shared memory, semaphores.
    Ipc,
    /// mounts, chroot, new namespaces: paths mean something else from here on.
    Namespace,
    /// A descriptor taken from another process.
    ForeignDescriptor,
    /// A call of the 32-bit or x32 table.
    ForeignAbi,
    /// A system call number that this version does not know.
    UnknownCall,
    /// A connection, or a bound socket.
    Network,
    /// The task's memory, working directory or descriptors could not be read.
    Unreadable,
    /// It installs a seccomp listener, which the kernel refuses: one per filter chain, and ours is there.
    Listener,
    /// Live standard input (a terminal, a pipe with writers) was read or duplicated.
    LiveStdin,
    /// A descriptor that `xl` itself was started with is used: whoever has the other end is not part of the build.
    BornDescriptor,
    /// A process whose parent is not known.
    Orphan,
    /// It changes its user, groups or capabilities: what it may read from there on is not what `xl` may.
    Rights,
    /// Accesses came faster than they could be taken note of.
    Lost,
    /// The observer could not be started.
    Unobserved,
    /// It sends a signal to a process that is not its own, or asks whether that lives.
    Signal,
    /// It sets the modes of the terminal, or reads from what it was given for its output.
    Terminal,
    /// It reads the file that its text goes to.
    OwnText,
    /// It traces a process (a debugger, a leak checker), which the `ptrace` backend makes fail.
    Tracing,
}

/// An [`EscapeKind`] with what is worth telling the user (an address, a call number).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escape {
    pub kind: EscapeKind,
    pub detail: String,
}

impl std::fmt::Display for Escape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.kind {
            EscapeKind::Ipc => "it uses System V or POSIX IPC",
            EscapeKind::Namespace => "it changes mounts, its root or its namespaces",
            EscapeKind::ForeignDescriptor => "it takes a descriptor from another process",
            EscapeKind::ForeignAbi => "it makes 32-bit system calls",
            EscapeKind::UnknownCall => "it makes a system call that xl does not know",
            EscapeKind::Network => "it uses a socket",
            EscapeKind::Unreadable => "its memory or descriptors cannot be read",
            EscapeKind::Listener => "it wants a seccomp listener of its own, which fails with EBUSY under xl",
            EscapeKind::LiveStdin => "it reads live standard input",
            EscapeKind::Tracing => {
                "it traces processes itself, which cannot work with the ptrace backend: use --backend seccomp"
            }
            EscapeKind::Signal => "it signals a process that is not its own, or asks whether that lives",
            EscapeKind::BornDescriptor => "it uses a descriptor that xl was started with",
            EscapeKind::Lost => "its accesses came faster than they could be recorded",
            EscapeKind::Unobserved => "it could not be observed",
            EscapeKind::Rights => "it changes its user, groups or capabilities",
            EscapeKind::Terminal => "it uses the terminal for more than to write to it",
            EscapeKind::OwnText => "it reads the file that its text goes to",
            EscapeKind::Orphan => "a process of unknown parentage appeared while it ran",
        };
        f.write_str(what)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

/// What is about to be done to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// open(2) for reading only; `content` is false with `O_PATH` and `O_DIRECTORY`.
    OpenRead { content: bool },
    /// open(2) for writing.
    OpenWrite {
        /// The old bytes survive and may matter (`O_TRUNC` absent).
        keeps: bool,
        /// The file may be created.
        creates: bool,
        /// It must not exist yet (`O_EXCL`).
        exclusive: bool,
        /// What is made is nobody else's to open: as mkstemp(3) makes its files.
        private: bool,
    },
    /// stat, access: metadata of whatever is there. Also what is left of a call that can only fail, because a name that
    /// it needs is not there.
    Stat,
    /// access with `W_OK`, or of which that is not known: as `Stat`, and whether it may be written.
    MayWrite,
    /// getxattr, listxattr: extended attributes.
    Attributes,
    /// readlink.
    Readlink,
    /// The program image or interpreter of an `execve`.
    Exec,
    /// Directory entries are read.
    List,
    /// chdir.
    Chdir,
    /// The file gets another name (link): its content counts as read.
    LinkSource,
    /// The file gets another name and loses this one (rename): its content counts as read. `Remove` follows.
    RenameSource,
    /// The name disappears: by unlink and rmdir, or, if `moved`, by rename.
    Remove { moved: bool },
    /// The name becomes that of something new.
    Create {
        how: Made,
        /// It must not exist yet.
        exclusive: bool,
        /// It is nobody else's to open: as mkdtemp(3) makes its directories.
        private: bool,
    },
    /// Metadata other than times are written.
    SetMeta(Meta),
    /// Times are written; `now` when they are the current time.
    SetTimes { now: bool },
    /// Content is cut.
    Truncate,
}

/// How a name comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// mkdir.
    Directory,
    /// symlink.
    Symlink,
    /// mknod: a device, a FIFO, a socket, or an empty file.
    Node,
    /// link: it is another name of a file that is there. Reported after [`Op::LinkSource`].
    Linked,
    /// rename: what is there under another name comes here. Reported after [`Op::RenameSource`] and [`Op::Remove`].
    Renamed,
}

/// Which metadata a call writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta {
    /// chmod.
    Mode,
    /// chown: user and group.
    Owner,
    /// setxattr: an extended attribute gets a value.
    Attribute,
    /// removexattr: an extended attribute goes away.
    NoAttribute,
    /// file_setattr: flags of the file system, as chattr(1) sets them.
    Flags,
}

impl Op {
    /// May the call change the file system?
    pub fn writes(&self) -> bool {
        match self {
            Self::OpenRead { .. }
            | Self::Stat
            | Self::MayWrite
            | Self::Attributes
            | Self::Readlink
            | Self::Exec
            | Self::List
            | Self::Chdir
            | Self::LinkSource
            | Self::RenameSource => false,
            Self::OpenWrite { .. }
            | Self::Remove { .. }
            | Self::Create { .. }
            | Self::SetMeta(_)
            | Self::SetTimes { .. }
            | Self::Truncate => true,
        }
    }

    /// Is it one of the steps of a rename?
    pub fn renames(&self) -> bool {
        matches!(self, Self::RenameSource | Self::Remove { moved: true } | Self::Create { how: Made::Renamed, .. })
    }
}

/// One intent on one resolved path. A link is reported as `LinkSource`, `Create`; a rename as `RenameSource`, `Remove`,
/// `Create`.
#[derive(Clone, Debug)]
pub struct Access {
    pub op: Op,
    pub path: Resolved,
    /// Name of the system call: evidence to show to people. What the call does is `op`.
    pub call: &'static str,
    /// Set if the access was reported after it happened: `path.state` is what is there now, and this is what is known
    /// of the moment itself.
    pub late: Option<Late>,
}

/// What an observer that learns of a look afterwards knows of the moment itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// Nanoseconds after the epoch, by the clock that stamps files.
    pub time: i128,
    /// Did the call find something? `None`: its result does not tell.
    pub found: Option<bool>,
    /// Inode number of what it found; 0: not known.
    pub inode: u64,
}
