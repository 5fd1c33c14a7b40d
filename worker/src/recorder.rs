//! What one pip accessed, name by name, while it runs.
//!
//! For each name the state *before* the pip's first access is kept, and how it was used. Accesses are intents:
//! [`crate::finish`] compares states to find out what really happened. A content that the pip may destroy and
//! that is an input is hashed before the call goes on. A read counts as an input unless the pip has provably
//! changed the name before.

use crate::accesses::{Accesses, Link, OwnSources, Program, Stdin, reads_live_stdin};
use crate::globs::Listed;
use crate::paths::below_any;
use crate::record::{Doing, Image, Listing, Record};
use crate::running::Running;
use crate::special_paths::{self, Special};
use crate::step::{Step, looks_first};
use crate::tools::{self, Times};
use crate::{file_times, limits, volatile};
use cache::{Fact, FileStat, Kind, PathBytes};
use rustc_hash::FxHashMap;
use std::sync::{Arc, Mutex};
use tracer::StdinUse;
use tracer::{Access, Late, Made, Meta, Op};

/// Collects the accesses of a running pip. Shared between receiving threads.
pub struct Recorder {
    /// The workspace: what is below it may have any name.
    root: Arc<[u8]>,
    accesses: Arc<Mutex<Accesses>>,
    running: Mutex<FxHashMap<i32, Running>>,
}

/// Work that must be done before the call may go on.
pub type Before = Box<dyn FnOnce() + Send>;

impl Recorder {
    pub fn new(root: &[u8]) -> Self {
        Self { root: root.into(), accesses: Arc::default(), running: Mutex::default() }
    }

    /// Process `pid` becomes `program`, run by `interpreter` if that is a `#!` file. `cwd` is its working directory,
    /// `loader` the last of what the kernel opens to start it.
    pub fn exec(
        &self,
        pid: i32,
        program: &[u8],
        (argv, env): (&[Vec<u8>], &[Vec<u8>]),
        interpreter: Option<&[u8]>,
        cwd: &[u8],
        loader: Option<&[u8]>,
    ) {
        let running =
            Running::of(program, argv, interpreter, cwd, loader, &self.running(pid), &self.root).lists(argv, env);
        let Running { tool, times, interprets, .. } = running;
        let preprocesses = running.preprocesses;
        let mut a = self.accesses.lock().expect("accesses");
        let keeps_time = running.notes_time_of_stdin;
        if (interprets || keeps_time || preprocesses && crate::date_macros::reads_stdin(argv))
            && let Ok(path) = cache::collect::read_link(format!("/proc/{pid}/fd/0").as_bytes())
            && FileStat::of(&path).is_some_and(|s| s.is_file())
        {
            if preprocesses && a.names.get(&path[..]).is_some_and(|r| r.intent) {
                a.own_sources.look_into(&beginning(&path));
            }
            a.compares |= interprets && file_times::compares(&beginning(&path));
            a.timed.extend(keeps_time.then(|| path.into()));
        }
        let names = [Some(program), argv.first().map(Vec::as_slice)];
        if let Some((name, why)) = names.into_iter().flatten().find_map(|n| {
            volatile::never_the_same(program, n).or_else(|| volatile::asks_for_now(n, argv)).map(|why| (n, why))
        }) {
            a.problem(format!("`{}`: {why}", String::from_utf8_lossy(tools::base_name(name))));
        }
        let is_opaque = times == Times::Unread && !interprets;
        let interpreter = interpreter.map(<[u8]>::to_vec);
        a.programs.push(Program { path: program.to_vec(), argv: argv.to_vec(), tool, is_opaque, interpreter, pid });
        let image = Image::try_from(a.programs.len()).unwrap_or(Image::MAX);
        a.facts.extend(running.minds_owners.then_some(Fact::Ids));
        drop(a);
        self.running.lock().expect("running").insert(pid, Running { image, ..running });
    }

    /// What the program that process `pid` runs now looks at does not count; what it writes does.
    pub fn ignore(&self, pid: i32) {
        if let Some(r) = self.running.lock().expect("running").get_mut(&pid) {
            r.ignored = true;
        }
    }

