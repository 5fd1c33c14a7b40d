//! What is kept of one name while a pip runs: its state before the first access, and how it was used.
//!
//! Plain data: who fills it in is [`crate::recorder`], who judges it is [`crate::finish`].

use crate::globs::Listed;
use cache::digest::Content;
use cache::{FileStat, Kind, Value};
use std::time::Instant;
use tracer::{Access, Op};

/// A program that a process became by `execve`: processes that it forks are the same, until they execute another.
pub type Image = u32;

/// Accesses, counted.
pub type Moment = u32;

/// Sorted names and kinds, and when they were read.
#[derive(Clone, Debug)]
pub struct Listing {
    pub members: Vec<(Vec<u8>, Kind)>,
    pub at: Moment,
}

/// What the pip's own calls have made of a name. Whatever else becomes of it is somebody else's doing: another pip's,
/// the build tool's, a user's. Such a name is no temporary of the pip, and what it finds there is none of its making.
///
/// *Nothing* → the name is as it was at the first look. A call that may create it → *Open*: anything may be there,
/// until a look of the same process → *Made*: this file. A call that changes a file → *Made*. A removal → *Removed*:
/// nothing, or what was there, if the call failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doing {
    #[default]
    Nothing,
    /// By this process.
    Open(i32),
    /// Device and inode.
    Made(u64, u64),
    Removed(FileStat),
}

impl Doing {
    /// Can the name, which was `first` at the first look, be in this `state` without anybody else's doing?
    fn explains(self, first: Option<&FileStat>, state: Option<&FileStat>) -> bool {
        let special = |s: Option<&FileStat>| s.is_some_and(|s| s.kind == Kind::Special);
        // Another name of a file changes it, too.
        let linked = |s: Option<&FileStat>| s.is_some_and(|s| !s.is_dir() && s.nlink > 1);
        match self {
            Self::Nothing => {
                let both = |f: &dyn Fn(Option<&FileStat>) -> bool| f(first) && f(state);
                both(&special) || both(&linked) || !changed(first, state)
            }
            Self::Open(_) => true,
            Self::Made(dev, ino) => state.is_some_and(|s| (s.dev, s.ino) == (dev, ino)),
            Self::Removed(was) => state.is_none_or(|s| !changed(Some(&was), Some(s))),
        }
    }

    /// Process `pid` is about to do this to a name in this state.
    fn next(self, op: &Op, state: Option<&FileStat>, pid: i32) -> Self {
        let made = |s: &FileStat| Self::Made(s.dev, s.ino);
        match (op, state) {
            // Fails.
            (Op::OpenWrite { exclusive: true, .. } | Op::Create { exclusive: true, .. }, Some(_))
            | (Op::Remove { .. }, None) => self,
            (Op::Create { .. }, _) | (Op::OpenWrite { creates: true, .. }, None) => Self::Open(pid),
            (Op::Remove { .. }, Some(s)) => Self::Removed(*s),
            (Op::OpenWrite { .. } | Op::SetMeta(_) | Op::SetTimes { .. } | Op::Truncate, Some(s)) => made(s),
            (_, Some(s)) if self == Self::Open(pid) => made(s),
            _ => self,
        }
    }
}

