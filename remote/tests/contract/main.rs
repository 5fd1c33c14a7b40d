//! What every tier promises, asked of the remote ones: a directory, and a server of our own over the wire.

#[path = "../../../cache/tests/contract/promises.rs"]
mod promises;

use cache::{Class, Digest};
use promises::Case;
use remote::address::Address;
use remote::directory::Directory;
use remote::grpc::Grpc;
use remote::peer::Peer;
use remote::tier::Remote;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

/// Files of a directory that hold this content.
fn files_of(dir: &Path, d: &Digest) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for fan in std::fs::read_dir(dir.join("cas")).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(fan.path()).expect("a directory").flatten() {
            if std::fs::read(file.path()).is_ok_and(|b| Digest::of(&b) == *d) {
                found.push(file.path());
            }
        }
    }
    found
}

fn case(name: &'static str, peer: Arc<dyn Peer>, damaged: Class, t: tempfile::TempDir) -> Case {
    let tier = Arc::new(Remote::new(peer, None));
    let (dir, dir2) = (t.path().to_owned(), t.path().to_owned());
    Case {
        name,
        results: tier.clone(),
        blobs: tier,
        lose: Box::new(move |d| files_of(&dir, d).iter().for_each(|f| std::fs::remove_file(f).expect("a loss"))),
        damage: Box::new(move |d| files_of(&dir2, d).iter().for_each(|f| std::fs::write(f, "bud").expect("damage"))),
        damaged,
        _dir: Some(t),
    }
}

/// A server in this process, which goes with it.
fn serve(dir: &Path) -> Address {
    let (to, at) = mpsc::channel();
    let store = Directory::new(dir);
    std::thread::spawn(move || {
        remote::serve::serve("127.0.0.1:0".parse().expect("an address"), store, None, |a| {
            to.send(a).expect("a listener")
        })
    });
    format!("grpc://{}/any/instance", at.recv().expect("a server")).parse().expect("an address")
}

fn cases() -> Vec<Case> {
    let [a, b] = std::array::from_fn(|_| tempfile::tempdir().expect("a directory"));
    let directory = Arc::new(Directory::new(a.path()));
    let server = Arc::new(Grpc::connect(&serve(b.path()), &[]).expect("a connection"));
    vec![case("directory", directory, Class::Corrupt, a), case("server", server, Class::Absent, b)]
}

/// More than a message holds goes as a stream.
#[test]
fn long_contents_come_back() {
    use cache::tier::{Blobs, Memory, Source, Upload};
    let long: Vec<u8> = (0..20u32 << 20).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let digest = Digest::of(&long);
    for c in cases() {
        let upload = Upload { digest, source: Source::Bytes(&long) };
        assert_eq!(promises::failed(c.blobs.put(&[upload]).expect(c.name)), [], "{}", c.name);
        let sink = Memory::default();
        assert_eq!(promises::failed(c.blobs.read(&[digest], &sink).expect(c.name)), [], "{}", c.name);
        assert!(*sink.content(&digest).expect(c.name) == *long, "{}", c.name);
    }
}

/// Several propose a key; all get the same.
#[test]
fn there_is_one_key() {
    let t = tempfile::tempdir().expect("a directory");
    let address = serve(t.path());
    let directory: Arc<dyn Peer> = Arc::new(Directory::new(t.path()));
    let server: Arc<dyn Peer> = Arc::new(Grpc::connect(&address, &[]).expect("a connection"));
    let key = |p: &Arc<dyn Peer>, proposal| Remote::new(p.clone(), None).key(proposal).expect("an answer");
    assert_eq!(key(&server, None), None);
    assert_eq!(key(&directory, Some([1; 32])), Some([1; 32]));
    assert_eq!(key(&server, Some([2; 32])), Some([1; 32]));
    assert_eq!(key(&directory, None), Some([1; 32]));
}
