//! The record layout that the eBPF programs and `tracer` will share.
//!
//! One record is one access, as the kernel side writes it into the ring: this header, then the path bytes. The
//! programs themselves are not part of this version. Knows nothing of anything else.

/// Header of one record; little endian, eight-byte aligned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordHeader {
    /// Boot-time nanoseconds at the call's return.
    pub time: u64,
    /// Scope of the task, as set by the gate.
    pub scope: u32,
    /// Task id in the initial pid namespace.
    pub tid: u32,
    /// Per-task counter: a gap is a lost record, attributable to its scope.
    pub sequence: u32,
    /// System call number.
    pub number: u32,
    /// Its result: a descriptor, 0, or a negative errno.
    pub result: i32,
    /// open(2) or `AT_*` flags, as far as the call has any.
    pub flags: u32,
    /// Bytes of path that follow.
    pub path_length: u32,
    /// Kept zero.
    pub reserved: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_fixed() {
        assert_eq!((size_of::<RecordHeader>(), align_of::<RecordHeader>()), (40, 8));
    }
}
