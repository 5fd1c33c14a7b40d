//! Takes stale files away before the build tool looks, so that the build tool makes them again.
//!
//! Healing must never endanger a source, nor take away what the build tool does not make again. It removes a file only
//! if two things are known. The file is provably a product: it was not there before a command of a build tool first
//! made it, no build tool reads rules in it, git does not track it, and it is as the command left it. And the build
//! tool makes it again: it is a target, or its step leaves it besides a target (what stands behind a stamp), and all
//! targets of that step go as well, and go first.
//!
//! What a script or a single command made is left alone. All other stale files are made older than whatever they are
//! made from. Afterwards [`super::aside`] puts back what the build did not make again, or gives it its time back.

use super::aside::{Aside, Done};
use super::find::{Stale, is_untouched, step_keys};
use crate::frontend::{Declared, Step, Tool};
use crate::places;
use cache::{CacheHandle, Digest, FileStat, PathBytes, Product};
use engine::Config;
use rustc_hash::{FxHashMap, FxHashSet};

/// How a stale file is healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Remove,
    /// It may be somebody's source, or nobody knows whether it would be made again: it is made older than everything.
    Age,
    /// No build tool made it, so that none would make it again: nothing.
    Leave,
}

/// What is to be done so that stale files are made again.
#[derive(Debug)]
pub struct Plan {
    /// For each stale file.
    pub ways: Vec<Way>,
    /// Targets that are not stale themselves, by which the build tool knows whether to run a step that leaves something
    /// stale.
    besides: Vec<(PathBytes, Way)>,
}

impl Plan {
    /// Decides. `declared` is what the build tool that comes next was found to declare.
    ///
    /// # Errors
    /// Git does not say which files are sources.
    pub fn new(
        all: &[Stale],
        declared: Option<&Declared>,
        cache: &CacheHandle,
        config: &Config,
    ) -> Result<Self, String> {
        let tracked = if all.is_empty() { None } else { places::tracked(&config.root)? }.unwrap_or_default();
        let p = Planner { all, steps: Steps::new(declared, cache.store.key()), declared, tracked, cache };
        let (ways, besides): (Vec<Way>, Vec<_>) = all.iter().map(|s| p.way(s)).unzip();
        let listed = |path: &PathBytes| all.iter().any(|s| s.path == *path);
        let mut besides: Vec<_> = besides.into_iter().flatten().filter(|(path, _)| !listed(path)).collect();
        besides.sort_by(|a, b| a.0.cmp(&b.0));
        besides.dedup();
        Ok(Self { ways, besides })
    }

    /// Each file with what is done to it and why, in order: targets go before what stands behind them, so that a step
    /// is run again whenever something of it is missing.
    pub(crate) fn actions<'a>(&'a self, all: &'a [Stale]) -> Vec<(&'a PathBytes, Way, &'a str)> {
        let besides = self.besides.iter().map(|(p, way)| (p, *way, "its step leaves something stale"));
        besides.chain(all.iter().zip(&self.ways).map(|(s, way)| (&s.path, *way, &s.why[..]))).collect()
    }
}

/// The steps that make files, by what they make and by what they execute.
#[derive(Default)]
struct Steps<'a> {
    by_target: FxHashMap<&'a PathBytes, &'a Step>,
    by_command: FxHashMap<Digest, Vec<&'a Step>>,
    is_make: bool,
}

impl<'a> Steps<'a> {
    fn new(declared: Option<&'a Declared>, key: &[u8; 32]) -> Self {
        let mut s = Self { is_make: declared.is_some_and(|d| d.tool == Tool::Make), ..Self::default() };
        // A step without commands is none of the goals, as make sees them.
        for step in declared.iter().flat_map(|d| &d.steps).filter(|s| s.commands.iter().any(|c| !c.is_empty())) {
            if !step.phony {
                s.by_target.extend(step.outputs.iter().map(|o| (o, step)));
            }
            step_keys(step, key).into_iter().for_each(|k| s.by_command.entry(k).or_default().push(step));
        }
        s
    }

