//! Limits on resources (getrlimit(2)): which bind a command whether it asks or not, and what it learns by asking.
//!
//! Most limits are so wide that nothing meets them, and they follow the machine: the number of processes and of pending
//! signals its memory. A command that asks is told of by its system call and depends on the answer
//! ([`cache::Fact::Limit`]). A limit that may have been met unasked is part of what is known before the run: one below
//! its floor, which is the least that systems give to everybody, or what a tool needs that builds are made of. Above
//! that a limit is met only by what has run away, and that fails.

use cache::observation::LIMITS;

/// `RLIM_INFINITY`.
const NONE: u64 = u64::MAX;

/// Size of core files: whether a shell says "(core dumped)".
pub(crate) const CORE: u8 = 4;
pub(crate) const STACK: u8 = 3;

/// From where on a limit does not count by itself, soft and hard, by its number.
///
/// *Stack*: 8 MiB is what Linux gives (`_STK_LIM`); gcc raises its own to 64 MiB as far as the hard limit lets it.
/// *Core files*: nothing but what says of a child how it ended ([`crate::owners`]). *Resident memory*, *file locks*:
/// without effect (setrlimit(2)). *Message queues*: who makes one is not cached. *Niceness*, *realtime priority*: what
/// can be gained by a limit above nothing. *Processes*, *pending signals*: `make -j` of the largest machines stays
/// below. *Open files*: 1024 is what Linux gives (`INR_OPEN_CUR`). *Locked memory*: 64 KiB is what Linux gave.
const FLOORS: [(u64, u64); LIMITS.len()] = [
    (NONE, 0),
    (NONE, 0),
    (NONE, 0),
    (8 << 20, 64 << 20),
    (0, 0),
    (0, 0),
    (1024, 0),
    (1024, 0),
    (64 << 10, 0),
    (NONE, 0),
    (0, 0),
    (1024, 0),
    (0, 0),
    (0, 0),
    (0, 0),
    (NONE, 0),
];

/// Of these a limit is a permission: any but none counts.
const GIVE: [usize; 2] = [13, 14];

/// Soft and hard limit of each line of `/proc/PID/limits`, which are in the order of their numbers.
fn pairs(text: &[u8]) -> impl Iterator<Item = (u64, u64)> + '_ {
    // A name has blanks; the columns are at fixed places (`proc_pid_limits` in fs/proc/base.c: "%-25s %-20s %-20s").
    let column = |line: &[u8], at: usize| {
        let word = line.get(at..).unwrap_or_default().split(|b| *b == b' ').next().unwrap_or_default();
        std::str::from_utf8(word).ok().and_then(|w| w.parse().ok()).unwrap_or(NONE)
    };
    text.split(|b| *b == b'\n').skip(1).filter(|l| !l.is_empty()).map(move |l| (column(l, 26), column(l, 47)))
}

/// The limits that may bind a command which does not ask for any: number, soft and hard, in text.
pub fn tight(text: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for (n, (soft, hard)) in pairs(text).enumerate() {
        let (floor, ceiling) = FLOORS.get(n).copied().unwrap_or((NONE, 0));
        if soft < floor || hard < ceiling || GIVE.contains(&n) && soft > 0 {
            all.extend_from_slice(format!("{n} {soft} {hard}\n").as_bytes());
        }
    }
    all
}

/// What who asks for limit `n` learns, or who sets it: with these `rights` ([`crate::command::Limits::rights`]).
pub(crate) fn told(text: &[u8], n: u8, rights: &[u8]) -> Vec<u8> {
    // CAP_SYS_RESOURCE raises hard limits (capabilities(7)).
    const RAISES: u64 = 1 << 24;
    let effective = rights.split(|b| *b == b'\n').rfind(|l| !l.is_empty()).and_then(|l| std::str::from_utf8(l).ok());
    let raises = effective.and_then(|l| u64::from_str_radix(l, 16).ok()).is_some_and(|c| c & RAISES != 0);
    let value = |(soft, hard)| format!("{soft} {hard} {raises}").into_bytes();
    pairs(text).nth(n.into()).map_or_else(Vec::new, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(change: &[(usize, &str, &str)]) -> Vec<u8> {
        let mut text = format!("{:<26}{:<21}{:<21}{}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
        for n in 0..LIMITS.len() {
            let usual = match n {
                3 => ("8388608", "unlimited"),
                6 | 11 => ("7823", "7823"),
                7 => ("1024", "1048576"),
                8 => ("8388608", "8388608"),
                13 | 14 => ("0", "0"),
                _ => ("unlimited", "unlimited"),
            };
            let (soft, hard) = change.iter().find(|c| c.0 == n).map_or(usual, |c| (c.1, c.2));
            text.push_str(&format!("{:<26}{soft:<21}{hard:<21}units\n", format!("Max limit {n}")));
        }
        text.into_bytes()
    }

    #[test]
    fn what_was_perhaps_met() {
        for (n, soft, hard, counts) in [
            (3, "16777216", "unlimited", false),
            (3, "unlimited", "unlimited", false),
            (3, "4194304", "unlimited", true),
            (3, "8388608", "8388608", true),
            (4, "0", "unlimited", false),
            (6, "127000", "127000", false),
            (6, "20", "20", true),
            (7, "1048576", "1048576", false),
            (7, "256", "1048576", true),
            (0, "60", "unlimited", true),
            (1, "1000000", "unlimited", true),
            (9, "1000000000", "unlimited", true),
            (14, "95", "95", true),
        ] {
            assert_eq!(!tight(&limits(&[(n, soft, hard)])).is_empty(), counts, "{n} {soft} {hard}");
        }
        assert_eq!(tight(&limits(&[])), b"");
        assert_eq!(tight(&limits(&[(7, "64", "128")])), b"7 64 128\n");
    }

    #[test]
    fn what_is_asked_for() {
        let (root, user) = (b"0\n0\n\n000001ffffffffff\n", b"7\n7\n7 8\n0000000000000000\n");
        assert_eq!(told(&limits(&[]), 7, root), b"1024 1048576 true");
        assert_eq!(told(&limits(&[]), 7, user), b"1024 1048576 false");
        assert_eq!(told(&limits(&[]), 99, user), b"");
        let own = std::fs::read("/proc/self/limits").expect("limits");
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let number = |n: Option<u64>| n.unwrap_or(NONE);
        assert_eq!(
            told(&own, 7, user),
            format!("{} {} false", number(files.current), number(files.maximum)).into_bytes()
        );
        assert_eq!(pairs(&own).count(), LIMITS.len());
    }
}
