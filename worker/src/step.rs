//! One access of a name, and what it adds to the record of that name.
//!
//! Knows one name at a time: what follows for others, or for the whole pip, is the recorder's affair.

use crate::record::{Doing, Record};
use crate::running::Running;
use crate::tools::{Class, Times};
use cache::observation::value;
use cache::{FileStat, PathBytes};
use tracer::{Access, Op};

/// Does a first access of this kind look at the name, rather than replace whatever is there?
pub(crate) fn looks_first(op: &Op) -> bool {
    !matches!(
        op,
        Op::OpenWrite { keeps: false, .. }
            | Op::OpenWrite { exclusive: true, .. }
            | Op::Create { .. }
            | Op::Remove { .. }
    )
}

/// One access, with what it means for the name as it is.
pub(crate) struct Step<'a> {
    op: &'a Op,
    path: &'a PathBytes,
    call: &'static str,
    running: &'a Running,
    pid: i32,
    /// It is the first of this name.
    new: bool,
    /// The path led through links.
    linked: bool,
    /// After a confirmed change of its own, what the pip sees is its own doing.
    pub(crate) own: bool,
    /// There was a file before the first access.
    pub(crate) is_file: bool,
    /// There is a directory now.
    pub(crate) directory: bool,
    /// The program may have learned the file's time.
    pub(crate) times: bool,
    /// That time is still the one from before.
    pub(crate) time_is_left: bool,
    /// So are its owner and extended attributes.
    rest_is_left: bool,
    /// The program is one that works on files: cp, mv, install …
    pub(crate) utility: bool,
}

impl<'a> Step<'a> {
    pub(crate) fn new(
        r: &Record,
        access: &'a Access,
        state: Option<FileStat>,
        running: &'a Running,
        new: bool,
        pid: i32,
    ) -> Self {
        // A directory's times change with its members: it is another one only if it was replaced.
        let same = |a: &FileStat, b: &FileStat| {
            if a.is_dir() && b.is_dir() { (a.dev, a.ino) == (b.dev, b.ino) } else { a == b }
        };
        let own = r.intent
            && match (&state, &r.first) {
                (Some(a), Some(b)) => !same(a, b),
                (a, b) => a.is_some() != b.is_some() || r.removed,
            };
        let is_file = r.first.is_some_and(|s| s.is_file());
        // Who writes into a file keeps its owner and extended attributes; who changes only these keeps its time.
        let is_left = |f: &dyn Fn(&FileStat, &FileStat) -> bool| {
            is_file && state.zip(r.first).is_some_and(|(s, first)| f(&s, &first))
        };
        let rest_is_left = !own || !r.anew && is_left(&|s, first| (s.dev, s.ino) == (first.dev, first.ino));
        let time_is_left = !own || rest_is_left && is_left(&|s, first| (s.mtime, s.size) == (first.mtime, first.size));
        let directory = state.is_some_and(|s| s.is_dir());
        Self {
            op: &access.op,
            path: &access.path.path,
            call: access.call,
            running,
            pid,
            new,
            linked: !access.path.links.is_empty(),
            own,
            is_file,
            directory,
            times: running.times.of(&access.path.path, directory, &running.cwd),
            time_is_left,
            rest_is_left,
            utility: running.tool.is_some_and(|t| t.is(Class::Utility)),
        }
    }

    /// Is it the script that the program was given?
    fn is_main(&self) -> bool {
        self.running.main.as_ref() == Some(self.path)
    }
}

