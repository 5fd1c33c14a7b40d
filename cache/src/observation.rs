//! What running a pip revealed: one observation, and the value that enters the strong fingerprint.

use crate::{Digest, PathBytes};
use serde::{Deserialize, Serialize};

/// A machine or process fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fact {
    Cwd,
    Uname,
    Cpus,
    /// What `/proc/cpuinfo` says that does not change from moment to moment.
    Processor,
    Memory,
    /// Kind of the kernel and of the processor.
    System,
    /// The name of the machine.
    Host,
    /// Release of the kernel.
    Release,
    /// Version of the kernel: when it was built.
    KernelVersion,
    /// User, groups and capabilities, by number.
    Ids,
    /// A limit on a resource, soft and hard, by its number (`RLIMIT_*` of getrlimit(2)).
    Limit(u8),
    /// All of them.
    Limits,
}

/// What a program asks an index: a file of the machine in which others look something up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Question {
    /// Of the dynamic loader's cache: where the library of this name is.
    Library(Vec<u8>),
    /// Of a file of users or groups: the entries of this process's own numbers.
    Own,
    /// The entry of this number.
    Number(u32),
    /// Of `nsswitch.conf`: where entries of this kind come from.
    Service(Vec<u8>),
    /// Of the archive of locales: the data of this one.
    Locale(Vec<u8>),
}

/// What the shell's `ulimit` and getrlimit(2) call a resource.
pub const LIMITS: [&str; 16] = [
    "processor time",
    "file size",
    "data size",
    "stack size",
    "core file size",
    "resident memory",
    "number of processes",
    "open files",
    "locked memory",
    "address space",
    "file locks",
    "pending signals",
    "message queues",
    "niceness",
    "realtime priority",
    "realtime processor time",
];
/// One thing that a result depends on, without its value. The order of variants is the order in a path set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Observation {
    /// A lookup that found nothing.
    Absent(PathBytes),
    /// Of what is there only the kind counts: a directory that was looked at but not listed, a file that was removed.
    KindProbe(PathBytes),
    /// A directory that the pip makes if it is not there (`mkdir -p`), with this mode: it is there, of the user's own,
    /// or nothing is.
    Ensured(PathBytes, u32),
    /// A directory was listed; the names that the pip made in it itself do not count.
    DirListing(PathBytes, Vec<Vec<u8>>),
    /// A directory was listed to find libraries whose names begin in one of these ways; others do not count. Besides:
    /// the names that the pip made in it itself, as above.
    DirSearch { path: PathBytes, own: Vec<Vec<u8>>, stems: Vec<Vec<u8>> },
    /// A file was read or executed. Of what differs it is named before the next, which says less.
    FileContent(PathBytes),
    /// A file was looked at: type, size, permissions; with `times` also when it was modified.
    FileProbe { path: PathBytes, times: bool },
    /// A symbolic link was read or crossed.
    Symlink(PathBytes),
    /// Two files are one, or were modified in the same second: compilers and archivers tell by that what is the same to
    /// them.
    SameFile(PathBytes, PathBytes),
    /// Extended attributes were asked for, by name or all of them.
    Attributes(PathBytes),
    /// A directory was listed for the names that match one of these patterns; others do not count. Besides: the names
    /// that the pip made in it itself, as above.
    DirMatch { path: PathBytes, own: Vec<Vec<u8>>, patterns: Vec<Vec<u8>> },
    /// A directory was listed to count its members, without those that the pip made in it itself.
    DirCount(PathBytes, Vec<Vec<u8>>),
    /// An environment variable.
    Env(Vec<u8>),
    /// Every environment variable that is not passed through.
    EnvAll,
    /// Every environment variable that identifies the job of a system of continuous integration.
    EnvJob,
    /// A variable that holds a list of directories, for who only searches in them: where each of these names is, or,
    /// without names, in which of them there is anything.
    Found { variable: Vec<u8>, names: Vec<Vec<u8>> },
    /// A fact of machine or process.
    Fact(Fact),
    /// What an index answers; what else is in it does not count.
    Answer(PathBytes, Question),
    /// What owner, group and mode of a name mean to who runs the command: may it write there, is it its own?
    Rights(PathBytes),
    /// Owner and group of a name, by number.
    Owner(PathBytes),
}

