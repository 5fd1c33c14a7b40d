//! The two-phase lookup: candidates of a weak fingerprint against the current state, newest first.

use cache::store::{Link, short};
use cache::{Cas, Digest, PathSet, Store, materialise};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use worker::world::World;

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
pub fn first(all: &[Digest], store: &Store, cas: &Cas, w: &World<'_>) -> cache::Result<Result<Found, Reason>> {
    let mut reason = Reason::NoWeakMatch;
    for weak in all {
        match lookup(weak, store, cas, w)? {
            Ok(found) => return Ok(Ok(found)),
            Err(why) if reason == Reason::NoWeakMatch => reason = why,
            Err(_) => {}
        }
    }
    Ok(Err(reason))
}

/// Looks for a result. `Err` is the reason of the miss, from the most recently used candidate.
pub fn lookup(weak: &Digest, store: &Store, cas: &Cas, w: &World<'_>) -> cache::Result<Result<Found, Reason>> {
    match one_level(weak, store, cas, w)? {
        Err(reason) => match augmented(weak, store, w)? {
            Some(second) => Ok(match one_level(&second, store, cas, w)? {
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
pub fn publication_weak(weak: &Digest, path_set: &Digest, store: &Store, w: &World<'_>) -> cache::Result<Digest> {
    if store.links(weak)?.iter().any(|l| l.path_set == *path_set) {
        return Ok(*weak);
    }
    Ok(augmented(weak, store, w)?.unwrap_or(*weak))
}

/// The second-level fingerprint of a crowded weak one: what most of its path sets have in common, as it is now.
/// `None` while there is no crowd. From then on the first level does not grow, so this is the same each time.
fn augmented(weak: &Digest, store: &Store, w: &World<'_>) -> cache::Result<Option<Digest>> {
    let mut sets: Vec<Digest> = store.links(weak)?.iter().map(|l| l.path_set).collect();
    sets.sort_unstable();
    sets.dedup();
    if sets.len() < CROWD {
        return Ok(None);
    }
    let mut counts: BTreeMap<cache::Observation, usize> = BTreeMap::new();
    for d in &sets {
        for o in store.path_set(d)?.unwrap_or_default().observations() {
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

fn one_level(weak: &Digest, store: &Store, cas: &Cas, w: &World<'_>) -> cache::Result<Result<Found, Reason>> {
    let links = store.links(weak)?;
    if links.is_empty() {
        return Ok(Err(Reason::NoWeakMatch));
    }
    let mut reason = None;
    let mut evaluated: FxHashMap<Digest, Option<Evaluated>> = FxHashMap::default();
    for l in &links {
        let e = match evaluated.entry(l.path_set) {
            Entry::Occupied(e) => e.into_mut(),
            Entry::Vacant(v) => v.insert(evaluate(weak, &l.path_set, store, w)?),
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
        let Some(entry) = store.entry(&l.strong)? else {
            reason = Some(Reason::EntryEvicted);
            continue;
        };
        if let Some(d) = entry.blobs().find(|d| !cas.contains(d)) {
            reason = Some(Reason::BlobMissing { digest: d.hex() });
            continue;
        }
        if let Err(why) = materialise::check(&entry.outputs) {
            reason = Some(Reason::NotRestorable { why });
            continue;
        }
        let set = std::mem::take(&mut e.set);
        return Ok(Ok(Found { strong: l.strong, entry, path_set: l.path_set, set, values: l.values.clone() }));
    }
    Ok(Err(reason.unwrap_or(Reason::NoWeakMatch)))
}

struct Evaluated {
    strong: Digest,
    values: Vec<u64>,
    set: PathSet,
}

fn evaluate(weak: &Digest, path_set: &Digest, store: &Store, w: &World<'_>) -> cache::Result<Option<Evaluated>> {
    let Some(set) = store.path_set(path_set)? else { return Ok(None) };
    let mut values = Vec::with_capacity(set.observations().len());
    for o in set.observations() {
        // What cannot be told is no known value: it differs from every recorded one.
        values.push(w.evaluate(o).unwrap_or(Digest([0; 32])));
    }
    let strong = cache::path_set::strong_fingerprint(weak, path_set, &values);
    Ok(Some(Evaluated { strong, values: values.iter().map(short).collect(), set }))
}

fn first_difference(l: &Link, e: &Evaluated) -> Option<String> {
    let at = l.values.iter().zip(&e.values).position(|(a, b)| a != b)?;
    e.set.observations().get(at).map(cache::Observation::describe)
}
