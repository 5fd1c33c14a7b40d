//! Forking: a child that runs a function of ours and never returns from it.

use nix::unistd::ForkResult;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Exit code of a command that could not be executed although its file looked right, and of a child that failed.
pub(crate) const EXEC_FAILED: i32 = 126;

/// Forks. The child runs `run` and ends with the code that it returns; nothing that this process has registered for its
/// own end happens there. Returns the child's process id.
///
/// Must be called while the process has one thread. If the child is to `execve`, `run` must only make calls that are
/// async-signal-safe, on memory that was prepared before: it shares nothing with the parent, but it must stay as small
/// as the parent left it.
pub(crate) fn child(run: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: with one thread (promised) no lock is held by anybody who is not there in the child.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child.as_raw()),
        ForkResult::Child => {
            // To unwind into what the parent was doing would be to do it twice.
            let code = catch_unwind(AssertUnwindSafe(run)).unwrap_or(EXEC_FAILED);
            // SAFETY: a plain integer; it ends this process.
            unsafe { libc::_exit(code) }
        }
    }
}
