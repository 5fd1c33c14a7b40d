//! What two tiers do for each other, and that neither can harm the other: a farther one that is gone, refuses or lies,
//! a nearer one that is full.

use crate::fake::{Fake, Fault};
use crate::{digest, entry, failed, publish, put, set, strongs};
use cache::tier::{Memory, Tiered};
use cache::{Blobs, Class, Digest, Publication, Results};
use std::sync::Arc;

type Pair = Tiered<Arc<Fake>, Arc<Fake>>;

fn pair() -> (Arc<Fake>, Arc<Fake>, Pair) {
    let (near, far) = (Arc::new(Fake::default()), Arc::new(Fake::default()));
    (near.clone(), far.clone(), Tiered::new(near, far))
}

fn troubles(t: &Pair) -> Vec<Class> {
    t.troubles().into_iter().map(|t| t.class).collect()
}

/// A result with a blob, of which the nearer tier knows nothing.
fn only_far(far: &Fake) -> Digest {
    let blob = put(far, &[b"far"])[0];
    publish(far, 1, 0, 10, &entry(Some(blob), 1));
    blob
}

#[test]
fn writes_go_to_both() {
    let (near, far, both) = pair();
    let blob = put(&both, &[b"x"])[0];
    publish(&both, 1, 0, 10, &entry(Some(blob), 1));
    for one in [&near, &far] {
        assert_eq!(one.missing(&[blob]).unwrap(), []);
        assert_eq!(strongs(&**one, 1), [digest(10)]);
        assert!(one.entries(&[digest(10)]).unwrap()[0].is_some());
    }
    assert_eq!(troubles(&both), []);
}

#[test]
fn what_the_nearer_has_is_put_into_the_farther_all_the_same() {
    let (near, far, both) = pair();
    let blob = put(&*near, &[b"x"])[0];
    put(&both, &[b"x"]);
    assert_eq!(far.missing(&[blob]).unwrap(), []);
}

#[test]
fn what_is_fetched_is_near_from_then_on() {
    let (near, far, both) = pair();
    let blob = only_far(&far);
    assert_eq!(both.missing(&[blob]).unwrap(), []);
    assert_eq!(near.missing(&[blob]).unwrap(), [blob], "to look moves nothing");
    assert_eq!(failed(both.fetch(&[blob, blob]).unwrap()), []);
    far.set(Some(Fault::Fails(Class::Unavailable)));
    assert_eq!(failed(both.fetch(&[blob]).unwrap()), []);
    assert_eq!(&*near.memory.content(&blob).unwrap(), b"far");
}

#[test]
fn what_is_read_is_near_from_then_on() {
    let (near, far, both) = pair();
    let blob = only_far(&far);
    let sink = Memory::default();
    assert_eq!(failed(both.read(&[blob], &sink).unwrap()), []);
    assert_eq!(&*sink.content(&blob).unwrap(), b"far");
    assert_eq!(near.missing(&[blob]).unwrap(), []);
}

#[test]
fn rows_are_near_when_they_are_adopted() {
    let (near, far, both) = pair();
    let blob = only_far(&far);
    let link = both.candidates(&[digest(1)]).unwrap()[0][0].clone();
    assert_eq!(both.path_sets(&[link.path_set]).unwrap(), [Some(set(0))]);
    let found = both.entries(&[link.strong]).unwrap()[0].clone().unwrap();
    assert_eq!(failed(both.fetch(&[blob]).unwrap()), []);
    assert_eq!(strongs(&*near, 1), [], "not before its blobs are");
    let p = Publication { weak: &digest(1), set: &set(0), strong: &link.strong, values: &link.values, entry: &found };
    both.adopt(&p);
    far.set(Some(Fault::Fails(Class::Unavailable)));
    assert_eq!(both.candidates(&[digest(1)]).unwrap()[0][0].values, link.values);
    assert_eq!(both.path_sets(&[link.path_set]).unwrap(), [Some(set(0))]);
    assert_eq!(both.entries(&[link.strong]).unwrap(), [Some(found)]);
}

#[test]
fn candidates_of_both_are_told_once_and_in_order() {
    let (near, far, both) = pair();
    publish(&*near, 1, 0, 10, &entry(None, 0));
    crate::later();
    publish(&*far, 1, 1, 11, &entry(None, 0));
    crate::later();
    publish(&both, 1, 2, 12, &entry(None, 0));
    assert_eq!(strongs(&both, 1), [12, 11, 10].map(digest));
}

#[test]
fn the_farther_tells_what_was_there_already() {
    let (_, far, both) = pair();
    publish(&*far, 1, 0, 10, &entry(None, 1));
    assert_eq!(publish(&both, 1, 0, 10, &entry(None, 2)), Some(entry(None, 1)));
}

