//! The raw side of eBPF: the ring that the programs write, the page of counters that they share, the state of a task.
//!
//! Sources: bpf(2), `linux/bpf.h`, and `kernel/bpf/ringbuf.c` for the layout and the order of loads and stores.

use rustix::fd::OwnedFd;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use tracer_ebpf::State;

const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;

const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
const HEADER: usize = 8;

/// A shared mapping of a map's memory.
#[derive(Debug)]
struct Mapping {
    at: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is only touched through atomics, or under the rules of `Ring`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, length: usize, writable: bool, offset: usize) -> io::Result<Self> {
        let protection = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: a new mapping of a descriptor that is open; nothing of ours is replaced.
        let p = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, fd.as_raw_fd(), offset) };
        if p == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(p.cast()).map(|at| Self { at, length }).ok_or_else(io::Error::last_os_error)
    }

    fn u64_at(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.length);
        // SAFETY: inside the mapping, aligned, and of a type for which every bit pattern is valid.
        unsafe { self.at.add(offset).cast::<AtomicU64>().as_ref() }
    }

    fn u32_at(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.length);
        // SAFETY: as above.
        unsafe { self.at.add(offset).cast::<AtomicU32>().as_ref() }
    }

    /// Bytes that nobody writes while they are looked at: the caller knows.
    fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        assert!(offset + length <= self.length);
        // SAFETY: inside the mapping; a committed record is not written again before its place is given back.
        unsafe { std::slice::from_raw_parts(self.at.add(offset).as_ptr(), length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, whose references cannot outlive it.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.length) };
    }
}

/// The reading end of a ring. One reader at a time.
#[derive(Debug)]
pub struct Ring {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    mask: u64,
}

impl Ring {
    /// `size` is the map's `max_entries`: a power of two.
    pub fn new(fd: BorrowedFd<'_>, size: u32) -> io::Result<Self> {
        let page = rustix::param::page_size();
        // The data is there twice in a row, so that no record is in two pieces.
        let producer = Mapping::new(fd, page + 2 * size as usize, false, page)?;
        Ok(Self { consumer: Mapping::new(fd, page, true, 0)?, producer, page, mask: u64::from(size) - 1 })
    }

    /// Is anything there?
    pub fn is_empty(&self) -> bool {
        self.consumer.u64_at(0).load(Ordering::Relaxed) >= self.producer.u64_at(0).load(Ordering::Acquire)
    }

    /// Hands over every record that was begun before this call, in order. One that is still being written, on another
    /// processor, is waited for: that takes as long as copying a few bytes.
    pub fn drain(&mut self, mut f: impl FnMut(&[u8])) {
        let mut at = self.consumer.u64_at(0).load(Ordering::Relaxed);
        let end = self.producer.u64_at(0).load(Ordering::Acquire);
        while at < end {
            let offset = self.page + usize::try_from(at & self.mask).unwrap_or(0);
            let header = self.producer.u32_at(offset).load(Ordering::Acquire);
            if header & BUSY != 0 {
                std::thread::yield_now();
                continue;
            }
            let length = (header & !DISCARDED) as usize;
            if header & DISCARDED == 0 {
                f(self.producer.bytes(offset + HEADER, length));
            }
            at += (length + HEADER).next_multiple_of(8) as u64;
            self.consumer.u64_at(0).store(at, Ordering::Release);
        }
    }
}

/// The counters that the programs share with us.
#[derive(Debug)]
pub struct SharedState(Mapping);

impl SharedState {
    pub fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Mapping::new(fd, rustix::param::page_size(), true, 0).map(Self)
    }

    /// A directory may have got another name.
    pub fn moved(&self) {
        self.0.u64_at(0).fetch_add(1, Ordering::AcqRel);
    }

    /// All of them, now.
    pub fn get(&self) -> State {
        let mut b = [0; State::SIZE];
        for (i, part) in b.chunks_exact_mut(8).enumerate() {
            part.copy_from_slice(&self.0.u64_at(8 * i).load(Ordering::Acquire).to_ne_bytes());
        }
        State::read(&b).unwrap_or_default()
    }
}

/// Is the system call there for us at all? A sandbox may refuse it whoever asks.
pub fn is_permitted() -> bool {
    let nothing = Element { map: u32::MAX, padding: 0, key: 0, value: 0, flags: 0 };
    // SAFETY: a lookup in no map: it fails before it looks at anything else.
    let r = unsafe { libc::syscall(libc::SYS_bpf, MAP_LOOKUP_ELEM, &raw const nothing, size_of::<Element>()) };
    r != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EBADF)
}

/// `union bpf_attr` for the element commands.
#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn element(command: libc::c_long, map: BorrowedFd<'_>, task: &OwnedFd, value: u64) -> io::Result<()> {
    let key = task.as_fd().as_raw_fd();
    let a = Element { map: map.as_raw_fd().cast_unsigned(), padding: 0, key: std::ptr::from_ref(&key) as u64, value, flags: 0 };
    // SAFETY: the structure, the key and the value live until the call returns; the caller gave a value of the map's size.
    let r = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const a, size_of::<Element>()) };
    if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets what is known of a task, in a map of the kind "task storage".
pub fn set_task(map: BorrowedFd<'_>, task: &OwnedFd, value: &tracer_ebpf::Task) -> io::Result<()> {
    let bytes = value.bytes();
    element(MAP_UPDATE_ELEM, map, task, bytes.as_ptr() as u64)
}

/// What is known of a task; an error when nothing is.
pub fn get_task(map: BorrowedFd<'_>, task: &OwnedFd) -> io::Result<tracer_ebpf::Task> {
    let mut bytes = [0u8; tracer_ebpf::Task::SIZE];
    element(MAP_LOOKUP_ELEM, map, task, bytes.as_mut_ptr() as u64)?;
    tracer_ebpf::Task::read(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
