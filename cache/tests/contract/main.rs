//! What every implementation of `Results` and `Blobs` promises, asked of each of them: this machine's disk, memory, and
//! tiers made of two others.
//!
//! A tier that is to come is one more [`Case`]. What only a pair of tiers can get wrong is in [`pairs`].

mod fake;
mod pairs;

use cache::entry::TextContent;
use cache::tier::{Failure, Local, Memory, Sink, Source, Tiered, Upload, short};
use cache::{Blobs, CacheHandle, Class, Digest, Entry, Observation, PathSet, Publication, Results, Text};
use std::path::Path;
use std::sync::Arc;

/// One implementation, and how to do to it what disks and collections do.
struct Case {
    name: &'static str,
    results: Arc<dyn Results>,
    blobs: Arc<dyn Blobs>,
    /// A blob is gone.
    lose: Box<dyn Fn(&Digest) + Send + Sync>,
    /// A blob is not what its name says any more.
    damage: Box<dyn Fn(&Digest) + Send + Sync>,
    _dir: Option<tempfile::TempDir>,
}

fn local(dir: &Path) -> Arc<Local> {
    let (handle, notices) = CacheHandle::open(dir).expect("the cache opens");
    assert_eq!(notices, [""; 0]);
    Arc::new(Local::new(handle.store, handle.cas))
}

fn file_of(dir: &Path, d: &Digest) -> std::path::PathBuf {
    let hex = d.hex();
    dir.join("cas").join(&hex[..2]).join(&hex[2..])
}

fn memories(name: &'static str, tier: Arc<impl Results + Blobs + 'static>, memories: Vec<Arc<Memory>>) -> Case {
    let (all, more) = (memories.clone(), memories);
    Case {
        name,
        results: tier.clone(),
        blobs: tier,
        lose: Box::new(move |d| all.iter().for_each(|m| m.remove(d))),
        damage: Box::new(move |d| {
            for m in more.iter().filter(|m| m.content(d).is_some()) {
                m.plant(*d, b"damaged");
            }
        }),
        _dir: None,
    }
}

fn on_disk(name: &'static str, far: Option<Arc<Memory>>) -> Case {
    let t = tempfile::tempdir().expect("a directory");
    let dir = t.path().to_owned();
    let near = local(&dir);
    let (results, blobs): (Arc<dyn Results>, Arc<dyn Blobs>) = match &far {
        Some(far) => {
            let both = Arc::new(Tiered::new(near, far.clone()));
            (both.clone(), both)
        }
        None => (near.clone(), near),
    };
    let (dir2, far2) = (dir.clone(), far.clone());
    Case {
        name,
        results,
        blobs,
        lose: Box::new(move |d| {
            let _ = std::fs::remove_file(file_of(&dir, d));
            far.iter().for_each(|m| m.remove(d));
        }),
        damage: Box::new(move |d| {
            let file = file_of(&dir2, d);
            if file.exists() {
                std::fs::write(file, "damaged").expect("damage is done");
            }
            far2.iter().filter(|m| m.content(d).is_some()).for_each(|m| m.plant(*d, b"damaged"));
        }),
        _dir: Some(t),
    }
}

fn cases() -> Vec<Case> {
    let [a, b, c, d, e, f] = std::array::from_fn(|_| Arc::new(Memory::default()));
    let three = Tiered::new(Tiered::new(d.clone(), e.clone()), f.clone());
    vec![
        on_disk("disk", None),
        memories("memory", a.clone(), vec![a]),
        memories("memory over memory", Arc::new(Tiered::new(b.clone(), c.clone())), vec![b, c]),
        on_disk("disk over memory", Some(Arc::default())),
        memories("memory over memory over memory", Arc::new(three), vec![d, e, f]),
    ]
}

/// Path sets that differ.
fn set(n: u8) -> PathSet {
    PathSet::new((0..=n).map(|i| Observation::FileContent(vec![b'/', b'a' + i].into())).collect())
}

/// An entry whose text is `blob`, or a few bytes.
fn entry(blob: Option<Digest>, wall_us: u64) -> Entry {
    let content = blob.map_or(TextContent::Inline(b"few".to_vec()), TextContent::Blob);
    Entry { text: vec![Text { stream: 1, content }], wall_us, ..Entry::default() }
}

