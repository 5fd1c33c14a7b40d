//! Finds the files that are not what their inputs make: compares what each result depended on with what is there now.
//!
//! A build tool looks at the times of the files that its build files name. The observations of a result name everything
//! that it depended on: headers that nobody declares, the compiler, listed directories, variables. What is declared
//! counts here only in so far as a target may have another command now.

use crate::frontend::{Declared, Step, Tool};
use cache::tier::short;
use cache::{CacheHandle, Digest, FileStat, Observation, PathBytes, Product};
use engine::Config;
use engine::products::{command_key, own_environment};
use rustc_hash::{FxHashMap, FxHashSet};
use worker::command::Limits;
use worker::evaluate::Now;
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

/// What [`Product::keys`] may be of the commands of a step; nothing if it has none.
pub(crate) fn step_keys(s: &Step, key: &[u8; 32]) -> FxHashSet<Digest> {
    s.keys().iter().filter(|k| !k.is_empty()).map(|k| command_key(key, k)).collect()
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
                let (store, secret) = (Some(&*cache.store), cache.store.key());
                let (cwd, limits, pass) = (&p.cwd, Limits::own(), &config.pass);
                let world = World { files: &files, store, key: secret, env: &env, cwd, limits, pass };
                let j = changed(p, cache, &Now::new(&world), gone)?;
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
    world: &Now<'_>,
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
        Observation::Env(n) | Observation::Found { variable: n, .. } => p.inherited.contains(n),
        // The build has added to it: what is around the build is compared, below.
        Observation::EnvAll | Observation::EnvJob => false,
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
        Self { by_target, is_make: d.tool == Tool::Make }
    }

    /// Is the command that made this target none of those that it has now?
    fn differs(&self, path: &PathBytes, [command, asked]: &[Digest; 2]) -> bool {
        let Some(now) = self.by_target.get(path).filter(|now| !now.is_empty()) else { return false };
        !(now.contains(command) || self.is_make && now.contains(asked))
    }
}