/// The endings of libraries.
const LIBRARIES: [&[u8]; 4] = [b".rlib", b".rmeta", b".so", b".a"];

/// Is it named as a library? A dependency file beside one (`libc-0123.d`) is not.
pub fn is_library(name: &[u8]) -> bool {
    LIBRARIES.iter().any(|e| name.ends_with(e))
}

/// Does a search for libraries with these beginnings find `name`? A beginning ends before a dot, a dash, or with the
/// name.
pub fn found_by(stems: &[Vec<u8>], name: &[u8]) -> bool {
    is_library(name)
        && stems
            .iter()
            .any(|s| name.strip_prefix(&s[..]).is_some_and(|rest| matches!(rest.first(), None | Some(b'.' | b'-'))))
}

/// Does one of these patterns of a shell match `name`, as far as can be told without knowing its options? A set of
/// characters counts as any character, and nothing as hidden.
pub fn matched_by(patterns: &[Vec<u8>], name: &[u8]) -> bool {
    patterns.iter().any(|p| matches(p, name))
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', rest @ ..] => (0..=name.len()).any(|i| matches(rest, &name[i..])),
        [b'?', rest @ ..] => {
            // It may be one of several bytes.
            (1..=name.len().min(4)).any(|i| matches(rest, &name[i..]))
        }
        // What ends it depends on what is in it.
        [b'[', ..] => !name.is_empty(),
        [c, rest @ ..] => name.first() == Some(c) && matches(rest, &name[1..]),
    }
}

/// The value of an observation: a digest over a tagged, unambiguous form.
pub type Value = Digest;

impl Observation {
    /// The path that it is about.
    pub fn path(&self) -> Option<&[u8]> {
        match self {
            Self::Absent(p)
            | Self::KindProbe(p)
            | Self::Ensured(p, _)
            | Self::DirListing(p, _)
            | Self::DirSearch { path: p, .. }
            | Self::DirMatch { path: p, .. }
            | Self::DirCount(p, _)
            | Self::FileProbe { path: p, .. }
            | Self::FileContent(p)
            | Self::Symlink(p)
            | Self::SameFile(p, _)
            | Self::Attributes(p)
            | Self::Answer(p, _)
            | Self::Rights(p)
            | Self::Owner(p) => Some(p),
            Self::Env(_) | Self::EnvAll | Self::EnvJob | Self::Found { .. } | Self::Fact(_) => None,
        }
    }

