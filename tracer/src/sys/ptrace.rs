//! The requests of ptrace(2) that are made here, and the one thing that a notification cannot do: ending a blocked task
//! with a chosen code.
//!
//! SEIZE + INTERRUPT leave a stop pending, the notification is answered, the task stops before it is back
//! in user space, its registers are pointed at `exit_group(code)`, DETACH. Registers are per task, so this
//! is safe under `vfork`; the task's memory is never written. Proven under make, ninja, dash, bash, Python,
//! raw vfork and static Go.
//!
//! `nix` has most of the requests. Here are those that it does not have, or that deliver a signal by number: it has no
//! name for real-time signals.

use crate::sys::{capabilities, fork, wait};
use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;
use rustix::io::Errno;
use std::io;
use std::os::fd::AsRawFd;

pub(crate) use libc::user_regs_struct as Registers;

const GET_SYSCALL_INFO: libc::c_uint = 0x420e;
const OP_ENTRY: u8 = 1;

/// `struct ptrace_syscall_info` of `linux/ptrace.h`, its entry form.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct SyscallInfo {
    op: u8,
    pad: [u8; 3],
    /// `AUDIT_ARCH_*` of the call.
    pub arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    /// The system call number, in the numbering of `arch`.
    pub nr: u64,
    /// The six raw arguments.
    pub args: [u64; 6],
    rest: u64,
}

/// Tries whether tasks can be ended here, by attaching to one, and whether the kernel tells in which call one has
/// stopped (Linux 5.3). Must be called while the process has one thread.
pub(crate) fn probe() -> io::Result<()> {
    capabilities::stay_visible();
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // It ends when our end of the pipe is closed: it needs no signal for that.
    let child = fork::child(|| {
        let _ = nix::unistd::close(theirs.as_raw_fd());
        let _ = rustix::io::read(&ours, &mut [0u8]);
        0
    })?;
    let result = attach_once(child);
    drop(theirs);
    loop {
        match wait::of_task(child) {
            // Still attached to: something failed half way.
            Ok(status) if status.stopped() => drop(ptrace::cont(Pid::from_raw(child), None)),
            Err(Errno::INTR) => {}
            _ => return result,
        }
    }
}

/// Attaches to a child, looks at it in a stop, and leaves it.
fn attach_once(child: i32) -> io::Result<()> {
    let task = Pid::from_raw(child);
    ptrace::seize(task, Options::empty())?;
    ptrace::interrupt(task)?;
    wait::of_task(child)?;
    let told = syscall_info(child);
    ptrace::detach(task, None)?;
    told.map(drop)
}

/// Is somebody attached to this task already?
pub(crate) fn is_traced(tid: i32) -> bool {
    let status = std::fs::read(format!("/proc/{tid}/status")).unwrap_or_default();
    let line = status.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(b"TracerPid:"));
    line.is_some_and(|l| l.trim_ascii() != b"0")
}

/// Makes the blocked task `tid` do something else instead of its call: `change` points its registers there. `answer`
/// must answer its notification with an error; it is called once the stop is pending. On an error before that, the
/// notification is untouched.
pub(crate) fn divert(tid: i32, change: impl FnOnce(&mut Registers), answer: impl FnOnce()) -> io::Result<()> {
    let task = Pid::from_raw(tid);
    ptrace::seize(task, Options::PTRACE_O_TRACESYSGOOD)?;
    if let Err(e) = ptrace::interrupt(task) {
        let _ = ptrace::detach(task, None);
        return Err(e.into());
    }
    answer();
    // Only this thread may wait for the tracee that it seized.
    match rustix::io::retry_on_intr(|| wait::of_task(tid)) {
        Ok(status) if status.stopped() => {}
        // Killed meanwhile: it will not execute anything either.
        _ => return Ok(()),
    }
    if let Ok(mut r) = registers(tid) {
        change(&mut r);
        let _ = set_registers(tid, r);
    }
    let _ = ptrace::detach(task, None);
    Ok(())
}

/// The registers of a stopped tracee.
pub(crate) fn registers(tid: i32) -> io::Result<Registers> {
    Ok(ptrace::getregs(Pid::from_raw(tid))?)
}

/// Sets them.
pub(crate) fn set_registers(tid: i32, r: Registers) -> io::Result<()> {
    Ok(ptrace::setregs(Pid::from_raw(tid), r)?)
}

/// Attaches to `tid` so that it stops at every call, and so that what it starts is attached to as well; makes it stop.
pub(crate) fn attach_to_tree(tid: i32) -> io::Result<()> {
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(Pid::from_raw(tid), options)?;
    Ok(ptrace::interrupt(Pid::from_raw(tid))?)
}

/// Lets a stopped tracee go on to its next entry or exit of a call, with a signal delivered; 0: none. A task that was
/// killed meanwhile needs no resuming.
pub(crate) fn resume(tid: i32, signal: i32) {
    request(libc::PTRACE_SYSCALL, tid, signal);
}

/// Leaves a tracee in a stop for job control, until a signal continues it.
pub(crate) fn stay_stopped(tid: i32) {
    request(libc::PTRACE_LISTEN, tid, 0);
}

/// Only requests whose operands are plain numbers.
fn request(what: libc::c_uint, tid: i32, data: i32) {
    // SAFETY: both callers above make requests that take no pointers.
    unsafe { libc::ptrace(what, tid, 0usize, data as usize) };
}

/// The call in which a task is stopped, if it is stopped at an entry.
pub(crate) fn entry(tid: i32) -> Option<SyscallInfo> {
    syscall_info(tid).ok().filter(|i| i.op == OP_ENTRY)
}

/// Not by `nix`, which takes for filled what the kernel leaves as it is in the shorter forms.
fn syscall_info(tid: i32) -> io::Result<SyscallInfo> {
    let mut i = SyscallInfo::default();
    // SAFETY: the kernel writes at most the size that it is told.
    let n = unsafe { libc::ptrace(GET_SYSCALL_INFO, tid, size_of::<SyscallInfo>(), &raw mut i) };
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(i) }
}
