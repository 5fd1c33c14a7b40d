//! Is this tree what its inputs make? What each file was observed to depend on, against what is there now.
//!
//! A build tool looks at the times of what its build files name. The observations of the result that a file is of name
//! everything: headers that nobody declares, the compiler, listed directories, variables. Knows nothing of build tools,
//! but for the commands that a makefile has now.

use crate::config::Config;
use crate::frontend::{self, Declared, executed_key};
use crate::pip::Static;
use crate::redact::{one_line, redact};
use crate::run::{CacheHandle, Engine};
use cache::store::short;
use cache::{Digest, FileStat, Observation, Output, OutputKind, PathBytes, PathSet, Product};
use rustc_hash::{FxHashMap, FxHashSet};
use worker::environment;
use worker::file_state::FileStates;
use worker::world::World;

/// A file that is no longer what its inputs make.
#[derive(Clone, Debug)]
pub struct Stale {
    pub path: PathBytes,
    /// What is different.
    pub why: String,
    pub product: Product,
}

/// A result that was just made or served.
pub(crate) struct ResultOf<'a> {
    pub strong: Digest,
    pub path_set: Digest,
    /// What the path set names.
    pub set: &'a PathSet,
    /// The short values of that.
    pub values: &'a [u64],
}

impl Engine {
    /// Notes that these outputs are of this result, and so is what earlier runs of the same command have made and it
    /// has looked at and left alone. `was_there`: was there something of that name before it ran?
    pub(crate) fn note_products(
        &self,
        fixed: &Static,
        r: &ResultOf<'_>,
        outputs: &[Output],
        was_there: impl Fn(&PathBytes) -> bool,
    ) {
        let Some(cache) = self.cache.as_ref().filter(|_| self.switches.write) else { return };
        let keys = command_keys(&fixed.argv, cache.store.key());
        let made = outputs.iter().filter_map(|o| Some((&o.path, left_there(o)?)));
        let mut files: Vec<(PathBytes, Digest, Option<Product>)> =
            made.map(|(p, content)| (p.clone(), content, self.known_product(p, cache))).collect();
        let looked_at = (0u32..).zip(r.set.observations()).filter_map(|(i, o)| match o {
            Observation::FileContent(p) | Observation::FileProbe { path: p, .. } | Observation::Symlink(p)
                if self.in_workspace(p) =>
            {
                Some((i, p))
            }
            _ => None,
        });
        let mut own = Vec::new();
        for (i, path) in looked_at {
            if outputs.iter().any(|o| o.path == *path) {
                continue;
            }
            if let Some(before) = self.known_product(path, cache).filter(|b| b.keys == keys && *b.cwd == *fixed.cwd) {
                own.push(i);
                files.push((path.clone(), before.content, Some(before)));
            }
        }
        files.retain(|(_, content, before)| {
            before.as_ref().is_none_or(|b| b.strong != r.strong || b.content != *content)
        });
        if files.is_empty() {
            return;
        }
        let (inherited, environment) = self.outside(r.set, fixed);
        let tool = build_tool(fixed.parent);
        let command = one_line(&redact(&fixed.argv, &fixed.env));
        let of = |(path, content, before): (PathBytes, Digest, Option<Product>)| {
            let created = before.map_or_else(|| !was_there(&path), |b| b.created);
            let product = Product {
                strong: r.strong,
                path_set: r.path_set,
                values: r.values.to_vec(),
                settled: Vec::new(),
                own: own.clone(),
                content,
                command: command.clone(),
                keys,
                cwd: fixed.cwd.to_vec(),
                tool: tool.clone(),
                inherited: inherited.clone(),
                environment,
                created,
            };
            (path, Some(product))
        };
        self.products.lock().expect("products").extend(files.into_iter().map(of));
    }

