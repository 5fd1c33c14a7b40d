//! Does what a program made show when it ran? The clock is read without a system call (vdso(7)), so that nobody sees
//! who asks for it; but what a generator writes down of it is in its result.
//!
//! A search for the forms in which programs write the present: the time of day, seconds since 1970, the date. It finds
//! no binary forms and no parts of a date. Knows no files: whose result is searched, and what else the words may come
//! from, is the business of [`crate::unseen_inputs`].

use bstr::ByteSlice;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

/// How C, Python, Java and people write a date (strftime(3)); `ctime` puts the time of day before the year.
const DATES: &[&str] = &[
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%m/%d/%y",
    "%d-%b-%Y",
    "%d/%b/%Y",
    "%a %b %e ",
    "%a %b %d ",
    "%b %e %Y",
    "%b %d %Y",
    "%b %e, %Y",
    "%b %-d, %Y",
    "%b %d, %Y",
    "%e %b %Y",
    "%-d %b %Y",
    "%d %b %Y",
    "%B %e, %Y",
    "%B %-d, %Y",
    "%B %d, %Y",
    "%e %B %Y",
    "%-d %B %Y",
    "%d %B %Y",
];

/// Within a run that takes longer, in seconds, too many times of day lie that mean something else: they do not count.
const LONG: i64 = 60;
pub(crate) const DAY: i64 = 86_400;

/// The time zone that the environment names: `TZ`, or that of the machine.
pub(crate) fn zone(env: &[Vec<u8>]) -> TimeZone {
    let name = env
        .iter()
        .find_map(|v| v.strip_prefix(b"TZ="))
        .map(|n| String::from_utf8_lossy(n.strip_prefix(b":").unwrap_or(n)));
    match name {
        Some(n) => TimeZone::get(&n).or_else(|_| TimeZone::posix(&n)).unwrap_or(TimeZone::UTC),
        None => TimeZone::system(),
    }
}

/// The date of this time in the forms in which it is written.
pub(crate) fn dates(time: &ZonedDateTime) -> impl Iterator<Item = Vec<u8>> {
    DATES.iter().map(|d| time.strftime(d).to_string().trim_start().as_bytes().to_vec())
}

/// When a program ran: all seconds of that time, here and in UTC.
pub(crate) struct Run {
    from: i64,
    to: i64,
    /// Seconds east of Greenwich.
    offsets: [i64; 2],
    dates: Vec<Vec<u8>>,
}

impl Run {
    /// From and to these seconds since 1970, in the time zone that the environment names.
    pub(crate) fn new(from: i64, to: i64, env: &[Vec<u8>]) -> Self {
        let here = zone(env);
        let at = |s: i64| Timestamp::from_second(s).unwrap_or_default();
        let mut dates = Vec::new();
        for (time, zone) in [(from, &TimeZone::UTC), (from, &here), (to, &TimeZone::UTC), (to, &here)] {
            dates.extend(self::dates(&at(time).to_zoned_datetime(zone.clone())));
        }
        dates.sort();
        dates.dedup();
        Self { from, to, offsets: [0, here.to_offset(at(from)).seconds().into()], dates }
    }

    /// Is this time, in seconds since 1970, of a day of the run?
    pub(crate) fn is_of_its_day(&self, time: i64) -> bool {
        let day = |t: i64, offset: &i64| (t + offset).div_euclid(DAY);
        self.offsets.iter().any(|o| (day(self.from, o)..=day(self.to, o)).contains(&day(time, o)))
    }

