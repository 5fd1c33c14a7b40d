//! The end of a pip: records become observations with values. Pure but for [`Look`].
//!
//! What was each name before, as far as the pip looked? That is an observation. An input that changed
//! under the pip, other than by its own doing, forbids storing. What the pip has changed is told by [`crate::outputs`].

use crate::accesses::{Accesses, Link, Stdin};
use crate::evaluate::absence;
use crate::globs::Listed;
use crate::judgement::{Context, Finished};
use crate::look::{Look, Problem};
use crate::paths::{below_any, parent, text};
use crate::record::changed;
use crate::record::{Image, Listing, Record};
use crate::tools::{self, Known};
use crate::{environment, file_times, file_times_in_results, indexes, owners, unseen_inputs};
use cache::collect::Written;
use cache::digest::Traits;
use cache::observation::value;
use cache::{FileStat, Kind, Observation, PathBytes, Question, Who};
use rustc_hash::{FxHashMap, FxHashSet};
use rustix::fs::Access;
use std::collections::BTreeMap;

/// Turns the records into observations. `written` is what [`crate::outputs::written`] found.
pub fn finish(mut a: Accesses, written: Vec<Written>, look: &impl Look, c: &Context<'_>) -> Finished {
    let outputs: FxHashSet<PathBytes> = written.iter().map(|w| w.path.clone()).collect();
    let made_dirs: FxHashSet<PathBytes> = a
        .names
        .iter()
        .filter(|(p, r)| {
            let temporary = r.created && look.stat(p).is_none();
            let is_ensured = r.is_ensured(look.stat(p).as_ref());
            r.intent
                && r.first.is_none()
                && !is_ensured
                && (temporary || written.iter().any(|w| w.path == **p && w.state.is_some_and(|s| s.is_dir())))
        })
        .map(|(p, _)| p.clone())
        .collect();
    let mut f = Finished {
        observations: Vec::new(),
        written,
        problems: std::mem::take(&mut a.problems),
        asks_time: false,
        clocks: Vec::new(),
        precompiled: Traits::default(),
        opaque: None,
        dated: Vec::new(),
        asks: None,
        stdin: Stdin::Unused,
        minds_no_stream: crate::streams::none_minded(&a.programs),
    };
    let mut names = std::mem::take(&mut a.names);
    file_times::count(&mut names, &a, look, c);
    file_times_in_results::count(&mut names, &a, &f.problems, &outputs, look, c);
    for path in &a.timed {
        match (names.get_mut(path), look.stat(path)) {
            (Some(r), _) => r.times = true,
            (None, Some(s)) => f
                .observations
                .push((Observation::FileProbe { path: path.clone(), times: true }, value::probe(&s, true))),
            (None, None) => {}
        }
    }
    let mut contents = Contents::default();
    let mut changed_in: FxHashMap<&[u8], Vec<&PathBytes>> = FxHashMap::default();
    for path in names.iter().filter(|(_, r)| r.intent || r.ensured).map(|(p, _)| p) {
        changed_in.entry(parent(path)).or_default().push(path);
    }
    let seen = Seen {
        names: &names,
        questions: &indexes::questions(&a, &names, look, c),
        outputs: &outputs,
        made_dirs: &made_dirs,
        stems: &stems(&names, &a.programs),
        made_up: &MadeUp::new(&names, &a.programs),
        changed_in: &changed_in,
        compilers: &(1..)
            .zip(&a.programs)
            .filter(|(_, p)| crate::date_macros::preprocesses(&p.path))
            .map(|(i, _)| i)
            .collect::<Vec<Image>>(),
    };
    if let Some(path) = names.iter().find_map(|(p, r)| taken_by_others(p, r, look).then_some(p)) {
        f.problems.push(format!("`{}`, which it made, was removed or renamed by somebody else", text(path)));
    }
    let changed = |(p, r): &(&PathBytes, &Record)| r.was_taken(look.stat(p).as_ref()) && !below_any(p, &a.renamed);
    if let Some((path, _)) = names.iter().find(changed) {
        f.problems.push(format!("somebody else made, changed or removed `{}` while it ran", text(path)));
    }
    for (path, r) in &names {
        if let Err(Problem(why)) = observe(path, r, &seen, look, &mut contents, &mut f)
            && !f.problems.contains(&why)
        {
            f.problems.push(why);
        }
    }
    let own_dir = |d: &PathBytes| made_dirs.contains(d) || below_any(d, &made_dirs);
    let is_ensured = |p: &PathBytes| names.get(p).is_some_and(|r| r.is_ensured(look.stat(p).as_ref()));
    let around = f.written.iter().filter(|w| !w.was_there || is_ensured(&w.path)).map(|w| parent(&w.path).into());
    // What it made and removed again could be made there, too.
    let scratch = names
        .iter()
        .filter(|(p, r)| r.created && r.first.is_none() && !outputs.contains(*p))
        .map(|(p, _)| parent(p).into());
    let around = around.chain(scratch);
    for dir in around.collect::<FxHashSet<PathBytes>>().into_iter().filter(|d| !own_dir(d) && !is_ensured(d)) {
        // It has to be there: what is new gets its group from the directory, and the directory's mode may forbid to
        // make it.
        if let Some(s) = names.get(&dir).map_or_else(|| look.stat(&dir), |r| r.first) {
            f.observations.push((Observation::Rights(dir.clone()), value::rights(&s)));
            f.observations.push((Observation::FileProbe { path: dir, times: false }, value::probe(&s, false)));
        }
    }
    let left = a.left.iter().filter(|d| !own_dir(d) && !is_ensured(d));
    f.observations.extend(left.map(|d| (Observation::KindProbe(d.clone()), value::directory())));
    same_files(&names, &contents, &mut f);
    for (path, Link { state: first, target, late }) in &a.links {
        if names.get(path).is_some_and(|r| r.intent && r.first.is_none()) {
            continue;
        }
        let recent = |s: &FileStat, seen: i128| {
            s.ctime >= seen - cache::file_stat::TICK && !look.settled(path, s, Some(seen), false)
        };
        if first.zip(*late).is_some_and(|(s, seen)| recent(&s, seen)) {
            f.problems.push(format!("the symbolic link `{}` was made just before or while it ran", text(path)));
        }
        if !outputs.contains(path) && look.read_link(path).as_ref() != Some(target) || first.is_none() {
            f.problems.push(format!("the symbolic link `{}` changed while it ran", text(path)));
        }
        f.observations.push((Observation::Symlink(path.clone()), value::symlink(target)));
    }
    owners::observe(&mut f.observations, &mut a, &names, look, c.root);
    let mut rest: Vec<Observation> = a.facts.iter().map(|x| Observation::Fact(*x)).collect();
    if a.sets_times {
        file_times::observe_all(&mut f.observations, &names, None);
    }
    rest.extend(unseen_inputs::reveal(&mut a, &names, &outputs, look, c, &mut f));
    rest.extend(environment::observations(&a, &names, look, c));
    f.observations.extend(rest.into_iter().map(|o| {
        let v = look.value(&o);
        (o, v)
    }));
    f.observations.sort_by(|x, y| x.0.cmp(&y.0));
    f.observations.dedup_by(|x, y| x.0 == y.0);
    f
}

