//! Whether a run that stores something costs more where much is stored already: a short command that misses, beside a
//! thousand blobs and beside a million.

use super::{Bench, Costs, medians, timed};
use serde_json::{Value, json};
use std::path::Path;

/// Blobs in the cache before the first command.
const SIZES: [u32; 2] = [1_000, 1_000_000];

/// Times are short: this many for one of the longer builds.
const TIMES: usize = 5;

/// A cache with so many blobs. They are empty, for only their number matters; nothing names them, so they count as just
/// coming.
fn plant(cache: &Path, blobs: u32) -> std::io::Result<()> {
    let fan = |i: u32| cache.join(format!("cas/{:02x}", i % 256));
    for i in 0..256 {
        std::fs::create_dir_all(fan(i))?;
    }
    for i in 0..blobs {
        std::fs::File::create(fan(i).join(format!("{i:062x}")))?;
    }
    Ok(())
}

impl Bench {
    pub(super) fn size(&self, rounds: usize) -> Result<Value, String> {
        let dir = self.dir.join("size");
        std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        let xl = self.xl.display();
        let mut caches = Vec::new();
        for blobs in SIZES {
            let cache = self.dir.join(format!("size-cache-{blobs}"));
            // The first time there is none.
            drop(std::fs::remove_dir_all(&cache));
            eprintln!("bench: size: preparing {blobs} blobs");
            plant(&cache, blobs).map_err(|e| format!("`{}`: {e}", cache.display()))?;
            let cache = cache.display().to_string();
            // A collection tells the store of blobs that nobody told it of.
            timed(
                &format!("{xl} cache gc && {xl} cache stats | grep -q '^blobs *{blobs}$'"),
                &[("XL_CACHE_DIR", &cache)],
                &dir,
            )?;
            caches.push((blobs, cache));
        }
        let mut all = Costs::default();
        // The first time, files have to be read.
        for n in 0..=rounds * TIMES {
            for (blobs, cache) in &caches {
                let cost = timed(&format!("{xl} exec -- sh -c 'echo {n} >out'"), &[("XL_CACHE_DIR", cache)], &dir)?;
                if n > 0 {
                    all.add(format!("{blobs} blobs"), cost);
                }
            }
        }
        println!("\na short command that misses ({} rounds)\n\n| | wall ms | CPU ms |\n|---|---|---|", rounds * TIMES);
        let mut out = serde_json::Map::new();
        for (what, costs) in &all.0 {
            let (wall, cpu) = medians(costs);
            println!("| beside {what} | {:.1} | {:.1} |", wall * 1e3, cpu * 1e3);
            out.insert(what.clone(), json!({ "wall_ms": wall * 1e3, "cpu_ms": cpu * 1e3 }));
        }
        for (_, cache) in &caches {
            drop(std::fs::remove_dir_all(cache));
        }
        Ok(Value::Object(out))
    }
}
