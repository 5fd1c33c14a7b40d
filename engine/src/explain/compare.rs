//! Two runs of what makes the same: all in which they differ, in the user's words.
//!
//! What is compared: arguments as the record shows them; the facts of the weak fingerprint, by name; what both
//! observed. What only one of the two observed is a consequence of the rest. Pure.

use crate::change::{Change, changes, is_word};
use crate::record::Item;
use cache::{Digest, Fact, Observation, PathSet};
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Argument,
    Program,
    Directory,
    Umask,
    Limits,
    Rights,
    Settings,
    Stream,
    Variable,
    /// A file, a directory, a name that is not there.
    Input,
    Other,
}

/// One thing that differs. Names are absolute; who shows them makes them relative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub kind: Kind,
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// As far as it is known: a text, or the beginning of a digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// It is about a file that the command makes itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
}

impl Difference {
    fn new(kind: Kind, what: impl Into<String>, was: Option<String>, now: Option<String>) -> Self {
        Self { kind, what: what.into(), path: None, variable: None, was, now, own: false }
    }

    /// For people.
    pub fn line(&self) -> String {
        let (was, now) = (self.was.as_deref(), self.now.as_deref());
        let own = if self.own { " (its own output)" } else { "" };
        match (self.kind, &self.path, &self.variable) {
            (Kind::Argument, ..) => match (was, now) {
                (Some(a), Some(b)) => format!("argument `{a}` → `{b}`"),
                (None, Some(b)) => format!("argument `{b}` came"),
                (Some(a), None) => format!("argument `{a}` went"),
                (None, None) => "an argument that is not shown, since it may be a secret, changed".to_owned(),
            },
            (Kind::Variable, _, Some(name)) => match (was, now) {
                (Some("not set"), _) => format!("variable {name} is set, and was not"),
                (_, Some("not set")) => format!("variable {name} is not set any more"),
                _ => format!("variable {name} has another value"),
            },
            (Kind::Input, Some(path), _) if was == Some("absent") => format!("`{path}` is there, and was not{own}"),
            (Kind::Input, Some(path), _) if now == Some("absent") => format!("`{path}` is gone{own}"),
            _ => match was.zip(now).filter(|(a, b)| is_word(a) && is_word(b)) {
                Some((a, b)) => format!("{}: `{a}` → `{b}`{own}", self.what),
                None => format!("{} changed{own}", self.what),
            },
        }
    }

    /// After *because*.
    pub fn clause(&self) -> String {
        self.line().replacen("content of `", "`", 1)
    }
}

impl From<&Change> for Difference {
    fn from(c: &Change) -> Self {
        let kind = match (&c.path, &c.variable) {
            (Some(_), _) => Kind::Input,
            (_, Some(_)) => Kind::Variable,
            _ if c.what == "the environment" => Kind::Variable,
            _ if c.what == Observation::Fact(Fact::Ids).describe() => Kind::Rights,
            _ if is_limit(&c.what) => Kind::Limits,
            _ => Kind::Other,
        };
        Self {
            path: c.path.clone(),
            variable: c.variable.clone(),
            ..Self::new(kind, c.what.clone(), Some(c.was.clone()), Some(c.now.clone()))
        }
    }
}

fn is_limit(what: &str) -> bool {
    let all = (0..=u8::MAX).map(Fact::Limit).chain([Fact::Limits]);
    { all }.any(|f| Observation::Fact(f).describe() == what)
}

/// What a result observed, with its values.
pub(super) struct Observed {
    pub(super) set: PathSet,
    pub(super) values: Vec<u64>,
}

/// All in which two runs differ.
pub(super) fn compare(old: &Item, new: &Item, observed: Option<(&Observed, &Observed)>) -> (Vec<Difference>, u64) {
    let mut all = arguments(old, new);
    if old.cwd != new.cwd {
        all.push(Difference::new(Kind::Directory, "directory", Some(old.cwd.clone()), Some(new.cwd.clone())));
    }
    let (facts, streams) = facts(old, new, !all.is_empty());
    all.extend(facts);
    let mut more = 0;
    if let Some((then, now)) = observed {
        let (changed, rest) = common(then, now);
        all.extend(changed.iter().map(Difference::from));
        more = rest;
    }
    if all.is_empty() {
        // Most commands ask for none of these; only if there is nothing else to blame.
        all = streams;
    }
    (all, more)
}

