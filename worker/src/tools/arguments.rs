//! How command lines are taken apart: options of one letter, formats with directives.
//!
//! Knows no program: which letters take a value, the row of a tool says.

/// Is one of the words after the program's name like this?
pub(crate) fn any(argv: &[Vec<u8>], f: impl Fn(&[u8]) -> bool) -> bool {
    argv.iter().skip(1).any(|a| f(a))
}

/// Is one of these among the words after the program's name?
pub(crate) fn says(argv: &[Vec<u8>], words: &[&str]) -> bool {
    any(argv, |a| words.iter().any(|w| w.as_bytes() == a))
}

/// Does the word begin with one of these?
pub(crate) fn begins(word: &[u8], with: &[&str]) -> bool {
    with.iter().any(|w| word.starts_with(w.as_bytes()))
}

/// Does the format of `find -printf` have one of these letters?
pub(crate) fn prints(argv: &[Vec<u8>], letters: &[u8]) -> bool {
    argv.windows(2).any(|w| matches!(&w[0][..], b"-printf" | b"-fprintf") && has_directive(&w[1], letters))
}

/// `%` and one of these letters, with flags and a width between.
pub(crate) fn has_directive(format: &[u8], letters: &[u8]) -> bool {
    let directive = |rest: &[u8]| rest.iter().find(|b| !(b.is_ascii_digit() || b"#-+ .".contains(b))).copied();
    format.split(|b| *b == b'%').skip(1).filter_map(directive).any(|l| letters.contains(&l))
}

/// `-xyz` holds one of `letters`. What follows one of `valued` is its value.
pub(crate) fn short_flag(a: &[u8], letters: &[u8], valued: &[u8]) -> bool {
    let flags = a.strip_prefix(b"-").filter(|rest| !rest.starts_with(b"-")).unwrap_or_default();
    let end = flags.iter().position(|c| letters.contains(c) || valued.contains(c));
    end.is_some_and(|i| letters.contains(&flags[i]))
}