/// Has it made this file, and it is gone without its doing? It may have tried in vain: in a directory where it may make
/// something, it has not.
fn taken_by_others(path: &[u8], r: &Record, look: &impl Look) -> bool {
    let dir = parent(path);
    let could = || look.stat(dir).is_some_and(|d| d.is_dir()) && look.may(dir, Access::WRITE_OK);
    r.created && r.first.is_none() && !r.removed && !r.exclusive && look.stat(path).is_none() && could()
}

/// What was read by compilers, by digest.
type Contents = BTreeMap<cache::Digest, Vec<PathBytes>>;

/// Files that may be one to those who read them: names of one inode, and to compilers those of one content.
fn same_files(names: &FxHashMap<PathBytes, Record>, contents: &Contents, f: &mut Finished) {
    let mut groups: BTreeMap<(u64, u64), Vec<PathBytes>> = BTreeMap::new();
    // An archiver keeps links between any of them.
    let mut linked = Vec::new();
    for (path, r) in names {
        if let Some(s) =
            r.first.filter(|s| s.is_file() && s.nlink > 1 && (r.read || r.probed || r.soft_probe || r.times))
        {
            groups.entry((s.dev, s.ino)).or_default().push(path.clone());
            linked.extend(r.times.then(|| path.clone()));
        }
    }
    for group in groups.values().chain(contents.values()).chain([&linked]).filter(|g| g.len() > 1) {
        let mut group = group.clone();
        group.sort();
        for pair in group.windows(2) {
            let state = |p: &PathBytes| names.get(p).and_then(|r| r.first);
            let value = value::same_file(state(&pair[0]).as_ref(), state(&pair[1]).as_ref());
            f.observations.push((Observation::SameFile(pair[0].clone(), pair[1].clone()), value));
        }
    }
}

