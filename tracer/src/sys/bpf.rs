//! The raw side of eBPF: loading what [`crate::programs`] has prepared, the ring that the programs write, the page of
//! counters that they share, the state of a task.
//!
//! Each structure is the part of `union bpf_attr` that its command reads. Sources: bpf(2), `linux/bpf.h`, and
//! `kernel/bpf/ringbuf.c` for the layout and the order of loads and stores.

use crate::sys::mapping::Mapping;
use aya_obj::{Function, Map};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use tracer_ebpf::State;

const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const MAP_GET_NEXT_KEY: libc::c_long = 4;
const PROG_LOAD: libc::c_long = 5;
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const BTF_LOAD: libc::c_long = 18;
const MAP_FREEZE: libc::c_long = 22;

const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
const HEADER: usize = 8;

/// The reading end of a ring. One reader at a time.
#[derive(Debug)]
pub(crate) struct Ring {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    mask: u64,
}

impl Ring {
    /// `size` is the map's `max_entries`: a power of two.
    pub(crate) fn new(fd: BorrowedFd<'_>, size: u32) -> io::Result<Self> {
        let page = rustix::param::page_size();
        // The data is there twice in a row, so that no record is in two pieces.
        let producer = Mapping::of(fd, page + 2 * size as usize, false, page)?;
        Ok(Self { consumer: Mapping::of(fd, page, true, 0)?, producer, page, mask: u64::from(size) - 1 })
    }

    /// Is anything there?
    pub(crate) fn is_empty(&self) -> bool {
        self.consumer.u64_at(0).load(Ordering::Relaxed) >= self.producer.u64_at(0).load(Ordering::Acquire)
    }

    /// Hands over every record that was begun before this call, in order. One that is still being written, on another
    /// processor, is waited for: that takes as long as copying a few bytes.
    pub(crate) fn drain(&mut self, mut f: impl FnMut(&[u8])) {
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
pub(crate) struct SharedState(Mapping);

impl SharedState {
    pub(crate) fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Mapping::of(fd, rustix::param::page_size(), true, 0).map(Self)
    }

    /// A directory may have got another name.
    pub(crate) fn moved(&self) {
        self.0.u64_at(0).fetch_add(1, Ordering::AcqRel);
    }

    /// All of them, now.
    pub(crate) fn get(&self) -> State {
        let mut b = [0; State::SIZE];
        for (i, part) in b.chunks_exact_mut(8).enumerate() {
            part.copy_from_slice(&self.0.u64_at(8 * i).load(Ordering::Acquire).to_ne_bytes());
        }
        State::read(&b).unwrap_or_default()
    }
}

/// Is the system call there for us at all? A sandbox may refuse it whoever asks.
pub(crate) fn is_permitted() -> bool {
    // A lookup in no map: it fails before it looks at anything else.
    let r = element(MAP_LOOKUP_ELEM, u32::MAX, None::<&u32>, 0);
    r.is_err_and(|e| e.raw_os_error() == Some(libc::EBADF))
}

/// # Safety
/// `attributes` must be what `command` reads, and what it points to must live and be as large as the kernel takes it to
/// be.
unsafe fn call<T>(command: libc::c_long, attributes: &T) -> io::Result<i32> {
    // SAFETY: as the caller promises; the structure itself lives until the call returns.
    let r = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(r as i32) }
}

/// # Safety
/// As of [`call`], and `command` must return a new descriptor.
unsafe fn make<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: as the caller promises.
    unsafe { call(command, attributes).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// A name as the kernel takes it: cut, and with a zero byte at its end.
fn name(text: &str) -> [u8; 16] {
    let mut name = [0; 16];
    text.bytes().take(15).zip(&mut name).for_each(|(from, to)| *to = from);
    name
}

/// Gives the kernel the programs' table of types.
pub(crate) fn load_types(table: &[u8]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        table: u64,
        log: u64,
        size: u32,
        log_size: u32,
        log_level: u32,
        padding: u32,
    }
    let size = u32::try_from(table.len()).map_err(io::Error::other)?;
    let a = Attributes { table: table.as_ptr() as u64, log: 0, size, log_size: 0, log_level: 0, padding: 0 };
    // SAFETY: the table is `size` bytes.
    unsafe { make(BTF_LOAD, &a) }
}

/// Makes a map. `types` and the numbers of its key and value in them, if its kind has such.
pub(crate) fn create_map(map: &Map, called: &str, types: Option<(BorrowedFd<'_>, u32, u32)>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        key: u32,
        value: u32,
        entries: u32,
        flags: u32,
        inner: u32,
        node: u32,
        name: [u8; 16],
        interface: u32,
        types: u32,
        key_type: u32,
        value_type: u32,
    }
    let (types, key_type, value_type) = types.map_or((0, 0, 0), |(fd, key, value)| (number(fd), key, value));
    let a = Attributes {
        kind: map.map_type(),
        key: map.key_size(),
        value: map.value_size(),
        entries: map.max_entries(),
        flags: map.map_flags(),
        inner: 0,
        node: 0,
        name: name(called),
        interface: 0,
        types,
        key_type,
        value_type,
    };
    // SAFETY: it points nowhere.
    unsafe { make(MAP_CREATE, &a) }
}

