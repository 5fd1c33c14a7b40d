//! Reading another task: its memory, its descriptors.

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};
use rustix::process::PidfdGetfdFlags;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Longest path that a system call accepts (`PATH_MAX`, with its NUL).
const PATH_MAX: usize = 4096;

/// Profiles of containers refuse process_vm_readv(2) and process_vm_writev(2) by number, whatever the task. The file in
/// `/proc` asks for the same rights (proc(5), `/proc/pid/mem`) and costs three calls instead of one.
static BY_FILE: AtomicBool = AtomicBool::new(false);

/// Copies up to `buf.len()` bytes from `addr` of task `tid`; returns how many could be read.
pub(crate) fn read(tid: i32, addr: u64, buf: &mut [u8]) -> io::Result<usize> {
    by_call_or_file(tid, OFlags::RDONLY, |file| match file {
        None => read_by_call(tid, addr, buf),
        Some(f) => Ok(rustix::io::pread(f, &mut *buf, addr)?),
    })
}

/// Tries the call, then the file. Once the file has given what the call was refused, it is asked first.
fn by_call_or_file(
    tid: i32,
    access: OFlags,
    mut copy: impl FnMut(Option<&OwnedFd>) -> io::Result<usize>,
) -> io::Result<usize> {
    if !BY_FILE.load(Ordering::Relaxed) {
        match copy(None) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {}
            done => return done,
        }
    }
    let file =
        rustix::fs::open(format!("/proc/{tid}/mem"), access | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from);
    let done = file.and_then(|f| copy(Some(&f)));
    match &done {
        Ok(_) => BY_FILE.store(true, Ordering::Relaxed),
        // What is not mapped, and what cannot be an address, is one thing to the call.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EIO | libc::EINVAL)) => {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
        Err(_) => {}
    }
    done
}

fn read_by_call(tid: i32, addr: u64, buf: &mut [u8]) -> io::Result<usize> {
    let from = RemoteIoVec { base: addr as usize, len: buf.len() };
    Ok(process_vm_readv(Pid::from_raw(tid), &mut [IoSliceMut::new(buf)], &[from])?)
}

/// Reads a NUL-terminated string of at most `max` bytes; `Ok(None)` when it is longer.
fn read_cstr(tid: i32, mut addr: u64, max: usize) -> io::Result<Option<Vec<u8>>> {
    const PAGE: u64 = 4096;
    let mut out = Vec::with_capacity(128);
    let mut step = 256;
    while out.len() <= max {
        // Never cross a page: the next one may not be mapped.
        let want = usize::try_from(PAGE - addr % PAGE).unwrap_or(0).min(step);
        let start = out.len();
        out.resize(start + want, 0);
        let n = read(tid, addr, &mut out[start..])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.truncate(start + n);
        if let Some(end) = out[start..].iter().position(|b| *b == 0) {
            out.truncate(start + end);
            return Ok((out.len() < max).then_some(out));
        }
        addr += n as u64;
        step = 4096;
    }
    Ok(None)
}

/// A path argument; `Ok(None)` when it is longer than the kernel would accept.
pub(crate) fn read_path(tid: i32, addr: u64) -> io::Result<Option<Vec<u8>>> {
    read_cstr(tid, addr, PATH_MAX)
}

/// A NULL-terminated array of strings, as `execve` takes it. A null pointer is an empty array (execve(2)).
pub(crate) fn read_strings(tid: i32, addr: u64) -> io::Result<Vec<Vec<u8>>> {
    /// `MAX_ARG_STRLEN`: the kernel's limit for one string.
    const MAX_ARG: usize = 131_072;
    let mut out = Vec::new();
    if addr == 0 {
        return Ok(out);
    }
    let mut pointers = Vec::new();
    let mut at = addr;
    'all: loop {
        let mut page = [0u8; 4096];
        let want = (4096 - at as usize % 4096).max(8);
        let n = read(tid, at, &mut page[..want])?;
        if n < 8 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for word in page[..n].chunks_exact(8) {
            let p = u64::from_ne_bytes(word.try_into().expect("chunks of eight"));
            if p == 0 {
                break 'all;
            }
            pointers.push(p);
        }
        at += (n - n % 8) as u64;
    }
    for p in pointers {
        out.push(read_cstr(tid, p, MAX_ARG)?.ok_or(io::ErrorKind::InvalidData)?);
    }
    Ok(out)
}

/// One `u64` of the task's memory.
pub(crate) fn read_u64(tid: i32, addr: u64) -> io::Result<u64> {
    let mut b = [0; 8];
    if read(tid, addr, &mut b)? < 8 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(u64::from_ne_bytes(b))
}

/// Writes one `u64` into the task's memory.
pub(crate) fn write_u64(tid: i32, addr: u64, value: u64) -> io::Result<()> {
    write(tid, addr, &value.to_ne_bytes())
}

/// Writes `bytes`, all of them, into the task's memory.
pub(crate) fn write(tid: i32, addr: u64, bytes: &[u8]) -> io::Result<()> {
    let n = by_call_or_file(tid, OFlags::RDWR, |file| match file {
        None => write_by_call(tid, addr, bytes),
        Some(f) => Ok(rustix::io::pwrite(f, bytes, addr)?),
    })?;
    if n == bytes.len() { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EFAULT)) }
}

fn write_by_call(tid: i32, addr: u64, bytes: &[u8]) -> io::Result<usize> {
    let to = RemoteIoVec { base: addr as usize, len: bytes.len() };
    Ok(process_vm_writev(Pid::from_raw(tid), &[IoSlice::new(bytes)], &[to])?)
}

/// Duplicates descriptor `fd` of the process behind `pidfd` (pidfd_getfd(2)).
pub(crate) fn steal_fd(pidfd: BorrowedFd<'_>, fd: i32) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_getfd(pidfd, fd, PidfdGetfdFlags::empty())?)
}

/// Do two descriptors of this process share one open file description?
/// `None` where the kernel will not say.
pub(crate) fn same_description(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> Option<bool> {
    const KCMP_FILE: i32 = 0;
    let me = std::process::id().cast_signed();
    are_same(me, me, KCMP_FILE, a.as_raw_fd(), b.as_raw_fd())
}

/// Do two processes run in one memory, as parent and child of vfork(2) do until the child executes? `None` where the
/// kernel will not say.
pub(crate) fn shares_memory(a: i32, b: i32) -> Option<bool> {
    const KCMP_VM: i32 = 1;
    are_same(a, b, KCMP_VM, 0, 0)
}

/// kcmp(2), for kinds whose operands are numbers.
fn are_same(pid_a: i32, pid_b: i32, kind: i32, a: i32, b: i32) -> Option<bool> {
    // SAFETY: the two kinds above take no pointers.
    let r = unsafe { libc::syscall(libc::SYS_kcmp, pid_a, pid_b, kind, a, b) };
    (r >= 0).then_some(r == 0)
}
