//! What a command has been given as its descriptors: read from a blocked task when a pip may start.
//!
//! It tells what each is ([`FdKind`], [`Stdin`]) and keeps duplicates, so that text can be captured or replayed.
//! Whether a pip may have such descriptors is the supervisor's to say.

use crate::process::Process;
use crate::sys::memory;
use crate::task_files;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, OFlags};
use std::os::fd::{AsFd, OwnedFd};

/// What a standard descriptor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FdKind {
    Closed,
    /// `/dev/null`.
    Null,
    Pipe,
    Terminal,
    /// A regular file, with the offset at which the next byte goes (its end under `O_APPEND`).
    Regular {
        dev: u64,
        ino: u64,
        offset: u64,
        /// There is more in the file behind that.
        inside: bool,
        /// What `lseek` tells.
        tells: u64,
        appends: bool,
    },
    /// A regular file that the build tool writes to as well.
    Log,
    /// A stream socket.
    Socket,
    /// A device, or whatever else may do more with bytes than take them (`/dev/full`).
    Device,
}

/// A standard output descriptor: what it is, and a duplicate of it.
#[derive(Debug)]
pub struct Fd {
    pub kind: FdKind,
    pub(crate) dup: Option<OwnedFd>,
    /// The duplicate is a description of its own: the task's could not be had.
    anew: bool,
}

/// Standard input, as far as it can be an input of the command.
#[derive(Debug)]
pub enum Stdin {
    Closed,
    /// `/dev/null`.
    Null,
    /// A pipe that nobody can write to any more and that holds nothing: what `make -j` gives to all commands but one.
    Drained,
    /// A regular file at an offset.
    Regular {
        fd: OwnedFd,
        offset: u64,
        writable: bool,
    },
    /// A terminal, a pipe with writers, a socket: reading it makes the pip uncacheable.
    Live(FdKind),
}

/// An inherited descriptor above 2.
#[derive(Debug)]
pub struct Inherited {
    pub fd: i32,
    /// The path or kernel name behind it.
    pub link: Vec<u8>,
    /// A regular file, with what tells whether somebody used the description.
    pub file: Option<InheritedFile>,
}

/// A regular file that a command inherits open.
#[derive(Debug)]
pub struct InheritedFile {
    dup: OwnedFd,
    /// It can be read through the descriptor.
    pub readable: bool,
    pub offset: u64,
    /// The text of standard output or error goes to the same file and is captured there.
    pub captured: bool,
    state: (i64, i64, i64),
}

impl InheritedFile {
    fn new(dup: OwnedFd, outputs: [&Fd; 2]) -> Option<Self> {
        let s = rustix::fs::fstat(&dup).ok()?;
        let captured = outputs
            .iter()
            .any(|o| matches!(o.kind, FdKind::Regular { dev, ino, .. } if (dev, ino) == (s.st_dev, s.st_ino)));
        let readable = !rustix::fs::fcntl_getfl(&dup).ok()?.contains(OFlags::WRONLY);
        let offset = rustix::fs::tell(&dup).ok()?;
        Some(Self { readable, offset, captured, state: Self::state(&dup)?, dup })
    }

    fn state(f: &OwnedFd) -> Option<(i64, i64, i64)> {
        let s = rustix::fs::fstat(f).ok()?;
        Some((s.st_size, s.st_mtime, i64::try_from(s.st_mtime_nsec).ok()?))
    }

    /// Has nothing been written to the file, and the shared offset not been moved?
    pub fn untouched(&self) -> bool {
        self.captured
            || (Self::state(&self.dup) == Some(self.state) && rustix::fs::tell(&self.dup).ok() == Some(self.offset))
    }
}

impl AsFd for InheritedFile {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.dup.as_fd()
    }
}

/// Descriptors of a blocked task, read only when a pip may start.
#[derive(Debug)]
pub struct Descriptors {
    pub stdin: Stdin,
    pub stdout: Fd,
    pub stderr: Fd,
    /// 1 and 2 are one open file description.
    pub shared: bool,
    /// The kernel's names of 0, 1 and 2 where they are pipes; empty otherwise.
    pub pipes: [Vec<u8>; 3],
    /// Inherited descriptors above 2.
    pub others: Vec<Inherited>,
}

impl Descriptors {
    /// Text that goes nowhere is captured as that of a pipe, for a command to which that is the same.
    pub fn take_nowhere_for_a_pipe(&mut self) {
        for fd in [&mut self.stdout, &mut self.stderr] {
            if fd.kind == FdKind::Null {
                fd.kind = FdKind::Pipe;
            }
        }
    }

