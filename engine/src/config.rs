//! `xl.toml` and `config.toml`: where they are, what they may say, and what is wrong with them.
//!
//! Later wins: user's file, workspace's file, `XL_*` variables, flags. An unknown key is an error that names the
//! nearest known one. Rules that change what a result depends on are part of every fingerprint.

use crate::sharing::{self, Sharing};
use crate::values::{Age, NoSize, Size, nearest};
use globset::{GlobSet, GlobSetBuilder};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Settings of a run.
#[derive(Debug)]
pub struct Config {
    pub cache_dir: PathBuf,
    pub max_bytes: u64,
    pub evict_bytes: u64,
    /// Results that were not used for this long are dropped, seconds.
    pub max_age: Option<u64>,
    /// The most results that are kept.
    pub max_count: Option<u64>,
    pub failures: bool,
    /// Environment variables that never count, besides the built-in ones.
    pub pass: Vec<String>,
    /// Environment variables that always count.
    pub track: Vec<String>,
    pub drivers: Vec<String>,
    pub salt: String,
    pub rules: Vec<Rule>,
    pub ignore: Hatches,
    /// Programs of which only what they write counts.
    pub ignored_tools: Vec<Rule>,
    pub deny: Hatches,
    /// Where results are shared.
    pub sharing: Sharing,
    /// Workspace root.
    pub root: PathBuf,
    /// The path that the workspace is to have for its commands.
    pub at: Option<PathBuf>,
    /// Where each value came from, for `xl doctor`.
    pub origins: Vec<(String, String, String)>,
    /// The files that were read, in the order in which they count, and their texts.
    files: Vec<(PathBuf, String)>,
}

/// `[[rule]]`: commands that are treated specially.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Over the program's path or name.
    pub tool: ToolGlob,
    #[serde(default = "yes")]
    pub cache: bool,
    /// What it makes does not depend on time or chance, although its text has words for them.
    #[serde(default)]
    pub deterministic: bool,
    /// What it may read in the workspace, and make: read by the audit, by [`Config::sections`].
    #[serde(default, rename = "inputs")]
    _inputs: IgnoredAny,
    #[serde(default, rename = "outputs")]
    _outputs: IgnoredAny,
    /// Why; shown in reports.
    pub reason: String,
    #[serde(skip)]
    used: Arc<AtomicBool>,
}

impl Rule {
    /// Is it about this program? If so it was of use.
    fn names(&self, program: &[u8]) -> bool {
        let found = self.tool.names(program);
        if found {
            self.used.store(true, Ordering::Relaxed);
        }
        found
    }
}

/// A glob over programs.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct ToolGlob {
    text: String,
    matcher: globset::GlobMatcher,
}

impl TryFrom<String> for ToolGlob {
    type Error = globset::Error;

    fn try_from(text: String) -> Result<Self, globset::Error> {
        let matcher = globset::Glob::new(&text)?.compile_matcher();
        Ok(Self { text, matcher })
    }
}

impl std::fmt::Display for ToolGlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl ToolGlob {
    /// Is it about this program? By its path, or by its name alone.
    pub fn names(&self, program: &[u8]) -> bool {
        let is_match = |name: &[u8]| self.matcher.is_match(Path::new(OsStr::from_bytes(name)));
        is_match(program) || is_match(worker::tools::base_name(program))
    }
}

fn yes() -> bool {
    true
}

/// `[[ignore]]`, paths whose accesses do not count, or `[[deny]]`, paths that no pip may open.
#[derive(Debug, Default)]
pub struct Hatches {
    set: GlobSet,
    /// Glob and reason.
    globs: Vec<(String, String)>,
    used: Vec<AtomicBool>,
}

impl Hatches {
    fn add(&mut self, file: &Path, root: &Path, entries: Vec<PathEntry>) -> Result<(), ConfigError> {
        self.globs.extend(entries.into_iter().map(|i| (i.path, i.reason)));
        self.set = globs(file, root, &self.globs)?;
        self.used = self.globs.iter().map(|_| AtomicBool::new(false)).collect();
        Ok(())
    }

    /// The reason of the first one that names this path.
    pub fn find(&self, path: &[u8]) -> Option<&str> {
        if self.is_empty() {
            return None;
        }
        let matching = self.set.matches(Path::new(OsStr::from_bytes(path)));
        matching.iter().for_each(|i| self.used[*i].store(true, Ordering::Relaxed));
        matching.first().map(|i| self.globs[*i].1.as_str())
    }

    pub fn is_empty(&self) -> bool {
        self.globs.is_empty()
    }