/// What both observed, and not as the same.
fn common(then: &Observed, now: &Observed) -> (Vec<Change>, u64) {
    let old: FxHashMap<_, _> = then.set.observations().iter().zip(&then.values).collect();
    let both = now.set.observations().iter().zip(&now.values).filter_map(|(o, v)| Some((o.clone(), (*old.get(o)?, v))));
    let (names, values): (Vec<_>, Vec<(&u64, &u64)>) = both.unzip();
    let (was, is): (Vec<u64>, Vec<u64>) = values.into_iter().map(|(a, b)| (*a, *b)).unzip();
    // In the order of a path set already.
    changes(&PathSet::new(names), &was, &is)
}

fn arguments(old: &Item, new: &Item) -> Vec<Difference> {
    let words = |i: &Item| -> Vec<String> {
        i.argv
            .iter()
            .flat_map(|a| match a.contains(char::is_whitespace) {
                // The text of a shell: word by word.
                true => a.split_whitespace().map(str::to_owned).collect(),
                false => vec![a.clone()],
            })
            .collect()
    };
    let (a, b) = (words(old), words(new));
    let argument = |was: Option<&String>, now: Option<&String>| {
        Difference::new(Kind::Argument, "argument", was.cloned(), now.cloned())
    };
    let mut all = Vec::new();
    for (gone, come) in hunks(&a, &b) {
        let n = gone.len().max(come.len());
        all.extend((0..n).map(|i| argument(gone.get(i), come.get(i))));
    }
    let digest = |i: &Item| i.facts.iter().find(|(n, _)| n == "argv").map(|(_, v)| v.clone());
    if all.is_empty() && digest(old).zip(digest(new)).is_some_and(|(a, b)| a != b) {
        let spaces = old.argv != new.argv;
        all.push(if spaces {
            Difference::new(Kind::Argument, "argument", Some(old.argv.join(" ")), Some(new.argv.join(" ")))
        } else {
            argument(None, None)
        });
    }
    all
}

/// Where two lists of words differ: what went and what came, at each place.
fn hunks<'a>(a: &'a [String], b: &'a [String]) -> Vec<(&'a [String], &'a [String])> {
    /// Longer ones are compared by their ends only.
    const CELLS: usize = 1 << 20;
    let start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[start..], &b[start..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[..a.len() - end], &b[..b.len() - end]);
    if a.is_empty() && b.is_empty() {
        return Vec::new();
    }
    if a.len() * b.len() > CELLS {
        return vec![(a, b)];
    }
    // Lengths of the longest common subsequences of the tails.
    let width = b.len() + 1;
    let mut table = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            let below = table[(i + 1) * width + j].max(table[i * width + j + 1]);
            table[i * width + j] = if a[i] == b[j] { table[(i + 1) * width + j + 1] + 1 } else { below };
        }
    }
    let (mut i, mut j, mut all, mut from) = (0, 0, Vec::new(), (0, 0));
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            if from != (i, j) {
                all.push((&a[from.0..i], &b[from.1..j]));
            }
            (i, j) = (i + 1, j + 1);
            from = (i, j);
        } else if j == b.len() || (i < a.len() && table[(i + 1) * width + j] >= table[i * width + j + 1]) {
            i += 1;
        } else {
            j += 1;
        }
    }
    if from != (i, j) {
        all.push((&a[from.0..], &b[from.1..]));
    }
    all
}

/// Facts by name and, where one of a kind does not tell which, by what they are about.
fn keyed(item: &Item) -> BTreeMap<(&str, &str), &str> {
    let mut all = BTreeMap::new();
    let mut about = "";
    for (name, value) in &item.facts {
        match name.as_str() {
            "interpreter" | "static input" | "inherited" => {
                about = value;
                all.insert((name.as_str(), about), "");
            }
            n if n.starts_with("interpreter ") || n.starts_with("static input ") || n.starts_with("inherited ") => {
                all.insert((n, about), value.as_str());
            }
            n => _ = all.insert((n, ""), value.as_str()),
        }
    }
    all
}

