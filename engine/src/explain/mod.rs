//! Why did it run? Answered from what is stored: build records, and the path sets and values of the cache.
//!
//! A command that ran is compared with the *nearest* earlier run of what makes the same, which is the one that differs
//! in the fewest respects: the newest may be of another variant of the build. If the lookup found results under the
//! same fingerprint, arguments and facts are the same, and it has already said what differs from the nearest of them
//! ([`crate::lookup`]). Otherwise earlier records are searched (`book`), and two runs compared (`compare`).
//!
//! An input that a command of the same build has made leads on to that command: the chain. Nothing here looks at files:
//! a record explains its build, whatever has happened since.

mod between;
mod book;
mod compare;
mod export;

pub use between::{Comparison, Group, Pair};
pub(crate) use compare::short;
pub use compare::{Difference, Kind};
pub use export::NotExported;

use crate::lookup::Reason;
use crate::record::{Item, Outcome};
use crate::values::nearest;
use book::Build;
use cache::{CacheHandle, Digest, Observation};
use compare::{Observed, absolute};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Earlier records are read until they are so much together, bytes.
const READ: usize = 64 << 20;
/// So many earlier runs are compared.
const COMPARED: usize = 16;
/// A chain is followed so far.
const CHAIN: usize = 12;
/// So many commands are explained at once.
const EXPLAINED: usize = 20;
/// The path sets of so many results are searched for who reads a source.
const SEARCHED: usize = 2000;

/// What was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What ran in that build.
    All,
    /// A command by its number.
    Number(u32),
    /// An output or a source.
    Name(String),
}

