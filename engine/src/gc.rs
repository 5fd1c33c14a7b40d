//! Keeping the cache below its cap: least recently used results go first, then the blobs that nothing names.
//!
//! Whether a limit is passed is told by sums that the store keeps; only a collection looks at every blob, and it makes
//! room for many runs. It compares the sums with what it finds, and so does a verification.

use crate::config::Config;
use cache::{CacheHandle, Digest};
use std::collections::{HashMap, HashSet};

/// What a collection did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Collected {
    pub entries: u64,
    pub blobs: u64,
    pub bytes: u64,
    pub kept_bytes: u64,
}

/// Blobs younger than this may belong to a result that is just being published, seconds.
const YOUNG: u64 = 3600;

/// What may stay.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bytes: u64,
    /// Since the last use, seconds.
    pub age: Option<u64>,
    pub count: Option<u64>,
}

impl Limits {
    /// The configured ones.
    pub fn of(c: &Config) -> Self {
        Self { bytes: c.max_bytes, age: c.max_age, count: c.max_count }
    }
}

/// Brings the cache below its limits, and drops what only served results that are gone.
pub fn collect(c: &CacheHandle, limits: Limits) -> cache::Result<Collected> {
    let cap = limits.bytes;
    let mut sizes: HashMap<Digest, u64> = HashMap::new();
    let mut young: HashSet<Digest> = HashSet::new();
    c.cas.walk(|b| {
        sizes.insert(b.digest, b.size);
        young.extend((b.age < YOUNG).then_some(b.digest));
    })?;
    let mut entries = c.store.all_entries()?;
    entries.sort_by_key(|(_, _, used)| std::cmp::Reverse(*used));
    let mut keep: HashSet<Digest> = HashSet::new();
    let mut dropped: HashSet<Digest> = HashSet::new();
    let mut total = 0;
    let oldest = limits.age.map_or(0, |a| cache::store::now_ms().saturating_sub(a.saturating_mul(1000)));
    let most = limits.count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    for (i, (strong, e, used)) in entries.iter().enumerate() {
        let new: Vec<&Digest> = e.blobs().filter(|b| !keep.contains(b)).collect();
        let size: u64 = new.iter().filter_map(|b| sizes.get(b)).sum();
        let missing = new.iter().any(|b| !sizes.contains_key(b));
        if missing || total + size > cap || *used < oldest || i >= most {
            dropped.insert(*strong);
            continue;
        }
        total += size;
        keep.extend(new.into_iter().copied());
    }
    c.store.drop_entries(&dropped)?;
    c.store.drop_leftovers()?;
    let mut done = Collected { entries: dropped.len() as u64, kept_bytes: total, ..Collected::default() };
    let useless: HashSet<Digest> =
        entries.iter().filter(|(s, ..)| dropped.contains(s)).flat_map(|(_, e, _)| e.blobs().copied()).collect();
    let stays = |d: &Digest| keep.contains(d) || (total < cap && young.contains(d) && !useless.contains(d));
    let gone: Vec<Digest> = sizes.keys().filter(|d| !stays(d)).copied().collect();
    for d in &gone {
        c.cas.remove(d)?;
        done.blobs += 1;
        done.bytes += sizes.remove(d).unwrap_or(0);
    }
    c.cas.sweep_scratch();
    c.store.note_blobs(&c.cas)?;
    c.store.count_blobs(&sizes, &c.cas)?;
    c.store.fold();
    // Its time is that of the last collection.
    let _ = std::fs::write(c.store.dir().join(MARK), b"");
    Ok(done)
}

/// The name of a file that a collection leaves.
const MARK: &str = "collected";

/// A limit that was passed is kept for some time: a tenth of it is free afterwards, and what is too old is looked for
/// ten times while it gets so.
const SHARE: u64 = 10;

/// After a run that stored something: collect if a limit is passed. Failing costs only disk space.
pub fn after_run(c: &CacheHandle, config: &Config) {
    let Ok(usage) = c.store.usage() else { return };
    let limits = Limits::of(config);
    let fewer = |n: u64, most: u64, by: u64| (n > most).then(|| most.saturating_sub(by));
    let bytes = fewer(usage.bytes, limits.bytes, config.evict_bytes);
    let count = limits.count.and_then(|most| fewer(usage.results, most, most / SHARE));
    let last = std::fs::metadata(c.store.dir().join(MARK)).and_then(|m| m.modified()).ok();
    let since = last.and_then(|t| t.elapsed().ok()).map_or(u64::MAX, |t| t.as_secs());
    let is_due = limits.age.is_some_and(|age| since >= age / SHARE);
    if bytes.is_some() || count.is_some() || is_due {
        let _ = collect(c, Limits { bytes: bytes.unwrap_or(limits.bytes), count: count.or(limits.count), ..limits });
    }
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    pub blobs: u64,
    pub records: u64,
    /// They are gone now.
    pub damaged: Vec<Digest>,
}

/// Reads everything. What is damaged is dropped, and the sums are made right.
pub fn verify(c: &CacheHandle) -> cache::Result<Verified> {
    let mut sizes: HashMap<Digest, u64> = HashMap::new();
    c.cas.walk(|b| sizes.extend([(b.digest, b.size)]))?;
    let mut found = Verified { blobs: sizes.len() as u64, ..Verified::default() };
    for d in sizes.keys() {
        match c.cas.verify(d) {
            Ok(true) => {}
            Ok(false) => found.damaged.push(*d),
            // Somebody has collected it meanwhile.
            Err(_) if !c.cas.contains(d) => {}
            Err(e) => return Err(e),
        }
    }
    found.records = c.store.verify()?;
    sizes.retain(|d, _| c.cas.contains(d));
    c.store.note_blobs(&c.cas)?;
    c.store.count_blobs(&sizes, &c.cas)?;
    Ok(found)
}