    /// These names were written by somebody whose results are not known: a command that was not looked up, or whose
    /// result is not stored.
    pub(crate) fn forget_products<'a>(&self, paths: impl Iterator<Item = &'a PathBytes>) {
        let ours = paths.filter(|p| self.in_workspace(p));
        self.products.lock().expect("products").extend(ours.map(|p| (p.clone(), None)));
    }

    /// Which result a file is of, as far as this run knows.
    fn known_product(&self, path: &PathBytes, cache: &CacheHandle) -> Option<Product> {
        let noted = self.products.lock().expect("products").get(path).cloned();
        noted.unwrap_or_else(|| cache.store.product(path))
    }

    /// What the files of this run are, now that it is over.
    pub(crate) fn take_products(&self) -> Vec<(PathBytes, Option<Product>)> {
        let noted = std::mem::take(&mut *self.products.lock().expect("products"));
        let Some(cache) = &self.cache else { return Vec::new() };
        let mut all: Vec<_> =
            noted.into_iter().filter(|(path, p)| p.is_some() || cache.store.product(path).is_some()).collect();
        let names: FxHashSet<PathBytes> = all.iter().map(|(path, _)| path.clone()).collect();
        let mut known: FxHashMap<Digest, Vec<(u32, u64)>> = FxHashMap::default();
        for p in all.iter_mut().filter_map(|(_, p)| p.as_mut()) {
            p.settled = known.entry(p.strong).or_insert_with(|| self.settled_values(p, &names, cache)).clone();
        }
        all
    }

    /// What this build has filled since the result was stored: `made` are the files that it made.
    fn settled_values(&self, p: &Product, made: &FxHashSet<PathBytes>, cache: &CacheHandle) -> Vec<(u32, u64)> {
        let set = cache.store.path_set(&p.path_set).ok().flatten().unwrap_or_default();
        let world = self.world(&[], &p.cwd);
        // The content of a file that has changed since is another matter.
        let fills = |o: &Observation| match o {
            Observation::DirListing(..) | Observation::DirSearch { .. } => true,
            Observation::Absent(path) => made.contains(path),
            Observation::FileProbe { path, times } => *times && FileStat::of(path).is_some_and(|s| s.is_dir()),
            _ => false,
        };
        let numbered = (0u32..).zip(set.observations().iter().zip(&p.values)).filter(|(_, (o, _))| fills(o));
        let now = numbered.map(|(i, (o, v))| (i, *v, world.evaluate(o).map_or(0, |v| short(&v))));
        now.filter(|(_, then, now)| then != now).map(|(i, _, now)| (i, now)).collect()
    }

    /// The variables among its observations that it had as this process has them; the value of all of them, if all
    /// count.
    fn outside(&self, set: &PathSet, fixed: &Static) -> (Vec<Vec<u8>>, Option<u64>) {
        use std::os::unix::ffi::OsStrExt;
        let names = set.observations().iter().filter_map(|o| if let Observation::Env(n) = o { Some(n) } else { None });
        let theirs =
            |n: &[u8]| fixed.env.iter().map(|v| environment::split(v)).find(|(k, _)| *k == n).map(|(_, v)| v.to_vec());
        let ours = |n: &[u8]| std::env::var_os(std::ffi::OsStr::from_bytes(n)).map(|v| v.as_bytes().to_vec());
        let all = set.observations().contains(&Observation::EnvAll).then(|| {
            let env = own_environment();
            self.world(&env, &fixed.cwd).evaluate(&Observation::EnvAll).map_or(0, |v| short(&v))
        });
        (names.filter(|n| !n.ends_with(b"*") && theirs(n) == ours(n)).cloned().collect(), all)
    }
}

/// The command of a product, so that it can be compared and not read.
fn command_keys(argv: &[Vec<u8>], key: &[u8; 32]) -> [Digest; 2] {
    let command = executed_key(argv);
    let asked = frontend::make::key_with_make(&command, b"make");
    [command, asked].map(|c| one_key(key, &c))
}

fn one_key(key: &[u8; 32], command: &[u8]) -> Digest {
    Digest::keyed(key, std::iter::once(command))
}

/// What [`command_keys`] may be of the commands of a step; nothing if it has none.
pub(crate) fn step_keys(s: &frontend::Step, key: &[u8; 32]) -> FxHashSet<Digest> {
    s.keys().iter().filter(|k| !k.is_empty()).map(|k| one_key(key, k)).collect()
}

/// What an output leaves at its name: the digest of the bytes of a file, or of the target of a symbolic link.
fn left_there(o: &Output) -> Option<Digest> {
    match &o.kind {
        OutputKind::File { digest, .. } => Some(*digest),
        OutputKind::Symlink { target, .. } => Some(Digest::of(target)),
        OutputKind::Directory { .. } | OutputKind::Deleted => None,
    }
}

/// The innermost build tool that looks at times among a process and those that launched it.
fn build_tool(mut process: Option<i32>) -> Vec<u8> {
    while let Some(pid) = process.filter(|p| *p > 1 && p.cast_unsigned() != std::process::id()) {
        let name = tracer::program_name(pid).unwrap_or_default();
        if frontend::is_make(&name) || frontend::is_ninja(&name) {
            return name;
        }
        process = tracer::parent_of(pid);
    }
    Vec::new()
}

/// The variables of this process.
pub fn own_environment() -> Vec<Vec<u8>> {
    std::env::vars_os().map(|(k, v)| [k.as_encoded_bytes(), b"=", v.as_encoded_bytes()].concat()).collect()
}

