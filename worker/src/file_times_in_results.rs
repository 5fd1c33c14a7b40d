//! Does what a program made show the time of a file that it looked at? Then it depends on that time, whoever made it
//! and however it asked: by name, or through a file that it had open (`fstat`), which nobody sees.
//!
//! A search for the forms in which programs write a modification time: seconds since 1970 and thousandths, millionths,
//! billionths of them, in decimal and as binary numbers of 4 or 8 bytes in both orders (also since 1904 and 1601, and
//! as zip has them), in octal as in archives, a time of day, a date. It finds nothing in what is compressed: programs
//! that put times there are rows of [`crate::file_times`]. One pass over the bytes with look-ups in sets, however many
//! files there are: for each byte a bit that tells whether a number may begin there is all that is looked at. Binary
//! numbers are not looked for in texts, where four letters are a number, too. What is found by chance costs a needless
//! miss when that time changes.

use crate::accesses::{Accesses, Program};
use crate::clock_in_results;
use crate::record::{Image, Record};
use bstr::ByteSlice;
use cache::PathBytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustc_hash::{FxHashMap, FxHashSet};

/// Dates of so many days are looked for, the newest: each has some forty forms.
const DAYS: usize = 16;

/// Seconds before 1970 from which others count: QuickTime and OpenType from 1904, Windows, in tenths of microseconds,
/// from 1601.
const SINCE_1904: i64 = 2_082_844_800;
const SINCE_1601: i64 = 11_644_473_600;

/// Times in seconds since 1970, and how they look.
pub(crate) struct Sought {
    /// What a run of digits means, as a number.
    decimals: FxHashMap<u64, i64>,
    /// The lower halves of binary numbers: what the upper ones must be, `None` if there may be none, and the time.
    binaries: FxHashMap<u32, Vec<(Option<u32>, i64)>>,
    /// Which upper halves the numbers of `binaries` have: a bit for each.
    begins: Vec<u64>,
    /// Seconds of the day, here and in UTC.
    of_day: FxHashMap<i64, Vec<i64>>,
    dates: Vec<(Vec<u8>, Vec<i64>)>,
}

impl Sought {
    /// `times` are modification times in nanoseconds since 1970; `env` names the time zone.
    pub(crate) fn new(times: impl Iterator<Item = i128>, env: &[Vec<u8>]) -> Self {
        let here = clock_in_results::zone(env);
        let mut s = Self {
            decimals: FxHashMap::default(),
            binaries: FxHashMap::default(),
            begins: vec![0; 1 << 10],
            of_day: FxHashMap::default(),
            dates: Vec::new(),
        };
        let mut days: Vec<(i64, Vec<i64>)> = Vec::new();
        for ns in times.collect::<FxHashSet<i128>>() {
            let Ok(whole) = i64::try_from(ns.div_euclid(1_000_000_000)) else { continue };
            // Archives that are to be the same each time have the epoch, or the second after it, and many a number is
            // that small.
            if whole < clock_in_results::DAY * 365 {
                continue;
            }
            s.decimals.insert(whole.cast_unsigned(), whole);
            for since in [0, SINCE_1904] {
                s.number((whole + since).cast_unsigned(), None, whole);
            }
            for (since, unit) in [(0, 1_000_000), (0, 1_000), (0, 1), (SINCE_1601, 100)] {
                let n = (ns + i128::from(since) * 1_000_000_000).div_euclid(unit);
                s.number(n as u64, Some((n >> 32) as u32), whole);
            }
            for zone in [&TimeZone::UTC, &here] {
                let Ok(time) = Timestamp::from_second(whole).map(|t| t.to_zoned_datetime(zone.clone())) else {
                    continue;
                };
                for form in ["%Y%m%d%H%M%S", "%Y%m%d%H%M"] {
                    s.decimals.extend(time.strftime(form).to_string().parse::<u64>().map(|n| (n, whole)));
                }
                let halves = [
                    (i64::from(time.year()) - 1980) << 9 | i64::from(time.month()) << 5 | i64::from(time.day()),
                    i64::from(time.hour()) << 11 | i64::from(time.minute()) << 5 | i64::from(time.second()) >> 1,
                ];
                s.number((halves[0] << 16 | halves[1]).cast_unsigned(), None, whole);
                let offset = i64::from(time.offset().seconds());
                s.of_day.entry((whole + offset).rem_euclid(clock_in_results::DAY)).or_default().push(whole);
                let day = (whole + offset).div_euclid(clock_in_results::DAY);
                match days.iter_mut().find(|(d, _)| *d == day) {
                    Some((_, all)) => all.push(whole),
                    None => days.push((day, vec![whole])),
                }
            }
        }
        days.sort_unstable_by_key(|(d, _)| std::cmp::Reverse(*d));
        for (day, all) in days.into_iter().take(DAYS) {
            let time = Timestamp::from_second(day * clock_in_results::DAY)
                .unwrap_or_default()
                .to_zoned_datetime(TimeZone::UTC);
            s.dates.extend(clock_in_results::dates(&time).map(|d| (d, all.clone())));
        }
        s
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.decimals.is_empty()
    }

