//! Values as people write them: sizes (`10G`), times (`30d`), mistyped words.
//!
//! Units of sizes are those of ccache: `k`, `M`, `G`, `T` are powers of 1000, with or without a `B`; `Ki`, `Mi`, `Gi`,
//! `Ti` are powers of 1024.

use bytesize::ByteSize;
use serde::Deserialize;
use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub struct Size(pub u64);

#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no size: write bytes, or a number with a unit, as in 500M (10^6 bytes each) or 20GiB (2^30 bytes each)"
)]
pub struct NoSize(String);

impl FromStr for Size {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, NoSize> {
        text.trim().parse::<ByteSize>().map(|b| Self(b.as_u64())).map_err(|_| NoSize(text.to_owned()))
    }
}

impl TryFrom<toml::Value> for Size {
    type Error = NoSize;

    fn try_from(v: toml::Value) -> Result<Self, NoSize> {
        match v {
            toml::Value::Integer(n) => u64::try_from(n).map(Self).map_err(|_| NoSize(n.to_string())),
            toml::Value::String(text) => text.parse(),
            other => Err(NoSize(other.to_string())),
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        ByteSize(self.0).display().iec().fmt(f)
    }
}

/// A number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub struct Age(pub u64);

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no time: write a number with a unit in quotes: 90s, 15m, 12h, 30d, 8w")]
pub struct NoAge(String);

impl TryFrom<toml::Value> for Age {
    type Error = NoAge;

    fn try_from(v: toml::Value) -> Result<Self, NoAge> {
        v.as_str()
            .and_then(seconds)
            .map(Self)
            .ok_or_else(|| NoAge(v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
    }
}

fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// The one among these that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let all = known.map(|k| (strsim::damerau_levenshtein(word, k), k));
    all.min().filter(|(d, _)| *d <= (word.len() / 3).max(1)).map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check =
            |text: &str, expected: Option<u64>| assert_eq!(text.parse::<Size>().ok().map(|s| s.0), expected, "{text}");
        check("5", Some(5));
        check("10G", Some(10_000_000_000));
        check("10 GB", Some(10_000_000_000));
        check("5M", Some(5_000_000));
        check("20GiB", Some(20 << 30));
        check("1.5Ki", Some(1536));
        for bad in ["", "G", "-1", "10X", "1e3", "ten", "5 M B"] {
            check(bad, None);
        }
        assert_eq!(Size(20 << 30).to_string(), "20.0 GiB");
    }

    #[test]
    fn mistyped_words() {
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(nearest(word, ["run", "log", "cache", "dir"].into_iter()), expected, "{word}")
        };
        check("rnu", Some("run"));
        check("cahce", Some("cache"));
        check("caches", Some("cache"));
        check("foo", None);
        check("make", None);
    }
}