    /// In the user's words.
    pub fn describe(&self) -> String {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        match self {
            Self::Absent(p) => format!("absence of `{}`", text(p)),
            Self::KindProbe(p) => format!("kind of `{}`", text(p)),
            Self::Ensured(p, _) => format!("whether `{}` is a directory, or can be made one", text(p)),
            Self::DirListing(p, _) => format!("listing of `{}`", text(p)),
            Self::DirSearch { path, .. } => format!("what a search in `{}` finds", text(path)),
            Self::DirMatch { path, patterns, .. } => {
                let all: Vec<String> = patterns.iter().map(|p| format!("`{}`", text(p))).collect();
                format!("what matches {} in `{}`", all.join(" or "), text(path))
            }
            Self::DirCount(p, _) => format!("how many names are in `{}`", text(p)),
            Self::FileProbe { path, times: false } => format!("size or mode of `{}`", text(path)),
            Self::FileProbe { path, times: true } => format!("size, mode or time of `{}`", text(path)),
            Self::FileContent(p) => format!("content of `{}`", text(p)),
            Self::Symlink(p) => format!("symbolic link `{}`", text(p)),
            Self::SameFile(p, q) => format!("whether `{}` and `{}` are the same file", text(p), text(q)),
            Self::Attributes(p) => format!("extended attributes of `{}`", text(p)),
            Self::Env(n) => format!("environment variable {}", text(n)),
            Self::EnvAll => "the environment".to_owned(),
            Self::EnvJob => "the variables of the job".to_owned(),
            Self::Found { variable, .. } => format!("what is in the directories of {}", text(variable)),
            Self::Fact(Fact::Cwd) => "the working directory".to_owned(),
            Self::Fact(Fact::Uname) => "the kernel or host name".to_owned(),
            Self::Fact(Fact::Cpus) => "the number of processors".to_owned(),
            Self::Fact(Fact::Processor) => "the processor".to_owned(),
            Self::Fact(Fact::Memory) => "the memory size".to_owned(),
            Self::Answer(_, Question::Library(name)) => format!("`{}` in the loader's cache", text(name)),
            Self::Answer(p, Question::Own) => format!("the own entry in `{}`", text(p)),
            Self::Answer(p, Question::Number(n)) => format!("the entry of number {n} in `{}`", text(p)),
            Self::Answer(_, Question::Locale(name)) => format!("locale `{}` in the archive of locales", text(name)),
            Self::Answer(p, Question::Service(of)) => format!("the line of {} in `{}`", text(of), text(p)),
            Self::Fact(Fact::System) => "the kind of kernel or processor".to_owned(),
            Self::Fact(Fact::Host) => "the host name".to_owned(),
            Self::Fact(Fact::Release) => "the release of the kernel".to_owned(),
            Self::Fact(Fact::KernelVersion) => "the version of the kernel".to_owned(),
            Self::Fact(Fact::Ids) => "user, groups or capabilities".to_owned(),
            Self::Fact(Fact::Limit(n)) => match LIMITS.get(usize::from(*n)) {
                Some(what) => format!("the limit on {what}"),
                None => "a resource limit".to_owned(),
            },
            Self::Fact(Fact::Limits) => "the resource limits".to_owned(),
            Self::Rights(p) => format!("what it may do with `{}`", text(p)),
            Self::Owner(p) => format!("owner or group of `{}`", text(p)),
        }
    }
}

/// Values, each from a tag and its parts.
pub mod value {
    use super::Value;
    use crate::{Digest, FileStat, Kind, Who};

    fn tagged(tag: u8, parts: &[&[u8]]) -> Value {
        let mut b = vec![tag];
        for p in parts {
            b.extend_from_slice(&(p.len() as u64).to_le_bytes());
            b.extend_from_slice(p);
        }
        Digest::of(&b)
    }

    /// Nothing is there.
    pub fn absent() -> Value {
        tagged(0, &[])
    }

    /// Nothing is there, and nothing can be: a file stands where a directory would have to be.
    pub fn below_a_file() -> Value {
        tagged(0, &[b"below a file"])
    }

    /// Whether something is there one may not know: the directory may not be searched.
    pub fn forbidden() -> Value {
        tagged(0, &[b"forbidden"])
    }

    /// Are two names of one file, and were they modified in the same second? (gcc's `#pragma once` knows the time,
    /// clang's the inode.)
    pub fn same_file(a: Option<&FileStat>, b: Option<&FileStat>) -> Value {
        const SECOND: i128 = 1_000_000_000;
        let relation = a.zip(b).map(|(a, b)| {
            [
                u8::from((a.dev, a.ino) == (b.dev, b.ino)),
                u8::from(a.mtime.div_euclid(SECOND) == b.mtime.div_euclid(SECOND)),
            ]
        });
        tagged(11, &[relation.as_ref().map_or(&[][..], |r| r)])
    }

    /// A file's content and whether this user may execute it.
    pub fn content(d: &Digest, executable: bool) -> Value {
        tagged(1, &[&d.0, &[u8::from(executable)]])
    }

    /// A name that is not what the observation is about: its type.
    pub fn kind(k: Kind) -> Value {
        tagged(2, &[&[k as u8]])
    }

