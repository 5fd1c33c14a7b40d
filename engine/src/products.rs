//! Which result each file of the workspace is of.
//!
//! A run notes for each file that a pip has made, or looked at and left alone, the result of that pip, and keeps it
//! when it is over. Who wants to know later on whether a tree is what its inputs make (the audit's `stale`) starts from
//! there. Knows nothing of what build files declare.

use crate::asked::Asked;
use crate::event::{Event, Sink};
use crate::run::Engine;
use cache::tier::short;
use cache::{CacheHandle, Digest, FileStat, Observation, Output, OutputKind, PathBytes, PathSet, Product};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Mutex;
use worker::command::Limits;
use worker::evaluate::Now;
use worker::{command_text, drivers, environment};

/// A result that was just made or served.
pub(crate) struct ResultOf<'a> {
    pub strong: Digest,
    pub path_set: Digest,
    /// What the path set names.
    pub set: &'a PathSet,
    /// The short values of that.
    pub values: &'a [u64],
}

/// Files that this run has made or left, and the results that they are of now; `None`: of none that is known.
#[derive(Default)]
pub(crate) struct Products(Mutex<FxHashMap<PathBytes, Option<Product>>>);

impl Sink for Products {
    fn on(&self, event: &Event<'_>) {
        if let Event::Product { path, product } = event {
            self.0.lock().expect("products").insert((*path).clone(), product.cloned());
        }
    }
}

impl Products {
    /// What this run knows of a file; `None`: nothing.
    fn get(&self, path: &PathBytes) -> Option<Option<Product>> {
        self.0.lock().expect("products").get(path).cloned()
    }

    fn take(&self) -> FxHashMap<PathBytes, Option<Product>> {
        std::mem::take(&mut *self.0.lock().expect("products"))
    }
}

impl Engine {
    /// Notes that these outputs are of this result, and so is what earlier runs of the same command have made and it
    /// has looked at and left alone. `was_there`: was there something of that name before it ran?
    pub(crate) fn note_products(
        &self,
        asked: &Asked,
        r: &ResultOf<'_>,
        outputs: &[Output],
        was_there: impl Fn(&PathBytes) -> bool,
    ) {
        let Some(cache) = self.cache.as_ref().filter(|_| self.switches.write) else { return };
        let keys = command_keys(&asked.command.argv, cache.store.key());
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
            if let Some(before) =
                self.known_product(path, cache).filter(|b| b.keys == keys && *b.cwd == *asked.command.cwd)
            {
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
        let (inherited, environment) = self.outside(r.set, asked);
        let tool = build_tool(asked.parent);
        let command = asked.shown();
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
                cwd: asked.command.cwd.to_vec(),
                tool: tool.clone(),
                inherited: inherited.clone(),
                environment,
                created,
            };
            (path, Some(product))
        };
        for (path, product) in files.into_iter().map(of) {
            self.tell(&Event::Product { path: &path, product: product.as_ref() });
        }
    }

    /// These names were written by somebody whose results are not known: a command that was not looked up, or whose
    /// result is not stored.
    pub(crate) fn forget_products<'a>(&self, paths: impl Iterator<Item = &'a PathBytes>) {
        for path in paths.filter(|p| self.in_workspace(p)) {
            self.tell(&Event::Product { path, product: None });
        }
    }

    /// Which result a file is of, as far as this run knows.
    fn known_product(&self, path: &PathBytes, cache: &CacheHandle) -> Option<Product> {
        self.products().get(path).unwrap_or_else(|| cache.store.product(path))
    }

    /// What the files of this run are, now that it is over.
    pub(crate) fn take_products(&self) -> Vec<(PathBytes, Option<Product>)> {
        let noted = self.products().take();
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
        let world = self.world(&[], &p.cwd, Limits::own());
        let world = Now::new(&world);
        // The content of a file that has changed since is another matter.
        let fills = |o: &Observation| match o {
            Observation::DirListing(..)
            | Observation::DirSearch { .. }
            | Observation::DirMatch { .. }
            | Observation::DirCount(..) => true,
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
    fn outside(&self, set: &PathSet, asked: &Asked) -> (Vec<Vec<u8>>, Option<u64>) {
        use std::os::unix::ffi::OsStrExt;
        let names = set.observations().iter().filter_map(|o| match o {
            Observation::Env(n) | Observation::Found { variable: n, .. } => Some(n),
            _ => None,
        });
        let theirs = |n: &[u8]| {
            asked.command.env.iter().map(|v| environment::split(v)).find(|(k, _)| *k == n).map(|(_, v)| v.to_vec())
        };
        let ours = |n: &[u8]| std::env::var_os(std::ffi::OsStr::from_bytes(n)).map(|v| v.as_bytes().to_vec());
        let all = set.observations().contains(&Observation::EnvAll).then(|| {
            let env = own_environment();
            let world = self.world(&env, &asked.command.cwd, &asked.command.limits);
            Now::new(&world).evaluate(&Observation::EnvAll).map_or(0, |v| short(&v))
        });
        (names.filter(|n| !n.ends_with(b"*") && theirs(n) == ours(n)).cloned().collect(), all)
    }
}

/// The command of a product, so that it can be compared and not read.
fn command_keys(argv: &[Vec<u8>], key: &[u8; 32]) -> [Digest; 2] {
    let command = command_text::executed(argv);
    let asked = command_text::with_make_as_colon(&command, b"make");
    [command, asked].map(|c| command_key(key, &c))
}

/// A normalised command, as [`Product::keys`] keep it: with the key of the store, since it may hold secrets.
pub fn command_key(key: &[u8; 32], command: &[u8]) -> Digest {
    Digest::keyed(key, std::iter::once(command))
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
        if drivers::is_make(&name) || drivers::is_ninja(&name) {
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
