//! `xl cache`: stats, gc, verify, path.

use super::{config, with_cache};
use crate::args::{CacheArgs, CacheCommand};
use crate::messages::{CommandError, warning};
use crate::output::print;
use ::cache::CacheHandle;
use engine::Config;
use engine::values::Size;

pub(crate) fn run(a: &CacheArgs) -> Result<i32, CommandError> {
    let config = config(&a.common)?;
    match a.command {
        CacheCommand::Path => print(format!("{}\n", config.cache_dir.display())).map(|()| 0),
        CacheCommand::Stats => with_cache(&config, |c| stats(c, &config)),
        CacheCommand::Gc { max_bytes } => with_cache(&config, |c| gc(c, &config, max_bytes)),
        CacheCommand::Verify => with_cache(&config, verify),
    }
}

fn stats(cache: &CacheHandle, config: &Config) -> Result<i32, CommandError> {
    let usage = cache.store.usage()?;
    let mut text = format!(
        "directory  {}\nresults    {}\nblobs      {}\n",
        config.cache_dir.display(),
        usage.results,
        usage.blobs
    );
    text.push_str(&format!(
        "bytes      {} of {} ({} of {})\nbuilds     {}\n",
        usage.bytes,
        config.max_bytes,
        Size(usage.bytes),
        Size(config.max_bytes),
        cache.store.builds()?.len()
    ));
    if let Some(oldest) = cache.store.oldest_use()? {
        text.push_str(&format!("oldest use {} s ago\n", ::cache::store::now_ms().saturating_sub(oldest) / 1000));
    }
    print(text).map(|()| 0)
}

fn gc(cache: &CacheHandle, config: &Config, max_bytes: Option<Size>) -> Result<i32, CommandError> {
    let limits = engine::gc::Limits::of(config);
    let done =
        engine::gc::collect(cache, engine::gc::Limits { bytes: max_bytes.map_or(limits.bytes, |s| s.0), ..limits })?;
    let text = format!(
        "removed {} results and {} blobs ({}); {} stay\n",
        done.entries,
        done.blobs,
        Size(done.bytes),
        Size(done.kept_bytes)
    );
    print(text).map(|()| 0)
}

fn verify(cache: &CacheHandle) -> Result<i32, CommandError> {
    let found = engine::gc::verify(cache)?;
    let damaged: String = found.damaged.iter().map(|d| format!("damaged, dropped: {d}\n")).collect();
    print(format!(
        "{damaged}{} blobs and {} records checked, {} damaged\n",
        found.blobs,
        found.records,
        found.damaged.len()
    ))?;
    let of_records = cache.store.notices();
    of_records.iter().for_each(|n| warning(n));
    Ok(i32::from(!found.damaged.is_empty() || !of_records.is_empty()))
}
