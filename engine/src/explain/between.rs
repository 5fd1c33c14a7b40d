//! Two builds compared, command by command: why could the one not use what the other made? *CI misses what I hit.*
//!
//! Commands are paired by what they make, else by their words. Those with the same result are only counted; the others
//! are grouped by what differs ([`super::compare`]), the largest group first. What differs because a command of the
//! build itself made it otherwise is a consequence, and said only where nothing else is. Builds may be of different
//! checkouts, and of different machines (`xl log --import`): names are those of the second build's directory, and
//! variables are compared only if both caches digest their values with one key.

use super::book::Build;
use super::compare::{self, Difference, Observed};
use super::{Explainer, Unexplained};
use crate::record::{Item, Outcome};
use cache::{Observation, PathSet};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;
use std::collections::BTreeMap;

/// What two builds have in common, and what not.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub builds: [u64; 2],
    /// Commands of each.
    pub commands: [usize; 2],
    /// Hits of each.
    pub hits: [usize; 2],
    /// How many have the same result in both.
    pub same: usize,
    pub groups: Vec<Group>,
    /// Commands that only one of them has.
    pub only: [Vec<Pair>; 2],
    /// Variables could not be compared.
    pub other_key: bool,
}

/// Commands in which the same differs.
#[derive(Debug, Serialize)]
pub struct Group {
    pub differences: Vec<String>,
    pub commands: Vec<Pair>,
}

/// A command by what it makes, or its words, with its number in each build.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    pub name: String,
    pub numbers: [Option<u32>; 2],
}

impl Explainer<'_> {
    /// Compares two builds.
    ///
    /// # Errors
    /// One of them is not known.
    pub fn between(&self, numbers: [u64; 2]) -> Result<Comparison, Unexplained> {
        let [a, b] = numbers.map(|n| self.build(n).ok_or(Unexplained::NoSuchBuild(n)));
        let (a, b) = (a?, b?);
        let own = self.cache.store.key_name();
        let other_key = a.head.key.as_ref().unwrap_or(&own) != b.head.key.as_ref().unwrap_or(&own);
        let (then, now): (Vec<Item>, Vec<Item>) = (a.items().map(|i| moved(&a, &b, i)).collect(), b.items().collect());
        let made: FxHashSet<&str> = then.iter().chain(&now).flat_map(|i| &i.outputs).map(String::as_str).collect();
        let (pairs, only) = paired(&then, &now);
        let mut same = 0;
        let mut groups: BTreeMap<Vec<String>, Vec<Pair>> = BTreeMap::new();
        for (x, y) in pairs {
            if x.result.is_some() && x.result == y.result && x.weak == y.weak {
                same += 1;
                continue;
            }
            let (mut old, mut new) = (self.with_facts(&a, x), self.with_facts(&b, y));
            if other_key {
                // Words are digested with the key, too; those that may be shown are in the record.
                [&mut old, &mut new].into_iter().for_each(|i| i.facts.retain(|(name, _)| name != "argv"));
            }
            let observed = self.observed(x).zip(self.observed(y));
            let observed = observed.map(|(x, y)| if other_key { (unnamed(x), unnamed(y)) } else { (x, y) });
            let (all, _) = compare::compare(&old, &new, observed.as_ref().map(|(x, y)| (x, y)));
            // With another key every fingerprint is another one.
            if other_key && all.is_empty() && observed.is_some() {
                same += 1;
                continue;
            }
            groups.entry(said(x, y, &all, &made)).or_default().push(pair(Some(x), Some(y)));
        }
        let mut groups: Vec<Group> =
            groups.into_iter().map(|(differences, commands)| Group { differences, commands }).collect();
        groups.sort_by_key(|g| std::cmp::Reverse(g.commands.len()));
        let hits = |all: &[Item]| all.iter().filter(|i| i.outcome == Outcome::Hit).count();
        Ok(Comparison {
            builds: numbers,
            commands: [then.len(), now.len()],
            hits: [hits(&then), hits(&now)],
            same,
            groups,
            only,
            other_key,
        })
    }

    /// The record of a hit has no facts: those of the run that made its result, if a record has that.
    pub(super) fn with_facts(&self, build: &Build, item: &Item) -> Item {
        let mut item = item.clone();
        let Some(weak) = item.weak.as_ref().filter(|_| item.facts.is_empty()) else { return item };
        let earlier = self.earlier(build);
        let mut alike = earlier.iter().flat_map(|b| b.mentioning(weak)).filter(|i| !i.facts.is_empty());
        if let Some(run) = alike.find(|i| i.weak.as_ref() == Some(weak)) {
            item.facts = run.facts;
        }
        item
    }
}

