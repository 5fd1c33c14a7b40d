//! Forking: the child that installs the filter and becomes the build, and the keeper.
//!
//! Between `fork` and `execve` the child calls only async-signal-safe functions on memory prepared before.

use crate::filter::Instruction;
use crate::sys::seccomp::Listener;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const FLAG_NEW_LISTENER: libc::c_ulong = 1 << 3;
/// Linux 5.19: a received notification is interrupted by fatal signals only.
const FLAG_WAIT_KILLABLE: libc::c_ulong = 1 << 5;

#[repr(C)]
struct Program {
    len: u16,
    filter: *const Instruction,
}

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
pub struct Launched {
    pub pid: i32,
    pub way: Way,
}

/// How the command's calls reach us.
pub enum Way {
    /// It has installed this listener.
    Listener(Listener),
    /// It waits for a byte here, to be attached to first.
    Waits(OwnedFd),
}

/// Exit code of a command that could not be executed although the file looked right.
pub const EXEC_FAILED: i32 = 126;

/// What the child gets as some of its standard descriptors instead of what this process has there.
pub struct Replace<'a> {
    pub by: i32,
    pub targets: &'a [i32],
}

/// Forks, installs `filter` in the child and lets it `execve` `program`; without a filter, the child waits to be told
/// to. Must be called while the process has one thread.
pub fn launch(
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
    let listens = filter.is_some();
    let filter = filter.unwrap_or_default();
    let program_p = Program { len: u16::try_from(filter.len()).expect("a short filter"), filter: filter.as_ptr() };
    let mut pair = [0i32; 2];
    // SAFETY: `pair` has room for two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, pair.as_mut_ptr()) } != 0 {
        return Err(LaunchError::Sockets(io::Error::last_os_error()));
    }
    // SAFETY: socketpair returned two fresh descriptors.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1])) };
    let closed: Vec<i32> = crate::sys::closed::at_start().collect();
    // SAFETY: the caller promises one thread; the child below only makes async-signal-safe calls.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(LaunchError::Fork(io::Error::last_os_error()));
    }
    if pid == 0 {
        // SAFETY: raw calls on memory that the parent prepared; never returns.
        unsafe {
            let socket = theirs.as_raw_fd();
            // Or the socket would not end when the other process does.
            libc::close(ours.as_raw_fd());
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            if CHILDREN_IGNORED.load(std::sync::atomic::Ordering::Relaxed) {
                libc::signal(libc::SIGCHLD, libc::SIG_IGN);
            }
            crate::loader::drop_capabilities();
            for r in replace.iter() {
                for fd in r.targets {
                    libc::dup2(r.by, *fd);
                }
            }
            if !listens {
                let mut go = 0u8;
                // The end of the socket means that nobody will attach.
                if libc::read(socket, (&raw mut go).cast(), 1) != 1 {
                    libc::_exit(EXEC_FAILED);
                }
                for fd in &closed {
                    libc::close(*fd);
                }
                libc::execve(program.as_ptr(), argv_p.as_ptr(), env_p.as_ptr());
                libc::_exit(EXEC_FAILED);
            }
            if libc::geteuid() != 0 && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
                send_status(socket, b'n', -1);
                libc::_exit(EXEC_FAILED);
            }
            let mut fd =
                libc::syscall(libc::SYS_seccomp, 1, FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE, &raw const program_p);
            if fd < 0 && *libc::__errno_location() == libc::EINVAL {
                fd = libc::syscall(libc::SYS_seccomp, 1, FLAG_NEW_LISTENER, &raw const program_p);
            }
            if fd < 0 {
                send_status(socket, b's', -1);
                libc::_exit(EXEC_FAILED);
            }
            send_status(socket, b'.', fd as i32);
            libc::close(fd as i32);
            for fd in &closed {
                libc::close(*fd);
            }
            libc::execve(program.as_ptr(), argv_p.as_ptr(), env_p.as_ptr());
            libc::_exit(EXEC_FAILED);
        }
    }
    drop(theirs);
    if !listens {
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
    crate::sys::signals::send(pid, libc::SIGKILL);
    wait(pid);
    Err(error)
}

impl Launched {
    /// Ends it before it has executed anything. Who has no listener any more fails in every call, and dies of that, if
    /// not of the signal.
    pub fn abandon(self) {
        crate::sys::signals::send(self.pid, libc::SIGKILL);
        drop(self.way);
        wait(self.pid);
    }
}