fn digest(n: u8) -> Digest {
    Digest::of(&[n])
}

fn publish(r: &dyn Results, weak: u8, n: u8, strong: u8, e: &Entry) -> Option<Entry> {
    let values: Vec<u64> = (0..=n).map(|i| short(&digest(i))).collect();
    r.publish(&Publication { weak: &digest(weak), set: &set(n), strong: &digest(strong), values: &values, entry: e })
        .expect("a publication")
}

fn strongs(r: &dyn Results, weak: u8) -> Vec<Digest> {
    r.candidates(&[digest(weak)]).expect("candidates").concat().iter().map(|l| l.strong).collect()
}

fn put(b: &dyn Blobs, contents: &[&[u8]]) -> Vec<Digest> {
    let batch: Vec<Upload<'_>> =
        contents.iter().map(|c| Upload { digest: Digest::of(c), source: Source::Bytes(c) }).collect();
    assert_eq!(failed(b.put(&batch).expect("put")), []);
    batch.iter().map(|u| u.digest).collect()
}

/// Which failed, and of which class that is.
fn failed(all: Vec<Failure>) -> Vec<(Digest, Class)> {
    all.into_iter().map(|f| (f.digest, f.error.class())).collect()
}

/// Uses happen in milliseconds.
fn later() {
    std::thread::sleep(std::time::Duration::from_millis(3));
}

#[test]
fn what_nobody_stored_is_not_there() {
    for c in cases() {
        let known = c.results.candidates(&[digest(1), digest(2)]).expect(c.name);
        assert_eq!(known, [vec![], vec![]], "{}", c.name);
        assert_eq!(c.results.path_sets(&[digest(1)]).expect(c.name), [None], "{}", c.name);
        assert_eq!(c.results.entries(&[digest(1), digest(2)]).expect(c.name), [None, None], "{}", c.name);
        assert_eq!(c.blobs.missing(&[digest(1), digest(2)]).expect(c.name), [digest(1), digest(2)], "{}", c.name);
    }
}

#[test]
fn what_is_published_is_found_in_the_order_of_the_question() {
    for c in cases() {
        let r = &*c.results;
        assert_eq!(publish(r, 1, 0, 10, &entry(None, 10)), None, "{}", c.name);
        assert_eq!(publish(r, 2, 1, 11, &entry(None, 11)), None, "{}", c.name);
        let links = r.candidates(&[digest(2), digest(9), digest(1)]).expect(c.name);
        let found: Vec<Vec<Digest>> = links.iter().map(|l| l.iter().map(|l| l.strong).collect()).collect();
        assert_eq!(found, [vec![digest(11)], vec![], vec![digest(10)]], "{}", c.name);
        let link = &links[0][0];
        assert_eq!(link.path_set, set(1).encode().unwrap().1, "{}", c.name);
        assert_eq!(link.values, [short(&digest(0)), short(&digest(1))], "{}", c.name);
        let wanted = [link.path_set, digest(9), links[2][0].path_set];
        assert_eq!(r.path_sets(&wanted).expect(c.name), [Some(set(1)), None, Some(set(0))], "{}", c.name);
        let entries = r.entries(&[digest(9), digest(11), digest(10)]).expect(c.name);
        assert_eq!(entries, [None, Some(entry(None, 11)), Some(entry(None, 10))], "{}", c.name);
    }
}

#[test]
fn the_newest_use_comes_first() {
    for c in cases() {
        for (n, strong) in [(0, 10), (1, 11), (2, 12), (0, 13)] {
            publish(&*c.results, 1, n, strong, &entry(None, 0));
            later();
        }
        assert_eq!(strongs(&*c.results, 1), [13, 12, 11, 10].map(digest), "{}", c.name);
        publish(&*c.results, 1, 1, 11, &entry(None, 0));
        assert_eq!(strongs(&*c.results, 1), [11, 13, 12, 10].map(digest), "{}", c.name);
    }
}

