//! Is this tree what its inputs make? What each file was observed to depend on, against what is there now.
//!
//! A build tool looks at the times of what its build files name. The observations of the result that a file is of name everything: headers that
//! nobody declares, the compiler, listed directories, variables. Knows nothing of build tools, but for the commands that a makefile has now.

use crate::config::Config;
use crate::file_state::FileStates;
use crate::frontend::ask::Sandbox;
use crate::frontend::{Declared, executed_key, os_path};
use crate::pip::Static;
use crate::run::{CacheHandle, Engine};
use crate::world::World;
use cache::store::short;
use cache::{Digest, FileStat, Observation, OutputKind, PathBytes, Product};
use rustc_hash::{FxHashMap, FxHashSet};
use std::ffi::OsString;
use worker::environment;

/// A file that is no longer what its inputs make.
#[derive(Clone, Debug)]
pub struct Stale {
    pub path: PathBytes,
    /// What is different.
    pub why: String,
    pub product: Product,
}

/// What happened to a stale file, so that the build tool makes it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Healed {
    /// It is gone; its content is in the cache.
    Removed,
    /// It may be somebody's source: it was made older than everything.
    Aged,
}

impl Engine {
    /// Notes which result these files are of, and whether there was something of that name before.
    pub(crate) fn note_products<'a>(
        &self,
        fixed: &Static,
        (strong, path_set, values): &(Digest, Digest, Vec<u64>),
        outputs: impl Iterator<Item = (&'a PathBytes, bool)>,
    ) {
        let Some(cache) = self.cache.as_ref().filter(|_| self.switches.write) else { return };
        let mut outside = None;
        let mut new = Vec::new();
        for (path, was_there) in outputs {
            let before = cache.store.product(path);
            if before.as_ref().is_some_and(|p| p.strong == *strong) {
                continue;
            }
            let (inherited, environment) = outside.get_or_insert_with(|| self.outside(path_set, fixed, cache));
            let product = Product {
                strong: *strong,
                path_set: *path_set,
                values: values.clone(),
                settled: Vec::new(),
                command: executed_key(&fixed.argv),
                cwd: fixed.cwd.to_vec(),
                inherited: inherited.clone(),
                environment: *environment,
                created: before.map_or(!was_there, |b| b.created),
            };
            new.push((path.clone(), product));
        }
        self.products.lock().expect("products").extend(new);
    }

