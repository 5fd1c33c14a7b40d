//! The fingerprint store: weak → path sets → strong → entry, the digest memo, history, which blobs there are, past
//! builds.
//!
//! Records are postcard values under binary keys. Any number of processes read and write them at once: what is new is
//! in a log that they share ([`log`]), the rest in RocksDB ([`base`]), of which nothing shows outside this module. What
//! one publishes the others find from then on.

mod base;
mod builds;
mod granted;
mod log;
mod table;
mod usage;
mod view;

pub use usage::Usage;

use crate::{Cas, Digest, Entry, FileStat, IoResultExt, PathSet, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use table::{Change, Table};
use view::View;

/// Format of the directory. A directory with a higher number is left alone, the results of one with a lower number are
/// dropped.
pub const DIRECTORY_FORMAT: u32 = 2;

/// One known result of a weak fingerprint and path set.
#[derive(Clone, Debug)]
pub struct Link {
    pub path_set: Digest,
    pub strong: Digest,
    /// The first eight bytes of each observation's value, for explanations.
    pub values: Vec<u64>,
    /// Milliseconds since the epoch.
    pub last_used: u64,
}

/// What earlier runs of a command tell about the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// It launches pips itself and is treated as a build tool.
    pub driver: bool,
    /// Wall time of the last real run, microseconds.
    pub wall_us: u64,
    pub runs: u32,
    /// Consecutive runs shorter than a lookup is worth.
    pub cheap_runs: u32,
    /// When this was last written, days since the epoch.
    pub noted: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Memo {
    size: u64,
    mtime: i128,
    ctime: i128,
    content: crate::digest::Content,
    /// When this was noted, days since the epoch.
    noted: u32,
}

/// What was noted longer ago is dropped by a collection, and found out anew when it is needed: days.
const KEEP_NOTES: u32 = 30;

/// How the store could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    ReadWrite,
    /// The directory cannot be written to.
    ReadOnly,
}

pub struct Store {
    view: View,
    dir: PathBuf,
    key: [u8; 32],
}

/// Something to tell the user about how the store was opened.
pub type Notice = String;

