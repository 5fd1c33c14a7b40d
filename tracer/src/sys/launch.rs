//! Launching: the child that installs the filter and becomes the build.
//!
//! Between `fork` and `execve` the child makes only async-signal-safe calls, on memory that was prepared before.

use crate::sys::fork::{self, EXEC_FAILED};
use crate::sys::seccomp::{Instruction, Listener, Program};
use crate::sys::wait::{self, Exited};
use crate::sys::{capabilities, closed_at_start, signals};
use nix::sys::signal::Signal;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use std::ffi::{CString, OsStr};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// The flags with which the child sends its listener: a combination that means nothing on a local socket, so that
/// nobody else uses it, and the filter can let this one call go.
pub(crate) const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_FIN | libc::MSG_SYN | libc::MSG_RST;

/// What the launcher child ran into, and the errno.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("cannot make a pair of sockets: {0}")]
    Sockets(io::Error),
    #[error("cannot fork: {0}")]
    Fork(io::Error),
    #[error("cannot install a seccomp listener: {0}")]
    Listener(io::Error),
    #[error("cannot set no_new_privs: {0}")]
    NoNewPrivs(io::Error),
    #[error("the launcher died before it handed over the listener")]
    Died,
}

/// A launched command: it is blocked in its first `execve` until the listener is served.
pub(crate) struct Launched {
    pub pid: i32,
    pub way: Way,
}

/// How the command's calls reach us.
pub(crate) enum Way {
    /// It has installed this listener.
    Listener(Listener),
    /// It waits for a byte here, to be attached to first.
    Waits(OwnedFd),
}

/// What the child gets as some of its standard descriptors instead of what this process has there.
pub(crate) struct Replace<'a> {
    pub by: BorrowedFd<'a>,
    pub targets: &'a [i32],
}

/// Forks, installs `filter` in the child and lets it `execve` `program`; without a filter, the child waits to be told
/// to. Must be called while the process has one thread.
pub(crate) fn launch(
    program: &Path,
    argv: &[&OsStr],
    env: &[(&OsStr, &OsStr)],
    filter: Option<&[Instruction]>,
    replace: Option<&Replace<'_>>,
) -> Result<Launched, LaunchError> {
    let c = |b: &[u8]| CString::new(b).unwrap_or_default();
    let program = c(program.as_os_str().as_bytes());
    let argv: Vec<CString> = argv.iter().map(|a| c(a.as_bytes())).collect();
    let env: Vec<CString> = env
        .iter()
        .map(|(k, v)| {
            let mut kv = k.as_bytes().to_vec();
            kv.push(b'=');
            kv.extend_from_slice(v.as_bytes());
            c(&kv)
        })
        .collect();
    let pointers = |v: &[CString]| v.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (argv_p, env_p) = (pointers(&argv), pointers(&env));
    let filter = filter.map(Program::new);
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|e| LaunchError::Sockets(e.into()))?;
    let closed: Vec<i32> = closed_at_start::descriptors().collect();
    let execute = || {
        for fd in &closed {
            let _ = nix::unistd::close(*fd);
        }
        // Not by `nix`, which would allocate.
        // SAFETY: three strings and arrays that end as execve(2) wants, prepared before and kept by the parent.
        unsafe { libc::execve(program.as_ptr(), argv_p.as_ptr(), env_p.as_ptr()) };
        EXEC_FAILED
    };
    let pid = fork::child(|| {
        // Or the socket would not end when the other process does.
        let _ = nix::unistd::close(ours.as_raw_fd());
        signals::restore_default(Signal::SIGPIPE);
        if CHILDREN_IGNORED.load(Ordering::Relaxed) {
            signals::ignore(Signal::SIGCHLD);
        }
        capabilities::drop_given();
        for r in replace.iter() {
            for fd in r.targets {
                let _ = if *fd == 1 { rustix::stdio::dup2_stdout(r.by) } else { rustix::stdio::dup2_stderr(r.by) };
            }
        }
        match &filter {
            // The end of the socket means that nobody will attach.
            None if rustix::io::read(&theirs, &mut [0u8]) != Ok(1) => EXEC_FAILED,
            None => execute(),
            Some(f) if hand_over(&theirs, f) => execute(),
            Some(_) => EXEC_FAILED,
        }
    })
    .map_err(LaunchError::Fork)?;
    drop(theirs);
    if filter.is_none() {
        return Ok(Launched { pid, way: Way::Waits(ours) });
    }
    let error = match receive_status(&ours) {
        Some((b'.', _, Some(listener))) => return Ok(Launched { pid, way: Way::Listener(Listener::new(listener)) }),
        Some((b'n', errno, _)) => LaunchError::NoNewPrivs(io::Error::from_raw_os_error(errno)),
        Some((b's', errno, _)) => LaunchError::Listener(io::Error::from_raw_os_error(errno)),
        _ => LaunchError::Died,
    };
    // With it a listener that is on its way closes: then the child cannot even end by itself.
    drop(ours);
    signals::send(pid, Signal::SIGKILL);
    wait(pid);
    Err(error)
}