    /// What the files of this run are, now that it is over.
    pub(crate) fn take_products(&self) -> Vec<(PathBytes, Product)> {
        let mut all = std::mem::take(&mut *self.products.lock().expect("products"));
        let Some(cache) = &self.cache else { return all };
        let names: FxHashSet<PathBytes> = all.iter().map(|(path, _)| path.clone()).collect();
        let mut known: FxHashMap<Digest, Vec<(u32, u64)>> = FxHashMap::default();
        for (_, p) in &mut all {
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

    /// The variables among its observations that it had as this process has them; the value of all of them, if all count.
    fn outside(&self, path_set: &Digest, fixed: &Static, cache: &CacheHandle) -> (Vec<Vec<u8>>, Option<u64>) {
        use std::os::unix::ffi::OsStrExt;
        let set = cache.store.path_set(path_set).ok().flatten().unwrap_or_default();
        let names = set.observations().iter().filter_map(|o| if let Observation::Env(n) = o { Some(n) } else { None });
        let theirs = |n: &[u8]| fixed.env.iter().map(|v| environment::split(v)).find(|(k, _)| *k == n).map(|(_, v)| v.to_vec());
        let ours = |n: &[u8]| std::env::var_os(std::ffi::OsStr::from_bytes(n)).map(|v| v.as_bytes().to_vec());
        let all = set.observations().contains(&Observation::EnvAll).then(|| {
            let env = own_environment();
            self.world(&env, &fixed.cwd).evaluate(&Observation::EnvAll).map_or(0, |v| short(&v))
        });
        (names.filter(|n| !n.ends_with(b"*") && theirs(n) == ours(n)).cloned().collect(), all)
    }
}

fn own_environment() -> Vec<Vec<u8>> {
    std::env::vars_os().map(|(k, v)| [k.as_encoded_bytes(), b"=", v.as_encoded_bytes()].concat()).collect()
}

/// The files below the workspace that are not what their inputs make now. `commands` are those of the makefiles that will be used.
pub fn stale(cache: &CacheHandle, config: &Config, commands: &[Declared]) -> cache::Result<Vec<Stale>> {
    let files = FileStates::new(&[config.cache_dir.as_path()]);
    let env = own_environment();
    let mut known: FxHashMap<(Digest, Vec<u8>), Option<String>> = FxHashMap::default();
    let now = Commands::new(commands);
    let mut out = Vec::new();
    for (path, product) in cache.store.products(config.root.as_os_str().as_encoded_bytes())? {
        if FileStat::of(&path).is_none() {
            continue;
        }
        let why = known.entry((product.strong, product.cwd.clone())).or_insert_with(|| {
            let world = World {
                files: &files,
                store: Some(&cache.store),
                key: cache.store.key(),
                env: &env,
                cwd: &product.cwd,
                pass: &config.pass,
            };
            changed(&product, cache, &world)
        });
        let why = why.clone().or_else(|| now.differs(&path, &product.command).then(|| "its command is another one now".to_owned()));
        if let Some(why) = why {
            out.push(Stale { path, why, product });
        }
    }
    Ok(out)
}

/// What the result depended on and is different now.
fn changed(p: &Product, cache: &CacheHandle, world: &World<'_>) -> Option<String> {
    // Without the names nothing can be told: it is made again when the build tool wants it.
    let set = cache.store.path_set(&p.path_set).ok().flatten()?;
    // What it read before it changed it (`ar r`, `strip`) is not there any more.
    let own = cache.store.entry(&p.strong).ok().flatten()?.outputs;
    let counts = |o: &Observation| match o {
        o if o.path().is_some_and(|p| own.iter().any(|out| *out.path == *p)) => false,
        Observation::Env(n) => p.inherited.contains(n),
        // The build has added to it: what is around the build is compared, below.
        Observation::EnvAll => false,
        _ => true,
    };
    let settled: FxHashMap<u32, u64> = p.settled.iter().copied().collect();
    let mut pairs = (0u32..).zip(set.observations().iter().zip(&p.values)).filter(|(_, (o, _))| counts(o));
    let now = |o: &Observation| short(&world.evaluate(o).unwrap_or(Digest([0; 32])));
    let differs = |i: &u32, o: &Observation, v: u64| {
        let now = now(o);
        now != v && settled.get(i) != Some(&now)
    };
    let found = pairs.find(|(i, (o, v))| differs(i, o, **v)).map(|(_, (o, _))| o.describe());
    found.or_else(|| p.environment.is_some_and(|v| v != now(&Observation::EnvAll)).then(|| Observation::EnvAll.describe()))
}

/// The commands that build files have for each target.
struct Commands<'a> {
    by_target: FxHashMap<&'a PathBytes, FxHashSet<Vec<u8>>>,
}

impl<'a> Commands<'a> {
    fn new(all: &'a [Declared]) -> Self {
        let mut by_target: FxHashMap<&PathBytes, FxHashSet<Vec<u8>>> = FxHashMap::default();
        for s in all.iter().flat_map(|d| &d.steps).filter(|s| !s.phony) {
            for o in &s.outputs {
                let keys = by_target.entry(o).or_default();
                for c in &s.commands {
                    let words: Vec<Vec<u8>> = shlex::bytes::Shlex::new(c).collect();
                    keys.extend([c.clone(), crate::frontend::command_key(&words.join(&b' '))]);
                }
            }
        }
        Self { by_target }
    }