/// What the observations of one pip have to do with each other.
struct Seen<'a> {
    names: &'a FxHashMap<PathBytes, Record>,
    /// All that was asked of these.
    questions: &'a FxHashMap<PathBytes, Vec<Question>>,
    outputs: &'a FxHashSet<PathBytes>,
    made_dirs: &'a FxHashSet<PathBytes>,
    /// How the libraries begin that it asked for, sorted.
    stems: &'a [Vec<u8>],
    made_up: &'a MadeUp,
    /// What it meant to change, by directory.
    changed_in: &'a FxHashMap<&'a [u8], Vec<&'a PathBytes>>,
    /// The programs that expand macros.
    compilers: &'a [Image],
}

/// Scratch names that the pip made up: the next run will use others, so that it does not matter whether these are free
/// then.
///
/// A name that merely looks like one must stay an input. So the number of a process counts only in the name of what the
/// pip made and removed again: a long run (`./configure`) has so many processes that names which it only looks for hold
/// some of their numbers by chance.
struct MadeUp {
    /// The numbers of its processes (`tmp$$`), but for short ones, which names hold for other reasons. (After the
    /// highest, the kernel goes on at 300: `RESERVED_PIDS` in kernel/pid.c.)
    numbers: FxHashSet<Vec<u8>>,
    /// Names that `mktemp` found free; what begins with one was derived from it.
    random: Vec<PathBytes>,
}

impl MadeUp {
    fn new(names: &FxHashMap<PathBytes, Record>, programs: &[crate::accesses::Program]) -> Self {
        let numbers = programs.iter().map(|p| p.pid.to_string().into_bytes()).filter(|n| n.len() > 2).collect();
        let random = names.iter().filter(|(_, r)| r.random && r.first.is_none()).map(|(p, _)| p.clone()).collect();
        Self { numbers, random }
    }

    /// `temporary`: the pip made it and removed it.
    fn has(&self, path: &[u8], temporary: bool) -> bool {
        let numbered = || tools::base_name(path).split(|b| !b.is_ascii_digit()).any(|n| self.numbers.contains(n));
        self.random.iter().any(|f| path.starts_with(f)) || (temporary && numbered())
    }
}

/// How the names of the libraries begin that were asked for, anywhere.
fn stems(names: &FxHashMap<PathBytes, Record>, programs: &[crate::accesses::Program]) -> Vec<Vec<u8>> {
    if !names.values().any(|r| r.listing.is_some() && r.search) {
        return Vec::new();
    }
    let mut searching = programs.iter().filter(|p| tools::find(&p.path).is_some_and(Known::searches_libraries));
    let exact = searching.all(|p| tools::names_libraries_exactly(&p.argv));
    let mut all: Vec<Vec<u8>> = names
        .iter()
        .filter(|(_, r)| r.read || r.probed)
        .filter_map(|(p, _)| tools::library_stem(tools::base_name(p), exact))
        .collect();
    all.sort();
    all.dedup();
    all
}

