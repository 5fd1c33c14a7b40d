//! The notification side of seccomp: receive, answer, install a descriptor in a blocked task.
//!
//! The numbers are the `ioctl`s of `linux/seccomp.h`; the structures are its `seccomp_notif`,
//! `seccomp_notif_resp` and `seccomp_notif_addfd`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

const NOTIF_RECV: libc::c_ulong = 0xc050_2100;
const NOTIF_SEND: libc::c_ulong = 0xc018_2101;
const NOTIF_ID_VALID: libc::c_ulong = 0x4008_2102;
const NOTIF_ADDFD: libc::c_ulong = 0x4018_2103;
const ADDFD_FLAG_SETFD: u32 = 1;
const RESP_FLAG_CONTINUE: u32 = 1;

/// One blocked system call: who, which number, which arguments.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Notification {
    /// The cookie that an answer must carry.
    pub id: u64,
    /// Thread id of the blocked task, in the supervisor's pid namespace; 0 if it cannot be named.
    pub tid: u32,
    flags: u32,
    /// The system call number, in the numbering of `arch`.
    pub nr: i32,
    /// `AUDIT_ARCH_*` of the call.
    pub arch: u32,
    instruction_pointer: u64,
    /// The six raw arguments.
    pub args: [u64; 6],
}

impl Notification {
    pub fn of(id: u64, tid: u32, nr: i32, arch: u32, args: [u64; 6]) -> Self {
        Self { id, tid, flags: 0, nr, arch, instruction_pointer: 0, args }
    }
}

#[repr(C)]
struct Response {
    id: u64,
    val: i64,
    error: i32,
    flags: u32,
}

#[repr(C)]
struct AddFd {
    id: u64,
    flags: u32,
    srcfd: u32,
    newfd: u32,
    newfd_flags: u32,
}

/// The supervisor's end of a seccomp filter.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    pub fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Asks the kernel to hand a call over on the same processor (Linux 6.6): the task sleeps anyway while we work.
    pub fn wake_synchronously(&self) {
        const NOTIF_SET_FLAGS: libc::c_ulong = 0x4008_2104;
        const FD_SYNC_WAKE_UP: libc::c_ulong = 1;
        // SAFETY: an integer argument. Older kernels refuse, and nothing is lost.
        unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_SET_FLAGS, FD_SYNC_WAKE_UP) };
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.0.as_fd()
    }

    /// Waits for the next blocked call. `Ok(None)` means "ask again" (the task died, or a signal came);
    /// an error means that the listener has no users left.
    pub fn receive(&self) -> io::Result<Option<Notification>> {
        let mut n = Notification::default();
        // SAFETY: `n` is a zeroed `struct seccomp_notif` (the kernel demands zeros) that outlives the call.
        let r = unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_RECV, &raw mut n) };
        if r == 0 {
            return Ok(Some(n));
        }
        let e = io::Error::last_os_error();
        match e.raw_os_error() {
            // Linux 6.18 also says ENOENT, at once and for ever, when no task uses the filter any more.
            Some(libc::ENOENT) if self.is_orphaned() => Err(e),
            Some(libc::EINTR | libc::ENOENT) => Ok(None),
            _ => Err(e),
        }
    }

    /// As [`Listener::receive`], and also notices on older kernels that there are no users left.
    pub fn wait(&self) -> io::Result<Option<Notification>> {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut p = [PollFd::from_borrowed_fd(self.fd(), PollFlags::IN)];
        poll(&mut p, None)?;
        if p[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.receive()
    }

    /// The first call of all.
    pub fn first(&self) -> io::Result<Notification> {
        loop {
            if let Some(n) = self.wait()? {
                return Ok(n);
            }
        }
    }

    /// Has the filter no users left?
    pub fn is_orphaned(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut p = [PollFd::from_borrowed_fd(self.fd(), PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut p, Some(&now)).is_ok() && p[0].revents().contains(PollFlags::HUP)
    }

    /// Lets the call happen. A task that died meanwhile is no error.
    pub fn proceed(&self, id: u64) {
        self.respond(Response { id, val: 0, error: 0, flags: RESP_FLAG_CONTINUE });
    }

    /// Makes the call fail with `errno`.
    pub fn fail(&self, id: u64, errno: i32) {
        self.respond(Response { id, val: 0, error: -errno, flags: 0 });
    }

    fn respond(&self, r: Response) {
        // SAFETY: `r` is a complete `struct seccomp_notif_resp`; the kernel only reads it.
        unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_SEND, &raw const r) };
    }

    /// Is the task still blocked in this very call? Must be asked after its memory was read.
    pub fn is_valid(&self, id: u64) -> bool {
        // SAFETY: the kernel reads one u64.
        unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_ID_VALID, &raw const id) == 0 }
    }

    /// Installs `source` as descriptor `target` of the blocked task, replacing what is there, atomically
    /// and safely under `vfork`.
    pub fn install_fd(&self, id: u64, source: BorrowedFd<'_>, target: i32, close_on_exec: bool) -> io::Result<()> {
        let add = AddFd {
            id,
            flags: ADDFD_FLAG_SETFD,
            srcfd: source.as_raw_fd().cast_unsigned(),
            newfd: target.cast_unsigned(),
            newfd_flags: if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
        };
        // SAFETY: `add` is a complete `struct seccomp_notif_addfd`; the kernel only reads it.
        let r = unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_ADDFD, &raw const add) };
        if r < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
