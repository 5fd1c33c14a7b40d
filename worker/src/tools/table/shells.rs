//! Shells, and the commands by which they compare files.

use super::super::arguments::{any, says};
use super::super::languages::SHELL;
use super::super::row::Class::{Shell, Utility};
use super::super::row::{Asks, Times, Tool, Uname, tool};
use super::text::SMALL;
use bstr::ByteSlice;

/// Variables of bash (bash(1), "Shell Variables") and of other shells. What a text names counts besides.
const VARIABLES: &[&str] = &[
    "PATH",
    "PWD",
    "IFS",
    "ENV",
    "BASH_ENV",
    "CDPATH",
    "PS4",
    "SHELLOPTS",
    "BASHOPTS",
    "HOME",
    "BASH_FUNC_*",
    "BASH_COMPAT",
    "FUNCNEST",
    "EXECIGNORE",
    "GLOBIGNORE",
    "TIMEFORMAT",
    "TMOUT",
];

const fn shell(names: &'static [&'static str]) -> Tool {
    tool(names)
        .class(Shell)
        .variables(VARIABLES)
        .runs(&SHELL)
        .times(compares)
        // bash(1), "HOME", "SHELL"; dash(1): for the home directory, and `~name`.
        .asks_accounts(|_| Some(Asks::Own))
        .asks_for_now(|argv| if asks_for_access(argv) { ACCESS } else { asks_for_identity(argv) })
}

pub(super) const ROWS: &[Tool] = &[
    shell(&["sh"]).why("POSIX, XCU 2: any shell may be behind the name"),
    shell(&["bash"])
        .knocks(1)
        .uname(|_| Uname::NONE)
        .why("bash(1); at its start, by strace: /dev/tty, and uname for HOSTNAME, which a text names if it counts"),
    shell(&["dash"])
        .changing_variables(&["PPID"])
        .why("dash(1): of the variables that change from run to run it has only PPID"),
    tool(&["ksh", "zsh"]).runs(&SHELL).why("shells of which only the language is known"),
    tool(&["busybox"])
        .runs(&SHELL)
        .times(|argv| {
            if is_applet(argv, &["tar", "cpio", "ls", "stat", "find", "cp", "touch"]) {
                Times::All
            } else {
                Times::Unread
            }
        })
        .why("busybox(1): many programs in one, told by the first words"),
    tool(&["toybox"])
        .times(|argv| {
            if is_applet(argv, &["tar", "cpio", "ls", "stat", "find", "cp", "touch"]) {
                Times::All
            } else {
                Times::Unread
            }
        })
        .why("toybox(1): many programs in one, told by the first words"),
    tool(&["test", "["])
        .class(Utility)
        .variables(SMALL)
        .times(compares)
        .minds_terminal(|_| true)
        .minds_owners(|argv| says(argv, &["-O", "-G"]))
        .asks_for_now(|argv| if says(argv, &["-N"]) { ACCESS } else { asks_for_identity(argv) })
        .trivial()
        .why("test(1): `-t` asks for a terminal, `-nt` and `-ot` for times, `-N` for that of access, `-O` and `-G` for owners"),
    tool(&[":", "exit"]).trivial().why("built into shells (POSIX, XCU 2.14)"),
    tool(&["bash*"]).knocks(1).why("bash under another name (`bash-static`): it opens /dev/tty as bash does"),
];

const ACCESS: Option<&str> = Some("it asks for a time of access");

fn is_applet(argv: &[Vec<u8>], applets: &[&str]) -> bool {
    argv.iter().take(2).any(|a| applets.iter().any(|n| n.as_bytes() == super::super::base_name(a)))
}

fn asks_for_access(argv: &[Vec<u8>]) -> bool {
    any(argv, |a| a.contains_str("[ -N ") || a.contains_str("test -N "))
}

fn asks_for_identity(argv: &[Vec<u8>]) -> Option<&'static str> {
    any(argv, |a| a.split_str(" ").any(|w| w == b"-ef")).then_some("it asks whether two names are of one file")
}

/// A shell looks at its own directory to know where it is, unless it is told to compare that one.
fn compares(argv: &[Vec<u8>]) -> Times {
    let words: Vec<&[u8]> = argv.iter().skip(1).flat_map(|a| a.fields()).collect();
    match words.iter().any(|w| matches!(*w, b"-nt" | b"-ot")) {
        true if compares_directories(&words) => Times::All,
        true => Times::Elsewhere,
        false => Times::None,
    }
}

/// Might `-nt` or `-ot` be asked about a directory on the way: `.`, `..`, a variable's value?
fn compares_directories(words: &[&[u8]]) -> bool {
    let plain = |w: Option<&&[u8]>| {
        w.is_some_and(|w| w.iter().any(|b| !b"./".contains(b)) && !w.iter().any(|b| b"$`\"'*?[~".contains(b)))
    };
    words.iter().enumerate().any(|(i, w)| {
        matches!(*w, b"-nt" | b"-ot")
            && !(plain(i.checked_sub(1).and_then(|i| words.get(i))) && plain(words.get(i + 1)))
    })
}
