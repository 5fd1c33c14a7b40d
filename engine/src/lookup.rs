//! The two-phase lookup: candidates of a weak fingerprint against the current state, newest first.
//!
//! Knows nothing of where results are kept: it asks the two seams of the cache, in batches where the answer to one
//! question does not decide whether there is another. When it has found a result, all blobs of it are in the nearest
//! store, from which they are restored.

use cache::tier::short;
use cache::{Blobs, Digest, Link, PathSet, Publication, Results, materialise};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use worker::evaluate::Now;

/// A result that may be served.
pub struct Found {
    pub strong: Digest,
    pub entry: cache::Entry,
    pub path_set: Digest,
    /// What it names.
    pub set: PathSet,
    /// The short values of what was observed.
    pub values: Vec<u64>,
}

/// Why a command ran: machine-readable, and printable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Reason {
    /// Never seen with this program, arguments, static inputs.
    NoWeakMatch,
    /// What it depended on has another value now.
    Changed { what: String },
    /// The entry is gone.
    EntryEvicted,
    /// A blob is gone.
    BlobMissing { digest: String },
    /// The outputs cannot be put back as the command would write them.
    NotRestorable { why: String },
    /// Restoring failed half way; the command ran instead.
    RestoreFailed { why: String },
    /// Its result cannot be stored.
    Uncacheable { why: String },
    /// It is cheaper than a lookup.
    Cheap,
    /// It failed, and failures are not replayed.
    Failed { code: i32 },
    /// It was killed.
    Killed,
    /// The cache is not read.
    Disabled,
    /// Its result is known; it ran to compare (`--recheck`).
    Rechecked,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoWeakMatch => f.write_str("no earlier run with this command and these sources"),
            Self::Changed { what } => write!(f, "changed: {what}"),
            Self::EntryEvicted => f.write_str("its result was evicted"),
            Self::BlobMissing { digest } => {
                write!(f, "a blob of its result is missing ({})", &digest[..12.min(digest.len())])
            }
            Self::NotRestorable { why } => write!(f, "its result cannot be put back: {why}"),
            Self::RestoreFailed { why } => write!(f, "putting its result back failed: {why}"),
            Self::Uncacheable { why } => write!(f, "not cacheable: {why}"),
            Self::Cheap => f.write_str("cheaper than a lookup"),
            Self::Failed { code } => write!(f, "failed with exit code {code}; failures are not stored"),
            Self::Killed => f.write_str("killed by a signal"),
            Self::Disabled => f.write_str("the cache is not read"),
            Self::Rechecked => f.write_str("its result is known; it ran to compare"),
        }
    }
}

/// A weak fingerprint with this many path sets gets a second level.
const CROWD: usize = 5;
/// Observations in this share of its path sets are part of the second-level fingerprint, percent.
const COMMON: usize = 40;

/// Looks under each of these in turn. The reason of a miss is that of the first under which there was something.
pub fn first(
    all: &[Digest],
    results: &dyn Results,
    blobs: &dyn Blobs,
    w: &Now<'_>,
) -> cache::Result<Result<Found, Reason>> {
    let mut reason = Reason::NoWeakMatch;
    for weak in all {
        match lookup(weak, results, blobs, w)? {
            Ok(found) => return Ok(Ok(found)),
            Err(why) if reason == Reason::NoWeakMatch => reason = why,
            Err(_) => {}
        }
    }
    Ok(Err(reason))
}

/// Looks for a result. `Err` is the reason of the miss, from the most recently used candidate.
fn lookup(
    weak: &Digest,
    results: &dyn Results,
    blobs: &dyn Blobs,
    w: &Now<'_>,
) -> cache::Result<Result<Found, Reason>> {
    let links = links(results, weak)?;
    match one_level(weak, &links, results, blobs, w)? {
        Err(reason) => match augmented(weak, &links, results, w)? {
            Some(second) => Ok(match one_level(&second, &self::links(results, &second)?, results, blobs, w)? {
                Err(Reason::NoWeakMatch) => Err(reason),
                other => other,
            }),
            None => Ok(Err(reason)),
        },
        hit => Ok(hit),
    }
}

