//! One supervised run: launch, receive notifications on several threads, keep the process tree, end.
//!
//! A receiving thread never blocks: it reads the task, reports the access, answers. Whatever may take long is
//! handed to the pool, and the task just stays blocked meanwhile.

use crate::access::{Access, Escape, EscapeKind, Fact, Op};
use crate::arch::{self, At, Follow, Shape};
use crate::keeper::Keeper;
use crate::pool::Pool;
use crate::process::{Found, Process, ProcessTable, Scope};
use crate::request::ExecRequest;
use crate::resolve::{Resolved, Resolver};
use crate::sys::launch::{self, LaunchError};
use crate::sys::memory;
use crate::sys::seccomp::{Listener, Notification};
use crate::task_files;
use crate::ticket::{ExecTicket, ExitTicket};
use rustc_hash::{FxHashMap, FxHashSet};
use rustix::fs::FileType;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// What to do with a task whose access was reported.
pub enum Flow {
    /// Let the call happen now.
    Go,
    /// Run this on a thread that may block, then let the call happen.
    After(Box<dyn FnOnce() + Send>),
}

/// The decisions of a run. Methods are called on receiving threads and must not block.
pub trait Supervisor: Send + Sync + 'static {
    /// An `execve` that would succeed. Answer the ticket now or later.
    fn exec(&self, ticket: ExecTicket);
    /// A process of an observed scope (or, for writes, of any scope) is about to do this.
    fn access(&self, scope: Scope, process: &Process, access: &Access) -> Flow;
    /// A process of an observed scope asked for a fact.
    fn fact(&self, scope: Scope, process: &Process, fact: Fact);
    /// Observation of `scope` is incomplete; `None`: nobody knows whose.
    fn escape(&self, scope: Option<Scope>, escape: Escape);
    /// The root of a scope is about to exit; it is held until the ticket is dropped.
    fn root_exit(&self, ticket: ExitTicket);
    /// The root of a scope was killed; its parent may know already.
    fn root_killed(&self, scope: Scope);
    /// The `execve` that started this scope failed after all; the process is back where it was.
    fn exec_failed(&self, scope: Scope);
    /// Should reads of this scope be reported?
    fn observes_reads(&self, scope: Scope) -> bool;
}

/// How to launch.
pub struct Options<'a> {
    pub program: &'a Path,
    pub argv: &'a [&'a OsStr],
    pub env: &'a [(&'a OsStr, &'a OsStr)],
    /// Threads that receive notifications.
    pub threads: usize,
    /// The journal that the keeper removes if the build outlives its supervisor.
    pub journal: Option<PathBuf>,
}

/// How the root command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exited {
    Code(i32),
    Signal(i32),
}

/// Counters of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracerStats {
    /// Notifications received.
    pub calls: u64,
    /// Processes seen.
    pub processes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("cannot start the keeper process: {0}")]
    Keeper(std::io::Error),
}

#[derive(Default)]
struct ScopeState {
    root: Option<(i32, u64)>,
    seen: Mutex<FxHashSet<Box<[u8]>>>,
    live_stdin: Mutex<Option<Vec<u8>>>,
}

/// The directory that a path argument is relative to, and the argument.
type Operand = (Arc<[u8]>, Vec<u8>);

pub(crate) struct Inner {
    pub listener: Listener,
    pub keeper: Keeper,
    pub pool: Pool,
    pub processes: ProcessTable,
    supervisor: Arc<dyn Supervisor>,
    resolver: Resolver,
    scopes: RwLock<FxHashMap<Scope, Arc<ScopeState>>>,
    shapes: Vec<Option<(&'static str, Shape)>>,
    root: i32,
    calls: AtomicU64,
}

/// A launched command, blocked in its first `execve` until [`Session::run`].
pub struct Session {
    pid: i32,
    listener: Listener,
    keeper: Keeper,
    threads: usize,
}

/// Finds `name` as a shell would: as a path if it has a slash, else in `path`.
pub fn search_path(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return Some(PathBuf::from(name));
    }
    let executable = |p: &PathBuf| p.is_file() && rustix::fs::access(p, rustix::fs::Access::EXEC_OK).is_ok();
    std::env::split_paths(path).map(|d| d.join(name)).find(executable)
}

