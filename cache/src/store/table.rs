//! What kinds of records there are, and how a change to one is told.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A kind of record. Its number is the first byte of its keys in the data base, and part of the log's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Table {
    PathSets,
    Links,
    Entries,
    Uses,
    Memo,
    History,
    Products,
    /// Blobs of the content store and their sizes. The empty key has the sums; see [`super::usage`].
    Blobs,
}

impl Table {
    pub const ALL: [Self; 8] = [
        Self::PathSets,
        Self::Links,
        Self::Entries,
        Self::Uses,
        Self::Memo,
        Self::History,
        Self::Products,
        Self::Blobs,
    ];

    /// The key of a record in the data base.
    pub fn key(self, key: &[u8]) -> Vec<u8> {
        [&[self as u8], key].concat()
    }
}

/// One change: table, key, new value or deletion.
pub(super) type Change = (Table, Vec<u8>, Option<Vec<u8>>);

/// A record that was found.
pub(super) type Row = (Vec<u8>, Vec<u8>);

/// Changes that are newer than the data base; `None`: deleted.
#[derive(Default)]
pub struct Fresh([BTreeMap<Vec<u8>, Option<Vec<u8>>>; Table::ALL.len()]);

impl Fresh {
    pub fn insert(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.0[table as usize].insert(key, value);
    }

    pub fn get(&self, table: Table, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.0[table as usize].get(key)
    }

    /// Changes of the records whose keys begin with `prefix`, in their order.
    pub fn range<'a>(
        &'a self,
        table: Table,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)> {
        self.0[table as usize].range(prefix.to_vec()..).take_while(move |(k, _)| k.starts_with(prefix))
    }

    pub fn iter(&self) -> impl Iterator<Item = (Table, &Vec<u8>, &Option<Vec<u8>>)> {
        Table::ALL.into_iter().flat_map(|t| self.0[t as usize].iter().map(move |(k, v)| (t, k, v)))
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeMap::is_empty)
    }

    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(BTreeMap::clear);
    }
}
