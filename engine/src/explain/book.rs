//! Build records, read only as far as a question needs: a build of ten thousand pips is megabytes of JSON, and most
//! questions are about a few of them.
//!
//! What is wanted is searched for in the text, and only the items around it are parsed. That works because records are
//! written without blanks and with the number of an item first: `{"id":` cannot be within a string, where quotes are
//! escaped. Tried first: parsing whole records, which takes seconds for a dozen large ones.

use crate::record::{BuildRecord, Item};
use bstr::ByteSlice;
use std::collections::BTreeSet;

/// What stands before the items of a record.
const ITEMS: &[u8] = b",\"items\":[";
/// How an item begins.
const ITEM: &[u8] = b"{\"id\":";

pub(super) struct Build {
    pub(super) number: u64,
    /// The record without its items.
    pub(super) head: BuildRecord,
    items: Vec<u8>,
}

impl Build {
    /// `None`: a record of another form.
    pub(super) fn new(number: u64, mut text: Vec<u8>) -> Option<Self> {
        let cut = text.find(ITEMS)?;
        let items = text.split_off(cut + ITEMS.len());
        text.extend_from_slice(b"]}");
        Some(Self { number, head: serde_json::from_slice(&text).ok()?, items })
    }

    /// Bytes.
    pub(super) fn size(&self) -> usize {
        self.items.len()
    }

    /// The item that begins here.
    fn item(&self, at: usize) -> Option<Item> {
        serde_json::Deserializer::from_slice(&self.items[at..]).into_iter().next()?.ok()
    }

    pub(super) fn by_id(&self, id: u32) -> Option<Item> {
        let start = self.items.find(format!("{{\"id\":{id},"))?;
        self.item(start)
    }

    /// Those whose text has this somewhere, in their order: a superset of those that name it.
    pub(super) fn mentioning(&self, text: &str) -> Vec<Item> {
        let quoted = serde_json::to_string(text).unwrap_or_default();
        let needle = &quoted.as_bytes()[1..quoted.len().max(2) - 1];
        let starts: BTreeSet<usize> =
            self.items.find_iter(needle).filter_map(|at| self.items[..at].rfind(ITEM)).collect();
        starts.into_iter().filter_map(|at| self.item(at)).collect()
    }

    /// All of them.
    pub(super) fn items(&self) -> impl Iterator<Item = Item> {
        self.items.find_iter(ITEM).filter_map(|at| self.item(at))
    }

    /// Where those begin that ran.
    fn ran_at(&self) -> Vec<usize> {
        let starts: Vec<usize> = self.items.find_iter(ITEM).collect();
        let ends = starts.iter().skip(1).copied().chain([self.items.len()]);
        let is_hit = |from: usize, to: usize| self.items[from..to].contains_str(b"\"outcome\":\"hit\"");
        starts.iter().copied().zip(ends).filter(|(from, to)| !is_hit(*from, *to)).map(|(from, _)| from).collect()
    }

    /// Those that ran, each parsed when it is asked for.
    pub(super) fn ran(&self) -> impl Iterator<Item = Item> {
        self.ran_at().into_iter().filter_map(|at| self.item(at))
    }

    pub(super) fn count_ran(&self) -> usize {
        self.ran_at().len()
    }

    /// Those that made this file.
    pub(super) fn makers(&self, path: &str) -> Vec<Item> {
        let mut all = self.mentioning(path);
        all.retain(|i| i.outputs.iter().any(|o| o == path));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::tests::item;
    use crate::record::Outcome;

    #[test]
    fn items_are_found_without_reading_all() {
        let mut hit = item(2, &["cc", "-c", "b.c"], &["/w/b.o"]);
        hit.outcome = Outcome::Hit;
        let odd = item(3, &["sh", "-c", "echo '{\"id\":9,' ,\"items\":["], &["/w/\"q\""]);
        let record = BuildRecord {
            cwd: "/w".into(),
            command: vec!["echo".into(), ",\"items\":[".into()],
            items: vec![item(1, &["cc", "-c", "a.c"], &["/w/a.o"]), hit, odd],
            ..BuildRecord::default()
        };
        let b = Build::new(7, serde_json::to_vec(&record).unwrap()).unwrap();
        assert_eq!((b.number, b.head.cwd.as_str(), b.head.items.len()), (7, "/w", 0));
        assert_eq!(b.by_id(2).map(|i| i.outputs), Some(vec!["/w/b.o".to_owned()]));
        assert!(b.by_id(9).is_none());
        let ids = |all: Vec<Item>| all.iter().map(|i| i.id).collect::<Vec<_>>();
        assert_eq!(ids(b.makers("/w/\"q\"")), [3]);
        assert_eq!(ids(b.makers("/w/b")), [0; 0]);
        assert_eq!(ids(b.items().collect()), [1, 2, 3]);
        assert_eq!((ids(b.ran().collect()), b.count_ran()), (vec![1, 3], 2));
        assert!(Build::new(1, b"{}".to_vec()).is_none());
    }
}
