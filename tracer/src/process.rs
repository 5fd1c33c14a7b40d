//! The process tree: which task belongs to which process, and which process to which scope.
//!
//! A process is known from its first notification on. While it lives the table finds it by its task ids; one thread
//! watches its pidfd and removes it when it ends. That thread may be slow, and the kernel may have given the id to
//! another process by then: so a lookup checks whether the known process still lives. Parentage is never guessed: a
//! child inherits the scope of the parent that `/proc` names, and before a process ends or changes scope its children
//! are registered, so that an orphan keeps the scope it was born in. A process that still cannot be placed (its parent
//! was killed before we saw the child) is reported as an orphan.

use crate::task_files;
use rustc_hash::FxHashMap;
use rustix::event::epoll;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The group that a process belongs to. 0 is the build tool and whatever else is not a pip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(pub u32);

impl Scope {
    /// Build tools; whatever they launch is decided exec by exec.
    pub const DRIVER: Self = Self(0);
}

/// One live process of the tree.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    /// Start time in clock ticks after boot. Not enough to tell two users of one id apart: a tick is long.
    pub start: u64,
    /// Never the same for two processes of a run.
    pub(crate) serial: u64,
    pub(crate) pidfd: OwnedFd,
    scope: AtomicU32,
    /// Working directory, as last read; dropped when it may have changed.
    pub(crate) cwd: Mutex<Option<Cwd>>,
    /// The task with a call under way after which resolved directories may be stale; 0 when there is none.
    pub(crate) unsettled: AtomicI32,
    /// The task that is changing its directory; 0 when none is.
    pub(crate) moving: AtomicI32,
    /// How many programs it has executed. A look of one program does not make the same look of the next one redundant.
    pub(crate) execs: AtomicU32,
    /// It has been let into `exit_group`.
    pub(crate) ending: AtomicBool,
    /// An `execve` was let go whose success is not known yet.
    pub(crate) exec_pending: Mutex<Option<PendingExec>>,
}

/// A working directory: of which task (threads may have their own, without `CLONE_FS`), in which generation of the
/// resolver, and its path.
type Cwd = (i32, u64, Arc<[u8]>);

/// What to undo if the `execve` turns out to have failed.
#[derive(Debug)]
pub(crate) struct PendingExec {
    /// The task that called.
    pub tid: i32,
    pub before: Scope,
    /// Device and inode of the program that should be running.
    pub image: (u64, u64),
    /// Descriptors to put back.
    pub originals: Vec<(i32, OwnedFd)>,
}

impl Process {
    pub fn scope(&self) -> Scope {
        Scope(self.scope.load(Ordering::Acquire))
    }

    /// Is it gone?
    pub fn has_ended(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&now)).is_ok_and(|n| n > 0)
    }

    /// Reaps it, if it is a child of ours that has ended. By its descriptor: its number may belong to another process
    /// by now, for whose stops another thread waits.
    pub(crate) fn reap(&self) {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let _ = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }

    /// CPU time of its main thread so far, microseconds (`/proc/PID/schedstat`).
    pub fn cpu_us(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.pid)).ok()?;
        text.split(' ').next()?.parse::<u64>().ok().map(|ns| ns / 1000)
    }

    /// Process id of the parent, now.
    pub fn parent(&self) -> Option<i32> {
        task_files::parent_of(self.pid)
    }

    /// Name of the program that the parent runs, now.
    pub fn parent_name(&self) -> Option<Vec<u8>> {
        task_files::program_name(self.parent()?)
    }

    pub(crate) fn set_scope(&self, s: Scope) {
        self.scope.store(s.0, Ordering::Release);
    }
}

/// All live processes.
pub(crate) struct ProcessTable {
    tasks: Mutex<FxHashMap<i32, Arc<Process>>>,
    watch: OwnedFd,
    watched: Mutex<FxHashMap<u64, Arc<Process>>>,
    births: AtomicU64,
    serials: AtomicU64,
}

/// What was found for a task.
pub(crate) enum Found {
    /// Known before.
    Known(Arc<Process>),
    /// First seen now.
    New(Arc<Process>),
    /// First seen now, parent unknown: it is in [`Scope::DRIVER`].
    Orphan(Arc<Process>),
    /// It ended meanwhile.
    Gone,
}

