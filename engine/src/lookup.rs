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