/// The files below the workspace that are not what their inputs make now, and of how many this cannot be told, because
/// the cache has forgotten their results. `declared` is what the build tool that will be used declares.
pub fn stale(cache: &CacheHandle, config: &Config, declared: Option<&Declared>) -> cache::Result<(Vec<Stale>, usize)> {
    let files = FileStates::new(&[config.cache_dir.as_path()]);
    let env = own_environment();
    let mut known: FxHashMap<(Digest, Vec<u8>), Judged> = FxHashMap::default();
    let now = declared.map(|d| Commands::new(d, cache.store.key())).unwrap_or_default();
    let mut judge = |path: &PathBytes, p: &Product, gone: &FxHashMap<PathBytes, String>| -> cache::Result<Judged> {
        let key = (p.strong, p.cwd.clone());
        let judged = match known.get(&key) {
            Some(j) => j.clone(),
            None => {
                let (store, secret) = (Some(&cache.store), cache.store.key());
                let seen = std::cell::RefCell::default();
                let world =
                    World { files: &files, store, key: secret, env: &env, cwd: &p.cwd, pass: &config.pass, seen };
                let j = changed(p, cache, &world, gone)?;
                known.insert(key, j.clone());
                j
            }
        };
        Ok(match judged {
            Judged::Changed(why) => Judged::Changed(why),
            _ if now.differs(path, &p.keys) => Judged::Changed("its command is another one now".to_owned()),
            other => other,
        })
    };
    let rows = cache.store.products(config.root.as_os_str().as_encoded_bytes())?;
    // What a later command has moved or removed is not there to be stale, and what was made from it is.
    let (there, gone): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(path, _)| FileStat::of(path).is_some());
    let mut stale_and_gone = FxHashMap::default();
    for (path, product) in gone {
        if let Judged::Changed(why) = judge(&path, &product, &stale_and_gone)? {
            stale_and_gone.insert(path, why);
        }
    }
    let (mut out, mut unknown) = (Vec::new(), 0);
    for (path, product) in there {
        match judge(&path, &product, &stale_and_gone)? {
            Judged::Changed(why) => out.push(Stale { path, why, product }),
            Judged::Unknown => unknown += 1,
            Judged::Same => {}
        }
    }
    Ok((out, unknown))
}

impl Stale {
    /// Is there what its command has left?
    pub fn is_untouched(&self) -> bool {
        is_untouched(&self.path, &self.product)
    }
}

/// Is there what the command has left that made it?
pub(crate) fn is_untouched(path: &PathBytes, product: &Product) -> bool {
    match FileStat::of(path) {
        Some(s) if s.is_file() => {
            cache::collect::hash_file(path).ok().flatten().is_some_and(|(c, _)| c.digest == product.content)
        }
        Some(s) if !s.is_dir() => cache::collect::read_link(path).is_ok_and(|t| Digest::of(&t) == product.content),
        _ => false,
    }
}

#[derive(Clone)]
enum Judged {
    Same,
    Changed(String),
    /// The cache has forgotten what it depended on.
    Unknown,
}

/// What the result depended on and is different now. `gone`: stale files that are not there any more, and why they are.
fn changed(
    p: &Product,
    cache: &CacheHandle,
    world: &World<'_>,
    gone: &FxHashMap<PathBytes, String>,
) -> cache::Result<Judged> {
    let (Some(set), Some(entry)) = (cache.store.path_set(&p.path_set)?, cache.store.entry(&p.strong)?) else {
        return Ok(Judged::Unknown);
    };
    let read = |o: &Observation| if let Observation::FileContent(p) = o { gone.get(p).cloned() } else { None };
    if let Some(why) = set.observations().iter().find_map(read) {
        return Ok(Judged::Changed(why));
    }
    // What it read before it changed it (`ar r`, `strip`) is not there any more.
    let own = entry.outputs;
    let counts = |o: &Observation| match o {
        o if o.path().is_some_and(|p| own.iter().any(|out| *out.path == *p)) => false,
        Observation::Env(n) => p.inherited.contains(n),
        // The build has added to it: what is around the build is compared, below.
        Observation::EnvAll => false,
        _ => true,
    };
    let settled: FxHashMap<u32, u64> = p.settled.iter().copied().collect();
    let mut pairs =
        (0u32..).zip(set.observations().iter().zip(&p.values)).filter(|(i, (o, _))| counts(o) && !p.own.contains(i));
    let now = |o: &Observation| short(&world.evaluate(o).unwrap_or(Digest([0; 32])));
    let differs = |i: &u32, o: &Observation, v: u64| {
        let now = now(o);
        now != v && settled.get(i) != Some(&now)
    };
    let found = pairs.find(|(i, (o, v))| differs(i, o, **v)).map(|(_, (o, _))| o.describe());
    let found = found.or_else(|| {
        p.environment.is_some_and(|v| v != now(&Observation::EnvAll)).then(|| Observation::EnvAll.describe())
    });
    Ok(found.map_or(Judged::Same, Judged::Changed))
}

/// The commands that a build file has for each target.
#[derive(Default)]
struct Commands<'a> {
    by_target: FxHashMap<&'a PathBytes, FxHashSet<Digest>>,
    is_make: bool,
}

impl<'a> Commands<'a> {
    fn new(d: &'a Declared, key: &[u8; 32]) -> Self {
        let mut by_target: FxHashMap<&PathBytes, FxHashSet<Digest>> = FxHashMap::default();
        for s in d.steps.iter().filter(|s| !s.phony) {
            let keys = step_keys(s, key);
            s.outputs.iter().for_each(|o| by_target.entry(o).or_default().extend(&keys));
        }
        Self { by_target, is_make: d.tool == frontend::Tool::Make }
    }

    /// Is the command that made this target none of those that it has now?
    fn differs(&self, path: &PathBytes, [command, asked]: &[Digest; 2]) -> bool {
        let Some(now) = self.by_target.get(path).filter(|now| !now.is_empty()) else { return false };
        !(now.contains(command) || self.is_make && now.contains(asked))
    }
}