/// How a name was used, and what it was before.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// State before the first access.
    pub first: Option<FileStat>,
    /// The first access looked at it (rather than replaced it).
    pub looked_first: bool,
    pub read: bool,
    pub probed: bool,
    /// Its mode may have been asked for through the open file.
    pub shows_mode: bool,
    /// Modification time counts.
    pub times: bool,
    /// It does only because the result shows it. A date that is also that of the run may as well be the run's.
    pub time_is_shown: bool,
    /// It does if a script that was run compares times: who runs scripts looked at it.
    pub may_compare: bool,
    /// Python looked at it as one of its modules.
    pub module: bool,
    /// The programs of which nothing is known that looked at its state: they may have compared the time.
    pub lookers: Vec<Image>,
    /// Those that read it.
    pub readers: Vec<Image>,
    /// It was executed.
    pub executed: bool,
    /// Some call may have changed it.
    pub intent: bool,
    /// What the pip's own calls have made of it.
    pub doing: Doing,
    /// It read, listed, linked or went on writing what it had made itself.
    pub reuses: bool,
    /// When the first access was told of.
    pub since: Option<Instant>,
    /// It was created with a call that fails if it exists, as the first thing.
    pub exclusive: bool,
    /// If it had been there, another name would have done as well.
    pub any_name: bool,
    /// And that would have been a random one.
    pub random: bool,
    /// It was created as nobody else's, as scratch files are.
    pub private: bool,
    /// It was opened for writing with a call that fails if it is not there.
    pub needed: bool,
    /// A directory of which everybody who met it made sure that it is there, or looked at it after that.
    pub ensured: bool,
    /// An existing file might have been overwritten in place: it was neither unlinked before nor replaced by rename.
    pub in_place: bool,
    /// It was removed, or something else came under its name: nothing is left of what was there.
    pub anew: bool,
    /// A call that creates was made on it.
    pub created: bool,
    /// An interpreter of scripts read it, so that it may have run it.
    pub interpreted: bool,
    /// A shell opened it, so that it may have sourced it.
    pub sourced: bool,
    /// It was probed by a tool that looks at what it is about to replace.
    pub soft_probe: bool,
    /// The process that did so, until it does replace the name: before that it may have been no output of it at all.
    pub soft_by: Option<i32>,
    /// Who looks at what it is about to replace has replaced it.
    pub replaced: bool,
    /// The numbers of its owner and group count: who looked at it may have told them, or written them down.
    pub owner: bool,
    /// So does what may be done with it: who asked for that, or changed it, learned of it.
    pub rights: bool,
    /// Its owner was set.
    pub sets_owner: bool,
    /// Its extended attributes when they were asked for first.
    pub attributes: Option<Value>,
    /// Extended attributes were set.
    pub sets_attributes: bool,
    /// Its times were set.
    pub dated: bool,
    /// The pip has removed the name, and nothing has made it again: its absence is the pip's doing.
    pub removed: bool,
    /// It was renamed away, whole.
    pub moved_away: bool,
    /// It arrived by rename or link, whole.
    pub moved_in: bool,
    /// Content before the pip changed it.
    pub before: Option<Content>,
    /// Where it led, for symbolic links, and whether to a directory.
    pub target: Option<(Vec<u8>, bool)>,
    /// Members of a directory when the pip listed or removed it first.
    pub listing: Option<Listing>,
    /// Only tools listed it that look for libraries in it; see [`crate::tools::Tool::searches_libraries`].
    pub search: bool,
    /// Which of its members all others that listed it can have wanted.
    pub listed: Listed,
    /// When it was first meant to be changed.
    pub changes: Option<Moment>,
    /// When it was first accessed, by the clock that stamps files.
    pub seen: i128,
    /// Its state was read only after that.
    pub late: bool,
    /// System call and process of the first access, as evidence.
    pub first_by: (&'static str, i32),
}

impl Record {
    /// Of a name in this state before its first access, which is this one.
    pub fn new(access: &Access, state: Option<FileStat>, looks: bool, pid: i32) -> Self {
        let link = state.filter(|s| s.kind == Kind::Symlink);
        Self {
            first: state,
            looked_first: looks,
            target: link.and_then(|_| {
                Some((cache::collect::read_link(&access.path.path).ok()?, leads_to_directory(&access.path.path)))
            }),
            search: true,
            seen: access.late.map_or_else(cache::file_stat::coarse_now, |l| l.time),
            late: access.late.is_some(),
            since: Some(Instant::now()),
            first_by: (access.call, pid),
            ..Self::default()
        }
    }

    /// Process `pid` is about to do this to the name, which is in this state. Returns whether somebody else has changed
    /// it meanwhile.
    pub fn does(&mut self, op: &Op, state: Option<&FileStat>, pid: i32) -> bool {
        let foreign = !self.doing.explains(self.first.as_ref(), state);
        self.doing = self.doing.next(op, state, pid);
        foreign
    }

    /// Has somebody else changed the name since the pip last came near it, given its state at the end?
    pub fn was_taken(&self, now: Option<&FileStat>) -> bool {
        self.doing != Doing::Nothing && !self.doing.explains(self.first.as_ref(), now)
    }

    /// Has the pip made sure that this is a directory, so that it makes no difference whether it was one before? `now`:
    /// its state at the end. What is special of it (set-group-id, another owner) would be handed on to what is made in
    /// it.
    pub fn is_ensured(&self, now: Option<&FileStat>) -> bool {
        let plain = |s: &FileStat| s.is_dir() && s.mode & 0o7000 == 0 && is_own(s);
        let same = |a: &FileStat, b: &FileStat| (a.dev, a.ino, a.mode) == (b.dev, b.ino, b.mode);
        let kept = now.is_some_and(|n| plain(n) && self.first.is_none_or(|f| same(&f, n)));
        self.ensured && kept && !self.times && !self.dated
    }

    /// Somebody of whom nothing is known looked at it and did not read it: perhaps at its time, to see whether there is
    /// something to do.
    pub fn judged(&self) -> bool {
        !self.executed && self.lookers.iter().any(|i| !self.readers.contains(i))
    }

