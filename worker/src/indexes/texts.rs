//! Can a program have the name of an index from somewhere, so that it may have read it for itself?
//!
//! It has it from its own text, its arguments, a variable, something that it read, or from the directory in which the
//! index is. The name need not be whole anywhere, but who puts it together has its last part.

use crate::accesses::{Accesses, Stdin};
use crate::judgement::Context;
use crate::look::Look;
use crate::places;
use crate::record::Record;
use crate::tools::base_name;
use bstr::ByteSlice;
use cache::PathBytes;
use rustc_hash::FxHashMap;

/// Does nothing that the pip had before it hold the last part of this path? What belongs to the C library does not
/// count: it has all these names. Nor does what is `settled`: it is known otherwise what that is for.
pub(super) fn nobody_names(
    index: &[u8],
    settled: impl Fn(&[u8]) -> bool,
    a: &Accesses,
    names: &FxHashMap<PathBytes, Record>,
    look: &impl Look,
    c: &Context<'_>,
) -> bool {
    let word = base_name(index);
    let directory = crate::paths::parent(index);
    let mut words = c.env.iter().chain(a.programs.iter().flat_map(|p| &p.argv));
    let of_libc = |p: &[u8]| {
        let base = base_name(p);
        places::belongs_to_the_machine(p)
            && [&b"ld-linux"[..], b"ld64.so", b"libc.so.", b"libc-2."].iter().any(|b| base.starts_with(b))
    };
    let is_file = |r: &Record| r.first.is_some_and(|s| s.is_file());
    // A compiler hands on what it reads, in a file that is gone when it ends.
    let made = |r: &Record| (r.random || !r.any_name) && r.reuses;
    let read = |p: &[u8], r: &Record| (r.read && is_file(r) || made(r)) && p != index && !of_libc(p) && !settled(p);
    a.stdin != Stdin::Used
        && names.get(directory).is_none_or(|r| r.listing.is_none())
        && !a.links.values().any(|l| l.target.contains_str(word))
        && !words.any(|w| w.contains_str(word))
        && names.iter().filter(|(p, r)| read(p, r)).all(|(p, _)| look.holds(p, word) == Some(false))
}
