//! The promises, and what it takes to ask for them. Whoever has implementations tells them by a function `cases` at the
//! root of its tests.

use cache::entry::TextContent;
use cache::tier::{Failure, Memory, Source, Upload, short};
use cache::{Blobs, Class, Digest, Entry, Observation, PathSet, Publication, Results, Text};
use std::path::Path;
use std::sync::Arc;

/// One implementation, and how to do to it what disks and collections do.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) results: Arc<dyn Results>,
    pub(crate) blobs: Arc<dyn Blobs>,
    /// A blob is gone.
    pub(crate) lose: Box<dyn Fn(&Digest) + Send + Sync>,
    /// A blob is not what its name says any more.
    pub(crate) damage: Box<dyn Fn(&Digest) + Send + Sync>,
    /// As what a damaged blob is reported: who looks at it himself drops it, and then it is not there.
    pub(crate) damaged: Class,
    pub(crate) _dir: Option<tempfile::TempDir>,
}

/// Path sets that differ.
pub(crate) fn set(n: u8) -> PathSet {
    PathSet::new((0..=n).map(|i| Observation::FileContent(vec![b'/', b'a' + i].into())).collect())
}

/// An entry whose text is `blob`, or a few bytes.
pub(crate) fn entry(blob: Option<Digest>, wall_us: u64) -> Entry {
    let content = blob.map_or(TextContent::Inline(b"few".to_vec()), TextContent::Blob);
    Entry { text: vec![Text { stream: 1, content }], wall_us, ..Entry::default() }
}

pub(crate) fn digest(n: u8) -> Digest {
    Digest::of(&[n])
}

pub(crate) fn publish(r: &dyn Results, weak: u8, n: u8, strong: u8, e: &Entry) -> Option<Entry> {
    let values: Vec<u64> = (0..=n).map(|i| short(&digest(i))).collect();
    r.publish(&Publication { weak: &digest(weak), set: &set(n), strong: &digest(strong), values: &values, entry: e })
        .expect("a publication")
}

pub(crate) fn strongs(r: &dyn Results, weak: u8) -> Vec<Digest> {
    r.candidates(&[digest(weak)]).expect("candidates").concat().iter().map(|l| l.strong).collect()
}

pub(crate) fn put(b: &dyn Blobs, contents: &[&[u8]]) -> Vec<Digest> {
    let batch: Vec<Upload<'_>> =
        contents.iter().map(|c| Upload { digest: Digest::of(c), source: Source::Bytes(c) }).collect();
    assert_eq!(failed(b.put(&batch).expect("put")), []);
    batch.iter().map(|u| u.digest).collect()
}

/// Which failed, and of which class that is.
pub(crate) fn failed(all: Vec<Failure>) -> Vec<(Digest, Class)> {
    all.into_iter().map(|f| (f.digest, f.error.class())).collect()
}

/// Uses happen in milliseconds.
pub(crate) fn later() {
    std::thread::sleep(std::time::Duration::from_millis(3));
}

#[test]
fn what_nobody_stored_is_not_there() {
    for c in crate::cases() {
        let known = c.results.candidates(&[digest(1), digest(2)]).expect(c.name);
        assert_eq!(known, [vec![], vec![]], "{}", c.name);
        assert_eq!(c.results.path_sets(&[digest(1)]).expect(c.name), [None], "{}", c.name);
        assert_eq!(c.results.entries(&[digest(1), digest(2)]).expect(c.name), [None, None], "{}", c.name);
        assert_eq!(c.blobs.missing(&[digest(1), digest(2)]).expect(c.name), [digest(1), digest(2)], "{}", c.name);
    }
}

#[test]
fn what_is_published_is_found_in_the_order_of_the_question() {
    for c in crate::cases() {
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
    for c in crate::cases() {
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
    for c in crate::cases() {
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
    for c in crate::cases() {
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
    for c in crate::cases() {
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
    for c in crate::cases() {
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
    for c in crate::cases() {
        let all = put(&*c.blobs, &[b"good", b"bad"]);
        (c.damage)(&all[1]);
        let sink = Memory::default();
        assert_eq!(failed(c.blobs.read(&all, &sink).expect(c.name)), [(all[1], c.damaged)], "{}", c.name);
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
    for c in crate::cases() {
        let lie = Upload { digest: digest(1), source: Source::Bytes(b"something else") };
        let batch = [lie, Upload { digest: Digest::of(b"x"), source: Source::Bytes(b"x") }];
        assert_eq!(failed(c.blobs.put(&batch).expect(c.name)), [(digest(1), Class::Corrupt)], "{}", c.name);
        let missing = c.blobs.missing(&[digest(1), Digest::of(b"something else"), Digest::of(b"x")]).expect(c.name);
        assert_eq!(missing, [digest(1), Digest::of(b"something else")], "{}", c.name);
    }
}

#[test]
fn a_row_outlives_its_blob_and_fetching_tells() {
    for c in crate::cases() {
        let blobs = put(&*c.blobs, &[b"kept", b"lost"]);
        publish(&*c.results, 1, 0, 10, &entry(Some(blobs[1]), 0));
        (c.lose)(&blobs[1]);
        // Servers may see to it that what a row names is there (REAPI, `GetActionResult`); nobody else looks.
        let row = c.results.entries(&[digest(10)]).expect(c.name);
        assert!(row == [Some(entry(Some(blobs[1]), 0))] || c.name == "server" && row == [None], "{}", c.name);
        assert_eq!(failed(c.blobs.fetch(&blobs).expect(c.name)), [(blobs[1], Class::Absent)], "{}", c.name);
    }
}

#[test]
fn what_is_adopted_is_still_found() {
    for c in crate::cases() {
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
    for c in crate::cases() {
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
