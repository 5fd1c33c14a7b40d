//! Which names of a directory a shell can have wanted when it listed it: a shell lists a directory to expand a pattern,
//! and the result depends on the names that match.
//!
//! Which pattern it was no call shows. So a listing is narrowed only where the text on the command line holds all
//! patterns that there can be: nothing in it is expanded, evaluated or sourced, after which another pattern might come.
//! Quotes count for nothing, and a pattern for every directory: that is more than was asked, never less. libtool's
//! script is known: it looks in its directory of objects for what the library that it makes has left there.
//!
//! Knows no shell's options; `extglob` and braces make a text one of which nothing is known.

use crate::command_text::shell_text;
use crate::tools::base_name;
use bstr::ByteSlice;
use std::sync::Arc;

/// The names that matter of a directory that was listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listed {
    /// Nobody has listed it.
    #[default]
    Not,
    /// How many they are.
    Count,
    /// Those that match one of these patterns, sorted.
    Matching(Vec<Vec<u8>>),
    All,
}

impl Listed {
    /// Somebody lists it for these.
    pub(crate) fn add(&mut self, more: Self) {
        *self = match (std::mem::take(self), more) {
            (Self::Not, other) | (other, Self::Not) => other,
            (Self::Count, Self::Count) => Self::Count,
            (Self::Matching(mut a), Self::Matching(b)) => {
                a.extend(b);
                a.sort();
                a.dedup();
                Self::Matching(a)
            }
            _ => Self::All,
        }
    }

    /// Does it matter whether this name is there?
    pub(crate) fn wants(&self, name: &[u8]) -> bool {
        match self {
            Self::Matching(patterns) => cache::observation::matched_by(patterns, name),
            _ => true,
        }
    }
}

/// What a program can want of the directories that it lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lists {
    /// Everything.
    #[default]
    All,
    /// How many names there are.
    Count,
    /// What matches a pattern on its command line.
    Words(Arc<[Vec<u8>]>),
    /// The same in libtool's directory of objects.
    Objects(Arc<[Vec<u8>]>),
}

impl Lists {
    pub(crate) fn of(&self, dir: &[u8]) -> Listed {
        match self {
            Self::Count if base_name(dir) == MARKS => Listed::Count,
            Self::Words(patterns) => Listed::Matching(patterns.to_vec()),
            Self::Objects(patterns) if OBJECTS.contains(&base_name(dir)) => Listed::Matching(patterns.to_vec()),
            Self::All | Self::Count | Self::Objects(_) => Listed::All,
        }
    }

    /// A shell with this command line.
    pub(crate) fn by_shell(argv: &[Vec<u8>], env: &[Vec<u8>]) -> Self {
        // What a shell does before the text, and how it takes it, may be told otherwise, too (bash(1), INVOCATION).
        const TOLD: &[&str] = &["BASH_ENV=", "BASH_FUNC_", "ENV=", "BASHOPTS=", "SHELLOPTS="];
        let is_told = |v: &Vec<u8>| TOLD.iter().any(|t| v.starts_with(t.as_bytes()));
        let plain = argv.get(1).is_some_and(|o| matches!(&o[..], b"-c" | b"-ec" | b"-ce" | b"-xc" | b"-exc"));
        let text = shell_text(argv).filter(|_| plain && !env.iter().any(is_told));
        match text.and_then(patterns) {
            Some(all) => Self::Words(all.into()),
            None => Self::All,
        }
    }

    /// libtool's script with this command line. In `func_mode_link` it removes of `$output_objdir/*` what is called
    /// like the library that it makes (`$libname.*`, `$libname$release.*`), and lists that directory for nothing else.
    pub(crate) fn by_libtool(argv: &[Vec<u8>]) -> Self {
        let names_objects =
            |w: &Vec<u8>| OBJECTS.iter().any(|o| w.contains_str(o)) && w.iter().any(|b| b"*?[".contains(b));
        let output = argv.windows(2).rfind(|w| w[0] == b"-o").and_then(|w| base_name(&w[1]).strip_suffix(b".la"));
        match output {
            Some(name) if argv.iter().any(|a| a == b"--mode=link") && !argv.iter().any(names_objects) => {
                Self::Objects([[name, b".*"].concat(), [name, b"-*"].concat()].into())
            }
            _ => Self::All,
        }
    }
}

/// The directory of marks of CMake's makefiles.
const MARKS: &[u8] = b"Progress";

/// The names that libtool's directory of objects can have (`lt_cv_objdir`).
pub(crate) const OBJECTS: [&[u8]; 2] = [b".libs", b"_libs"];