    /// A number whose upper half may be missing, or has to be `high`.
    fn number(&mut self, n: u64, high: Option<u32>, time: i64) {
        let low = n as u32;
        self.begins[(low >> 22) as usize] |= 1 << (low >> 16 & 63);
        self.binaries.entry(low).or_default().push((high, time));
    }

    /// The times that these bytes show. `told` says whether a word comes from somewhere else: it is asked about dates,
    /// of which there are few.
    pub(crate) fn shown(&self, made: &[u8], told: &dyn Fn(&[u8]) -> bool) -> FxHashSet<i64> {
        let mut found = FxHashSet::default();
        if made.len() < SHORT || !is_text(made) {
            self.binary(made, &mut found);
        }
        self.digits(made, &mut found);
        self.dates(made, told, &mut found);
        found
    }

    fn binary(&self, made: &[u8], found: &mut FxHashSet<i64>) {
        let begins = |low: u32| self.begins[(low >> 22) as usize] >> (low >> 16 & 63) & 1 == 1;
        let word = |at: Option<usize>, parse: fn([u8; 4]) -> u32| {
            at.and_then(|at| made.get(at..at + 4)).map(|b| parse(b.try_into().expect("four bytes")))
        };
        for i in 0..made.len().saturating_sub(3) {
            let bytes: [u8; 4] = made[i..i + 4].try_into().expect("four bytes");
            let orders =
                [(u32::from_le_bytes as fn([u8; 4]) -> u32, Some(i + 4)), (u32::from_be_bytes, i.checked_sub(4))];
            for (parse, other) in orders {
                let low = parse(bytes);
                if !begins(low) {
                    continue;
                }
                let all = self.binaries.get(&low).into_iter().flatten();
                found.extend(
                    all.filter(|(high, _)| high.is_none() || *high == word(other, parse)).map(|(_, time)| *time),
                );
            }
        }
    }

    fn digits(&self, made: &[u8], found: &mut FxHashSet<i64>) {
        let mut i = 0;
        while let Some(start) = made[i..].iter().position(u8::is_ascii_digit).map(|p| i + p) {
            let len = made[start..].iter().take_while(|b| b.is_ascii_digit()).count();
            i = start + len;
            let run = &made[start..i];
            if len == 2 && made.get(i) == Some(&b':') {
                self.time_of_day(made, start, found);
            }
            let number =
                |digits: &[u8], base| u64::from_str_radix(std::str::from_utf8(digits).unwrap_or_default(), base).ok();
            let decimal = |n: u64| self.decimals.get(&n).copied();
            let value = number(run, 10).unwrap_or(0);
            found.extend(match len {
                // `20260102T030405`
                8 => made
                    .get(i + 1..i + 7)
                    .filter(|_| made[i] == b'T')
                    .and_then(|t| number(t, 10))
                    .and_then(|t| decimal(value * 1_000_000 + t)),
                9 | 10 | 14 => decimal(value),
                11 | 12 => number(run, 8)
                    .and_then(|n| self.seconds(n))
                    .or_else(|| decimal(value))
                    .or_else(|| self.seconds(value / 1_000)),
                13 => self.seconds(value / 1_000),
                15 | 16 => self.seconds(value / 1_000_000),
                18 | 19 => self.seconds(value / 1_000_000_000),
                _ => None,
            });
        }
    }

