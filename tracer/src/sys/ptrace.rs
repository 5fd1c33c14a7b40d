//! Transient ptrace: the one thing that a notification cannot do, ending a blocked task with a chosen code.
//!
//! SEIZE + INTERRUPT leave a stop pending, the notification is answered, the task stops before it is back
//! in user space, its registers are pointed at `exit_group(code)`, DETACH. Registers are per task, so this
//! is safe under `vfork`; the task's memory is never written. Proven under make, ninja, dash, bash, Python,
//! raw vfork and static Go.

use std::io;
use std::os::fd::AsRawFd;

/// Tries whether tasks can be ended here, by attaching to one, and whether the kernel tells in which call one has
/// stopped (Linux 5.3). Must be called while the process has one thread.
pub fn probe() -> io::Result<()> {
    crate::loader::stay_visible();
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: one thread (promised); the child makes async-signal-safe calls only, and ends when our end of the pipe is
    // closed: it needs no signal for that.
    let child = unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::close(theirs.as_raw_fd());
            let mut nothing = 0u8;
            libc::read(ours.as_raw_fd(), (&raw mut nothing).cast(), 1);
            libc::_exit(0);
        }
        child
    };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    let result = attach_once(child);
    drop(theirs);
    loop {
        match waited(child) {
            // Still attached to: something failed half way.
            Ok(status) if libc::WIFSTOPPED(status) => {
                // SAFETY: CONT takes no pointers.
                unsafe { libc::ptrace(libc::PTRACE_CONT, child, 0usize, 0usize) };
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            _ => return result,
        }
    }
}

/// Attaches to a child, looks at it in a stop, and leaves it.
fn attach_once(child: i32) -> io::Result<()> {
    const GET_SYSCALL_INFO: libc::c_uint = 0x420e;
    let done = |r: libc::c_long| if r < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    let mut info = [0u64; 16];
    // SAFETY: SEIZE, INTERRUPT and DETACH take no pointers; of `info` the kernel writes at most the size that it is
    // told.
    unsafe {
        done(libc::ptrace(libc::PTRACE_SEIZE, child, 0usize, 0usize))?;
        done(libc::ptrace(libc::PTRACE_INTERRUPT, child, 0usize, 0usize))?;
        waited(child)?;
        let told = done(libc::ptrace(GET_SYSCALL_INFO, child, size_of_val(&info), info.as_mut_ptr()));
        done(libc::ptrace(libc::PTRACE_DETACH, child, 0usize, 0usize))?;
        told
    }
}

/// Waits for a stop or the end of a child.
fn waited(child: i32) -> io::Result<i32> {
    let mut status = 0;
    // SAFETY: `status` is writable.
    if unsafe { libc::waitpid(child, &raw mut status, libc::__WALL) } < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(status)
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
