//! What has changed since a result was stored, observation by observation, as the record keeps it.
//!
//! Links keep only the beginning of each value. That is enough to know it from another, and to tell by itself what is
//! no content: a name that is absent, of another kind, a variable that is not set.

use cache::observation::value;
use cache::tier::short;
use cache::{Kind, Observation, PathSet, shown};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// More of them than this are only counted: records are kept.
const LISTED: usize = 50;

/// An observation that has another value now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// In the user's words.
    pub what: String,
    /// The file that it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// The variable that it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variable: Option<String>,
    /// What it was: a word for what is no content (`absent`, `file`, `not set` …), else the beginning of a digest.
    pub was: String,
    pub now: String,
}

impl Change {
    pub(crate) fn new(o: &Observation, was: u64, now: u64) -> Self {
        let variable = match o {
            Observation::Env(name) | Observation::Found { variable: name, .. } => Some(shown(name)),
            _ => None,
        };
        Self { what: o.describe(), path: o.path().map(shown), variable, was: word(was), now: word(now) }
    }
}

/// In how many observations a result differs; what cannot be compared differs in all.
pub(crate) fn distance(then: &[u64], now: &[u64]) -> usize {
    if then.len() != now.len() {
        return now.len().max(1);
    }
    then.iter().zip(now).filter(|(a, b)| a != b).count().max(1)
}

/// What differs, what tells most of it first, and how many more there are.
pub(crate) fn changes(set: &PathSet, then: &[u64], now: &[u64]) -> (Vec<Change>, u64) {
    let rows = set.observations().iter().zip(then.iter().zip(now));
    let mut differ: Vec<(&Observation, u64, u64)> =
        rows.filter(|(_, (a, b))| a != b).map(|(o, (a, b))| (o, *a, *b)).collect();
    differ.sort_by_key(|(o, _, _)| rank(o));
    let more = differ.len().saturating_sub(LISTED) as u64;
    differ.truncate(LISTED);
    (differ.into_iter().map(|(o, was, now)| Change::new(o, was, now)).collect(), more)
}

/// What was changed by somebody comes before what came of it: names that were absent are there after most builds.
pub(crate) fn rank(o: &Observation) -> u8 {
    match o {
        Observation::FileContent(_) | Observation::Answer(..) => 0,
        Observation::Env(_)
        | Observation::EnvAll
        | Observation::EnvJob
        | Observation::Found { .. }
        | Observation::Fact(_) => 1,
        Observation::Symlink(_) | Observation::Attributes(_) => 2,
        Observation::DirListing(..)
        | Observation::DirSearch { .. }
        | Observation::DirMatch { .. }
        | Observation::DirCount(..) => 3,
        Observation::FileProbe { .. } | Observation::SameFile(..) | Observation::Rights(_) | Observation::Owner(_) => 4,
        Observation::Absent(_) | Observation::KindProbe(_) | Observation::Ensured(..) => 5,
    }
}

/// A value in a word.
fn word(v: u64) -> String {
    static KNOWN: LazyLock<Vec<(u64, &str)>> = LazyLock::new(|| {
        let all = [
            (value::absent(), "absent"),
            (value::below_a_file(), "absent"),
            (value::forbidden(), "forbidden"),
            (value::kind(Kind::File), "file"),
            (value::kind(Kind::Directory), "directory"),
            (value::kind(Kind::Symlink), "symbolic link"),
            (value::kind(Kind::Special), "special file"),
            // The key is of no account where there is no value.
            (value::env(&[0; 32], None), "not set"),
            (value::found(&[0; 32], None), "not set"),
            (value::answer(&[]), "not there"),
        ];
        all.into_iter().map(|(v, word)| (short(&v), word)).chain([(0, "unreadable")]).collect()
    });
    KNOWN.iter().find(|(k, _)| *k == v).map_or_else(|| format!("{v:016x}"), |(_, word)| (*word).to_owned())
}

/// Is this one of the words of [`Change::was`], and no digest?
pub fn is_word(text: &str) -> bool {
    text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache::Digest;

    #[test]
    fn all_that_differs_in_the_order_of_what_it_tells() {
        let path = |p: &str| p.as_bytes().into();
        let set = PathSet::new(vec![
            Observation::Absent(path("/w/a.o")),
            Observation::FileContent(path("/w/a.h")),
            Observation::FileContent(path("/w/b.h")),
            Observation::Env(b"X".to_vec()),
        ]);
        let then = [short(&value::absent()), 1, 2, short(&value::env(&[1; 32], None))];
        let now = [short(&value::kind(Kind::File)), 3, 2, short(&value::env(&[1; 32], Some(b"1")))];
        let (all, more) = changes(&set, &then, &now);
        let told: Vec<(&str, bool, bool)> =
            all.iter().map(|c| (c.what.as_str(), is_word(&c.was), is_word(&c.now))).collect();
        let want = [
            ("content of `/w/a.h`", false, false),
            ("environment variable X", true, false),
            ("absence of `/w/a.o`", true, true),
        ];
        assert_eq!((told.as_slice(), more, distance(&then, &now)), (&want[..], 0, 3));
        assert_eq!((all[1].was.as_str(), all[2].was.as_str(), all[2].now.as_str()), ("not set", "absent", "file"));
    }

    #[test]
    fn not_more_than_anybody_reads() {
        let all = (0..LISTED + 7).map(|i| Observation::Env(format!("V{i:03}").into_bytes())).collect();
        let values: Vec<u64> = (0..LISTED as u64 + 7).collect();
        let (listed, more) = changes(&PathSet::new(all), &values, &values.iter().map(|v| v + 100).collect::<Vec<_>>());
        assert_eq!((listed.len(), more), (LISTED, 7));
        assert_eq!(listed[0].was, "unreadable");
        assert_eq!(word(short(&Digest([9; 32]))), "0909090909090909");
    }
}
