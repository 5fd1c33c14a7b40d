//! A command: everything that is known of a pip before it runs.
//!
//! It holds no handle on a process, so it can be kept, compared and sent to another machine. What it was read from, a
//! process that is held in its `execve`, is the affair of [`crate::executor`].

use cache::{Digest, PathBytes};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use tracer::ExecRequest;
use tracer::{Credentials, Descriptors, FdKind, Stdin};

/// One command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program, every link resolved.
    pub program: PathBytes,
    /// What the kernel opens besides: interpreters of scripts, in order, and of ELF images.
    pub interpreters: Vec<PathBytes>,
    pub argv: Vec<Vec<u8>>,
    /// `NAME=value` strings.
    pub env: Vec<Vec<u8>>,
    pub cwd: PathBytes,
    pub stdin: Input,
    pub stdout: Place,
    pub stderr: Place,
    /// 1 and 2 are one open file description.
    pub shared: bool,
    /// Files that it inherits open, above descriptor 2.
    pub inherited: Vec<Inherited>,
    pub limits: Limits,
}

/// Standard input, as far as it can be an input of the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    Closed,
    /// `/dev/null`.
    Null,
    /// A pipe that nobody can write to any more and that holds nothing.
    Drained,
    /// A regular file: its content, and the offset at which the command begins to read.
    File {
        content: Digest,
        offset: u64,
    },
    /// A terminal, a pipe with writers, a socket: nobody knows what will come.
    Live(Place),
}

/// What a command can tell of an output descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    Closed,
    /// `/dev/null`.
    Null,
    /// A pipe, or a log that the build tool writes to as well, which is the same to a command while it runs.
    Pipe,
    Terminal,
    /// A regular file: the offset that `lseek` tells, and whether it was opened with `O_APPEND`.
    File {
        tells: u64,
        appends: bool,
    },
    /// A stream socket.
    Socket,
    Device,
}

/// A regular file that a command inherits open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inherited {
    /// The descriptor's number.
    pub fd: u32,
    /// The path behind it, as the kernel tells it.
    pub link: Vec<u8>,
    /// The command's text goes to the same file and is captured there.
    pub captured: bool,
    /// Content and offset, if it can be read through the descriptor.
    pub content: Option<(Digest, u64)>,
}

/// What the system lets a command do, as far as that may change its result. Of rights and limits those count that it
/// asks for, or has met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub umask: u32,
    /// The `Uid`, `Gid`, `Groups` and `CapEff` lines of `/proc/PID/status`.
    pub rights: Vec<u8>,
    /// Bits of the signals that it ignores and blocks.
    pub signals: [u64; 2],
    /// Its processors, if they are others than those of the whole build.
    pub processors: Option<Vec<u8>>,
    /// `/proc/PID/limits`.
    pub limits: Vec<u8>,
    /// `/proc/PID/personality`.
    pub personality: Vec<u8>,
}

impl Limits {
    /// Those of this process.
    pub fn own() -> &'static Self {
        static OWN: std::sync::OnceLock<Limits> = std::sync::OnceLock::new();
        OWN.get_or_init(|| Credentials::own().map(|c| Self::of(c, None)).unwrap_or_default())
    }

    fn of(c: &Credentials, processors: Option<Vec<u8>>) -> Self {
        Self {
            umask: c.umask,
            rights: c.rights.clone(),
            signals: c.signals,
            processors,
            limits: c.limits.clone(),
            personality: c.personality.clone(),
        }
    }
}

impl Command {
    /// The command that a held process is about to become, and, if something that it was given cannot be read, why:
    /// then the command is not what it says, and can only run. `reads`: is it of any use to read what it was given?
    /// Otherwise contents are left out.
    pub fn of(r: &ExecRequest, d: &Descriptors, c: &Credentials, reads: bool) -> (Self, Option<String>) {
        let mut trouble = None;
        let mut read = |fd: BorrowedFd<'_>, what: &dyn Fn() -> String| match reads.then(|| behind(fd)) {
            None => Digest([0; 32]),
            Some(Ok(content)) => content.digest,
            Some(Err(e)) => {
                trouble.get_or_insert_with(|| format!("{} cannot be read: {e}", what()));
                Digest([0; 32])
            }
        };
        let stdin = match &d.stdin {
            Stdin::Closed => Input::Closed,
            Stdin::Null => Input::Null,
            Stdin::Drained => Input::Drained,
            Stdin::Live(k) => Input::Live(Place::of(k)),
            Stdin::Regular { fd, offset, .. } => {
                Input::File { content: read(fd.as_fd(), &|| "its standard input".to_owned()), offset: *offset }
            }
        };
        let mut inherited = Vec::new();
        for i in &d.others {
            let Some(file) = &i.file else { continue };
            // What cannot be read through it, and is not written to in the end, does not count.
            let content =
                file.readable.then(|| (read(file.as_fd(), &|| format!("its descriptor {}", i.fd)), file.offset));
            let fd = i.fd.cast_unsigned();
            inherited.push(Inherited { fd, link: i.link.clone(), captured: file.captured, content });
        }
        // What all commands of a build may use is a fact that some ask for; this one may have been given others.
        let processors = Credentials::own().is_some_and(|own| own.processors != c.processors);
        let command = Self {
            program: r.program.path.clone(),
            interpreters: r.interpreters.iter().map(|i| i.path.clone()).collect(),
            argv: r.argv.clone(),
            env: r.env.clone(),
            cwd: r.cwd.clone(),
            stdin,
            stdout: Place::of(&d.stdout.kind),
            stderr: Place::of(&d.stderr.kind),
            shared: d.shared,
            inherited,
            limits: Limits::of(c, processors.then(|| c.processors.clone())),
        };
        (command, trouble)
    }
}

impl Place {
    fn of(k: &FdKind) -> Self {
        match k {
            FdKind::Closed => Self::Closed,
            FdKind::Null => Self::Null,
            FdKind::Pipe | FdKind::Log => Self::Pipe,
            FdKind::Terminal => Self::Terminal,
            FdKind::Regular { tells, appends, .. } => Self::File { tells: *tells, appends: *appends },
            FdKind::Socket => Self::Socket,
            FdKind::Device => Self::Device,
        }
    }
}

/// Content of the file behind a descriptor; the shared offset stays where it is.
pub(crate) fn behind(fd: BorrowedFd<'_>) -> std::io::Result<cache::digest::Content> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    cache::digest::pass(&mut std::fs::File::open(path)?)
}