    /// Is the command that made this target none of those that it has now?
    fn differs(&self, path: &PathBytes, command: &[u8]) -> bool {
        self.by_target.get(path).is_some_and(|now| !now.is_empty() && !now.contains(command))
    }
}

/// Prints inode and times of the files of a list, runs the build, prints them again.
const TRY: &str = r#"
list=$1; shift
look() { xargs -0 stat --printf='%i %y %z %n\0' < "$list" 2>/dev/null; printf '\0'; }
look; "$@" >/dev/null 2>&1; look
"#;

/// Which of these files the build tool would not make again: tried with the build command, in a layer over the tree that is thrown away.
pub fn unnoticed(all: Vec<Stale>, command: &[String], cwd: &std::path::Path, config: &Config) -> Result<Vec<Stale>, String> {
    let sandbox = Sandbox::new(&config.cache_dir)?;
    let list = config.cache_dir.join(format!("check-{}", std::process::id()));
    let names: Vec<u8> = all.iter().flat_map(|s| s.path.iter().copied().chain([0])).collect();
    std::fs::write(&list, names).map_err(|e| format!("`{}`: {e}", list.display()))?;
    let mut words: Vec<OsString> = ["sh", "-c", TRY, "sh"].map(OsString::from).into();
    words.push(list.clone().into());
    words.extend(command.iter().map(OsString::from));
    let covered: Vec<&std::path::Path> =
        [Some(&*config.root), (!cwd.starts_with(&config.root)).then_some(cwd)].into_iter().flatten().collect();
    let out = sandbox.run(&words, cwd, &covered, std::env::vars_os());
    let _ = std::fs::remove_file(&list);
    let out = out?;
    let half = out.windows(2).position(|w| w == [0, 0]).map_or(0, |i| i + 1);
    let looks = |part: &[u8]| part.split(|b| *b == 0).filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect::<FxHashSet<_>>();
    let (before, after) = (looks(&out[..half]), looks(&out[half..]));
    let same = |path: &PathBytes| before.iter().any(|l| l.ends_with(&[b" ", &path[..]].concat()) && after.contains(l));
    Ok(all.into_iter().filter(|s| same(&s.path)).collect())
}

/// Makes the build tool make these files again: removes what is provably a product, makes older what might be a source.
///
/// A product was not there before a command first made it, is not tracked by git, and still has the content that the cache has.
pub fn heal(all: &[Stale], cache: &CacheHandle, config: &Config) -> Vec<(PathBytes, std::io::Result<Healed>)> {
    let tracked = if all.is_empty() { None } else { crate::violation::place::tracked(&config.root) }.unwrap_or_default();
    all.iter()
        .map(|s| {
            let sure = s.product.created && !tracked.contains(&s.path) && is_stored(s, cache);
            let path = os_path(&s.path);
            let done = if sure { std::fs::remove_file(path).map(|()| Healed::Removed) } else { age(path).map(|()| Healed::Aged) };
            (s.path.clone(), done)
        })
        .collect()
}

/// Are the bytes of the file those that the cache has?
fn is_stored(s: &Stale, cache: &CacheHandle) -> bool {
    let Ok(Some(entry)) = cache.store.entry(&s.product.strong) else { return false };
    let Some(output) = entry.outputs.iter().find(|o| o.path == s.path) else { return false };
    match &output.kind {
        OutputKind::File { digest, .. } => {
            cache.cas.contains(digest) && cache::collect::hash_file(&s.path).ok().flatten().is_some_and(|(c, _)| c.digest == *digest)
        }
        OutputKind::Symlink { target } => cache::collect::read_link(&s.path).is_ok_and(|t| t == *target),
        _ => false,
    }
}

/// The time of a file that is older than whatever it is made from.
fn age(path: &std::path::Path) -> std::io::Result<()> {
    let f = std::fs::File::options().write(true).open(path)?;
    f.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1))
}