    /// Where the text shows the time of the run, or, if those count, its date, in a word that is `new`.
    pub(crate) fn shown<'t>(&self, text: &'t [u8], dates: bool, new: &dyn Fn(&[u8]) -> bool) -> Option<&'t [u8]> {
        let whole = |i: usize, d: &[u8]| {
            // Hours, minutes and seconds may follow.
            let time = text[i + d.len()..].iter().take_while(|b| b.is_ascii_digit()).count();
            let end = i + d.len() + if d.iter().all(u8::is_ascii_digit) && [4, 6].contains(&time) { time } else { 0 };
            is_whole(text, i..end, u8::is_ascii_digit)
        };
        let date = || {
            self.dates
                .iter()
                .find_map(|d| Some(&text[text.find_iter(d).find(|i| whole(*i, d) && new(d))?..][..d.len()]))
        };
        self.seconds(text, new).or_else(|| self.time_of_day(text, new)).or_else(|| if dates { date() } else { None })
    }

    /// Seconds since 1970, or parts of them, in decimal.
    fn seconds<'t>(&self, text: &'t [u8], new: &dyn Fn(&[u8]) -> bool) -> Option<&'t [u8]> {
        let (from, to) = (self.from.to_string().into_bytes(), self.to.to_string().into_bytes());
        let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        text.find_iter(&from[..common]).find_map(|i| {
            let digits = text[i..].iter().take_while(|b| b.is_ascii_digit()).count();
            // Seconds, or thousandths, millionths, billionths of them.
            let whole = i.checked_sub(1).is_none_or(|b| !text[b].is_ascii_alphanumeric())
                && [0, 3, 6, 9].map(|n| n + from.len()).contains(&digits);
            let word = text.get(i..i + from.len()).filter(|_| whole)?;
            ((from.as_slice()..=to.as_slice()).contains(&word) && new(word)).then_some(word)
        })
    }

    fn time_of_day<'t>(&self, text: &'t [u8], new: &dyn Fn(&[u8]) -> bool) -> Option<&'t [u8]> {
        if self.to - self.from > LONG {
            return None;
        }
        text.find_iter(":").filter(|i| *i >= 2 && text.get(i + 3) == Some(&b':')).find_map(|i| {
            let word = text.get(i - 2..i + 6)?;
            let digit = |at: usize| word[at].is_ascii_digit().then(|| i64::from(word[at] - b'0'));
            let number = |at: usize| Some(digit(at)? * 10 + digit(at + 1)?);
            let second = number(0)? * 3600 + number(3)? * 60 + number(6)?;
            let within = |o: &i64| (second - self.from - o).rem_euclid(DAY) <= self.to - self.from;
            // Not a part of a hardware address.
            let whole = is_whole(text, i - 2..i + 6, |b| b.is_ascii_digit() || *b == b':');
            (whole && self.offsets.iter().any(within) && new(word)).then_some(word)
        })
    }
}

/// Does it go on on neither side with what is `alike`?
fn is_whole(text: &[u8], at: std::ops::Range<usize>, alike: impl Fn(&u8) -> bool) -> bool {
    !text[..at.start].last().is_some_and(&alike) && !text[at.end..].first().is_some_and(&alike)
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-11-29 11:42:03 in UTC, a Sunday; half an hour after noon with this offset.
    const NOW: i64 = 1_795_952_523;

    fn run(seconds: i64) -> Run {
        Run::new(NOW, NOW + seconds, &[b"TZ=XYZ-1:30".to_vec()])
    }

    #[test]
    fn what_shows_the_present() {
        for text in [
            "/* Sun Nov 29 11:42:03 2026 */",
            "11:42:04",
            "at 13:12:03 local time",
            "#define BUILT 1795952523",
            "t=1795952523.125",
            "1795952523125 ms",
            "2026-11-29",
            "November 29, 2026",
            "Version 20261129",
            "v1.20261129114203",
            "29/11/2026",
            "2026-11-29T11:42:03Z",
            "[29/Nov/2026:11:42:03 +0000]",
        ] {
            assert!(run(1).shown(text.as_bytes(), true, &|_| true).is_some(), "{text}");
        }
    }

    #[test]
    fn what_does_not() {
        for text in [
            "00:11:42:03:ff:fe",
            "120261129",
            "2026112900",
            "11:42:02",
            "11:42:05",
            "12:42:03",
            "01:12:03",
            "::",
            ":::::",
            "11:42:0",
            "x1795952523",
            "17959525231",
            "1795952525",
            "2026",
            "2026-11-28",
            "Copyright 2026",
            "Nov 29",
        ] {
            assert_eq!(run(1).shown(text.as_bytes(), true, &|_| true), None, "{text}");
        }
        assert_eq!(run(1).shown(b"2026-11-29", false, &|_| true), None);
        // One word that something else accounts for hides no other.
        assert_eq!(run(1).shown(b"11:42:03 11:42:04", true, &|word| word != b"11:42:03"), Some(&b"11:42:04"[..]));
        assert!(
            run(1).shown(b"11:42:04", false, &|_| true).is_some()
                && run(100).shown(b"11:42:04", false, &|_| true).is_none()
        );
    }

    #[test]
    fn days() {
        let midnight = NOW - NOW.rem_euclid(DAY);
        for (time, is) in [
            (midnight, true),
            (midnight - 1, true),
            (midnight - 5401, false),
            (midnight + DAY - 1, true),
            (midnight + DAY, false),
        ] {
            assert_eq!(run(1).is_of_its_day(time), is, "{}", time - midnight);
        }
        assert!(Run::new(midnight - 1, midnight, &[]).shown(b"2026-11-28", true, &|_| true).is_some());
    }
}
