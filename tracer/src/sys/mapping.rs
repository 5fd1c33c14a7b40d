//! Memory that is shared with somebody else: with the kernel's side of a BPF map, or with a fork of this process.

use rustix::mm::{MapFlags, ProtFlags};
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A shared mapping. It is unmapped when it is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    at: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is only touched through atomics, or under the rules of `Mapping::bytes`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `length` bytes of the file, beginning at `offset`, a multiple of the page size.
    pub(crate) fn of(fd: BorrowedFd<'_>, length: usize, writable: bool, offset: usize) -> io::Result<Self> {
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        let nowhere = std::ptr::null_mut();
        // SAFETY: a new mapping of a descriptor that is open; the kernel chooses where, so nothing of ours is replaced.
        let p = unsafe { rustix::mm::mmap(nowhere, length, protection, MapFlags::SHARED, fd, offset as u64) }?;
        NonNull::new(p.cast()).map(|at| Self { at, length }).ok_or_else(io::Error::last_os_error)
    }

    /// `length` bytes of zeros, which forks of this process have in common with it.
    pub(crate) fn anonymous(length: usize) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let nowhere = std::ptr::null_mut();
        // SAFETY: a new mapping; the kernel chooses where, so nothing of ours is replaced.
        let p = unsafe { rustix::mm::mmap_anonymous(nowhere, length, protection, MapFlags::SHARED) }?;
        NonNull::new(p.cast()).map(|at| Self { at, length }).ok_or_else(io::Error::last_os_error)
    }

    /// The number at `offset`, a multiple of 8. Writing to it is an error of the program if the mapping is not
    /// writable.
    pub(crate) fn u64_at(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.length);
        // SAFETY: inside the mapping, aligned, and of a type for which every bit pattern is valid.
        unsafe { self.at.add(offset).cast::<AtomicU64>().as_ref() }
    }

    /// The number at `offset`, a multiple of 4.
    pub(crate) fn u32_at(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.length);
        // SAFETY: as above.
        unsafe { self.at.add(offset).cast::<AtomicU32>().as_ref() }
    }

    /// Bytes that nobody writes while they are looked at: the caller knows.
    pub(crate) fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        assert!(offset + length <= self.length);
        // SAFETY: inside the mapping; a committed record is not written again before its place is given back.
        unsafe { std::slice::from_raw_parts(self.at.add(offset).as_ptr(), length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, whose references cannot outlive it. If it stays, that is no harm.
        let _ = unsafe { rustix::mm::munmap(self.at.as_ptr().cast(), self.length) };
    }
}

/// A counter in a page that survives the supervisor: the keeper, a fork of it, reads it.
#[derive(Debug)]
pub(crate) struct SharedCounter(Mapping);

impl SharedCounter {
    /// It is 0.
    pub(crate) fn new() -> io::Result<Self> {
        Mapping::anonymous(size_of::<u64>()).map(Self)
    }

    /// Raises the counter to `v`.
    pub(crate) fn raise(&self, v: u64) {
        self.0.u64_at(0).fetch_max(v, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.u64_at(0).load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_reads_what_its_parent_counts() {
        let c = SharedCounter::new().expect("a page");
        c.raise(3);
        let (waits, go) = std::io::pipe().expect("a pipe");
        let child = crate::sys::fork::child(|| {
            let mut told = [0];
            let _ = rustix::io::read(&waits, &mut told);
            c.get() as i32
        });
        c.raise(42);
        c.raise(7);
        rustix::io::write(&go, b"!").expect("it waits");
        assert_eq!(crate::sys::wait::for_end(child.expect("a fork")), Some(crate::sys::wait::Exited::Code(42)));
    }
}