/// Sends a tag, `errno` and, if not negative, a descriptor.
///
/// # Safety
/// `socket` must be a connected socket. Async-signal-safe.
unsafe fn send_status(socket: i32, tag: u8, fd: i32) {
    // SAFETY: all buffers live on this stack frame; CMSG macros stay inside `control`.
    unsafe {
        let mut body = [tag, 0, 0, 0, 0];
        body[1..].copy_from_slice(&(*libc::__errno_location()).to_ne_bytes());
        let mut io = libc::iovec { iov_base: body.as_mut_ptr().cast(), iov_len: body.len() };
        let mut control = [0u64; 4];
        let mut m: libc::msghdr = std::mem::zeroed();
        m.msg_iov = &raw mut io;
        m.msg_iovlen = 1;
        if fd >= 0 {
            m.msg_control = control.as_mut_ptr().cast();
            m.msg_controllen = libc::CMSG_SPACE(4) as usize;
            let h = libc::CMSG_FIRSTHDR(&raw const m);
            (*h).cmsg_level = libc::SOL_SOCKET;
            (*h).cmsg_type = libc::SCM_RIGHTS;
            (*h).cmsg_len = libc::CMSG_LEN(4) as usize;
            libc::CMSG_DATA(h).cast::<i32>().write_unaligned(fd);
        }
        libc::sendmsg(socket, &raw const m, crate::filter::LAUNCHER_FLAGS);
    }
}

fn receive_status(socket: &OwnedFd) -> Option<(u8, i32, Option<OwnedFd>)> {
    let mut body = [0u8; 5];
    // SAFETY: all buffers live on this stack frame; a received descriptor is fresh and ours.
    unsafe {
        let mut io = libc::iovec { iov_base: body.as_mut_ptr().cast(), iov_len: body.len() };
        let mut control = [0u64; 4];
        let mut m: libc::msghdr = std::mem::zeroed();
        m.msg_iov = &raw mut io;
        m.msg_iovlen = 1;
        m.msg_control = control.as_mut_ptr().cast();
        m.msg_controllen = size_of_val(&control);
        if libc::recvmsg(socket.as_raw_fd(), &raw mut m, libc::MSG_CMSG_CLOEXEC) < 5 {
            return None;
        }
        let h = libc::CMSG_FIRSTHDR(&raw const m);
        let fd = (!h.is_null() && (*h).cmsg_type == libc::SCM_RIGHTS)
            .then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(h).cast::<i32>().read_unaligned()));
        Some((body[0], i32::from_ne_bytes(body[1..].try_into().ok()?), fd))
    }
}

/// Forks a helper process that runs `body` in a session of its own and never returns; only `keep` of the
/// parent's descriptors stay open in it. Must be called while the process has one thread.
pub fn fork_helper(keep: &[BorrowedFd<'_>], body: impl FnOnce()) -> io::Result<i32> {
    // SAFETY: one thread (promised), so the child may go on using the allocator and std.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid > 0 {
        return Ok(pid);
    }
    let keep: Vec<i32> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: only descriptors that nothing in this child will use are closed or replaced; `_exit` ends it
    // without running the parent's destructors.
    unsafe {
        libc::setsid();
        crate::loader::drop_capabilities();
        for s in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
            libc::signal(s, libc::SIG_IGN);
        }
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for fd in 0..3 {
            libc::dup2(null, fd);
        }
        // close_range(2) is younger than some profiles of containers: they refuse it. What stayed open would look to
        // others as if we lived.
        for fd in crate::task_files::fds(libc::getpid()).into_iter().filter(|fd| *fd > 2 && !keep.contains(fd)) {
            libc::close(fd);
        }
        libc::prctl(libc::PR_SET_NAME, c"xl-keeper".as_ptr());
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        libc::_exit(0)
    }
}

static CHILDREN_IGNORED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whoever started us may ignore SIGCHLD: then ends of children would pass unnoticed. The build gets it as it was.
fn notice_children() {
    // SAFETY: SIG_DFL is a valid disposition.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    CHILDREN_IGNORED.store(before == libc::SIG_IGN, std::sync::atomic::Ordering::Relaxed);
}

/// Makes this process the reaper of its orphaned descendants, so that their parentage stays visible.
pub fn become_subreaper() {
    notice_children();
    // SAFETY: prctl with integers only.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// Undoes [`become_subreaper`].
pub fn resign() {
    // SAFETY: prctl with integers only; SIG_IGN is a valid disposition.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
        if CHILDREN_IGNORED.load(std::sync::atomic::Ordering::Relaxed) {
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        }
    }
}

/// Waits for the end of our child `pid`.
///
/// By its pidfd: waitpid(2) would also report, and so steal, the ptrace stop of a hit that another thread waits for.
pub fn wait(pid: i32) -> crate::session::Exited {
    use crate::session::Exited;
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    if let Some(fd) = Pid::from_raw(pid).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok()) {
        while poll(&mut [PollFd::new(&fd, PollFlags::IN)], None) == Err(rustix::io::Errno::INTR) {}
    }
    let mut status = 0;
    // SAFETY: `status` is writable.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } < 0 {
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return Exited::Code(EXEC_FAILED);
        }
    }
    if libc::WIFSIGNALED(status) {
        Exited::Signal(libc::WTERMSIG(status))
    } else {
        Exited::Code(libc::WEXITSTATUS(status))
    }
}