    /// Is this what `now` is there when a tool replaced what it had looked at: a file or link, instead of a file, a
    /// link, or nothing? What was there makes no difference then; a directory would have made one.
    pub fn only_replaced(&self, now: Option<&FileStat>) -> bool {
        let plain = |s: &FileStat| matches!(s.kind, Kind::File | Kind::Symlink);
        let leads = self.target.as_ref().is_some_and(|(_, to_directory)| *to_directory);
        self.replaced && !leads && self.first.as_ref().is_none_or(plain) && now.is_none_or(plain)
    }
}

/// Does it belong to whom a new one would belong?
pub fn is_own(s: &FileStat) -> bool {
    (s.uid, s.gid) == (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

fn leads_to_directory(link: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(link)).is_dir()
}

/// Did the name change? A directory's own times change with its members.
pub(crate) fn changed(first: Option<&FileStat>, now: Option<&FileStat>) -> bool {
    match (first, now) {
        (None, None) => false,
        (Some(a), Some(b)) if a.is_dir() && b.is_dir() => {
            (a.ino, a.dev, a.mode, a.uid, a.gid) != (b.ino, b.dev, b.mode, b.uid, b.gid)
        }
        (Some(a), Some(b)) if a.kind == b.kind && !a.is_dir() => {
            // The link count alone changes when another name comes or goes.
            (a.ino, a.dev, a.size, a.mtime, a.mode) != (b.ino, b.dev, b.size, b.mtime, b.mode)
                || (a.ctime != b.ctime && a.nlink == b.nlink)
        }
        (a, b) => a.is_some() != b.is_some() || a.map(|s| s.kind) != b.map(|s| s.kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer::Made;

    #[test]
    fn what_others_do_is_not_the_pips_doing() {
        let t = tempfile::tempdir().expect("a directory");
        let file = |name: &str| {
            use std::os::unix::ffi::OsStrExt;
            std::fs::write(t.path().join(name), name).expect("a file");
            FileStat::of(t.path().join(name).as_os_str().as_bytes())
        };
        let (a, b) = (file("a"), file("bb"));
        let write = Op::OpenWrite { keeps: false, creates: true, exclusive: false, private: false };
        let exclusive = Op::Create { how: Made::Directory, exclusive: true, private: false };
        let remove = Op::Remove { moved: false };
        let modify = Op::OpenWrite { keeps: true, creates: false, exclusive: false, private: false };
        // What it does, one after the other, in which state it finds the name, and in which of them somebody else is
        // seen.
        type Steps<'a> = &'a [(&'a Op, Option<FileStat>, bool)];
        let cases: [(&str, Steps<'_>); 11] = [
            ("made by the other", &[(&Op::Stat, None, false), (&Op::Stat, a, true)]),
            ("made by the other, removed by the pip", &[(&Op::Stat, None, false), (&remove, a, true)]),
            ("replaced by the other", &[(&Op::Stat, a, false), (&Op::Stat, b, true)]),
            ("removed by the other", &[(&Op::Stat, a, false), (&write, None, true)]),
            ("its own", &[(&write, None, false), (&Op::Stat, a, false), (&remove, a, false), (&Op::Stat, None, false)]),
            ("its own, replaced", &[(&write, None, false), (&Op::Stat, a, false), (&Op::LinkSource, b, true)]),
            ("its own, removed", &[(&write, None, false), (&Op::Stat, a, false), (&Op::Stat, None, true)]),
            (
                "its own, replaced by itself",
                &[(&write, None, false), (&Op::Stat, a, false), (&write, a, false), (&Op::Stat, a, false)],
            ),
            ("removed, and made by the other", &[(&remove, a, false), (&Op::Stat, b, true)]),
            ("not removed", &[(&remove, a, false), (&Op::Stat, a, false)]),
            ("not made, for it is there", &[(&exclusive, a, false), (&Op::Stat, None, true), (&modify, a, false)]),
        ];
        for (name, steps) in cases {
            let mut r = Record { first: steps[0].1, ..Record::default() };
            for (i, (op, state, foreign)) in steps.iter().enumerate() {
                assert_eq!(r.does(op, state.as_ref(), 1), *foreign, "{name}, step {i}");
            }
        }
        let mut r = Record { first: None, ..Record::default() };
        assert!(!r.does(&write, None, 1) && !r.does(&Op::Stat, a.as_ref(), 1));
        assert!(r.was_taken(b.as_ref()) && r.was_taken(None) && !r.was_taken(a.as_ref()));
    }
}
