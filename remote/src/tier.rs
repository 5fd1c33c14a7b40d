//! A remote cache as a tier of results and contents: the two seams of the cache over a [`Peer`].
//!
//! What it has heard of rows, present or not, holds for the run; what it says of names it learns from rows, from this
//! machine's store, or by hashing. Nothing is believed: a path set has to be what it is called, contents are verified
//! by whoever receives them, and an entry of which a content is not there is replaced by the next one to make it.

use crate::name::Name;
use crate::peer::{Peer, Sending};
use crate::proto::ActionResult;
use crate::rows::{self, Body, Key, Links, Row};
use cache::digest::Sha256;
use cache::tier::{Failure, Local, Source, Upload};
use cache::{Blobs, Class, Digest, Entry, Error, Link, PathSet, Publication, Result, Results};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

pub struct Remote {
    peer: Arc<dyn Peer>,
    /// Who knows the names of contents of this machine, if there is a store.
    local: Option<Arc<Local>>,
    memory: Mutex<Known>,
    /// Rows are read and written again by one at a time.
    publishing: Mutex<()>,
}

/// What was heard in this run.
#[derive(Default)]
struct Known {
    links: HashMap<Digest, Links>,
    /// Small path sets.
    sets: HashMap<Digest, Vec<u8>>,
    /// Strong fingerprints without a result.
    without: HashSet<Digest>,
    names: HashMap<Digest, Name>,
    /// Contents that are there.
    there: HashSet<Name>,
}

impl Known {
    fn learn(&mut self, row: &Row) {
        self.names.extend(row.names());
    }

    fn links(&mut self, weak: Digest, links: Links) {
        self.sets.extend(links.sets.iter().filter_map(|(d, content)| Some((*d, content.clone()?))));
        self.links.insert(weak, links);
    }
}

/// A result on its way out.
pub struct Outgoing<'a> {
    pub publication: Publication<'a>,
    pub blobs: Vec<Upload<'a>>,
}

/// How much went out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub results: u64,
    pub bytes: u64,
    /// Why a content could not be sent, and with it a result.
    pub trouble: Option<String>,
}

impl Remote {
    pub fn new(peer: Arc<dyn Peer>, local: Option<Arc<Local>>) -> Self {
        Self { peer, local, memory: Mutex::default(), publishing: Mutex::default() }
    }

    /// Does it answer?
    pub fn ping(&self) -> Result<()> {
        self.peer.ping()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.memory.lock().expect("what is known")
    }

    /// The key that all share, which the first proposes; `None`: nobody has, and we may not.
    pub fn key(&self, proposal: Option<[u8; 32]>) -> Result<Option<[u8; 32]>> {
        let name = Key::Secret.name();
        let read = |row: &ActionResult| -> Result<Option<[u8; 32]>> {
            Ok(match self.record(row)?.map(|r| r.body) {
                Some(Body::Secret(key)) => Some(key),
                _ => None,
            })
        };
        if let Some(row) = self.peer.rows(&[name])?.pop().flatten()
            && let Some(key) = read(&row)?
        {
            return Ok(Some(key));
        }
        let Some(key) = proposal else { return Ok(None) };
        self.send_actions(&[Key::Secret])?;
        let (row, _) = Row::new(Body::Secret(key), std::iter::empty()).encode()?;
        // One that is there and cannot be read is of nobody.
        match read(&self.peer.put_first(&name, row.clone())?)? {
            Some(key) => Ok(Some(key)),
            None => self.peer.put_rows(&[(name, row)]).map(|()| Some(key)),
        }
    }

    /// The record of a row, wherever the server has put it.
    fn record(&self, row: &ActionResult) -> Result<Option<Row>> {
        if !row.stdout_raw.is_empty() {
            return Ok(Row::decode(&row.stdout_raw));
        }
        let Some(name) = row.stdout_digest.as_ref().and_then(Name::read) else { return Ok(None) };
        // Its name of ours is not known: the other one has to do.
        let record = self.small(&[(Digest([0; 32]), name)])?.pop().flatten();
        Ok(record.filter(|r| Name::of(r) == name).and_then(|r| Row::decode(&r)))
    }

    /// Contents in memory.
    fn small(&self, wanted: &[(Digest, Name)]) -> Result<Vec<Option<Vec<u8>>>> {
        let sink = Heap::default();
        self.peer.read(wanted, &sink)?;
        let mut found = sink.0.into_inner().expect("contents");
        Ok(wanted.iter().map(|(d, _)| found.remove(d)).collect())
    }

