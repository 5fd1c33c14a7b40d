//! One supervised run: launch, receive notifications on several threads, keep the process tree, end.
//!
//! A receiving thread never blocks: it reads the task, reports the access, answers. Whatever may take long is
//! handed to the pool, and the task just stays blocked meanwhile.

use crate::access::{Access, Escape, EscapeKind, Fact, StdinUse};
use crate::arch::{self, Shape};
use crate::filter::{self, Calls};
use crate::front::{Front, Screen, Way as Outward};
use crate::keeper::Keeper;
use crate::late::Bases;
use crate::loader::Loader;
use crate::observer::{Observer, RingSize, Unavailable};
use crate::pool::Pool;
use crate::process::{Found, Process, ProcessTable, Scope};
use crate::proof::{self, Lacking};
use crate::resolve::Resolver;
use crate::stepper::Stepper;
use crate::sys::launch::{self, LaunchError, Way};
use crate::sys::seccomp::{Instruction, Notification};
use crate::sys::wait::Exited;
use crate::task_files;
use crate::ticket::{ExecTicket, ExitTicket};
use crate::transport::Transport;
use crate::watched::WatchedStdin;
use rustc_hash::FxHashMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, mpsc};

/// What to do with a task whose access was reported.
pub enum Flow {
    /// Let the call happen now.
    Go,
    /// Run this on a thread that may block, then let the call happen.
    After(Box<dyn FnOnce() + Send>),
    /// The call fails with "permission denied".
    Refuse,
}

/// The decisions of a run. Methods are called on receiving threads and must not block.
pub trait Supervisor: Send + Sync + 'static {
    /// An `execve` that would succeed. Answer the ticket now or later.
    fn exec(&self, ticket: ExecTicket);
    /// Process `pid` of an observed scope (or, for writes, of any scope) is about to do this, or has done it if the
    /// access is [`Access::late`]: then it can be neither delayed nor refused.
    fn access(&self, scope: Scope, pid: i32, access: &Access) -> Flow;
    /// A process of an observed scope asked for a fact.
    fn fact(&self, scope: Scope, pid: i32, fact: Fact);
    /// A process of an observed scope does something with the standard input that its root was given. If that is
    /// `live`, taking it is an escape besides.
    fn stdin(&self, _scope: Scope, _pid: i32, _how: StdinUse, _live: bool) {}
    /// Process `parent` of an observed scope has a new child. Not every backend tells.
    fn forked(&self, scope: Scope, parent: i32, child: i32);
    /// Observation of `scope` is incomplete; `None`: nobody knows whose.
    fn escape(&self, scope: Option<Scope>, escape: Escape);
    /// As an escape, of a task that executes a program: nobody can say which, nor what becomes of it.
    fn unseen(&self, scope: Option<Scope>, escape: Escape) {
        self.escape(scope, escape);
    }
    /// A process of `scope` is about to connect, bind or send: an escape that can be refused.
    fn connects(&self, scope: Scope, escape: Escape) -> Flow {
        self.escape(Some(scope), escape);
        Flow::Go
    }
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
    /// `None`: the best one that works here.
    pub backend: Option<Backend>,
    /// Threads that receive notifications.
    pub threads: usize,
    /// Descriptors above 2 that this process was started with, from [`crate::inherited`]: using them is an escape.
    pub watched: Vec<(i32, Vec<u8>)>,
    /// The journal that the keeper removes if the build outlives its supervisor.
    pub journal: Option<PathBuf>,
    /// The eBPF programs were loaded before on this machine since it was started: they need not be tried again.
    pub ebpf_works: bool,
    /// Of the backend `ebpf`.
    pub ring: RingSize,
    /// Whoever shows something on the terminal besides the build.
    pub screen: Option<Arc<dyn Screen>>,
    /// Reads may have to be refused or held, which cannot be done after the fact: `seccomp` is taken instead of `ebpf`.
    pub needs_entry: bool,
}

