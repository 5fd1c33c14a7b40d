//! The two-phase lookup: candidates of a weak fingerprint against the current state, newest first.
//!
//! The reason of a miss is that of the nearest candidate, the one that differs in the fewest observations: the newest
//! may be of another variant of the build, and would be blamed on what has nothing to do with this one.
//!
//! Knows nothing of where results are kept: it asks the two seams of the cache, in batches where the answer to one
//! question does not decide whether there is another. When it has found a result, all blobs of it are in the nearest
//! store, from which they are restored.

use crate::change::{Change, changes, distance};
use cache::tier::short;
use cache::{Blobs, CacheHandle, Digest, Link, PathSet, Publication, Results, materialise};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use worker::evaluate::Now;

/// A result that may be served.
pub struct Found {
    /// Under which it is stored.
    pub weak: Digest,
    pub strong: Digest,
    pub entry: cache::Entry,
    pub path_set: Digest,
    /// What it names.
    pub set: PathSet,
    /// The short values of what was observed.
    pub values: Vec<u64>,
    /// It was not on this machine.
    pub far: bool,
}

/// Why a command ran: machine-readable, and printable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Reason {
    /// Never seen with this program, arguments, static inputs.
    NoWeakMatch,
    /// What it depended on has another value now.
    Changed {
        /// What tells most of it.
        what: String,
        /// All that differs from the nearest result; empty in records of earlier versions.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        all: Vec<Change>,
        /// How many more differ.
        #[serde(skip_serializing_if = "is_zero", default)]
        more: u64,
    },
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
            Self::Changed { what, all, more } => {
                const SHOWN: usize = 3;
                let first = all.iter().map(|c| c.what.as_str()).take(SHOWN).collect::<Vec<_>>().join(", ");
                write!(f, "changed: {}", if first.is_empty() { what } else { &first })?;
                match all.len().saturating_sub(SHOWN) as u64 + more {
                    0 => Ok(()),
                    rest => write!(f, " and {rest} more"),
                }
            }
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

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Why there is no hit, and in how many observations the nearest candidate differs.
struct Miss {
    distance: usize,
    reason: Reason,
}

impl Miss {
    /// There is no candidate.
    const NONE: Self = Self { distance: usize::MAX, reason: Reason::NoWeakMatch };

    fn nearer(self, other: Self) -> Self {
        if other.distance < self.distance { other } else { self }
    }
}

/// A weak fingerprint with this many path sets gets a second level.
const CROWD: usize = 5;
/// Observations in this share of its path sets are part of the second-level fingerprint, percent.
const COMMON: usize = 40;

/// Looks under each of these in turn: on this machine, and only if nothing is found there, in the farther tier. The
/// reason of a miss is that of the nearest candidate of all.
pub fn first(all: &[Digest], cache: &CacheHandle, w: &Now<'_>) -> cache::Result<Result<Found, Reason>> {
    let mut miss = match each(all, cache.near(), cache.blobs(), w)? {
        Ok(found) => return Ok(Ok(found)),
        Err(miss) => miss,
    };
    if let Some(far) = cache.far() {
        // One question for all of them; it remembers the answers. What it cannot answer it does not have.
        let found = far.candidates(all).and_then(|_| each(all, far, cache.blobs(), w));
        match found.unwrap_or(Err(Miss::NONE)) {
            Ok(found) => return Ok(Ok(Found { far: true, ..found })),
            Err(other) => miss = miss.nearer(other),
        }
    }
    Ok(Err(miss.reason))
}

fn each(all: &[Digest], results: &dyn Results, blobs: &dyn Blobs, w: &Now<'_>) -> cache::Result<Result<Found, Miss>> {
    let mut nearest = Miss::NONE;
    for weak in all {
        match lookup(weak, results, blobs, w)? {
            Ok(found) => return Ok(Ok(found)),
            Err(miss) => nearest = nearest.nearer(miss),
        }
    }
    Ok(Err(nearest))
}

