//! Makes certain shells set `SA_RESTART`, so that the kernel repeats a call of theirs that a signal has interrupted.
//!
//! Without `xl` a look at a file never fails with `EINTR` (signal(7)), and dash and the shell of busybox rely on it:
//! after such a failure they go on to the next directory of `PATH`, as if a command were not there. With `xl` in
//! between a look could fail so, if a child ends before the gate has received the call (see [`crate::transport`]). The
//! calls with which these shells wait for children are interrupted anyway (`sigsuspend`, `wait3` without blocking). The
//! handlers of other programs stay as they are: to change them would be guessing at what those programs rely on.

use crate::gate::Gate;
use crate::process::Process;
use crate::sys::memory;
use crate::sys::seccomp::Notification;

/// Whose handlers for the ends of children lack `SA_RESTART` (by strace).
const SHELLS: [&[u8]; 2] = [b"dash", b"busybox"];

/// Where the flags are in `struct kernel_sigaction`.
const FLAGS: u64 = 8;

impl Gate {
    /// A process is about to say how it handles the ends of children: such a shell says that calls are to be made
    /// again.
    pub(crate) fn child_handler(&self, n: &Notification, p: &Process) {
        let (tid, action) = (n.tid.cast_signed(), n.args[1]);
        let is_shell = || {
            let image =
                rustix::fs::readlink(format!("/proc/{}/exe", p.pid), Vec::new()).map(std::ffi::CString::into_bytes);
            image.is_ok_and(|i| SHELLS.contains(&i.rsplit(|b| *b == b'/').next().unwrap_or_default()))
        };
        let restarts = u64::from(libc::SA_RESTART.cast_unsigned());
        if action != 0
            && self.transport.loses_to_signals()
            && is_shell()
            && let Ok(flags) = memory::read_u64(tid, action + FLAGS)
            && flags & restarts == 0
            && self.transport.is_valid(n.id)
        {
            // If that is refused, it is as it was.
            let _ = memory::write_u64(tid, action + FLAGS, flags | restarts);
        }
    }
}
