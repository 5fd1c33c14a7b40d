//! Everything about a blocked `execve` that a decision may need, read from the stopped process.

use crate::process::{Process, Scope};
use crate::resolve::Resolved;
use crate::sys::memory;
use crate::task_files;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, OFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

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

/// Credentials and limits of a task that may change what a command does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    pub umask: u32,
    /// The `Uid`, `Gid`, `Groups` and `CapEff` lines of `/proc/PID/status`: what it may do.
    pub rights: Vec<u8>,
    /// `SigIgn` and `SigBlk` of those signals that commands can do something about: what a terminal sends, or its end,
    /// shells let background jobs ignore.
    pub signals: [u64; 2],
    /// `Cpus_allowed`.
    pub processors: Vec<u8>,
    /// `/proc/PID/limits`.
    pub limits: Vec<u8>,
    /// `/proc/PID/personality`, hexadecimal.
    pub personality: Vec<u8>,
}

/// One `execve` that would succeed.
#[derive(Debug)]
pub struct ExecRequest {
    pub process: Arc<Process>,
    /// Scope of the process before the exec.
    pub scope: Scope,
    /// The program, resolved.
    pub program: Resolved,
    /// What the kernel opens besides: interpreters of scripts, in order, and of ELF images.
    pub interpreters: Vec<Resolved>,
    /// Which of them will be the process's image; `None`: the program itself, it is no script.
    pub image: Option<usize>,
    pub argv: Vec<Vec<u8>>,
    /// `NAME=value` strings.
    pub env: Vec<Vec<u8>>,
    pub cwd: Arc<[u8]>,
    pub(crate) tid: i32,
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

impl Credentials {
    /// Those of process `pid`.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let status = std::fs::read(format!("/proc/{pid}/status")).ok()?;
        let mut c = Self {
            limits: std::fs::read(format!("/proc/{pid}/limits")).ok()?,
            personality: std::fs::read(format!("/proc/{pid}/personality")).unwrap_or_default(),
            ..Self::default()
        };
        let set = |v: &[u8]| u64::from_str_radix(std::str::from_utf8(v).ok()?, 16).ok();
        // HUP, INT, QUIT, TSTP, TTIN, TTOU: signal(7).
        let told_apart = |v| Some(set(v)? & !(1 | 1 << 1 | 1 << 2 | 1 << 19 | 1 << 20 | 1 << 21));
        for l in status.split(|c| *c == b'\n') {
            let Some(colon) = l.iter().position(|c| *c == b':') else { continue };
            let (name, value) = (&l[..colon], l[colon + 1..].trim_ascii());
            match name {
                b"Uid" | b"Gid" | b"Groups" | b"CapEff" => {
                    c.rights.extend_from_slice(value);
                    c.rights.push(b'\n');
                }
                b"Umask" => c.umask = u32::from_str_radix(std::str::from_utf8(value).ok()?, 8).ok()?,
                b"SigIgn" => c.signals[0] = told_apart(value)?,
                b"SigBlk" => c.signals[1] = told_apart(value)?,
                b"Cpus_allowed" => c.processors = value.to_vec(),
                _ => {}
            }
        }
        Some(c)
    }

    /// Those of this process, as they were when somebody first asked.
    pub fn own() -> Option<&'static Self> {
        static OWN: std::sync::OnceLock<Option<Credentials>> = std::sync::OnceLock::new();
        OWN.get_or_init(|| Self::of(std::process::id().cast_signed())).as_ref()
    }
}

impl ExecRequest {
    /// Reads what the task may do, and what else it has inherited.
    pub fn credentials(&self) -> Option<Credentials> {
        Credentials::of(self.process.pid)
    }

    /// Does the program give rights of its own to whoever executes it (execve(2), "set-user-ID")?
    pub fn changes_rights(&self) -> bool {
        let s = self.program.state;
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        // Nobody else's programs have effect in a build of an ordinary user: no_new_privs is set.
        user == 0
            && s.is_some_and(|s| {
                let mode = u32::from(s.stx_mode);
                mode & 0o4000 != 0 && s.stx_uid != user || mode & 0o2010 == 0o2010 && s.stx_gid != group
            })
    }

    /// Does a path mean the same file to the task as to us? Not in another mount namespace, or below another root.
    pub fn shares_our_files(&self) -> bool {
        static OURS: std::sync::OnceLock<Option<(u64, u64, Vec<u8>)>> = std::sync::OnceLock::new();
        let ours = OURS.get_or_init(|| task_files::view(std::process::id().cast_signed()));
        ours.is_some() && task_files::view(self.process.pid) == *ours
    }

