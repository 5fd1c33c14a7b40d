//! The value that an observation has now.
//!
//! Used twice: to evaluate candidates before a pip runs, and by whoever asks whether a result still holds. Candidates
//! of one request share one look at each name, which is made after the command was launched; nothing older counts.

use crate::look::Look;
use cache::digest::Content;
use cache::observation::value;
use cache::{FileStat, Kind, Observation, PathBytes, Question, Value, Who};
use rustc_hash::FxHashMap;
use rustix::fs::Access;
use std::cell::RefCell;

/// The present, for one request.
pub struct Now<'a> {
    look: &'a dyn Look,
    /// What this request has looked at.
    seen: RefCell<FxHashMap<PathBytes, Option<FileStat>>>,
}

fn of_state(s: Option<FileStat>) -> Value {
    s.map_or_else(value::absent, |s| value::kind(s.kind))
}

impl<'a> Now<'a> {
    pub fn new(look: &'a dyn Look) -> Self {
        Self { look, seen: RefCell::default() }
    }

    /// State of a name when this request first looked at it.
    pub fn state(&self, path: &[u8]) -> Option<FileStat> {
        if let Some(s) = self.seen.borrow().get(path) {
            return *s;
        }
        let s = self.look.stat(path);
        self.seen.borrow_mut().insert(path.into(), s);
        s
    }

    /// Content of a file in this state; `None` if it has another one by now, or cannot be read.
    pub fn content(&self, path: &[u8], state: &FileStat) -> Option<Content> {
        self.look.content(path, state).ok()
    }

    /// The value now. `None` when it cannot be told (an unreadable file): no hit.
    pub fn evaluate(&self, o: &Observation) -> Option<Value> {
        let listing = |path: &[u8], counts: &dyn Fn(&[u8]) -> bool| match self.look.list(path) {
            Some(mut members) => {
                members.retain(|(n, _)| counts(n));
                value::listing(&members)
            }
            None => value::absent(),
        };
        Some(match o {
            Observation::Absent(p) => match self.state(p) {
                None => absence(p, |dir| self.state(dir), self.look),
                there => of_state(there),
            },
            Observation::KindProbe(p) => of_state(self.state(p)),
            Observation::Ensured(p, mode) => ensured(p, *mode, |p| self.state(p), self.look),
            Observation::DirListing(p, own) => listing(p, &|n| own.binary_search_by(|o| o[..].cmp(n)).is_err()),
            Observation::DirSearch { path, own, stems } => listing(path, &|n| {
                cache::observation::found_by(stems, n) && own.binary_search_by(|o| o[..].cmp(n)).is_err()
            }),
            Observation::DirMatch { path, own, patterns } => listing(path, &|n| {
                cache::observation::matched_by(patterns, n) && own.binary_search_by(|o| o[..].cmp(n)).is_err()
            }),
            Observation::DirCount(p, own) => self.look.list(p).map_or_else(value::absent, |members| {
                value::count(members.iter().filter(|(n, _)| own.binary_search(n).is_err()).count())
            }),
            Observation::FileProbe { path, times } => match self.state(path) {
                Some(s) => value::probe(&s, *times),
                None => value::absent(),
            },
            Observation::Rights(p) => self.state(p).as_ref().map_or_else(value::absent, value::rights),
            Observation::Owner(p) => self.state(p).as_ref().map_or_else(value::absent, value::owner),
            Observation::FileContent(p) => match self.state(p) {
                Some(s) if s.is_file() => value::content(&self.content(p, &s)?.digest, Who::own().executes(&s)),
                s => of_state(s),
            },
            Observation::Symlink(p) => match self.state(p) {
                Some(s) if s.kind == Kind::Symlink => value::symlink(&self.look.read_link(p)?),
                s => of_state(s),
            },
            Observation::SameFile(p, q) => value::same_file(self.state(p).as_ref(), self.state(q).as_ref()),
            Observation::Answer(p, question) => match self.state(p) {
                Some(s) if s.is_file() => self.look.index(p, &s).ok()?.answer(question),
                // Who looks for a locale in an archive that is not there does not find it.
                None if matches!(question, Question::Locale(_)) => value::answer(&[]),
                s => of_state(s),
            },
            Observation::Attributes(_)
            | Observation::Env(_)
            | Observation::EnvAll
            | Observation::EnvJob
            | Observation::Found { .. }
            | Observation::Fact(_) => self.look.value(o),
        })
    }
}

/// The value of a name that is not there: below a file the kernel says so in another way (ENOTDIR) than where nothing
/// is (ENOENT). `stat` tells the states that count.
pub(crate) fn absence(path: &[u8], stat: impl Fn(&[u8]) -> Option<FileStat>, look: &(impl Look + ?Sized)) -> Value {
    let mut end = path.len();
    while let Some(cut) = path[..end].iter().rposition(|b| *b == b'/').filter(|c| *c > 0) {
        match stat(&path[..cut]) {
            Some(s) if s.is_dir() && s.mode & 0o111 != 0o111 && !look.may(&path[..cut], Access::EXEC_OK) => {
                return value::forbidden();
            }
            Some(s) if s.is_dir() => break,
            Some(_) => return value::below_a_file(),
            None => end = cut,
        }
    }
    value::absent()
}

/// The value of a directory that the pip makes if it is not there: the same if it is as it would be made.
fn ensured(path: &[u8], mode: u32, stat: impl Fn(&[u8]) -> Option<FileStat>, look: &(impl Look + ?Sized)) -> Value {
    match stat(path) {
        Some(s) if s.is_dir() && s.mode == mode && crate::record::is_own(&s) => value::directory(),
        Some(s) => value::probe(&s, false),
        None => Some(absence(path, stat, look)).filter(|v| *v != value::absent()).unwrap_or_else(value::directory),
    }
}
