//! Where a command runs: the seam between who decides that it must, and who runs it.
//!
//! [`Executor::submit`] hands a [`Job`] over and returns; what came of it arrives at the job's completion, once, on any
//! thread. No thread need wait meanwhile, so a thousand commands that run elsewhere cost memory only. [`Local`] lets
//! the command run in the process that waits for it, under the tracer (with a limit of local jobs, whoever submits one
//! waits for its slot); [`crate::testing::Script`] answers from a table.

mod judge;
mod local;
mod restore;
mod rules;
mod scopes;

pub use local::{Local, Setting};
pub use restore::Restored;
pub use rules::Rules;
pub use scopes::{Inside, Role};

use crate::Command;
use crate::evidence::ByName;
use crate::judgement::Finished;
use crate::slots::Slot;
use cache::{Entry, PathBytes};
use std::sync::Arc;
use std::time::Instant;
use tracer::Descriptors;
use tracer::{Chunk, ExecTicket, ExitTicket};

/// Runs commands.
pub trait Executor: Send + Sync {
    /// Runs the job. Its completion is called once, unless nothing ever began: the process was killed while it waited,
    /// or its `execve` failed after all.
    fn submit(&self, job: Job);
}

/// A process of the build, held in the `execve` that would start the command.
pub struct Held {
    pub ticket: ExecTicket,
    pub descriptors: Descriptors,
}

/// One command that has to run.
pub struct Job {
    pub command: Arc<Command>,
    /// The process to run it in. Whoever runs it elsewhere is given none: the process goes on waiting with the sender.
    pub held: Option<Held>,
    pub keep: Keep,
    /// It is one unit of a build tool that knows no smaller ones: it is never taken for a build tool itself.
    pub whole: bool,
    /// Evidence for people is collected: which program looked at what, by which call.
    pub explain: bool,
    /// Its number in the audit, if the run is audited.
    pub launch: Option<usize>,
    /// When it was asked for.
    pub started: Instant,
    pub done: Completion,
}

/// Which results are wanted for the cache. Of others nothing is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// The result of a command that ends with exit code 0.
    Success,
    Everything,
}

impl Keep {
    /// Is the result of a command that ended with `code` wanted?
    pub fn wants(self, code: i32) -> bool {
        match self {
            Self::Nothing => false,
            Self::Success => code == 0,
            Self::Everything => true,
        }
    }
}

/// Is told what came of a job.
pub type Completion = Box<dyn FnOnce(Ended) + Send>;

/// What came of a job.
pub enum Ended {
    /// It ran to its end.
    Ran(Box<Ran>),
    /// It was killed by a signal, or its process was: nothing is known of what it did but when it began and which names
    /// it had announced to write.
    Killed { started: Instant, wrote: Vec<PathBytes> },
    /// It turned out to launch pips itself. It goes on, as part of the build tool.
    Driver { wrote: Vec<PathBytes> },
}

/// A command that ran to its end.
pub struct Ran {
    /// Exit code, outputs (if they were collected), the place where standard input was left, wall time; no text yet.
    pub entry: Entry,
    /// What it printed.
    pub text: Vec<Chunk>,
    /// What it depended on, and why it cannot be stored, if so.
    pub done: Finished,
    /// Its outputs are in the content store.
    pub collected: bool,
    /// When it began: later than it was asked for if it waited for a slot.
    pub started: Instant,
    /// What it costs, microseconds: CPU time if that could be told, else wall time.
    pub cost_us: u64,
    /// A compiler, assembler, linker or archiver ran.
    pub ran_toolchain: bool,
    /// Something that it started outlives it.
    pub survived: bool,
    /// For the audit, if the job asked for it.
    pub evidence: ByName,
    pub exit: Exit,
}

/// A process that is held in its exit until this is dropped: whatever its parent looks at next is settled by then.
#[derive(Default)]
pub struct Exit {
    ticket: Option<ExitTicket>,
    /// Whoever should have heard its text went away, and it would not have lived to exit with a code.
    unheard: bool,
}

impl Exit {
    pub(crate) fn new(ticket: ExitTicket, unheard: bool) -> Self {
        Self { ticket: Some(ticket), unheard }
    }

    /// Lets the process go with the end that it chose.
    pub fn release(mut self) {
        match self.ticket.take() {
            Some(t) if self.unheard => t.end_unheard(),
            t => drop(t),
        }
    }

    /// Lets it go with another exit code. The error says why that failed; it went with its own.
    pub fn release_with(mut self, code: i32) -> std::io::Result<()> {
        self.ticket.take().map_or(Ok(()), |t| t.change_code(code))
    }
}

/// A command that runs now.
#[derive(Clone, Debug)]
pub struct InProgress {
    pub since: Instant,
    pub argv: Vec<Vec<u8>>,
    /// `NAME=value` strings.
    pub env: Vec<Vec<u8>>,
}

/// A command that is neither looked up nor captured; its writes are still seen.
pub struct Bypassed {
    pub code: i32,
    pub wall_us: u64,
    /// What it had announced to write.
    pub wrote: Vec<PathBytes>,
    pub exit: Exit,
}

/// A pip while it runs here.
pub(crate) struct Running {
    pub(crate) command: Arc<Command>,
    pub(crate) recorder: crate::Recorder,
    pub(crate) tap: std::sync::Mutex<Option<tracer::Tap>>,
    pub(crate) keep: Keep,
    pub(crate) whole: bool,
    pub(crate) explain: bool,
    pub(crate) launch: Option<usize>,
    pub(crate) started: Instant,
    /// The same moment by the clock that stamps files.
    pub(crate) began: i128,
    /// A regular file on standard input: its offset at the end is part of the result.
    pub(crate) stdin: Option<std::os::fd::OwnedFd>,
    /// Descriptors above 2 that it was given.
    pub(crate) inherited: Vec<tracer::Inherited>,
    /// Its place among the commands that run at once.
    pub(crate) slot: std::sync::Mutex<Option<Slot>>,
    /// Processes that run a build tool inside it.
    pub(crate) tools: std::sync::Mutex<rustc_hash::FxHashSet<i32>>,
    pub(crate) writes: scopes::Writes,
    pub(crate) done: std::sync::Mutex<Option<Completion>>,
}

impl Running {
    /// Tells the sender, once.
    pub(crate) fn complete(&self, what: Ended) {
        // Not under the lock: the sender may take its time.
        let done = self.done.lock().expect("completion").take();
        if let Some(done) = done {
            done(what);
        }
    }
}
