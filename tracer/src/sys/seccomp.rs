//! seccomp: install a filter with a listener; receive its notifications, answer them, install a descriptor in a blocked
//! task.
//!
//! The numbers are those of `linux/seccomp.h`; the structures are its `seccomp_notif`, `seccomp_notif_resp` and
//! `seccomp_notif_addfd`, and `sock_filter` and `sock_fprog` of `linux/filter.h`. What a filter says is
//! [`crate::filter`]'s.

use nix::errno::Errno;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `struct sock_filter`: one instruction of a classic BPF program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub code: u16,
    /// How many instructions are skipped if the comparison holds, and if it does not.
    pub jt: u8,
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
pub(crate) struct Program<'a> {
    length: u16,
    first: *const Instruction,
    of: PhantomData<&'a [Instruction]>,
}

impl<'a> Program<'a> {
    pub(crate) fn new(instructions: &'a [Instruction]) -> Self {
        let length = u16::try_from(instructions.len()).expect("a short filter");
        Self { length, first: instructions.as_ptr(), of: PhantomData }
    }

    /// Installs it on the calling thread; the result is its listener. Async-signal-safe.
    pub(crate) fn install(&self) -> Result<OwnedFd, Errno> {
        const SET_MODE_FILTER: libc::c_ulong = 1;
        const FLAG_NEW_LISTENER: libc::c_ulong = 1 << 3;
        /// Linux 5.19: only fatal signals interrupt a call whose notification was received.
        const FLAG_WAIT_KILLABLE: libc::c_ulong = 1 << 5;
        let install = |flags: libc::c_ulong| {
            // SAFETY: `self` is a complete `struct sock_fprog`, whose instructions outlive it; a non-negative result is
            // a fresh descriptor that nobody else owns.
            unsafe {
                let fd = libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, std::ptr::from_ref(self));
                Errno::result(fd).map(|fd| OwnedFd::from_raw_fd(fd as i32))
            }
        };
        match install(FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE) {
            Err(Errno::EINVAL) => install(FLAG_NEW_LISTENER),
            other => other,
        }
    }
}

const ADDFD_FLAG_SETFD: u32 = 1;
const RESP_FLAG_CONTINUE: u32 = 1;

/// One blocked system call: who, which number, which arguments.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notification {
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
    pub(crate) fn of(id: u64, tid: u32, nr: i32, arch: u32, args: [u64; 6]) -> Self {
        Self { id, tid, flags: 0, nr, arch, instruction_pointer: 0, args }
    }
}

/// What an `ioctl` of a listener reads or writes. Each type belongs to one request, so that none can be given
/// another's.
trait Argument {
    const REQUEST: libc::c_ulong;
}

impl Argument for Notification {
    const REQUEST: libc::c_ulong = 0xc050_2100;
}

#[repr(C)]
struct Response {
    id: u64,
    val: i64,
    error: i32,
    flags: u32,
}

impl Argument for Response {
    const REQUEST: libc::c_ulong = 0xc018_2101;
}

/// A cookie that may be valid or not.
#[repr(transparent)]
struct Cookie(u64);

impl Argument for Cookie {
    const REQUEST: libc::c_ulong = 0x4008_2102;
}

#[repr(C)]
struct AddFd {
    id: u64,
    flags: u32,
    srcfd: u32,
    newfd: u32,
    newfd_flags: u32,
}

impl Argument for AddFd {
    const REQUEST: libc::c_ulong = 0x4018_2103;
}

/// The supervisor's end of a seccomp filter.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl Listener {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    fn ioctl<T: Argument>(&self, argument: &mut T) -> nix::Result<()> {
        // SAFETY: the request reads, and writes, one `T`, which is complete and outlives the call.
        let r = unsafe { libc::ioctl(self.0.as_raw_fd(), T::REQUEST, std::ptr::from_mut(argument)) };
        Errno::result(r).map(drop)
    }

    /// Asks the kernel to hand a call over on the same processor (Linux 6.6): the task sleeps anyway while we work.
    pub(crate) fn wake_synchronously(&self) {
        const NOTIF_SET_FLAGS: libc::c_ulong = 0x4008_2104;
        const FD_SYNC_WAKE_UP: libc::c_ulong = 1;
        // SAFETY: an integer argument. Older kernels refuse, and nothing is lost.
        unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_SET_FLAGS, FD_SYNC_WAKE_UP) };
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.0.as_fd()
    }

    /// Waits for the next blocked call. `Ok(None)` means "ask again" (the task died, or a signal came);
    /// an error means that the listener has no users left.
    pub(crate) fn receive(&self) -> io::Result<Option<Notification>> {
        // The kernel demands zeros.
        let mut n = Notification::default();
        match self.ioctl(&mut n) {
            Ok(()) => Ok(Some(n)),
            // Linux 6.18 also says ENOENT, at once and for ever, when no task uses the filter any more.
            Err(e @ Errno::ENOENT) if self.is_orphaned() => Err(e.into()),
            Err(Errno::EINTR | Errno::ENOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// As [`Listener::receive`], and also notices on older kernels that there are no users left.
    pub(crate) fn wait(&self) -> io::Result<Option<Notification>> {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut p = [PollFd::from_borrowed_fd(self.fd(), PollFlags::IN)];
        poll(&mut p, None)?;
        if p[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.receive()
    }

    /// The first call of all.
    pub(crate) fn first(&self) -> io::Result<Notification> {
        loop {
            if let Some(n) = self.wait()? {
                return Ok(n);
            }
        }
    }

    /// Has the filter no users left?
    pub(crate) fn is_orphaned(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut p = [PollFd::from_borrowed_fd(self.fd(), PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut p, Some(&now)).is_ok() && p[0].revents().contains(PollFlags::HUP)
    }

    /// Lets the call happen. A task that died meanwhile is no error.
    pub(crate) fn proceed(&self, id: u64) {
        self.respond(Response { id, val: 0, error: 0, flags: RESP_FLAG_CONTINUE });
    }

    /// Makes the call fail with `errno`.
    pub(crate) fn fail(&self, id: u64, errno: i32) {
        self.respond(Response { id, val: 0, error: -errno, flags: 0 });
    }

    fn respond(&self, mut r: Response) {
        let _ = self.ioctl(&mut r);
    }

    /// Is the task still blocked in this very call? Must be asked after its memory was read.
    pub(crate) fn is_valid(&self, id: u64) -> bool {
        self.ioctl(&mut Cookie(id)).is_ok()
    }

    /// Installs `source` as descriptor `target` of the blocked task, replacing what is there, atomically
    /// and safely under `vfork`.
    pub(crate) fn install_fd(
        &self,
        id: u64,
        source: BorrowedFd<'_>,
        target: i32,
        close_on_exec: bool,
    ) -> io::Result<()> {
        let mut add = AddFd {
            id,
            flags: ADDFD_FLAG_SETFD,
            srcfd: source.as_raw_fd().cast_unsigned(),
            newfd: target.cast_unsigned(),
            newfd_flags: if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
        };
        Ok(self.ioctl(&mut add)?)
    }
}