    /// What is below `dir` makes no difference to the program that process `pid` runs now, nor to what that starts.
    pub fn keeps_cache(&self, pid: i32, dir: &[u8]) {
        if let Some(r) = self.running.lock().expect("running").get_mut(&pid) {
            r.own_cache = Some(dir.into());
        }
        self.accesses.lock().expect("accesses").keeps_cache = true;
    }

    /// Does process `pid`, which is about to become another program, find out what the machine can do?
    pub fn is_configuring(&self, pid: i32) -> bool {
        self.running(pid).configures
    }

    /// Is process `pid`, which is about to become another program, one that was started as one after another?
    pub fn is_handed_out(&self, pid: i32) -> bool {
        self.running(pid).hands_out
    }

    /// Is process `pid`, which is about to become another program, one of a compiler's?
    pub fn is_of_compiler(&self, pid: i32) -> bool {
        self.running(pid).is_compiler()
    }

    /// What process `pid` runs. A fork runs what its parent ran.
    fn running(&self, pid: i32) -> Running {
        let mut all = self.running.lock().expect("running");
        if let Some(r) = all.get(&pid) {
            return r.clone();
        }
        let r = tracer::parent_of(pid).and_then(|p| all.get(&p).cloned()).unwrap_or_default();
        all.insert(pid, r.clone());
        r
    }

    /// Process `parent` has a new child, which runs what it runs.
    pub fn forked(&self, parent: i32, child: i32) {
        let mut all = self.running.lock().expect("running");
        if let Some(r) = all.get(&parent).cloned() {
            all.insert(child, r);
        }
    }

    /// A fact was asked for.
    pub fn fact(&self, pid: i32, f: Fact) {
        let mut r = self.running(pid);
        let counts = r.asking.counts(f);
        if counts.is_empty() {
            // It has asked as it does at its start.
            self.running.lock().expect("running").insert(pid, r);
            return;
        }
        let mut a = self.accesses.lock().expect("accesses");
        match f {
            Fact::Limit(n) if r.is_shell && n != limits::CORE => a.asked_by_shells.extend(counts),
            _ => a.facts.extend(counts),
        }
    }

    /// Process `pid` does something with standard input; what comes out of a `live` one cannot be known.
    pub fn stdin(&self, pid: i32, how: StdinUse, live: bool) {
        let r = self.running(pid);
        let mut a = self.accesses.lock().expect("accesses");
        let seen = match how {
            StdinUse::AsksTerminal | StdinUse::Asks if r.ignored || r.minds_stdin == Stdin::Unused => return,
            StdinUse::AsksTerminal | StdinUse::Asks if r.interprets => {
                a.met_stdin = true;
                return;
            }
            StdinUse::AsksTerminal => Stdin::Asked,
            StdinUse::Asks if r.minds_stdin < Stdin::Used => return,
            StdinUse::Saves | StdinUse::Lends if r.is_shell => {
                a.met_stdin = true;
                a.saved_live |= live;
                a.lent_stdin |= how == StdinUse::Lends;
                return;
            }
            StdinUse::Saves | StdinUse::Lends if live => {
                a.problem(reads_live_stdin());
                Stdin::Used
            }
            _ => Stdin::Used,
        };
        a.stdin = a.stdin.max(seen);
    }

    /// The result cannot be stored.
    pub fn problem(&self, why: String) {
        self.accesses.lock().expect("accesses").problem(why);
    }

    /// Takes what was recorded. Accesses of survivors come too late to count.
    pub fn take(&self) -> Accesses {
        std::mem::take(&mut self.accesses.lock().expect("accesses"))
    }