    /// Reads what the descriptors are; the error says why the task may not be looked into.
    ///
    /// Where pidfd_getfd(2) is refused, as by profiles of containers, they are opened anew, which a regular file cannot
    /// be: its description is shared with whoever else has it.
    pub fn descriptors(&self) -> Result<Descriptors, &'static str> {
        const TAKEN: &str = "its standard input or output is a file that cannot be taken over: `pidfd_getfd` is refused, which a container \
                             allows with --cap-add SYS_PTRACE";
        const SHOWN: &str = "its process cannot be looked into";
        let p = &self.process;
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
        Ok(Descriptors { stdin, stdout, stderr, shared, pipes, others })
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

/// `BINPRM_BUF_SIZE`: how much of a file the kernel looks at.
const HEAD: usize = 256;

fn head(path: &[u8]) -> Option<Vec<u8>> {
    let f =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, rustix::fs::Mode::empty()).ok()?;
    let mut b = vec![0; HEAD];
    let n = rustix::io::pread(&f, &mut b, 0).ok()?;
    b.truncate(n);
    Some(b)
}

/// Interpreters, and which of them becomes the image; see [`ExecRequest`].
pub(crate) type Interpreters = (Vec<Resolved>, Option<usize>);

/// The file is executable and of no format that is known here (a `binfmt_misc` one, perhaps).
pub(crate) struct UnknownFormat;

/// What the kernel opens to execute `program`: `#!` interpreters in order, then the ELF interpreter. `None`
/// when the exec would fail: not there, not a file, not executable, or an interpreter missing.
pub(crate) fn interpreters(
    program: &Resolved,
    cwd: &[u8],
    resolver: &crate::resolve::Resolver,
) -> Result<Option<Interpreters>, UnknownFormat> {
    let mut out: Vec<Resolved> = Vec::new();
    // The kernel follows at most five (`exec_binprm`).
    for _ in 0..6 {
        let file = out.last().unwrap_or(program);
        let Some(state) = file.state else { return Ok(None) };
        if FileType::from_raw_mode(state.stx_mode.into()) != FileType::RegularFile || state.stx_mode & 0o111 == 0 {
            return Ok(None);
        }
        let Some(head) = head(&file.path) else { return Ok(None) };
        if let Some(line) = head.strip_prefix(b"#!") {
            let line = line.split(|c| *c == b'\n').next().unwrap_or_default();
            let mut words = line.split(|c| matches!(c, b' ' | b'\t')).filter(|w| !w.is_empty());
            let Some(interpreter) = words.next() else { return Ok(None) };
            out.push(resolver.resolve(cwd, interpreter, true));
            continue;
        }
        if head.starts_with(b"\x7fELF") {
            let image = out.len().checked_sub(1);
            if let Some(loader) = elf_interpreter(&file.path, &head) {
                let r = resolver.resolve(cwd, &loader, true);
                if r.state.is_none() {
                    return Ok(None);
                }
                out.push(r);
            }
            return Ok(Some((out, image)));
        }
        // Plain text is refused by the kernel, and shells then read it themselves.
        let text = head.iter().all(|b| *b >= 0x20 || matches!(b, b'\n' | b'\t' | b'\r' | 0x0c));
        return if text { Ok(None) } else { Err(UnknownFormat) };
    }
    Ok(None)
}

/// `PT_INTERP` of a 64-bit little-endian ELF file (elf(5)); `None` for static and foreign ones.
fn elf_interpreter(path: &[u8], head: &[u8]) -> Option<Vec<u8>> {
    let u16_at = |b: &[u8], o: usize| Some(u16::from_le_bytes(b.get(o..o + 2)?.try_into().ok()?));
    let u64_at = |b: &[u8], o: usize| Some(u64::from_le_bytes(b.get(o..o + 8)?.try_into().ok()?));
    if head.get(4) != Some(&2) || head.get(5) != Some(&1) {
        return None;
    }
    let (table, size, count) = (u64_at(head, 32)?, u16_at(head, 54)?, u16_at(head, 56)?);
    let f = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty()).ok()?;
    let mut headers = vec![0; usize::from(size) * usize::from(count)];
    let n = rustix::io::pread(&f, &mut headers, table).ok()?;
    headers.truncate(n);
    for h in headers.chunks_exact(usize::from(size).max(1)) {
        const PT_INTERP: u8 = 3;
        if h.get(..4) == Some(&[PT_INTERP, 0, 0, 0]) {
            let mut name = vec![0; usize::try_from(u64_at(h, 32)?).ok()?.min(4096)];
            let n = rustix::io::pread(&f, &mut name, u64_at(h, 8)?).ok()?;
            name.truncate(n);
            while name.last() == Some(&0) {
                name.pop();
            }
            return Some(name);
        }
    }
    None
}
