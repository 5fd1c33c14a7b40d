//! The data base: RocksDB, opened to read, and for as long as it takes to put the log's changes into it.
//!
//! One key space, in which a table is a first byte: opening it to read costs a few files. Without a log of its own, for
//! ours is removed only when everything is in files of the data base. It is created when the first log is full; a small
//! project has none.
//!
//! RocksDB 7 does not survive a full disk: closing a file after a write that failed is an assertion of its own. So
//! nothing is put into it unless there is room for what it does then, and after a write that failed it is never closed.

use super::table::{Fresh, Row, Table};
use super::usage::Usage;
use crate::{Error, IoResultExt};
use rocksdb::{DB, DBCompactionStyle, DBCompressionType, IteratorMode, Options, WriteBatch, WriteOptions, properties};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub struct Base {
    db: DB,
    path: PathBuf,
    /// Of its directory.
    inode: u64,
}

/// Why the data base cannot be used.
pub enum Trouble {
    /// Another process is putting its log into it, or merges its files.
    Busy,
    /// RocksDB's own words.
    Damaged(String),
    Other(Error),
}

pub(super) type Result<T> = std::result::Result<T, Trouble>;

impl From<Error> for Trouble {
    fn from(e: Error) -> Self {
        Self::Other(e)
    }
}

/// The inode number of a data base's directory: one that comes in its place has another.
fn inode(path: &Path) -> u64 {
    rustix::fs::stat(path).map_or(0, |s| s.st_ino)
}

/// Files of a sorted run each, from which on RocksDB merges some.
const RUNS: i32 = 8;

fn options() -> Options {
    let mut o = Options::default();
    o.create_if_missing(true);
    o.set_compression_type(DBCompressionType::Lz4);
    o.set_compaction_style(DBCompactionStyle::Universal);
    o.set_level_zero_file_num_compaction_trigger(RUNS);
    o.set_keep_log_file_num(1);
    // What is open stays readable when somebody else merges files. There are few.
    o.set_max_open_files(-1);
    o.set_max_file_opening_threads(1);
    o.set_skip_stats_update_on_db_open(true);
    o.set_skip_checking_sst_file_sizes_on_db_open(true);
    o.set_stats_dump_period_sec(0);
    o.set_stats_persist_period_sec(0);
    o
}

/// Bytes that must be free, besides what is written: a new manifest, and what is merged.
const ROOM: u64 = 6 << 20;
/// Files that must be possible.
const ROOM_FILES: u64 = 16;

/// Is there room for `bytes` on the file system of `dir`? One that does not count its files says that it has none at
/// all.
fn has_room(dir: &Path, bytes: u64) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|s| {
        let files = s.f_files == 0 || s.f_favail >= ROOM_FILES;
        s.f_bavail.saturating_mul(s.f_frsize) >= ROOM + 2 * bytes && files
    })
}

fn trouble(path: &Path, e: &rocksdb::Error) -> Trouble {
    let message = e.to_string();
    match e.kind() {
        rocksdb::ErrorKind::Corruption => Trouble::Damaged(message),
        _ if message.contains("Corruption") || message.contains("No such file") => Trouble::Damaged(message),
        _ if message.contains("lock") || message.contains("LOCK") => Trouble::Busy,
        _ => Trouble::Other(Error::Store { path: path.to_owned(), message }),
    }
}

impl Base {
    /// Opens it to read. `None`: there is none yet.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let mut o = options();
        o.create_if_missing(false);
        // Somebody may merge files while we open them; what is named then is there.
        let mut tries = 0;
        loop {
            if !path.join("CURRENT").exists() {
                return Ok(None);
            }
            match DB::open_for_read_only(&o, path, false) {
                Ok(db) => return Ok(Some(Self { db, path: path.to_owned(), inode: inode(path) })),
                Err(_) if tries < 10 => tries += 1,
                Err(e) => return Err(trouble(path, &e)),
            }
        }
    }

    /// Opens it to write, and creates it if need be.
    fn write(path: &Path) -> Result<Self> {
        let mut o = options();
        // To merge files takes as much room as they do.
        let files = std::fs::read_dir(path).into_iter().flatten().flatten();
        let bytes = files.filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum();
        o.set_disable_auto_compactions(!has_room(path.parent().unwrap_or(path), bytes));
        let db = DB::open(&o, path).map_err(|e| trouble(path, &e))?;
        Ok(Self { db, path: path.to_owned(), inode: inode(path) })
    }

    /// Is it damaged, or did it only look so while another process merged files? `found`: where reading found it
    /// damaged.
    pub fn is_damaged(path: &Path, found: Option<&Self>) -> Result<bool> {
        match Self::write(path) {
            Ok(_) => Ok(found.is_some_and(|b| b.inode == inode(path))),
            Err(Trouble::Damaged(_)) => Ok(true),
            Err(other) => Err(other),
        }
    }

    /// Puts all of `fresh` into it, so that it survives whatever happens to this process. It may be merging files
    /// still: [`Base::settle`].
    pub fn absorb(path: &Path, fresh: &Fresh, bytes: u64) -> Result<Self> {
        let parent = path.parent().unwrap_or(path);
        if !has_room(parent, bytes) {
            Err(std::io::Error::from(rustix::io::Errno::NOSPC)).at("write", parent)?;
        }
        let base = Self::write(path)?;
        let (k, v) = Usage::of(Some(&base), fresh)?.row()?;
        let mut batch = WriteBatch::default();
        for (t, k, v) in fresh.iter() {
            match v {
                Some(v) => batch.put(t.key(k), v),
                None => batch.delete(t.key(k)),
            }
        }
        batch.put(Table::Blobs.key(&k), v);
        // The log has it until it is in a file.
        let mut o = WriteOptions::default();
        o.disable_wal(true);
        match base.db.write_opt(batch, &o).and_then(|()| base.db.flush()) {
            Ok(()) => Ok(base),
            Err(e) => {
                std::mem::forget(base);
                Err(trouble(path, &e))
            }
        }
    }

    /// Waits while RocksDB merges files: a merge that is broken off begins again the next time.
    pub fn settle(self) {
        let some = |p| self.db.property_int_value(p).ok().flatten().is_some_and(|n| n > 0);
        while some(properties::COMPACTION_PENDING) || some(properties::NUM_RUNNING_COMPACTIONS) {
            if some(properties::BACKGROUND_ERRORS) {
                return std::mem::forget(self);
            }
            // RocksDB 7 cannot be asked to tell.
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn get(&self, t: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.db.get(t.key(key)).map_err(|e| trouble(&self.path, &e))
    }

    /// Records whose key begins with `prefix`, in key order.
    pub fn scan<'a>(&'a self, t: Table, prefix: &[u8]) -> impl Iterator<Item = Result<Row>> + use<'a> {
        let prefix = t.key(prefix);
        let rows = self.db.iterator(IteratorMode::From(&prefix, rocksdb::Direction::Forward));
        let rows = rows.map(|r| r.map(|(k, v)| (k.into_vec(), v.into_vec())).map_err(|e| trouble(&self.path, &e)));
        rows.take_while(move |r| r.as_ref().map_or(true, |(k, _)| k.starts_with(&prefix)))
            .map(|r| r.map(|(k, v)| (k[1..].to_vec(), v)))
    }
}
