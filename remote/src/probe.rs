//! What a remote cache can do, found out by doing it: `xl doctor --remote`.

use crate::Settings;
use crate::address::Address;
use crate::directory::Directory;
use crate::grpc::Grpc;
use crate::name::Name;
use crate::peer::{Peer, Sending};
use crate::rows::{Body, Key, Row};
use cache::tier::{Memory, Source, Upload};
use cache::{Digest, Fingerprint, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One thing that was tried.
pub struct Step {
    pub what: &'static str,
    pub found: std::result::Result<String, String>,
}

/// Questions of which the fastest answer counts.
const TRIES: usize = 5;

/// Tries everything, in the order in which one thing needs the other.
pub fn probe(s: &Settings) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut tell = |what, found: Result<String>| {
        let done = found.is_ok();
        steps.push(Step { what, found: found.map_err(|e| e.to_string()) });
        done
    };
    let mut peer: Option<Arc<dyn Peer>> = None;
    let reached = match &s.address {
        Address::Directory(dir) => {
            let d = Directory::new(dir);
            let is_new = !dir.exists();
            d.ping().map(|()| {
                peer = Some(Arc::new(d));
                format!(
                    "{}{}",
                    dir.display(),
                    if is_new { ", which is made when there is something to keep" } else { "" }
                )
            })
        }
        server => Grpc::connect(server, &s.headers).map(|g| {
            let f = g.facts().clone();
            peer = Some(Arc::new(g));
            let updates = if f.updates { "takes results" } else { "takes no results" };
            let (low, high, functions, batch) = (f.low, f.high, f.functions.join(", "), f.batch);
            format!("API {low} to {high}, {functions}, {batch} bytes in a message, {updates}")
        }),
    };
    tell("remote cache", reached);
    let Some(peer) = peer else { return steps };
    let fastest = |f: &dyn Fn() -> Result<()>| -> Result<Duration> {
        let mut best = Duration::MAX;
        for _ in 0..TRIES {
            let began = Instant::now();
            f()?;
            best = best.min(began.elapsed());
        }
        Ok(best)
    };
    let nobody = |n: u64| {
        let mut f = Fingerprint::new("probe");
        f.number("now", cache::store::now_ms());
        f.number("n", n);
        f.finish()
    };
    let latency = fastest(&|| peer.rows(&[Key::Entry(nobody(0)).name()]).map(drop));
    tell("remote: a question", latency.map(|d| format!("is answered in {:.1} ms", d.as_secs_f64() * 1e3)));
    let shared = crate::tier::Remote::new(peer.clone(), None).key(None);
    let has = |key: Option<_>| if key.is_some() { "is there: results are shared" } else { "is not there yet" };
    tell("remote: the key", shared.map(|key| has(key).to_owned()));
    if !s.send {
        tell("remote: storing", Ok("is not wanted (`remote.upload`)".into()));
        return steps;
    }
    let content = format!("xl doctor {}", nobody(1).hex()).into_bytes();
    let (digest, name) = (Digest::of(&content), Name::of(&content));
    let put = || -> Result<String> {
        let began = Instant::now();
        let upload = Upload { digest, source: Source::Bytes(&content) };
        peer.write(&[Sending { name, upload }])?.pop().map_or(Ok(()), |f| Err(f.error))?;
        let sink = Memory::default();
        peer.read(&[(digest, name)], &sink)?.pop().map_or(Ok(()), |f| Err(f.error))?;
        Ok(format!("a content was stored and read back ({:.1} ms)", began.elapsed().as_secs_f64() * 1e3))
    };
    if !tell("remote: contents", put()) {
        return steps;
    }
    let row = || -> Result<String> {
        let key = Key::Entry(digest);
        let tier = crate::tier::Remote::new(peer.clone(), None);
        tier.send_actions(&[key])?;
        let (row, _) = Row::new(Body::Entry(Vec::new()), [(digest, name)].into_iter()).encode()?;
        peer.put_rows(&[(key.name(), row.clone())])?;
        let found = peer.rows(&[key.name()])?.pop().flatten();
        match found.is_some_and(|f| f.stdout_raw == row.stdout_raw || f.stdout_digest.is_some()) {
            true => Ok("a result was stored and read back".into()),
            false => Err(crate::peer::unavailable("a result that was stored is not there")),
        }
    };
    tell("remote: results", row());
    steps
}
