//! A path set: the sorted observations of a run without their values, and its compact form.
//!
//! The encoding sorts by kind and path and cuts common prefixes; it is content-addressed, so two runs that
//! looked at the same things share one blob.

use crate::{Digest, Error, Fact, Observation, Question, Result};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathSet(Vec<Observation>);

#[derive(Serialize, Deserialize)]
enum Tag {
    Absent,
    KindProbe,
    DirListing(Vec<Vec<u8>>),
    FileProbe(bool),
    FileContent,
    Symlink,
    Env,
    EnvAll,
    Fact(Fact),
    DirSearch(Vec<Vec<u8>>, Vec<Vec<u8>>),
    Attributes,
    SameFile(Vec<u8>),
    Ensured(u32),
    Found(Vec<Vec<u8>>),
    EnvJob,
    Answer(Question),
    DirMatch(Vec<Vec<u8>>, Vec<Vec<u8>>),
    DirCount(Vec<Vec<u8>>),
    Rights,
    Owner,
}

#[derive(Serialize, Deserialize)]
struct Row {
    tag: Tag,
    /// Bytes shared with the previous row's name.
    shared: u32,
    rest: Vec<u8>,
}

impl PathSet {
    pub fn new(mut observations: Vec<Observation>) -> Self {
        observations.sort();
        observations.dedup();
        Self(observations)
    }

    pub fn observations(&self) -> &[Observation] {
        &self.0
    }

    /// The compact form and its digest.
    pub fn encode(&self) -> Result<(Vec<u8>, Digest)> {
        let mut rows = Vec::with_capacity(self.0.len());
        let mut last: Vec<u8> = Vec::new();
        for o in &self.0 {
            let (tag, name): (Tag, &[u8]) = match o {
                Observation::Absent(p) => (Tag::Absent, p),
                Observation::KindProbe(p) => (Tag::KindProbe, p),
                Observation::Ensured(p, mode) => (Tag::Ensured(*mode), p),
                Observation::DirListing(p, own) => (Tag::DirListing(own.clone()), p),
                Observation::DirSearch { path, own, stems } => (Tag::DirSearch(own.clone(), stems.clone()), path),
                Observation::DirMatch { path, own, patterns } => (Tag::DirMatch(own.clone(), patterns.clone()), path),
                Observation::DirCount(p, own) => (Tag::DirCount(own.clone()), p),
                Observation::FileProbe { path, times } => (Tag::FileProbe(*times), path),
                Observation::FileContent(p) => (Tag::FileContent, p),
                Observation::Symlink(p) => (Tag::Symlink, p),
                Observation::Attributes(p) => (Tag::Attributes, p),
                Observation::SameFile(p, q) => (Tag::SameFile(q.to_vec()), p),
                Observation::Env(n) => (Tag::Env, n),
                Observation::EnvAll => (Tag::EnvAll, b""),
                Observation::EnvJob => (Tag::EnvJob, b""),
                Observation::Found { variable, names } => (Tag::Found(names.clone()), variable),
                Observation::Fact(f) => (Tag::Fact(*f), b""),
                Observation::Answer(p, q) => (Tag::Answer(q.clone()), p),
                Observation::Rights(p) => (Tag::Rights, p),
                Observation::Owner(p) => (Tag::Owner, p),
            };
            let shared = name.iter().zip(&last).take_while(|(a, b)| a == b).count();
            rows.push(Row { tag, shared: u32::try_from(shared).unwrap_or(0), rest: name[shared..].to_vec() });
            last.clear();
            last.extend_from_slice(name);
        }
        let bytes = postcard::to_stdvec(&rows)?;
        let digest = Digest::of(&bytes);
        Ok((bytes, digest))
    }