    /// Records one access of process `pid`. The result must run before the call goes on.
    pub fn access(&self, pid: i32, access: &Access) -> Option<Before> {
        let running = self.running(pid);
        if running.ignored && !access.op.writes() {
            return None;
        }
        // Whoever keeps results by what they were made of makes the same without them.
        let within = |dir: &Arc<[u8]>| {
            access.path.path.strip_prefix(&dir[..]).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
        };
        if running.own_cache.as_ref().is_some_and(within) {
            return None;
        }
        let state = access.path.state.as_ref().map(FileStat::from_statx);
        let reads = matches!(access.op, Op::OpenRead { content: true } | Op::Exec | Op::List | Op::OpenWrite { .. });
        let mut a = self.accesses.lock().expect("accesses");
        if special_paths::process(&access.path.path)
            .is_some_and(|other| !self.running.lock().expect("running").contains_key(&other))
        {
            a.problem("it looks at another process".to_owned());
            return None;
        }
        if access.op == Op::Exec && access.path.path.starts_with(b"/proc/") {
            a.problem("it runs a program by a descriptor".to_owned());
        }
        let special = special_paths::classify(&access.path.path, reads);
        if special != Special::No {
            a.owners.extend(state.map(|s| (s.uid, s.gid)));
        }
        match special {
            Special::No if reads && state.is_some_and(|s| s.kind == Kind::Special) => {
                if special_paths::is_job_server(&access.path.path) {
                    return None;
                }
                a.problem(format!("what goes through `{}` is not kept", String::from_utf8_lossy(&access.path.path)));
            }
            Special::No => {}
            Special::Ignore => {
                a.state.extend(crate::scripts::state(&access.path.path).filter(|_| reads));
                return None;
            }
            Special::Fact(f) => {
                a.state.extend(crate::scripts::state(&access.path.path).filter(|_| reads));
                drop(a);
                self.fact(pid, f);
                return None;
            }
            Special::Volatile(_) if running.seeds > 0 && access.path.path.ends_with(b"random") => {
                // What a script reads after that is the script's.
                if let Some(r) = self.running.lock().expect("running").get_mut(&pid) {
                    r.seeds -= 1;
                }
                return None;
            }
            Special::Volatile(_) if running.kernel_files.iter().any(|f| access.path.path == f.as_bytes().into()) => {
                if let Some(r) = self.running.lock().expect("running").get_mut(&pid) {
                    r.kernel_files.retain(|f| access.path.path != f.as_bytes().into());
                }
                return None;
            }
            Special::Volatile(_) if running.knocks > 0 && access.path.path == b"/dev/tty"[..].into() => {
                if let Some(r) = self.running.lock().expect("running").get_mut(&pid) {
                    r.knocks -= 1;
                }
                return None;
            }
            Special::Volatile(why) => {
                a.problem(format!("{why} (`{}`)", String::from_utf8_lossy(&access.path.path)));
                return None;
            }
        }
        a.cross(&access.path.links, access.late);
        a.left.extend(access.path.left.iter().cloned());
        let ensures = running.ensures.makes(access, &self.root);
        a.apply(access, state, &running, ensures, pid).then(|| {
            let (accesses, path) = (self.accesses.clone(), access.path.path.clone());
            Box::new(move || hash_before(&accesses, &path)) as Before
        })
    }
}

impl OwnSources {
    /// Looks into a file that a preprocessor of the pip is about to read.
    fn look_into(&mut self, source: &[u8]) {
        self.any = true;
        // Of what is precompiled here the sources are known.
        if !cache::digest::is_precompiled(source) {
            let (time, file_time) = crate::date_macros::asked_by(source);
            self.ask_time |= time;
            self.ask_file_time |= file_time;
        }
    }
}

/// A file's text, as much as a source has.
fn beginning(path: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    if let Some(f) = cache::collect::open_file(path) {
        let _ = std::io::Read::read_to_end(&mut std::io::Read::take(f, 64 << 20), &mut text);
    }
    text
}

/// Is there now what the call found then? Times are judged later, when more is known.
fn is_what_was_seen(l: &Late, now: Option<&FileStat>) -> bool {
    match (l.found, now) {
        (Some(true), None) => false,
        (Some(true), Some(s)) => l.inode == 0 || l.inode == s.ino,
        _ => true,
    }
}

/// Keeps the content that the pip found, before it can change it.
fn hash_before(accesses: &Mutex<Accesses>, path: &PathBytes) {
    let hashed = cache::collect::hash_file(path);
    let mut a = accesses.lock().expect("accesses");
    let Some(r) = a.names.get_mut(path) else { return };
    match hashed {
        Ok(Some((c, s))) if Some(s) == r.first => r.before = Some(c),
        _ => a.problem(format!("`{}` changed before it could be hashed", String::from_utf8_lossy(path))),
    }
}

