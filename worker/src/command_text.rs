//! Commands as texts in one form, in which what was executed can be compared with what a build file says.
//!
//! Knows shells, and nothing of build files. Layout is lost on purpose: build files break lines where nobody executes
//! them.

use crate::tools::is_shell;

/// The text of `sh [options] -c TEXT`; `None` for a script or standard input.
pub fn shell_text(argv: &[Vec<u8>]) -> Option<&[u8]> {
    let mut c = false;
    let mut words = argv.iter().skip(1);
    while let Some(w) = words.next() {
        match &w[..] {
            b"--" => return words.next().filter(|_| c).map(Vec::as_slice),
            w if w.starts_with(b"--") => {}
            [b'-' | b'+', letters @ ..] if !letters.is_empty() => {
                c |= w[0] == b'-' && letters.contains(&b'c');
                if letters.last() == Some(&b'o') || letters == b"O" {
                    words.next();
                }
            }
            text => return c.then_some(text),
        }
    }
    None
}

/// A command in which white space runs are one blank. The words of a command that was executed without a shell are
/// joined.
pub fn normalised(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let words = text.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty() && *w != b"\\");
    for w in words {
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(w);
    }
    out
}

/// What was executed, normalised: the text of `sh -c`, else the words.
pub fn executed(argv: &[Vec<u8>]) -> Vec<u8> {
    let shell = argv.first().is_some_and(|p| is_shell(p));
    match shell_text(argv).filter(|_| shell) {
        Some(text) => normalised(text),
        None => normalised(&argv.join(&b' ')),
    }
}

/// A normalised command that was executed by a make that was started as `name`, in the words of a make that was told
/// that `$(MAKE)` is `:`.
pub fn with_make_as_colon(text: &[u8], name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut i = 0;
    let ends_word =
        |b: Option<&u8>| b.is_none_or(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/' | b'.')));
    while i < text.len() {
        let begins = i == 0 || ends_word(text.get(i - 1));
        if begins && !name.is_empty() && text[i..].starts_with(name) && ends_word(text.get(i + name.len())) {
            out.push(b':');
            i += name.len();
        } else {
            out.push(text[i]);
            i += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_compared_without_layout() {
        let v = |s: &[&str]| s.iter().map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(normalised(b"gcc  -c a.c \\\n\t-o a.o"), executed(&v(&["gcc", "-c", "a.c", "-o", "a.o"])));
        assert_eq!(executed(&v(&["/bin/sh", "-c", "cd x;  y"])), normalised(b"cd x; y"));
        assert_eq!(executed(&v(&["bash", "-eu", "-o", "pipefail", "-c", "x y"])), b"x y");
        assert_eq!(executed(&v(&["ssh", "-c", "aes", "host"])), b"ssh -c aes host");
    }

    #[test]
    fn the_name_of_make_is_a_colon() {
        assert_eq!(with_make_as_colon(b"cd make && make -C make-dir x; make", b"make"), b"cd : && : -C make-dir x; :");
    }
}
