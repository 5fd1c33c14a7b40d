//! Files of the machine in which programs look something up: a result depends on the answers, not on what else is
//! there. Otherwise a library that somebody installs would make the whole cache cold.
//!
//! Which file is one, what a pip asked of it, and what it says now. That only questions were asked has to be proven:
//! whoever may have read such a file for itself depends on all of it.

mod accounts;
mod linking;
mod loader_cache;
mod loading;
mod locales;
mod texts;
mod told;
mod who_asks;

pub use accounts::{Accounts, Services};
pub use linking::Linking;
pub use loader_cache::LoaderCache;
pub use loading::Load;
pub use locales::Locales;
pub(crate) use told::Told;

use crate::accesses::Accesses;
use crate::judgement::Context;
use crate::look::Look;
use crate::record::Record;
use crate::tools::base_name;
use bstr::ByteSlice;
use cache::observation::value;
use cache::{Digest, PathBytes, Question, Value};
use locales::ARCHIVE;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use tracer::LOADER_CACHE;
use who_asks::{GROUPS, SERVICES, USERS};

/// What is in an index.
pub enum Index {
    Loader(LoaderCache),
    Accounts(Accounts),
    Services(Services),
    Locales(Locales),
    /// It is not understood: all of it is every answer.
    Unknown(Digest),
}

impl Index {
    /// The file of this name, with these bytes.
    pub fn parse(path: &[u8], bytes: &[u8]) -> Self {
        let known = match path {
            LOADER_CACHE => LoaderCache::parse(bytes).map(Self::Loader),
            USERS => Some(Self::Accounts(Accounts::parse(bytes, accounts::own_users()))),
            GROUPS => Some(Self::Accounts(Accounts::parse(bytes, accounts::own_groups()))),
            ARCHIVE => Locales::parse(bytes).map(Self::Locales),
            SERVICES => Some(Self::Services(Services::parse(bytes))),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Unknown(Digest::of(bytes)))
    }

    /// What it says.
    pub fn answer(&self, question: &Question) -> Value {
        match (self, question) {
            (Self::Loader(l), Question::Library(name)) => l.library(name),
            (Self::Accounts(a), Question::Own) => a.own(),
            (Self::Accounts(a), Question::Number(n)) => a.number(*n),
            (Self::Services(s), Question::Service(of)) => s.service(of),
            (Self::Locales(l), Question::Locale(name)) => l.locale(name),
            (Self::Unknown(digest), _) => value::content(digest, false),
            // Nobody asks that.
            _ => value::absent(),
        }
    }
}

/// What the pip asked, by index. Of one that is not among these it may have read more.
pub(crate) fn questions(
    a: &Accesses,
    names: &FxHashMap<PathBytes, Record>,
    look: &impl Look,
    c: &Context<'_>,
) -> FxHashMap<PathBytes, Vec<Question>> {
    let mut out = FxHashMap::default();
    let is_read = |p: &[u8]| names.get_key_value(p).filter(|(_, r)| r.read && !r.intent);
    if let Some((path, r)) = is_read(LOADER_CACHE)
        && is_of_loader(r, a, names, look, c)
    {
        out.insert(path.clone(), libraries(path, r, a, names, look).into_iter().map(Question::Library).collect());
    }
    if let Some((path, r)) = names.get_key_value(ARCHIVE).filter(|(_, r)| !r.intent)
        && let Some(all) = locales(path, r, a, names, look, c)
    {
        out.insert(path.clone(), all);
    }
    for index in [USERS, GROUPS, SERVICES] {
        let asked = is_read(index).map(|(path, r)| (path, who_asks::questions(index, r, a, names, look, c)));
        if let Some((path, Some(questions))) = asked {
            out.insert(path.clone(), questions);
        }
    }
    out
}

/// Is a look at the state of this index the program's own? Of those that only the C library can name it is not: that
/// looks whether `nsswitch.conf` has changed.
pub(crate) fn may_be_probed(index: &[u8]) -> bool {
    index == LOADER_CACHE
}

