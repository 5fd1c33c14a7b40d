//! RocksDB, and what stands in for its writer when somebody else is it.
//!
//! States: *writer* (we hold the lock) · *spooling* (another process holds it: a secondary instance follows its
//! log, our own writes live in an overlay and in the spool) · *read-only* (as spooling, without a spool) · *broken* (a write of
//! the writer's failed: nothing more is written, and the data base is never closed).
//!
//! RocksDB 7 does not survive a full disk: closing a file after a write that failed is an assertion of its own. So it is
//! neither opened nor written to unless there is room for what it does then.

use super::{Access, Notice, spool::Spool};
use crate::{Error, IoResultExt, Result};
use rocksdb::{ColumnFamilyDescriptor, DB, DBCompressionType, IteratorMode, Options, WriteBatch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Column families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Table {
    PathSets,
    Links,
    Entries,
    Uses,
    Memo,
    History,
    Builds,
    Products,
}

impl Table {
    pub const ALL: [Self; 8] =
        [Self::PathSets, Self::Links, Self::Entries, Self::Uses, Self::Memo, Self::History, Self::Builds, Self::Products];

    fn name(self) -> &'static str {
        match self {
            Self::PathSets => "path_sets",
            Self::Links => "links",
            Self::Entries => "entries",
            Self::Uses => "uses",
            Self::Memo => "memo",
            Self::History => "history",
            Self::Builds => "builds",
            Self::Products => "products",
        }
    }
}

/// One change: table, key, new value or deletion.
pub type Change = (Table, Vec<u8>, Option<Vec<u8>>);

/// How often a secondary instance looks for what the writer has added.
const CATCH_UP: Duration = Duration::from_millis(500);

/// Our own writes while somebody else is the writer; `None`: deleted.
type Overlay = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

struct Follower {
    db: DB,
    scratch: PathBuf,
    overlay: Mutex<Overlay>,
    spool: Option<Mutex<Spool>>,
    caught_up: Mutex<Instant>,
}

enum Mode {
    Writer(Arc<DB>),
    Follower(Box<Follower>),
}

pub struct Backend {
    mode: Mode,
    path: PathBuf,
    broken: AtomicBool,
}

fn options() -> Options {
    let mut o = Options::default();
    o.create_if_missing(true);
    o.create_missing_column_families(true);
    o.set_compression_type(DBCompressionType::Lz4);
    o.set_keep_log_file_num(1);
    o.set_max_total_wal_size(32 << 20);
    o.set_max_open_files(64);
    o.increase_parallelism(2);
    o
}

fn open_writer(path: &Path) -> std::result::Result<Mode, rocksdb::Error> {
    let o = options();
    let families: Vec<_> = Table::ALL.iter().map(|t| ColumnFamilyDescriptor::new(t.name(), options())).collect();
    Ok(Mode::Writer(Arc::new(DB::open_cf_descriptors(&o, path, families)?)))
}

/// Bytes that must be free: a write, the flush of a small table and a new manifest.
const ROOM: u64 = 6 << 20;
/// Files that must be possible.
const ROOM_FILES: u64 = 16;

/// Is there room on the file system of `dir`? One that does not count its files says that it has none at all.
fn room(dir: &Path) -> Result<()> {
    let s = rustix::fs::statvfs(dir).at("look for room in", dir)?;
    let files = s.f_files == 0 || s.f_favail >= ROOM_FILES;
    let full = || Err(std::io::Error::from(rustix::io::Errno::NOSPC)).at("write", dir);
    if s.f_bavail.saturating_mul(s.f_frsize) >= ROOM && files { Ok(()) } else { full() }
}

fn is_locked(e: &rocksdb::Error) -> bool {
    let m = e.to_string();
    m.contains("lock") || m.contains("LOCK")
}

fn is_damage(e: &rocksdb::Error) -> bool {
    matches!(e.kind(), rocksdb::ErrorKind::Corruption) || e.to_string().contains("Corruption")
}

impl Backend {
    fn new(mode: Mode, path: PathBuf) -> Self {
        Self { mode, path, broken: AtomicBool::new(false) }
    }

