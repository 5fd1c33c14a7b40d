//! Held calls: a blocked `execve` that waits for a decision, a blocked `exit_group` of a pip's root.
//!
//! States of a ticket: *held* (the task is blocked; nothing has happened) → *answered* (let go, or ended). A ticket
//! that is dropped unanswered lets the call go, so that no path through the code can hang the build.

use crate::access::EscapeKind;
use crate::capture::{Capture, Chunk, Incomplete, Stream};
use crate::descriptors::{Descriptors, Fd, FdKind, Stdin};
use crate::gate::Gate;
use crate::process::{PendingExec, Process, Scope};
use crate::request::ExecRequest;
use crate::sys::memory;
use crate::sys::seccomp::Notification;
use crate::task_files;
use crate::writing::{write_all, write_fitting};
use nix::sys::signal::Signal;
use std::os::fd::AsFd;
use std::sync::Arc;

/// A running capture, owned by whoever runs the pip.
pub struct Tap(Capture);

impl Tap {
    /// The text so far; see [`ExitTicket`] for when to call it.
    pub fn finish(self) -> Result<Vec<Chunk>, Incomplete> {
        self.0.finish()
    }
}

/// Why a hit could not be turned into an exit: the command must run.
#[derive(Debug, thiserror::Error)]
pub enum HitError {
    #[error("the process is traced by somebody else, or tracing is not permitted: {0}")]
    Seize(std::io::Error),
    #[error("its output descriptor cannot be written: {0}")]
    Replay(std::io::Error),
    /// It is a pipe, and its reader left before it had all.
    #[error("nobody reads its text any more")]
    Unheard,
}

impl HitError {
    fn of_write(e: rustix::io::Errno) -> Self {
        if e == rustix::io::Errno::PIPE { Self::Unheard } else { Self::Replay(e.into()) }
    }
}

/// What a pipe holds (pipe(7), "Pipe capacity"): who writes no more never learns whether it is read.
const PIPE_ROOM: usize = 64 << 10;

/// A blocked `execve` that would succeed.
pub struct ExecTicket {
    pub request: ExecRequest,
    pub(crate) gate: Arc<Gate>,
    pub(crate) note: Notification,
    pub(crate) answered: bool,
}

impl ExecTicket {
    /// Lets the exec happen in the scope where the process is.
    pub fn proceed(mut self) {
        self.answer();
    }

    /// Lets the exec happen and moves the process to `scope`, as its root if `root`.
    pub fn enter(mut self, scope: Scope, root: bool) {
        self.move_to(scope, root, Vec::new());
        self.answer();
    }

    /// Lets the exec happen as the root of the new `scope`, with its text captured.
    pub fn enter_captured(mut self, scope: Scope, d: &Descriptors) -> Option<Tap> {
        self.gate.watch_stdin(scope, self.request.process.pid, matches!(d.stdin, Stdin::Live(_)));
        let gate = self.gate.clone();
        let started =
            Capture::start(d, &self.gate.keeper, move || gate.drain()).ok().and_then(|(capture, installs)| {
                let mut originals = Vec::new();
                for i in installs {
                    if self.gate.transport.install_fd(self.note.id, i.replacement.as_fd(), i.target, false).is_err() {
                        for (target, original) in &originals {
                            let original: &std::os::fd::OwnedFd = original;
                            self.gate.transport.restore_fd(self.note.id, original, *target);
                        }
                        return None;
                    }
                    originals.push((i.target, i.original));
                }
                Some((capture, originals))
            });
        let (capture, originals) = started.unzip();
        self.move_to(scope, true, originals.unwrap_or_default());
        if let (Some(c), Some(s)) = (&capture, self.gate.scope_state(scope)) {
            if let Stdin::Regular { fd, .. } = &d.stdin
                && crate::capture::file_id(fd).is_some_and(|f| c.passage().is_read(f))
            {
                self.gate.escape(Some(scope), EscapeKind::OwnText, "its standard input");
            }
            let _ = s.text.set(c.passage().clone());
        }
        self.answer();
        capture.map(Tap)
    }