/// The fingerprint under which a result with this path set is published: the number of candidates of a weak
/// fingerprint stays bounded, and so does the time to look through them.
pub fn publication_weak(weak: &Digest, path_set: &Digest, results: &dyn Results, w: &Now<'_>) -> cache::Result<Digest> {
    let links = links(results, weak)?;
    if links.iter().any(|l| l.path_set == *path_set) {
        return Ok(*weak);
    }
    Ok(augmented(weak, &links, results, w)?.unwrap_or(*weak))
}

fn links(results: &dyn Results, weak: &Digest) -> cache::Result<Vec<Link>> {
    Ok(results.candidates(std::slice::from_ref(weak))?.pop().unwrap_or_default())
}

/// The second-level fingerprint of a crowded weak one: what most of its path sets have in common, as it is now.
/// `None` while there is no crowd. From then on the first level does not grow, so this is the same each time.
fn augmented(weak: &Digest, links: &[Link], results: &dyn Results, w: &Now<'_>) -> cache::Result<Option<Digest>> {
    let mut sets: Vec<Digest> = links.iter().map(|l| l.path_set).collect();
    sets.sort_unstable();
    sets.dedup();
    if sets.len() < CROWD {
        return Ok(None);
    }
    let mut counts: BTreeMap<cache::Observation, usize> = BTreeMap::new();
    for set in results.path_sets(&sets)?.into_iter().flatten() {
        for o in set.observations() {
            *counts.entry(o.clone()).or_insert(0) += 1;
        }
    }
    let mut f = cache::Fingerprint::new("augmented weak");
    f.digest("weak", weak);
    for (o, _) in counts.iter().filter(|(_, n)| **n * 100 >= sets.len() * COMMON) {
        f.digest("value", &w.evaluate(o).unwrap_or(Digest([0; 32])));
    }
    Ok(Some(f.finish()))
}

/// Path sets of candidates, read as the candidates are tried: the first alone, since it is most often the one, then as
/// many again as were of no use.
struct PathSets<'a> {
    results: &'a dyn Results,
    /// Those that were not read yet, in the order of the candidates.
    ahead: std::vec::IntoIter<Digest>,
    read: FxHashMap<Digest, Option<PathSet>>,
}

impl<'a> PathSets<'a> {
    fn new(results: &'a dyn Results, links: &[Link]) -> Self {
        let mut seen = FxHashSet::default();
        let ahead: Vec<Digest> = links.iter().map(|l| l.path_set).filter(|d| seen.insert(*d)).collect();
        Self { results, ahead: ahead.into_iter(), read: FxHashMap::default() }
    }

    fn take(&mut self, d: &Digest) -> cache::Result<Option<PathSet>> {
        while !self.read.contains_key(d) && self.ahead.len() > 0 {
            let next: Vec<Digest> = self.ahead.by_ref().take(self.read.len().max(1)).collect();
            self.read.extend(next.iter().copied().zip(self.results.path_sets(&next)?));
        }
        Ok(self.read.get_mut(d).and_then(Option::take))
    }
}

fn one_level(
    weak: &Digest,
    links: &[Link],
    results: &dyn Results,
    blobs: &dyn Blobs,
    w: &Now<'_>,
) -> cache::Result<Result<Found, Reason>> {
    let mut reason = None;
    let mut sets = PathSets::new(results, links);
    let mut evaluated: FxHashMap<Digest, Option<Evaluated>> = FxHashMap::default();
    for l in links {
        let e = match evaluated.entry(l.path_set) {
            Entry::Occupied(e) => e.into_mut(),
            Entry::Vacant(v) => v.insert(sets.take(&l.path_set)?.map(|set| evaluate(weak, &l.path_set, set, w))),
        };
        let Some(e) = e else {
            reason.get_or_insert(Reason::EntryEvicted);
            continue;
        };
        if e.strong != l.strong {
            if reason.is_none() {
                reason =
                    Some(Reason::Changed { what: first_difference(l, e).unwrap_or_else(|| "an input".to_owned()) });
            }
            continue;
        }
        let Some(entry) = results.entries(std::slice::from_ref(&l.strong))?.pop().flatten() else {
            reason = Some(Reason::EntryEvicted);
            continue;
        };
        let wanted: Vec<Digest> = entry.blobs().copied().collect();
        if let Some(lost) = blobs.fetch(&wanted)?.first() {
            reason = Some(Reason::BlobMissing { digest: lost.digest.hex() });
            continue;
        }
        if let Err(why) = materialise::check(&entry.outputs) {
            reason = Some(Reason::NotRestorable { why });
            continue;
        }
        let set = std::mem::take(&mut e.set);
        results.adopt(&Publication { weak, set: &set, strong: &l.strong, values: &l.values, entry: &entry });
        return Ok(Ok(Found { strong: l.strong, entry, path_set: l.path_set, set, values: l.values.clone() }));
    }
    Ok(Err(reason.unwrap_or(Reason::NoWeakMatch)))
}