/// The facts that differ; apart from them those of the standard descriptors. `others`: arguments or directory differ,
/// of which names of sources are a consequence.
fn facts(old: &Item, new: &Item, others: bool) -> (Vec<Difference>, Vec<Difference>) {
    let (a, b) = (keyed(old), keyed(new));
    let another_program = a.get(&("program", "")) != b.get(&("program", ""));
    let (mut all, mut streams) = (Vec::new(), Vec::new());
    let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).copied().collect();
    for key @ (name, about) in names {
        let (was, now) = (a.get(&key).copied(), b.get(&key).copied());
        if was == now {
            continue;
        }
        let program = new.argv.first().map_or("", String::as_str);
        let plain = |kind, what: &str| Difference::new(kind, what, None, None);
        let (one, stream) = match name {
            // Shown by themselves.
            "argv" | "cwd" | "domain" => continue,
            "program" => (plain(Kind::Program, &format!("the program behind `{program}`")), false),
            "program content" if another_program => continue,
            "program content" => {
                let what = format!("program `{program}` was replaced in place: its content");
                (Difference::new(Kind::Program, what, was.map(str::to_owned), now.map(str::to_owned)), false)
            }
            "interpreter" | "interpreter content" if another_program => continue,
            "interpreter" | "interpreter content" => {
                (plain(Kind::Program, &format!("the interpreter or loader of `{program}`")), false)
            }
            "umask" => {
                let octal = |v: Option<&str>| v.and_then(number).map(|n| format!("{n:04o}"));
                (Difference::new(Kind::Umask, "umask", octal(was), octal(now)), false)
            }
            "limits" => (plain(Kind::Limits, "a low resource limit (`ulimit -a` shows them)"), false),
            "processors" => (plain(Kind::Limits, "the processors that it may use"), false),
            "ignored signals" | "blocked signals" => {
                let hex = |v: Option<&str>| v.and_then(number).map(|n| format!("{n:#x}"));
                (Difference::new(Kind::Limits, name, hex(was), hex(now)), false)
            }
            "rules" => (plain(Kind::Settings, "a setting of `xl.toml` that results depend on"), false),
            "static input content" => {
                let path = source(about, new).map(|p| absolute(&new.cwd, &p));
                let what = path.as_ref().map_or("content of a source".to_owned(), |p| format!("content of `{p}`"));
                let digests = (was.map(str::to_owned), now.map(str::to_owned));
                let (was, now) = match digests {
                    (None, now) => (Some("absent".to_owned()), now),
                    (was, None) => (was, Some("absent".to_owned())),
                    both => both,
                };
                if others && (was.as_deref() == Some("absent") || now.as_deref() == Some("absent")) {
                    continue;
                }
                (Difference { path, ..Difference::new(Kind::Input, what, was, now) }, false)
            }
            "static input" => continue,
            n if n.starts_with("inherited") => (plain(Kind::Stream, "a file that it inherits open"), true),
            "stdout" | "stderr" => {
                let of = if name == "stdout" { "output" } else { "error" };
                let place = |v: Option<&str>| v.and_then(number).map(place);
                (Difference::new(Kind::Stream, format!("where standard {of} goes"), place(was), place(now)), true)
            }
            "tells" | "appends" => (plain(Kind::Stream, "the place in the file that its text goes to"), true),
            "stdout is stderr" => (plain(Kind::Stream, "whether standard output and error are one"), true),
            n if n.contains("stdin") => (plain(Kind::Stream, "standard input"), true),
            "format" => (plain(Kind::Other, "the form of fingerprints, with the version of `xl`,"), false),
            other => (plain(Kind::Other, other), false),
        };
        let list = if stream { &mut streams } else { &mut all };
        if !list.contains(&one) {
            list.push(one);
        }
    }
    (all, streams)
}

/// The word of the command line that this value of a fact stands for.
fn source(value: &str, item: &Item) -> Option<String> {
    let apart = |c: char| matches!(c, ' ' | '\t' | '\n' | '\'' | '"' | ';' | '&' | '(' | ')' | '`');
    let mut words = item.argv.iter().flat_map(|a| a.split(apart)).map(|w| w.trim_start_matches('@'));
    words.find(|w| short(w.as_bytes()) == value).map(str::to_owned)
}

/// A value as the record keeps it: in hexadecimal, of a long one the beginning of its digest.
pub(crate) fn short(v: &[u8]) -> String {
    const SHORT: usize = 16;
    if v.len() > SHORT {
        return Digest::of(v).hex()[..SHORT].to_owned();
    }
    v.iter().map(|b| format!("{b:02x}")).collect()
}

