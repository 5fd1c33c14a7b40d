//! A counter in a page that survives the supervisor: the keeper, a fork of it, reads it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// One `u64` in an anonymous shared mapping.
#[derive(Debug)]
pub struct SharedCounter(std::ptr::NonNull<AtomicU64>);

// SAFETY: the pointee is an atomic that is never unmapped.
unsafe impl Send for SharedCounter {}
// SAFETY: as above.
unsafe impl Sync for SharedCounter {}

impl SharedCounter {
    pub fn new() -> io::Result<Self> {
        // SAFETY: a fresh anonymous mapping, zeroed, page-aligned, kept for the life of the process.
        let p = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if p == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        std::ptr::NonNull::new(p.cast()).map(Self).ok_or_else(io::Error::last_os_error)
    }

    fn counter(&self) -> &AtomicU64 {
        // SAFETY: mapped, aligned, initialised by the kernel, and never unmapped.
        unsafe { self.0.as_ref() }
    }

    /// Raises the counter to `v`.
    pub fn raise(&self, v: u64) {
        self.counter().fetch_max(v, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.counter().load(Ordering::Relaxed)
    }
}