impl Accesses {
    pub fn problem(&mut self, why: String) {
        if !self.problems.contains(&why) {
            self.problems.push(why);
        }
    }

    /// Notes the links that a path led through. One that leads elsewhere than before has been turned, if the pip has
    /// not done so.
    fn cross(&mut self, links: &[tracer::Crossed], late: Option<Late>) {
        for c in links {
            let known = self.links.entry(c.link.clone()).or_insert_with(|| Link {
                state: FileStat::of(&c.link),
                target: c.target.to_vec(),
                late: late.map(|l| l.time),
            });
            if known.target[..] != c.target[..] && self.names.get(&c.link).is_none_or(|r| r.doing == Doing::Nothing) {
                self.problem(format!("the symbolic link `{}` changed while it ran", String::from_utf8_lossy(&c.link)));
            }
        }
    }

    /// Has somebody else made, replaced or removed a name that the pip has come near before, or a member of a directory
    /// that it has listed? What it finds then is an input, whatever becomes of it, and not one that the next run can be
    /// asked for.
    fn notice_others(&mut self, access: &Access, state: Option<FileStat>, ensures: bool, pid: i32) {
        let path = &access.path.path;
        if access.op.renames() && state.is_none_or(|s| s.is_dir()) {
            self.renamed.insert(path.clone());
        }
        let Some(r) = self.names.get_mut(path) else { return };
        let directory = state.is_some_and(|s| s.is_dir());
        // Who makes sure that a directory is there does not mind who made it; what lies below a directory that the pip
        // has renamed has come or gone with it.
        let minds = !(directory && (ensures || r.ensured)) && !below_any(path, &self.renamed);
        let mut who = (r.does(&access.op, state.as_ref(), pid) && minds).then(|| path.clone());
        let r = &self.names[path];
        if let (Op::List, Some(l)) = (&access.op, &r.listing)
            && !r.search
        {
            let now = cache::collect::list(path).unwrap_or_default();
            let differs = |a: &[(Vec<u8>, Kind)], b: &[(Vec<u8>, Kind)]| {
                let full = |name: &[u8]| -> PathBytes { [&path[..], b"/", name].concat().into() };
                let strange = |p: &PathBytes| self.names.get(p).is_none_or(|r| r.doing == Doing::Nothing);
                a.iter().filter(|m| !b.contains(m) && r.listed.wants(&m.0)).map(|(name, _)| full(name)).find(strange)
            };
            who = who.or_else(|| differs(&now, &l.members).or_else(|| differs(&l.members, &now)));
        }
        if let Some(path) = who {
            self.problem(format!(
                "somebody else made, changed or removed `{}` while it ran",
                String::from_utf8_lossy(&path)
            ));
        }
    }

