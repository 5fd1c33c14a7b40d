//! Variables that hold lists of directories, for programs that do nothing with them but search.
//!
//! What such a program finds shows in the names that it looks for: their absence and their contents are observations
//! of their own. Of the variable itself there remains which directories are searched in which order. One that is not
//! there, or in which there is nothing, changes no search. Where the names that were sought are known (commands along
//! `PATH`), one that has none of them changes none either. Who shows the variable, or records it, has its text.

use cache::{FileStat, Observation};

/// A variable of this kind.
pub(crate) struct Searched {
    name: &'static str,
    /// Whatever is sought in it is a name in one of its directories, and whoever searches looks into the first.
    pub(super) by_name: bool,
    /// What an element may hold so that it means more than a directory.
    special: &'static [u8],
}

const fn directories(name: &'static str) -> Searched {
    Searched { name, by_name: false, special: b"" }
}

/// All of them.
const SEARCHED: &[Searched] = &[
    // exec(3), sh(1), gcc's driver. bash expands a `~`, dash has a meaning for `%`.
    Searched { name: "PATH", by_name: true, special: b"~%" },
    // ld.so(8): `$ORIGIN` and the like, and a semicolon separates, too.
    Searched { name: "LD_LIBRARY_PATH", by_name: false, special: b"$;" },
    // gcc's manual, "Environment Variables Affecting GCC".
    directories("CPATH"),
    directories("C_INCLUDE_PATH"),
    directories("CPLUS_INCLUDE_PATH"),
    directories("OBJC_INCLUDE_PATH"),
    directories("OBJCPLUS_INCLUDE_PATH"),
    directories("LIBRARY_PATH"),
    directories("COMPILER_PATH"),
];

/// What is known of a variable.
pub(crate) fn searched(name: &[u8]) -> Option<&'static Searched> {
    SEARCHED.iter().find(|s| s.name.as_bytes() == name)
}

/// The names of all of them.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    SEARCHED.iter().map(|s| s.name)
}

/// Does this word make a compiler, or what it calls, show where it searches (gcc(1), "Overall Options"; `-v` may be on
/// its way to another program in `-Wp,` and the like)?
pub(crate) fn shows_directories(word: &[u8]) -> bool {
    let (rest, passed) = match word.iter().position(|b| *b == b',') {
        Some(i) if word.starts_with(b"-W") => (&word[i + 1..], true),
        _ => (word, false),
    };
    let one = |w: &[u8]| {
        matches!(w, b"-v" | b"-V" | b"-Q" | b"-H")
            || [&b"-###"[..], b"-print", b"--print", b"--verbose", b"-verbose", b"--help", b"--trace"]
                .iter()
                .any(|o| w.starts_with(o))
    };
    if passed { rest.split(|b| *b == b',').any(one) } else { one(rest) }
}

/// The elements of a value; an empty one is the working directory (POSIX, XBD 8.3; ld.so(8); gcc's `CPATH`).
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = if value.is_empty() { None } else { Some(value.split(|b| *b == b':')) };
    words.into_iter().flatten().map(|w| if w.is_empty() { b"." } else { w })
}

impl Searched {
    /// Is there more in the value than directories? What is below the working directory changes with that.
    fn is_special(&self, value: &[u8]) -> bool {
        let relative = || elements(value).any(|e| !e.starts_with(b"/"));
        value.iter().any(|b| self.special.contains(b)) || self.by_name && (value.is_empty() || relative())
    }

    /// What of this variable counts for who only searches: nothing, if there was no name to be found.
    pub(super) fn observation<'a>(
        &self,
        env: &[Vec<u8>],
        accessed: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Observation> {
        let variable = self.name.as_bytes().to_vec();
        if !self.by_name {
            return Some(Observation::Found { variable, names: Vec::new() });
        }
        let mut values = env.iter().map(|v| super::split(v)).filter(|(n, _)| *n == variable).map(|(_, v)| v);
        let (Some(value), None) = (values.next(), values.next()) else { return Some(Observation::Env(variable)) };
        let Some(directories) = self.directories(value) else { return Some(Observation::Env(variable)) };
        let sought = |p: &&[u8]| directories.iter().any(|d| crate::paths::parent(p) == &d[..]);
        let mut names: Vec<Vec<u8>> = accessed.filter(sought).map(|p| crate::tools::base_name(p).to_vec()).collect();
        names.sort();
        names.dedup();
        (!names.is_empty()).then_some(Observation::Found { variable, names })
    }