    /// Is this number of seconds one of the times, and no date in digits?
    fn seconds(&self, n: u64) -> Option<i64> {
        self.decimals.get(&n).copied().filter(|t| t.cast_unsigned() == n)
    }

    /// `HH:MM:SS` from here on.
    fn time_of_day(&self, made: &[u8], at: usize, found: &mut FxHashSet<i64>) {
        let number = |i: usize| {
            made.get(i..i + 2)
                .filter(|d| d.iter().all(u8::is_ascii_digit))
                .map(|d| i64::from(d[0] - b'0') * 10 + i64::from(d[1] - b'0'))
        };
        let parts = (number(at), number(at + 3), number(at + 6));
        let whole =
            made.get(at + 5) == Some(&b':') && !made.get(at + 8).is_some_and(|b| b.is_ascii_digit() || *b == b':');
        // Not a part of a hardware address.
        if let (Some(h), Some(m), Some(s)) = parts
            && whole
            && at.checked_sub(1).is_none_or(|i| made[i] != b':')
        {
            found.extend(self.of_day.get(&(h * 3600 + m * 60 + s)).into_iter().flatten());
        }
    }

    fn dates(&self, made: &[u8], told: &dyn Fn(&[u8]) -> bool, found: &mut FxHashSet<i64>) {
        if self.dates.is_empty() || made.is_empty() {
            return;
        }
        let Ok(all) = aho_corasick::AhoCorasick::new(self.dates.iter().map(|(d, _)| d)) else { return };
        let digit = |b: Option<&u8>| b.is_some_and(u8::is_ascii_digit);
        for m in all.find_overlapping_iter(made) {
            let (date, times) = &self.dates[m.pattern().as_usize()];
            let whole = !(m.start() > 0 && digit(made.get(m.start() - 1)) || digit(made.get(m.end())));
            if whole && !times.iter().all(|t| found.contains(t)) && !told(date) {
                found.extend(times);
            }
        }
    }
}

/// What is as short is searched for binary numbers, too, whatever it looks like.
const SHORT: usize = 64;

/// No zero bytes, and mostly what people read.
fn is_text(b: &[u8]) -> bool {
    !b.contains(&0) && std::str::from_utf8(b).is_ok()
}