impl Question {
    /// `#3` is a number, and so is `3` unless something of that name was made.
    pub fn new(text: Option<&str>) -> Self {
        match text.map(|t| (t, t.strip_prefix('#').and_then(|n| n.parse().ok()))) {
            None => Self::All,
            Some((_, Some(n))) => Self::Number(n),
            Some((name, None)) => Self::Name(name.to_owned()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Unexplained {
    #[error("no build of this workspace is recorded")]
    NoBuild,
    #[error("no build {0} is known")]
    NoSuchBuild(u64),
    #[error("build {build} has no command #{number}")]
    NoSuchNumber { build: u64, number: u32 },
    #[error("nothing made `{name}` in build {build}")]
    NotMade {
        name: String,
        build: u64,
        /// What was probably meant.
        near: Option<String>,
    },
}

/// Several commands of one build.
#[derive(Debug, Serialize)]
pub struct Explained {
    pub build: u64,
    /// The workspace.
    pub root: PathBuf,
    pub commands: Vec<Explanation>,
    /// How many more there are to explain.
    pub more: usize,
}

/// One command, and why it ran.
#[derive(Debug, Serialize)]
pub struct Explanation {
    pub number: u32,
    pub command: String,
    pub cwd: String,
    pub outcome: Outcome,
    pub wall_ms: f64,
    pub outputs: Vec<String>,
    /// In one line.
    pub why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_stored: Option<String>,
    #[serde(flatten)]
    pub causes: Causes,
    pub chain: Vec<Step>,
    /// What to do about it.
    pub advice: Vec<String>,
}

/// All that differs from the nearest earlier run.
#[derive(Debug, Default, Serialize)]
pub struct Causes {
    /// The earlier run, if it is of a record: build and number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<(u64, u32)>,
    pub differences: Vec<Difference>,
    /// How many more are not listed.
    pub more: u64,
    /// What to say if nothing differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
}

impl Causes {
    /// After *because*.
    pub fn clause(&self) -> Option<String> {
        const SHOWN: usize = 3;
        let all: Vec<String> = self.differences.iter().take(SHOWN).map(Difference::clause).collect();
        let rest = self.differences.len().saturating_sub(SHOWN) as u64 + self.more;
        let rest = (rest > 0).then(|| format!(" and {rest} more"));
        if all.is_empty() { self.instead.clone() } else { Some(all.join(", ") + rest.as_deref().unwrap_or_default()) }
    }
}

/// An input that a command of the same build has made.
#[derive(Debug, Serialize)]
pub struct Step {
    pub file: String,
    pub by: u32,
    pub command: String,
    pub outcome: Outcome,
    /// Why that command ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// What is stored of a workspace.
pub struct Explainer<'a> {
    cache: &'a CacheHandle,
    root: PathBuf,
}

impl<'a> Explainer<'a> {
    pub fn new(cache: &'a CacheHandle, root: &Path) -> Self {
        Self { cache, root: root.to_owned() }
    }

    /// Answers for build `number`, or the last one of this workspace. `here` is where relative names begin.
    pub fn explain(&self, q: &Question, number: Option<u64>, here: &str) -> Result<Explained, Unexplained> {
        let build = match number {
            Some(n) => self.build(n).ok_or(Unexplained::NoSuchBuild(n))?,
            None => self.builds(u64::MAX).next().ok_or(Unexplained::NoBuild)?,
        };
        let (mut items, total) = match q {
            // Only those are parsed that are explained.
            Question::All => (build.ran().take(EXPLAINED).collect(), build.count_ran()),
            Question::Number(n) => (self.numbered(&build, *n)?, 1),
            Question::Name(name) => {
                let items = self.named(&build, name, &build.head.recorded(here))?;
                let total = items.len();
                (items, total)
            }
        };
        items.truncate(EXPLAINED);
        let more = total - items.len();
        let earlier: Vec<Build> = self.earlier(&build);
        let commands = items.into_iter().map(|i| self.one(&build, &earlier, i)).collect();
        let root = build.head.recorded(&self.root.display().to_string()).into();
        Ok(Explained { build: build.number, root, commands, more })
    }

    fn build(&self, number: u64) -> Option<Build> {
        Build::new(number, self.cache.store.build(number)?)
    }

    /// Builds of this workspace before this one, the newest first.
    fn builds(&self, before: u64) -> impl Iterator<Item = Build> {
        let numbers = self.cache.store.build_numbers().into_iter().rev().filter(move |n| *n < before);
        numbers.filter_map(|n| self.build(n)).filter(|b| b.head.is_below(&self.root))
    }

    fn earlier(&self, build: &Build) -> Vec<Build> {
        let mut read = 0;
        self.builds(build.number)
            .take_while(|b| {
                let first = read == 0;
                read += b.size();
                first || read <= READ
            })
            .collect()
    }

    fn numbered(&self, build: &Build, number: u32) -> Result<Vec<Item>, Unexplained> {
        let item = build.by_id(number).ok_or(Unexplained::NoSuchNumber { build: build.number, number })?;
        Ok(vec![item])
    }

    /// The commands that a name stands for: those that make it, else those that read it.
    fn named(&self, build: &Build, name: &str, here: &str) -> Result<Vec<Item>, Unexplained> {
        let path = absolute(here, name);
        let made = build.makers(&path);
        if !made.is_empty() {
            return Ok(made);
        }
        let end = format!("/{}", name.trim_start_matches("./"));
        let mut made = build.mentioning(&end);
        made.retain(|i| i.outputs.iter().any(|o| o.ends_with(&end)));
        if !made.is_empty() {
            return Ok(made);
        }
        if let Ok(n) = name.parse() {
            return self.numbered(build, n);
        }
        let read = self.readers(build, &path, name);
        if read.is_empty() {
            let near = self.near(build, name);
            return Err(Unexplained::NotMade { name: name.to_owned(), build: build.number, near });
        }
        Ok(read)
    }

    /// The commands that read a source: those that name it, that say it has changed, or whose stored result observed
    /// it. Of a hit only its words are known.
    fn readers(&self, build: &Build, path: &str, name: &str) -> Vec<Item> {
        let base = name.rsplit('/').next().unwrap_or(name);
        let names = |i: &Item| {
            let words = i.argv.iter().flat_map(|a| a.split_whitespace());
            let changed = if let Some(Reason::Changed { all, .. }) = &i.reason { &all[..] } else { &[] };
            words.map(|w| absolute(&i.cwd, w)).any(|w| w == path)
                || changed.iter().any(|c| c.path.as_deref() == Some(path))
        };
        let mut all = build.mentioning(base);
        all.retain(names);
        let mut known = rustc_hash::FxHashMap::default();
        let named: Vec<u32> = all.iter().map(|i| i.id).collect();
        for i in build.ran().filter(|i| !named.contains(&i.id)).take(SEARCHED) {
            let Some(set) = i.result.as_ref().and_then(|[_, set]| Digest::from_hex(set)) else { continue };
            let reads = *known.entry(set).or_insert_with(|| {
                let set = self.cache.store.path_set(&set).ok().flatten().unwrap_or_default();
                set.observations().iter().any(|o| match o {
                    Observation::FileContent(p) => cache::shown(p) == path,
                    _ => false,
                })
            });
            if reads {
                all.push(i);
            }
        }
        all.sort_by_key(|i| i.id);
        all
    }

    fn near(&self, build: &Build, name: &str) -> Option<String> {
        let root = build.head.recorded(&format!("{}/", self.root.display()));
        let relative = |o: String| o.strip_prefix(&root).map(str::to_owned).unwrap_or(o);
        let outputs: Vec<String> = build.items().flat_map(|i| i.outputs).map(relative).collect();
        let by_base = outputs.iter().map(|o| o.rsplit('/').next().unwrap_or(o));
        let names: Vec<&str> = outputs.iter().map(String::as_str).chain(by_base).collect();
        nearest(name, names.into_iter()).map(str::to_owned)
    }

    fn one(&self, build: &Build, earlier: &[Build], item: Item) -> Explanation {
        let causes = if item.outcome == Outcome::Hit { Causes::default() } else { self.causes(build, earlier, &item) };
        let mut chain = Vec::new();
        let mut seen = vec![item.id];
        self.follow(build, earlier, &item, &causes, &mut seen, &mut chain);
        let why = match (item.outcome, &item.reason) {
            (Outcome::Hit, _) => "nothing that it depends on has changed: its result was put back".to_owned(),
            (_, Some(Reason::NoWeakMatch)) if !causes.differences.is_empty() => {
                "it was not run like this before".into()
            }
            (_, Some(r)) => r.to_string(),
            (_, None) => "no reason is recorded".to_owned(),
        };
        let advice = advice(&item, &causes, &chain);
        Explanation {
            number: item.id,
            command: item.command,
            cwd: item.cwd,
            outcome: item.outcome,
            wall_ms: item.wall_ms,
            outputs: item.outputs,
            why,
            not_stored: item.not_stored,
            causes,
            chain,
            advice,
        }
    }

    /// All that differs from the nearest earlier run of what makes the same.
    fn causes(&self, build: &Build, earlier: &[Build], item: &Item) -> Causes {
        let mut causes = match &item.reason {
            Some(Reason::Changed { what, all, more }) if all.is_empty() => {
                // Of an earlier version, which noted one difference only.
                Causes { instead: Some(format!("{what} changed")), more: *more, ..Causes::default() }
            }
            Some(Reason::Changed { all, more, .. }) => {
                Causes { differences: all.iter().map(Difference::from).collect(), more: *more, ..Causes::default() }
            }
            Some(Reason::NoWeakMatch) => self.against_records(build, earlier, item),
            Some(other) => Causes { instead: Some(other.to_string()), ..Causes::default() },
            None => Causes::default(),
        };
        for d in &mut causes.differences {
            d.own = d.path.as_ref().is_some_and(|p| item.outputs.contains(p));
        }
        // A file that the command made itself is there because it ran before: what else changed tells more.
        causes.differences.sort_by_key(|d| d.own);
        causes
    }

    fn against_records(&self, build: &Build, earlier: &[Build], item: &Item) -> Causes {
        let mut best: Option<Causes> = None;
        let mut not_stored = None;
        let own = self.observed(item);
        let mut left = COMPARED;
        let this = std::iter::once(build);
        for b in this.chain(earlier) {
            let mut others = match item.outputs.first() {
                Some(_) => item.outputs.iter().take(4).flat_map(|o| b.makers(o)).collect(),
                // A test, a check: known by its words.
                None => b.mentioning(&item.command),
            };
            others.retain(|o: &Item| {
                let before = b.number != build.number || o.id < item.id;
                let same = !item.outputs.is_empty() || (o.command == item.command && o.outputs.is_empty());
                before && same && !o.facts.is_empty()
            });
            others.dedup_by_key(|o| o.id);
            for o in others.iter().rev() {
                if left == 0 {
                    break;
                }
                left -= 1;
                let then = self.observed(o);
                let (differences, more) = compare::compare(o, item, then.as_ref().zip(own.as_ref()));
                let n = differences.len() as u64 + more;
                if n == 0 {
                    not_stored = not_stored.or_else(|| o.not_stored.clone().map(|why| (b.number, why)));
                    continue;
                }
                if best.as_ref().is_none_or(|c| n < c.differences.len() as u64 + c.more) {
                    best = Some(Causes { compared: Some((b.number, o.id)), differences, more, instead: None });
                }
            }
        }
        if let Some((number, why)) = not_stored {
            let instead = format!("the same command ran in build {number}, and its result was not stored: {why}");
            return Causes { instead: Some(instead), ..Causes::default() };
        }
        best.unwrap_or_else(|| {
            let what = item.outputs.first().map_or_else(|| "this command".into(), |o| format!("what makes `{o}`"));
            Causes { instead: Some(format!("no earlier run of {what} is recorded")), ..Causes::default() }
        })
    }

    /// What a stored result observed.
    fn observed(&self, item: &Item) -> Option<Observed> {
        if let Some(kept) = &item.seen {
            return export::observed(kept);
        }
        let [strong, set] = item.result.as_ref()?;
        let [weak, strong, path_set] = [item.weak.as_ref()?, strong, set].map(|h| Digest::from_hex(h));
        let (weak, strong, path_set) = (weak?, strong?, path_set?);
        let links = self.cache.store.links(&weak).ok()?;
        let link = links.into_iter().find(|l| l.strong == strong && l.path_set == path_set)?;
        Some(Observed { set: self.cache.store.path_set(&path_set).ok()??, values: link.values })
    }

    /// Which of the causes are the work of other commands of this build, and why those ran.
    fn follow(
        &self,
        build: &Build,
        earlier: &[Build],
        item: &Item,
        causes: &Causes,
        seen: &mut Vec<u32>,
        chain: &mut Vec<Step>,
    ) {
        for path in causes.differences.iter().filter(|d| !d.own).filter_map(|d| d.path.as_ref()) {
            for maker in build.makers(path).into_iter().filter(|m| m.start_ms <= item.start_ms) {
                if chain.len() == CHAIN || seen.contains(&maker.id) {
                    continue;
                }
                seen.push(maker.id);
                let its = match maker.outcome {
                    Outcome::Hit => Causes::default(),
                    _ => self.causes(build, earlier, &maker),
                };
                chain.push(Step {
                    file: path.clone(),
                    by: maker.id,
                    command: maker.command.clone(),
                    outcome: maker.outcome,
                    because: its.clause().or_else(|| maker.not_stored.clone()),
                });
                self.follow(build, earlier, &maker, &its, seen, chain);
            }
        }
    }
}

/// What to do, where that is certain.
fn advice(item: &Item, causes: &Causes, chain: &[Step]) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |text: String| {
        if !all.contains(&text) {
            all.push(text);
        }
    };
    if item.outcome == Outcome::Uncacheable {
        add("it runs each time until what stands against storing its result is gone; docs/safety.md has the reasons"
            .into());
    }
    for d in &causes.differences {
        match (d.kind, &d.variable) {
            // The shell's, which goes with the directory.
            (Kind::Variable, Some(name)) if name == "PWD" || name == "OLDPWD" => {}
            (Kind::Variable, Some(name)) => add(format!(
                "give {name} the same value in each build; if no result depends on it, `pass = [\"{name}\"]` in `[env]` of \
                 `xl.toml`"
            )),
            (Kind::Umask, _) => add("build with the same umask".into()),
            (Kind::Limits, _) => add("build under the same limits".into()),
            (Kind::Rights, _) => add("build as the same user".into()),
            (Kind::Program, _) => {
                add("nothing: the results of the earlier program are kept, should it come back".into())
            }
            (Kind::Directory, _) => add("build in the same directory: results name it".into()),
            _ => {}
        }
    }
    match &item.reason {
        Some(Reason::EntryEvicted | Reason::BlobMissing { .. }) => {
            add("give the cache more room: `max_bytes` in `[cache]` of `xl.toml`".into());
        }
        Some(Reason::Disabled) => add("leave out what keeps `xl` from reading the cache (`--no-cache-read`)".into()),
        _ => {}
    }
    if let Some(last) = chain.last().filter(|s| s.outcome == Outcome::Uncacheable) {
        add(format!("begin with `{}`: `xl explain {}`", last.file, last.by));
    }
    all
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A command that ran in `/w`.
    pub(crate) fn item(id: u32, argv: &[&str], outputs: &[&str]) -> Item {
        Item {
            id,
            command: argv.join(" "),
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
            cwd: "/w".into(),
            outcome: Outcome::Miss,
            reason: Some(Reason::NoWeakMatch),
            not_stored: None,
            outputs: outputs.iter().map(|o| (*o).to_owned()).collect(),
            facts: vec![("domain".into(), "00".into())],
            result: None,
            weak: None,
            seen: None,
            violations: Vec::new(),
            text: String::new(),
            wall_ms: 1.0,
            saved_ms: 0.0,
            exit_code: 0,
            far: false,
            start_ms: f64::from(id),
        }
    }

    /// A store with these builds of `/w`.
    fn stored(builds: &[Vec<Item>]) -> (tempfile::TempDir, CacheHandle) {
        let dir = tempfile::tempdir().unwrap();
        let (cache, _) = CacheHandle::open(dir.path()).unwrap();
        for items in builds {
            let r = crate::BuildRecord { cwd: "/w".into(), items: items.clone(), ..Default::default() };
            cache.store.add_build(&serde_json::to_vec(&r).unwrap()).unwrap();
        }
        (dir, cache)
    }

    fn ask(cache: &CacheHandle, what: &str) -> Result<Explained, Unexplained> {
        Explainer::new(cache, Path::new("/w")).explain(&Question::new(Some(what)), None, "/w")
    }

    fn changed(path: &str) -> Option<Reason> {
        let c = crate::change::Change {
            what: format!("content of `{path}`"),
            path: Some(path.into()),
            variable: None,
            was: "0000000000000001".into(),
            now: "0000000000000002".into(),
        };
        Some(Reason::Changed { what: c.what.clone(), all: vec![c], more: 0 })
    }

    /// Not the newest earlier run is compared, but that which differs least.
    #[test]
    fn the_nearest_run() {
        let cc = |id, flags: &[&str]| item(id, &[&["cc"], flags, &["-c", "a.c"]].concat(), &["/w/a.o"]);
        let builds = [vec![cc(1, &["-O1"])], vec![cc(1, &["-O3", "-g", "-DX"])], vec![cc(1, &["-O2"])]];
        let (_dir, cache) = stored(&builds);
        let e = ask(&cache, "a.o").unwrap().commands.remove(0);
        assert_eq!(e.causes.compared, Some((1, 1)));
        assert_eq!(e.causes.differences.iter().map(Difference::line).collect::<Vec<_>>(), ["argument `-O1` → `-O2`"]);
    }

    #[test]
    fn a_chain_leads_to_what_was_changed() {
        let mut compile = item(1, &["cc", "-c", "a.c"], &["/w/a.o"]);
        compile.reason = changed("/w/a.h");
        let mut link = item(2, &["cc", "-o", "p", "a.o"], &["/w/p"]);
        link.reason = changed("/w/a.o");
        let (_dir, cache) = stored(&[vec![compile, link]]);
        for what in ["p", "#2", "2", "/w/p", "./p"] {
            let e = ask(&cache, what).unwrap_or_else(|e| panic!("{what}: {e}")).commands.remove(0);
            let steps: Vec<_> = e.chain.iter().map(|s| (s.file.as_str(), s.by, s.because.as_deref())).collect();
            assert_eq!(steps, [("/w/a.o", 1, Some("`/w/a.h` changed"))], "{what}");
        }
        // A source: who reads it.
        assert_eq!(ask(&cache, "a.h").unwrap().commands[0].number, 1);
        assert_eq!(ask(&cache, "a.c").unwrap().commands[0].number, 1);
    }

    #[test]
    fn what_cannot_be_explained() {
        let (_dir, cache) = stored(&[]);
        assert_eq!(ask(&cache, "x").unwrap_err().to_string(), "no build of this workspace is recorded");
        let (_dir, cache) = stored(&[vec![item(1, &["cc"], &["/w/main.o"])]]);
        let Unexplained::NotMade { name, build: 1, near } = ask(&cache, "mian.o").unwrap_err() else { panic!() };
        assert_eq!((name.as_str(), near.as_deref()), ("mian.o", Some("main.o")));
        assert_eq!(ask(&cache, "#7").unwrap_err().to_string(), "build 1 has no command #7");
        let first = ask(&cache, "main.o").unwrap().commands.remove(0);
        assert_eq!(first.causes.instead.as_deref(), Some("no earlier run of what makes `/w/main.o` is recorded"));
    }

    /// Ten thousand commands that all ran, in this build and the one before. The limit is a tenth of a second, on an
    /// idle machine; here it is wide enough for a busy one, and narrow enough to notice that whole records are parsed.
    #[test]
    fn ten_thousand_commands() {
        let many = |flag: &str| -> Vec<Item> {
            let facts: Vec<(String, String)> = (0..24).map(|n| (format!("a fact {n}"), format!("{n:016x}"))).collect();
            let one = |n: u32| {
                let words = ["cc", flag, "-Wall", "-Iinclude", "-c", &format!("src/dir{}/f{n}.c", n % 50), "-o"];
                let out = format!("/w/obj/dir{}/f{n}.o", n % 50);
                let mut i = item(n, &[&words[..], &[out.as_str()]].concat(), &[out.as_str()]);
                i.facts.clone_from(&facts);
                i
            };
            (1..=10_000).map(one).collect()
        };
        let (_dir, cache) = stored(&[many("-O1"), many("-O2")]);
        let begun = std::time::Instant::now();
        let e = ask(&cache, "obj/dir7/f9007.o").unwrap().commands.remove(0);
        let took = begun.elapsed();
        assert_eq!(e.causes.differences[0].line(), "argument `-O1` → `-O2`");
        assert!(took.as_millis() < 1000 || cfg!(debug_assertions), "{took:?}");
    }
}
