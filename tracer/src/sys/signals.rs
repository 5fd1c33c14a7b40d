//! Signals of the supervisor itself, and signals that it sends.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

static TARGET: AtomicI32 = AtomicI32::new(0);
static RESIZED: OnceLock<OwnedFd> = OnceLock::new();
static SUSPENDED: OnceLock<OwnedFd> = OnceLock::new();

extern "C" fn pass_on(signal: libc::c_int) {
    let pid = TARGET.load(Ordering::Relaxed);
    if pid > 0
        && let Ok(s) = Signal::try_from(signal)
    {
        send(pid, s);
    }
}

fn note(of: &OnceLock<OwnedFd>) {
    if let Some(fd) = of.get() {
        let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
    }
}

extern "C" fn note_resize(_: libc::c_int) {
    note(&RESIZED);
}

extern "C" fn note_suspension(_: libc::c_int) {
    note(&SUSPENDED);
}

extern "C" fn swallow(_: libc::c_int) {}

/// Says what is done with a signal from now on, and returns whether it was ignored before. Calls that it interrupts are
/// made again.
///
/// A handler must be one of this file: each of them only calls what is async-signal-safe.
fn on(signal: Signal, handler: SigHandler) -> bool {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handlers, as promised, only load atomics, and make kill(2) and write(2) calls.
    let before = unsafe { sigaction(signal, &action) };
    before.is_ok_and(|b| matches!(b.handler(), SigHandler::SigIgn))
}

/// The signal does to this process what it does to any from now on. Returns whether it was ignored.
pub(crate) fn restore_default(signal: Signal) -> bool {
    on(signal, SigHandler::SigDfl)
}

/// Ignores the signal from now on. Returns whether it was ignored before.
pub(crate) fn ignore(signal: Signal) -> bool {
    on(signal, SigHandler::SigIgn)
}

/// An eventfd that becomes readable when somebody types Ctrl-Z: then [`suspend`] is to be called. `None` if that is
/// ignored. To be asked for once.
pub(crate) fn on_suspension() -> rustix::io::Result<Option<OwnedFd>> {
    let ours = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let _ = SUSPENDED.set(rustix::io::fcntl_dupfd_cloexec(&ours, 3)?);
    if on(Signal::SIGTSTP, SigHandler::Handler(note_suspension)) {
        ignore(Signal::SIGTSTP);
        return Ok(None);
    }
    Ok(Some(ours))
}

/// Stops this process as Ctrl-Z would have; returns when it is continued.
pub(crate) fn suspend() {
    restore_default(Signal::SIGTSTP);
    // A signal to the calling thread is acted on before this returns.
    let _ = nix::sys::signal::raise(Signal::SIGTSTP);
    on(Signal::SIGTSTP, SigHandler::Handler(note_suspension));
}

/// An eventfd that becomes readable whenever the terminal's window has changed its size. To be asked for once.
pub(crate) fn on_resize() -> rustix::io::Result<OwnedFd> {
    let ours = eventfd(0, EventfdFlags::CLOEXEC)?;
    let _ = RESIZED.set(rustix::io::fcntl_dupfd_cloexec(&ours, 3)?);
    on(Signal::SIGWINCH, SigHandler::Handler(note_resize));
    Ok(ours)
}

/// Passes TERM, HUP, USR1 and USR2 on to `pid`, and leaves INT and QUIT to the terminal, which sends them to
/// the whole foreground group: the build decides how it ends, and `xl` ends after it.
pub fn forward_signals(pid: i32) {
    TARGET.store(pid, Ordering::Relaxed);
    for s in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        on(s, SigHandler::Handler(pass_on));
    }
    for s in [Signal::SIGINT, Signal::SIGQUIT] {
        on(s, SigHandler::Handler(swallow));
    }
}

/// Makes a write to a closed pipe an error to handle instead of a reason to die, and so a write to a file that may grow
/// no more (`ulimit -f`). What the build gets of the latter is not changed: a handler does not outlive `execve`.
pub fn survive_failed_writes() {
    ignore(Signal::SIGPIPE);
    if !ignore(Signal::SIGXFSZ) {
        on(Signal::SIGXFSZ, SigHandler::Handler(swallow));
    }
}

/// Ends this process as a child of it ended that died of `signal`: whoever waits for us sees a death by this signal, as
/// if the child had been its own. A core has been dumped by the child, if any: there is no second one (core(5): neither
/// to a file nor to a program).
///
/// Returns only if the signal does not end us: to the first process of a namespace the kernel does not do that
/// (pid_namespaces(7)).
pub fn die_of(signal: i32) {
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    // Not by `nix`: the signal may be a real-time one. SAFETY: a zeroed set is valid, and `sigemptyset` and `sigaddset`
    // fill it; SIG_DFL is a valid disposition; raise(3) takes a plain integer, and ends us before it returns.
    unsafe {
        let mut only: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut only);
        libc::sigaddset(&raw mut only, signal);
        libc::signal(signal, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const only, std::ptr::null_mut());
        libc::raise(signal);
    }
}

/// Sends `signal` to one process; a process that is gone is no error.
pub(crate) fn send(pid: i32, signal: Signal) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}

/// Sends the signal of this number, which may be a real-time one, to one thread; one that is gone is no error.
pub(crate) fn send_to_thread(tid: i32, signal: i32) {
    // SAFETY: plain integers.
    unsafe { libc::syscall(libc::SYS_tkill, tid, signal) };
}