    /// The inverse of [`PathSet::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let rows: Vec<Row> = postcard::from_bytes(bytes)?;
        let mut out = Vec::with_capacity(rows.len());
        let mut last: Vec<u8> = Vec::new();
        for r in rows {
            if r.shared as usize > last.len() {
                return Err(Error::Decode(postcard::Error::DeserializeBadEncoding));
            }
            last.truncate(r.shared as usize);
            last.extend_from_slice(&r.rest);
            let path = || last.as_slice().into();
            out.push(match r.tag {
                Tag::Absent => Observation::Absent(path()),
                Tag::KindProbe => Observation::KindProbe(path()),
                Tag::Ensured(mode) => Observation::Ensured(path(), mode),
                Tag::DirListing(own) => Observation::DirListing(path(), own),
                Tag::DirSearch(own, stems) => Observation::DirSearch { path: path(), own, stems },
                Tag::DirMatch(own, patterns) => Observation::DirMatch { path: path(), own, patterns },
                Tag::DirCount(own) => Observation::DirCount(path(), own),
                Tag::FileProbe(times) => Observation::FileProbe { path: path(), times },
                Tag::FileContent => Observation::FileContent(path()),
                Tag::Symlink => Observation::Symlink(path()),
                Tag::Attributes => Observation::Attributes(path()),
                Tag::SameFile(q) => Observation::SameFile(path(), q.into()),
                Tag::Env => Observation::Env(last.clone()),
                Tag::EnvAll => Observation::EnvAll,
                Tag::EnvJob => Observation::EnvJob,
                Tag::Found(names) => Observation::Found { variable: last.clone(), names },
                Tag::Fact(f) => Observation::Fact(f),
                Tag::Answer(q) => Observation::Answer(path(), q),
                Tag::Rights => Observation::Rights(path()),
                Tag::Owner => Observation::Owner(path()),
            });
        }
        Ok(Self(out))
    }
}

/// H(weak, path set, each value in order).
pub fn strong_fingerprint(weak: &Digest, path_set: &Digest, values: &[Digest]) -> Digest {
    let mut f = crate::Fingerprint::new("strong");
    f.digest("weak", weak);
    f.digest("path set", path_set);
    f.list("values", values.iter().map(|v| &v.0[..]));
    f.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn observation() -> impl Strategy<Value = Observation> {
        let path = || prop::collection::vec(prop::sample::select(vec![b'/', b'a', b'b', 0xff, b'\n']), 0..12);
        prop_oneof![
            path().prop_map(|p| Observation::Absent(p.into())),
            path().prop_map(|p| Observation::KindProbe(p.into())),
            (path(), any::<u32>()).prop_map(|(p, mode)| Observation::Ensured(p.into(), mode)),
            (path(), prop::collection::vec(path(), 0..3)).prop_map(|(p, o)| Observation::DirListing(p.into(), o)),
            (path(), prop::collection::vec(path(), 0..3)).prop_map(|(p, s)| Observation::DirSearch {
                path: p.into(),
                own: vec![],
                stems: s
            }),
            (path(), prop::collection::vec(path(), 0..3)).prop_map(|(p, s)| Observation::DirMatch {
                path: p.into(),
                own: vec![],
                patterns: s
            }),
            (path(), prop::collection::vec(path(), 0..3)).prop_map(|(p, o)| Observation::DirCount(p.into(), o)),
            (path(), any::<bool>()).prop_map(|(p, times)| Observation::FileProbe { path: p.into(), times }),
            path().prop_map(|p| Observation::FileContent(p.into())),
            path().prop_map(|p| Observation::Symlink(p.into())),
            path().prop_map(|p| Observation::Attributes(p.into())),
            (path(), path()).prop_map(|(p, q)| Observation::SameFile(p.into(), q.into())),
            path().prop_map(Observation::Env),
            Just(Observation::EnvAll),
            Just(Observation::EnvJob),
            (path(), prop::collection::vec(path(), 0..3))
                .prop_map(|(variable, names)| Observation::Found { variable, names }),
            (path(), path()).prop_map(|(p, n)| Observation::Answer(p.into(), Question::Library(n))),
            (path(), any::<u32>()).prop_map(|(p, n)| Observation::Answer(p.into(), Question::Number(n))),
            Just(Observation::Fact(Fact::Uname)),
            any::<u8>().prop_map(|n| Observation::Fact(Fact::Limit(n))),
            path().prop_map(|p| Observation::Rights(p.into())),
            path().prop_map(|p| Observation::Owner(p.into())),
        ]
    }

    proptest! {
        #[test]
        fn encoding_keeps_everything(v in prop::collection::vec(observation(), 0..40)) {
            let set = PathSet::new(v.clone());
            let (bytes, digest) = set.encode().unwrap();
            prop_assert_eq!(&PathSet::decode(&bytes).unwrap(), &set);
            let mut backwards = v;
            backwards.reverse();
            prop_assert_eq!(PathSet::new(backwards).encode().unwrap().1, digest);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = PathSet::decode(&bytes);
        }
    }
}
