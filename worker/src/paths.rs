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

/// Is it below one of these directories?
pub(crate) fn below_any(path: &[u8], dirs: &FxHashSet<PathBytes>) -> bool {
    !dirs.is_empty() && path.iter().enumerate().any(|(i, b)| *b == b'/' && i > 0 && dirs.contains(&path[..i]))
}