    /// `ensures`: this access is part of making sure that a directory is there. Returns whether the old content must be
    /// hashed before the call goes on.
    pub(crate) fn apply(
        &mut self,
        access: &Access,
        state: Option<FileStat>,
        running: &Running,
        ensures: bool,
        pid: i32,
    ) -> bool {
        let (op, path) = (&access.op, &access.path.path);
        let new = !self.names.contains_key(path);
        self.now += 1;
        self.notice_others(access, state, ensures, pid);
        if !op.writes() {
            self.loads.entry(running.image).or_default().note(access, state.is_some());
        }
        let r = self.names.entry(path.clone()).or_insert_with(|| Record::new(access, state, looks_first(op), pid));
        if new {
            r.does(op, state.as_ref(), pid);
        }
        let step = Step::new(r, access, state, running, new, pid);
        r.meets(&step, ensures);
        if let Some(l) = access.late
            && !step.own
            && !is_what_was_seen(&l, state.as_ref())
        {
            let why = format!("`{}` changed while it ran", String::from_utf8_lossy(path));
            if !self.problems.contains(&why) {
                self.problems.push(why);
            }
        }
        // Who gives a directory's name away, or moves something into its place, finds out whether it is empty.
        let gives_away = matches!(op, Op::Remove { .. } | Op::Create { how: Made::Renamed, .. });
        let lists = *op == Op::List || gives_away;
        if lists && step.directory && !step.own && r.listing.is_none() {
            let members = match cache::collect::list(path) {
                Ok(members) => Some(members),
                Err(_) => gives_away.then(Vec::new),
            };
            r.listing = members.map(|members| Listing { members, at: self.now });
        }
        let mut hash = false;
        match op {
            Op::OpenRead { content: true } | Op::Exec | Op::LinkSource | Op::RenameSource => {
                if step.own && running.preprocesses && matches!(op, Op::OpenRead { .. }) {
                    self.own_sources.look_into(&beginning(path));
                }
                r.is_read(&step);
                // A new name changes its state, and what is read has to be hashed before that.
                hash = !step.own && step.is_file && r.before.is_none() && *op == Op::LinkSource;
                if matches!(op, Op::LinkSource | Op::RenameSource) && step.time_is_left && step.is_file {
                    self.moved.extend(state.map(|s| ((s.dev, s.ino), path.clone())));
                }
            }
            Op::Chdir => r.probed |= !step.own,
            Op::Stat | Op::MayWrite | Op::Attributes | Op::Readlink | Op::OpenRead { content: false } => {
                r.is_looked_at(&step);
            }
            Op::List => {
                r.search &= running.searches;
                r.listed.add(running.lists.of(path));
            }
            Op::OpenWrite { keeps, creates, exclusive, private } => {
                r.created |= creates;
                // `cp` does not ask for a new name where it has just seen a file.
                r.needed |= !(*creates || running.replaces && r.soft_by == Some(pid));
                r.read |= *keeps && !step.own && step.is_file && !*exclusive;
                // `cp` asks for a new name where it has just seen none; a compiler's driver wants one that nobody has.
                let probes = running.replaces && step.utility;
                r.is_made(&step, *exclusive, *private, probes);
                r.in_place = !r.removed && (r.in_place || !r.intent || state.is_some());
                r.removed = false;
            }
            Op::Create { how, exclusive, private } => {
                // `mv` tries without overwriting first, and then with: that is a probe like any other.
                r.is_made(&step, *exclusive, *private, running.replaces);
                r.created = true;
                r.moved_in |= *how == Made::Renamed;
                r.in_place = false;
                r.removed = false;
            }
            Op::Remove { moved } => {
                r.in_place = false;
                r.removed = true;
                r.moved_away |= moved;
            }
            Op::SetMeta(_) | Op::Truncate => {
                r.read |= !step.own && step.is_file;
                r.probed |= !step.own;
                r.sets_owner |= *op == Op::SetMeta(Meta::Owner);
                r.sets_attributes |= *op == Op::SetMeta(Meta::Attribute);
            }
            Op::SetTimes { now } => {
                r.read |= !step.own && step.is_file;
                r.probed |= !step.own && !step.is_file;
                r.dated = true;
                let moves = running.tool.is_some_and(|t| t.moves);
                self.sets_times |= !now && (running.times.of_unread() || moves);
            }
        }
        if gives_away && r.listing.as_ref().is_some_and(|l| l.at == self.now) {
            r.search = false;
            r.listed = Listed::All;
        }
        r.anew |= matches!(op, Op::Remove { .. } | Op::Create { .. });
        if op.writes() {
            r.is_replaced(&step);
            r.changes.get_or_insert(self.now);
            hash = r.read && step.is_file && r.before.is_none() && !step.own;
            r.intent = true;
        }
        // Whoever learns the time of a file that was moved learns that of the file that it was.
        let looks_at_time =
            matches!(op, Op::Stat | Op::MayWrite | Op::OpenRead { .. } | Op::Exec | Op::LinkSource | Op::RenameSource)
                && (step.times || running.times.of_unread());
        if looks_at_time && let Some(from) = state.and_then(|s| self.time_of(&s)).filter(|p| p != path) {
            self.names.get_mut(&from).expect("what was moved was accessed").times = true;
        }
        hash
    }

    /// The name that a file with this state had before the pip moved it, if it still has its time.
    pub fn time_of(&self, state: &FileStat) -> Option<PathBytes> {
        let from = self.moved.get(&(state.dev, state.ino))?;
        let first = self.names.get(from)?.first?;
        (first.mtime == state.mtime).then(|| from.clone())
    }
}
