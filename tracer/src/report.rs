//! From a blocked system call to a reported access: operands read, path resolved, supervisor asked, call let go.
//!
//! Runs on the receiving threads; nothing here blocks. What a call does comes from the table of [`crate::arch`]. Calls
//! that are told of afterwards take another way here; see [`crate::late`].

use crate::access::{Access, Escape, EscapeKind, Late, Op, StdinUse};
use crate::arch::{self, At, Shape};
use crate::gate::{Flow, Gate};
use crate::meaning::{self, Step};
use crate::process::{Process, Scope};
use crate::resolve::Resolved;
use crate::sys::memory;
use crate::sys::seccomp::Notification;
use crate::task_files;
use rustix::fs::FileType;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// See `PATH_MAX` in path_resolution(7).
pub(crate) const TOO_DEEP: &str = "a path is longer than the kernel takes";

/// The task that makes a call, and how it is asked for what only it knows.
pub(crate) enum Caller<'a> {
    /// It waits for us.
    Blocked { tid: i32, process: &'a Process },
    /// It went on long ago: what is not in the record cannot be had.
    Gone { pid: i32, cwd: Option<Arc<[u8]>>, target: Target, late: Late },
}

/// What is behind a descriptor that was named by a path.
pub(crate) enum Target {
    Path(Vec<u8>),
    /// No file with a name.
    Nameless,
    /// It was not recorded.
    Unknown,
}

impl Caller<'_> {
    pub(crate) fn pid(&self) -> i32 {
        match self {
            Self::Blocked { process, .. } => process.pid,
            Self::Gone { pid, .. } => *pid,
        }
    }

    fn cwd(&self, gate: &Gate) -> Option<Arc<[u8]>> {
        match self {
            Self::Blocked { tid, process } => gate.cwd(process, *tid),
            Self::Gone { cwd, .. } => cwd.clone(),
        }
    }

    fn late(&self) -> Option<Late> {
        if let Self::Gone { late, .. } = self { Some(*late) } else { None }
    }
}

/// The directory that a path argument is relative to, and the argument.
pub(crate) type Operand = (Arc<[u8]>, Vec<u8>);