/// The inverse, of a number.
fn number(hex: &str) -> Option<u64> {
    let bytes: Vec<u8> = (0..8).map_while(|i| u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()).collect();
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn place(n: u64) -> String {
    let all = ["closed", "`/dev/null`", "a pipe", "a terminal", "a file", "a socket", "a device"];
    let name = usize::try_from(n).ok().and_then(|n| all.get(n)).copied().unwrap_or("elsewhere");
    name.trim_matches('`').to_owned()
}

/// A name as it is found in a directory, without `.` and `..`.
pub(super) fn absolute(dir: &str, name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let dir = if name.starts_with('/') { "" } else { dir };
    for part in dir.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            p => parts.push(p),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::tests::item;
    use cache::Observation;

    fn lines(old: &Item, new: &Item) -> Vec<String> {
        compare(old, new, None).0.iter().map(Difference::line).collect()
    }

    #[test]
    fn arguments_word_by_word() {
        let check = |a: &[&str], b: &[&str], want: &[&str]| {
            assert_eq!(lines(&item(1, a, &[]), &item(1, b, &[])), want, "{a:?} {b:?}");
        };
        check(&["cc", "-O1", "-c", "a.c"], &["cc", "-O1", "-c", "a.c"], &[]);
        check(&["cc", "-O1", "-c", "a.c"], &["cc", "-O2", "-c", "a.c"], &["argument `-O1` → `-O2`"]);
        check(
            &["cc", "-c", "a.c"],
            &["cc", "-g", "-c", "-Wall", "a.c"],
            &["argument `-g` came", "argument `-Wall` came"],
        );
        check(&["cc", "-g", "a.c"], &["cc", "a.c"], &["argument `-g` went"]);
        check(&["sh", "-c", "cc -O1 a.c"], &["sh", "-c", "cc -O2 a.c"], &["argument `-O1` → `-O2`"]);
        check(
            &["cc", "-DA", "-O1", "x"],
            &["cc", "-DB", "-O2", "x"],
            &["argument `-DA` → `-DB`", "argument `-O1` → `-O2`"],
        );
        let (mut a, mut b) = (item(1, &["t", "***"], &[]), item(1, &["t", "***"], &[]));
        a.facts.push(("argv".into(), "1".into()));
        b.facts.push(("argv".into(), "2".into()));
        assert_eq!(lines(&a, &b), ["an argument that is not shown, since it may be a secret, changed"]);
    }

    #[test]
    fn facts_by_name() {
        let with = |facts: &[(&str, String)]| {
            let mut i = item(1, &["/bin/cc", "-c", "a.c", "a-long-name-of-a-source.c"], &[]);
            i.facts = facts.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
            i
        };
        let mask = |n: u64| short(&n.to_le_bytes());
        let check = |a: &[(&str, String)], b: &[(&str, String)], want: &[&str]| {
            assert_eq!(lines(&with(a), &with(b)), want, "{a:?} {b:?}");
        };
        check(&[("umask", mask(0o22))], &[("umask", mask(0o22))], &[]);
        check(&[("umask", mask(0o22))], &[("umask", mask(0o77))], &["umask: `0022` → `0077`"]);
        let replaced = "program `/bin/cc` was replaced in place: its content changed";
        check(&[("program content", short(&[1; 32]))], &[("program content", short(&[2; 32]))], &[replaced]);
        check(
            &[("limits", "1".into())],
            &[("limits", "2".into())],
            &["a low resource limit (`ulimit -a` shows them) changed"],
        );
        let input =
            |name: &str, n: u8| [("static input", short(name.as_bytes())), ("static input content", short(&[n; 32]))];
        for name in ["a.c", "a-long-name-of-a-source.c"] {
            check(&input(name, 1), &input(name, 2), &[&format!("content of `/w/{name}` changed")]);
        }
        check(&[], &input("a.c", 2), &["`/w/a.c` is there, and was not"]);
        // Where text goes is blamed only if there is nothing else.
        let to = |n: u64, mask_: u64| [("stdout", mask(n)), ("umask", mask(mask_))];
        check(&to(2, 0o22), &to(4, 0o22), &["where standard output goes: `a pipe` → `a file`"]);
        check(&to(2, 0o22), &to(4, 0o77), &["umask: `0022` → `0077`"]);
    }

    #[test]
    fn observations_that_both_made() {
        let file = |p: &str| Observation::FileContent(p.as_bytes().into());
        let observed = |all: &[(&str, u64)]| Observed {
            set: PathSet::new(all.iter().map(|(p, _)| file(p)).collect()),
            values: all.iter().map(|(_, v)| *v).collect(),
        };
        let (then, now) = (observed(&[("/a", 1), ("/b", 1), ("/c", 1)]), observed(&[("/b", 2), ("/c", 1), ("/d", 5)]));
        let i = item(1, &["cc"], &[]);
        let (all, more) = compare(&i, &i, Some((&then, &now)));
        assert_eq!(
            (all.iter().map(Difference::line).collect::<Vec<_>>(), more),
            (vec!["content of `/b` changed".into()], 0)
        );
        assert_eq!(all[0].clause(), "`/b` changed");
    }

    #[test]
    fn names_in_a_directory() {
        for (dir, name, want) in
            [("/w", "a.c", "/w/a.c"), ("/w/b", "../a.c", "/w/a.c"), ("/w", "/x//y/./z", "/x/y/z"), ("/", "..", "/")]
        {
            assert_eq!(absolute(dir, name), want);
        }
    }
}