/// Looks for a result.
fn lookup(weak: &Digest, results: &dyn Results, blobs: &dyn Blobs, w: &Now<'_>) -> cache::Result<Result<Found, Miss>> {
    let links = links(results, weak)?;
    let miss = match one_level(weak, &links, results, blobs, w)? {
        Err(miss) => miss,
        hit => return Ok(hit),
    };
    let Some(second) = augmented(weak, &links, results, w)? else { return Ok(Err(miss)) };
    let found = one_level(&second, &self::links(results, &second)?, results, blobs, w)?;
    Ok(found.map_err(|other| miss.nearer(other)))
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
        // Those of what the command makes are others when it has made it.
        let of_names =
            |o: &&cache::Observation| !matches!(o, cache::Observation::Rights(_) | cache::Observation::Owner(_));
        for o in set.observations().iter().filter(of_names) {
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
) -> cache::Result<Result<Found, Miss>> {
    // What holds and is lost differs in nothing.
    let mut lost = None;
    let mut nearest: Option<(usize, &Link)> = None;
    let mut sets = PathSets::new(results, links);
    let mut evaluated: FxHashMap<Digest, Option<Evaluated>> = FxHashMap::default();
    for l in links {
        let e = match evaluated.entry(l.path_set) {
            Entry::Occupied(e) => e.into_mut(),
            Entry::Vacant(v) => v.insert(sets.take(&l.path_set)?.map(|set| evaluate(weak, &l.path_set, set, w))),
        };
        let Some(e) = e else { continue };
        if e.strong != l.strong {
            let n = distance(&l.values, &e.values);
            if nearest.is_none_or(|(least, _)| n < least) {
                nearest = Some((n, l));
            }
            continue;
        }
        let Some(entry) = results.entries(std::slice::from_ref(&l.strong))?.pop().flatten() else {
            lost = Some(Reason::EntryEvicted);
            continue;
        };
        match serve(weak, l.path_set, e, entry, results, blobs)? {
            Ok(found) => return Ok(Ok(found)),
            Err(reason) => lost = Some(reason),
        }
    }
    // A farther tier keeps few links for each path set; the strong fingerprint alone names the result.
    let linked: FxHashSet<Digest> = links.iter().map(|l| l.strong).collect();
    let unlinked = evaluated.iter_mut().filter_map(|(set, e)| Some((*set, e.as_mut()?)));
    let mut unlinked: Vec<(Digest, &mut Evaluated)> = unlinked.filter(|(_, e)| !linked.contains(&e.strong)).collect();
    let strongs: Vec<Digest> = unlinked.iter().map(|(_, e)| e.strong).collect();
    if !strongs.is_empty() {
        for ((set, e), entry) in unlinked.iter_mut().zip(results.entries(&strongs)?) {
            let Some(entry) = entry else { continue };
            match serve(weak, *set, e, entry, results, blobs)? {
                Ok(found) => return Ok(Ok(found)),
                Err(reason) => lost = Some(reason),
            }
        }
    }
    if let Some(reason) = lost {
        return Ok(Err(Miss { distance: 0, reason }));
    }
    Ok(Err(match nearest {
        Some((distance, l)) => {
            let e = evaluated.get(&l.path_set).and_then(Option::as_ref);
            let (all, more) = e.map(|e| changes(&e.set, &l.values, &e.values)).unwrap_or_default();
            let what = all.first().map_or_else(|| "an input".to_owned(), |c| c.what.clone());
            Miss { distance, reason: Reason::Changed { what, all, more } }
        }
        // Its path set is gone.
        None if !links.is_empty() => Miss { distance: usize::MAX - 1, reason: Reason::EntryEvicted },
        None => Miss::NONE,
    }))
}

/// A result that holds, once all that it needs is on this machine.
fn serve(
    weak: &Digest,
    path_set: Digest,
    e: &mut Evaluated,
    entry: cache::Entry,
    results: &dyn Results,
    blobs: &dyn Blobs,
) -> cache::Result<Result<Found, Reason>> {
    let wanted: Vec<Digest> = entry.blobs().copied().collect();
    if let Some(blob) = blobs.fetch(&wanted)?.first() {
        return Ok(Err(Reason::BlobMissing { digest: blob.digest.hex() }));
    }
    if let Err(why) = materialise::check(&entry.outputs) {
        return Ok(Err(Reason::NotRestorable { why }));
    }
    let (set, values) = (std::mem::take(&mut e.set), e.values.clone());
    results.adopt(&Publication { weak, set: &set, strong: &e.strong, values: &values, entry: &entry });
    Ok(Ok(Found { weak: *weak, strong: e.strong, entry, path_set, set, values, far: false }))
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
        each(&[WEAK], m, m, &Now::new(t)).unwrap().map(|f| f.strong).map_err(|m| m.reason)
    }

    /// All that the reason of a miss names.
    fn blamed(m: &Memory, t: &Table) -> Vec<String> {
        match look(m, t) {
            Err(Reason::Changed { what, all, more: 0 }) => {
                assert_eq!(what, all[0].what);
                all.into_iter().map(|c| c.what).collect()
            }
            other => panic!("{other:?}"),
        }
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
        assert_eq!(blamed(&m, &t), [file("/w/b.h").describe()]);
        t.write("/w/b.h", "1").file("/w/new/b.h", "");
        assert_eq!(blamed(&m, &t), [absent("/w/new/b.h").describe()]);
        t.write("/w/a.c", "2");
        assert_eq!(blamed(&m, &t), [file("/w/a.c").describe(), absent("/w/new/b.h").describe()], "all of them");
        t.write("/w/a.c", "1");
        t.remove("/w/new/b.h");
        assert_eq!(look(&m, &t), Ok(strong), "what was is again");
    }

    /// `LC_ALL` after a run with `CPATH`: the newest result differs in both, an older one only in what was changed.
    #[test]
    fn the_nearest_result_is_blamed() {
        let (m, mut t) = (Memory::default(), Table::new());
        let variable = |n: &str| Observation::Env(n.as_bytes().to_vec());
        let set = |t: &mut Table, n: &str, v: Option<&[u8]>| {
            _ = t.value(variable(n), cache::observation::value::env(&[0; 32], v));
        };
        let both = [variable("CPATH"), variable("LC_ALL")];
        ["CPATH", "LC_ALL"].iter().for_each(|n| set(&mut t, n, None));
        publish(&m, &t, &WEAK, &both, "plain");
        set(&mut t, "CPATH", Some(b"x"));
        publish(&m, &t, &WEAK, &both, "with a path");
        set(&mut t, "CPATH", None);
        set(&mut t, "LC_ALL", Some(b"C"));
        assert_eq!(blamed(&m, &t), ["environment variable LC_ALL"]);
        set(&mut t, "CPATH", Some(b"y"));
        assert_eq!(blamed(&m, &t).len(), 2, "now both differ from each");
    }

    #[test]
    fn reasons_of_earlier_versions_are_read() {
        let old: Reason = serde_json::from_str(r#"{"kind":"changed","what":"content of `/w/a.h`"}"#).unwrap();
        assert_eq!(old.to_string(), "changed: content of `/w/a.h`");
        let all: Vec<Change> = ["A", "B", "C", "D"].map(|n| Change::new(&Observation::Env(n.into()), 1, 2)).into();
        let new = Reason::Changed { what: all[0].what.clone(), all, more: 2 };
        let shown = "changed: environment variable A, environment variable B, environment variable C and 3 more";
        assert_eq!(new.to_string(), shown);
        let again: Reason = serde_json::from_str(&serde_json::to_string(&new).unwrap()).unwrap();
        assert_eq!(again, new);
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

    /// The fingerprints of one command are tried in turn; of two that are as near the first gives the reason.
    #[test]
    fn fingerprints_in_turn() {
        let (m, mut t) = (Memory::default(), Table::new());
        t.file("/w/f", "1").file("/w/g", "1");
        let [one, two, three] = [Digest([2; 32]), Digest([3; 32]), Digest([4; 32])];
        publish(&m, &t, &two, &[file("/w/f")], "f");
        let strong = publish(&m, &t, &three, &[file("/w/g")], "g");
        let found =
            |t: &Table| each(&[one, two, three], &m, &m, &Now::new(t)).unwrap().map(|f| f.strong).map_err(|m| m.reason);
        t.write("/w/f", "2");
        assert_eq!(found(&t), Ok(strong));
        t.write("/w/g", "2");
        assert!(matches!(found(&t), Err(Reason::Changed { what, .. }) if what == file("/w/f").describe()));
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
