//! The eBPF programs, and what they share with their loader.
//!
//! `src/layout.txt` is the one definition of the records, of a task's state and of the call descriptions: the
//! structures here and the programs' header are made of it. The programs are compiled when the crate is built, if clang
//! is there. How they are loaded, and what a record means, is the business of `tracer`.

include!(concat!(env!("OUT_DIR"), "/layout.rs"));
include!(concat!(env!("OUT_DIR"), "/kernel.rs"));
include!(concat!(env!("OUT_DIR"), "/object.rs"));

/// ELF structures are read in place.
#[repr(C, align(8))]
#[allow(dead_code, reason = "unused in a build without programs")]
struct Aligned<T>(T);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_survives_the_way_there_and_back() {
        let r = Record { time: 1, inode: 2, scope: 3, result: -2, marks: MARK_TARGET, ..Record::default() };
        assert_eq!(Record::read(&r.bytes()), Some(r));
        assert_eq!(Record::read(&r.bytes()[1..]), None);
        assert_eq!((Record::SIZE, Task::SIZE, State::SIZE), (64, 32, 40));
    }

    #[test]
    fn the_programs_are_there_where_clang_is() {
        let clang = std::process::Command::new("clang").arg("--version").output().is_ok_and(|o| o.status.success());
        assert!(!clang || OBJECT.is_some(), "{WHY_NOT}");
    }
}
