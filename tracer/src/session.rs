//! One supervised run: launch, receive notifications on several threads, keep the process tree, end.
//!
//! A receiving thread never blocks: it reads the task, reports the access, answers. Whatever may take long is
//! handed to the pool, and the task just stays blocked meanwhile.

use crate::arch;
use crate::filter::{self, Calls};
use crate::gate::{Gate, Supervisor};
use crate::keeper::Keeper;
use crate::loader::Loader;
use crate::observer::Observer;
use crate::pool::Pool;
use crate::preconditions::{self, Lacking};
use crate::process::ProcessTable;
use crate::programs::{RingSize, Unavailable};
use crate::resolve::Resolver;
use crate::stepper::Stepper;
use crate::sys::launch::{self, LaunchError, Way};
use crate::sys::ptrace;
use crate::sys::seccomp::{Instruction, Notification};
use crate::sys::wait::Exited;
use crate::task_files;
use crate::terminal_forwarder::{Front, Screen};
use crate::transport::Transport;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, mpsc};

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
        match preconditions::of_fork(l.pid).map_err(SpawnError::from).and(first) {
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
        preconditions::of_ourselves()?;
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
        let attaching = ptrace::probe();
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
        let keeper = self.keeper.pid;
        let gate = Arc::new(Gate {
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
            strangers: task_files::descendants(std::process::id().cast_signed(), &[self.pid, keeper]),
            watched: self.watched,
            calls: AtomicU64::new(0),
            observer: OnceLock::new(),
            loader,
            ring: self.ring,
            bases: Mutex::default(),
            reading: OnceLock::new(),
            ends: Mutex::default(),
        });
        let root = gate.processes.add_root(self.pid);
        let (tx, end) = mpsc::channel();
        if let Some(go) = self.go {
            let gate = gate.clone();
            std::thread::Builder::new().name("xl-step".into()).spawn(move || {
                let Transport::Step(s) = &gate.transport else { return };
                s.serve(&go, |n| gate.guarded(n), |ended| drop(tx.send(ended)));
            })?;
        } else {
            let mut first = self.first;
            for i in 0..self.threads {
                let gate = gate.clone();
                let first = first.take();
                std::thread::Builder::new().name(format!("xl-gate-{i}")).spawn(move || {
                    let Transport::Notify(l) = &gate.transport else { return };
                    if let Some(n) = first {
                        gate.guarded(n);
                    }
                    while let Ok(n) = l.receive() {
                        if let Some(n) = n {
                            gate.keeper.received(n.id);
                            gate.guarded(n);
                        }
                    }
                })?;
            }
        }
        let reaper = gate.clone();
        std::thread::Builder::new().name("xl-reaper".into()).spawn(move || reaper.watch_ends())?;
        let exited = match &gate.transport {
            Transport::Notify(_) => launch::wait(self.pid),
            // Whoever is attached learns of the end first, and the only time.
            Transport::Step(_) => end.recv().unwrap_or_else(|_| Err(std::io::ErrorKind::BrokenPipe.into()))?,
        };
        if let Some(p) = &root {
            gate.has_ended(p);
        }
        gate.pool.drain();
        gate.drain();
        gate.outward.iter().for_each(|w| w.flush());
        let stats = TracerStats {
            calls: gate.calls.load(Ordering::Relaxed),
            processes: gate.processes.births(),
            records: gate.bases.lock().expect("bases").records,
            lost: gate.observer().map_or(0, |o| o.lost().0),
            stops: gate.observer().map_or(0, Observer::stops),
            unobserved: gate.observer.get().is_some_and(Option::is_none),
        };
        Ok((exited, stats))
    }
}

/// Raises the soft limit of open descriptors to the hard one. The build has been forked off already and keeps its own.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut l = getrlimit(Resource::Nofile);
    l.current = l.maximum;
    let _ = setrlimit(Resource::Nofile, l);
}