fn observe(
    path: &PathBytes,
    r: &Record,
    seen: &Seen<'_>,
    look: &impl Look,
    contents: &mut Contents,
    f: &mut Finished,
) -> Result<(), Problem> {
    let Seen { names, outputs, made_dirs, stems, .. } = *seen;
    let own = outputs.contains(path);
    let now = look.stat(path);
    if below_any(path, made_dirs) {
        return Ok(());
    }
    if let Some(s) = now.filter(|s| r.is_ensured(Some(s))) {
        f.observations.push((Observation::Ensured(path.clone(), s.mode), value::directory()));
        return r
            .listing
            .as_ref()
            .map_or(Ok(()), |members| listing(path, members, seen, (r.search.then_some(stems), &r.listed), look, f));
    }
    let soft = (r.soft_probe || r.soft_by.is_some()) && !(own && r.only_replaced(now.as_ref()));
    // Who was not allowed to change anything learned who may.
    let refused = r.intent && !own;
    if refused {
        let dir = parent(path);
        if let Some(s) = names.get(dir).map_or_else(|| look.stat(dir), |r| r.first) {
            f.observations.push((Observation::Rights(dir.into()), value::rights(&s)));
            f.observations.push((Observation::FileProbe { path: dir.into(), times: false }, value::probe(&s, false)));
        }
    }
    let n = Name { path, r, now, own, soft };
    match r.first {
        None => n.was_not_there(seen, look, f),
        Some(first) => n.was_there(first, refused, seen, look, contents, f),
    }
}

/// One name at the end of its pip.
struct Name<'a> {
    path: &'a PathBytes,
    r: &'a Record,
    /// Its state now.
    now: Option<FileStat>,
    /// The pip has changed it.
    own: bool,
    /// It was looked at by a tool that replaces what it looks at, and was not replaced.
    soft: bool,
}

