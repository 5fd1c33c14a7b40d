//! What a script's text gives away of what it asks about its standard input: nothing, whether that is a terminal, or
//! more.
//!
//! A search for words, as in [`crate::scripts`]. What compiled programs do with standard input is seen, and no business
//! of this.

use crate::accesses::Stdin;
use bstr::ByteSlice;

/// Words by which scripts find out what standard input is.
const STDIN: &[&str] = &["stdin", "STDIN", "isatty", "-t 0", "-t)", "(-t", "-t;", "tty(", "fstat(0", "fd/0"];
/// Those of shells: whatever else they ask goes through a name or another program, which is seen.
const STDIN_OF_SHELLS: &[&str] =
    &["-t 0", "-t \"", "-t '", "-t $", "-t 3", "-t 4", "-t 5", "-t 6", "-t 7", "-t 8", "-t 9"];
/// Files by which they, or what they start, get at a descriptor by its number.
const DESCRIPTORS: &[&str] = &["/dev/fd", "/self/fd", "/$$/fd"];

/// Words of those that find out more than whether it is a terminal.
const KIND_OF_STDIN: &[&str] = &[
    "fstat",
    "stat(",
    "stat STDIN",
    "S_IS",
    "select(",
    "IO.select",
    "selector",
    "poll(",
    "seek(",
    "seek STDIN",
    "tell(",
    "tell STDIN",
    "fcntl",
    "FIONREAD",
    "fd/0",
];

/// Is this an option of `read` that names a descriptor or a time to wait, maybe after others without arguments
/// (`-ru3`)?
fn names_descriptor_or_wait(word: &[u8]) -> bool {
    word.strip_prefix(b"-").and_then(|w| w.iter().find(|b| !b"ers".contains(b))).is_some_and(|b| b"ut".contains(b))
}

/// What may the text of a script ask about standard input? Shells may also read it by another number (`read -u 10`), or
/// ask whether there is something to read (`read -t 0`).
pub(crate) fn asks(text: &[u8], shell: bool) -> Stdin {
    let reads = |l: &[u8]| {
        let mut words = l.split(|b| b" \t;|&(){}`\"'\\".contains(b));
        words.any(|w| matches!(w, b"read" | b"mapfile" | b"readarray")) && words.any(names_descriptor_or_wait)
    };
    // Tests of perl's on a handle: `-p STDIN`, `-s(STDIN)`.
    let tests = || {
        text.find_iter("STDIN")
            .any(|i| matches!(text[..i].trim_end_with(|c| " (*\\".contains(c)), [.., b'-', t] if *t != b't'))
    };
    match () {
        () if shell && (text.lines().any(reads) || DESCRIPTORS.iter().any(|w| text.contains_str(w))) => Stdin::Used,
        () if shell => STDIN_OF_SHELLS.iter().find(|w| text.contains_str(w)).map_or(Stdin::Unused, |_| Stdin::Asked),
        () if !STDIN.iter().any(|w| text.contains_str(w)) => Stdin::Unused,
        () if KIND_OF_STDIN.iter().any(|w| text.contains_str(w)) || tests() => Stdin::Used,
        () => Stdin::Asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_standard_input_is_matters_to_whom_asks() {
        for (text, of_a_shell) in [
            ("[ -t 0 ]", true),
            ("if test -t \"$fd\"; then", true),
            ("if sys.stdin.isatty():", false),
            ("-t STDIN", false),
        ] {
            assert_eq!(asks(text.as_bytes(), of_a_shell), Stdin::Asked, "{text}");
        }
        for text in [
            "read -r -u $n x",
            "mapfile -u 11 lines",
            "if read -t 0; then",
            "eval \"read -ru3 x\"",
            "cat /dev/fd/5",
            "a=`read -t\"$n\"`",
        ] {
            assert_eq!(asks(text.as_bytes(), true), Stdin::Used, "{text}");
        }
        for text in ["os.fstat(0)", "print if -p STDIN", "-s(\\*STDIN)", "select([sys.stdin], [], [])"] {
            assert_eq!(asks(text.as_bytes(), false), Stdin::Used, "{text}");
        }
        for text in [
            "func_quote_arg pretty \"$2\"",
            "# redirects stdin",
            "while read x; do sort; done < f",
            "read -r x",
            "gcc -pthread -mt",
        ] {
            assert_eq!(asks(text.as_bytes(), true), Stdin::Unused, "{text}");
        }
        assert_eq!(asks(b"print('-to-')", false), Stdin::Unused);
    }
}