impl Record {
    /// What every access adds.
    pub(crate) fn meets(&mut self, s: &Step<'_>, ensures: bool) {
        let (op, running) = (s.op, s.running);
        let looks_only = matches!(op, Op::Stat | Op::MayWrite | Op::Chdir | Op::Readlink | Op::OpenRead { .. });
        // That it is no link is the same of one that was there and of one that would have been made.
        let asks_kind = matches!(op, Op::Readlink);
        self.ensured = ensures && (s.new || self.ensured) || self.ensured && (self.intent && looks_only || asks_kind);
        self.reuses |= self.doing != Doing::Nothing
            && matches!(
                op,
                Op::OpenRead { content: true }
                    | Op::Exec
                    | Op::LinkSource
                    | Op::RenameSource
                    | Op::List
                    | Op::OpenWrite { keeps: true, .. }
            );
        let compares = running.interprets && Times::Elsewhere.of(s.path, s.directory, &running.cwd);
        self.may_compare |= s.time_is_left && compares && !op.writes();
        // A module of Python's may be run from its compiled form.
        let runs = matches!(op, Op::OpenRead { content: true } | Op::Exec) || s.path.ends_with(b".py");
        self.interpreted |= running.interprets && runs;
        self.owner |= running.minds_owners && s.rest_is_left;
        let needs = matches!(
            op,
            Op::MayWrite | Op::SetMeta(_) | Op::SetTimes { .. } | Op::Truncate | Op::OpenWrite { keeps: true, .. }
        );
        // Of a call with flags it is not known what was asked: compilers ask whether a directory is there (faccessat2
        // with F_OK, by strace), and where they mean to write by access.
        let unclear = *op == Op::MayWrite && s.call == "faccessat2" && running.is_compiler();
        self.rights |= needs && !unclear && !s.own;
        self.sourced |= running.sources && runs;
    }

    /// The program may have learned its time.
    fn shows_time(&mut self, s: &Step<'_>, times: bool) {
        if s.times && s.running.times == Times::Modules {
            self.module |= s.time_is_left && !s.is_main();
        } else {
            self.times |= s.time_is_left && times;
        }
    }

    /// Its content goes into the pip.
    pub(crate) fn is_read(&mut self, s: &Step<'_>) {
        self.read |= !s.own;
        self.executed |= matches!(s.op, Op::Exec);
        if !s.own && !self.readers.contains(&s.running.image) {
            self.readers.push(s.running.image);
        }
        self.shows_mode |= !s.own && s.running.tool.is_none_or(|t| t.copies_modes);
        self.shows_time(s, s.times);
    }

    /// Its state does.
    pub(crate) fn is_looked_at(&mut self, s: &Step<'_>) {
        if *s.op == Op::Attributes && s.rest_is_left && self.attributes.is_none() {
            self.attributes = Some(value::attributes(&cache::collect::attributes(s.path)));
        }
        let unread = s.running.times.of_unread();
        self.shows_time(s, s.times || s.own && unread);
        if s.own {
            return;
        }
        let looks = matches!(s.op, Op::Stat | Op::MayWrite) && s.running.times.judges(s.path) && !s.is_main();
        if looks && !self.lookers.contains(&s.running.image) {
            self.lookers.push(s.running.image);
        }
        // A probe by a tool that replaces the name anyway is dropped when it turns out that it did.
        if s.running.replaces && !s.linked && !s.directory {
            self.looked_first = self.looked_first && !s.new;
            self.soft_probe = true;
            // A compiler's driver looks, its assembler writes; of `mv` and the like each does both itself.
            if s.utility {
                self.probed |= self.soft_by.is_some_and(|p| p != s.pid);
                self.soft_by = Some(s.pid);
            }
            self.probed |= self.looked_first;
        } else {
            self.probed = true;
            self.looked_first = true;
        }
    }

    /// A call may make it. `probes`: that the name must be new is no more than a look by a program that replaces it.
    pub(crate) fn is_made(&mut self, s: &Step<'_>, exclusive: bool, private: bool, probes: bool) {
        let first = s.new && exclusive;
        self.private |= first && private;
        self.exclusive |= first && !probes;
        self.random |= first && s.running.tool.is_some_and(|t| t.invents_names);
        self.any_name |= self.random || first && s.running.scratches;
    }

    /// A call may change it, and whoever looks at what it is about to replace may just be doing so.
    pub(crate) fn is_replaced(&mut self, s: &Step<'_>) {
        self.replaced |= s.running.replaces && (!s.utility || self.soft_by == Some(s.pid));
        if self.soft_by == Some(s.pid) {
            self.soft_by = None;
        }
    }
}