    fn rows(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let names: Vec<Name> = keys.iter().map(Key::name).collect();
        let rows = self.peer.rows(&names)?;
        let rows =
            rows.iter().map(|row| row.as_ref().map_or(Ok(None), |r| self.record(r))).collect::<Result<Vec<_>>>()?;
        let mut known = self.known();
        rows.iter().flatten().for_each(|row| known.learn(row));
        Ok(rows)
    }

    /// How others call contents of this machine.
    fn names(&self, uploads: &[Upload<'_>]) -> Vec<Result<Name>> {
        let digests: Vec<Digest> = uploads.iter().map(|u| u.digest).collect();
        let twins = self.local.as_ref().and_then(|l| l.twins(&digests).ok()).unwrap_or_default();
        let name = |(i, u): (usize, &Upload<'_>)| {
            if let Some(name) = self.known().names.get(&u.digest) {
                return Ok(*name);
            }
            let size = match &u.source {
                Source::Bytes(b) => Some(b.len() as u64),
                Source::File(path) => std::fs::metadata(path).ok().map(|m| m.len()),
            };
            let name = match twins.get(i).copied().flatten().zip(size) {
                Some((hash, size)) => Name { hash, size },
                None => hashed(u)?,
            };
            self.known().names.insert(u.digest, name);
            Ok(name)
        };
        uploads.iter().enumerate().map(name).collect()
    }

    /// Sends what is not there. The result is what could not be sent, and how many bytes were.
    fn send(&self, batch: Vec<Sending<'_>>) -> Result<(Vec<Failure>, u64)> {
        let mut seen = HashSet::new();
        let batch: Vec<Sending<'_>> = {
            let known = self.known();
            batch.into_iter().filter(|s| !known.there.contains(&s.name) && seen.insert(s.name)).collect()
        };
        if batch.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let names: Vec<Name> = batch.iter().map(|s| s.name).collect();
        let missing: HashSet<Name> = self.peer.missing(&names)?.into_iter().collect();
        let batch: Vec<Sending<'_>> = batch.into_iter().filter(|s| missing.contains(&s.name)).collect();
        let failed = if batch.is_empty() { Vec::new() } else { self.peer.write(&batch)? };
        let lost: HashSet<Digest> = failed.iter().map(|f| f.digest).collect();
        let arrived = batch.iter().filter(|s| !lost.contains(&s.upload.digest));
        let bytes = arrived.map(|s| s.name.size).sum();
        let lost: HashSet<Name> = batch.iter().filter(|s| lost.contains(&s.upload.digest)).map(|s| s.name).collect();
        self.known().there.extend(names.into_iter().filter(|n| !lost.contains(n)));
        Ok((failed, bytes))
    }

    /// What some servers look for before they take a row.
    pub(crate) fn send_actions(&self, keys: &[Key]) -> Result<()> {
        let actions: Vec<Vec<u8>> = keys.iter().map(Key::action).collect();
        let (command, root) = (rows::command(), Vec::new());
        let all = actions.iter().chain([&command, &root]);
        let sending = |b: &'_ Vec<u8>| (Name::of(b), Digest::of(b));
        let batch = all.map(|b| {
            let (name, digest) = sending(b);
            Sending { name, upload: Upload { digest, source: Source::Bytes(b) } }
        });
        self.send(batch.collect())?.0.pop().map_or(Ok(()), |f| Err(f.error))
    }