/// Was the cache of the dynamic loader opened by nobody else?
fn is_of_loader(
    r: &Record,
    a: &Accesses,
    names: &FxHashMap<PathBytes, Record>,
    look: &impl Look,
    c: &Context<'_>,
) -> bool {
    // Code of somebody's runs in the loader (rtld-audit(7)).
    let audits = |v: &Vec<u8>| v.strip_prefix(b"LD_AUDIT=").is_some_and(|v| !v.is_empty());
    if r.readers.is_empty() || c.env.iter().any(audits) || a.loads.values().any(Load::misuses) {
        return false;
    }
    let program = |i: usize| a.programs.get(i).map(|p| p.interpreter.as_deref().unwrap_or(&p.path));
    let is_start = |image: &u32| {
        let path = (*image as usize).checked_sub(1).and_then(program);
        let linking = path.and_then(|p| look.linking(p));
        let load = a.loads.get(image);
        load.zip(linking).is_some_and(|(load, l)| load.is_start(&l, |p| look.linking(p).map(|l| (*l).clone())))
    };
    r.readers.iter().all(is_start) || texts::nobody_names(LOADER_CACHE, |_| false, a, names, look, c)
}

/// Is it named as a shared library?
fn is_library(name: &[u8]) -> bool {
    name.find_iter(".so").any(|i| matches!(name.get(i + 3), None | Some(b'.')))
}

/// Where the loader looks for what is not in its cache (ld.so(8)).
fn is_default_place(dir: &[u8]) -> bool {
    const PLACES: [&[u8]; 4] = [b"/lib", b"/usr/lib", b"/lib64", b"/usr/lib64"];
    let multiarch = || base_name(dir).contains_str("-linux-gnu") && PLACES.contains(&crate::paths::parent(dir));
    PLACES.contains(&dir) || multiarch()
}

/// All names that the loader may have looked up: of the libraries that it loaded or looked for in vain, and those by
/// which they are called or needed.
fn libraries(
    path: &PathBytes,
    r: &Record,
    a: &Accesses,
    names: &FxHashMap<PathBytes, Record>,
    look: &impl Look,
) -> BTreeSet<Vec<u8>> {
    let mut out = BTreeSet::new();
    let index = r.first.and_then(|s| look.index(path, &s).ok());
    let mut add = |name: &[u8]| {
        if let Some(Index::Loader(l)) = index.as_deref() {
            out.extend(l.names_of(name).map(<[u8]>::to_vec));
        }
        out.insert(name.to_vec());
    };
    for (p, r) in names {
        let base = base_name(p);
        if is_library(base) || r.first.is_none() && is_default_place(crate::paths::parent(p)) {
            add(base);
        }
        let is_loaded = r.read && r.first.is_some_and(|s| s.is_file()) && (is_library(base) || r.executed);
        if let Some(l) = is_loaded.then(|| look.linking(p)).flatten() {
            l.needed.iter().chain(&l.name).filter(|n| !n.contains(&b'/')).for_each(|n| add(n));
        }
    }
    a.links.keys().map(|l| base_name(l)).filter(|n| is_library(n)).for_each(&mut add);
    out
}

/// The locales on which the pip may depend: all that are in the archive, and those that it looked for in vain. Who
/// knows the name of the archive may ask for more.
fn locales(
    path: &PathBytes,
    r: &Record,
    a: &Accesses,
    names: &FxHashMap<PathBytes, Record>,
    look: &impl Look,
    c: &Context<'_>,
) -> Option<Vec<Question>> {
    // More than that nobody wants to hear of one by one.
    const MOST: usize = 64;
    let looked_for = names.iter().filter(|(p, r)| r.first.is_none() || p.starts_with(b"/usr/lib/locale/"));
    let links = a.links.keys().map(|l| &l[..]);
    let mut all = locales::wanted(looked_for.map(|(p, _)| &p[..]).chain(links), c.env);
    match r.first {
        None => {}
        Some(s) if s.is_file() && s.size <= told::LONGEST && !r.probed => match look.index(path, &s).ok().as_deref() {
            Some(Index::Locales(l)) => all.extend(l.names().map(<[u8]>::to_vec)),
            _ => return None,
        },
        Some(_) => return None,
    }
    let is_known = all.len() <= MOST && texts::nobody_names(ARCHIVE, |_| false, a, names, look, c);
    is_known.then(|| all.into_iter().map(Question::Locale).collect())
}
