//! Several stores on one directory against a model: what is published is found, the first result of a fingerprint
//! stays, and nothing is ever found that nobody published.
//!
//! The first store to be opened writes; the others follow it and leave what they publish in a spool. All may close and
//! open again in any order, as builds do.

use cache::entry::TextContent;
use cache::{Cas, Digest, Entry, Observation, PathSet, Store, Text};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

#[derive(Clone, Debug)]
enum Op {
    Publish { store: usize, weak: u8, set: u8, value: u8, result: u8 },
    Look { store: usize, weak: u8, set: u8, value: u8 },
    Drop { store: usize, weak: u8, set: u8, value: u8 },
    Reopen { store: usize },
}

const STORES: usize = 3;

fn op() -> impl Strategy<Value = Op> {
    let key = || (0..STORES, 0..2u8, 0..2u8, 0..3u8);
    prop_oneof![
        4 => (key(), 0..3u8).prop_map(|((store, weak, set, value), result)| Op::Publish { store, weak, set, value, result }),
        4 => key().prop_map(|(store, weak, set, value)| Op::Look { store, weak, set, value }),
        1 => key().prop_map(|(store, weak, set, value)| Op::Drop { store, weak, set, value }),
        2 => (0..STORES).prop_map(|store| Op::Reopen { store }),
    ]
}

fn set(n: u8) -> PathSet {
    PathSet::new((0..=n).map(|i| Observation::FileContent(vec![b'/', b'a' + i].into())).collect())
}

fn entry(n: u8) -> Entry {
    Entry { text: vec![Text { stream: 1, content: TextContent::Inline(vec![n]) }], ..Entry::default() }
}

struct World {
    dir: tempfile::TempDir,
    cas: Cas,
    stores: Vec<Option<Store>>,
}

impl World {
    fn store(&mut self, i: usize) -> &Store {
        if self.stores[i].is_none() {
            self.stores[i] = Some(Store::open(self.dir.path()).expect("the store opens").0);
        }
        self.stores[i].as_ref().expect("it is open")
    }

    fn close(&mut self, i: usize) {
        if let Some(s) = self.stores[i].take() {
            s.close();
        }
    }
}

type Key = (u8, u8, u8);

fn fingerprints(k: Key) -> (Digest, Digest, Vec<Digest>, Digest) {
    let (weak, digest) = (Digest::of(&[k.0]), set(k.1).encode().unwrap().1);
    let values: Vec<Digest> = (0..=k.1).map(|_| Digest::of(&[b'v', k.2])).collect();
    let strong = cache::path_set::strong_fingerprint(&weak, &digest, &values);
    (weak, digest, values, strong)
}

fn run(ops: &[Op]) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let cas = Cas::open(dir.path(), false).unwrap();
    let mut w = World { dir, cas, stores: (0..STORES).map(|_| None).collect() };
    // Every result that anybody has published since the key was last dropped anywhere.
    let mut published: HashMap<Key, HashSet<u8>> = HashMap::new();
    let mut dropped: HashSet<Key> = HashSet::new();
    for op in ops {
        match *op {
            Op::Publish { store, weak, set: n, value, result } => {
                let (weak_digest, _, values, strong) = fingerprints((weak, n, value));
                w.store(store);
                let s = w.stores[store].as_ref().unwrap();
                let before = s.entry(&strong).unwrap();
                let earlier = s.publish(&w.cas, &weak_digest, &set(n), &strong, &values, &entry(result)).unwrap();
                prop_assert_eq!(&before, &earlier, "publishing tells what was there");
                published.entry((weak, n, value)).or_default().insert(result);
                // What one has just published, or found, one finds.
                let want = earlier.unwrap_or_else(|| entry(result));
                prop_assert_eq!(s.entry(&strong).unwrap(), Some(want));
                prop_assert!(s.links(&weak_digest).unwrap().iter().any(|l| l.strong == strong));
            }
            Op::Look { store, weak, set: n, value } => {
                let (weak_digest, digest, _, strong) = fingerprints((weak, n, value));
                let known = published.get(&(weak, n, value)).cloned().unwrap_or_default();
                let s = w.store(store);
                if let Some(e) = s.entry(&strong).unwrap() {
                    prop_assert!(known.iter().any(|r| entry(*r) == e), "found {e:?}, published {known:?}");
                }
                for l in s.links(&weak_digest).unwrap() {
                    // A link names only what somebody published, and its path set can be read.
                    prop_assert!(published.keys().any(|k| fingerprints(*k).3 == l.strong));
                    prop_assert!(s.path_set(&l.path_set).unwrap().is_some());
                }
                let _ = digest;
            }
            Op::Drop { store, weak, set: n, value } => {
                let (_, _, _, strong) = fingerprints((weak, n, value));
                w.store(store).drop_entries(&HashSet::from([strong])).unwrap();
                prop_assert_eq!(w.store(store).entry(&strong).unwrap(), None);
                dropped.insert((weak, n, value));
            }
            Op::Reopen { store } => w.close(store),
        }
    }
    // When everybody has gone, the next one finds all of it.
    for i in 0..STORES {
        w.close(i);
    }
    let s = w.store(0);
    for (k, results) in &published {
        let (weak, _, _, strong) = fingerprints(*k);
        match s.entry(&strong).unwrap() {
            Some(e) => prop_assert!(results.iter().any(|r| entry(*r) == e)),
            // Spools are taken in after the writer's own changes: a deletion may come late, never a result be made up.
            None => prop_assert!(dropped.contains(k), "{k:?} was published and never dropped"),
        }
        if !dropped.contains(k) {
            prop_assert!(s.links(&weak).unwrap().iter().any(|l| l.strong == strong));
        }
    }
    prop_assert!(s.verify().is_ok());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn several_stores_on_one_directory(ops in prop::collection::vec(op(), 1..40)) {
        run(&ops)?;
    }
}

/// Writers at once in one store: every reader sees whole results, and the first of each fingerprint stays.
#[test]
fn many_threads_on_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let cas = Cas::open(dir.path(), false).unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let first: Vec<std::sync::OnceLock<Entry>> = (0..4).map(|_| std::sync::OnceLock::new()).collect();
    std::thread::scope(|s| {
        for t in 0..4u8 {
            let (store, cas, first) = (&store, &cas, &first);
            s.spawn(move || {
                for i in 0..200u32 {
                    let value = (i % 4) as u8;
                    let (weak, digest, values, strong) = fingerprints((0, 1, value));
                    if i % 3 == 0 {
                        store.publish(cas, &weak, &set(1), &strong, &values, &entry(t)).unwrap();
                    }
                    if let Some(e) = store.entry(&strong).unwrap() {
                        assert!(store.path_set(&digest).unwrap().is_some(), "a result without its path set");
                        let _ = first[usize::from(value)].set(e);
                    }
                }
            });
        }
    });
    for (value, seen) in first.iter().enumerate() {
        let (.., strong) = fingerprints((0, 1, value as u8));
        assert!(store.entry(&strong).unwrap().is_some() && seen.get().is_some());
    }
}