impl Gate {
    /// The directory that a path argument is relative to, and the argument. `Err` says why not.
    pub(crate) fn operand(&self, n: &Notification, p: &Process, at: At) -> Result<Option<Operand>, &'static str> {
        let tid = n.tid.cast_signed();
        let address = n.args[at.1 as usize];
        let raw = match memory::read_path(tid, address) {
            Ok(Some(raw)) => raw,
            // The kernel will refuse the call: too long, or a bad or null pointer.
            Ok(None) => return Ok(None),
            Err(e) if e.raw_os_error() == Some(libc::EFAULT) => return Ok(None),
            Err(_) if !self.transport.is_valid(n.id) => return Ok(None),
            Err(_) => return Err("its memory cannot be read"),
        };
        if raw.first() == Some(&b'/') {
            return Ok(Some((Arc::from(&b"/"[..]), raw)));
        }
        let dirfd = at.0.map_or(libc::AT_FDCWD, |i| n.args[i as usize] as i32);
        let base = if dirfd == libc::AT_FDCWD {
            self.cwd(p, tid).ok_or("its working directory is gone")?
        } else {
            match task_files::fd_path(tid, dirfd) {
                Some(d) => d.into(),
                None if task_files::is_too_deep(tid, dirfd) => return Err(TOO_DEEP),
                // Not a directory, or not open: the call fails. Or a deleted directory: nothing can be found there.
                None => return Ok(None),
            }
        };
        Ok(Some((base, raw)))
    }

    pub(crate) fn call(
        self: &Arc<Self>,
        n: &Notification,
        p: &Arc<Process>,
        scope: Scope,
        name: &'static str,
        shape: Shape,
    ) {
        match self.report(n, p, scope, name, shape) {
            Flow::Go => self.transport.proceed(n.id),
            Flow::Refuse => self.transport.fail(n.id, libc::EACCES),
            Flow::After(job) => {
                let (gate, id) = (self.clone(), n.id);
                self.pool.run(Box::new(move || {
                    job();
                    gate.transport.proceed(id);
                }));
            }
        }
    }

    fn report(&self, n: &Notification, p: &Arc<Process>, scope: Scope, name: &'static str, shape: Shape) -> Flow {
        let reads = self.supervisor.observes_reads(scope);
        let arg = |i: u8| n.args[i as usize];
        let one = |at, op, follow| self.one(n, p, scope, name, at, op, follow, reads);
        if let Some(s) = meaning::look(shape, arg) {
            return one(s.at, s.op, s.follow);
        }
        match shape {
            Shape::OpenHow(at, how) => match memory::read_u64(n.tid.cast_signed(), n.args[how as usize]) {
                Ok(flags) => {
                    // Of `struct open_how`, the third number; RESOLVE_IN_ROOT makes `/` another directory (openat2(2)).
                    const RESOLVE: (u64, u64) = (16, 0x10);
                    let resolve = memory::read_u64(n.tid.cast_signed(), n.args[how as usize].wrapping_add(RESOLVE.0));
                    if resolve.is_ok_and(|r| r & RESOLVE.1 != 0) {
                        self.escape(Some(scope), EscapeKind::Namespace, name);
                    }
                    let (op, follow) = meaning::open(flags, 0o777);
                    one(at, op, follow)
                }
                Err(_) => {
                    self.escape(Some(scope), EscapeKind::Unreadable, name);
                    Flow::Go
                }
            },
            Shape::SetTimes(at, f, times) => {
                let now = self.sets_now(n, n.args[times as usize]);
                if n.args[at.1 as usize] == 0 {
                    return self.on_fd(
                        n,
                        p,
                        scope,
                        name,
                        at.0.map_or(0, |i| n.args[i as usize]) as i32,
                        Op::SetTimes { now },
                    );
                }
                one(at, Op::SetTimes { now }, meaning::follows(f, arg))
            }
            Shape::SetMetaFd(meta) => self.on_fd(n, p, scope, name, n.args[0] as i32, Op::SetMeta(meta)),
            Shape::AttributesFd if reads => self.on_fd(n, p, scope, name, n.args[0] as i32, Op::Attributes),
            Shape::TruncateFd => self.on_fd(n, p, scope, name, n.args[0] as i32, Op::Truncate),
            Shape::List if reads => self.on_fd(n, p, scope, name, n.args[0] as i32, Op::List),
            Shape::List | Shape::AttributesFd => Flow::Go,
            Shape::Rename(.., flags) => {
                if flags.is_some_and(|i| meaning::has(arg(i), libc::RENAME_EXCHANGE.cast_signed())) {
                    self.escape(Some(scope), EscapeKind::UnknownCall, "renameat2 with RENAME_EXCHANGE");
                }
                self.all(n, p, scope, name, meaning::changes(shape, arg))
            }
            Shape::Creat(_)
            | Shape::Unlink(_)
            | Shape::Make(..)
            | Shape::MakeDirectory(..)
            | Shape::SetMeta(..)
            | Shape::Truncate(_)
            | Shape::Link(..) => self.all(n, p, scope, name, meaning::changes(shape, arg)),
            Shape::Chdir(at) => {
                // It changes only after this; the next call reads it again.
                let flow = match at {
                    Some(at) if reads => one(at, Op::Chdir, true),
                    _ => Flow::Go,
                };
                p.moving.store(n.tid.cast_signed(), Ordering::Release);
                p.cwd.lock().expect("cwd").take();
                flow
            }
            Shape::Fact(fact) => {
                if reads {
                    self.supervisor.fact(scope, p.pid, fact);
                }
                Flow::Go
            }
            Shape::Socket(address, length) => {
                self.socket(n, scope, name, n.args[address as usize], n.args[length as usize])
            }
            Shape::Message(header) => {
                // `struct msghdr` begins with the address and its length.
                let tid = n.tid.cast_signed();
                let at = n.args[header as usize];
                match (memory::read_u64(tid, at), memory::read_u64(tid, at + 8)) {
                    (Ok(address), Ok(length)) if address != 0 => {
                        self.socket(n, scope, name, address, length & 0xffff_ffff)
                    }
                    _ => Flow::Go,
                }
            }
            Shape::Seccomp => {
                const NEW_LISTENER: i32 = 1 << 3;
                if meaning::has(arg(1), NEW_LISTENER) {
                    self.escape(Some(scope), EscapeKind::Listener, "");
                }
                Flow::Go
            }
            Shape::Signal(to) => {
                let to = n.args[to as usize] as i32;
                if to <= 0 || self.processes.target(to).is_none_or(|t| t.scope() != scope) {
                    self.escape(Some(scope), EscapeKind::Signal, "");
                }
                Flow::Go
            }
            Shape::Ids(count, groups) => {
                let own =
                    if groups { rustix::process::getegid().as_raw() } else { rustix::process::geteuid().as_raw() };
                // -1 leaves an id as it is; bash sets those that it has.
                if n.args[..count as usize].iter().any(|id| *id as u32 != u32::MAX && *id as u32 != own) {
                    self.escape(Some(scope), EscapeKind::Rights, name);
                }
                Flow::Go
            }
            Shape::Escape(kind) => {
                self.escape(Some(scope), kind, name);
                Flow::Go
            }
            Shape::Open(..) | Shape::Stat(..) | Shape::Attributes(..) | Shape::Readlink(_) => unreachable!("a look"),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call, all of it")]
    fn one(
        &self,
        n: &Notification,
        p: &Arc<Process>,
        scope: Scope,
        name: &'static str,
        at: At,
        op: Op,
        follow: bool,
        reads: bool,
    ) -> Flow {
        let writes = op.writes();
        if !writes && !reads {
            return Flow::Go;
        }
        let (base, raw) = match self.operand(n, p, at) {
            Ok(Some(o)) => o,
            Ok(None) => return Flow::Go,
            Err(why) => {
                self.escape(Some(scope), EscapeKind::Unreadable, why);
                return Flow::Go;
            }
        };
        let caller = Caller::Blocked { tid: n.tid.cast_signed(), process: p };
        if raw.is_empty() {
            // AT_EMPTY_PATH: the descriptor itself, whose open was seen.
            return if writes || op == Op::Attributes {
                self.access(&caller, scope, name, op, &base, b".", true)
            } else {
                Flow::Go
            };
        }
        let answer = || crate::resolve::inode(&base, &raw, follow);
        if !writes && !self.is_news(scope, (p.pid, p.execs.load(Ordering::Relaxed)), &op, follow, &base, &raw, answer) {
            return Flow::Go;
        }
        let flow = self.access(&caller, scope, name, op, &base, &raw, follow);
        if let (Flow::Refuse, Some(s)) = (&flow, self.scope_state(scope)) {
            // The next try is to be refused, too.
            s.seen.lock().expect("seen").clear();
        }
        flow
    }

    /// Most looks repeat (cc1 resolves every include directory anew): of one program the tracer reports the first, and
    /// those with another `answer` than the one before, since somebody else may make, replace or remove what a program
    /// waits for. `program` is a process, and which of its programs it runs.
    #[expect(clippy::too_many_arguments, reason = "one call, all of it")]
    pub(crate) fn is_news(
        &self,
        scope: Scope,
        program: (i32, u32),
        op: &Op,
        follow: bool,
        base: &[u8],
        raw: &[u8],
        answer: impl FnOnce() -> Option<u64>,
    ) -> bool {
        // Each look at a device may show something else.
        if raw.starts_with(b"/dev/") {
            return true;
        }
        let Some(s) = self.scope_state(scope) else { return true };
        let tag = match op {
            Op::OpenRead { content: true } => 1,
            Op::OpenRead { content: false } => 2,
            Op::Readlink => 3,
            Op::Stat => 4,
            Op::Chdir => 5,
            Op::Attributes => 6,
            _ => return true,
        };
        let mut key = Vec::with_capacity(base.len() + raw.len() + 11);
        key.extend_from_slice(&program.0.to_ne_bytes());
        key.extend_from_slice(&program.1.to_ne_bytes());
        key.extend_from_slice(&[tag, u8::from(follow)]);
        if raw.first() != Some(&b'/') {
            key.extend_from_slice(base);
        }
        key.push(0);
        key.extend_from_slice(raw);
        let answer = answer();
        s.seen.lock().expect("seen").insert(key.into(), answer) != Some(answer)
    }

    #[expect(clippy::too_many_arguments, reason = "one call, all of it")]
    pub(crate) fn access(
        &self,
        who: &Caller<'_>,
        scope: Scope,
        call: &'static str,
        op: Op,
        base: &[u8],
        raw: &[u8],
        follow: bool,
    ) -> Flow {
        let mut path = self.resolver.resolve(base, raw, follow);
        if path.path.len().max(base.len() + raw.len()) >= libc::PATH_MAX as usize {
            // It has a name for whoever stands near it, and none that we could use.
            self.escape(Some(scope), EscapeKind::Unreadable, TOO_DEEP);
            return Flow::Go;
        }
        if path.path.starts_with(b"/proc/self/") {
            for (magic, real) in
                [(&b"/proc/self/cwd"[..], who.cwd(self)), (b"/proc/self/root", Some(Arc::from(&b"/"[..])))]
            {
                if let (Some(rest), Some(real)) = (path.path.strip_prefix(magic), real)
                    && rest.first() == Some(&b'/')
                {
                    path = self.resolver.resolve(&real, &rest[1..], follow);
                    break;
                }
            }
        }
        if let Some((fd, below)) = path.path.strip_prefix(b"/proc/self/fd/").and_then(descriptor) {
            // `/dev/stdin`, `/dev/fd/3`: the file behind the descriptor, opened anew; or what lies below it, if it is a
            // directory.
            if fd == 0 {
                self.stdin_touched(who, scope, StdinUse::Takes);
            }
            let below = below.to_vec();
            match (self.target(who, scope, fd), who) {
                (Some(real), Caller::Blocked { .. }) if !below.is_empty() => {
                    path = self.resolver.resolve(&real, &below, follow)
                }
                (Some(real), _) => path = self.resolver.resolve(b"/", &real, false),
                (None, _) => return Flow::Go,
            }
        }
        // What is not there cannot be changed, and where no directory is nothing can be made: the call can only fail,
        // and all that it shows is that.
        let makes = matches!(op, Op::Create { .. } | Op::OpenWrite { creates: true, .. });
        let op = if op.writes() && path.state.is_none() && (path.nowhere || !makes) { Op::Stat } else { op };
        if path.nowhere && makes {
            // That something could be made there depends on the directory, not on the name.
            let cut = path.path.iter().rposition(|b| *b == b'/').unwrap_or(0).max(1);
            path.path = path.path[..cut].into();
            path.state = crate::resolve::lstat(&path.path);
        }
        if let (true, Caller::Blocked { tid, process }) = (op.writes(), who) {
            self.about_to_write(*tid, process, scope, &op, &path);
        }
        let late = who.late();
        if late.is_some_and(|l| l.found == Some(false)) {
            // Whatever is there now, it was not there then.
            path.state = None;
        }
        if let (Op::OpenRead { content: true }, Some(file)) = (&op, path.file())
            && self.scope_state(scope).is_some_and(|s| s.text.get().is_some_and(|t| t.is_read(file)))
        {
            self.escape(Some(scope), EscapeKind::OwnText, String::from_utf8_lossy(&path.path));
        }
        // What writes to the terminal past us comes after what has come to us.
        let before = match op {
            Op::OpenWrite { creates, .. } => self.terminal_opened(&path, who.pid(), creates),
            _ => None,
        };
        match (self.supervisor.access(scope, who.pid(), &Access { op, path, call, late }), before) {
            (Flow::Go, Some(job)) => Flow::After(job),
            (Flow::After(more), Some(job)) => Flow::After(Box::new(|| {
                more();
                job();
            })),
            (flow, _) => flow,
        }
    }

    /// The file behind descriptor `fd`, if it has a name.
    fn target(&self, who: &Caller<'_>, scope: Scope, fd: i32) -> Option<Vec<u8>> {
        match who {
            Caller::Blocked { tid, .. } => {
                let path = task_files::fd_path(*tid, fd);
                if path.is_none() {
                    self.nameless(*tid, scope, fd);
                }
                path
            }
            Caller::Gone { target: Target::Path(p), .. } => Some(p.clone()),
            Caller::Gone { target: Target::Nameless, .. } => None,
            Caller::Gone { target: Target::Unknown, .. } => {
                self.escape(Some(scope), EscapeKind::Unreadable, "it names a descriptor in an unusual way");
                None
            }
        }
    }

    /// Directories and links that go away make resolved paths stale, now and once the call has happened.
    fn about_to_write(&self, tid: i32, p: &Process, scope: Scope, op: &Op, path: &Resolved) {
        let moves = matches!(op, Op::Remove { .. } | Op::Create { .. })
            && matches!(path.file_type(), Some(FileType::Directory | FileType::Symlink));
        if moves {
            self.moved();
            p.unsettled.store(tid, Ordering::Release);
            if let Some(s) = self.scope_state(scope) {
                s.seen.lock().expect("seen").clear();
            }
        }
    }

    fn on_fd(&self, n: &Notification, p: &Arc<Process>, scope: Scope, name: &'static str, fd: i32, op: Op) -> Flow {
        let tid = n.tid.cast_signed();
        match task_files::fd_path(tid, fd) {
            Some(path) => self.access(&Caller::Blocked { tid, process: p }, scope, name, op, b"/", &path, false),
            None => self.nameless(tid, scope, fd),
        }
    }

    /// A descriptor without a path is no file of the tree, unless the path is only too long.
    fn nameless(&self, tid: i32, scope: Scope, fd: i32) -> Flow {
        if task_files::is_too_deep(tid, fd) {
            self.escape(Some(scope), EscapeKind::Unreadable, TOO_DEEP);
        }
        Flow::Go
    }

    /// A call that changes names or files: what happens to a source, then to the target.
    fn all(&self, n: &Notification, p: &Arc<Process>, scope: Scope, name: &'static str, steps: Vec<Step>) -> Flow {
        let mut flows = Vec::new();
        if let [Step { at, follow, .. }, _, ..] = &steps[..]
            && let Ok(Some((base, raw))) = self.operand(n, p, *at)
            && !raw.is_empty()
            && self.resolver.resolve(&base, &raw, *follow).state.is_none()
            && !raw.starts_with(b"/proc/")
        {
            // Nothing can be moved or linked that is not there.
            return self.one(n, p, scope, name, *at, Op::Stat, *follow, true);
        }
        for Step { at, op, follow } in steps {
            match self.one(n, p, scope, name, at, op, follow, true) {
                Flow::Go => {}
                Flow::After(job) => flows.push(job),
                Flow::Refuse => return Flow::Refuse,
            }
        }
        if flows.is_empty() { Flow::Go } else { Flow::After(Box::new(move || flows.into_iter().for_each(|j| j()))) }
    }

    /// Do these times mean "now"? (utimensat(2): a null pointer, or `UTIME_NOW` / `UTIME_OMIT`.)
    fn sets_now(&self, n: &Notification, times: u64) -> bool {
        const UTIME_NOW: u64 = (1 << 30) - 1;
        const UTIME_OMIT: u64 = (1 << 30) - 2;
        if times == 0 {
            return true;
        }
        // The second timespec is the modification time; its second half the nanoseconds.
        n.nr == arch::UTIMENSAT
            && memory::read_u64(n.tid.cast_signed(), times + 24).is_ok_and(|ns| ns == UTIME_NOW || ns == UTIME_OMIT)
    }

    fn socket(&self, n: &Notification, scope: Scope, name: &str, address: u64, length: u64) -> Flow {
        let mut b = [0u8; 110];
        let length = usize::try_from(length).unwrap_or(b.len()).min(b.len());
        let got = memory::read(n.tid.cast_signed(), address, &mut b[..length]).unwrap_or(0);
        let family = i32::from(u16::from_ne_bytes([b[0], b[1]]));
        let detail = match family {
            _ if got < 2 => name.to_owned(),
            libc::AF_NETLINK => return Flow::Go,
            libc::AF_UNIX => {
                let path: Vec<u8> = b[2..got].iter().copied().take_while(|c| *c != 0).collect();
                // The name service cache daemon: the C library asks, and goes on without it.
                if path.starts_with(b"/var/run/nscd/") || path.starts_with(b"/run/nscd/") {
                    return Flow::Go;
                }
                format!("{name} to {}", String::from_utf8_lossy(&path))
            }
            libc::AF_INET => {
                format!("{name} to {}.{}.{}.{}:{}", b[4], b[5], b[6], b[7], u16::from_be_bytes([b[2], b[3]]))
            }
            f => format!("{name}, address family {f}"),
        };
        self.supervisor.connects(scope, Escape { kind: EscapeKind::Network, detail })
    }
}

/// The number of a descriptor in the rest of a path below `/proc/self/fd`, and what is named below that.
fn descriptor(rest: &[u8]) -> Option<(i32, &[u8])> {
    let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
    let fd = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((fd, rest[end..].strip_prefix(b"/").unwrap_or_default()))
}
