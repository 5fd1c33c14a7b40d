//! The gate: what all threads of a run share, and the [`Supervisor`] that they ask for decisions.
//!
//! A [`Gate`] holds the tables of one run (processes, scopes, resolved directories) and its ways to the kernel, to the
//! keeper and to the threads that may block. It does nothing with calls: the modules that receive them do
//! ([`crate::dispatch`], [`crate::calls`], [`crate::execs`], [`crate::ebpf_records`]), each with an `impl Gate` of its
//! own.

use crate::access::{Access, Escape, EscapeKind, Fact, StdinUse};
use crate::arch::Shape;
use crate::keeper::Keeper;
use crate::loader::Loader;
use crate::observer::Observer;
use crate::pool::Pool;
use crate::process::{Process, ProcessTable, Scope};
use crate::programs::RingSize;
use crate::resolve::Resolver;
use crate::task_files;
use crate::terminal_forwarder::Way as Outward;
use crate::ticket::{ExecTicket, ExitTicket};
use crate::transport::Transport;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

/// What to do with a task whose access was reported.
pub enum Flow {
    /// Let the call happen now.
    Go,
    /// Run this on a thread that may block, then let the call happen.
    After(Box<dyn FnOnce() + Send>),
    /// The call fails with "permission denied".
    Refuse,
}

/// Whoever decides what becomes of the calls of a run. Receiving threads call its methods, which must not block.
pub trait Supervisor: Send + Sync + 'static {
    /// A task is about to make an `execve` that would succeed. The supervisor answers the ticket now or later.
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
    /// The observation of `scope` is incomplete; `None`: it is not known of which scope.
    fn escape(&self, scope: Option<Scope>, escape: Escape);
    /// A task executes a program, and it is not known which: an escape, after which nothing is known of the process.
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
    /// Does the supervisor want to hear of what this scope reads and looks at? Changes are always reported.
    fn observes_reads(&self, scope: Scope) -> bool;
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

/// Standard input of a pip's root.
pub(crate) struct WatchedStdin {
    /// What tells it from others that a process of the pip has as descriptor 0.
    pub link: Vec<u8>,
    /// Reading it gives what cannot be known beforehand.
    pub live: bool,
}

/// What one record leaves for the next.
#[derive(Default)]
pub(crate) struct Bases {
    /// The working directory of a task, as it was sent last.
    pub cwd: FxHashMap<u32, Arc<[u8]>>,
    /// How many records were read.
    pub records: u64,
}

/// See the module's documentation.
pub(crate) struct Gate {
    pub transport: Transport,
    pub keeper: Keeper,
    pub pool: Pool,
    pub processes: ProcessTable,
    pub(crate) supervisor: Arc<dyn Supervisor>,
    pub(crate) resolver: Resolver,
    pub(crate) scopes: RwLock<FxHashMap<Scope, Arc<ScopeState>>>,
    pub(crate) shapes: Vec<Option<(&'static str, Shape)>>,
    pub(crate) root: i32,
    /// Processes that were below this one before the build began, with their start times: a shell puts them beside a
    /// command (`2> >(tee log)`) whose place this one has taken.
    pub(crate) strangers: Vec<(i32, u64)>,
    pub(crate) watched: Vec<(i32, Vec<u8>)>,
    pub(crate) calls: AtomicU64,
    /// With the backend `ebpf`, from the first observed command on.
    pub(crate) observer: OnceLock<Option<Observer>>,
    pub(crate) bases: Mutex<Bases>,
    pub(crate) reading: OnceLock<bool>,
    pub(crate) ends: Mutex<()>,
    pub(crate) loader: Option<Loader>,
    pub(crate) ring: RingSize,
    /// What the build writes to the terminal goes this way, if anybody else shows something there.
    pub(crate) outward: Option<Arc<Outward>>,
}

impl Gate {
    pub(crate) fn cwd(&self, p: &Process, tid: i32) -> Option<Arc<[u8]>> {
        let mut memo = p.cwd.lock().expect("cwd");
        // Somebody may have moved or removed it.
        let now = self.resolver.generation();
        if let Some((of, then, cwd)) = &*memo
            && (*of, *then) == (tid, now)
        {
            return Some(cwd.clone());
        }
        let cwd: Arc<[u8]> = task_files::cwd(tid)?.into();
        // Another thread may be about to change it.
        if p.moving.load(Ordering::Acquire) == 0 {
            *memo = Some((tid, now, cwd.clone()));
        }
        Some(cwd)
    }

    pub(crate) fn set_root(&self, scope: Scope, p: &Process) {
        let s = Arc::new(ScopeState { root: Some(p.serial), ..ScopeState::default() });
        if let Some(old) = self.scopes.write().expect("scopes").insert(scope, s.clone()) {
            *s.stdin.lock().expect("stdin") = old.stdin.lock().expect("stdin").take();
        }
    }

    pub(crate) fn end_scope(&self, scope: Scope) {
        self.scopes.write().expect("scopes").remove(&scope);
    }

    pub(crate) fn scope_state(&self, scope: Scope) -> Option<Arc<ScopeState>> {
        self.scopes.read().expect("scopes").get(&scope).cloned()
    }

    pub(crate) fn is_root(&self, p: &Process) -> bool {
        self.scope_state(p.scope()).is_some_and(|s| s.root == Some(p.serial))
    }

    /// Notices the ends of processes, also of those that were killed.
    pub(crate) fn watch_ends(&self) {
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
    pub(crate) fn has_ended(&self, p: &Arc<Process>) {
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

    /// As [`Gate::escape`], of a call that executes a program.
    pub(crate) fn unseen(&self, scope: Option<Scope>, kind: EscapeKind, detail: impl Into<String>) {
        self.supervisor.unseen(scope, Escape { kind, detail: detail.into() });
    }
}
