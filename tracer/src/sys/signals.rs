//! Signals of the supervisor itself.

use std::sync::atomic::{AtomicI32, Ordering};

static TARGET: AtomicI32 = AtomicI32::new(0);
static RESIZED: AtomicI32 = AtomicI32::new(-1);
static SUSPENDED: AtomicI32 = AtomicI32::new(-1);

extern "C" fn pass_on(signal: libc::c_int) {
    let pid = TARGET.load(Ordering::Relaxed);
    if pid > 0 {
        // SAFETY: kill(2) is async-signal-safe and takes plain integers.
        unsafe { libc::kill(pid, signal) };
    }
}

fn note(of: &AtomicI32) {
    let one = 1u64;
    // SAFETY: write(2) is async-signal-safe; eight readable bytes; the descriptor is never closed.
    unsafe { libc::write(of.load(Ordering::Relaxed), (&raw const one).cast(), 8) };
}

extern "C" fn note_resize(_: libc::c_int) {
    note(&RESIZED);
}

extern "C" fn note_suspension(_: libc::c_int) {
    note(&SUSPENDED);
}

/// An eventfd that becomes readable when somebody types Ctrl-Z: then [`suspend`] is to be called. `None` if that is
/// ignored. To be asked for once.
pub fn on_suspension() -> rustix::io::Result<Option<std::os::fd::OwnedFd>> {
    use rustix::event::{EventfdFlags, eventfd};
    use std::os::fd::IntoRawFd;
    // SAFETY: a zeroed `sigaction` is valid, and only written.
    let ignored = unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGTSTP, std::ptr::null(), &raw mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    };
    if ignored {
        return Ok(None);
    }
    let ours = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    SUSPENDED.store(rustix::io::fcntl_dupfd_cloexec(&ours, 3)?.into_raw_fd(), Ordering::Relaxed);
    handle(libc::SIGTSTP, note_suspension);
    Ok(Some(ours))
}

/// Stops this process as Ctrl-Z would have; returns when it is continued.
pub fn suspend() {
    // SAFETY: SIG_DFL is a valid disposition; raise(3) takes a plain integer, and a signal to the calling thread is
    // acted on before it returns.
    unsafe {
        libc::signal(libc::SIGTSTP, libc::SIG_DFL);
        libc::raise(libc::SIGTSTP);
    }
    handle(libc::SIGTSTP, note_suspension);
}

/// An eventfd that becomes readable whenever the terminal's window has changed its size. To be asked for once.
pub fn on_resize() -> rustix::io::Result<std::os::fd::OwnedFd> {
    use rustix::event::{EventfdFlags, eventfd};
    use std::os::fd::IntoRawFd;
    let ours = eventfd(0, EventfdFlags::CLOEXEC)?;
    RESIZED.store(rustix::io::fcntl_dupfd_cloexec(&ours, 3)?.into_raw_fd(), Ordering::Relaxed);
    handle(libc::SIGWINCH, note_resize);
    Ok(ours)
}

extern "C" fn swallow(_: libc::c_int) {}

fn handle(signal: i32, f: extern "C" fn(libc::c_int)) {
    // SAFETY: a zeroed `sigaction` is valid; the handlers only call async-signal-safe functions.
    unsafe {
        let mut a: libc::sigaction = std::mem::zeroed();
        a.sa_sigaction = f as usize;
        a.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const a, std::ptr::null_mut());
    }
}

/// Passes TERM, HUP, USR1 and USR2 on to `pid`, and leaves INT and QUIT to the terminal, which sends them to
/// the whole foreground group: the build decides how it ends, and `xl` ends after it.
pub fn forward_signals(pid: i32) {
    TARGET.store(pid, Ordering::Relaxed);
    for s in [libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2] {
        handle(s, pass_on);
    }
    for s in [libc::SIGINT, libc::SIGQUIT] {
        handle(s, swallow);
    }
}

/// A closed pipe is an error to handle, not a reason to die; nor is a file that may grow no more (`ulimit -f`). What
/// the build gets of the latter is not changed: a handler does not outlive `execve`.
pub fn survive_failed_writes() {
    // SAFETY: SIG_IGN is a valid disposition.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    // SAFETY: as above; what was there is put back.
    let ignored = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) } == libc::SIG_IGN;
    if !ignored {
        handle(libc::SIGXFSZ, swallow);
    }
}

/// Ends this process as a child of it ended that died of `signal`: whoever waits for us sees a death by this signal, as
/// if the child had been its own. A core has been dumped by the child, if any: there is no second one (core(5): neither
/// to a file nor to a program).
///
/// Returns only if the signal does not end us: to the first process of a namespace the kernel does not do that
/// (pid_namespaces(7)).
pub fn die_of(signal: i32) {
    // SAFETY: prctl with integers only; a zeroed set is valid, and `sigemptyset` and `sigaddset` fill it; SIG_DFL is a
    // valid disposition; raise(3) takes a plain integer, and ends us before it returns.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        let mut only: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut only);
        libc::sigaddset(&raw mut only, signal);
        libc::signal(signal, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const only, std::ptr::null_mut());
        libc::raise(signal);
    }
}

/// Sends `signal` to one process; a process that is gone is no error.
pub fn send(pid: i32, signal: i32) {
    // SAFETY: plain integers.
    unsafe { libc::kill(pid, signal) };
}