/// How calls are observed and held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The gate by seccomp, looks by eBPF.
    Ebpf,
    Seccomp,
    Ptrace,
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ebpf => "ebpf",
            Self::Seccomp => "seccomp",
            Self::Ptrace => "ptrace",
        })
    }
}

/// Counters of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracerStats {
    /// Notifications received.
    pub calls: u64,
    /// Processes seen.
    pub processes: u64,
    /// Records of calls that were not notified.
    pub records: u64,
    /// Records that were lost.
    pub lost: u64,
    /// How often a task was stopped because it was looking at things faster than that could be recorded.
    pub stops: u64,
    /// The observer was needed, and could not be loaded.
    pub unobserved: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("cannot start the keeper process: {0}")]
    Keeper(std::io::Error),
    #[error("cannot trace the command: {0}")]
    Attach(std::io::Error),
    #[error("blocked calls cannot be received: {0}")]
    Receive(std::io::Error),
    #[error("the eBPF observer does not work here: {0}")]
    Observer(#[from] Unavailable),
    #[error(transparent)]
    Lacking(#[from] Lacking),
}

#[derive(Default)]
pub(crate) struct ScopeState {
    pub(crate) root: Option<u64>,
    /// The looks of its programs, and the inode number that each found last; `None` is nothing.
    pub(crate) seen: Mutex<FxHashMap<Box<[u8]>, Option<u64>>>,
    pub(crate) stdin: Mutex<Option<WatchedStdin>>,
    /// Where the text of its root goes through.
    pub(crate) text: OnceLock<Arc<crate::capture::Passage>>,
}

pub(crate) struct Inner {
    pub transport: Transport,
    pub keeper: Keeper,
    pub pool: Pool,
    pub processes: ProcessTable,
    pub(crate) supervisor: Arc<dyn Supervisor>,
    pub(crate) resolver: Resolver,
    pub(crate) scopes: RwLock<FxHashMap<Scope, Arc<ScopeState>>>,
    pub(crate) shapes: Vec<Option<(&'static str, Shape)>>,
    pub(crate) root: i32,
    pub(crate) watched: Vec<(i32, Vec<u8>)>,
    pub(crate) calls: AtomicU64,
    /// With the backend `ebpf`, from the first observed command on.
    pub(crate) observer: OnceLock<Option<Observer>>,
    pub(crate) bases: Mutex<Bases>,
    pub(crate) reading: OnceLock<bool>,
    ends: Mutex<()>,
    pub(crate) loader: Option<Loader>,
    pub(crate) ring: RingSize,
    /// What the build writes to the terminal goes this way, if anybody else shows something there.
    pub(crate) outward: Option<Arc<Outward>>,
}

/// A launched command, blocked in its first `execve` until [`Session::run`].
pub struct Session {
    pid: i32,
    transport: Transport,
    /// Where a command waits that is to be attached to.
    go: Option<OwnedFd>,
    /// Its first blocked call, received already.
    first: Option<Notification>,
    keeper: Keeper,
    threads: usize,
    hits: bool,
    watched: Vec<(i32, Vec<u8>)>,
    backend: Backend,
    ring: RingSize,
    front: Option<Front>,
}

/// Finds `name` as a shell would: as a path if it has a slash, else in `path`.
pub fn search_path(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return Some(PathBuf::from(name));
    }
    std::env::split_paths(path).map(|d| d.join(name)).find(|p| p.is_file() && may_execute(p))
}

/// May this process execute the file? Where the question itself is refused the answer is yes: the `execve` tells.
pub fn may_execute(file: &Path) -> bool {
    use rustix::io::Errno;
    matches!(rustix::fs::access(file, rustix::fs::Access::EXEC_OK), Ok(()) | Err(Errno::PERM | Errno::NOSYS))
}

/// Tries the `ebpf` backend by loading it.
fn probe_ebpf() -> Result<(), Unavailable> {
    Observer::load(RingSize { bytes: 1 << 16, waits: false }).map(drop)
}

/// A command that waits before its `execve`, and can be looked into.
struct Waiting {
    pid: i32,
    way: Way,
    first: Option<Notification>,
}

impl Waiting {
    /// Launches it under `filter`, or to be attached to.
    fn launch(
        o: &Options<'_>,
        filter: Option<&[Instruction]>,
        replace: Option<&launch::Replace<'_>>,
    ) -> Result<Self, SpawnError> {
        let l = launch::launch(o.program, o.argv, o.env, filter, replace)?;
        let first = match &l.way {
            Way::Listener(l) => l.first().map(Some).map_err(SpawnError::Receive),
            Way::Waits(_) => Ok(None),
        };
        match proof::of_fork(l.pid).map_err(SpawnError::from).and(first) {
            Ok(first) => Ok(Self { pid: l.pid, way: l.way, first }),
            Err(e) => {
                l.abandon();
                Err(e)
            }
        }
    }
}

impl Session {
    /// Forks the launcher and the keeper. Must be called while the process has one thread.
    ///
    /// # Errors
    /// Nothing has been executed, nothing is left behind, and this process can still become the command.
    pub fn launch(o: &Options<'_>) -> Result<Self, SpawnError> {
        proof::of_ourselves()?;
        launch::become_subreaper();
        Self::begin(o).inspect_err(|_| launch::resign())
    }

    fn begin(o: &Options<'_>) -> Result<Self, SpawnError> {
        let watched: Vec<i32> = o.watched.iter().map(|(fd, _)| *fd).collect();
        let ebpf = match o.backend {
            Some(Backend::Ebpf) if o.needs_entry => false,
            Some(Backend::Ebpf) => {
                if !o.ebpf_works {
                    probe_ebpf()?;
                }
                true
            }
            None => !o.needs_entry && (o.ebpf_works || probe_ebpf().is_ok()),
            Some(_) => false,
        };
        let filter = filter::build(&watched, if ebpf { Calls::Gate } else { Calls::All });
        let front = o.screen.clone().and_then(Front::new);
        let replace = front.as_ref().map(|f| launch::Replace { by: f.theirs(), targets: &f.targets });
        let start = |filter| Waiting::launch(o, filter, replace.as_ref());
        let attaching = crate::sys::ptrace::probe();
        let step = || match &attaching {
            Ok(()) => start(None),
            Err(e) => Err(SpawnError::Attach(std::io::Error::from(e.kind()))),
        };
        let l = match o.backend {
            Some(Backend::Seccomp | Backend::Ebpf) => start(Some(&filter))?,
            Some(Backend::Ptrace) => step()?,
            None => match start(Some(&filter)) {
                // Somebody further out has a listener already, or filters or what it takes to hand one over are
                // forbidden.
                Err(SpawnError::Launch(_) | SpawnError::Receive(_)) => step()?,
                other => other?,
            },
        };
        let keep = |listener| Keeper::start(listener, l.pid, o.journal.clone()).map_err(SpawnError::Keeper);
        let (transport, keeper, go) = match l.way {
            Way::Listener(listener) => {
                listener.wake_synchronously();
                let keeper = keep(Some(&listener))?;
                l.first.iter().for_each(|n| keeper.received(n.id));
                (Transport::Notify(listener), keeper, None)
            }
            Way::Waits(go) => {
                let stepper = Stepper::new(l.pid, watched).map_err(SpawnError::Attach)?;
                (Transport::Step(stepper), keep(None)?, Some(go))
            }
        };
        let backend = match &transport {
            Transport::Step(_) => Backend::Ptrace,
            Transport::Notify(_) if ebpf => Backend::Ebpf,
            Transport::Notify(_) => Backend::Seccomp,
        };
        Ok(Self {
            front,
            ring: o.ring,
            backend,
            pid: l.pid,
            transport,
            go,
            first: l.first,
            keeper,
            threads: o.threads.max(1),
            hits: attaching.is_ok(),
            watched: o.watched.clone(),
        })
    }

    /// Can a command be ended before it starts? If not (ptrace is forbidden), there are no hits.
    pub fn can_hit(&self) -> bool {
        self.hits
    }

    /// How this session observes.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Process id of the root command.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Ends the command before it has executed anything. No signal is needed for that: what launches it gives up when
    /// its `execve` fails, or when nobody is there who lets it execute.
    pub fn abandon(self) {
        drop(self.go);
        if let Transport::Notify(l) = &self.transport {
            let mut next = self.first;
            while let Some(n) = next.take().or_else(|| l.wait().ok().flatten()) {
                if matches!(n.nr, arch::EXECVE | arch::EXECVEAT) {
                    l.fail(n.id, libc::EPERM)
                } else {
                    l.proceed(n.id)
                }
                if n.nr == arch::EXIT_GROUP {
                    break;
                }
            }
        }
        launch::wait(self.pid);
    }

    /// Serves the run until the root command has ended and every job is done.
    pub fn run(self, supervisor: Arc<dyn Supervisor>) -> std::io::Result<(Exited, TracerStats)> {
        let loader = (self.backend == Backend::Ebpf).then(Loader::start);
        // A descriptor for every live process: the soft limit is made for programs that use select(2).
        raise_descriptor_limit();
        let mut shapes = vec![None; arch::HIGHEST_KNOWN as usize + 1];
        for (nr, name, shape) in arch::TABLE {
            shapes[nr.cast_unsigned() as usize] = Some((*name, *shape));
        }
        let outward = self.front.map(|f| f.open(&self.keeper)).transpose()?;
        let inner = Arc::new(Inner {
            outward,
            transport: self.transport,
            keeper: self.keeper,
            pool: Pool::default(),
            processes: ProcessTable::new()?,
            supervisor,
            resolver: Resolver::default(),
            scopes: RwLock::default(),
            shapes,
            root: self.pid,
            watched: self.watched,
            calls: AtomicU64::new(0),
            observer: OnceLock::new(),
            loader,
            ring: self.ring,
            bases: Mutex::default(),
            reading: OnceLock::new(),
            ends: Mutex::default(),
        });
        let root = inner.processes.add_root(self.pid);
        let (tx, end) = mpsc::channel();
        if let Some(go) = self.go {
            let inner = inner.clone();
            std::thread::Builder::new().name("xl-step".into()).spawn(move || {
                let Transport::Step(s) = &inner.transport else { return };
                s.serve(&go, |n| inner.guarded(n), |ended| drop(tx.send(ended)));
            })?;
        } else {
            let mut first = self.first;
            for i in 0..self.threads {
                let inner = inner.clone();
                let first = first.take();
                std::thread::Builder::new().name(format!("xl-gate-{i}")).spawn(move || {
                    let Transport::Notify(l) = &inner.transport else { return };
                    if let Some(n) = first {
                        inner.guarded(n);
                    }
                    while let Ok(n) = l.receive() {
                        if let Some(n) = n {
                            inner.keeper.received(n.id);
                            inner.guarded(n);
                        }
                    }
                })?;
            }
        }
        let reaper = inner.clone();
        std::thread::Builder::new().name("xl-reaper".into()).spawn(move || reaper.watch_ends())?;
        let exited = match &inner.transport {
            Transport::Notify(_) => launch::wait(self.pid),
            // Whoever is attached learns of the end first, and the only time.
            Transport::Step(_) => end.recv().unwrap_or_else(|_| Err(std::io::ErrorKind::BrokenPipe.into()))?,
        };
        if let Some(p) = &root {
            inner.has_ended(p);
        }
        inner.pool.drain();
        inner.drain();
        inner.outward.iter().for_each(|w| w.flush());
        let stats = TracerStats {
            calls: inner.calls.load(Ordering::Relaxed),
            processes: inner.processes.births(),
            records: inner.bases.lock().expect("bases").records,
            lost: inner.observer().map_or(0, |o| o.lost().0),
            stops: inner.observer().map_or(0, Observer::stops),
            unobserved: inner.observer.get().is_some_and(Option::is_none),
        };
        Ok((exited, stats))
    }
}

impl Inner {
    pub fn set_root(&self, scope: Scope, p: &Process) {
        let s = Arc::new(ScopeState { root: Some(p.serial), ..ScopeState::default() });
        if let Some(old) = self.scopes.write().expect("scopes").insert(scope, s.clone()) {
            *s.stdin.lock().expect("stdin") = old.stdin.lock().expect("stdin").take();
        }
    }

    pub fn end_scope(&self, scope: Scope) {
        self.scopes.write().expect("scopes").remove(&scope);
    }

    pub(crate) fn scope_state(&self, scope: Scope) -> Option<Arc<ScopeState>> {
        self.scopes.read().expect("scopes").get(&scope).cloned()
    }

    fn is_root(&self, p: &Process) -> bool {
        self.scope_state(p.scope()).is_some_and(|s| s.root == Some(p.serial))
    }

    /// Notices the ends of processes, also of those that were killed.
    fn watch_ends(&self) {
        loop {
            for p in self.processes.wait_ends() {
                self.has_ended(&p);
                if p.pid != self.root {
                    p.reap();
                }
            }
        }
    }

    /// A process is gone: if it was the root of a scope and was not let go, it was killed.
    fn has_ended(&self, p: &Arc<Process>) {
        // Both the reaper and the end of the session come here: whoever is second waits until the first is done.
        let _one = self.ends.lock().expect("ends");
        if self.is_root(p) && !p.ending.swap(true, Ordering::AcqRel) {
            let scope = p.scope();
            self.end_scope(scope);
            self.supervisor.root_killed(scope);
        }
    }

    pub(crate) fn escape(&self, scope: Option<Scope>, kind: EscapeKind, detail: impl Into<String>) {
        self.supervisor.escape(scope, Escape { kind, detail: detail.into() });
    }

    /// As [`Inner::escape`], of a call that executes a program.
    pub(crate) fn unseen(&self, scope: Option<Scope>, kind: EscapeKind, detail: impl Into<String>) {
        self.supervisor.unseen(scope, Escape { kind, detail: detail.into() });
    }

    /// A defect of ours must not leave a task blocked for ever.
    fn guarded(self: &Arc<Self>, n: Notification) {
        let handled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.handle(n)));
        if handled.is_err() {
            self.escape(None, EscapeKind::Unreadable, "xl failed");
            self.transport.proceed(n.id);
        }
    }

    fn handle(self: &Arc<Self>, n: Notification) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let tid = n.tid.cast_signed();
        // What was looked at before is judged before anything else happens.
        self.drain();
        let p = match self.processes.find(tid) {
            Found::Known(p) | Found::New(p) => p,
            Found::Orphan(p) if self.known_to_kernel(&p) => p,
            Found::Orphan(p) => {
                self.escape(None, EscapeKind::Orphan, format!("process {tid}"));
                p
            }
            Found::Gone => {
                match self.transport.is_valid(n.id) {
                    true if executes(&n) => self.unseen(None, EscapeKind::Unreadable, ""),
                    true => self.escape(None, EscapeKind::Unreadable, format!("process {tid}")),
                    false => {}
                }
                return self.transport.proceed(n.id);
            }
        };
        if p.moving.compare_exchange(tid, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            p.cwd.lock().expect("cwd").take();
        }
        if p.unsettled.compare_exchange(tid, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.settle_names(&p);
        }
        self.settle_exec(&p, &n);
        let scope = p.scope();
        if n.arch != arch::AUDIT_ARCH || n.nr.cast_unsigned() & arch::FOREIGN_ABI_BIT != 0 {
            match executes(&n) {
                true => self.unseen(Some(scope), EscapeKind::ForeignAbi, ""),
                false => self.escape(Some(scope), EscapeKind::ForeignAbi, format!("number {}", n.nr)),
            }
            return self.transport.proceed(n.id);
        }
        if !self.watched.is_empty() {
            self.born_used(&n, scope);
        }
        match n.nr {
            arch::EXECVE | arch::EXECVEAT => return self.exec(n, p),
            arch::EXIT if task_files::threads(p.pid) == 1 => return self.exit(n, &p),
            arch::EXIT => self.processes.forget_thread(tid, &p),
            arch::EXIT_GROUP => return self.exit(n, &p),
            arch::IOCTL
                if [arch::TERMINAL_SETTERS, arch::TERMINAL_OWNERS]
                    .iter()
                    .any(|all| all.contains(&(n.args[1] as u32))) =>
            {
                return self.terminal_taken(n, &p, scope);
            }
            arch::IOCTL if n.args[1] as u32 == arch::TIOCGPGRP => return self.whose_terminal(&n, &p, scope),
            nr if arch::DUPLICATORS.contains(&nr) && n.args[1] as i32 == 0 && matches!(n.args[0] as i32, 1 | 2) => {
                return self.terminal_taken(n, &p, scope);
            }
            arch::RT_SIGACTION => self.child_handler(&n, &p),
            nr if arch::READERS.contains(&nr) && matches!(n.args[0] as i32, 1 | 2) => {
                return self.terminal_taken(n, &p, scope);
            }
            // Only the transport that is in their way asks about these.
            arch::PTRACE | arch::CLONE | arch::CLONE3 => self.escape(Some(scope), EscapeKind::Tracing, ""),
            nr => match self.shapes.get(nr.cast_unsigned() as usize).copied().flatten() {
                Some((name, shape)) => {
                    if arch::STDIN_ASKERS.iter().any(|(asks, _)| *asks == nr) {
                        self.stdin_used(&n, &p, scope);
                    }
                    return self.call(&n, &p, scope, name, shape);
                }
                None if nr.cast_unsigned() > arch::HIGHEST_KNOWN => {
                    self.escape(Some(scope), EscapeKind::UnknownCall, format!("number {nr}"));
                }
                None => self.stdin_used(&n, &p, scope),
            },
        }
        self.transport.proceed(n.id);
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
            self.processes.forget_threads(p);
            return;
        }
        for (target, original) in &pending.originals {
            self.transport.restore_fd(n.id, original, *target);
        }
        let started = p.scope();
        p.set_scope(pending.before);
        if started != pending.before {
            self.end_scope(started);
            self.supervisor.exec_failed(started);
        }
    }

    /// Whose parent was killed before it was seen is our child now, and may be of any pip that runs.
    fn admit_orphans(&self) {
        let me = std::process::id().cast_signed();
        // The kernel gives orphans to the first thread that lives (`find_alive_thread`).
        for child in task_files::children_of_thread(me, me) {
            if child == self.root || child == self.keeper.pid || self.processes.known(child).is_some() {
                continue;
            }
            if let Found::Orphan(p) = self.processes.find(child)
                && !self.known_to_kernel(&p)
                && task_files::stat(child).is_some_and(|s| s.state != b'Z')
            {
                self.escape(None, EscapeKind::Orphan, format!("process {child}"));
            }
        }
    }

    fn exit(self: &Arc<Self>, n: Notification, p: &Arc<Process>) {
        self.processes.adopt_children(p);
        let is_root = self.is_root(p);
        if is_root {
            self.admit_losses(p.scope());
            self.admit_orphans();
        }
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
            self.transport.proceed(n.id);
        }
    }
}

/// Is this call an `execve`, of whatever kind?
fn executes(n: &Notification) -> bool {
    let calls = if n.arch == arch::AUDIT_ARCH { &[arch::EXECVE, arch::EXECVEAT][..] } else { arch::FOREIGN_EXECS };
    calls.contains(&n.nr) || arch::FOREIGN_EXECS.contains(&n.nr) && n.nr.cast_unsigned() & arch::FOREIGN_ABI_BIT != 0
}

/// Raises the soft limit of open descriptors to the hard one. The build has been forked off already and keeps its own.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut l = getrlimit(Resource::Nofile);
    l.current = l.maximum;
    let _ = setrlimit(Resource::Nofile, l);
}
