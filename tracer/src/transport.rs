//! How blocked calls reach us, and how they are answered: by seccomp notification or by ptrace stops.
//!
//! One contract, two ways; whoever decides about a call does not know which it is.
//!
//! States of a blocked call: *asked* (the task waits, we have not heard of it) → *received* (it is ours) → *answered*.
//! With notifications a signal takes the call back while it is *asked*, as if it had never been made: then it is made
//! again, or fails with `EINTR`, as the handler's `SA_RESTART` says (signal(7)). From *received* on only a fatal one
//! does (`SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`). A call in a ptrace stop hears of no signal.

use crate::arch;
use crate::stepper::Stepper;
use crate::sys::ptrace;
use crate::sys::seccomp::{Listener, Notification};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(crate) enum Transport {
    Notify(Listener),
    Step(Stepper),
}

impl Transport {
    /// Lets the call happen. A task that died meanwhile is no error.
    pub(crate) fn proceed(&self, id: u64) {
        match self {
            Self::Notify(l) => l.proceed(id),
            Self::Step(s) => s.proceed(id),
        }
    }

    /// Makes the call fail with `errno`.
    pub(crate) fn fail(&self, id: u64, errno: i32) {
        match self {
            Self::Notify(l) => l.fail(id, errno),
            Self::Step(s) => s.fail(id, errno),
        }
    }

    /// Makes the call return 0 without happening.
    pub(crate) fn succeed(&self, id: u64) {
        self.fail(id, 0);
    }

    /// Is the task still blocked in this very call? Must be asked after its memory was read.
    pub(crate) fn is_valid(&self, id: u64) -> bool {
        match self {
            Self::Notify(l) => l.is_valid(id),
            Self::Step(s) => s.is_valid(id),
        }
    }

    /// Installs `source` as descriptor `target` of the blocked task, replacing what is there, safely under `vfork`.
    pub(crate) fn install_fd(
        &self,
        id: u64,
        source: BorrowedFd<'_>,
        target: i32,
        close_on_exec: bool,
    ) -> io::Result<()> {
        match self {
            Self::Notify(l) => l.install_fd(id, source, target, close_on_exec),
            Self::Step(s) => s.install_fd(id, source, target, close_on_exec),
        }
    }

    /// Undoes [`Transport::install_fd`] before an `execve`: `original` is what was there.
    pub(crate) fn restore_fd(&self, id: u64, original: &OwnedFd, target: i32) {
        // A task that is gone needs nothing back.
        let _ = match self {
            Self::Notify(l) => l.install_fd(id, original.as_fd(), target, false),
            Self::Step(s) => s.restore_fd(id, target),
        };
    }

    /// May a signal take a call back before we have heard of it?
    pub(crate) fn loses_to_signals(&self) -> bool {
        matches!(self, Self::Notify(_))
    }

    /// Would [`Transport::exit_instead`] be refused? A debugger of the build's own may be attached.
    pub(crate) fn is_taken(&self, n: &Notification) -> bool {
        matches!(self, Self::Notify(_)) && ptrace::is_traced(n.tid.cast_signed())
    }

    /// Ends the blocked task with exit code `code`. On an error the call is still unanswered.
    pub(crate) fn exit_instead(&self, n: &Notification, code: i32) -> io::Result<()> {
        match self {
            Self::Notify(l) => ptrace::divert(
                n.tid.cast_signed(),
                |registers| arch::exit_group_registers(registers, code),
                || l.fail(n.id, libc::EINTR),
            ),
            Self::Step(s) => s.exit_instead(n.id, code),
        }
    }
}