    /// Reads what the descriptors are; the error says why the task may not be looked into.
    ///
    /// Where pidfd_getfd(2) is refused, as by profiles of containers, they are opened anew, which a regular file cannot
    /// be: its description is shared with whoever else has it.
    pub(crate) fn of(p: &Process) -> Result<Self, &'static str> {
        const TAKEN: &str = "its standard input or output is a file that cannot be taken over: `pidfd_getfd` is \
                             refused, which a container allows with --cap-add SYS_PTRACE";
        const SHOWN: &str = "its process cannot be looked into";
        let take = |fd| memory::steal_fd(p.pidfd.as_fd(), fd);
        let closed = |e: &std::io::Error| e.raw_os_error() == Some(libc::EBADF);
        let stdin = match take(0) {
            Err(e) if closed(&e) => Stdin::Closed,
            Err(_) => stdin_of(task_files::reopen(p.pid, 0).ok_or(TAKEN)?),
            Ok(fd) => stdin_of(fd),
        };
        let out = |n| match take(n) {
            Err(e) if closed(&e) => Some(Fd { kind: FdKind::Closed, dup: None, anew: false }),
            Err(_) => task_files::reopen(p.pid, n).map(|fd| Fd { anew: true, ..output_of(fd) }),
            Ok(fd) => Some(output_of(fd)),
        };
        let (stdout, stderr) = (out(1).ok_or(TAKEN)?, out(2).ok_or(TAKEN)?);
        let parent = p.parent().unwrap_or(0);
        let outputs =
            |pid| [1, 2].map(|fd| rustix::fs::stat(format!("/proc/{pid}/fd/{fd}")).ok().map(|s| (s.st_dev, s.st_ino)));
        let parents = outputs(parent);
        // dash turns its own output to the file, vforks, and turns it back when the command runs.
        let is_lent = |file| {
            let above = || outputs(task_files::parent_of(parent).unwrap_or(0));
            memory::shares_memory(parent, p.pid) == Some(true)
                && !above().contains(&Some(file))
                && task_files::has_put_aside(parent, file)
        };
        let (mut stdout, mut stderr) = (stdout, stderr);
        // A log that the build tool writes to as well: what others print there is not this command's text.
        for fd in [&mut stdout, &mut stderr] {
            if let FdKind::Regular { dev, ino, .. } = fd.kind
                && parents.contains(&Some((dev, ino)))
                && !is_lent((dev, ino))
            {
                fd.kind = FdKind::Log;
            }
        }
        let shared = match (&stdout, &stderr) {
            (Fd { kind: FdKind::Closed | FdKind::Null, .. }, _) => false,
            (Fd { dup: Some(a), kind: x, anew: false }, Fd { dup: Some(b), kind: y, .. }) if x == y => {
                memory::same_description(a.as_fd(), b.as_fd()).unwrap_or_else(|| same_file(a, b))
            }
            (Fd { dup: Some(a), kind: x, .. }, Fd { dup: Some(b), kind: y, .. }) if x == y => same_file(a, b),
            _ => false,
        };
        let mut others = Vec::new();
        for fd in task_files::inherited_fds(p.pid).ok_or(SHOWN)? {
            let link = task_files::fd_link(p.pid, fd).ok_or(SHOWN)?;
            let regular = link.first() == Some(&b'/') && task_files::is_regular(p.pid, fd);
            let file = take(fd).ok().filter(|_| regular).and_then(|dup| InheritedFile::new(dup, [&stdout, &stderr]));
            others.push(Inherited { fd, link, file });
        }
        let is_pipe = |fd| {
            std::fs::metadata(format!("/proc/{}/fd/{fd}", p.pid))
                .is_ok_and(|m| std::os::unix::fs::FileTypeExt::is_fifo(&m.file_type()))
        };
        let pipes = [0, 1, 2].map(|fd| task_files::fd_link(p.pid, fd).filter(|_| is_pipe(fd)).unwrap_or_default());
        Ok(Self { stdin, stdout, stderr, shared, pipes, others })
    }
}

fn same_file(a: &OwnedFd, b: &OwnedFd) -> bool {
    let key = |f: &OwnedFd| rustix::fs::fstat(f).ok().map(|s| (s.st_dev, s.st_ino));
    key(a).is_some() && key(a) == key(b)
}

fn kind_of(fd: &OwnedFd) -> FdKind {
    let Ok(s) = rustix::fs::fstat(fd) else { return FdKind::Device };
    match FileType::from_raw_mode(s.st_mode) {
        FileType::Fifo => FdKind::Pipe,
        FileType::RegularFile => {
            let appends = rustix::fs::fcntl_getfl(fd).is_ok_and(|f| f.contains(OFlags::APPEND));
            let tells = rustix::fs::tell(fd).unwrap_or(0);
            let offset = if appends { s.st_size.cast_unsigned() } else { tells };
            FdKind::Regular {
                dev: s.st_dev,
                ino: s.st_ino,
                offset,
                inside: offset < s.st_size.cast_unsigned(),
                tells,
                appends,
            }
        }
        FileType::Socket if rustix::net::sockopt::socket_type(fd) == Ok(rustix::net::SocketType::STREAM) => {
            FdKind::Socket
        }
        // Major 1, minor 3 (Documentation/admin-guide/devices.txt).
        FileType::CharacterDevice if s.st_rdev == rustix::fs::makedev(1, 3) => FdKind::Null,
        FileType::CharacterDevice if rustix::termios::isatty(fd) => FdKind::Terminal,
        _ => FdKind::Device,
    }
}

fn output_of(fd: OwnedFd) -> Fd {
    Fd { kind: kind_of(&fd), dup: Some(fd), anew: false }
}

fn stdin_of(fd: OwnedFd) -> Stdin {
    match kind_of(&fd) {
        FdKind::Null => Stdin::Null,
        FdKind::Regular { tells, .. } => {
            let writable = rustix::fs::fcntl_getfl(&fd).is_ok_and(|f| f.intersects(OFlags::WRONLY | OFlags::RDWR));
            Stdin::Regular { fd, offset: tells, writable }
        }
        FdKind::Pipe => {
            let mut p = [PollFd::new(&fd, PollFlags::IN)];
            let polled = rustix::event::poll(&mut p, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 }));
            let events = p[0].revents();
            let drained = polled.is_ok() && events.contains(PollFlags::HUP) && !events.contains(PollFlags::IN);
            if drained { Stdin::Drained } else { Stdin::Live(FdKind::Pipe) }
        }
        kind => Stdin::Live(kind),
    }
}
