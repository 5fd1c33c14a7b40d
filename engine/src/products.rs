//! Is this tree what its inputs make? What each file was observed to depend on, against what is there now.
//!
//! A build tool looks at the times of what its build files name. The observations of the result that a file is of name everything: headers that
//! nobody declares, the compiler, listed directories, variables. Knows nothing of build tools, but for the commands that a makefile has now.

use crate::config::Config;
use crate::file_state::FileStates;
use crate::frontend::{self, ask::Sandbox};
use crate::frontend::{Declared, executed_key};
use crate::pip::Static;
use crate::redact::{one_line, redact};
use crate::run::{CacheHandle, Engine};
use crate::world::World;
use cache::store::short;
use cache::{Digest, FileStat, Observation, PathBytes, Product};
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

impl Engine {
    /// Notes which result these files are of, and whether there was something of that name before.
    pub(crate) fn note_products<'a>(
        &self,
        fixed: &Static,
        (strong, path_set, values): &(Digest, Digest, Vec<u64>),
        outputs: impl Iterator<Item = (&'a PathBytes, bool)>,
    ) {
        let Some(cache) = self.cache.as_ref().filter(|_| self.switches.write) else { return };
        let (mut outside, mut tool, mut keys) = (None, None, None);
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
                command: one_line(&redact(&fixed.argv, &fixed.env)),
                cwd: fixed.cwd.to_vec(),
                tool: tool.get_or_insert_with(|| build_tool(fixed.parent)).clone(),
                inherited: inherited.clone(),
                environment: *environment,
                created: before.map_or(!was_there, |b| b.created),
                keys: *keys.get_or_insert_with(|| command_keys(&fixed.argv, cache.store.key())),
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

/// The command of a product, so that it can be compared and not read.
fn command_keys(argv: &[Vec<u8>], key: &[u8; 32]) -> [Digest; 2] {
    let command = executed_key(argv);
    let asked = frontend::make::key_with_make(&command, b"make");
    [command, asked].map(|c| one_key(key, &c))
}

fn one_key(key: &[u8; 32], command: &[u8]) -> Digest {
    Digest::keyed(key, std::iter::once(command))
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

/// The files below the workspace that are not what their inputs make now, and of how many this cannot be told, because the cache has
/// forgotten their results. `declared` is what the build tool that will be used declares.
pub fn stale(cache: &CacheHandle, config: &Config, declared: Option<&Declared>) -> cache::Result<(Vec<Stale>, usize)> {
    let files = FileStates::new(&[config.cache_dir.as_path()]);
    let env = own_environment();
    let mut known: FxHashMap<(Digest, Vec<u8>), Judged> = FxHashMap::default();
    let now = declared.map(|d| Commands::new(d, cache.store.key())).unwrap_or_default();
    let (mut out, mut unknown) = (Vec::new(), 0);
    for (path, product) in cache.store.products(config.root.as_os_str().as_encoded_bytes())? {
        if FileStat::of(&path).is_none() {
            continue;
        }
        let key = (product.strong, product.cwd.clone());
        let judged = match known.get(&key) {
            Some(j) => j.clone(),
            None => {
                let world = World {
                    files: &files,
                    store: Some(&cache.store),
                    key: cache.store.key(),
                    env: &env,
                    cwd: &product.cwd,
                    pass: &config.pass,
                    seen: std::cell::RefCell::default(),
                };
                let j = changed(&product, cache, &world)?;
                known.insert(key, j.clone());
                j
            }
        };
        let why = match judged {
            Judged::Changed(why) => Some(why),
            _ if now.differs(&path, &product.keys) => Some("its command is another one now".to_owned()),
            Judged::Unknown => {
                unknown += 1;
                None
            }
            Judged::Same => None,
        };
        out.extend(why.map(|why| Stale { path, why, product }));
    }
    Ok((out, unknown))
}

#[derive(Clone)]
enum Judged {
    Same,
    Changed(String),
    /// The cache has forgotten what it depended on.
    Unknown,
}

/// What the result depended on and is different now.
fn changed(p: &Product, cache: &CacheHandle, world: &World<'_>) -> cache::Result<Judged> {
    let (Some(set), Some(entry)) = (cache.store.path_set(&p.path_set)?, cache.store.entry(&p.strong)?) else { return Ok(Judged::Unknown) };
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
    let mut pairs = (0u32..).zip(set.observations().iter().zip(&p.values)).filter(|(_, (o, _))| counts(o));
    let now = |o: &Observation| short(&world.evaluate(o).unwrap_or(Digest([0; 32])));
    let differs = |i: &u32, o: &Observation, v: u64| {
        let now = now(o);
        now != v && settled.get(i) != Some(&now)
    };
    let found = pairs.find(|(i, (o, v))| differs(i, o, **v)).map(|(_, (o, _))| o.describe());
    let found = found.or_else(|| p.environment.is_some_and(|v| v != now(&Observation::EnvAll)).then(|| Observation::EnvAll.describe()));
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
            // With `.ONESHELL` all of them are one text.
            let whole = s.commands.join(&b' ');
            let all: Vec<&[u8]> = s.commands.iter().map(Vec::as_slice).chain([&whole[..]]).collect();
            let all = all.into_iter().filter(|c| !c.is_empty()).flat_map(|c| {
                let words: Vec<Vec<u8>> = shlex::bytes::Shlex::new(c).collect();
                [c.to_vec(), frontend::command_key(&words.join(&b' '))]
            });
            let all: Vec<Digest> = all.map(|c| one_key(key, &c)).collect();
            s.outputs.iter().for_each(|o| by_target.entry(o).or_default().extend(&all));
        }
        Self { by_target, is_make: d.tool == frontend::Tool::Make }
    }

    /// Is the command that made this target none of those that it has now?
    fn differs(&self, path: &PathBytes, [command, asked]: &[Digest; 2]) -> bool {
        let Some(now) = self.by_target.get(path).filter(|now| !now.is_empty()) else { return false };
        !(now.contains(command) || self.is_make && now.contains(asked))
    }
}

/// Prints inode, times and name of the files of a list, runs the build, prints them again, and its exit code. Records end with a NUL; an
/// empty one ends a list.
const TRY: &str = r#"
list=$1; shift
look() { xargs -0 stat --printf='%i %y %z\t%n\0' < "$list" 2>/dev/null; printf '\0'; }
look; "$@" >/dev/null 2>&1; code=$?; look; printf '%s' "$code"
"#;

/// Which of these files the build tool would not make again: tried with the build command, in a layer over the tree that is thrown away.
///
/// # Errors
/// There can be no layer here, or the build fails in it: nothing can be said then.
pub fn unnoticed(all: &[Stale], command: &[OsString], cwd: &std::path::Path, config: &Config) -> Result<Vec<bool>, String> {
    let sandbox = Sandbox::new(&config.cache_dir, &config.root)?;
    let list = config.cache_dir.join(format!("check-{}", std::process::id()));
    let names: Vec<u8> = all.iter().flat_map(|s| s.path.iter().copied().chain([0])).collect();
    std::fs::write(&list, names).map_err(|e| format!("`{}`: {e}", list.display()))?;
    let mut words: Vec<OsString> = ["sh", "-c", TRY, "sh"].map(OsString::from).into();
    words.push(list.clone().into());
    words.extend(command.iter().cloned());
    let out = sandbox.run(&words, cwd, cwd, std::env::vars_os(), None);
    let _ = std::fs::remove_file(&list);
    let out = out?;
    let mut records = out.split(|b| *b == 0);
    let mut look = || -> FxHashMap<&[u8], &[u8]> {
        let some = records.by_ref().take_while(|r| !r.is_empty());
        some.filter_map(|r| r.iter().position(|b| *b == b'\t').map(|cut| (&r[cut + 1..], &r[..cut]))).collect()
    };
    let (before, after) = (look(), look());
    if before.len() != all.len() {
        return Err("xargs and stat do not tell the state of the files there".into());
    }
    match records.next() {
        Some(b"0") => Ok(all.iter().map(|s| after.get(&s.path[..]) == before.get(&s.path[..])).collect()),
        Some(code) if !code.is_empty() => Err(format!("the build fails there, with exit code {}", String::from_utf8_lossy(code))),
        _ => Err("the trial ended early".into()),
    }
}
