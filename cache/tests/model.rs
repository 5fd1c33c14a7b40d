//! Several stores on one directory against a model: what one publishes all find at once, the first result of a
//! fingerprint stays, what is dropped is gone for all, and the sums are those of what is there.
//!
//! Any store may move the common log into the data base at any time, and all may close and open again in any order, as
//! builds do.

use cache::entry::TextContent;
use cache::{Cas, Digest, Entry, Observation, PathSet, Publication, Store, Text};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Op {
    Publish { store: usize, weak: u8, set: u8, value: u8, result: u8 },
    Look { store: usize, weak: u8, set: u8, value: u8 },
    Drop { store: usize, weak: u8, set: u8, value: u8 },
    Reopen { store: usize },
    Fold { store: usize },
}

const STORES: usize = 3;

fn op() -> impl Strategy<Value = Op> {
    let key = || (0..STORES, 0..2u8, 0..2u8, 0..3u8);
    prop_oneof![
        4 => (key(), 0..3u8).prop_map(|((store, weak, set, value), result)| Op::Publish { store, weak, set, value, result }),
        4 => key().prop_map(|(store, weak, set, value)| Op::Look { store, weak, set, value }),
        1 => key().prop_map(|(store, weak, set, value)| Op::Drop { store, weak, set, value }),
        2 => (0..STORES).prop_map(|store| Op::Reopen { store }),
        1 => (0..STORES).prop_map(|store| Op::Fold { store }),
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

fn publish(s: &Store, cas: &Cas, k: Key, entry: &Entry) -> Option<Entry> {
    let (weak, _, values, strong) = fingerprints(k);
    let values: Vec<u64> = values.iter().map(cache::tier::short).collect();
    let p = Publication { weak: &weak, set: &set(k.1), strong: &strong, values: &values, entry };
    s.publish(cas, &p).expect("a publication")
}

fn run(ops: &[Op]) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let cas = Cas::new(dir.path());
    let mut w = World { dir, cas, stores: (0..STORES).map(|_| None).collect() };
    let mut known: HashMap<Key, u8> = HashMap::new();
    let mut linked: HashSet<Key> = HashSet::new();
    for op in ops {
        match *op {
            Op::Publish { store, weak, set: n, value, result } => {
                w.store(store);
                let s = w.stores[store].as_ref().unwrap();
                let earlier = publish(s, &w.cas, (weak, n, value), &entry(result));
                prop_assert_eq!(
                    earlier,
                    known.get(&(weak, n, value)).map(|r| entry(*r)),
                    "publishing tells what was there"
                );
                known.entry((weak, n, value)).or_insert(result);
                linked.insert((weak, n, value));
            }
            Op::Look { store, weak, set: n, value } => {
                let (weak_digest, _, _, strong) = fingerprints((weak, n, value));
                let s = w.store(store);
                prop_assert_eq!(s.entry(&strong).unwrap(), known.get(&(weak, n, value)).map(|r| entry(*r)));
                let links = s.links(&weak_digest).unwrap();
                let expected: HashSet<Digest> =
                    linked.iter().filter(|k| k.0 == weak).map(|k| fingerprints(*k).3).collect();
                prop_assert_eq!(links.iter().map(|l| l.strong).collect::<HashSet<_>>(), expected);
                for l in &links {
                    prop_assert!(s.path_set(&l.path_set).unwrap().is_some());
                }
                prop_assert_eq!(s.usage().unwrap().results, known.len() as u64);
            }
            Op::Drop { store, weak, set: n, value } => {
                let (_, _, _, strong) = fingerprints((weak, n, value));
                w.store(store).drop_entries(&HashSet::from([strong])).unwrap();
                prop_assert_eq!(w.store(store).entry(&strong).unwrap(), None);
                known.remove(&(weak, n, value));
                linked.remove(&(weak, n, value));
            }
            Op::Reopen { store } => w.close(store),
            Op::Fold { store } => w.store(store).fold(),
        }
    }
    // When everybody has gone, the next one finds all of it.
    for i in 0..STORES {
        w.close(i);
    }
    let s = w.store(0);
    for (k, result) in &known {
        prop_assert_eq!(s.entry(&fingerprints(*k).3).unwrap(), Some(entry(*result)));
    }
    prop_assert_eq!(s.all_entries().unwrap().len(), known.len());
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
    let cas = Cas::new(dir.path());
    let (store, _) = Store::open(dir.path()).unwrap();
    let first: Vec<std::sync::OnceLock<Entry>> = (0..4).map(|_| std::sync::OnceLock::new()).collect();
    std::thread::scope(|s| {
        for t in 0..4u8 {
            let (store, cas, first) = (&store, &cas, &first);
            s.spawn(move || {
                for i in 0..200u32 {
                    let value = (i % 4) as u8;
                    let (_, digest, _, strong) = fingerprints((0, 1, value));
                    if i % 3 == 0 {
                        publish(store, cas, (0, 1, value), &entry(t));
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

/// The twin of a blob is known from when it is imported until it goes, also to those who open the cache later; a blob
/// that came without one gets it when it comes again.
#[test]
fn twins_are_kept_with_their_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let open = |with_twins: bool| {
        let cas = Cas::new(dir.path());
        let cas = Arc::new(cas.with_twins(with_twins));
        let store = Arc::new(Store::open(dir.path()).unwrap().0);
        (store.clone(), cas.clone(), cache::tier::Local::new(store, cas))
    };
    let import = |cas: &Cas, b: &[u8]| cas.import(&mut &*b, std::path::Path::new("it")).unwrap().digest;
    let (store, cas, local) = open(false);
    let all = [import(&cas, b"abc"), import(&cas, b"x")];
    store.note_blobs(&cas).unwrap();
    store.fold();
    assert_eq!(local.twins(&all).unwrap(), [None, None]);
    let (store, cas, local) = open(true);
    import(&cas, b"abc");
    let [abc, x] = local.twins(&all).unwrap()[..] else { unreachable!() };
    // FIPS 180-2, appendix B.1.
    let known = Digest::from_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
    assert_eq!((abc, x), (Some(cache::digest::Sha256(known.0)), None), "before it is in the store");
    store.note_blobs(&cas).unwrap();
    assert_eq!(store.usage().map(|u| (u.blobs, u.bytes)).unwrap(), (2, 4));
    store.fold();
    assert_eq!(store.usage().map(|u| (u.blobs, u.bytes)).unwrap(), (2, 4));
    let (store, cas, local) = open(false);
    assert_eq!(local.twins(&all).unwrap(), [abc, None]);
    // Counting all blobs anew keeps it.
    let mut found = HashMap::new();
    cas.walk(|b| found.extend([(b.digest, b.size)])).unwrap();
    store.count_blobs(&found, &cas).unwrap();
    assert_eq!(local.twins(&all).unwrap(), [abc, None]);
    cas.remove(&all[0]).unwrap();
    store.note_blobs(&cas).unwrap();
    assert_eq!(local.twins(&all).unwrap(), [None, None]);
}

/// The sums follow what comes and goes, survive the move into the data base, and are made right when they are not.
#[test]
fn the_sums_are_those_of_the_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let cas = Cas::new(dir.path());
    let (store, _) = Store::open(dir.path()).unwrap();
    let sums = |s: &Store| s.usage().map(|u| (u.blobs, u.bytes)).unwrap();
    let blobs: Vec<Digest> = (1..=10usize).map(|n| cas.import_bytes(&vec![b'x'; n]).unwrap()).collect();
    store.note_blobs(&cas).unwrap();
    assert_eq!(sums(&store), (10, 55));
    store.fold();
    assert_eq!(sums(&store), (10, 55));
    // There already, gone, and new; told twice, as when a log that is in the data base is read again.
    cas.import_bytes(b"xx").unwrap();
    cas.remove(&blobs[9]).unwrap();
    cas.import_bytes(b"yyy").unwrap();
    store.note_blobs(&cas).unwrap();
    store.note_blobs(&cas).unwrap();
    assert_eq!(sums(&store), (10, 48));
    let (other, _) = Store::open(dir.path()).unwrap();
    other.fold();
    assert_eq!((sums(&store), sums(&other)), ((10, 48), (10, 48)));
    // A process that could not tell what it did.
    let silent = Cas::new(dir.path());
    silent.remove(&blobs[0]).unwrap();
    silent.import_bytes(b"zzzz").unwrap();
    assert_eq!(sums(&store), (10, 48));
    let mut found = HashMap::new();
    silent.walk(|b| found.extend([(b.digest, b.size)])).unwrap();
    // What comes while they are counted is not lost.
    cas.import_bytes(b"meanwhile").unwrap();
    store.note_blobs(&cas).unwrap();
    store.count_blobs(&found, &cas).unwrap();
    assert_eq!(sums(&store), (11, 48 - 1 + 4 + 9));
    store.fold();
    assert_eq!(sums(&other), (11, 60));
}