impl ProcessTable {
    pub(crate) fn new() -> std::io::Result<Self> {
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self {
            tasks: Mutex::default(),
            watch,
            watched: Mutex::default(),
            births: AtomicU64::new(0),
            serials: AtomicU64::new(0),
        })
    }

    /// How many processes were seen.
    pub(crate) fn births(&self) -> u64 {
        self.births.load(Ordering::Relaxed)
    }

    /// Every process that becomes known is watched, or its id could later be taken for another's.
    fn watch(&self, p: &Arc<Process>) {
        let key = self.births.fetch_add(1, Ordering::Relaxed);
        self.watched.lock().expect("watched").insert(key, p.clone());
        if epoll::add(&self.watch, &p.pidfd, epoll::EventData::new_u64(key), epoll::EventFlags::IN).is_err() {
            self.watched.lock().expect("watched").remove(&key);
        }
    }

    /// Waits for processes to end, forgets them, and returns them.
    pub(crate) fn wait_ends(&self) -> Vec<Arc<Process>> {
        let mut events = Vec::with_capacity(64);
        if epoll::wait(&self.watch, rustix::buffer::spare_capacity(&mut events), None).is_err() {
            return Vec::new();
        }
        let ended = |e: &epoll::Event| self.watched.lock().expect("watched").remove(&e.data.u64());
        let gone: Vec<Arc<Process>> = events.iter().filter_map(ended).collect();
        for p in &gone {
            let _ = epoll::delete(&self.watch, &p.pidfd);
            self.forget(p);
        }
        gone
    }

    /// Registers the root of the tree.
    pub(crate) fn add_root(&self, pid: i32) -> Option<Arc<Process>> {
        let p = self.open(pid, Scope::DRIVER)?;
        self.tasks.lock().expect("tasks").insert(pid, p.clone());
        self.watch(&p);
        Some(p)
    }

    /// The process of task `tid`.
    pub(crate) fn find(&self, tid: i32) -> Found {
        self.find_at(tid, 0)
    }

    /// The process of task `tid`, if it was seen before. It may have ended.
    pub(crate) fn known(&self, tid: i32) -> Option<Arc<Process>> {
        self.tasks.lock().expect("tasks").get(&tid).cloned()
    }

    /// The process of task `tid`, if it is one of the build's.
    pub(crate) fn target(&self, tid: i32) -> Option<Arc<Process>> {
        match self.find(tid) {
            Found::Known(p) | Found::New(p) => Some(p),
            Found::Orphan(_) | Found::Gone => None,
        }
    }

    fn register(&self, tid: i32, depth: u32) -> Found {
        let Some(leader) = task_files::thread_group(tid) else { return Found::Gone };
        if leader != tid {
            let found = self.find(leader);
            if let Found::Known(p) | Found::New(p) | Found::Orphan(p) = &found {
                self.tasks.lock().expect("tasks").insert(tid, p.clone());
            }
            return found;
        }
        let Some(stat) = task_files::stat(tid) else { return Found::Gone };
        let me = std::process::id().cast_signed();
        let parent = match stat.parent {
            ppid if ppid <= 1 || ppid == me || depth > 64 => None,
            ppid => match self.find_at(ppid, depth + 1) {
                Found::Known(p) | Found::New(p) => Some(p.scope()),
                Found::Orphan(_) | Found::Gone => None,
            },
        };
        let Some(p) = self.open(tid, parent.unwrap_or(Scope::DRIVER)) else { return Found::Gone };
        let mut tasks = self.tasks.lock().expect("tasks");
        if let Some(other) = tasks.get(&tid) {
            return Found::Known(other.clone());
        }
        tasks.insert(tid, p.clone());
        drop(tasks);
        self.watch(&p);
        if parent.is_some() { Found::New(p) } else { Found::Orphan(p) }
    }

    fn find_at(&self, tid: i32, depth: u32) -> Found {
        match self.known(tid) {
            Some(p) if p.has_ended() => self.forget(&p),
            Some(p) => return Found::Known(p),
            None => {}
        }
        self.register(tid, depth)
    }

    /// Registers the children of `p` that have not been seen.
    pub(crate) fn adopt_children(&self, p: &Process) {
        for child in task_files::children(p.pid) {
            if let Found::New(c) | Found::Orphan(c) = self.find(child) {
                c.set_scope(p.scope());
            }
        }
    }

    /// Forgets one task, or, for a leader, the whole process.
    pub(crate) fn forget(&self, p: &Arc<Process>) {
        self.tasks.lock().expect("tasks").retain(|_, q| !Arc::ptr_eq(p, q));
    }

    /// Forgets the threads of a process that became another program: they ended without a word.
    pub(crate) fn forget_threads(&self, p: &Arc<Process>) {
        self.tasks.lock().expect("tasks").retain(|tid, q| *tid == p.pid || !Arc::ptr_eq(p, q));
    }

    /// Forgets a thread that ends while its process goes on.
    pub(crate) fn forget_thread(&self, tid: i32, p: &Process) {
        if tid != p.pid {
            self.tasks.lock().expect("tasks").remove(&tid);
        }
    }

    /// Live processes of a scope, those inside `exit_group` not counted.
    pub(crate) fn alive(&self, scope: Scope) -> Vec<Arc<Process>> {
        let mut v: Vec<Arc<Process>> = self
            .tasks
            .lock()
            .expect("tasks")
            .iter()
            .filter(|(tid, p)| **tid == p.pid && p.scope() == scope && !p.ending.load(Ordering::Acquire))
            .map(|(_, p)| p.clone())
            .collect();
        v.retain(|p| !p.has_ended());
        v
    }

    /// The first of these files that a build tool has open, or (`writing`) open for writing.
    pub(crate) fn held_open<'a>(&self, paths: &[&'a [u8]], writing: bool) -> Option<&'a [u8]> {
        if paths.is_empty() {
            return None;
        }
        let tools = self.alive(Scope::DRIVER);
        paths.iter().find(|path| tools.iter().any(|p| task_files::has_open(p.pid, path, writing))).copied()
    }

    fn open(&self, pid: i32, scope: Scope) -> Option<Arc<Process>> {
        let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // Read after the pidfd is held, so that both name the same process.
        let start = task_files::stat(pid)?.start;
        Some(Arc::new(Process {
            pid,
            start,
            serial: self.serials.fetch_add(1, Ordering::Relaxed),
            pidfd,
            scope: AtomicU32::new(scope.0),
            cwd: Mutex::new(None),
            unsettled: AtomicI32::new(0),
            moving: AtomicI32::new(0),
            execs: AtomicU32::new(0),
            ending: AtomicBool::new(false),
            exec_pending: Mutex::new(None),
        }))
    }
}
