//! Tools that make, copy, move and remove files.

use super::super::arguments::{any, begins, says, short_flag};
use super::super::row::Class::Utility;
use super::super::row::{Times, Tool, tool};
use super::text::SMALL;

const BACKUPS: &[&str] = &["SIMPLE_BACKUP_SUFFIX", "VERSION_CONTROL"];

pub(super) const ROWS: &[Tool] = &[
    tool(&["cp"])
        .class(Utility)
        .variables(BACKUPS)
        .times(|argv| {
            let hands_on =
                |a: &[u8]| begins(a, &["--preserve", "--archive", "--update"]) || short_flag(a, b"pau", b"tS");
            if any(argv, hands_on) { Times::All } else { Times::None }
        })
        .minds_owners(|argv| any(argv, |a| begins(a, &["--preserve", "--archive"]) || short_flag(a, b"pa", b"tS")))
        .replaces(|argv| overwrites(argv) && !any(argv, |a| short_flag(a, b"ls", b"tS")))
        .why("cp(1): `-p`, `-a` and `-u` go by times, the first two by owners; it looks at what it replaces, by strace"),
    tool(&["install"])
        .class(Utility)
        .variables(BACKUPS)
        .times(|argv| {
            let hands_on = |a: &[u8]| a == b"--preserve-timestamps" || short_flag(a, b"p", b"gmotS");
            if any(argv, hands_on) { Times::Files } else { Times::None }
        })
        .minds_owners(|argv| {
            let names = |a: &[u8]| begins(a, &["--owner", "--group", "--compare"]) || short_flag(a, b"ogC", b"mtS");
            any(argv, names)
        })
        .replaces(overwrites)
        .why("install(1): `-p` hands times on, `-o` and `-g` name owners, `-C` compares them; it looks at what it replaces, by strace"),
    tool(&["mv"])
        .class(Utility)
        .variables(BACKUPS)
        .times(|argv| {
            let compares = |a: &[u8]| a.starts_with(b"--update") || short_flag(a, b"u", b"tS");
            if any(argv, compares) { Times::All } else { Times::None }
        })
        .replaces(overwrites)
        .minds_terminal(|argv| !is_forced(argv))
        .moves()
        .why("mv(1): to another file system it copies, with times; without `-f` it asks back on a terminal"),
    tool(&["ln"])
        .class(Utility)
        .variables(BACKUPS)
        // Without -f an old name is an error.
        .replaces(|argv| is_forced(argv) && overwrites(argv))
        .why("ln(1): with `-f` it removes what is there"),
    tool(&["rm"])
        .class(Utility)
        // Without -f a missing name is an error.
        .replaces(|argv| !is_onto_itself(argv) && any(argv, |a| a == b"--force" || short_flag(a, b"f", b"")))
        .minds_terminal(|argv| !is_forced(argv))
        .why("rm(1): with `-f` a missing name is no error, and it asks nothing"),
    tool(&["mkdir"])
        .class(Utility)
        .variables(SMALL)
        .ensures(|argv| {
            let options = || argv.iter().skip(1).filter(|a| a.starts_with(b"-"));
            options().any(|a| a != b"--") && options().all(|a| matches!(&a[..], b"-p" | b"--parents" | b"--"))
        })
        .why("mkdir(1): with `-p` alone it makes no difference whether the directory is there"),
    tool(&["rmdir", "chmod"])
        .class(Utility)
        .variables(SMALL)
        .why("coreutils' manual: what is there decides whether they fail"),
    tool(&["mktemp"])
        .class(Utility)
        .variables(SMALL)
        .invents_names()
        .asks_for_now(|argv| {
            any(argv, |a| a == b"--dry-run" || short_flag(a, b"u", b"p")).then_some("it makes up a name")
        })
        .why("mktemp(1): at least three random characters; with `-u` it makes nothing"),
    tool(&["touch"])
        .class(Utility)
        .times(|argv| {
            let refers = |a: &[u8]| a.starts_with(b"--ref") || short_flag(a, b"r", b"dt");
            if any(argv, refers) { Times::All } else { Times::None }
        })
        .asks_for_now(|argv| {
            date_of_touch(argv).is_some_and(|d| !is_absolute(d)).then_some("it reckons from the present")
        })
        .why("touch(1): `-r` hands a time on; a date that does not say its year is reckoned from now"),
    tool(&["flock"])
        .minds_owners(|_| false)
        .asks_for_now(|argv| {
            let mut options = argv.iter().skip(1).take_while(|a| a.starts_with(b"-"));
            let waits = |a: &Vec<u8>| {
                [&b"--nb"[..], b"--nonblock", b"--timeout", b"--wait"].contains(&&a[..]) || short_flag(a, b"nw", b"Ec")
            };
            options.any(waits).then_some("it asks whether somebody holds a lock")
        })
        .why("flock(1): with `-n` or `-w` the result depends on who else runs"),
];

/// Is it told of one name only? What is made from itself is refused if it is there.
fn is_onto_itself(argv: &[Vec<u8>]) -> bool {
    let operands: Vec<&Vec<u8>> = argv.iter().skip(1).filter(|a| a.first() != Some(&b'-')).collect();
    operands.len() == 2 && operands[0] == operands[1]
}

/// Not overwriting, only if older, asking, with a backup: all depend on what is there.
fn overwrites(argv: &[Vec<u8>]) -> bool {
    const NOT: &[&str] =
        &["--no-clobber", "--update", "--backup", "--interactive", "--suffix", "--link", "--symbolic-link"];
    !is_onto_itself(argv) && !any(argv, |a| begins(a, NOT) || short_flag(a, b"nubiS", b"gmot"))
}

fn is_forced(argv: &[Vec<u8>]) -> bool {
    says(argv, &["--force"]) || any(argv, |a| short_flag(a, b"f", b"tS"))
}

/// Is this a date that does not depend on the present: seconds after the epoch, or one that says its year?
pub(super) fn is_absolute(date: &[u8]) -> bool {
    let years =
        |w: &[u8]| w.len() == 4 && (w.starts_with(b"19") || w.starts_with(b"20")) && w.iter().all(u8::is_ascii_digit);
    date.starts_with(b"@") || date.split(|b| !b.is_ascii_digit()).any(years)
}

/// The date that `touch` is told; one of its own form (`-t`) as one that says its year, if it does.
fn date_of_touch(argv: &[Vec<u8>]) -> Option<&[u8]> {
    let value = |i: usize, a: &'static [u8]| {
        argv[i].strip_prefix(a).filter(|v| !v.is_empty()).or_else(|| argv.get(i + 1).map(|v| &v[..]))
    };
    let short = |i: usize, letter: u8| {
        let at = argv[i].iter().position(|b| *b == letter)?;
        let plain = argv[i].starts_with(b"-")
            && !argv[i].starts_with(b"--")
            && argv[i][1..at].iter().all(|b| b"achm".contains(b));
        plain.then(|| Some(&argv[i][at + 1..]).filter(|v| !v.is_empty()).or_else(|| argv.get(i + 1).map(|v| &v[..])))?
    };
    (1..argv.len()).find_map(|i| match &argv[i][..] {
        a if a.starts_with(b"--date=") => Some(&a[7..]),
        b"--date" => value(i, b"--date"),
        _ => short(i, b'd').or_else(|| {
            short(i, b't')
                .map(|t| if t.iter().take_while(|b| b.is_ascii_digit()).count() >= 10 { &b"@0"[..] } else { t })
        }),
    })
}
