//! The remote cache of a run: from what the configuration says to a tier behind the local cache.

use crate::exit_code;
use crate::messages::{CommandError, warning};
use cache::CacheHandle;
use engine::sharing::{Sharing, Upload};
use remote::Settings;
use remote::address::Address;
use std::time::Duration;

/// How long a run waits at its end, unless told otherwise.
const WAIT: Duration = Duration::from_secs(20);

/// Does this run in a CI system? They all say so.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|v| !matches!(v.as_str(), "" | "0" | "false"))
}

/// What is wanted of a remote cache; `None`: there is none.
pub(crate) fn settings(s: &Sharing) -> Result<Option<Settings>, CommandError> {
    let Some(text) = s.cache.as_deref().filter(|t| !t.is_empty()) else { return Ok(None) };
    let wrong = |e: remote::address::NoAddress| {
        CommandError::new(exit_code::CONFIG, "the remote cache cannot be used").cause(e.to_string())
    };
    let address: Address = text.parse().map_err(wrong)?;
    // A server is the team's, and what people make may come of anything; a directory is of those who may write there.
    let usual = if matches!(address, Address::Directory(_)) { Upload::Always } else { Upload::Ci };
    let send = match s.upload.unwrap_or(usual) {
        Upload::Never => false,
        Upload::Ci => in_ci(),
        Upload::Always => true,
    };
    let headers = s.headers.iter().map(|(n, v)| (n.to_ascii_lowercase(), v.clone())).collect();
    let patience = s.wait.map_or(WAIT, Duration::from_secs);
    Ok(Some(Settings { address, send, headers, patience }))
}

/// Puts it behind the local cache. One that does not answer is not waited for.
pub(crate) fn attach(cache: CacheHandle, s: &Settings, strict: bool) -> Result<Option<CacheHandle>, CommandError> {
    let attached = remote::attach(cache, s);
    attached.notices.iter().for_each(|n| warning(n));
    match attached.without {
        Some(e) if strict => Err(CommandError::new(exit_code::REMOTE, e.to_string())),
        Some(e) => {
            warning(&format!("{e}; the build uses the cache of this machine alone"));
            Ok(Some(attached.cache))
        }
        None => Ok(Some(attached.cache)),
    }
}