impl Name<'_> {
    fn was_not_there(&self, seen: &Seen<'_>, look: &impl Look, f: &mut Finished) -> Result<(), Problem> {
        let Self { path, r, now, own, soft } = *self;
        let Seen { names, made_up, .. } = *seen;
        if !own && now.is_some() && !r.created {
            return Err(Problem(format!("`{}` appeared while it ran", text(path))));
        }
        // Absence counts if it was looked for, or if the one thing done would do something else to an existing name
        // (`rm -f`, a creation that must be the first, a scratch file whose making and removal would destroy it).
        // Scratch files that were made with O_EXCL in a directory for everybody's, or by a compiler, got a name that
        // was free.
        let remained = own && now.is_some();
        let shared_dir = || {
            let cut = path.iter().rposition(|b| *b == b'/').unwrap_or(0).max(1);
            look.stat(&path[..cut]).is_some_and(|d| d.mode & 0o1000 != 0)
        };
        if remained && r.random {
            return Err(Problem(format!("it leaves `{}`, whose name it made up", text(path))));
        }
        // What was around it before the pip changed anything.
        let before = |p: &[u8]| names.get(p).map_or_else(|| look.stat(p), |r| r.first);
        let scratch = || r.any_name || shared_dir() && (r.private || made_up.has(path, true));
        let taken = if remained { r.exclusive } else { !r.exclusive || !scratch() };
        // A directory that is there already would be another's, with all that is in it.
        let made_dir = remained && now.is_some_and(|s| s.is_dir());
        if let Some(questions) = seen.questions.get(path).filter(|_| !r.created) {
            let answer = |q: &Question| (Observation::Answer(path.clone(), q.clone()), value::answer(&[]));
            f.observations.extend(questions.iter().map(answer));
            return Ok(());
        }
        if (r.looked_first || r.probed || soft || !r.created || taken || made_dir)
            && (remained || !made_up.has(path, r.created && now.is_none()))
        {
            f.observations.push((Observation::Absent(path.clone()), absence(path, before, look)));
        }
        Ok(())
    }

    /// `refused`: the pip meant to change it, and could not.
    fn was_there(
        &self,
        first: FileStat,
        refused: bool,
        seen: &Seen<'_>,
        look: &impl Look,
        contents: &mut Contents,
        f: &mut Finished,
    ) -> Result<(), Problem> {
        let Self { path, r, now, own, soft } = *self;
        // Of what it writes anew it learns the owner that a new file would have, if that is whose it was.
        if r.owner && !(own && !r.probed && crate::record::is_own(&first)) {
            f.observations.push((Observation::Owner(path.clone()), value::owner(&first)));
        }
        // A name that was replaced without a look is no input; one that was deleted for good is: it was there.
        let deleted = own && now.is_none();
        let looked = r.read
            || r.probed
            || soft
            || r.listing.is_some()
            || r.exclusive
            || r.looked_first
            || !own
            || deleted
            || r.times;
        if !looked {
            if r.needed {
                f.observations.push((Observation::KindProbe(path.clone()), value::kind(first.kind)));
            }
            return Ok(());
        }
        if !own && changed(r.first.as_ref(), now.as_ref()) {
            return Err(Problem(format!("`{}` changed while it ran", text(path))));
        }
        // What is recent may have been changed without a trace, unless its state was seen before. Of its own files a
        // pip knows what it found, if that was looked up in time. A directory's times tell of its members.
        let exact = own && !r.late || first.is_dir() || (first.kind != Kind::File && !r.late);
        let recent = first.ctime >= r.seen - cache::file_stat::TICK;
        if !exact && recent && !look.settled(path, &first, r.late.then_some(r.seen), own) {
            return Err(Problem(format!("`{}` was modified just before or while it ran", text(path))));
        }
        if let Some(v) = r.attributes {
            let o = Observation::Attributes(path.clone());
            if !own && look.value(&o) != v {
                return Err(Problem(format!("the extended attributes of `{}` changed while it ran", text(path))));
            }
            f.observations.push((o, v));
        }
        let probed = r.probed || soft || refused;
        if refused || r.rights && !(own && r.only_replaced(now.as_ref())) {
            f.observations.push((Observation::Rights(path.clone()), value::rights(&first)));
        }
        if deleted && !(probed || r.read || r.times) && first.kind == Kind::File {
            f.observations.push((Observation::KindProbe(path.clone()), value::kind(first.kind)));
            return Ok(());
        }
        self.of_its_kind(&first, probed, seen, look, contents, f)
    }

    /// What was there, as far as it was looked at.
    fn of_its_kind(
        &self,
        first: &FileStat,
        probed: bool,
        seen: &Seen<'_>,
        look: &impl Look,
        contents: &mut Contents,
        f: &mut Finished,
    ) -> Result<(), Problem> {
        let Self { path, r, own, .. } = *self;
        let probe = || {
            let times = r.times;
            (Observation::FileProbe { path: path.clone(), times }, value::probe(first, times))
        };
        match first.kind {
            Kind::Directory => {
                if let Some(members) = &r.listing {
                    listing(path, members, seen, (r.search.then_some(seen.stems), &r.listed), look, f)?;
                }
                if probed || r.times {
                    f.observations.push(probe());
                } else {
                    f.observations.push((Observation::KindProbe(path.clone()), value::directory()));
                }
            }
            Kind::Symlink => {
                // Looked at without being followed: its target is what it is.
                let target =
                    r.target.as_ref().map(|(t, _)| t).filter(|t| own || look.read_link(path).as_ref() == Some(t));
                let Some(target) = target else {
                    return Err(Problem(format!("the symbolic link `{}` changed while it ran", text(path))));
                };
                f.observations.push((Observation::Symlink(path.clone()), value::symlink(target)));
                if probed || r.times {
                    f.observations.push(probe());
                }
            }
            Kind::Special => {
                f.observations.push(probe());
            }
            Kind::File => {
                if let Some(questions) = seen.questions.get(path) {
                    let index = look.index(path, first)?;
                    let answer = |q: &Question| (Observation::Answer(path.clone(), q.clone()), index.answer(q));
                    f.observations.extend(questions.iter().map(answer));
                    f.observations.extend((probed && indexes::may_be_probed(path)).then(probe));
                    return Ok(());
                }
                if r.read {
                    let content = match r.before {
                        Some(b) => b,
                        None if own => {
                            return Err(Problem(format!("the old content of `{}` is not known", text(path))));
                        }
                        None => look.content(path, first)?,
                    };
                    match content.traits {
                        Traits { asks_time: true, precompiled: true, .. } => f.opaque = Some(path.clone()),
                        t => f.clocks.extend(t.asks_time.then(|| (path.clone(), t.asks_file_time))),
                    }
                    f.dated.extend(content.traits.dated.then(|| path.clone()));
                    if content.size > 0 && seen.compilers.iter().any(|i| r.readers.contains(i)) {
                        contents.entry(content.digest).or_default().push(path.clone());
                    }
                    f.observations.push((
                        Observation::FileContent(path.clone()),
                        value::content(&content.digest, Who::own().executes(first)),
                    ));
                }
                if probed || !r.read || r.times || r.shows_mode {
                    f.observations.push(probe());
                }
            }
        }
        Ok(())
    }
}