/// Sets the only element of a map that has values of this size.
pub(crate) fn fill(map: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
    element(MAP_UPDATE_ELEM, number(map), Some(&0u32), value.as_ptr() as u64)
}

/// From now on nobody can change the map: what is in it are constants to the verifier.
pub(crate) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: it points nowhere.
    unsafe { call(MAP_FREEZE, &number(map)).map(drop) }
}

/// A program that the kernel is to load for the type `tracepoint` of its own table.
pub(crate) struct Program<'a> {
    pub name: &'a str,
    pub license: &'a CStr,
    pub code: &'a Function,
    /// What `code` calls its functions in, from [`load_types`].
    pub types: BorrowedFd<'a>,
    pub tracepoint: u32,
}

/// Loads it. Into `log`, if that is not empty, the verifier writes why not.
pub(crate) fn load_program(p: &Program<'_>, log: &mut [u8]) -> io::Result<OwnedFd> {
    const TRACING: u32 = 26;
    const RAW_TRACEPOINT: u32 = 23;
    #[repr(C)]
    struct Attributes {
        kind: u32,
        count: u32,
        code: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        version: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        attach: u32,
        types: u32,
        function_size: u32,
        functions: u64,
        function_count: u32,
        line_size: u32,
        lines: u64,
        line_count: u32,
        attach_type: u32,
    }
    let functions = p.code.func_info.func_info_bytes();
    let size = |n: usize| u32::try_from(n).map_err(io::Error::other);
    let a = Attributes {
        kind: TRACING,
        count: size(p.code.instructions.len())?,
        code: p.code.instructions.as_ptr() as u64,
        license: p.license.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: size(log.len())?,
        log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        version: 0,
        flags: 0,
        name: name(p.name),
        interface: 0,
        attach: RAW_TRACEPOINT,
        types: number(p.types),
        function_size: size(p.code.func_info_rec_size)?,
        functions: functions.as_ptr() as u64,
        function_count: size(p.code.func_info.len())?,
        line_size: 0,
        lines: 0,
        line_count: 0,
        attach_type: p.tracepoint,
    };
    // SAFETY: everything that it points to lives on, and is as large as it says.
    unsafe { make(PROG_LOAD, &a) }
}

/// Lets a program run at its tracepoint until the result is closed.
pub(crate) fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        name: u64,
        program: u32,
        padding: u32,
    }
    // SAFETY: without a name it points nowhere; the program knows its tracepoint.
    unsafe { make(RAW_TRACEPOINT_OPEN, &Attributes { name: 0, program: number(program), padding: 0 }) }
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

/// `value` points to what the map has of it: `command` reads or writes as many bytes. Without a key the first is meant.
fn element<K>(command: libc::c_long, map: u32, key: Option<&K>, value: u64) -> io::Result<()> {
    let a = Element { map, padding: 0, key: key.map_or(0, |k| std::ptr::from_ref(k) as u64), value, flags: 0 };
    // SAFETY: the structure, the key and the value live until the call returns; the callers below give them the map's
    // sizes.
    unsafe { call(command, &a).map(drop) }
}

/// Sets what is known of a task, in a map of the kind "task storage".
pub(crate) fn set_task(map: BorrowedFd<'_>, task: &OwnedFd, value: &tracer_ebpf::Task) -> io::Result<()> {
    let bytes = value.bytes();
    element(MAP_UPDATE_ELEM, number(map), Some(&task.as_raw_fd()), bytes.as_ptr() as u64)
}

/// What is known of a task; an error when nothing is.
pub(crate) fn get_task(map: BorrowedFd<'_>, task: &OwnedFd) -> io::Result<tracer_ebpf::Task> {
    let mut bytes = [0u8; tracer_ebpf::Task::SIZE];
    element(MAP_LOOKUP_ELEM, number(map), Some(&task.as_raw_fd()), bytes.as_mut_ptr() as u64)?;
    tracer_ebpf::Task::read(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What a map of numbers has for `key`, and of which size that is: LOST.
pub(crate) fn count(map: BorrowedFd<'_>, key: u32) -> Option<u64> {
    let mut value = 0u64;
    element(MAP_LOOKUP_ELEM, number(map), Some(&key), &raw mut value as u64).ok().map(|()| value)
}

/// The keys of a map of numbers.
pub(crate) fn keys(map: BorrowedFd<'_>) -> Vec<u32> {
    let mut keys: Vec<u32> = Vec::new();
    loop {
        let mut next = 0u32;
        let found = element(MAP_GET_NEXT_KEY, number(map), keys.last(), &raw mut next as u64);
        // A key that somebody removed meanwhile begins at the front again: nobody else removes any.
        if found.is_err() {
            return keys;
        }
        keys.push(next);
    }
}

/// Removes a key from a map of numbers.
pub(crate) fn remove(map: BorrowedFd<'_>, key: u32) {
    // It may not be there.
    let _ = element(MAP_DELETE_ELEM, number(map), Some(&key), 0);
}
