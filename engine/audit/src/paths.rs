//! Names of files as build files and the kernel have them: bytes, resolved by text alone.

use cache::PathBytes;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path as the standard library wants it.
pub(crate) fn os_path(p: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(p))
}

/// `name` as seen from `dir`, without `.` and `..` components. As build tools do, by text alone.
pub fn absolute(dir: &[u8], name: &[u8]) -> PathBytes {
    let joined = if name.first() == Some(&b'/') { name.to_vec() } else { [dir, b"/", name].concat() };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in joined.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            p => parts.push(p),
        }
    }
    let mut out = Vec::with_capacity(joined.len());
    for p in parts {
        out.push(b'/');
        out.extend_from_slice(p);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out.into()
}

/// The directory of a name; empty at the root.
pub(crate) fn parent(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|b| *b == b'/').unwrap_or(0)]
}

/// Is it this directory, or something in it?
pub(crate) fn below(path: &[u8], dir: &[u8]) -> bool {
    dir == b"/" || path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_absolute() {
        for (dir, name, want) in
            [("/a/b", "c", "/a/b/c"), ("/a", "../x/./y", "/x/y"), ("/a", "/b//c", "/b/c"), ("/", "..", "/")]
        {
            assert_eq!(&*absolute(dir.as_bytes(), name.as_bytes()), want.as_bytes());
        }
    }
}