#[test]
fn a_farther_tier_that_fails_is_not_there() {
    for class in [Class::Unavailable, Class::Refused, Class::Corrupt] {
        let (near, far, both) = pair();
        only_far(&far);
        let near_blob = put(&*near, &[b"near"])[0];
        publish(&*near, 1, 1, 11, &entry(Some(near_blob), 1));
        far.set(Some(Fault::Fails(class)));
        assert_eq!(strongs(&both, 1), [digest(11)]);
        assert_eq!(both.entries(&[digest(10), digest(11)]).unwrap(), [None, Some(entry(Some(near_blob), 1))]);
        assert_eq!(both.missing(&[near_blob, digest(9)]).unwrap(), [digest(9)]);
        assert_eq!(failed(both.fetch(&[near_blob, digest(9)]).unwrap()), [(digest(9), Class::Absent)]);
        put(&both, &[b"new"]);
        assert_eq!(publish(&both, 1, 2, 12, &entry(None, 0)), None);
        assert_eq!(near.entries(&[digest(12)]).unwrap(), [Some(entry(None, 0))]);
        assert_eq!(troubles(&both), [class]);
        assert!(both.troubles()[0].times >= 5);
        // It is asked again when it is back.
        far.set(None);
        assert_eq!(both.entries(&[digest(10)]).unwrap().len(), 1);
        assert_eq!(strongs(&both, 1).len(), 3);
    }
}

#[test]
fn strict_tiers_fail_with_the_farther() {
    for class in [Class::Unavailable, Class::Refused, Class::Corrupt] {
        let (near, far) = (Arc::new(Fake::default()), Arc::new(Fake::default()));
        let both = Tiered::new(near, far.clone()).strict();
        far.set(Some(Fault::Fails(class)));
        let p =
            Publication { weak: &digest(1), set: &set(0), strong: &digest(2), values: &[1], entry: &entry(None, 0) };
        let errors = [
            both.candidates(&[digest(1)]).err(),
            both.path_sets(&[digest(1)]).err(),
            both.entries(&[digest(1)]).err(),
            both.publish(&p).err(),
            both.missing(&[digest(1)]).err(),
            both.fetch(&[digest(1)]).err(),
            both.read(&[digest(1)], &Memory::default()).err(),
        ];
        for (i, e) in errors.into_iter().enumerate() {
            assert_eq!(e.map(|e| e.class()), Some(class), "question {i}");
        }
    }
}

#[test]
fn a_lie_of_the_farther_is_not_believed() {
    let (near, far, both) = pair();
    let blob = only_far(&far);
    far.set(Some(Fault::Lies));
    let sink = Memory::default();
    assert_eq!(failed(both.fetch(&[blob]).unwrap()), [(blob, Class::Corrupt)]);
    assert_eq!((near.missing(&[blob]).unwrap(), troubles(&both)), (vec![blob], vec![Class::Corrupt]));
    let blob = only_far(&far);
    assert_eq!(failed(both.read(&[blob], &sink).unwrap()), [(blob, Class::Corrupt)]);
    assert_eq!((near.missing(&[blob]).unwrap(), sink.missing(&[blob]).unwrap()), (vec![blob], vec![blob]));
}

#[test]
fn a_content_that_breaks_off_is_not_there() {
    let (near, far, both) = pair();
    let blob = only_far(&far);
    far.set(Some(Fault::Breaks));
    let sink = Memory::default();
    assert_eq!(failed(both.fetch(&[blob]).unwrap()), [(blob, Class::Absent)]);
    assert_eq!(troubles(&both), [Class::Unavailable]);
    assert_eq!(failed(both.read(&[blob], &sink).unwrap()).len(), 1);
    assert_eq!((near.missing(&[blob]).unwrap(), sink.missing(&[blob]).unwrap()), (vec![blob], vec![blob]));
    far.set(None);
    assert_eq!(failed(both.read(&[blob], &sink).unwrap()), []);
}

#[test]
fn damage_at_the_nearer_is_mended_from_the_farther() {
    let (near, _, both) = pair();
    let blob = put(&both, &[b"x"])[0];
    near.memory.plant(blob, b"damaged");
    let sink = Memory::default();
    assert_eq!(failed(both.read(&[blob], &sink).unwrap()), []);
    assert_eq!((&*sink.content(&blob).unwrap(), &*near.memory.content(&blob).unwrap()), (&b"x"[..], &b"x"[..]));
}

/// The nearer one can be asked, and keeps nothing: its disk is full.
#[test]
fn what_the_nearer_cannot_keep_is_served_all_the_same() {
    struct Full(Memory);
    impl cache::tier::Sink for Full {
        fn receive(&self, _: &Digest, _: &mut dyn std::io::Read) -> cache::Result<()> {
            let source = std::io::ErrorKind::StorageFull.into();
            Err(cache::Error::Io { operation: "write", path: "near".into(), source })
        }
    }
    impl Blobs for Full {
        fn missing(&self, wanted: &[Digest]) -> cache::Result<Vec<Digest>> {
            self.0.missing(wanted)
        }
        fn read(&self, wanted: &[Digest], to: &dyn cache::tier::Sink) -> cache::Result<Vec<cache::tier::Failure>> {
            self.0.read(wanted, to)
        }
        fn put(&self, _: &[cache::tier::Upload<'_>]) -> cache::Result<Vec<cache::tier::Failure>> {
            Ok(Vec::new())
        }
    }
    let far = Arc::new(Memory::default());
    let both = Tiered::new(Full(Memory::default()), far.clone());
    let blob = put(&*far, &[b"far"])[0];
    let sink = Memory::default();
    assert_eq!(failed(both.read(&[blob, digest(9)], &sink).unwrap()), [(digest(9), Class::Absent)]);
    assert_eq!(&*sink.content(&blob).unwrap(), b"far");
    assert_eq!(failed(both.fetch(&[blob]).unwrap()).len(), 1, "it cannot be restored from there");
}