/// Tries the `seccomp` backend by using it: launches a command that exits at once.
pub fn probe() -> Result<(), SpawnError> {
    let l = launch::launch(Path::new("/nonexistent"), &[], &[], &crate::filter::build())?;
    let listener = Listener::new(l.listener);
    while let Ok(n) = listener.receive() {
        if let Some(n) = n {
            listener.proceed(n.id);
            if n.nr == arch::EXIT_GROUP {
                break;
            }
        }
    }
    launch::wait(l.pid);
    Ok(())
}

impl Session {
    /// Forks the launcher and the keeper. Must be called while the process has one thread.
    pub fn launch(o: &Options<'_>) -> Result<Self, SpawnError> {
        launch::become_subreaper();
        let l = launch::launch(o.program, o.argv, o.env, &crate::filter::build())?;
        let listener = Listener::new(l.listener);
        listener.wake_synchronously();
        let keeper = Keeper::start(&listener, o.journal.clone()).map_err(SpawnError::Keeper)?;
        Ok(Self { pid: l.pid, listener, keeper, threads: o.threads.max(1) })
    }

    /// Process id of the root command.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Kills the command before it has executed anything.
    pub fn abandon(self) {
        crate::sys::signals::send(self.pid, libc::SIGKILL);
        launch::wait(self.pid);
    }

    /// Serves the run until the root command has ended and every job is done.
    pub fn run(self, supervisor: Arc<dyn Supervisor>) -> std::io::Result<(Exited, TracerStats)> {
        // A descriptor for every live process: the soft limit is made for programs that use select(2).
        raise_descriptor_limit();
        let mut shapes = vec![None; arch::HIGHEST_KNOWN as usize + 1];
        for (nr, name, shape) in arch::TABLE {
            shapes[nr.cast_unsigned() as usize] = Some((*name, *shape));
        }
        let inner = Arc::new(Inner {
            listener: self.listener,
            keeper: self.keeper,
            pool: Pool::default(),
            processes: ProcessTable::new()?,
            supervisor,
            resolver: Resolver::default(),
            scopes: RwLock::default(),
            shapes,
            root: self.pid,
            calls: AtomicU64::new(0),
        });
        inner.processes.add_root(self.pid);
        for i in 0..self.threads {
            let inner = inner.clone();
            std::thread::Builder::new().name(format!("xl-gate-{i}")).spawn(move || {
                while let Ok(n) = inner.listener.receive() {
                    if let Some(n) = n {
                        inner.keeper.received(n.id);
                        // A defect of ours must not leave a task blocked for ever.
                        let handled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| inner.handle(n)));
                        if handled.is_err() {
                            inner.escape(None, EscapeKind::Unreadable, "xl failed");
                            inner.listener.proceed(n.id);
                        }
                    }
                }
            })?;
        }
        let reaper = inner.clone();
        std::thread::Builder::new().name("xl-reaper".into()).spawn(move || reaper.watch_ends())?;
        let exited = launch::wait(self.pid);
        inner.pool.drain();
        let stats = TracerStats { calls: inner.calls.load(Ordering::Relaxed), processes: inner.processes.births() };
        Ok((exited, stats))
    }
}

impl Inner {
    pub fn set_root(&self, scope: Scope, p: &Process) {
        let s = Arc::new(ScopeState { root: Some((p.pid, p.start)), ..ScopeState::default() });
        if let Some(old) = self.scopes.write().expect("scopes").insert(scope, s.clone()) {
            *s.live_stdin.lock().expect("stdin") = old.live_stdin.lock().expect("stdin").take();
        }
    }

    pub fn end_scope(&self, scope: Scope) {
        self.scopes.write().expect("scopes").remove(&scope);
    }

    pub fn set_live_stdin(&self, scope: Scope, pid: i32) {
        let s = ScopeState { live_stdin: Mutex::new(task_files::fd_link(pid, 0)), ..ScopeState::default() };
        self.scopes.write().expect("scopes").insert(scope, Arc::new(s));
    }

    fn scope_state(&self, scope: Scope) -> Option<Arc<ScopeState>> {
        self.scopes.read().expect("scopes").get(&scope).cloned()
    }