impl Store {
    /// Opens the store in `dir`, creating it if need be.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Notice>)> {
        // A data base that may not grow on ends the process.
        const LEAST: u64 = 256 << 20;
        if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Fsize).current.filter(|n| *n < LEAST)
        {
            return Err(crate::Error::FileSize { most });
        }
        let mut notices = Vec::new();
        prepare(dir)?;
        granted::prove(dir)?;
        let mut s = Self { view: View::open(dir)?, dir: dir.to_owned(), key: [0; 32] };
        notices.extend(s.view.notices());
        s.key = s.secret(&mut notices)?;
        Ok((s, notices))
    }

    pub fn access(&self) -> Access {
        self.view.access()
    }

    /// What the user should hear of what has been found out since it was opened; each is told once.
    pub fn notices(&self) -> Vec<Notice> {
        self.view.notices()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Key of the environment values' digests: made once per cache, so that values cannot be looked up elsewhere.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    fn secret(&self, notices: &mut Vec<Notice>) -> Result<[u8; 32]> {
        let path = self.dir.join("key");
        let found = std::fs::symlink_metadata(&path).ok();
        if found.as_ref().is_some_and(std::fs::Metadata::is_file)
            && let Ok(b) = std::fs::read(&path)
            && let Ok(k) = b.try_into()
        {
            return Ok(k);
        }
        if found.is_some() && self.access() != Access::ReadOnly {
            let aside = self.dir.join(format!("key.damaged-{}", now_ms()));
            std::fs::rename(&path, &aside).at("move aside", &path)?;
            let aside = aside.display();
            notices
                .push(format!("the key of the cache was damaged; it was moved to `{aside}`: results that depend on variables miss once"));
        }
        let mut k = [0; 32];
        let mut f = std::fs::File::open("/dev/urandom").at("open", "/dev/urandom")?;
        std::io::Read::read_exact(&mut f, &mut k).at("read", "/dev/urandom")?;
        if self.access() != Access::ReadOnly {
            let scratch = self.dir.join(format!("key.{}", std::process::id()));
            std::fs::write(&scratch, k).at("write", &scratch)?;
            // The first one stays: another process may have been faster. Some file systems know no links; there the
            // last one stays.
            match std::fs::hard_link(&scratch, &path) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                    std::fs::rename(&scratch, &path).at("store", &path)?
                }
                _ => std::fs::remove_file(&scratch).at("remove", &scratch)?,
            }
            if let Ok(b) = std::fs::read(&path)
                && let Ok(winner) = b.try_into()
            {
                return Ok(winner);
            }
        }
        Ok(k)
    }

    fn get<T: DeserializeOwned>(&self, t: Table, key: &[u8]) -> Result<Option<T>> {
        match self.view.get(t, key)? {
            // A record of another version, or damaged: as good as absent.
            Some(b) => Ok(postcard::from_bytes(&b).ok()),
            None => Ok(None),
        }
    }

    fn put<T: Serialize>(&self, t: Table, key: &[u8], v: &T) -> Result<()> {
        self.view.write(vec![(t, key.to_vec(), Some(postcard::to_stdvec(v)?))])
    }

    /// What is known of a weak fingerprint, most recently used first.
    pub fn links(&self, weak: &Digest) -> Result<Vec<Link>> {
        let mut out = Vec::new();
        for (k, v) in self.view.scan(Table::Links, &weak.0)? {
            let (Some(p), Some(s)) = (k.get(32..64), k.get(64..96)) else { continue };
            let digest = |b: &[u8]| Digest(b.try_into().expect("thirty-two bytes"));
            let (path_set, strong) = (digest(p), digest(s));
            let last_used = self.get(Table::Uses, &strong.0)?.unwrap_or(0);
            out.push(Link { path_set, strong, values: postcard::from_bytes(&v).unwrap_or_default(), last_used });
        }
        out.sort_by_key(|l| std::cmp::Reverse(l.last_used));
        Ok(out)
    }

    pub fn path_set(&self, d: &Digest) -> Result<Option<PathSet>> {
        Ok(self.view.get(Table::PathSets, &d.0)?.and_then(|b| PathSet::decode(&b).ok()))
    }

    pub fn entry(&self, strong: &Digest) -> Result<Option<Entry>> {
        self.get(Table::Entries, &strong.0)
    }

    /// Publishes a result: path set, entry, link and what is new in the content store in one atomic batch. The first
    /// entry of a strong fingerprint stays, unless its blobs are gone; the result is that one if it was there already.
    pub fn publish(
        &self,
        cas: &Cas,
        weak: &Digest,
        path_set: &PathSet,
        strong: &Digest,
        values: &[Digest],
        entry: &Entry,
    ) -> Result<Option<Entry>> {
        let (bytes, digest) = path_set.encode()?;
        let short: Vec<u64> = values.iter().map(short).collect();
        let key = [&weak.0[..], &digest.0, &strong.0].concat();
        let mut batch = blob_changes(cas)?;
        batch.push((Table::PathSets, digest.0.to_vec(), Some(bytes)));
        batch.push((Table::Uses, strong.0.to_vec(), Some(postcard::to_stdvec(&now_ms())?)));
        batch.push((Table::Links, key, Some(postcard::to_stdvec(&short)?)));
        self.view.update(|now| {
            let before = now.get(Table::Entries, &strong.0)?.and_then(|b| Entry::decode(&b).ok());
            let before = before.filter(|e| e.blobs().all(|d| cas.contains(d)));
            if before.is_none() {
                batch.push((Table::Entries, strong.0.to_vec(), Some(entry.encode()?)));
            }
            Ok((batch, before))
        })
    }

    /// Notes what has come to the content store, and what has gone, since the last time.
    pub fn note_blobs(&self, cas: &Cas) -> Result<()> {
        self.view.write(blob_changes(cas)?)
    }

    /// Makes the notes about blobs say what is there: `found` and their sizes, and what has come since they were looked
    /// for.
    pub fn count_blobs(&self, found: &HashMap<Digest, u64>, cas: &Cas) -> Result<()> {
        let mut batch = vec![(Table::Blobs, usage::SUMS.to_vec(), None)];
        let mut noted = HashSet::new();
        for (k, v) in self.view.scan(Table::Blobs, b"")? {
            let digest = k.as_slice().try_into().map(Digest).ok();
            let size = digest.and_then(|d| found.get(&d).copied().or_else(|| cas.size(&d)));
            match digest.filter(|_| size.is_some() && postcard::from_bytes(&v).ok() == size) {
                Some(d) => drop(noted.insert(d)),
                None => batch.push((Table::Blobs, k, None)),
            }
        }
        for (d, size) in found.iter().filter(|(d, _)| !noted.contains(*d)) {
            batch.push((Table::Blobs, d.0.to_vec(), Some(postcard::to_stdvec(size)?)));
        }
        self.view.write(batch)
    }

    /// How much there is, without looking at it.
    pub fn usage(&self) -> Result<Usage> {
        self.view.usage()
    }

    /// Notes that these results were used now.
    pub fn touch(&self, strong: &[Digest]) -> Result<()> {
        let stamp = postcard::to_stdvec(&now_ms())?;
        self.view.write(strong.iter().map(|s| (Table::Uses, s.0.to_vec(), Some(stamp.clone()))).collect())
    }

    /// Forgets one result.
    pub fn forget(&self, weak: &Digest, l: &Link) -> Result<()> {
        let key = [&weak.0[..], &l.path_set.0, &l.strong.0].concat();
        self.view.write(vec![(Table::Links, key, None), (Table::Entries, l.strong.0.to_vec(), None)])
    }

    /// The content that a file in this state is known to have.
    pub fn memo(&self, s: &FileStat) -> Option<crate::digest::Content> {
        let m: Memo = self.get(Table::Memo, &memo_key(s)).ok()??;
        (m.size == s.size && m.mtime == s.mtime && m.ctime == s.ctime).then_some(m.content)
    }

    /// Remembers contents. The caller leaves out racy ones.
    pub fn memorise(&self, files: &[(FileStat, crate::digest::Content)]) -> Result<()> {
        let mut batch = Vec::with_capacity(files.len());
        for (s, content) in files {
            let m = Memo { size: s.size, mtime: s.mtime, ctime: s.ctime, content: *content, noted: today() };
            batch.push((Table::Memo, memo_key(s), Some(postcard::to_stdvec(&m)?)));
        }
        self.view.write(batch)
    }

    pub fn history(&self, key: &Digest) -> Option<History> {
        self.get(Table::History, &key.0).ok()?
    }

    pub fn put_history(&self, key: &Digest, h: &History) -> Result<()> {
        self.put(Table::History, &key.0, &History { noted: today(), ..h.clone() })
    }

    /// Notes which results these files are of; `None`: of none that is known.
    pub fn put_products(&self, all: &[(crate::PathBytes, Option<crate::Product>)]) -> Result<()> {
        let row = |(path, p): &(crate::PathBytes, Option<crate::Product>)| {
            Ok((Table::Products, path.to_vec(), p.as_ref().map(postcard::to_stdvec).transpose()?))
        };
        self.view.write(all.iter().map(row).collect::<Result<_>>()?)
    }

    pub fn product(&self, path: &[u8]) -> Option<crate::Product> {
        self.get(Table::Products, path).ok()?
    }

    /// Every file below `dir` that is a result.
    pub fn products(&self, dir: &[u8]) -> Result<Vec<(crate::PathBytes, crate::Product)>> {
        let prefix = [dir, b"/"].concat();
        let rows = self.view.scan(Table::Products, &prefix)?;
        Ok(rows.into_iter().filter_map(|(k, v)| Some((k.into(), postcard::from_bytes(&v).ok()?))).collect())
    }

    /// Keeps a build record (JSON), and drops old ones; returns its number.
    pub fn add_build(&self, record: &[u8]) -> Result<u64> {
        if self.access() == Access::ReadOnly {
            return Ok(0);
        }
        let scratch = self.dir.join("tmp").join(format!("{}-build-{}", std::process::id(), now_ms()));
        builds::add(&self.dir.join("builds"), &scratch, record)
    }

    /// Past builds, oldest first.
    pub fn builds(&self) -> Result<Vec<(u64, Vec<u8>)>> {
        Ok(builds::all(&self.dir.join("builds")))
    }

    /// Every result: strong fingerprint, entry, last use.
    pub fn entries(&self) -> Result<Vec<(Digest, Entry, u64)>> {
        let mut out = Vec::new();
        for (k, v) in self.view.scan(Table::Entries, b"")? {
            let Ok(k) = k.try_into() else { continue };
            let d = Digest(k);
            out.push((d, Entry::decode(&v)?, self.get(Table::Uses, &d.0)?.unwrap_or(0)));
        }
        Ok(out)
    }

    /// When the result that was not used for longest was used last, milliseconds since the epoch.
    pub fn oldest_use(&self) -> Result<Option<u64>> {
        Ok(self.view.scan(Table::Uses, b"")?.iter().filter_map(|(_, v)| postcard::from_bytes(v).ok()).min())
    }

    /// Every result, with what it depends on.
    pub fn results(&self) -> Result<Vec<(Digest, PathSet)>> {
        let mut out = Vec::new();
        for (k, _) in self.view.scan(Table::Links, b"")? {
            let part = |from: usize| k.get(from..from + 32).and_then(|b| b.try_into().ok()).map(Digest);
            if let (Some(set), Some(strong)) = (part(32), part(64))
                && let Some(set) = self.path_set(&set)?
            {
                out.push((strong, set));
            }
        }
        Ok(out)
    }

    /// Drops these results and every link to them.
    pub fn drop_entries(&self, strong: &HashSet<Digest>) -> Result<()> {
        let mut batch = Vec::new();
        for (k, _) in self.view.scan(Table::Links, b"")? {
            if k.get(64..96).is_some_and(|s| strong.contains(&Digest(s.try_into().expect("thirty-two bytes")))) {
                batch.push((Table::Links, k, None));
            }
        }
        for s in strong {
            batch.push((Table::Entries, s.0.to_vec(), None));
            batch.push((Table::Uses, s.0.to_vec(), None));
        }
        self.view.write(batch)
    }

    /// Drops what no result needs any more: path sets without a link, files of results that are gone, old notes about
    /// files and commands.
    pub fn drop_leftovers(&self) -> Result<()> {
        let linked: HashSet<Vec<u8>> =
            self.view.scan(Table::Links, b"")?.into_iter().filter_map(|(k, _)| Some(k.get(32..64)?.to_vec())).collect();
        let sets = self.view.scan(Table::PathSets, b"")?.into_iter().filter(|(k, _)| !linked.contains(k));
        let mut batch: Vec<Change> = sets.map(|(k, _)| (Table::PathSets, k, None)).collect();
        let oldest = today().saturating_sub(KEEP_NOTES);
        for (k, v) in self.view.scan(Table::Memo, b"")? {
            if postcard::from_bytes::<Memo>(&v).map_or(true, |m| m.noted < oldest) {
                batch.push((Table::Memo, k, None));
            }
        }
        for (k, v) in self.view.scan(Table::Products, b"")? {
            let strong = postcard::from_bytes::<crate::Product>(&v).map(|p| p.strong);
            if strong.map_or(Ok(true), |s| self.view.get(Table::Entries, &s.0).map(|e| e.is_none()))? {
                batch.push((Table::Products, k, None));
            }
        }
        for (k, v) in self.view.scan(Table::History, b"")? {
            if postcard::from_bytes::<History>(&v).map_or(true, |h| h.noted < oldest) {
                batch.push((Table::History, k, None));
            }
        }
        self.view.write(batch)
    }

    /// Reads every record of every table; returns how many there are.
    pub fn verify(&self) -> Result<u64> {
        let mut n = 0;
        for t in Table::ALL {
            for (k, v) in self.view.scan(t, b"")? {
                match t {
                    Table::Entries => drop(Entry::decode(&v)?),
                    Table::PathSets => {
                        let set = PathSet::decode(&v)?;
                        if set.encode()?.1.0 != *k.as_slice() {
                            return Err(crate::Error::Corrupt { digest: Digest::of(&v) });
                        }
                    }
                    Table::Links => drop(postcard::from_bytes::<Vec<u64>>(&v)?),
                    _ => {}
                }
                n += 1;
            }
        }
        Ok(n)
    }

    /// Ends a run: what the next one would have to read at its start is put into the data base.
    pub fn close(&self) {
        self.view.tidy_up(false);
    }

    /// Puts everything into the data base.
    pub fn fold(&self) {
        self.view.tidy_up(true);
    }
}