    /// The directories of a value in which names are sought, resolved; `None` if it is not only a list of them.
    pub(super) fn directories(&self, value: &[u8]) -> Option<Vec<Vec<u8>>> {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let real = |e: &[u8]| {
            let real = std::fs::canonicalize(std::ffi::OsStr::from_bytes(e));
            real.map_or(e.to_vec(), |p| p.into_os_string().into_vec())
        };
        (!self.is_special(value)).then(|| elements(value).map(real).collect())
    }
}

/// What a search in the directories of this value meets, in order, in the words of the value: where any of these names
/// is, or, without names, in which of them there is anything; in one that depends on the working directory there may
/// be, wherever the searcher goes. A word is said once: what is searched twice has nothing
/// new the second time.
pub(crate) fn meets(variable: &[u8], value: &[u8], names: &[Vec<u8>]) -> Vec<u8> {
    let special = searched(variable).is_none_or(|s| s.is_special(value));
    if special {
        return [b"=", value].concat();
    }
    let mut words: Vec<&[u8]> = Vec::new();
    elements(value).for_each(|e| words.extend((!words.contains(&e)).then_some(e)));
    let mut out = Vec::new();
    for w in words {
        if names.is_empty() {
            if !w.starts_with(b"/") || has_anything(w) {
                out.extend_from_slice(w);
                out.push(0);
            }
            continue;
        }
        for (i, n) in names.iter().enumerate() {
            if FileStat::of(&[w, b"/", n].concat()).is_some() {
                out.extend_from_slice(i.to_string().as_bytes());
                out.push(b' ');
                out.extend_from_slice(w);
                out.push(0);
            }
        }
    }
    out
}

/// Is there anything to be met: a directory that has members, one that cannot be looked into, or something else?
fn has_anything(dir: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    match std::fs::read_dir(std::ffi::OsStr::from_bytes(dir)) {
        Ok(mut members) => members.next().is_some(),
        Err(e) => e.kind() != std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_search_meets() {
        let t = tempfile::tempdir().expect("a directory");
        for d in ["empty", "one/x", "two/y"] {
            std::fs::create_dir_all(t.path().join(d)).expect("a directory");
        }
        std::fs::write(t.path().join("file"), "").expect("a file");
        let root = t.path().to_str().expect("text");
        let met = |variable: &str, value: &str, names: &[&str]| {
            let names: Vec<Vec<u8>> = names.iter().map(|n| n.as_bytes().to_vec()).collect();
            let value = value.replace('@', &format!("{root}/"));
            let met = meets(variable.as_bytes(), value.as_bytes(), &names);
            String::from_utf8(met).expect("text").replace(&format!("{root}/"), "@")
        };
        for (value, want) in [
            ("@one:@two", "@one\0@two\0"),
            ("@empty:@one:@two", "@one\0@two\0"),
            ("@none:@one::@two", "@one\0.\0@two\0"),
            ("@one:@one:@two", "@one\0@two\0"),
            ("@two:@one", "@two\0@one\0"),
            ("@file:@one", "@file\0@one\0"),
            ("@one:", "@one\0.\0"),
            ("", ""),
            ("one", "one\0"),
        ] {
            assert_eq!(met("CPATH", value, &[]), want, "{value}");
        }
        assert_eq!(met("LD_LIBRARY_PATH", "$ORIGIN:@one", &[]), "=$ORIGIN:@one");
        for special in ["~/bin:@one", "one", "@one:", ""] {
            assert_eq!(met("PATH", special, &["x"]), format!("={special}"));
        }
        assert_eq!(met("PATH", "@two:@one", &["x"]), "0 @one\0");
        assert_eq!(met("PATH", "@two:@one:@two", &["x", "y"]), "1 @two\x000 @one\0");
        assert_eq!(met("PATH", "@empty", &["one"]), "");
    }

    #[test]
    fn who_shows_where_it_searches() {
        for w in ["-v", "-###", "-Wp,-v", "-Wl,-O1,--verbose", "-print-search-dirs", "--print-file-name=x", "-Q"] {
            assert!(shows_directories(w.as_bytes()), "{w}");
        }
        for w in ["-vx", "-fverbose-asm", "-Wl,-O1", "-Wall", "a,-v", "-D-v"] {
            assert!(!shows_directories(w.as_bytes()), "{w}");
        }
    }
}