    pub fn open(dir: &Path, notices: &mut Vec<Notice>) -> Result<Self> {
        let path = dir.join("db");
        if path.to_str().is_none() {
            let message = "RocksDB takes no name that is not UTF-8: choose another directory (--cache-dir, XL_CACHE_DIR)".into();
            return Err(Error::Store { path, message });
        }
        // One opens at a time: nobody sees a data base that is just being created. A directory that cannot be written
        // to has no such moment. The lock goes with the descriptor.
        let turn = std::fs::File::create(dir.join("opening")).ok();
        if let Some(f) = &turn {
            rustix::fs::flock(f, rustix::fs::FlockOperation::LockExclusive).map_err(std::io::Error::from).at("lock", &path)?;
        }
        if let Err(e) = room(dir)
            && e.is_full()
        {
            notices.push(format!("the disk of the cache in `{}` is full: nothing new is stored", dir.display()));
            return Self::follow(dir, path, None).map_err(|_| e);
        }
        match open_writer(&path) {
            Ok(mode) => {
                let b = Self::new(mode, path);
                b.absorb(dir);
                Ok(b)
            }
            Err(e) if is_damage(&e) => {
                let aside = dir.join(format!("db.damaged-{}", super::now()));
                std::fs::rename(&path, &aside).at("move aside", &path)?;
                notices.push(format!("the fingerprint store was damaged ({e}); it was moved to `{}` and a new one begun", aside.display()));
                let mode = open_writer(&path).map_err(|e| store_error(&path, &e))?;
                Ok(Self::new(mode, path))
            }
            Err(e) if is_locked(&e) => Self::follow(dir, path.clone(), Some(Spool::create(dir)?)).map_err(|_| store_error(&path, &e)),
            Err(e) => {
                notices.push(format!("the cache in `{}` cannot be written to: nothing new is stored", dir.display()));
                Self::follow(dir, path.clone(), None).map_err(|_| store_error(&path, &e))
            }
        }
    }

