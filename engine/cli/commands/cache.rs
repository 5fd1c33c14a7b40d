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
            let (mut blobs, mut bytes) = (0u64, 0u64);
            cache.cas.walk(|b| {
                blobs += 1;
                bytes += b.size;
            })?;
            let entries = cache.store.entries()?;
            println!("directory  {}", config.cache_dir.display());
            println!("results    {}", entries.len());
            println!("blobs      {blobs}");
            println!("bytes      {bytes} of {}", config.max_bytes);
            println!("builds     {}", cache.store.builds()?.len());
            if let Some(oldest) = entries.iter().map(|e| e.2).min() {
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
            let mut names = Vec::new();
            cache.cas.walk(|b| names.push(b.digest))?;
            let mut damaged = 0;
            for d in &names {
                if !cache.cas.verify(d)? {
                    damaged += 1;
                    println!("damaged, dropped: {d}");
                }
            }
            let records = cache.store.verify()?;
            println!("{} blobs and {records} records checked, {damaged} damaged", names.len());
            i32::from(damaged > 0)
        }
    };
    cache.store.close();
    Ok(code)
}
