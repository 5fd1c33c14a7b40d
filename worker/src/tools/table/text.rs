//! Small tools for text, and generators of scanners and parsers.

use super::super::arguments::{any, short_flag};
use super::super::row::Class::Utility;
use super::super::row::{Times, Tool, tool};

/// What the smallest of coreutils read.
pub(super) const SMALL: &[&str] = &["TMPDIR", "PWD"];

const fn small(names: &'static [&'static str]) -> Tool {
    tool(names).class(Utility).variables(SMALL)
}

pub(super) const ROWS: &[Tool] = &[
    small(&["echo", "true", "false", "printf", "cat", "pwd", "expr"])
        .trivial()
        .why("coreutils' manual; configure probes print with these"),
    small(&["basename", "dirname", "readlink", "realpath", "seq"]).why("coreutils' manual: they take names apart"),
    small(&["cut", "tr", "head", "tail", "wc", "tee", "uniq", "comm", "cmp", "paste", "join", "fold", "nl", "od"])
        .why("coreutils' and diffutils' manuals: they read text and write text"),
    small(&["sleep"]).only_waits().why("sleep(1): it makes nothing"),
    tool(&["sort"])
        .class(Utility)
        .variables(&["TMPDIR"])
        .asks_for_now(|argv| any(argv, shuffles).then_some("it makes a random order"))
        .why("sort(1): `-R` shuffles"),
    tool(&["sed"])
        .class(Utility)
        .variables(&["COLS"])
        .copies_modes()
        .why("sed's manual: COLS for `l`; `-i` gives the new file the mode of the old one"),
    tool(&["grep", "egrep", "fgrep"])
        .class(Utility)
        .variables(&["GREP_*", "DEB_GREP_*"])
        .why("grep's manual, \"Environment Variables\""),
    tool(&["m4"]).class(Utility).variables(&["M4PATH", "TMPDIR"]).why("m4's manual, \"Search Path\""),
    tool(&["bison", "yacc"])
        .class(Utility)
        .variables(&["M4", "BISON_*", "PATH", "TMPDIR", "M4PATH"])
        .why("bison's manual, and the names in the program: it starts m4"),
    tool(&["flex", "lex"])
        .class(Utility)
        .variables(&["M4", "PATH", "TMPDIR", "M4PATH"])
        .why("flex's manual: it starts m4"),
    tool(&["shuf"]).never_the_same("it makes a random order").why("shuf(1): a random permutation"),
    tool(&["column", "tput", "infocmp", "dircolors", "clear"])
        .lays_out(|_| true)
        .why("column(1), tput(1): they ask for the terminal's kind and width, whether there is one or not"),
    tool(&["pr"])
        .times(|_| Times::Files)
        .lays_out(|_| true)
        .why("pr(1): the head of each page shows the file's time; lines are laid out"),
];

fn shuffles(word: &[u8]) -> bool {
    word.starts_with(b"--ra")
        || word.starts_with(b"--so") && bstr::ByteSlice::contains_str(word, "=r")
        || short_flag(word, b"R", b"StTo")
        || sorts_by(word)
}

/// A key of `sort`: `-k1,1R`, or `1,1R` after `-k`.
fn sorts_by(word: &[u8]) -> bool {
    let key = word.strip_prefix(b"--key=").unwrap_or(word);
    key.ends_with(b"R")
        && key.iter().all(|b| b.is_ascii_alphanumeric() || b",.".contains(b))
        && key.first().is_some_and(u8::is_ascii_digit)
}
