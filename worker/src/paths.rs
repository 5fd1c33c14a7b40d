//! Small questions about names.

use cache::PathBytes;
use rustc_hash::FxHashSet;

/// A name for people.
pub(crate) fn text(p: &[u8]) -> String {
    String::from_utf8_lossy(p).into_owned()
}

/// The directory that a name is in.
pub(crate) fn parent(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|b| *b == b'/').unwrap_or(0).max(1)]
}

/// The name by which the kernel knows a directory that may not be there yet.
pub(crate) fn resolved(dir: &[u8]) -> Vec<u8> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let real =
        |p: &[u8]| std::fs::canonicalize(std::ffi::OsStr::from_bytes(p)).ok().map(|p| p.into_os_string().into_vec());
    let below = || [&real(parent(dir))?[..], b"/", crate::tools::base_name(dir)].concat().into();
    real(dir).or_else(below).unwrap_or_else(|| dir.to_vec())
}

/// Is it below one of these directories?
pub(crate) fn below_any(path: &[u8], dirs: &FxHashSet<PathBytes>) -> bool {
    !dirs.is_empty() && path.iter().enumerate().any(|(i, b)| *b == b'/' && i > 0 && dirs.contains(&path[..i]))
}