#[test]
fn the_first_entry_stays_until_a_blob_of_it_is_gone() {
    for c in cases() {
        let r = &*c.results;
        let blob = put(&*c.blobs, &[b"text"])[0];
        let first = entry(Some(blob), 1);
        assert_eq!(publish(r, 1, 0, 10, &first), None, "{}", c.name);
        assert_eq!(publish(r, 1, 0, 10, &entry(None, 2)), Some(first.clone()), "{}", c.name);
        assert_eq!(r.entries(&[digest(10)]).expect(c.name), [Some(first)], "{}", c.name);
        (c.lose)(&blob);
        assert_eq!(publish(r, 1, 0, 10, &entry(None, 3)), None, "{}", c.name);
        assert_eq!(r.entries(&[digest(10)]).expect(c.name), [Some(entry(None, 3))], "{}", c.name);
    }
}

#[test]
fn contents_come_back_whole() {
    let long = vec![7u8; 300 << 10];
    for c in cases() {
        let wanted = put(&*c.blobs, &[b"one", b"", &long, b"one"]);
        put(&*c.blobs, &[b"one"]);
        assert_eq!(c.blobs.missing(&wanted).expect(c.name), [], "{}", c.name);
        assert_eq!(failed(c.blobs.fetch(&wanted).expect(c.name)), [], "{}", c.name);
        let sink = Memory::default();
        assert_eq!(failed(c.blobs.read(&wanted, &sink).expect(c.name)), [], "{}", c.name);
        let contents: Vec<_> = wanted.iter().map(|d| sink.content(d).expect(c.name)).collect();
        assert_eq!(contents.iter().map(|b| b.len()).collect::<Vec<_>>(), [3, 0, long.len(), 3], "{}", c.name);
        assert_eq!((&*contents[0], &*contents[2]), (&b"one"[..], &long[..]), "{}", c.name);
    }
}

#[test]
fn a_file_is_put_like_bytes() {
    for c in cases() {
        let t = tempfile::tempdir().unwrap();
        let file = t.path().join("f");
        std::fs::write(&file, "from a file").unwrap();
        let upload = |path: &Path| Upload { digest: Digest::of(b"from a file"), source: Source::File(path.to_owned()) };
        let gone = failed(c.blobs.put(&[upload(&t.path().join("none"))]).expect(c.name));
        assert_eq!(gone, [(Digest::of(b"from a file"), Class::Absent)], "{}", c.name);
        assert_eq!(failed(c.blobs.put(&[upload(&file)]).expect(c.name)), [], "{}", c.name);
        assert_eq!(c.blobs.missing(&[Digest::of(b"from a file")]).expect(c.name), [], "{}", c.name);
    }
}

#[test]
fn an_absent_blob_is_named_and_the_others_come() {
    for c in cases() {
        let there = put(&*c.blobs, &[b"a", b"b"]);
        let wanted = [there[0], digest(9), there[1]];
        assert_eq!(c.blobs.missing(&wanted).expect(c.name), [digest(9)], "{}", c.name);
        assert_eq!(failed(c.blobs.fetch(&wanted).expect(c.name)), [(digest(9), Class::Absent)], "{}", c.name);
        let sink = Memory::default();
        let lost = failed(c.blobs.read(&wanted, &sink).expect(c.name));
        assert_eq!(lost, [(digest(9), Class::Absent)], "{}", c.name);
        assert_eq!(sink.missing(&wanted).expect(c.name), [digest(9)], "{}", c.name);
    }
}

#[test]
fn a_damaged_blob_is_reported_and_never_served() {
    for c in cases() {
        let all = put(&*c.blobs, &[b"good", b"bad"]);
        (c.damage)(&all[1]);
        let sink = Memory::default();
        assert_eq!(failed(c.blobs.read(&all, &sink).expect(c.name)), [(all[1], Class::Corrupt)], "{}", c.name);
        assert_eq!(sink.missing(&all).expect(c.name), [all[1]], "{}", c.name);
        // It has been dropped, so that the next one to make it keeps it.
        assert_eq!(c.blobs.missing(&all).expect(c.name), [all[1]], "{}", c.name);
        put(&*c.blobs, &[b"bad"]);
        assert_eq!(failed(c.blobs.read(&all, &sink).expect(c.name)), [], "{}", c.name);
        assert_eq!(&*sink.content(&all[1]).expect(c.name), b"bad", "{}", c.name);
    }
}