    /// Why a hit is out of the question. It would print `text`; `repeatable`: what it makes does not change if it is
    /// made again.
    pub fn must_run(&self, d: &Descriptors, text: &[Chunk], repeatable: bool) -> Option<&'static str> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        if self.gate.transport.is_taken(&self.note) {
            return Some("a debugger has it");
        }
        // A command that meets that ends as it likes: by SIGPIPE, or with a word about it.
        let abandoned = |dup: &std::os::fd::OwnedFd| {
            let mut fds = [PollFd::new(dup, PollFlags::OUT)];
            poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
                && fds[0].revents().contains(PollFlags::ERR)
        };
        let mut dups =
            [&d.stdout, &d.stderr].into_iter().filter(|fd| fd.kind == FdKind::Pipe).filter_map(|fd| fd.dup.as_ref());
        if !text.is_empty() && dups.any(abandoned) {
            return Some("nobody reads its text any more");
        }
        // See `Unheard`: then it runs after all, and what it has printed elsewhere would be there twice.
        let long = |(fd, stream): (&Fd, Stream)| {
            let bytes: usize = text.iter().filter(|c| c.stream == stream || d.shared).map(|c| c.bytes.len()).sum();
            fd.kind == FdKind::Pipe && bytes > PIPE_ROOM
        };
        let one = d.shared || text.windows(2).all(|w| w[0].stream == w[1].stream);
        let leaves = !(repeatable && one)
            && [(&d.stdout, Stream::Out), (&d.stderr, Stream::Err)].into_iter().any(long)
            && self.nobody_waits();
        leaves.then_some("whoever reads its long text may leave before the end")
    }

    /// Never executes: replays `text` and ends the process with `code`. On an error nothing has been answered and
    /// the ticket comes back. Text already written stays written only if `Replay` is not the error.
    pub fn hit(mut self, code: i32, text: &[Chunk], d: &Descriptors) -> Result<(), Box<(HitError, Self)>> {
        // To be known before a word is printed.
        if self.gate.transport.is_taken(&self.note) {
            return Err(Box::new((HitError::Seize(std::io::Error::from_raw_os_error(libc::EPERM)), self)));
        }
        // Where the parent may wait for this very exec before it reads, only what fits without waiting is written now,
        // the rest once the task has ended. Our duplicates keep its pipes open until then.
        let mut patient = None;
        let mut rest = Vec::new();
        for c in text {
            let fd = if c.stream == Stream::Out { &d.stdout } else { &d.stderr };
            let (false, Some(dup)) = (matches!(fd.kind, FdKind::Null | FdKind::Closed), &fd.dup) else { continue };
            let mut fitted = match fd.kind {
                _ if !rest.is_empty() => Ok(0),
                FdKind::Regular { .. } => write_all(dup.as_fd(), &c.bytes).map(|()| c.bytes.len()),
                _ => write_fitting(dup.as_fd(), &c.bytes),
            };
            if let Ok(n) = fitted
                && n < c.bytes.len()
                && rest.is_empty()
                && *patient.get_or_insert_with(|| self.nobody_waits())
            {
                fitted = write_all(dup.as_fd(), &c.bytes[n..]).map(|()| c.bytes.len());
            }
            match fitted {
                Ok(n) if n == c.bytes.len() => {}
                Ok(n) => rest.push((dup, &c.bytes[n..])),
                // What the command would have met: it runs, and meets it.
                Err(e) => return Err(Box::new((HitError::of_write(e), self))),
            }
        }
        self.request.process.ending.store(true, std::sync::atomic::Ordering::Release);
        match self.gate.transport.exit_instead(&self.note, code) {
            Ok(()) => {
                self.answered = true;
                for (dup, bytes) in rest {
                    // A reader that goes away now has had all that it wanted.
                    let _ = write_all(dup.as_fd(), bytes);
                }
                Ok(())
            }
            Err(e) => {
                self.request.process.ending.store(false, std::sync::atomic::Ordering::Release);
                Err(Box::new((HitError::Seize(e), self)))
            }
        }
    }

    /// Does nobody wait for this `execve`? A parent does that shares its memory (vfork, posix_spawn), or that reads
    /// from a pipe which the call closes, to learn of its failure (`Command` of Rust, `open` of perl).
    fn nobody_waits(&self) -> bool {
        let p = &self.request.process;
        p.parent().is_some_and(|parent| memory::shares_memory(parent, p.pid) == Some(false))
            && !task_files::exec_closes_a_pipe(p.pid)
    }

    /// The first of these files that a build tool has open.
    pub fn held_open<'a>(&self, paths: &[&'a [u8]]) -> Option<&'a [u8]> {
        self.gate.processes.held_open(paths, false)
    }

    /// Runs `job` on a thread that may block.
    pub fn later(self, job: impl FnOnce(Self) + Send + 'static) {
        let pool = self.gate.pool.clone();
        pool.run(Box::new(move || job(self)));
    }

    fn move_to(&mut self, scope: Scope, root: bool, originals: Vec<(i32, std::os::fd::OwnedFd)>) {
        let p = &self.request.process;
        // Children born before this exec stay in the scope that they were born in.
        self.gate.processes.adopt_children(p);
        let image = self.request.image.map_or(self.request.program.state, |i| self.request.interpreters[i].state);
        *p.exec_pending.lock().expect("exec") = Some(PendingExec {
            tid: self.request.tid,
            before: p.scope(),
            image: image.map_or((0, 0), |s| (rustix::fs::makedev(s.stx_dev_major, s.stx_dev_minor), s.stx_ino)),
            originals,
        });
        self.gate.follow(p, self.request.tid, scope);
        p.set_scope(scope);
        if root {
            self.gate.set_root(scope, p);
        }
    }

    fn answer(&mut self) {
        if !std::mem::replace(&mut self.answered, true) {
            self.gate.transport.proceed(self.note.id);
        }
    }
}