/// The patterns in a shell's text, sorted; `None` if there may be others.
fn patterns(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    const WORDS: &[&str] =
        &["eval", ".", "source", "read", "readarray", "mapfile", "alias", "shopt", "set", "trap", "compgen", "enable"];
    if text.iter().any(|b| b"$`{}(\\".contains(b)) {
        return None;
    }
    let words = || text.split(|b| b.is_ascii_whitespace() || b";&|<>'\"=:".contains(b)).filter(|w| !w.is_empty());
    if words().any(|w| WORDS.iter().any(|x| x.as_bytes() == w)) {
        return None;
    }
    // A set of characters has an end.
    let is_set = |part: &[u8]| part.iter().position(|b| *b == b'[').is_some_and(|i| part[i..].contains(&b']'));
    let is_pattern = |part: &&[u8]| part.iter().any(|b| b"*?".contains(b)) || is_set(part);
    // What stands in quotes, and what they are glued to, is one word to the shell.
    let glued = || text.split(|b| b.is_ascii_whitespace() || b";&|<>".contains(b));
    let clear = |w: &[u8]| w.iter().filter(|b| !b"'\"".contains(b)).copied().collect::<Vec<u8>>();
    let parts = |w: Vec<u8>| w.split(|b| *b == b'/').filter(is_pattern).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let quoted = |b: u8| text.iter().filter(|c| **c == b).count();
    // A blank in quotes would be a part of a pattern.
    if text.iter().any(|b| b"*?[".contains(b)) && quoted(b'\'') + quoted(b'"') > 0 && has_blank_in_quotes(text) {
        return None;
    }
    let mut all: Vec<Vec<u8>> = glued().flat_map(|w| parts(clear(w))).collect();
    all.sort();
    all.dedup();
    Some(all)
}

/// Is there a blank, or what ends a command, in quotes?
fn has_blank_in_quotes(text: &[u8]) -> bool {
    let mut open = None;
    for b in text {
        match (open, b) {
            (None, b'\'' | b'"') => open = Some(b),
            (Some(o), b) if o == b => open = None,
            (Some(_), b) if b.is_ascii_whitespace() || b";&|<>".contains(b) => return true,
            _ => {}
        }
    }
    open.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_texts() {
        let of =
            |t: &str| patterns(t.as_bytes()).map(|all| all.iter().map(|p| p.to_str_lossy().into_owned()).collect());
        let some = |p: &[&str]| Some(p.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        for (text, want) in [
            ("cat *.c > all", some(&["*.c"])),
            ("rm -f sub/*/x?.o *.a; gcc -c a.c", some(&["*", "*.a", "x?.o"])),
            ("cat '*'.c", some(&["*.c"])),
            ("gcc -c a.c", some(&[])),
            ("[ -f x ] && cat [ab]*", some(&["[ab]*"])),
            ("cat $F", None),
            ("cat `ls`", None),
            ("for f in *.c; do cat \"$f\"; done", None),
            ("eval cat x", None),
            (". ./x; cat *.c", None),
            ("cat {a,*}.c", None),
            ("cat 'a *.c'", None),
            ("cat \\*.c", None),
        ] {
            assert_eq!(of(text), want, "{text}");
        }
    }

    #[test]
    fn what_libtool_looks_for() {
        let of = |line: &str| {
            Lists::by_libtool(&line.split(' ').map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>()).of(b"/w/.libs")
        };
        let wants = |l: &Listed, name: &str| l.wants(name.as_bytes());
        let foo = of("/bin/sh ./libtool --mode=link gcc -o libfoo.la a.lo -rpath /l");
        assert!(wants(&foo, "libfoo.so.0") && wants(&foo, "libfoo-1.2.so") && wants(&foo, "libfoo.la"));
        assert!(!wants(&foo, "libfoobar.so") && !wants(&foo, "a.o"));
        for line in [
            "libtool --mode=link gcc -o prog a.o",
            "libtool --mode=compile gcc -o x.la",
            "libtool --mode=link gcc -o x.la .libs/*.o",
        ] {
            assert!(wants(&of(line), "a.o"), "{line}");
        }
    }

    #[test]
    fn who_lists_it_again() {
        let matching = |p: &str| Listed::Matching(vec![p.as_bytes().to_vec()]);
        let mut l = Listed::Not;
        l.add(matching("*.c"));
        l.add(matching("*.a"));
        assert!(l.wants(b"x.c") && l.wants(b"x.a") && !l.wants(b"x.o"));
        l.add(Listed::All);
        assert!(l.wants(b"x.o"));
        let mut l = Listed::Count;
        l.add(matching("*.c"));
        assert_eq!(l, Listed::All);
    }
}
