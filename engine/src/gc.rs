//! Keeping the cache below its cap: least recently used results go first, then the blobs that nothing names.

use crate::config::Config;
use crate::run::CacheHandle;
use cache::Digest;
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
    let mut sizes: HashMap<Digest, (u64, u64)> = HashMap::new();
    c.cas.walk(|b| {
        sizes.insert(b.digest, (b.size, b.age));
    })?;
    let mut entries = c.store.entries()?;
    entries.sort_by_key(|(_, _, used)| std::cmp::Reverse(*used));
    let mut keep: HashSet<Digest> = HashSet::new();
    let mut dropped: HashSet<Digest> = HashSet::new();
    let mut total = 0;
    let oldest = limits.age.map_or(0, |a| cache::store::now_ms().saturating_sub(a.saturating_mul(1000)));
    let most = limits.count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    for (i, (strong, e, used)) in entries.iter().enumerate() {
        let new: Vec<&Digest> = e.blobs().filter(|b| !keep.contains(b)).collect();
        let size: u64 = new.iter().filter_map(|b| sizes.get(b)).map(|(s, _)| *s).sum();
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
    let young_ones = |age: u64| age < YOUNG && total < cap;
    for (d, (size, age)) in &sizes {
        let named_by_dropped = || entries.iter().any(|(s, e, _)| dropped.contains(s) && e.blobs().any(|b| b == d));
        if keep.contains(d) || (young_ones(*age) && !named_by_dropped()) {
            continue;
        }
        c.cas.remove(d)?;
        done.blobs += 1;
        done.bytes += size;
    }
    c.cas.sweep_scratch();
    Ok(done)
}

/// After a run that stored something: collect if a limit is passed. Failing costs only disk space.
pub fn after_run(c: &CacheHandle, config: &Config, stored: u64) {
    if stored == 0 {
        return;
    }
    let mut total = 0;
    let measured = c.cas.walk(|b| total += b.size);
    let limits = Limits::of(config);
    let by_use = limits.age.is_some() || limits.count.is_some();
    if measured.is_ok() && (total > limits.bytes || by_use) {
        let bytes = if total > limits.bytes { limits.bytes.saturating_sub(config.evict_bytes) } else { limits.bytes };
        let _ = collect(c, Limits { bytes, ..limits });
    }
}
