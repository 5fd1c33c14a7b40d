//! Forwards what a build writes to the terminal at which `xl` was started, and lets a [`Screen`] show something there
//! between two pieces of it.
//!
//! The build gets a stand-in for that terminal, which everything that it starts inherits, and to which captured text
//! ([`crate::capture`]) goes, too. One thread forwards, and calls the screen while nothing comes: so the two never
//! write at once, and the screen knows every byte that the build has written. Before a process sets the modes of the
//! terminal, reads from it, takes it for its process group or opens it by name, the gate has the screen leave the
//! terminal for good ([`Screen::leave`]), because text could go past this thread from then on. Two things go unnoticed:
//! a write through standard input, which may be the terminal, too, and jobs of the user's shell in the background.
//!
//! Another way was thought through: to look at the states of processes (which of them sleeps in which call). But a
//! timer or a signal may wake any of them at any moment, and the kernel does not tell what stands in the last line.

use crate::capture::{Ask, Passage};
use crate::keeper::Keeper;
use crate::sys::signals;
use crate::terminal::{self, LineEnds, StandIn};
use crate::{FileType, Resolved, task_files};
use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Whoever shows something on the terminal besides the build. It writes to standard error itself.
pub trait Screen: Send + Sync {
    /// The build has written `text`: the screen takes away what it shows and writes the text to the terminal.
    ///
    /// # Errors
    /// The terminal cannot be written; the build will find that out as well.
    fn forward(&self, text: &[u8]) -> std::io::Result<()>;
    /// The build has written nothing for a while: the screen may show something. Returns after how long a time it wants
    /// to be called again.
    fn idle(&self) -> Duration;
    /// The user stops the build for a while: the screen takes away what it shows.
    fn pause(&self);
    /// From now on others write to the terminal, too, for good: the screen must not show anything any more.
    fn leave(&self);
}

/// The stand-in and the real terminal, made before the launch.
pub(crate) struct Front {
    screen: Arc<dyn Screen>,
    stand_in: StandIn,
    real: OwnedFd,
    device: u64,
    /// Which of 1 and 2 the build gets it as.
    pub targets: Vec<i32>,
}

/// The build's way to the terminal while it runs.
pub(crate) struct Way {
    screen: Arc<dyn Screen>,
    passage: Arc<Passage>,
    /// The terminal's number.
    device: u64,
}

impl Front {
    /// `None` if standard error is no terminal, or others may have it: the build writes for itself then.
    pub(crate) fn new(screen: Arc<dyn Screen>) -> Option<Self> {
        let me = std::process::id().cast_signed();
        let real = fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).ok().filter(|fd| rustix::termios::isatty(fd))?;
        let device = task_files::device(me, 2)?;
        // Whoever reads a pipe may write to the terminal what comes out of it.
        let mode = rustix::fs::fstat(rustix::stdio::stdout()).ok()?.st_mode;
        if matches!(FileType::from_raw_mode(mode), FileType::Fifo | FileType::Socket) {
            return None;
        }
        let is_it = |fd: &i32| task_files::device(me, *fd) == Some(device);
        // Text through such a descriptor would overtake text through the stand-in.
        if task_files::inherited_fds(me)?.iter().any(is_it) {
            return None;
        }
        let stand_in = terminal::like(&real).ok()?;
        Some(Self { screen, stand_in, real, device, targets: [1, 2].into_iter().filter(is_it).collect() })
    }

    /// The end that the build gets.
    pub(crate) fn theirs(&self) -> BorrowedFd<'_> {
        self.stand_in.theirs.as_fd()
    }

    /// Starts the thread that forwards. Must be called after the build has been launched with its end.
    pub(crate) fn open(self, keeper: &Keeper) -> std::io::Result<Arc<Way>> {
        let Self { screen, stand_in: StandIn { ours, theirs, size, mut line_ends }, real, device, .. } = self;
        drop(theirs);
        terminal::follow_sizes();
        rustix::fs::fcntl_setfl(&ours, rustix::fs::fcntl_getfl(&ours)? | rustix::fs::OFlags::NONBLOCK)?;
        let (passage, asked) = Passage::new(Vec::new())?;
        let way = Arc::new(Way { screen: screen.clone(), passage: passage.clone(), device });
        let keeper = keeper.clone();
        std::thread::Builder::new().name("xl-front".into()).spawn(move || {
            let _size = size;
            let held = keeper.hold(ours.as_fd(), real.as_fd());
            let suspended = signals::on_suspension().ok().flatten();
            forward(&ours, suspended.as_ref(), line_ends.as_mut(), &*screen, &passage, &asked);
            keeper.release(held);
        })?;
        Ok(way)
    }
}

impl Way {
    /// Waits until everything that the build has written is on the terminal.
    pub(crate) fn flush(&self) {
        self.passage.flush();
    }

    /// Forwards what the build has written, and then makes the screen leave the terminal, to which others write from
    /// now on.
    pub(crate) fn leave(&self) {
        self.flush();
        self.screen.leave();
    }

    /// Is this the terminal, by any of its names?
    pub(crate) fn leads_to(&self, path: &Resolved) -> bool {
        path.file_type() == Some(FileType::CharacterDevice)
            && path.state.is_some_and(|s| self.is(rustix::fs::makedev(s.stx_rdev_major, s.stx_rdev_minor)))
    }

    /// Is this the terminal's number, or that of `/dev/tty`?
    pub(crate) fn is(&self, device: u64) -> bool {
        device == self.device || device == terminal::DEV_TTY
    }
}

/// Forwards until no process has the other end any more, or the terminal is gone.
fn forward(
    from: &OwnedFd,
    suspended: Option<&OwnedFd>,
    mut line_ends: Option<&mut LineEnds>,
    screen: &dyn Screen,
    passage: &Passage,
    asked: &mpsc::Receiver<Ask>,
) {
    let mut buf = vec![0; 64 << 10];
    let mut patience = screen.idle();
    loop {
        let mut polls: Vec<_> =
            [passage.wake(), from].into_iter().chain(suspended).map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        if let Ok(0) = rustix::event::poll(&mut polls, rustix::time::Timespec::try_from(patience).ok().as_ref()) {
            patience = screen.idle();
            continue;
        }
        if suspended.is_some_and(|fd| rustix::io::read(fd, &mut buf[..8]).is_ok()) {
            // The shell speaks once it knows that this process is stopped.
            screen.pause();
            signals::suspend();
        }
        let _ = rustix::io::read(passage.wake(), &mut buf[..8]);
        let asks: Vec<Ask> = asked.try_iter().collect();
        // What is there when something is asked fits in this; others may write for ever.
        let mut budget = if asks.is_empty() { usize::MAX } else { 1 << 20 };
        while budget > 0 {
            let text = match rustix::io::read(from, &mut buf) {
                Ok(n) if n > 0 => {
                    budget = budget.saturating_sub(n);
                    line_ends.as_mut().map_or_else(|| buf[..n].to_vec(), |l| l.undo(&buf[..n]))
                }
                Err(Errno::INTR) => continue,
                end => {
                    let rest = line_ends.as_mut().map_or(&b""[..], |l| l.rest());
                    if screen.forward(rest).is_err() || end != Err(Errno::AGAIN) {
                        return;
                    }
                    break;
                }
            };
            if screen.forward(&text).is_err() {
                return;
            }
        }
        patience = screen.idle();
        for ask in asks {
            if let Ask::Flush(done) = ask {
                let _ = done.send(());
            }
        }
    }
}