/// A listing counts without what the pip made itself, a search only with what it looked for; somebody else's creations
/// in between forbid storing.
fn listing(
    path: &PathBytes,
    Listing { members, at }: &Listing,
    seen: &Seen<'_>,
    (stems, listed): (Option<&[Vec<u8>]>, &Listed),
    look: &impl Look,
    f: &mut Finished,
) -> Result<(), Problem> {
    let outputs = seen.outputs;
    let counts = |name: &[u8]| stems.map_or_else(|| listed.wants(name), |s| cache::observation::found_by(s, name));
    let is_own = |name: &[u8]| {
        let full = [&path[..], b"/", name].concat();
        // What it made for itself and removed again was not there before either.
        let temporary = seen.names.get(&full[..]).is_some_and(|r| r.created && r.first.is_none());
        outputs.contains(&full[..]) || temporary
    };
    let mut own: Vec<Vec<u8>> = outputs
        .iter()
        .filter(|o| {
            o.len() > path.len() + 1
                && o.starts_with(path)
                && o[path.len()] == b'/'
                && !o[path.len() + 1..].contains(&b'/')
        })
        .map(|o| o[path.len() + 1..].to_vec())
        .collect();
    own.sort();
    let without =
        |v: &[(Vec<u8>, Kind)]| v.iter().filter(|(n, _)| counts(n) && !is_own(n)).cloned().collect::<Vec<_>>();
    // What it has removed is empty.
    let gone = outputs.contains(path) && look.stat(path).is_none();
    let now = if gone { Some(Vec::new()) } else { look.list(path) };
    let now = now.ok_or_else(|| Problem(format!("`{}` changed while it ran", text(path))))?;
    let before = without(members);
    let after = without(&now);
    if let Some((name, _)) =
        before.iter().find(|m| !after.contains(m)).or_else(|| after.iter().find(|m| !before.contains(m)))
    {
        return Err(Problem(format!(
            "`{}` came or went in `{}`, which it listed, while it ran",
            text(name),
            text(path)
        )));
    }
    // Its own names are left out, so whether they were there is to be known otherwise, unless it had written them
    // before.
    for name in seen.changed_in.get(&path[..]).into_iter().flatten().copied() {
        let (r, base) = (&seen.names[name], tools::base_name(name));
        if !(is_own(base) && counts(base))
            || r.changes.is_some_and(|c| c < *at)
            || seen.made_up.has(name, r.first.is_none())
        {
            continue;
        }
        f.observations.push(match r.first {
            Some(first) => (Observation::KindProbe(name.clone()), value::kind(first.kind)),
            None => (Observation::Absent(name.clone()), value::absent()),
        });
    }
    let (path, names) = (path.clone(), value::listing(&before));
    f.observations.push(match (stems, listed) {
        (Some(s), _) => (Observation::DirSearch { path, own, stems: s.to_vec() }, names),
        (None, Listed::Count) => (Observation::DirCount(path, own), value::count(before.len())),
        (None, Listed::Matching(p)) => (Observation::DirMatch { path, own, patterns: p.clone() }, names),
        (None, Listed::All | Listed::Not) => (Observation::DirListing(path, own), names),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_only_looks_made_up_is_an_input() {
        let m = MadeUp { numbers: [b"4711".to_vec()].into_iter().collect(), random: vec![b"/t/tmp.aB3x"[..].into()] };
        assert!(m.has(b"/t/conf4711.sh", true) && m.has(b"/t/tmp.aB3x", true) && m.has(b"/t/tmp.aB3x.c.gch", false));
        for (name, temporary) in [
            (&b"/t/conf4711.sh"[..], false),
            (b"/t/conf47110.sh", true),
            (b"/t4711/conf.sh", true),
            (b"/t/tmp.aB3y", true),
        ] {
            assert!(!m.has(name, temporary), "{}", text(name));
        }
    }
}
