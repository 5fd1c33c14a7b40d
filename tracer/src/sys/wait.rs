//! Waiting for tasks: for the end of a child, and for stops of a tracee.
//!
//! By `rustix`, whose status keeps the number of a signal as it is: `nix` knows no real-time signals, and would lose a
//! task that stops for one.

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exited {
    /// It exited with this code, 0 to 255.
    Code(i32),
    /// The signal of this number killed it.
    Signal(i32),
}

impl Exited {
    /// The exit code that a shell would show.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(c) => c,
            Self::Signal(s) => 128 + s,
        }
    }

    /// From the status of a task that has ended.
    pub(crate) fn of(status: WaitStatus) -> Self {
        match status.terminating_signal() {
            Some(s) => Self::Signal(s),
            None => Self::Code(status.exit_status().unwrap_or(0)),
        }
    }
}

/// Also tasks that are no children but are traced, and threads (wait(2), "Linux notes").
const ALL: WaitOptions = WaitOptions::from_bits_retain(libc::__WALL.cast_unsigned());

/// Only what this thread has attached to.
const OF_THIS_THREAD: WaitOptions = ALL.union(WaitOptions::from_bits_retain(libc::__WNOTHREAD.cast_unsigned()));

/// Waits for the next stop, or the end, of one task.
pub(crate) fn of_task(tid: i32) -> rustix::io::Result<WaitStatus> {
    let task = Pid::from_raw(tid).ok_or(Errno::CHILD)?;
    loop {
        if let Some((_, status)) = rustix::process::waitpid(Some(task), ALL)? {
            return Ok(status);
        }
    }
}

/// As [`of_task`], if this thread has attached to it.
pub(crate) fn of_tracee(tid: i32) -> rustix::io::Result<WaitStatus> {
    let task = Pid::from_raw(tid).ok_or(Errno::CHILD)?;
    loop {
        if let Some((_, status)) = rustix::process::waitpid(Some(task), OF_THIS_THREAD)? {
            return Ok(status);
        }
    }
}

/// A stop or an end that has happened to a task that this thread has attached to, if there is one; an error if there is
/// no such task.
pub(crate) fn of_any_tracee() -> rustix::io::Result<Option<(i32, WaitStatus)>> {
    let found = rustix::process::wait(OF_THIS_THREAD | WaitOptions::NOHANG)?;
    Ok(found.map(|(tid, status)| (tid.as_raw_nonzero().get(), status)))
}

/// Waits for the end of our child `pid`. `None`: there is no such child.
///
/// By its pidfd: waitpid(2) would also report, and so steal, the ptrace stop of a hit that another thread waits for.
pub(crate) fn for_end(pid: i32) -> Option<Exited> {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{PidfdFlags, pidfd_open};
    let child = Pid::from_raw(pid)?;
    if let Ok(fd) = pidfd_open(child, PidfdFlags::empty()) {
        while poll(&mut [PollFd::new(&fd, PollFlags::IN)], None) == Err(Errno::INTR) {}
    }
    let ended = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child), WaitOptions::empty()));
    ended.ok().flatten().map(|(_, status)| Exited::of(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork;

    #[test]
    fn ends_are_told_as_they_were() {
        let end = |run: fn() -> i32| for_end(fork::child(run).expect("a fork"));
        assert_eq!(end(|| 7), Some(Exited::Code(7)));
        // The first real-time signal that the C library leaves to programs: `nix` would not tell it.
        let killed = end(|| {
            let pid = std::process::id().cast_signed();
            crate::sys::signals::send_to_thread(pid, libc::SIGRTMIN());
            0
        });
        assert_eq!(killed, Some(Exited::Signal(libc::SIGRTMIN())));
        assert_eq!(killed.map(Exited::shell_code), Some(128 + libc::SIGRTMIN()));
    }
}
