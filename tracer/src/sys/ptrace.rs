//! Transient ptrace: the one thing that a notification cannot do, ending a blocked task with a chosen code.
//!
//! SEIZE + INTERRUPT leave a stop pending, the notification is answered, the task stops before it is back
//! in user space, its registers are pointed at `exit_group(code)`, DETACH. Registers are per task, so this
//! is safe under `vfork`; the task's memory is never written. Proven under make, ninja, dash, bash, Python,
//! raw vfork and static Go.

use std::io;

/// Tries whether tasks can be ended here, by attaching to one. Must be called while the process has one thread.
pub fn probe() -> io::Result<()> {
    crate::loader::stay_visible();
    // SAFETY: the child only makes async-signal-safe calls; the parent attaches to it, kills it and reaps it.
    unsafe {
        let child = libc::fork();
        if child < 0 {
            return Err(io::Error::last_os_error());
        }
        if child == 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            loop {
                libc::pause();
            }
        }
        let attached = libc::ptrace(libc::PTRACE_SEIZE, child, 0usize, 0usize);
        let result = if attached == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        libc::kill(child, libc::SIGKILL);
        let mut status = 0;
        libc::waitpid(child, &raw mut status, libc::__WALL);
        result
    }
}

/// Is somebody attached to this task already?
pub fn is_traced(tid: i32) -> bool {
    let status = std::fs::read(format!("/proc/{tid}/status")).unwrap_or_default();
    let line = status.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(b"TracerPid:"));
    line.is_some_and(|l| l.trim_ascii() != b"0")
}

/// Ends the blocked task `tid` with exit code `code`. `answer` must answer its notification with an error;
/// it is called once the stop is pending. On an error before that, the notification is untouched.
pub fn exit_instead(tid: i32, code: i32, answer: impl FnOnce()) -> io::Result<()> {
    // SAFETY: SEIZE and INTERRUPT take no pointers.
    unsafe {
        if libc::ptrace(libc::PTRACE_SEIZE, tid, 0usize, libc::PTRACE_O_TRACESYSGOOD) != 0 {
            return Err(io::Error::last_os_error());
        }
        if libc::ptrace(libc::PTRACE_INTERRUPT, tid, 0usize, 0usize) != 0 {
            let e = io::Error::last_os_error();
            libc::ptrace(libc::PTRACE_DETACH, tid, 0usize, 0usize);
            return Err(e);
        }
    }
    answer();
    loop {
        let mut status = 0;
        // SAFETY: `status` is writable; only this thread may wait for the tracee that it seized.
        let r = unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) };
        if r < 0 {
            let e = io::Error::last_os_error();
            if e.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            // Killed meanwhile: it will not execute anything either.
            return Ok(());
        }
        if !libc::WIFSTOPPED(status) {
            return Ok(());
        }
        break;
    }
    // SAFETY: `regs` is a plain structure that GETREGS fills and SETREGS reads; the tracee is stopped.
    unsafe {
        let mut regs: libc::user_regs_struct = std::mem::zeroed();
        if libc::ptrace(libc::PTRACE_GETREGS, tid, 0usize, &raw mut regs) == 0 {
            crate::arch::exit_group_registers(&mut regs, code);
            libc::ptrace(libc::PTRACE_SETREGS, tid, 0usize, &raw const regs);
        }
        libc::ptrace(libc::PTRACE_DETACH, tid, 0usize, 0usize);
    }
    Ok(())
}
