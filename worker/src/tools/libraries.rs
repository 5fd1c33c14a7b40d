//! Which names a search for libraries would find: rustc lists the directory of dependencies, in which every other rustc
//! of the build is making files, and looks only for names whose beginnings it knows.
//!
//! Knows how rustc and cargo name libraries. Who searches so is told by the table
//! ([`super::Tool::searches_libraries`]).

/// Does this run of rustc ask for libraries by their whole names? cargo names each library after all that went into it
/// (`-C extra-filename=-HASH`), rustc notes that name in those that use it, and then looks for no other
/// (`rustc_metadata::locator`).
pub(crate) fn names_libraries_exactly(argv: &[Vec<u8>]) -> bool {
    argv.iter().any(|a| bstr::ByteSlice::contains_str(&a[..], "extra-filename="))
}

/// Crates that rustc adds by itself, by name alone.
const INJECTED: &[&[u8]] =
    &[b"std", b"core", b"alloc", b"proc_macro", b"test", b"compiler_builtins", b"profiler_builtins", b"panic_"];

/// How the names begin under which a library like this one would be found: `lib`, the crate's name, a dash; all of it
/// if names are `exact` (cargo starts a dependent while the `.rlib` beside the `.rmeta` is being made). `None`: not a
/// library.
pub(crate) fn library_stem(name: &[u8], exact: bool) -> Option<Vec<u8>> {
    let rest = name.strip_prefix(b"lib")?;
    let dot = rest.iter().position(|b| *b == b'.')?;
    if !cache::observation::is_library(&rest[dot..]) {
        return None;
    }
    let dash = rest[..dot].iter().rposition(|b| *b == b'-');
    let exact = exact && dash.is_some() && !INJECTED.iter().any(|i| rest.starts_with(i));
    let end = if exact { rest.len() } else { dash.unwrap_or(dot) };
    Some(name[..3 + end].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_search_for_libraries_would_find() {
        let stem = |n: &str, exact| library_stem(n.as_bytes(), exact).map(|s| String::from_utf8(s).unwrap());
        assert_eq!(stem("libfoo-12ab.rlib", true).as_deref(), Some("libfoo-12ab.rlib"));
        assert_eq!(stem("libfoo-12ab.rlib", false).as_deref(), Some("libfoo"));
        assert_eq!(stem("libfoo.rlib", true).as_deref(), Some("libfoo"));
        assert_eq!(stem("libstd-77.rlib", true).as_deref(), Some("libstd"));
        assert_eq!(stem("foo.d", true), None);
        assert_eq!(stem("libfoo.txt", true), None);
    }
}
