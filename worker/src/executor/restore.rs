//! Putting results back, and taking them away, so that everybody who asks about these files is told.

use super::local::Local;
use crate::file_state::OURSELVES;
use cache::digest::Content;
use cache::{Cas, FileStat, Output, OutputKind, PathBytes, materialise};
use std::time::Instant;
use tracer::{ExecTicket, Scope};

/// What was put back.
pub struct Restored {
    /// Bytes that were written.
    pub bytes: u64,
    /// Which of the names were there before, in the order of the outputs.
    pub was_there: Vec<bool>,
}

impl Local {
    /// A file that a hit would overwrite in place, and that somebody of the build is writing or has open: they would go
    /// on with a file that is gone.
    pub fn busy<'a>(&self, t: &ExecTicket, outputs: &'a [Output], since: Instant) -> Option<&'a [u8]> {
        let in_place =
            |o: &&Output| matches!(o.kind, OutputKind::File { in_place: true, .. }) && FileStat::of(&o.path).is_some();
        let replaced: Vec<&[u8]> = outputs.iter().filter(in_place).map(|o| &*o.path).collect();
        let written = replaced.iter().find(|p| self.files.contested(p, OURSELVES, 0, since)).copied();
        written.or_else(|| t.held_open(&replaced))
    }

    /// Puts outputs in place. On an error nothing has changed, but for [`cache::Error::Partly`].
    pub fn restore(&self, cas: &Cas, outputs: &[Output]) -> cache::Result<Restored> {
        let before: Vec<Option<FileStat>> = outputs.iter().map(|o| FileStat::of(&o.path)).collect();
        // A directory that is as it is to be: nothing is written.
        let stays = |i: usize| match &outputs[i].kind {
            OutputKind::Directory { mode, time: None } => before[i].is_some_and(|s| s.is_dir() && s.mode == *mode),
            _ => false,
        };
        let noted = self.journal_restore(outputs);
        for (_, o) in outputs.iter().enumerate().filter(|(i, _)| !stays(*i)) {
            self.files.writing(&o.path, OURSELVES);
        }
        let r = materialise::restore(cas, outputs);
        for (i, o) in outputs.iter().enumerate().filter(|(i, _)| !stays(*i)) {
            let state = r.as_ref().ok().and_then(|r| r.states[i]).or_else(|| FileStat::of(&o.path));
            self.files.settle(&o.path, 1, state);
            if let (Ok(_), Some(s), OutputKind::File { digest, size, traits, .. }) = (&r, state, &o.kind) {
                self.files.know(&s, Content { digest: *digest, size: *size, traits: *traits });
            }
        }
        if r.is_ok() {
            self.journal_ended(noted);
        }
        Ok(Restored { bytes: r?.bytes, was_there: before.iter().map(Option::is_some).collect() })
    }

    /// Notes what a restore is about to put in place; the result names it.
    fn journal_restore(&self, outputs: &[Output]) -> Scope {
        let number = self.number();
        if let Some(j) = &self.journal {
            for o in outputs.iter().filter(|o| !matches!(o.kind, OutputKind::Deleted)) {
                match FileStat::of(&o.path) {
                    None => j.creates(number.0, &o.path),
                    Some(s) if s.is_file() => j.replaces(number.0, &o.path),
                    Some(_) => {}
                }
            }
        }
        number
    }

    /// What a command that is made to fail has made must not look finished: the build tool would not run it again. What
    /// was not there before is removed, and what `is_remade` by its step is made older than its inputs. All else that
    /// it changed keeps its new time, since others are made from it. The result names what is still there, and why.
    pub fn take_back<'a>(
        &self,
        outputs: impl Iterator<Item = (&'a PathBytes, bool)>,
        is_remade: impl Fn(&PathBytes) -> bool,
    ) -> Vec<(PathBytes, std::io::Error)> {
        use std::os::unix::ffi::OsStrExt;
        let is_file = |p: &PathBytes| FileStat::of(p).is_some_and(|s| !s.is_dir());
        let mut left = Vec::new();
        for (path, was_there) in outputs.filter(|(p, was_there)| is_file(p) && (!was_there || is_remade(p))) {
            let name = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
            self.files.writing(path, OURSELVES);
            let done = if was_there { cache::file_stat::age(name) } else { std::fs::remove_file(name) };
            self.files.settle(path, 1, FileStat::of(path));
            left.extend(done.err().map(|e| (path.clone(), e)));
        }
        left
    }
}