/// What differs, in words; what follows from that only if there is nothing else.
fn said(x: &Item, y: &Item, all: &[Difference], made: &FxHashSet<&str>) -> Vec<String> {
    let follows = |d: &&Difference| d.path.as_ref().is_some_and(|p| made.contains(p.as_str()));
    let mut lines: Vec<String> = all.iter().filter(|d| !follows(d)).map(Difference::line).collect();
    if lines.is_empty() {
        let why = match (&x.not_stored, &y.not_stored) {
            _ if !all.is_empty() => "it reads what other commands of the build made, which differs".to_owned(),
            (None, Some(why)) | (Some(why), _) => format!("no result is stored: {why}"),
            _ if x.outcome == Outcome::Bypassed || y.outcome == Outcome::Bypassed => {
                "it is too cheap to look up".into()
            }
            _ if x.outcome == Outcome::Failed || y.outcome == Outcome::Failed => "it failed".into(),
            _ => "the two looked at different files, or nothing is recorded of one of them".to_owned(),
        };
        lines.push(why);
    }
    lines.sort();
    lines.dedup();
    lines
}

/// Without the variables, whose values cannot be compared.
fn unnamed(o: Observed) -> Observed {
    let is_variable = |o: &Observation| {
        matches!(o, Observation::Env(_) | Observation::EnvAll | Observation::EnvJob | Observation::Found { .. })
    };
    let all = o.set.observations().iter().cloned().zip(o.values).filter(|(o, _)| !is_variable(o));
    let (names, values): (Vec<_>, Vec<_>) = all.unzip();
    // In the order of a path set already.
    Observed { set: PathSet::new(names), values }
}

/// The names of the second build's directory.
fn moved(from: &Build, to: &Build, mut item: Item) -> Item {
    let (old, new) = (&from.head.cwd, &to.head.cwd);
    if old == new {
        return item;
    }
    let put = |text: &mut String| *text = text.replace(old.as_str(), new);
    put(&mut item.cwd);
    put(&mut item.command);
    item.argv.iter_mut().chain(&mut item.outputs).for_each(put);
    item
}

fn pair(x: Option<&Item>, y: Option<&Item>) -> Pair {
    let name = y.or(x).map(|i| i.outputs.first().unwrap_or(&i.command).clone()).unwrap_or_default();
    Pair { name, numbers: [x.map(|i| i.id), y.map(|i| i.id)] }
}

type Pairs<'a> = (Vec<(&'a Item, &'a Item)>, [Vec<Pair>; 2]);

/// Which command of the one is which of the other: by the first file that both make, else by their words.
fn paired<'a>(then: &'a [Item], now: &'a [Item]) -> Pairs<'a> {
    let mut by_output: FxHashMap<&str, Vec<usize>> = FxHashMap::default();
    let mut by_words: FxHashMap<(&str, &str), Vec<usize>> = FxHashMap::default();
    // From the end, so that the first is taken first.
    for (n, i) in then.iter().enumerate().rev() {
        for o in &i.outputs {
            by_output.entry(o).or_default().push(n);
        }
        by_words.entry((&i.cwd, &i.command)).or_default().push(n);
    }
    let mut taken = vec![false; then.len()];
    let mut take = |list: Option<&mut Vec<usize>>| {
        let list = list?;
        while let Some(n) = list.pop() {
            if !std::mem::replace(&mut taken[n], true) {
                return Some(n);
            }
        }
        None
    };
    let (mut pairs, mut come) = (Vec::new(), Vec::new());
    for y in now {
        let same = take(by_words.get_mut(&(y.cwd.as_str(), y.command.as_str())));
        let found = same.or_else(|| y.outputs.iter().find_map(|o| take(by_output.get_mut(o.as_str()))));
        match found {
            Some(n) => pairs.push((&then[n], y)),
            None => come.push(pair(None, Some(y))),
        }
    }
    let went = then.iter().zip(&taken).filter(|(_, t)| !**t).map(|(x, _)| pair(Some(x), None)).collect();
    (pairs, [went, come])
}

#[cfg(test)]
mod tests {
    use super::super::tests::item;
    use super::*;

    #[test]
    fn commands_are_paired() {
        let then = [item(1, &["cc", "a.c"], &["/w/a.o"]), item(2, &["cc", "b.c"], &["/w/b.o"]), item(3, &["t"], &[])];
        let now =
            [item(1, &["t"], &[]), item(2, &["cc", "-g", "a.c"], &["/w/a.o"]), item(3, &["cc", "c.c"], &["/w/c.o"])];
        let (pairs, [went, come]) = paired(&then, &now);
        let ids: Vec<(u32, u32)> = pairs.iter().map(|(x, y)| (x.id, y.id)).collect();
        assert_eq!(ids, [(3, 1), (1, 2)]);
        assert_eq!((went[0].name.as_str(), come[0].name.as_str(), went.len(), come.len()), ("/w/b.o", "/w/c.o", 1, 1));
    }
}