    /// Publishes results with their contents. Each answer is the result that was there already.
    pub fn publish_all(&self, all: &[Outgoing<'_>]) -> Result<(Vec<Option<Entry>>, Sent)> {
        let _alone = self.publishing.lock().expect("publishing");
        let mut sent = Sent::default();
        // Path sets that are too large for a row are contents.
        let sets = all.iter().map(|o| o.publication.set.encode()).collect::<Result<Vec<_>>>()?;
        let large = |(b, d): &'_ (Vec<u8>, Digest)| (b.len() > rows::SMALL).then_some(*d);
        let uploads: Vec<Upload<'_>> = all
            .iter()
            .flat_map(|o| o.blobs.iter().cloned())
            .chain(
                sets.iter()
                    .filter(|s| large(s).is_some())
                    .map(|(b, d)| Upload { digest: *d, source: Source::Bytes(b) }),
            )
            .collect();
        let named: Vec<Result<Name>> = self.names(&uploads);
        let whole = uploads
            .iter()
            .zip(&named)
            .filter_map(|(u, name)| Some(Sending { name: *name.as_ref().ok()?, upload: u.clone() }));
        let (failed, bytes) = self.send(whole.collect())?;
        sent.bytes += bytes;
        let mut lost: HashSet<Digest> = failed.iter().map(|f| f.digest).collect();
        lost.extend(uploads.iter().zip(&named).filter(|(_, n)| n.is_err()).map(|(u, _)| u.digest));
        let trouble = failed.into_iter().find(|f| f.error.class() != Class::Absent).map(|f| f.error);
        sent.trouble = trouble.as_ref().map(Error::to_string);
        if let Some(e) = trouble.filter(|e| e.class() == Class::Unavailable) {
            return Err(e);
        }

        // Those of which all is there.
        let whole: Vec<usize> = (0..all.len())
            .filter(|i| {
                let blobs = all[*i].publication.entry.blobs();
                blobs.chain(large(&sets[*i]).as_ref()).all(|d| !lost.contains(d))
            })
            .collect();
        let keys: Vec<Key> = whole
            .iter()
            .flat_map(|i| [Key::Links(*all[*i].publication.weak), Key::Entry(*all[*i].publication.strong)])
            .collect();
        let mut found = self.rows(&keys)?.into_iter();
        let mut links: HashMap<Digest, Links> = HashMap::new();
        let mut rows = Vec::new();
        let mut before = vec![None; all.len()];
        for i in &whole {
            let p = &all[*i].publication;
            let (of_weak, of_strong) = (found.next().flatten(), found.next().flatten());
            if let Some(Row { body: Body::Links(l), .. }) = of_weak {
                links.entry(*p.weak).or_insert(l);
            }
            let (content, digest) = &sets[*i];
            let link = Link {
                path_set: *digest,
                strong: *p.strong,
                values: p.values.to_vec(),
                last_used: cache::store::now_ms(),
            };
            links.entry(*p.weak).or_default().add(*digest, content, link);
            before[*i] = of_strong.and_then(|row| self.whole(&row).then(|| row.entry()).flatten());
            if before[*i].is_none() {
                let named = self.named(p.entry.blobs());
                rows.push((Key::Entry(*p.strong), Row::new(Body::Entry(p.entry.encode()?), named.into_iter())));
            }
        }
        for (weak, l) in &links {
            let named = self.named(l.large());
            rows.push((Key::Links(*weak), Row::new(Body::Links(l.clone()), named.into_iter())));
        }
        self.send_actions(&rows.iter().map(|(k, _)| *k).collect::<Vec<_>>())?;
        let mut encoded = Vec::with_capacity(rows.len());
        for (key, row) in &rows {
            let (result, long) = row.encode()?;
            if let Some(b) = long {
                let upload = Upload { digest: Digest::of(&b), source: Source::Bytes(&b) };
                self.send(vec![Sending { name: Name::of(&b), upload }])?.0.pop().map_or(Ok(()), |f| Err(f.error))?;
            }
            encoded.push((key.name(), result));
        }
        self.peer.put_rows(&encoded)?;
        let mut known = self.known();
        links.into_iter().for_each(|(weak, l)| known.links(weak, l));
        for i in &whole {
            known.without.remove(all[*i].publication.strong);
        }
        sent.results = whole.len() as u64;
        Ok((before, sent))
    }

    /// The names of contents that were sent or seen.
    fn named<'a>(&self, digests: impl Iterator<Item = &'a Digest>) -> Vec<(Digest, Name)> {
        let known = self.known();
        digests.filter_map(|d| Some((*d, *known.names.get(d)?))).collect()
    }

    /// Is everything there that this row needs?
    fn whole(&self, row: &Row) -> bool {
        let names: Vec<Name> = row.names().map(|(_, n)| n).collect();
        names.is_empty() || self.peer.missing(&names).is_ok_and(|m| m.is_empty())
    }
}

impl Results for Remote {
    fn candidates(&self, weak: &[Digest]) -> Result<Vec<Vec<Link>>> {
        let unheard: Vec<Digest> = {
            let known = self.known();
            weak.iter().filter(|w| !known.links.contains_key(*w)).copied().collect()
        };
        if !unheard.is_empty() {
            let rows = self.rows(&unheard.iter().copied().map(Key::Links).collect::<Vec<_>>())?;
            let mut known = self.known();
            for (weak, row) in unheard.into_iter().zip(rows) {
                let links = match row.map(|r| r.body) {
                    Some(Body::Links(l)) => l,
                    _ => Links::default(),
                };
                known.links(weak, links);
            }
        }
        let known = self.known();
        Ok(weak.iter().map(|w| known.links.get(w).map(Links::all).unwrap_or_default()).collect())
    }

