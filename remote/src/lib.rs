//! One cache for many machines: a tier behind that of this machine, over any server of the Remote Execution API or a
//! directory that all see.
//!
//! Knows the cache's seams and the wire; nothing of tracing, build tools or terminals. The layers, from the wire up:
//! a [`Peer`](peer::Peer) has rows and contents by SHA-256 names ([`directory`], [`grpc`]); [`rows`] says what is in a
//! row; [`tier::Remote`] makes the two seams of the cache of them; [`client::Client`] bounds what it may cost a build.

pub mod address;
mod breaker;
mod client;
mod dial;
pub mod directory;
mod evict;
pub mod grpc;
pub mod name;
pub mod peer;
pub mod probe;
pub mod proto;
mod rows;
pub mod serve;
pub mod tier;

use address::Address;
use cache::{CacheHandle, Error};
use directory::Directory;
use peer::Peer;
use std::sync::Arc;
use std::time::Duration;

/// A call that took this long is slow.
const SLOW: Duration = Duration::from_millis(1500);

/// What is wanted of a remote cache.
#[derive(Clone, Debug)]
pub struct Settings {
    pub address: Address,
    /// Are results sent there?
    pub send: bool,
    /// Sent with each call.
    pub headers: Vec<(String, String)>,
    /// How long to wait at the end for what is still to be sent.
    pub patience: Duration,
}

/// The connection to a remote cache.
pub fn connect(s: &Settings) -> cache::Result<Arc<dyn Peer>> {
    match &s.address {
        Address::Directory(dir) => {
            let dir = Directory::new(dir);
            dir.ping()?;
            dir.sweep();
            Ok(Arc::new(dir))
        }
        server => Ok(Arc::new(grpc::Grpc::connect(server, &s.headers)?)),
    }
}

/// What became of a cache that was to have a remote one behind it.
pub struct Attached {
    pub cache: CacheHandle,
    /// What the user should hear.
    pub notices: Vec<String>,
    /// Why there is none.
    pub without: Option<Error>,
}

/// Puts a remote cache behind that of this machine.
///
/// All who share results share the key under which what may be a secret is digested. The first who may write proposes
/// the key of its own cache; whoever comes later takes that over, and what it had found out itself under another key
/// misses once.
pub fn attach(cache: CacheHandle, s: &Settings) -> Attached {
    let without = |cache, e| Attached { cache, notices: Vec::new(), without: Some(e) };
    let peer = match connect(s) {
        Ok(peer) => peer,
        Err(e) => return without(cache, e),
    };
    let own = *cache.store.key();
    let shared = match tier::Remote::new(peer.clone(), None).key(s.send.then_some(own)) {
        Ok(key) => key,
        Err(e) => return without(cache, e),
    };
    let mut notices = Vec::new();
    let Some(key) = shared else {
        // Nobody has stored anything there yet.
        return Attached { cache, notices, without: None };
    };
    if key != own && cache.store.usage().is_ok_and(|u| u.results > 0) {
        notices.push("the cache takes the key of the remote cache: what it had found out itself misses once".into());
    }
    let cache = cache.shared(key, s.send);
    let remote = Arc::new(tier::Remote::new(peer, Some(cache.local().clone())));
    let client = client::Client::new(remote, s.send.then(|| cache.cas.clone()), s.patience);
    Attached { cache: cache.with_far(Arc::new(client)), notices, without: None }
}