/// Decides of which names the time counts because the result shows it: what it printed and what it made.
pub(crate) fn count(
    names: &mut FxHashMap<PathBytes, Record>,
    a: &Accesses,
    problems: &[String],
    outputs: &FxHashSet<PathBytes>,
    look: &impl crate::look::Look,
    c: &crate::judgement::Context<'_>,
) {
    let unknown = |p: &Program| p.tool.is_none() && !crate::unseen_inputs::is_trusted(p, c);
    if !a.programs.iter().any(unknown) || !problems.is_empty() {
        return;
    }
    let is_unknown = |i: &Image| (*i as usize).checked_sub(1).and_then(|i| a.programs.get(i)).is_none_or(unknown);
    // What the loader maps says nothing of its time.
    let library = |p: &[u8]| crate::tools::base_name(p).contains_str(".so");
    let looked = |(p, r): (&PathBytes, &Record)| {
        let counts =
            !r.times && !outputs.contains(p) && !library(p) && r.lookers.iter().chain(&r.readers).any(is_unknown);
        r.first.filter(|_| counts).map(|s| s.mtime)
    };
    let sought = Sought::new(names.iter().filter_map(looked), c.env);
    if sought.is_empty() {
        return;
    }
    let inputs = || names.iter().filter(|(p, r)| r.read && !outputs.contains(*p)).filter_map(|(p, _)| look.source(p));
    let words = || c.env.iter().chain(a.programs.iter().flat_map(|p| &p.argv));
    let told = |word: &[u8]| words().any(|w| w.contains_str(word)) || inputs().any(|t| t.contains_str(word));
    let mut found = sought.shown(c.said, &told);
    for made in outputs.iter().filter_map(|p| look.source(p)) {
        found.extend(sought.shown(&made, &told));
    }
    if found.is_empty() {
        return;
    }
    for r in names.values_mut().filter(|r| r.lookers.iter().chain(&r.readers).any(is_unknown)) {
        let is_shown = r.first.is_some_and(|s| found.contains(&cache::file_stat::seconds(s.mtime)));
        r.time_is_shown = is_shown && !r.times;
        r.times |= is_shown;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2024-06-01 10:20:30.123456789 in UTC, a Saturday; an hour and a half later with this offset.
    const TIME: i128 = 1_717_237_230_123_456_789;

    fn found(made: &[u8]) -> bool {
        let s = Sought::new([TIME, TIME - 7_000_000_000_000_000].into_iter(), &[b"TZ=XYZ-1:30".to_vec()]);
        !s.shown(made, &|word| word == b"2024-03-12").is_empty()
    }

    #[test]
    fn forms_of_a_time() {
        for text in [
            "1717237230",
            "t = 1717237230L;",
            "1717237230.123",
            "1717237230123",
            "1717237230123456",
            "1717237230123456789",
            "14626572756",
            "014626572756",
            "2024-06-01T10:20:30Z",
            "at 11:50:30 there",
            "Sat Jun  1 10:20:30 2024",
            "20240601102030",
            "20240601T102030Z",
            "202406011150.30",
            "June 1, 2024",
            "01.06.2024",
        ] {
            assert!(found(text.as_bytes()), "{text}");
            let deep = format!("\x7fELF\0{}{text}\0{}", "x".repeat(99), "y".repeat(99));
            assert!(found(deep.as_bytes()), "{text} among others");
        }
        let (s, ms, ns) = (1_717_237_230u32, 1_717_237_230_123u64, 1_717_237_230_123_456_789u64);
        for binary in [
            &s.to_le_bytes()[..],
            &s.to_be_bytes(),
            &u64::from(s).to_be_bytes(),
            &ms.to_le_bytes(),
            &ms.to_be_bytes(),
            &ns.to_le_bytes(),
        ] {
            for before in 0..9 {
                assert!(found(&[&b"\0abcdefgh\xff"[..before], binary, b"z"].concat()), "{binary:?} after {before}");
            }
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "1717237231",
            "17172372301",
            "1717237231123",
            "10:20:31",
            "00:10:20:30:ff",
            "10:20:30:40",
            "120240601",
            "2024-06-02",
            // Somebody has told it.
            "2024-03-12",
            "2024",
            "",
        ] {
            assert!(!found(text.as_bytes()), "{text}");
        }
        let ms = 1_717_237_230_123u64.to_le_bytes();
        assert!(!found(&[&ms[..4], b"\x01\x02\x03\0"].concat()));
        // Letters are no numbers in a text.
        let letters = i128::from(u32::from_be_bytes(*b"gfed")) * 1_000_000_000;
        let text = "gfed ".repeat(99);
        let s = Sought::new(std::iter::once(letters), &[]);
        assert!(s.shown(text.as_bytes(), &|_| false).is_empty() && !s.shown(b"\0gfed", &|_| false).is_empty());
    }
}
