//! What every implementation of `Results` and `Blobs` promises, asked of each of them: this machine's disk, memory, and
//! tiers made of two others.
//!
//! A tier that is to come is one more [`Case`]; the tests of other crates use [`promises`], too. What only a pair of
//! tiers can get wrong is in [`pairs`].

mod fake;
mod pairs;
mod promises;

use cache::tier::{Local, Memory, Sink, Tiered};
use cache::{Blobs, CacheHandle, Class, Digest, Results};
use promises::{Case, digest, entry, failed, later, publish, put, set, strongs};
use std::path::Path;
use std::sync::Arc;

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
        damaged: Class::Corrupt,
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
        damaged: Class::Corrupt,
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