    fn unused(&self) -> impl Iterator<Item = &str> {
        self.globs.iter().zip(&self.used).filter(|(_, u)| !u.load(Ordering::Relaxed)).map(|((g, _), _)| g.as_str())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    workspace: WorkspaceSection,
    #[serde(default)]
    cache: CacheSection,
    #[serde(default)]
    env: EnvSection,
    #[serde(default)]
    build: BuildSection,
    #[serde(default)]
    remote: sharing::Section,
    #[serde(default)]
    rule: Vec<Rule>,
    #[serde(default)]
    ignore: Vec<IgnoreEntry>,
    #[serde(default)]
    deny: Vec<PathEntry>,
    /// The audit's: see [`Config::sections`].
    #[serde(default, rename = "audit")]
    _audit: IgnoredAny,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkspaceSection {
    at: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CacheSection {
    dir: Option<PathBuf>,
    max_bytes: Option<Size>,
    evict_bytes: Option<Size>,
    max_age: Option<Age>,
    max_count: Option<u64>,
    failures: Option<bool>,
    salt: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvSection {
    #[serde(default)]
    pass: Vec<String>,
    #[serde(default)]
    track: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BuildSection {
    #[serde(default)]
    drivers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PathEntry {
    path: String,
    reason: String,
}

/// A path, or a program: one of the two.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IgnoreEntry {
    path: Option<String>,
    tool: Option<ToolGlob>,
    reason: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot read `{}`", path.display())]
    Parse { path: PathBuf, message: String, hint: Option<String> },
    #[error("`{}` in `{}` is not a valid glob", glob, path.display())]
    Glob { path: PathBuf, glob: String, message: String },
    #[error("an `[[ignore]]` in `{}` needs either `path` or `tool`", path.display())]
    Ignore { path: PathBuf },
    #[error("XL_CACHE_MAX_BYTES cannot be used")]
    Size(#[source] NoSize),
    #[error("a variable cannot be used")]
    Setting(#[source] sharing::NoSetting),
    #[error("no cache directory: neither XL_CACHE_DIR, XDG_CACHE_HOME nor HOME is set")]
    NoHome,
}

/// 20 GiB.
pub const DEFAULT_MAX_BYTES: u64 = 20 << 30;

/// What flags may set.
#[derive(Debug, Default)]
pub struct Overrides {
    pub cache_dir: Option<PathBuf>,
    pub config: Option<PathBuf>,
    /// The address of a remote cache.
    pub remote_cache: Option<String>,
}

/// The workspace root: the nearest directory upwards with `xl.toml`, else the repository's root, else `cwd`.
pub fn workspace_root(cwd: &Path) -> PathBuf {
    let up = |marker: &str| cwd.ancestors().find(|d| d.join(marker).exists()).map(Path::to_owned);
    up("xl.toml").or_else(|| up(".git")).unwrap_or_else(|| cwd.to_owned())
}

impl Config {
    /// Where something about this workspace (`audits`, `healed`) is kept beside the cache, as JSON.
    pub fn kept(&self, what: &str) -> PathBuf {
        let name = cache::Digest::of(self.root.as_os_str().as_encoded_bytes()).hex();
        self.cache_dir.join(what).join(format!("{}.json", &name[..16]))
    }

    /// Reads everything for a run in `cwd`; `var` reads an environment variable.
    pub fn load(
        cwd: &Path,
        o: &Overrides,
        var: impl Fn(&str) -> Option<std::ffi::OsString>,
    ) -> Result<Self, ConfigError> {
        let root = workspace_root(cwd);
        let home = var("HOME").map(PathBuf::from);
        let user = var("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| home.as_ref().map(|h| h.join(".config")));
        let mut c = Self {
            cache_dir: PathBuf::new(),
            max_bytes: DEFAULT_MAX_BYTES,
            evict_bytes: 0,
            max_age: None,
            max_count: None,
            failures: false,
            pass: Vec::new(),
            track: Vec::new(),
            drivers: Vec::new(),
            salt: String::new(),
            rules: Vec::new(),
            ignore: Hatches::default(),
            ignored_tools: Vec::new(),
            deny: Hatches::default(),
            sharing: Sharing::default(),
            root: root.clone(),
            at: None,
            origins: Vec::new(),
            files: Vec::new(),
        };
        let mut dir = None;
        let mut evict = None;
        let workspace = o.config.clone().unwrap_or_else(|| root.join("xl.toml"));
        let files = [user.map(|u| u.join("xl/config.toml")), Some(workspace)];
        for path in files.into_iter().flatten() {
            let must_exist = o.config.as_ref() == Some(&path);
            let Some(text) = read(&path, must_exist)? else { continue };
            let f: File = parse(&path, &text)?;
            c.files.push((path.clone(), text));
            let from = path.display().to_string();
            let mut note = |k: &str, v: String| c.origins.push((k.to_owned(), v, from.clone()));
            if let Some(d) = f.workspace.at {
                note("workspace.at", d.display().to_string());
                c.at = Some(d);
            }
            if let Some(d) = f.cache.dir {
                note("cache.dir", d.display().to_string());
                dir = Some(path.parent().unwrap_or(Path::new("/")).join(cache::home::expand(&d)));
            }
            if let Some(n) = f.cache.max_bytes {
                note("cache.max_bytes", n.to_string());
                c.max_bytes = n.0;
            }
            if let Some(n) = f.cache.evict_bytes {
                note("cache.evict_bytes", n.to_string());
                evict = Some(n.0);
            }
            if let Some(Age(seconds)) = f.cache.max_age {
                note("cache.max_age", format!("{seconds} s"));
                c.max_age = Some(seconds);
            }
            if let Some(n) = f.cache.max_count {
                note("cache.max_count", n.to_string());
                c.max_count = Some(n);
            }
            if let Some(b) = f.cache.failures {
                note("cache.failures", b.to_string());
                c.failures = b;
            }
            if let Some(s) = f.cache.salt {
                note("cache.salt", s.clone());
                c.salt = s;
            }
            c.sharing.file(f.remote, &from, &mut |k, v, from| c.origins.push((k.into(), v, from.into())));
            c.pass.extend(f.env.pass);
            c.track.extend(f.env.track);
            c.drivers.extend(f.build.drivers);
            c.rules.extend(f.rule);
            let mut ignored = Vec::new();
            for entry in f.ignore {
                match (entry.path, entry.tool, entry.reason) {
                    (Some(path), None, reason) => ignored.push(PathEntry { path, reason }),
                    (None, Some(tool), reason) => c.ignored_tools.push(Rule {
                        tool,
                        cache: true,
                        deterministic: false,
                        _inputs: IgnoredAny,
                        _outputs: IgnoredAny,
                        reason,
                        used: Arc::default(),
                    }),
                    _ => return Err(ConfigError::Ignore { path }),
                }
            }
            c.ignore.add(&path, &root, ignored)?;
            c.deny.add(&path, &root, f.deny)?;
        }
        if let Some(n) = var("XL_CACHE_MAX_BYTES") {
            let text = n.to_string_lossy().into_owned();
            let size: Size = text.parse().map_err(ConfigError::Size)?;
            c.max_bytes = size.0;
            c.origins.push(("cache.max_bytes".into(), size.to_string(), "XL_CACHE_MAX_BYTES".into()));
        }
        let mut note = |k: &str, v, from: &str| c.origins.push((k.into(), v, from.into()));
        c.sharing.variables(&var, &mut note).map_err(ConfigError::Setting)?;
        if let Some(address) = &o.remote_cache {
            note("remote.cache", address.clone(), "--remote-cache");
            c.sharing.cache = Some(address.clone());
        }
        if let Some(d) = var("XL_CACHE_DIR") {
            c.origins.push(("cache.dir".into(), d.to_string_lossy().into_owned(), "XL_CACHE_DIR".into()));
            dir = Some(cache::home::expand(Path::new(&d)));
        }
        if let Some(d) = &o.cache_dir {
            c.origins.push(("cache.dir".into(), d.display().to_string(), "--cache-dir".into()));
            dir = Some(cache::home::expand(d));
        }
        c.cache_dir = cwd.join(dir.or_else(|| cache::home::user_cache_dir(&var)).ok_or(ConfigError::NoHome)?);
        c.evict_bytes = evict.unwrap_or(c.max_bytes / 10);
        Ok(c)
    }

    /// What another crate has to say in the same files, each with its file, in the order in which they count.
    ///
    /// # Errors
    /// A file says something else there.
    pub fn sections<T: DeserializeOwned>(&self) -> Result<Vec<(&Path, T)>, ConfigError> {
        self.files.iter().map(|(path, text)| Ok((path.as_path(), parse(path, text)?))).collect()
    }

    /// What enters every fingerprint: settings that change the meaning of a result. `guarded`: what pips may do depends
    /// on who asks.
    pub(crate) fn meaning(&self, guarded: bool) -> Vec<u8> {
        let mut s = format!("{:?} {:?} {:?} {:?}", self.salt, self.pass, self.track, self.failures);
        for (what, hatches) in [("ignore", &self.ignore), ("deny", &self.deny)] {
            for (glob, _) in &hatches.globs {
                s.push_str(&format!(" {what} {glob:?}"));
            }
        }
        if guarded {
            s.push_str(" block");
        }
        self.ignored_tools.iter().for_each(|r| s.push_str(&format!(" ignore tool {:?}", r.tool.text)));
        s.into_bytes()
    }

    /// Does this path count at all?
    pub fn ignores(&self, path: &[u8]) -> bool {
        self.ignore.find(path).is_some()
    }

    /// Escape hatches that nothing came through.
    pub fn unused(&self) -> Vec<String> {
        let rules = self.rules.iter().filter(|r| (!r.cache || r.deterministic) && !r.used.load(Ordering::Relaxed));
        let ignores = self.ignore.unused().map(|g| format!("[[ignore]] path = \"{g}\""));
        let denials = self.deny.unused().map(|g| format!("[[deny]] path = \"{g}\""));
        let tools = self.ignored_tools.iter().filter(|r| !r.used.load(Ordering::Relaxed));
        let ignores = ignores.chain(tools.map(|r| format!("[[ignore]] tool = \"{}\"", r.tool)));
        ignores.chain(denials).chain(rules.map(|r| format!("[[rule]] tool = \"{}\"", r.tool))).collect()
    }

    /// Does what this program looks at count?
    pub fn ignores_tool(&self, program: &[u8]) -> bool {
        self.ignored_tools.iter().any(|r| r.names(program))
    }

    /// Does the user say that this program, or script, depends on neither time nor chance?
    pub fn deterministic(&self, program: &[u8]) -> bool {
        self.rules.iter().any(|r| r.deterministic && r.names(program))
    }

    /// Why the user wants this program's results not to be cached.
    pub fn uncached(&self, program: &[u8]) -> Option<&str> {
        self.rules.iter().filter(|r| !r.cache).find(|r| r.names(program)).map(|r| r.reason.as_str())
    }
}

fn read(path: &Path, must_exist: bool) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(t) => Ok(Some(t)),
        Err(e)
            if !must_exist
                && matches!(
                    e.kind(),
                    std::io::ErrorKind::NotFound
                        | std::io::ErrorKind::NotADirectory
                        | std::io::ErrorKind::PermissionDenied
                ) =>
        {
            Ok(None)
        }
        Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
    }
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|e| {
        let line = e.span().map(|s| 1 + text[..s.start.min(text.len())].matches('\n').count());
        let message = e.message().lines().next().unwrap_or_default().to_owned();
        let unknown = message.strip_prefix("unknown field `").and_then(|m| m.split('`').next());
        let hint = unknown.and_then(|u| known_keys(&message, u));
        let message = match (unknown, line) {
            (Some(k), Some(l)) => format!("unknown key `{k}` at line {l}"),
            (None, Some(l)) => format!("{message} at line {l}"),
            _ => message,
        };
        ConfigError::Parse { path: path.to_owned(), message, hint }
    })
}

fn globs(path: &Path, root: &Path, all: &[(String, String)]) -> Result<GlobSet, ConfigError> {
    let bad = |glob: &str, e: &globset::Error| ConfigError::Glob {
        path: path.to_owned(),
        glob: glob.to_owned(),
        message: e.to_string(),
    };
    let mut b = GlobSetBuilder::new();
    for (g, _) in all {
        b.add(one_glob(g, root).map_err(|e| bad(g, &e))?);
    }
    b.build().map_err(|e| bad("*", &e))
}

/// A glob over paths of the workspace, or of the user's home (`~/`), or absolute ones. Nothing in the name of the root
/// has a meaning.
///
/// # Errors
/// It is no glob.
pub fn one_glob(pattern: &str, root: &Path) -> Result<globset::Glob, globset::Error> {
    let below = |dir: &Path, rest: &str| format!("{}/{rest}", globset::escape(&dir.to_string_lossy()));
    let full = match pattern.strip_prefix("~/") {
        Some(rest) => below(&cache::home::expand(Path::new("~")), rest),
        None if pattern.starts_with('/') => pattern.to_owned(),
        None => below(root, pattern),
    };
    globset::GlobBuilder::new(&full).literal_separator(true).build()
}

/// What may stand where serde found the unknown key `word`, from its message: the one that was probably meant, or all.
fn known_keys(message: &str, word: &str) -> Option<String> {
    let (_, expected) = message.split_once("expected ")?;
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    match nearest(word, known.iter().copied()) {
        Some(k) => Some(format!("did you mean `{k}`?")),
        None => (!known.is_empty()).then(|| format!("known there: `{}`", known.join("`, `"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let t = tempfile::tempdir().unwrap();
        std::fs::write(t.path().join("xl.toml"), text).unwrap();
        Config::load(t.path(), &Overrides::default(), |v| (v == "HOME").then(|| "/home/x".into()))
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        let check = |text: &str, what: &str, expected: &str| {
            let Err(ConfigError::Parse { message, hint, .. }) = load(text) else { panic!("{text}") };
            assert_eq!((message.as_str(), hint.as_deref().unwrap_or_default()), (what, expected));
        };
        check("[cache]\n\nmax_byte = 1\n", "unknown key `max_byte` at line 3", "did you mean `max_bytes`?");
        check("[[ignore]]\npath = 'x'\nreasn = 'y'\n", "unknown key `reasn` at line 3", "did you mean `reason`?");
        check("[caches]\n", "unknown key `caches` at line 1", "did you mean `cache`?");
    }

    #[test]
    fn values_and_globs() {
        let c = load(
            "[cache]\nmax_bytes = 5\nfailures = true\n[env]\npass = ['JOB_*']\n[[ignore]]\npath = \
            'logs/**'\nreason = 'noise'\n[[rule]]\ntool = 'gen-*'\ncache = false\nreason = 'random'\n",
        )
        .unwrap();
        assert_eq!((c.max_bytes, c.failures), (5, true));
        assert!(c.ignores(c.root.join("logs/a/b").as_os_str().as_encoded_bytes()));
        assert!(!c.ignores(c.root.join("src/a").as_os_str().as_encoded_bytes()));
        assert_eq!(c.uncached(b"/opt/gen-x"), Some("random"));
        assert_eq!(c.uncached(b"/usr/bin/gcc"), None);
        assert!(matches!(load("[[ignore]]\nreason = 'x'"), Err(ConfigError::Ignore { .. })));
        let c = load("[[ignore]]\ntool = 'spell*'\nreason = 'only warns'\n").unwrap();
        assert!(c.ignores_tool(b"/usr/bin/spellcheck") && !c.ignores_tool(b"/usr/bin/gcc") && c.unused().is_empty());
        assert!(matches!(load("[[ignore]]\npath = 'a[' \nreason = 'x'"), Err(ConfigError::Glob { .. })));
        assert!(matches!(load("[[rule]]\ntool = 'a['\nreason = 'x'"), Err(ConfigError::Parse { .. })));
    }

    #[test]
    fn values_say_where_they_are_wrong() {
        let c = load(
            "[cache]\nmax_bytes = '10G'\nevict_bytes = '1 GiB'\ndir = '~/x'\n[[deny]]\npath = \
                '~/.ssh/**'\nreason = 'x'\n",
        )
        .unwrap();
        assert_eq!((c.max_bytes, c.evict_bytes), (10_000_000_000, 1 << 30));
        let home = cache::home::dir(|v| std::env::var_os(v)).unwrap();
        assert_eq!(c.cache_dir, home.join("x"));
        assert!(c.deny.find(home.join(".ssh/id").as_os_str().as_encoded_bytes()).is_some());
        for (bad, line) in
            [("[cache]\nmax_bytes = '10X'", 2), ("[cache]\n\nmax_bytes = -1", 3), ("[cache]\nmax_age = 5", 2)]
        {
            let Err(ConfigError::Parse { message, .. }) = load(bad) else { panic!("{bad}") };
            assert!(message.contains("write") && message.ends_with(&format!(" at line {line}")), "{message}");
        }
    }

    #[test]
    fn a_root_is_no_glob() {
        let t = tempfile::tempdir().unwrap();
        let root = t.path().join("a[1]*");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("xl.toml"), "[[deny]]\npath = 'secret/**'\nreason = 'x'\n").unwrap();
        let c = Config::load(&root, &Overrides::default(), |v| (v == "HOME").then(|| "/home/x".into())).unwrap();
        assert_eq!(c.deny.find(root.join("secret/key").as_os_str().as_encoded_bytes()), Some("x"));
        assert!(matches!(load("[cache\n"), Err(ConfigError::Parse { .. })));
        let c = load("[cache]\nmax_age = '2w'\nmax_count = 7\n[[deny]]\npath = '/etc/secret*'\nreason = 'not ours'\n")
            .unwrap();
        assert_eq!((c.max_age, c.max_count), (Some(1_209_600), Some(7)));
        assert_eq!((c.deny.find(b"/etc/secrets"), c.deny.find(b"/etc/passwd")), (Some("not ours"), None));
        for bad in ["2", "w", "2 w", "99999999999999999999s", "2y"] {
            assert!(matches!(load(&format!("[cache]\nmax_age = '{bad}'")), Err(ConfigError::Parse { .. })), "{bad}");
        }
    }
}