    /// What `stat` shows of a file, but for its owner and group: of those, whether this user may read and execute it.
    pub fn probe(s: &FileStat, times: bool) -> Value {
        let size = if s.is_file() { s.size } else { 0 };
        let (mtime, links) = if times { (s.mtime, s.nlink) } else { (0, 0) };
        let numbers = [s.mode, links].map(u32::to_le_bytes).concat();
        let uses = Who::own().uses(s);
        tagged(3, &[&[s.kind as u8, uses], &size.to_le_bytes(), &numbers, &mtime.to_le_bytes()])
    }

    /// What this user may do with a name that is there.
    pub fn rights(s: &FileStat) -> Value {
        tagged(12, &[&Who::own().relation(s)])
    }

    /// Whose it is.
    pub fn owner(s: &FileStat) -> Value {
        tagged(13, &[&[s.uid, s.gid].map(u32::to_le_bytes).concat()])
    }

    pub fn directory() -> Value {
        kind(Kind::Directory)
    }

    /// Sorted names and types.
    pub fn listing(members: &[(Vec<u8>, Kind)]) -> Value {
        let flat: Vec<u8> = members
            .iter()
            .flat_map(|(n, k)| (n.len() as u64).to_le_bytes().into_iter().chain(n.iter().copied()).chain([*k as u8]))
            .collect();
        tagged(4, &[&flat])
    }

    /// How many names there are.
    pub fn count(members: usize) -> Value {
        tagged(12, &[&(members as u64).to_le_bytes()])
    }

    pub fn symlink(target: &[u8]) -> Value {
        tagged(5, &[target])
    }

    /// Extended attributes, sorted by name.
    pub fn attributes(all: &[(Vec<u8>, Vec<u8>)]) -> Value {
        tagged(10, &all.iter().flat_map(|(n, v)| [&n[..], &v[..]]).collect::<Vec<_>>())
    }

    /// An environment variable; `None` when it is not set. Keyed, because the value may be a secret.
    pub fn env(key: &[u8; 32], v: Option<&[u8]>) -> Value {
        match v {
            None => tagged(6, &[]),
            Some(v) => tagged(7, &[blake3::keyed_hash(key, v).as_bytes()]),
        }
    }

    /// A whole environment, sorted.
    pub fn environment<'a>(key: &[u8; 32], vars: impl Iterator<Item = &'a [u8]>) -> Value {
        tagged(8, &[&Digest::keyed(key, vars).0])
    }

    /// What a search in the directories of a variable meets; `None` when it is not set. Keyed as the variable is.
    pub fn found(key: &[u8; 32], v: Option<&[u8]>) -> Value {
        match v {
            None => tagged(12, &[]),
            Some(v) => tagged(13, &[blake3::keyed_hash(key, v).as_bytes()]),
        }
    }

    pub fn fact(v: &[u8]) -> Value {
        tagged(9, &[v])
    }

    /// What an index says to a question; of nothing, if there are no parts.
    pub fn answer(parts: &[&[u8]]) -> Value {
        tagged(12, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_patterns_match() {
        for (pattern, name, matched) in [
            ("*.c", "a.c", true),
            ("*.c", "a.cc", false),
            ("a*b*c", "aXbYc", true),
            ("a?c", "abc", true),
            ("a?c", "a\u{e4}c", true),
            ("a?c", "ac", false),
            ("x[ab].c", "xa.c", true),
            ("x[ab].c", "y.c", false),
            ("*", ".hidden", true),
        ] {
            assert_eq!(matched_by(&[pattern.into()], name.as_bytes()), matched, "{pattern} {name}");
        }
    }

    #[test]
    fn a_search_finds_libraries() {
        let stems = [b"libc".to_vec(), b"libfoo-01.rmeta".to_vec(), b"libstd-".to_vec()];
        for (name, found) in [
            ("libc.so", true),
            ("libc-10dd.rlib", true),
            ("libc-10dd.d", false),
            ("libcc.a", false),
            ("libfoo-01.rmeta", true),
            ("libfoo-01.rlib", false),
            ("libfoo-01.rmeta.tmp", false),
        ] {
            assert_eq!(found_by(&stems, name.as_bytes()), found, "{name}");
        }
    }
}