    /// Without a `spool`: read-only.
    fn follow(dir: &Path, path: PathBuf, spool: Option<Spool>) -> Result<Self> {
        let read_only = spool.is_none();
        let place = if read_only { std::env::temp_dir() } else { dir.to_owned() };
        let scratch =
            place.join(format!("xl-follow-{}-{}", std::process::id(), std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_nanos())));
        let mut o = options();
        o.create_if_missing(false);
        o.set_max_open_files(-1);
        let names: Vec<&str> = Table::ALL.iter().map(|t| t.name()).collect();
        // The writer may merge files while we open them; what it names now is there.
        let mut tries = 0;
        let db = loop {
            match DB::open_cf_as_secondary(&o, path.as_path(), scratch.as_path(), names.clone()) {
                Ok(db) => break db,
                Err(_) if !read_only && tries < 10 => tries += 1,
                Err(e) => {
                    let _ = std::fs::remove_dir_all(&scratch);
                    return Err(store_error(&path, &e));
                }
            }
        };
        let spool = spool.map(Mutex::new);
        let follower = Follower { db, scratch, overlay: Mutex::default(), spool, caught_up: Mutex::new(Instant::now()) };
        Ok(Self::new(Mode::Follower(Box::new(follower)), path))
    }

    pub fn access(&self) -> Access {
        match &self.mode {
            Mode::Writer(_) => Access::Writer,
            Mode::Follower(f) if f.spool.is_some() => Access::Spooling,
            Mode::Follower(_) => Access::ReadOnly,
        }
    }

    fn db(&self) -> &DB {
        match &self.mode {
            Mode::Writer(db) => db,
            Mode::Follower(f) => &f.db,
        }
    }

    fn family(&self, t: Table) -> Result<&rocksdb::ColumnFamily> {
        self.db()
            .cf_handle(t.name())
            .ok_or_else(|| Error::Store { path: self.path.clone(), message: format!("table {} is missing", t.name()) })
    }

    fn error(&self, e: &rocksdb::Error) -> Error {
        store_error(&self.path, e)
    }

    fn catch_up(&self) {
        if let Mode::Follower(f) = &self.mode {
            let mut last = f.caught_up.lock().expect("follower");
            if last.elapsed() > CATCH_UP {
                *last = Instant::now();
                // Failing means seeing less: misses, never wrong hits.
                let _ = f.db.try_catch_up_with_primary();
            }
        }
    }

    pub fn get(&self, t: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Mode::Follower(f) = &self.mode
            && let Some(v) = f.overlay.lock().expect("overlay").get(&(t, key.to_vec()))
        {
            return Ok(v.clone());
        }
        self.catch_up();
        self.db().get_cf(self.family(t)?, key).map_err(|e| self.error(&e))
    }

    /// Records whose key begins with `prefix`, in key order.
    pub fn scan(&self, t: Table, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.catch_up();
        let mut rows = BTreeMap::new();
        for r in self.db().iterator_cf(self.family(t)?, IteratorMode::From(prefix, rocksdb::Direction::Forward)) {
            let (k, v) = r.map_err(|e| self.error(&e))?;
            if !k.starts_with(prefix) {
                break;
            }
            rows.insert(k.into_vec(), v.into_vec());
        }
        if let Mode::Follower(f) = &self.mode {
            for ((_, k), v) in
                f.overlay.lock().expect("overlay").range((t, prefix.to_vec())..).take_while(|((u, k), _)| *u == t && k.starts_with(prefix))
            {
                match v {
                    Some(v) => drop(rows.insert(k.clone(), v.clone())),
                    None => drop(rows.remove(k)),
                }
            }
        }
        Ok(rows.into_iter().collect())
    }

    /// Applies all changes, or none.
    pub fn write(&self, changes: Vec<Change>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        match &self.mode {
            Mode::Writer(_) if self.broken.load(Ordering::Acquire) => {
                Err(Error::Store { path: self.path.clone(), message: "an earlier write failed".into() })
            }
            Mode::Writer(db) => {
                room(&self.path)?;
                let mut b = WriteBatch::default();
                for (t, k, v) in &changes {
                    let cf = self.family(*t)?;
                    match v {
                        Some(v) => b.put_cf(cf, k, v),
                        None => b.delete_cf(cf, k),
                    }
                }
                db.write(b).map_err(|e| {
                    if !self.broken.swap(true, Ordering::AcqRel) {
                        std::mem::forget(db.clone());
                    }
                    self.error(&e)
                })
            }
            Mode::Follower(f) => {
                let Some(spool) = &f.spool else { return Ok(()) };
                spool.lock().expect("spool").append(&changes)?;
                let mut overlay = f.overlay.lock().expect("overlay");
                for (t, k, v) in changes {
                    overlay.insert((t, k), v);
                }
                Ok(())
            }
        }
    }

    /// Takes in the spools that finished processes left. Only the writer may.
    fn absorb(&self, dir: &Path) {
        Spool::take_all(dir, |mut changes| {
            // Build numbers were given without knowing of each other.
            for (t, k, _) in changes.iter_mut().filter(|(t, _, v)| *t == Table::Builds && v.is_some()) {
                let last = self.scan(*t, b"")?.pop().and_then(|(k, _)| Some(u64::from_be_bytes(k.try_into().ok()?)));
                *k = (last.unwrap_or(0) + 1).to_be_bytes().to_vec();
            }
            self.write(changes)
        });
    }

    /// Takes in spools, our own too if the writer has gone meanwhile; else the next writer does. The data base itself
    /// needs no closing: its log is complete after every write.
    pub fn close(&self, dir: &Path) {
        match &self.mode {
            Mode::Writer(_) if self.broken.load(Ordering::Acquire) => {}
            Mode::Writer(_) => self.absorb(dir),
            Mode::Follower(f) => {
                if let Some(spool) = &f.spool {
                    spool.lock().expect("spool").release();
                }
                if room(dir).is_ok()
                    && let Ok(mode) = open_writer(&self.path)
                {
                    Self::new(mode, self.path.clone()).absorb(dir);
                }
                let _ = std::fs::remove_dir_all(&f.scratch);
            }
        }
    }
}

fn store_error(path: &Path, e: &rocksdb::Error) -> Error {
    Error::Store { path: path.to_owned(), message: e.to_string() }
}