/// In the child: installs the filter and sends its listener, or says why not. Async-signal-safe.
fn hand_over(socket: &OwnedFd, filter: &Program<'_>) -> bool {
    if !rustix::process::geteuid().is_root()
        && let Err(e) = rustix::thread::set_no_new_privs(true)
    {
        send_status(socket, b'n', e.raw_os_error(), None);
        return false;
    }
    match filter.install() {
        Ok(listener) => {
            send_status(socket, b'.', 0, Some(listener.as_fd()));
            true
        }
        Err(e) => {
            send_status(socket, b's', e as i32, None);
            false
        }
    }
}

impl Launched {
    /// Ends it before it has executed anything. Who has no listener any more fails in every call, and dies of that, if
    /// not of the signal.
    pub(crate) fn abandon(self) {
        signals::send(self.pid, Signal::SIGKILL);
        drop(self.way);
        wait(self.pid);
    }
}

/// Sends a tag, an error number and a descriptor, if there is one. Async-signal-safe.
fn send_status(socket: &OwnedFd, tag: u8, errno: i32, fd: Option<BorrowedFd<'_>>) {
    let mut body = [tag, 0, 0, 0, 0];
    body[1..].copy_from_slice(&errno.to_ne_bytes());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = fd.as_slice();
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let flags = SendFlags::from_bits_retain(SEND_FLAGS.cast_unsigned());
    let _ = rustix::net::sendmsg(socket, &[IoSlice::new(&body)], &mut control, flags);
}

fn receive_status(socket: &OwnedFd) -> Option<(u8, i32, Option<OwnedFd>)> {
    let mut body = [0u8; 5];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut body)], &mut control, flags).ok()?;
    if got.bytes < body.len() {
        return None;
    }
    let fds = control.drain().filter_map(|m| if let RecvAncillaryMessage::ScmRights(f) = m { Some(f) } else { None });
    Some((body[0], i32::from_ne_bytes(body[1..].try_into().ok()?), fds.flatten().next()))
}

/// Was SIGCHLD ignored when this process was started?
static CHILDREN_IGNORED: AtomicBool = AtomicBool::new(false);

/// Makes this process the reaper of its orphaned descendants, so that their parentage stays visible.
///
/// Whoever started us may ignore SIGCHLD: then ends of children would pass unnoticed. The build gets it as it was.
pub(crate) fn become_subreaper() {
    CHILDREN_IGNORED.store(signals::restore_default(Signal::SIGCHLD), Ordering::Relaxed);
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

/// Undoes [`become_subreaper`].
pub(crate) fn resign() {
    let _ = nix::sys::prctl::set_child_subreaper(false);
    if CHILDREN_IGNORED.load(Ordering::Relaxed) {
        signals::ignore(Signal::SIGCHLD);
    }
}

/// Waits for the end of the launched command.
pub(crate) fn wait(pid: i32) -> Exited {
    wait::for_end(pid).unwrap_or(Exited::Code(EXEC_FAILED))
}