struct Evaluated {
    strong: Digest,
    values: Vec<u64>,
    set: PathSet,
}

fn evaluate(weak: &Digest, path_set: &Digest, set: PathSet, w: &Now<'_>) -> Evaluated {
    let mut values = Vec::with_capacity(set.observations().len());
    for o in set.observations() {
        // What cannot be told is no known value: it differs from every recorded one.
        values.push(w.evaluate(o).unwrap_or(Digest([0; 32])));
    }
    let strong = cache::path_set::strong_fingerprint(weak, path_set, &values);
    Evaluated { strong, values: values.iter().map(short).collect(), set }
}

fn first_difference(l: &Link, e: &Evaluated) -> Option<String> {
    let at = l.values.iter().zip(&e.values).position(|(a, b)| a != b)?;
    e.set.observations().get(at).map(cache::Observation::describe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache::tier::{Memory, Source, Upload};
    use cache::{Observation, Output, OutputKind, Time};
    use worker::testing::Table;

    const WEAK: Digest = Digest([1; 32]);

    fn file(path: &str) -> Observation {
        Observation::FileContent(path.as_bytes().into())
    }

    fn absent(path: &str) -> Observation {
        Observation::Absent(path.as_bytes().into())
    }

    /// A result whose only output holds `text`, for the world as it is, with these observations.
    fn publish(m: &Memory, t: &Table, weak: &Digest, observations: &[Observation], text: &str) -> Digest {
        let now = Now::new(t);
        let set = PathSet::new(observations.to_vec());
        let values: Vec<Digest> = set.observations().iter().map(|o| now.evaluate(o).expect("a value")).collect();
        let (_, digest) = set.encode().unwrap();
        let strong = cache::path_set::strong_fingerprint(weak, &digest, &values);
        let content = Digest::of(text.as_bytes());
        let dir = std::env::temp_dir();
        let kind = OutputKind::File {
            digest: content,
            size: text.len() as u64,
            mode: 0o644,
            link_group: None,
            in_place: false,
            traits: Default::default(),
            time: Time::Fresh,
        };
        let path = dir.join("xl-no-such-output").as_os_str().as_encoded_bytes().into();
        let entry = cache::Entry { outputs: vec![Output { path, kind }], ..Default::default() };
        m.put(&[Upload { digest: content, source: Source::Bytes(text.as_bytes()) }]).unwrap();
        let values: Vec<u64> = values.iter().map(short).collect();
        m.publish(&Publication { weak, set: &set, strong: &strong, values: &values, entry: &entry }).unwrap();
        strong
    }

    fn look(m: &Memory, t: &Table) -> Result<Digest, Reason> {
        first(&[WEAK], m, m, &Now::new(t)).unwrap().map(|f| f.strong)
    }

    fn changed(what: &str) -> Reason {
        Reason::Changed { what: what.to_owned() }
    }

    #[test]
    fn a_result_holds_as_long_as_what_it_observed() {
        let (m, mut t) = (Memory::default(), Table::new());
        t.file("/w/a.c", "1").file("/w/b.h", "1");
        assert_eq!(look(&m, &t), Err(Reason::NoWeakMatch));
        let strong = publish(&m, &t, &WEAK, &[file("/w/a.c"), file("/w/b.h"), absent("/w/new/b.h")], "o");
        assert_eq!(look(&m, &t), Ok(strong));
        // Another time, another inode: the same content.
        t.file("/w/b.h", "1");
        assert_eq!(look(&m, &t), Ok(strong));
        t.write("/w/b.h", "2");
        assert_eq!(look(&m, &t), Err(changed(&file("/w/b.h").describe())));
        t.write("/w/b.h", "1").file("/w/new/b.h", "");
        assert_eq!(look(&m, &t), Err(changed(&absent("/w/new/b.h").describe())));
        t.remove("/w/new/b.h");
        assert_eq!(look(&m, &t), Ok(strong), "what was is again");
    }

    #[test]
    fn each_state_finds_its_own_result() {
        let (m, mut t) = (Memory::default(), Table::new());
        let of = |m: &Memory, t: &mut Table, text: &str| {
            t.file("/w/f", text);
            publish(m, t, &WEAK, &[file("/w/f")], text)
        };
        let all: Vec<(String, Digest)> =
            (0..3).map(|i| i.to_string()).map(|text| (text.clone(), of(&m, &mut t, &text))).collect();
        for (text, strong) in &all {
            t.file("/w/f", text);
            assert_eq!(look(&m, &t), Ok(*strong), "{text}");
        }
    }

    #[test]
    fn what_is_lost_is_named() {
        let (m, mut t) = (Memory::default(), Table::new());
        t.file("/w/f", "1");
        publish(&m, &t, &WEAK, &[file("/w/f")], "text");
        m.remove(&Digest::of(b"text"));
        assert_eq!(look(&m, &t), Err(Reason::BlobMissing { digest: Digest::of(b"text").hex() }));
    }

    /// The fingerprints of one command are tried in turn; the first under which there is something gives the reason.
    #[test]
    fn fingerprints_in_turn() {
        let (m, mut t) = (Memory::default(), Table::new());
        t.file("/w/f", "1").file("/w/g", "1");
        let [one, two, three] = [Digest([2; 32]), Digest([3; 32]), Digest([4; 32])];
        publish(&m, &t, &two, &[file("/w/f")], "f");
        let strong = publish(&m, &t, &three, &[file("/w/g")], "g");
        let found = |t: &Table| first(&[one, two, three], &m, &m, &Now::new(t)).unwrap().map(|f| f.strong);
        t.write("/w/f", "2");
        assert_eq!(found(&t), Ok(strong));
        t.write("/w/g", "2");
        assert_eq!(found(&t), Err(changed(&file("/w/f").describe())));
    }

    /// A command that depends on something else each time: the first level stops growing, and what is published after
    /// that is found on the second.
    #[test]
    fn a_crowd_gets_a_second_level() {
        let (m, mut t) = (Memory::default(), Table::new());
        t.file("/w/common", "1");
        let publish_next = |t: &mut Table, i: usize| {
            let own = format!("/w/own{i}");
            t.file(&own, "x");
            let observations = [file("/w/common"), file(&own)];
            let (_, digest) = PathSet::new(observations.to_vec()).encode().unwrap();
            let weak = publication_weak(&WEAK, &digest, &m, &Now::new(t)).unwrap();
            (weak, publish(&m, t, &weak, &observations, &i.to_string()))
        };
        let all: Vec<(Digest, Digest)> = (0..2 * CROWD).map(|i| publish_next(&mut t, i)).collect();
        assert!(all[..CROWD].iter().all(|(weak, _)| *weak == WEAK));
        assert!(all[CROWD..].iter().all(|(weak, _)| *weak != WEAK && *weak == all[CROWD].0));
        // Only the last one's is still what it was.
        (0..2 * CROWD - 1).for_each(|i| _ = t.write(&format!("/w/own{i}"), "y"));
        assert_eq!(look(&m, &t), Ok(all[2 * CROWD - 1].1));
        t.write("/w/common", "2");
        assert!(look(&m, &t).is_err(), "another second level");
    }
}