fn blob_changes(cas: &Cas) -> Result<Vec<Change>> {
    let row = |(d, size): (Digest, Option<u64>)| {
        Ok((Table::Blobs, d.0.to_vec(), size.map(|n| postcard::to_stdvec(&n)).transpose()?))
    };
    cas.take_changes().into_iter().map(row).collect()
}

/// The part of a value that links keep.
pub fn short(v: &Digest) -> u64 {
    u64::from_le_bytes(v.0[..8].try_into().expect("eight bytes"))
}

fn memo_key(s: &FileStat) -> Vec<u8> {
    [s.dev.to_be_bytes(), s.ino.to_be_bytes()].concat()
}

/// Milliseconds since the epoch: fine enough to order the uses of one build.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Days since the epoch.
fn today() -> u32 {
    u32::try_from(now() / 86_400).unwrap_or(u32::MAX)
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Creates the directory, checks owner and format.
fn prepare(dir: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).at("create", dir)?;
    let you = rustix::process::geteuid().as_raw();
    let m = std::fs::metadata(dir).at("look at", dir)?;
    let owner = m.uid();
    if owner != you {
        return Err(crate::Error::Owner { path: dir.to_owned(), owner, you });
    }
    if m.mode() & 0o077 != 0 {
        // Made by hand, or unpacked by a CI cache: nobody else has business here.
        use std::os::unix::fs::PermissionsExt;
        let _ = std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700));
    }
    let file = dir.join("format");
    match std::fs::read_to_string(&file) {
        Ok(text) => match text.trim().parse() {
            Ok(found) if found > DIRECTORY_FORMAT => {
                return Err(crate::Error::Version { path: dir.to_owned(), found, known: DIRECTORY_FORMAT });
            }
            Ok(DIRECTORY_FORMAT) => return Ok(()),
            Ok(_) => {
                for old in ["db", "spool"].map(|name| dir.join(name)).iter().filter(|d| d.exists()) {
                    std::fs::remove_dir_all(old).at("remove", old)?;
                }
            }
            Err(_) => {}
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).at("read", &file),
    }
    std::fs::write(&file, format!("{DIRECTORY_FORMAT}\n")).at("write", &file)
}