impl Drop for ExecTicket {
    fn drop(&mut self) {
        self.answer();
    }
}

/// The blocked `exit_group` of a pip's root. Until it is dropped the parent does not see the end.
pub struct ExitTicket {
    pub scope: Scope,
    /// The code that it asked for, 0–255.
    pub code: i32,
    pub process: Arc<Process>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) note: Notification,
    pub(crate) answered: bool,
}

impl ExitTicket {
    /// Other live processes of the pip: they outlive it.
    pub fn survivors(&self) -> usize {
        self.gate.processes.adopt_children(&self.process);
        self.gate.processes.alive(self.scope).iter().filter(|p| !Arc::ptr_eq(p, &self.process)).count()
    }

    /// The first of these files that a build tool has open for writing.
    pub fn held_open<'a>(&self, paths: &[&'a [u8]]) -> Option<&'a [u8]> {
        self.gate.processes.held_open(paths, true)
    }

    /// Runs `job` on a thread that may block.
    pub fn later(self, job: impl FnOnce(Self) + Send + 'static) {
        let pool = self.gate.pool.clone();
        pool.run(Box::new(move || job(self)));
    }

    /// Ends the process as writing to a pipe without a reader would have, if that would have ended it: it has said all,
    /// and been heard only in part, because a capture stood in between.
    pub fn end_unheard(mut self) {
        if task_files::dies_of(self.note.tid.cast_signed(), libc::SIGPIPE) {
            crate::sys::signals::send(self.process.pid, Signal::SIGPIPE);
            self.gate.transport.fail(self.note.id, libc::EINTR);
            self.answered = true;
        }
    }

    /// Ends the process with another code than it asked for.
    ///
    /// # Errors
    /// It cannot be stepped through that; it ends as it asked for.
    pub fn change_code(mut self, code: i32) -> std::io::Result<()> {
        self.gate.transport.exit_instead(&self.note, code)?;
        self.answered = true;
        Ok(())
    }
}

impl Drop for ExitTicket {
    fn drop(&mut self) {
        self.gate.end_scope(self.scope);
        if !self.answered {
            self.gate.transport.proceed(self.note.id);
        }
    }
}
