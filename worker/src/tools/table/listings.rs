//! Tools that tell what is known of files: their names, states and times.

use super::super::arguments::{any, begins, has_directive, prints, says, short_flag};
use super::super::row::{Asks, Times, Tool, Uname, tool};
use super::files::is_absolute;

const PRESENT: Option<&str> = Some("it compares times with the present");
const INODES: Option<&str> = Some("it tells inode numbers, or times of access or change");

pub(super) const ROWS: &[Tool] = &[
    tool(&["find"])
        .only_faster()
        .uname(|_| Uname::NONE)
        .minds_owners(|argv| {
            let words = ["-user", "-group", "-uid", "-gid", "-nouser", "-nogroup", "-ls", "-fls", "-f", "-files0-from"];
            says(argv, &words) || prints(argv, b"ugUG")
        })
        .times(|argv| {
            let asks = any(argv, |a| a.starts_with(b"-newer") || a == b"-links") || prints(argv, b"tTn");
            if asks { Times::All } else { Times::None }
        })
        .asks_for_now(asks_find)
        .asks_accounts(|argv| {
            let names = any(argv, |a| begins(a, &["-user", "-group", "-nouser", "-nogroup", "-f"]));
            (!names).then_some(Asks::Owners)
        })
        .hands_out(|argv| says(argv, &["-exec", "-execdir"]))
        .why(
            "find(1), \"TESTS\" and `-printf`: which are about times, and owners; `check_nofollow` asks for Linux 2.2",
        ),
    tool(&["stat"])
        .times(|_| Times::All)
        .asks_for_now(asks_stat)
        .asks_accounts(|_| Some(Asks::Owners))
        .why("stat(1): what its formats show"),
    tool(&["id", "whoami"])
        .asks_accounts(|argv| (!any(argv, |a| !a.starts_with(b"-"))).then_some(Asks::Own))
        .why("id(1), whoami(1): without a name they tell their own user and groups"),
    tool(&["ls"])
        .only_faster()
        .minds_owners(|argv| {
            let long = ["--full", "--format", "--author", "--numeric"];
            any(argv, |a| begins(a, &long) || short_flag(a, b"lgno", b"ITw"))
        })
        .times(|argv| {
            let long = ["--full", "--sort", "--time", "--format", "--author"];
            let shows = any(argv, |a| begins(a, &long) || short_flag(a, b"lgnot", b"ITw"));
            if shows { Times::All } else { Times::None }
        })
        .lays_out(|argv| any(argv, |a| begins(a, &["--format", "--color"]) || short_flag(a, b"Cxm", b"ITw")))
        .asks_for_now(asks_ls)
        .asks_accounts(|_| Some(Asks::Owners))
        .why("ls(1): long forms show times, `-i` inodes; one name a line where no terminal is, unless told otherwise"),
    tool(&["dir", "vdir"]).lays_out(|_| true).why("dir(1): as `ls -C` and `ls -l`, terminal or not"),
    tool(&["diff"])
        .only_faster()
        .minds_owners(|_| false)
        .times(|argv| {
            let shows = any(argv, |a| {
                begins(a, &["--unified", "--context", "--new-file"]) || short_flag(a, b"ucUCN", b"xXIFSDW")
            });
            if shows { Times::Files } else { Times::None }
        })
        .why("diff(1): what it prints before each file of a context or unified diff shows the time"),
    tool(&["which", "file", "env"])
        .times(|_| Times::None)
        .only_faster()
        .minds_owners(|_| false)
        .why("which(1), file(1), env(1): they look for programs or into files, and at no time or owner"),
];

fn asks_find(argv: &[Vec<u8>]) -> Option<&'static str> {
    // `-newerXY`: a, B and c are times of access, birth and change.
    let newer =
        |a: &[u8]| a.strip_prefix(b"-newer").is_some_and(|xy| xy.len() == 2 && xy.iter().any(|b| b"aBc".contains(b)));
    let of_now = |w: &[Vec<u8>]| w[0].starts_with(b"-newer") && w[0].ends_with(b"t") && !is_absolute(&w[1]);
    match () {
        () if says(argv, &["-mtime", "-mmin", "-atime", "-amin", "-ctime", "-cmin", "-used"]) => PRESENT,
        () if says(argv, &["-cnewer", "-anewer", "-ls", "-inum", "-samefile"]) || prints(argv, b"aAcCikb") => INODES,
        () if any(argv, newer) => Some("it compares times of access or change"),
        () if argv.windows(2).any(of_now) => PRESENT,
        () => None,
    }
}

fn asks_stat(argv: &[Vec<u8>]) -> Option<&'static str> {
    match () {
        () if any(argv, |a| a == b"--file-system" || short_flag(a, b"f", b"c")) => {
            Some("it tells how much room is left")
        }
        () if format_of_stat(argv).is_none_or(|f| has_directive(f, b"iXxZzWwbB")) => INODES,
        () => None,
    }
}

/// The format that `stat` is given.
fn format_of_stat(argv: &[Vec<u8>]) -> Option<&[u8]> {
    let next = |a: &[u8]| matches!(a, b"--format" | b"--printf") || a.ends_with(b"c") && short_flag(a, b"c", b"");
    let own = |a: &'_ [u8]| {
        [&b"--format="[..], b"--printf=", b"-c"].iter().find_map(|p| Some(a.len() - a.strip_prefix(*p)?.len()))
    };
    argv.iter()
        .enumerate()
        .find_map(|(i, a)| if next(a) { argv.get(i + 1).map(Vec::as_slice) } else { a.get(own(a)?..) })
}

fn asks_ls(argv: &[Vec<u8>]) -> Option<&'static str> {
    match () {
        () if any(argv, |a| a.strip_prefix(b"--time=").is_some_and(|t| !t.starts_with(b"m"))) => {
            Some("it tells times of access or change")
        }
        // How `./configure` scripts find out whether two names are of one directory.
        () if argv.iter().skip(1).map(Vec::as_slice).eq([&b"-di"[..], b"."]) => None,
        () if any(argv, |a| a == b"--size" || a == b"--inode" || short_flag(a, b"scui", b"ITw")) => {
            Some("it tells inode numbers, times of access or change, or how much room files take")
        }
        () => None,
    }
}