    fn is_root(&self, p: &Process) -> bool {
        self.scope_state(p.scope()).is_some_and(|s| s.root == Some((p.pid, p.start)))
    }

    /// Notices the ends of processes, also of those that were killed.
    fn watch_ends(&self) {
        loop {
            for p in self.processes.wait_ends() {
                if self.is_root(&p) && !p.ending.load(Ordering::Acquire) {
                    let scope = p.scope();
                    self.end_scope(scope);
                    self.supervisor.root_killed(scope);
                }
                if p.pid != self.root {
                    crate::sys::signals::reap(p.pid);
                }
            }
        }
    }

    fn escape(&self, scope: Option<Scope>, kind: EscapeKind, detail: impl Into<String>) {
        self.supervisor.escape(scope, Escape { kind, detail: detail.into() });
    }

    fn handle(self: &Arc<Self>, n: Notification) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let tid = n.tid.cast_signed();
        let p = match self.processes.find(tid) {
            Found::Known(p) | Found::New(p) => p,
            Found::Orphan(p) => {
                self.escape(None, EscapeKind::Orphan, format!("process {tid}"));
                p
            }
            Found::Gone => {
                if self.listener.is_valid(n.id) {
                    self.escape(None, EscapeKind::Unreadable, format!("process {tid}"));
                }
                return self.listener.proceed(n.id);
            }
        };
        if p.unsettled.swap(false, Ordering::AcqRel) {
            self.resolver.forget();
        }
        self.settle_exec(&p, &n);
        let scope = p.scope();
        if n.arch != arch::AUDIT_ARCH || n.nr.cast_unsigned() & arch::FOREIGN_ABI_BIT != 0 {
            self.escape(Some(scope), EscapeKind::ForeignAbi, format!("number {}", n.nr));
            return self.listener.proceed(n.id);
        }
        match n.nr {
            arch::EXECVE | arch::EXECVEAT => return self.exec(n, p),
            arch::EXIT if task_files::threads(p.pid) == 1 => return self.exit(n, &p),
            arch::EXIT => self.processes.forget_thread(tid, &p),
            arch::EXIT_GROUP => return self.exit(n, &p),
            nr => match self.shapes.get(nr.cast_unsigned() as usize).copied().flatten() {
                Some((name, shape)) => return self.call(&n, &p, scope, name, shape),
                None if nr.cast_unsigned() > arch::HIGHEST_KNOWN => {
                    self.escape(Some(scope), EscapeKind::UnknownCall, format!("number {nr}"));
                }
                None => self.stdin_touched(&p, scope),
            },
        }
        self.listener.proceed(n.id);
    }

    /// The first call after an `execve` was let go tells whether it happened.
    fn settle_exec(&self, p: &Arc<Process>, n: &Notification) {
        let mut slot = p.exec_pending.lock().expect("exec");
        let Some(pending) = slot.take() else { return };
        let happened = pending.image == (0, 0) || task_files::image(p.pid).is_none_or(|i| i == pending.image);
        if !happened && pending.tid != n.tid.cast_signed() {
            // Another thread's call: the exec may still be on its way.
            *slot = Some(pending);
            return;
        }
        drop(slot);
        if happened {
            p.execs.fetch_add(1, Ordering::Relaxed);
            p.cwd.lock().expect("cwd").take();
            return;
        }
        use std::os::fd::AsFd;
        for (target, original) in &pending.originals {
            let _ = self.listener.install_fd(n.id, original.as_fd(), *target);
        }
        let started = p.scope();
        p.set_scope(pending.before);
        if started != pending.before {
            self.end_scope(started);
            self.supervisor.exec_failed(started);
        }
    }

    fn stdin_touched(&self, p: &Process, scope: Scope) {
        let Some(s) = self.scope_state(scope) else { return };
        let live = s.live_stdin.lock().expect("stdin");
        if live.is_some() && *live == task_files::fd_link(p.pid, 0) {
            self.escape(Some(scope), EscapeKind::LiveStdin, "");
        }
    }

    fn exit(self: &Arc<Self>, n: Notification, p: &Arc<Process>) {
        self.processes.adopt_children(p);
        let is_root = self.is_root(p);
        p.ending.store(true, Ordering::Release);
        if is_root {
            self.supervisor.root_exit(ExitTicket {
                scope: p.scope(),
                code: (n.args[0] & 0xff) as i32,
                process: p.clone(),
                inner: self.clone(),
                note: n,
                answered: false,
            });
        } else {
            self.listener.proceed(n.id);
        }
    }

    fn cwd(&self, p: &Process) -> Option<Arc<[u8]>> {
        let mut memo = p.cwd.lock().expect("cwd");
        if memo.is_none() {
            *memo = Some(task_files::cwd(p.pid)?.into());
        }
        memo.clone()
    }

    /// The directory that a path argument is relative to, and the argument. `Err` says why not.
    fn operand(&self, n: &Notification, p: &Process, at: At) -> Result<Option<Operand>, &'static str> {
        let tid = n.tid.cast_signed();
        let address = n.args[at.1 as usize];
        let raw = match memory::read_path(tid, address) {
            Ok(Some(raw)) => raw,
            // The kernel will refuse the call: too long, or a bad or null pointer.
            Ok(None) => return Ok(None),
            Err(e) if e.raw_os_error() == Some(libc::EFAULT) => return Ok(None),
            Err(_) if !self.listener.is_valid(n.id) => return Ok(None),
            Err(_) => return Err("its memory cannot be read"),
        };
        if raw.first() == Some(&b'/') {
            return Ok(Some((Arc::from(&b"/"[..]), raw)));
        }
        let dirfd = at.0.map_or(libc::AT_FDCWD, |i| n.args[i as usize] as i32);
        let base = if dirfd == libc::AT_FDCWD {
            self.cwd(p).ok_or("its working directory is gone")?
        } else {
            match task_files::fd_path(p.pid, dirfd) {
                Some(d) => d.into(),
                // Not a directory, or not open: the call fails. Or a deleted directory: nothing can be found there.
                None => return Ok(None),
            }
        };
        Ok(Some((base, raw)))
    }

    fn call(self: &Arc<Self>, n: &Notification, p: &Arc<Process>, scope: Scope, name: &'static str, shape: Shape) {
        match self.report(n, p, scope, name, shape) {
            Flow::Go => self.listener.proceed(n.id),
            Flow::After(job) => {
                let (inner, id) = (self.clone(), n.id);
                self.pool.run(Box::new(move || {
                    job();
                    inner.listener.proceed(id);
                }));
            }
        }
    }

    fn report(&self, n: &Notification, p: &Arc<Process>, scope: Scope, name: &'static str, shape: Shape) -> Flow {
        let reads = self.supervisor.observes_reads(scope);
        let flag = |i: u8, bit: i32| n.args[i as usize] & u64::from(bit.cast_unsigned()) != 0;
        let follows = |f: Follow| match f {
            Follow::Yes => true,
            Follow::No => false,
            Follow::UnlessFlag(i) => !flag(i, libc::AT_SYMLINK_NOFOLLOW),
            Follow::IfFlag(i) => flag(i, libc::AT_SYMLINK_FOLLOW),
        };
        let one = |at, op, follow| self.one(n, p, scope, name, at, op, follow, reads);
        match shape {
            Shape::Open(at, flags) => {
                let (op, follow) = open_op(n.args[flags as usize]);
                one(at, op, follow)
            }
            Shape::OpenHow(at, how) => match memory::read_u64(n.tid.cast_signed(), n.args[how as usize]) {
                Ok(flags) => {
                    let (op, follow) = open_op(flags);
                    one(at, op, follow)
                }
                Err(_) => {
                    self.escape(Some(scope), EscapeKind::Unreadable, name);
                    Flow::Go
                }
            },
            Shape::Creat(at) => one(at, Op::OpenWrite { keeps: false, creates: true, exclusive: false }, true),
            Shape::Stat(at, f) => one(at, Op::Stat, follows(f)),
            Shape::Readlink(at) => one(at, Op::Readlink, false),
            Shape::Unlink(at) => one(at, Op::Remove, false),
            Shape::Make(at) => one(at, Op::Create, false),
            Shape::SetMeta(at, f) => one(at, Op::SetMeta, follows(f)),
            Shape::SetTimes(at, f, times) => {
                let now = self.sets_now(n, n.args[times as usize]);
                if n.args[at.1 as usize] == 0 {
                    return self.on_fd(n, p, scope, name, at.0.map_or(0, |i| n.args[i as usize]) as i32, Op::SetTimes { now });
                }
                one(at, Op::SetTimes { now }, follows(f))
            }
            Shape::Truncate(at) => one(at, Op::Truncate, true),
            Shape::SetMetaFd => self.on_fd(n, p, scope, name, n.args[0] as i32, Op::SetMeta),
            Shape::TruncateFd => self.on_fd(n, p, scope, name, n.args[0] as i32, Op::Truncate),
            Shape::List if reads => self.on_fd(n, p, scope, name, n.args[0] as i32, Op::List),
            Shape::List => Flow::Go,
            Shape::Rename(from, to) => {
                const RENAME_EXCHANGE: i32 = 2;
                if n.nr == arch::RENAMEAT2 && flag(4, RENAME_EXCHANGE) {
                    self.escape(Some(scope), EscapeKind::UnknownCall, "renameat2 with RENAME_EXCHANGE");
                }
                let steps = [(from, Op::LinkSource, false), (from, Op::Remove, false), (to, Op::Create, false)];
                self.all(n, p, scope, name, steps)
            }
            Shape::Link(from, to, f) => self.all(n, p, scope, name, [(from, Op::LinkSource, follows(f)), (to, Op::Create, false)]),
            Shape::Chdir(at) => {
                // It changes only after this; the next call reads it again.
                let flow = match at {
                    Some(at) if reads => one(at, Op::Chdir, true),
                    _ => Flow::Go,
                };
                p.cwd.lock().expect("cwd").take();
                flow
            }
            Shape::Fact(fact) => {
                if reads {
                    self.supervisor.fact(scope, p, fact);
                }
                Flow::Go
            }
            Shape::Socket(address, length) => {
                self.socket(n, scope, name, n.args[address as usize], n.args[length as usize]);
                Flow::Go
            }
            Shape::Message(header) => {
                // `struct msghdr` begins with the address and its length.
                let tid = n.tid.cast_signed();
                let at = n.args[header as usize];
                if let (Ok(address), Ok(length)) = (memory::read_u64(tid, at), memory::read_u64(tid, at + 8))
                    && address != 0
                {
                    self.socket(n, scope, name, address, length & 0xffff_ffff);
                }
                Flow::Go
            }
            Shape::Escape(kind) => {
                self.escape(Some(scope), kind, name);
                Flow::Go
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call, all of it")]
    fn one(&self, n: &Notification, p: &Arc<Process>, scope: Scope, name: &'static str, at: At, op: Op, follow: bool, reads: bool) -> Flow {
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
        if raw.is_empty() {
            // AT_EMPTY_PATH: the descriptor itself, whose open was seen.
            return if writes { self.access(p, scope, name, op, &base, b".", true) } else { Flow::Go };
        }
        if !writes && !self.first_time(scope, p, &op, follow, &base, &raw) {
            return Flow::Go;
        }
        self.access(p, scope, name, op, &base, &raw, follow)
    }

    /// Most reads repeat (cc1 resolves every include directory anew): only the first of a
    /// program is reported.
    fn first_time(&self, scope: Scope, p: &Process, op: &Op, follow: bool, base: &[u8], raw: &[u8]) -> bool {
        let Some(s) = self.scope_state(scope) else { return true };
        let tag = match op {
            Op::OpenRead { content: true } => 1,
            Op::OpenRead { content: false } => 2,
            Op::Readlink => 3,
            Op::Stat => 4,
            Op::Chdir => 5,
            _ => return true,
        };
        let mut key = Vec::with_capacity(base.len() + raw.len() + 11);
        key.extend_from_slice(&p.pid.to_ne_bytes());
        key.extend_from_slice(&p.execs.load(Ordering::Relaxed).to_ne_bytes());
        key.extend_from_slice(&[tag, u8::from(follow)]);
        if raw.first() != Some(&b'/') {
            key.extend_from_slice(base);
        }
        key.push(0);
        key.extend_from_slice(raw);
        s.seen.lock().expect("seen").insert(key.into())
    }

    #[expect(clippy::too_many_arguments, reason = "one call, all of it")]
    fn access(&self, p: &Arc<Process>, scope: Scope, call: &'static str, op: Op, base: &[u8], raw: &[u8], follow: bool) -> Flow {
        let mut path = self.resolver.resolve(base, raw, follow);
        for (magic, real) in [(&b"/proc/self/cwd"[..], self.cwd(p)), (b"/proc/self/root", Some(Arc::from(&b"/"[..])))] {
            if let (Some(rest), Some(real)) = (path.path.strip_prefix(magic), real)
                && rest.first() == Some(&b'/')
            {
                path = self.resolver.resolve(&real, &rest[1..], follow);
                break;
            }
        }
        if let Some(fd) = path.path.strip_prefix(b"/proc/self/fd/").and_then(|n| std::str::from_utf8(n).ok()?.parse().ok()) {
            // `/dev/stdin`, `/dev/fd/3`: the file behind the descriptor, opened anew.
            if fd == 0 {
                self.stdin_touched(p, scope);
            }
            match task_files::fd_path(p.pid, fd) {
                Some(real) => path = self.resolver.resolve(b"/", &real, false),
                None => return Flow::Go,
            }
        }
        if op.writes() {
            self.about_to_write(p, scope, &op, &path);
        }
        self.supervisor.access(scope, p, &Access { op, path, call })
    }

    /// Directories and links that go away make resolved paths stale, now and once the call has happened.
    fn about_to_write(&self, p: &Process, scope: Scope, op: &Op, path: &Resolved) {
        let moves = matches!(op, Op::Remove | Op::Create) && matches!(path.file_type(), Some(FileType::Directory | FileType::Symlink));
        if moves {
            self.resolver.forget();
            p.unsettled.store(true, Ordering::Release);
            if let Some(s) = self.scope_state(scope) {
                s.seen.lock().expect("seen").clear();
            }
        }
    }

    fn on_fd(&self, _n: &Notification, p: &Arc<Process>, scope: Scope, name: &'static str, fd: i32, op: Op) -> Flow {
        match task_files::fd_path(p.pid, fd) {
            Some(path) => self.access(p, scope, name, op, b"/", &path, false),
            None => Flow::Go,
        }
    }

    /// rename and link: what happens to the source, then to the target.
    fn all<const N: usize>(
        &self,
        n: &Notification,
        p: &Arc<Process>,
        scope: Scope,
        name: &'static str,
        steps: [(At, Op, bool); N],
    ) -> Flow {
        let mut flows = Vec::new();
        for (at, op, follow) in steps {
            if let Flow::After(job) = self.one(n, p, scope, name, at, op, follow, true) {
                flows.push(job);
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
        n.nr == arch::UTIMENSAT && memory::read_u64(n.tid.cast_signed(), times + 24).is_ok_and(|ns| ns == UTIME_NOW || ns == UTIME_OMIT)
    }

    fn socket(&self, n: &Notification, scope: Scope, name: &str, address: u64, length: u64) {
        let mut b = [0u8; 110];
        let length = usize::try_from(length).unwrap_or(b.len()).min(b.len());
        let got = memory::read(n.tid.cast_signed(), address, &mut b[..length]).unwrap_or(0);
        let family = i32::from(u16::from_ne_bytes([b[0], b[1]]));
        let detail = match family {
            _ if got < 2 => name.to_owned(),
            libc::AF_NETLINK => return,
            libc::AF_UNIX => {
                let path: Vec<u8> = b[2..got].iter().copied().take_while(|c| *c != 0).collect();
                // The name service cache daemon: the C library asks, and goes on without it.
                if path.starts_with(b"/var/run/nscd/") || path.starts_with(b"/run/nscd/") {
                    return;
                }
                format!("{name} to {}", String::from_utf8_lossy(&path))
            }
            libc::AF_INET => format!("{name} to {}.{}.{}.{}:{}", b[4], b[5], b[6], b[7], u16::from_be_bytes([b[2], b[3]])),
            f => format!("{name}, address family {f}"),
        };
        self.escape(Some(scope), EscapeKind::Network, detail);
    }

    fn exec(self: &Arc<Self>, n: Notification, p: Arc<Process>) {
        let scope = p.scope();
        let reads = self.supervisor.observes_reads(scope);
        let at = if n.nr == arch::EXECVE { At(None, 0) } else { At(Some(0), 1) };
        let (argv_at, env_at) = if n.nr == arch::EXECVE { (1, 2) } else { (2, 3) };
        let operand = match self.operand(&n, &p, at) {
            Ok(Some(o)) => o,
            Ok(None) => return self.listener.proceed(n.id),
            Err(why) => {
                self.escape(Some(scope), EscapeKind::Unreadable, why);
                return self.listener.proceed(n.id);
            }
        };
        let (base, raw) = operand;
        let program = if raw.is_empty() {
            // fexecve: the file behind the descriptor.
            match task_files::fd_path(p.pid, n.args[0] as i32) {
                Some(path) => self.resolver.resolve(b"/", &path, true),
                None => {
                    self.escape(Some(scope), EscapeKind::Unreadable, "it executes a file without a name");
                    return self.listener.proceed(n.id);
                }
            }
        } else {
            self.resolver.resolve(&base, &own_image(raw, p.pid), true)
        };
        let image = crate::request::interpreters(&program, &self.cwd(&p).unwrap_or_else(|| Arc::from(&b"/"[..])), &self.resolver);
        if image.is_err() {
            self.escape(Some(scope), EscapeKind::Unreadable, "it executes a file of a format that xl does not know");
        }
        let Some((interpreters, image)) = image.ok().flatten() else {
            // It will fail (a PATH search tries many): only that it was looked for counts.
            if reads {
                let _ = self.supervisor.access(scope, &p, &Access { op: Op::Stat, path: program, call: "execve" });
            }
            return self.listener.proceed(n.id);
        };
        let tid = n.tid.cast_signed();
        let (Ok(argv), Ok(env), Some(cwd)) =
            (memory::read_strings(tid, n.args[argv_at]), memory::read_strings(tid, n.args[env_at]), self.cwd(&p))
        else {
            if self.listener.is_valid(n.id) {
                self.escape(Some(scope), EscapeKind::Unreadable, "its arguments cannot be read");
            }
            return self.listener.proceed(n.id);
        };
        if !self.listener.is_valid(n.id) {
            return;
        }
        p.cwd.lock().expect("cwd").take();
        let request = ExecRequest { process: p, scope, program, interpreters, image, argv, env, cwd, tid };
        self.supervisor.exec(ExecTicket { request, inner: self.clone(), note: n, answered: false });
    }
}

/// `/proc/self/exe` means the task's image, not ours.
fn own_image(raw: Vec<u8>, pid: i32) -> Vec<u8> {
    if raw == b"/proc/self/exe" {
        rustix::fs::readlink(format!("/proc/{pid}/exe"), Vec::new()).map_or(raw, std::ffi::CString::into_bytes)
    } else {
        raw
    }
}

/// What open(2) flags ask for, and whether the last link is followed.
fn open_op(flags: u64) -> (Op, bool) {
    let has = |bit: i32| flags & u64::from(bit.cast_unsigned()) != 0;
    let follow = !(has(libc::O_NOFOLLOW) || has(libc::O_CREAT) && has(libc::O_EXCL));
    if has(libc::O_PATH) {
        return (Op::OpenRead { content: false }, follow);
    }
    let write = (flags & 3) != 0 || has(libc::O_TRUNC) || (has(libc::O_CREAT));
    if flags & libc::O_TMPFILE as u64 == libc::O_TMPFILE as u64 {
        return (Op::Stat, follow);
    }
    if !write {
        return (Op::OpenRead { content: true }, follow);
    }
    let op = Op::OpenWrite { keeps: !has(libc::O_TRUNC), creates: has(libc::O_CREAT), exclusive: has(libc::O_CREAT) && has(libc::O_EXCL) };
    (op, follow)
}

/// Raises the soft limit of open descriptors to the hard one. The build has been forked off already and keeps its own.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut l = getrlimit(Resource::Nofile);
    l.current = l.maximum;
    let _ = setrlimit(Resource::Nofile, l);
}