#[test]
fn what_is_not_what_it_is_called_is_not_kept() {
    for c in cases() {
        let lie = Upload { digest: digest(1), source: Source::Bytes(b"something else") };
        let batch = [lie, Upload { digest: Digest::of(b"x"), source: Source::Bytes(b"x") }];
        assert_eq!(failed(c.blobs.put(&batch).expect(c.name)), [(digest(1), Class::Corrupt)], "{}", c.name);
        let missing = c.blobs.missing(&[digest(1), Digest::of(b"something else"), Digest::of(b"x")]).expect(c.name);
        assert_eq!(missing, [digest(1), Digest::of(b"something else")], "{}", c.name);
    }
}

#[test]
fn a_row_outlives_its_blob_and_fetching_tells() {
    for c in cases() {
        let blobs = put(&*c.blobs, &[b"kept", b"lost"]);
        publish(&*c.results, 1, 0, 10, &entry(Some(blobs[1]), 0));
        (c.lose)(&blobs[1]);
        assert_eq!(c.results.entries(&[digest(10)]).expect(c.name), [Some(entry(Some(blobs[1]), 0))], "{}", c.name);
        assert_eq!(failed(c.blobs.fetch(&blobs).expect(c.name)), [(blobs[1], Class::Absent)], "{}", c.name);
    }
}

#[test]
fn what_is_adopted_is_still_found() {
    for c in cases() {
        publish(&*c.results, 1, 0, 10, &entry(None, 1));
        let e = entry(None, 1);
        let p = Publication { weak: &digest(1), set: &set(0), strong: &digest(10), values: &[0], entry: &e };
        c.results.adopt(&p);
        assert_eq!(strongs(&*c.results, 1), [digest(10)], "{}", c.name);
        assert_eq!(c.results.entries(&[digest(10)]).expect(c.name), [Some(e)], "{}", c.name);
    }
}

#[test]
fn many_at_once() {
    for c in cases() {
        std::thread::scope(|s| {
            for t in 0..4u8 {
                let c = &c;
                s.spawn(move || {
                    for i in 0..40u8 {
                        let content = [b"content".as_slice(), &[i % 8]].concat();
                        let blob = put(&*c.blobs, &[&content])[0];
                        publish(&*c.results, 1, i % 3, i % 8, &entry(Some(blob), t.into()));
                        for l in c.results.candidates(&[digest(1)]).expect(c.name).concat() {
                            let set = c.results.path_sets(&[l.path_set]).expect(c.name);
                            let entry = c.results.entries(&[l.strong]).expect(c.name);
                            assert!(set[0].is_some(), "{}: a link without its path set", c.name);
                            let e = entry[0].as_ref().expect("an entry with its link");
                            let blobs: Vec<Digest> = e.blobs().copied().collect();
                            assert_eq!(failed(c.blobs.fetch(&blobs).expect(c.name)), [], "{}", c.name);
                        }
                        let sink = Memory::default();
                        assert_eq!(failed(c.blobs.read(&[blob], &sink).expect(c.name)), [], "{}", c.name);
                    }
                });
            }
        });
        assert_eq!(strongs(&*c.results, 1).len(), 24, "{}", c.name);
    }
}

/// A sink keeps nothing that has another digest, wherever it comes from.
#[test]
fn sinks_believe_nobody() {
    let t = tempfile::tempdir().unwrap();
    let disk = local(t.path());
    let (a, b) = (Memory::default(), Memory::default());
    let pair = Tiered::new(Memory::default(), Memory::default());
    let sinks: [(&dyn Sink, &dyn Blobs); 3] = [(&disk, &disk), (&a, &a), (&pair, &pair)];
    for (sink, blobs) in sinks {
        let wrong = sink.receive(&digest(1), &mut &b"something else"[..]).expect_err("a lie");
        assert_eq!(wrong.class(), Class::Corrupt);
        assert_eq!(blobs.missing(&[digest(1), Digest::of(b"something else")]).unwrap().len(), 2);
        let broken = sink.receive(&digest(1), &mut fake::Broken).expect_err("a connection that ended");
        assert_eq!(broken.class(), Class::Unavailable);
        sink.receive(&digest(1), &mut &[1u8][..]).expect("the truth");
        assert_eq!(failed(blobs.read(&[digest(1)], &b).unwrap()), []);
    }
    assert_eq!(std::fs::read_dir(t.path().join("tmp")).unwrap().count(), 0, "no scratch file stays");
}
