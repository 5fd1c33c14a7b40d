//! The records as they are now: the data base, and over it the log, which all processes share.
//!
//! Everybody reads both and holds neither: to append takes the log's lock for microseconds. Whoever makes the log too
//! long puts it into the data base, and from then on the log is another file; everybody who notices opens the data base
//! anew. That is opened when the first record is wanted that the log does not have: a run that launches nothing never
//! does.

use super::base::{self, Base, Trouble};
use super::log::Log;
use super::table::{Change, Fresh, Row, Table};
use super::usage::Usage;
use super::{Access, Notice};
use crate::{Error, IoResultExt, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// A log of this length is put into the data base while a build goes on, bytes.
const LONG: u64 = 8 << 20;
/// At the end of a run: this is what the next one reads at its start.
const LONG_AT_REST: u64 = 1 << 20;

pub(super) struct View {
    /// Of the data base.
    path: PathBuf,
    access: Access,
    state: Mutex<State>,
    notices: Mutex<Vec<Notice>>,
}

struct State {
    log: Log,
    /// What the log says.
    fresh: Fresh,
    base: Opened,
    /// When the log is this long, it is time to put it into the data base.
    long: u64,
}

enum Opened {
    NotYet,
    /// There is none.
    Absent,
    Open(Arc<Base>),
}

impl State {
    /// Reads what others have appended.
    fn refresh(&mut self) -> Result<bool> {
        let renewed = self.log.is_renewed()?;
        if renewed {
            // This log was begun when all of the last one was in the data base. Whoever opens that from now on has it.
            self.fresh.clear();
            self.base = Opened::NotYet;
            self.long = LONG;
        }
        let fresh = &mut self.fresh;
        self.log.follow(|t, k, v| fresh.insert(t, k.to_vec(), v.map(<[u8]>::to_vec)))?;
        Ok(renewed)
    }
}

impl View {
    /// Opens what is in `dir`. A directory that cannot be written to is only read.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("db");
        if path.to_str().is_none() {
            let message =
                "RocksDB takes no name that is not UTF-8: choose another directory (--cache-dir, XL_CACHE_DIR)".into();
            return Err(Error::Store { path, message });
        }
        let log = dir.join("log");
        let mut notices = Vec::new();
        let (log, access) = match Log::open(log.clone(), true) {
            Ok(log) => (log, Access::ReadWrite),
            Err(e) => {
                notices.push(format!(
                    "the cache in `{}` cannot be written to: nothing new is stored ({e})",
                    dir.display()
                ));
                (Log::open(log, false)?, Access::ReadOnly)
            }
        };
        let state = Mutex::new(State { log, fresh: Fresh::default(), base: Opened::NotYet, long: LONG });
        Ok(Self { path, access, state, notices: Mutex::new(notices) })
    }

    pub(super) fn access(&self) -> Access {
        self.access
    }

    /// What the user should hear, once.
    pub(super) fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.notices.lock().expect("notices"))
    }

    fn notice(&self, n: Notice) {
        self.notices.lock().expect("notices").push(n);
    }

    /// The newest state.
    fn now(&self) -> Result<MutexGuard<'_, State>> {
        let mut s = self.state.lock().expect("view");
        s.refresh()?;
        Ok(s)
    }

    /// The data base that belongs to this state.
    fn base(&self, s: &mut State) -> Result<Option<Arc<Base>>> {
        if let Opened::NotYet = s.base {
            let mut read = Base::read(&self.path);
            if let Err(Trouble::Damaged(why)) = &read {
                self.set_aside(s, why, None)?;
                read = Base::read(&self.path);
            }
            s.base = read.map_err(|t| self.error(t))?.map_or(Opened::Absent, |base| Opened::Open(Arc::new(base)));
        }
        Ok(match &s.base {
            Opened::Open(b) => Some(b.clone()),
            Opened::NotYet | Opened::Absent => None,
        })
    }

    fn error(&self, t: Trouble) -> Error {
        match t {
            Trouble::Other(e) => e,
            Trouble::Damaged(message) => Error::Store { path: self.path.clone(), message },
            Trouble::Busy => Error::Store { path: self.path.clone(), message: "another process is changing it".into() },
        }
    }

    /// Asks the data base. What is damaged has nothing: it is moved away, and all of it misses once.
    fn ask<T: Default>(
        &self,
        s: &mut State,
        base: Option<&Base>,
        f: impl FnOnce(&Base) -> base::Result<T>,
    ) -> Result<T> {
        match base.map(f) {
            None => Ok(T::default()),
            Some(Ok(found)) => Ok(found),
            Some(Err(Trouble::Damaged(why))) => self.set_aside(s, &why, base).map(|()| T::default()),
            Some(Err(other)) => Err(self.error(other)),
        }
    }

    /// Moves a damaged data base away. `found`: where reading found it damaged.
    fn set_aside(&self, s: &mut State, why: &str, found: Option<&Base>) -> Result<()> {
        if self.access == Access::ReadOnly {
            return Err(self.error(Trouble::Damaged(why.to_owned())));
        }
        self.alone(s, |s| {
            s.base = Opened::NotYet;
            // Another process may have done it.
            if !Base::is_damaged(&self.path, found).map_err(|t| self.error(t))? {
                return Ok(());
            }
            let aside = self.path.with_file_name(format!("db.damaged-{}", super::now_ms()));
            std::fs::rename(&self.path, &aside).at("move aside", &self.path)?;
            let aside = aside.display();
            self.notice(format!(
                "the fingerprint store was damaged ({why}); it was moved to `{aside}` and a new one begun"
            ));
            Ok(())
        })
    }

    /// Does something while nobody else changes anything.
    fn alone<T>(&self, s: &mut State, f: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        loop {
            s.log.lock()?;
            match s.refresh() {
                Ok(false) => break,
                // The lock of a log that has been removed is no lock, and went with it.
                Ok(true) => {}
                Err(e) => {
                    s.log.unlock();
                    return Err(e);
                }
            }
        }
        let r = f(s);
        s.log.unlock();
        r
    }

    pub(super) fn get(&self, t: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut s = self.now()?;
        self.get_from(&mut s, t, key)
    }

    fn get_from(&self, s: &mut State, t: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(v) = s.fresh.get(t, key) {
            return Ok(v.clone());
        }
        let base = self.base(s)?;
        self.ask(s, base.as_deref(), |b| b.get(t, key))
    }

    /// Records whose key begins with `prefix`, in key order.
    pub(super) fn scan(&self, t: Table, prefix: &[u8]) -> Result<Vec<Row>> {
        let mut s = self.now()?;
        self.scan_from(&mut s, t, prefix)
    }

    fn scan_from(&self, s: &mut State, t: Table, prefix: &[u8]) -> Result<Vec<Row>> {
        let base = self.base(s)?;
        let found = self.ask(s, base.as_deref(), |b| b.scan(t, prefix).collect::<base::Result<Vec<Row>>>())?;
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = found.into_iter().collect();
        for (k, v) in s.fresh.range(t, prefix) {
            match v {
                Some(v) => drop(rows.insert(k.clone(), v.clone())),
                None => drop(rows.remove(k)),
            }
        }
        Ok(rows.into_iter().collect())
    }

    /// Answers several questions with one look at what others have appended.
    pub(super) fn read<T>(&self, f: impl FnOnce(&mut Current<'_>) -> Result<T>) -> Result<T> {
        let mut s = self.now()?;
        f(&mut Current { view: self, state: &mut s })
    }

    /// How much there is.
    pub(super) fn usage(&self) -> Result<Usage> {
        let mut s = self.now()?;
        let base = self.base(&mut s)?;
        let sums = match Usage::of(base.as_deref(), &s.fresh) {
            Err(Trouble::Damaged(why)) => {
                self.set_aside(&mut s, &why, base.as_deref())?;
                Usage::of(None, &s.fresh)
            }
            sums => sums,
        };
        sums.map_err(|t| self.error(t))
    }

    /// Applies all changes, or none.
    pub(super) fn write(&self, changes: Vec<Change>) -> Result<()> {
        if changes.is_empty() { Ok(()) } else { self.update(|_| Ok((changes, ()))) }
    }

    /// Applies what `f` makes of the records as they are, while nobody else changes them. Without changes nothing is
    /// written.
    pub(super) fn update<T>(&self, f: impl FnOnce(&mut Current<'_>) -> Result<(Vec<Change>, T)>) -> Result<T> {
        let mut s = self.now()?;
        if self.access == Access::ReadOnly {
            return f(&mut Current { view: self, state: &mut s }).map(|(_, result)| result);
        }
        let (result, base) = self.alone(&mut s, |s| {
            let (changes, result) = f(&mut Current { view: self, state: &mut *s })?;
            if changes.is_empty() {
                return Ok((result, None));
            }
            s.log.append(&changes)?;
            changes.into_iter().for_each(|(t, k, v)| s.fresh.insert(t, k, v));
            Ok((result, if s.log.len() > s.long { self.absorb(s) } else { None }))
        })?;
        drop(s);
        base.into_iter().for_each(Base::settle);
        Ok(result)
    }

    /// Puts the log into the data base. Where that cannot be, the log stays: nothing is lost.
    fn absorb(&self, s: &mut State) -> Option<Base> {
        // Not again for every change, if it cannot be.
        s.long = s.log.len() + LONG;
        let base = match Base::absorb(&self.path, &s.fresh, s.log.len()) {
            Ok(base) => base,
            Err(Trouble::Damaged(why)) => {
                // The next attempt finds none.
                let opened = self.base(s).ok().flatten();
                let _ = self.set_aside(s, &why, opened.as_deref());
                return None;
            }
            Err(Trouble::Busy | Trouble::Other(_)) => return None,
        };
        s.log.remove().ok()?;
        s.fresh.clear();
        s.base = Opened::NotYet;
        Some(base)
    }

    /// Puts a log that the next run would read for long into the data base; any log, if `all`.
    pub(super) fn tidy_up(&self, all: bool) {
        let Ok(mut s) = self.now() else { return };
        let least = if all { 0 } else { LONG_AT_REST };
        if self.access == Access::ReadOnly || s.log.len() <= least {
            return;
        }
        let base = self.alone(&mut s, |s| Ok(if s.log.len() > least { self.absorb(s) } else { None }));
        drop(s);
        base.into_iter().flatten().for_each(Base::settle);
    }
}

/// The records as they are, while no other thread asks. Within [`View::update`] no other process changes them either.
pub(super) struct Current<'a> {
    view: &'a View,
    state: &'a mut State,
}

impl Current<'_> {
    pub(super) fn get(&mut self, t: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.view.get_from(self.state, t, key)
    }

    /// Records whose key begins with `prefix`, in key order.
    pub(super) fn scan(&mut self, t: Table, prefix: &[u8]) -> Result<Vec<Row>> {
        self.view.scan_from(self.state, t, prefix)
    }
}