    /// The steps that execute this command.
    fn of(&self, [command, asked]: &[Digest; 2]) -> &[&'a Step] {
        let asked = || self.by_command.get(asked).filter(|_| self.is_make);
        self.by_command.get(command).or_else(asked).map_or(&[], Vec::as_slice)
    }
}

struct Planner<'a> {
    all: &'a [Stale],
    steps: Steps<'a>,
    declared: Option<&'a Declared>,
    tracked: FxHashSet<PathBytes>,
    cache: &'a CacheHandle,
}

impl Planner<'_> {
    fn way(&self, s: &Stale) -> (Way, Vec<(PathBytes, Way)>) {
        if s.product.tool.is_empty() {
            return (Way::Leave, Vec::new());
        }
        let may_go = self.may_go(&s.path, &s.product);
        let or_age = |goes| if goes { Way::Remove } else { Way::Age };
        if self.steps.by_target.contains_key(&s.path) {
            return (or_age(may_go), Vec::new());
        }
        let steps = self.steps.of(&s.product.keys);
        let targets = steps.iter().filter(|t| !t.phony).flat_map(|t| &t.outputs).filter(|t| FileStat::of(t).is_some());
        let besides: Vec<(PathBytes, Way)> = targets.map(|t| (t.clone(), or_age(self.target_may_go(t)))).collect();
        let goes = may_go && !steps.is_empty() && besides.iter().all(|(_, way)| *way == Way::Remove);
        (or_age(goes), besides)
    }

    fn target_may_go(&self, path: &PathBytes) -> bool {
        let stale = self.all.iter().find(|s| s.path == *path).map(|s| self.may_go(path, &s.product));
        stale.unwrap_or_else(|| self.cache.store.product(path).is_some_and(|p| self.may_go(path, &p)))
    }

    /// Is it a product and nothing else?
    fn may_go(&self, path: &PathBytes, p: &Product) -> bool {
        !p.tool.is_empty()
            && p.created
            && !self.tracked.contains(path)
            && !self.is_build_file(path)
            && is_untouched(path, p)
    }

    /// Does a build tool read its rules there?
    fn is_build_file(&self, path: &PathBytes) -> bool {
        let name = worker::tools::base_name(path);
        let known = matches!(
            name,
            b"Makefile" | b"makefile" | b"GNUmakefile" | b"CMakeCache.txt" | b"config.status" | b"configure"
        );
        known
            || [&b".mk"[..], b".make", b".ninja", b".cmake"].iter().any(|e| name.ends_with(e))
            || self.declared.is_some_and(|d| d.files.contains(path))
    }
}

/// What happened to one file.
pub struct Healed<'a> {
    pub path: &'a PathBytes,
    pub why: &'a str,
    pub way: Way,
    pub outcome: std::io::Result<()>,
}

/// Makes the build tool make these files again.
///
/// # Errors
/// What is done cannot be noted: nothing was done.
pub fn heal<'a>(all: &'a [Stale], plan: &'a Plan, aside: &Aside) -> std::io::Result<Vec<Healed<'a>>> {
    let actions = plan.actions(all);
    let done = |(path, way): (&PathBytes, Way)| match way {
        Way::Remove => Some((path.clone(), Done::Removed)),
        Way::Age => FileStat::of(path).map(|s| (path.clone(), Done::Aged(s.mtime))),
        Way::Leave => None,
    };
    let todo: Vec<(PathBytes, Done)> = actions.iter().filter_map(|(p, way, _)| done((p, *way))).collect();
    let mut outcomes: FxHashMap<PathBytes, std::io::Result<()>> =
        todo.iter().map(|(p, _)| p.clone()).zip(aside.put(&todo)?).collect();
    let healed = |(path, way, why): (&'a PathBytes, Way, &'a str)| Healed {
        path,
        why,
        way,
        outcome: outcomes.remove(path).unwrap_or(Ok(())),
    };
    Ok(actions.into_iter().map(healed).collect())
}