    fn path_sets(&self, wanted: &[Digest]) -> Result<Vec<Option<PathSet>>> {
        let mut found: HashMap<Digest, PathSet> = HashMap::new();
        let mut large = Vec::new();
        {
            let known = self.known();
            for d in wanted {
                if let Some(set) = known.sets.get(d).and_then(|b| rows::path_set(d, b)) {
                    found.insert(*d, set);
                } else if let Some(name) = known.names.get(d) {
                    large.push((*d, *name));
                }
            }
        }
        if !large.is_empty() {
            let contents = self.small(&large)?;
            found.extend(large.iter().zip(contents).filter_map(|((d, _), b)| Some((*d, rows::path_set(d, &b?)?))));
        }
        Ok(wanted.iter().map(|d| found.get(d).cloned()).collect())
    }

    fn entries(&self, strong: &[Digest]) -> Result<Vec<Option<Entry>>> {
        let asked: Vec<Digest> = {
            let known = self.known();
            strong.iter().filter(|s| !known.without.contains(*s)).copied().collect()
        };
        let rows = match asked.is_empty() {
            true => Vec::new(),
            false => self.rows(&asked.iter().copied().map(Key::Entry).collect::<Vec<_>>())?,
        };
        let found: HashMap<Digest, Option<Entry>> =
            asked.into_iter().zip(rows).map(|(s, row)| (s, row.and_then(|r| r.entry()))).collect();
        self.known().without.extend(found.iter().filter(|(_, e)| e.is_none()).map(|(s, _)| *s));
        Ok(strong.iter().map(|s| found.get(s).cloned().flatten()).collect())
    }

    /// Its contents have been put.
    fn publish(&self, p: &Publication<'_>) -> Result<Option<Entry>> {
        let (mut before, _) = self.publish_all(&[Outgoing { publication: *p, blobs: Vec::new() }])?;
        Ok(before.pop().flatten())
    }
}

impl Blobs for Remote {
    fn missing(&self, wanted: &[Digest]) -> Result<Vec<Digest>> {
        let named: HashMap<Digest, Name> = self.named(wanted.iter()).into_iter().collect();
        let missing: HashSet<Name> =
            self.peer.missing(&named.values().copied().collect::<Vec<_>>())?.into_iter().collect();
        Ok(wanted.iter().filter(|d| named.get(*d).is_none_or(|n| missing.contains(n))).copied().collect())
    }

    fn read(&self, wanted: &[Digest], sink: &dyn cache::tier::Sink) -> Result<Vec<Failure>> {
        let named: HashMap<Digest, Name> = self.named(wanted.iter()).into_iter().collect();
        let mut failed: Vec<Failure> = Vec::new();
        let mut asked = Vec::new();
        let mut seen = HashSet::new();
        for d in wanted.iter().filter(|d| seen.insert(**d)) {
            match named.get(d) {
                Some(n) => asked.push((*d, *n)),
                None => failed.push(Failure { digest: *d, error: Error::Absent { digest: *d } }),
            }
        }
        if !asked.is_empty() {
            failed.extend(self.peer.read(&asked, sink)?);
        }
        let mut known = self.known();
        for name in failed.iter().filter_map(|f| named.get(&f.digest)) {
            known.there.remove(name);
        }
        Ok(failed)
    }

    fn put(&self, batch: &[Upload<'_>]) -> Result<Vec<Failure>> {
        let mut failed = Vec::new();
        let mut sending = Vec::new();
        for (u, name) in batch.iter().zip(self.names(batch)) {
            match name {
                Ok(name) => sending.push(Sending { name, upload: u.clone() }),
                Err(error) => failed.push(Failure { digest: u.digest, error }),
            }
        }
        failed.extend(self.send(sending)?.0);
        Ok(failed)
    }
}

/// The name of a content that has none yet; it has to be what we call it, too.
fn hashed(u: &Upload<'_>) -> Result<Name> {
    let broken = |source| Error::Io { operation: "read", path: "a content".into(), source };
    if cache::digest::pass(&mut u.source.open()?).map_err(broken)?.digest != u.digest {
        return Err(Error::Corrupt { digest: u.digest });
    }
    let (hash, size) = Sha256::of_stream(&mut u.source.open()?).map_err(broken)?;
    Ok(Name { hash, size })
}

/// Contents in memory, by the names that they were asked for. Whoever takes them out looks at them.
#[derive(Default)]
struct Heap(Mutex<HashMap<Digest, Vec<u8>>>);

/// What is kept in memory of one content, at most.
const MOST: u64 = 64 << 20;

impl cache::tier::Sink for Heap {
    fn receive(&self, digest: &Digest, from: &mut dyn std::io::Read) -> Result<()> {
        let mut bytes = Vec::new();
        let broken = |source| Error::Io { operation: "receive", path: "a content".into(), source };
        std::io::Read::read_to_end(&mut std::io::Read::take(from, MOST), &mut bytes).map_err(broken)?;
        self.0.lock().expect("contents").insert(*digest, bytes);
        Ok(())
    }
}
