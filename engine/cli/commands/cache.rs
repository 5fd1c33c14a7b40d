//! `xl cache`: stats, gc, verify, path.

use super::{config, open_cache};
use crate::app::{CacheArgs, CacheCommand};
use crate::messages::{CommandError, warning};

pub fn run(a: &CacheArgs) -> Result<i32, CommandError> {
    let config = config(&a.common)?;
    if let CacheCommand::Path = a.command {
        println!("{}", config.cache_dir.display());
        return Ok(0);
    }
    let (cache, notices) = open_cache(&config)?;
    notices.iter().for_each(|n| warning(n));
    let code = match a.command {
        CacheCommand::Path => 0,
        CacheCommand::Stats => {
            let usage = cache.store.usage()?;
            println!("directory  {}", config.cache_dir.display());
            println!("results    {}", usage.results);
            println!("blobs      {}", usage.blobs);
            println!("bytes      {} of {}", usage.bytes, config.max_bytes);
            println!("builds     {}", cache.store.builds()?.len());
            if let Some(oldest) = cache.store.oldest_use()? {
                println!("oldest use {} s ago", ::cache::store::now_ms().saturating_sub(oldest) / 1000);
            }
            0
        }
        CacheCommand::Gc { max_bytes } => {
            let limits = engine::gc::Limits::of(&config);
            let done = engine::gc::collect(&cache, engine::gc::Limits { bytes: max_bytes.unwrap_or(limits.bytes), ..limits })?;
            println!("removed {} results and {} blobs ({} bytes); {} bytes stay", done.entries, done.blobs, done.bytes, done.kept_bytes);
            0
        }
        CacheCommand::Verify => {
            let found = engine::gc::verify(&cache)?;
            found.damaged.iter().for_each(|d| println!("damaged, dropped: {d}"));
            println!("{} blobs and {} records checked, {} damaged", found.blobs, found.records, found.damaged.len());
            let of_records = cache.store.notices();
            of_records.iter().for_each(|n| warning(n));
            i32::from(!found.damaged.is_empty() || !of_records.is_empty())
        }
    };
    cache.store.close();
    cache.store.notices().iter().for_each(|n| warning(n));
    Ok(code)
}
