//! git: which of its commands depend on the present.

use super::super::row::{Tool, tool};
use bstr::ByteSlice;

pub(super) const ROWS: &[Tool] = &[tool(&["git"])
    .asks_for_now(asks)
    .tells_dates()
    .only_faster()
    .hands_on_limits(|_| true)
    .why("git-commit(1), gitrevisions(7), git-log(1): times of commits, and dates that are reckoned from now")];

/// git notes the time when it makes commits, tags or entries of its logs, and compares with the present wherever a date
/// is not a number (gitrevisions(7), git-log(1), "date" in its `approxidate`: what a date does not say is taken from
/// now).
fn asks(argv: &[Vec<u8>]) -> Option<&'static str> {
    const COMPARES: Option<&str> = Some("it compares times with the present");
    let mut words = argv.iter().skip(1).map(Vec::as_slice);
    let mut settings = Vec::new();
    let command = loop {
        match words.next()? {
            b"-c" => settings.extend(words.next()),
            b"-C" | b"--git-dir" | b"--work-tree" | b"--namespace" | b"--config-env" | b"--super-prefix" => {
                _ = words.next()
            }
            w if w.starts_with(b"-") => {}
            w => break w,
        }
    };
    let rest: Vec<&[u8]> = words.collect();
    let any = |f: &dyn Fn(&&&[u8]) -> bool| rest.iter().any(|w| f(&w));
    let says = |w: &[u8]| ["relative", "human", "auto", "%ar", "%cr", "%ah", "%ch"].iter().any(|f| w.contains_str(f));
    let sets = |w: &&[u8]| {
        let name = w.to_ascii_lowercase();
        says(w)
            && [&b"log.date="[..], b"blame.date=", b"format.pretty=", b"pretty."].iter().any(|k| name.starts_with(k))
    };
    let shows = |w: &[u8]| {
        ["%ar", "%cr", "%ah", "%ch", ":relative", ":human"].iter().any(|f| w.contains_str(f))
            || [&b"--date=relative"[..], b"--date=human", b"--date=auto", b"--relative-date"]
                .iter()
                .any(|d| w.starts_with(d))
    };
    let separate = rest.windows(2).any(|w| w[0] == b"--date" && says(w[1]));
    let until = [&b"--since"[..], b"--after", b"--until", b"--before", b"--expire"];
    // `@{1}` is a place in the log, `@{u}` a branch.
    let dated = |w: &[u8]| {
        w.find(b"@{").is_some_and(|i| {
            let inner = w[i + 2..].split(|b| *b == b'}').next().unwrap_or_default();
            let place = inner.iter().all(|b| b.is_ascii_digit() || *b == b'-');
            !(place || ["u", "upstream", "push"].iter().any(|n| inner.eq_ignore_ascii_case(n.as_bytes())))
        })
    };
    match command {
        b"commit" | b"commit-tree" | b"am" | b"rebase" | b"cherry-pick" | b"revert" | b"merge" | b"stash" | b"pull"
        | b"clone" | b"fetch" | b"checkout" | b"switch" | b"reset" | b"notes" | b"gc" | b"var" => {
            Some("it notes the time")
        }
        // Neither looks into a file whose state is that of the index.
        b"diff-index" | b"diff-files" => Some("it compares inode numbers and times of change"),
        b"tag"
            if any(&|w| {
                [&b"-a"[..], b"-s", b"-u", b"-m", b"-F", b"--annotate", b"--sign", b"--message", b"--file"].contains(w)
            }) =>
        {
            Some("it notes the time")
        }
        // Of a tree, not of a commit, and what is a hash may be either.
        b"archive"
            if any(&|w| {
                w.contains(&b':') || w.contains_str("^{tree") || w.len() > 6 && w.iter().all(u8::is_ascii_hexdigit)
            }) =>
        {
            Some("it notes the time in archives of trees")
        }
        _ if separate
            || settings.iter().any(sets)
            || any(&|w| shows(w) || dated(w) || until.iter().any(|u| w.starts_with(u))) =>
        {
            COMPARES
        }
        _ => None,
    }
}
