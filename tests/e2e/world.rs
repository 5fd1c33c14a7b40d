//! A scratch directory with a cache of its own, and `xl` in it.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) struct World {
    dir: tempfile::TempDir,
    pub env: BTreeMap<String, String>,
}

/// What `xl run` did.
pub(crate) struct Run {
    pub output: Output,
    pub record: Value,
}

impl Run {
    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub(crate) fn pips(&self, kind: &str) -> u64 {
        self.record["pips"][kind].as_u64().unwrap_or_else(|| panic!("no record: {}", self.stderr()))
    }

    /// Outcomes by command, for messages.
    pub(crate) fn story(&self) -> String {
        let items = self.record["items"].as_array().cloned().unwrap_or_default();
        let lines: Vec<String> = items
            .iter()
            .map(|i| format!("{} {} {} {}", i["outcome"], i["command"], i["reason"], i["not_stored"]))
            .collect();
        lines.join("\n")
    }

    /// Outcome of the first command that contains `text`.
    pub(crate) fn outcome(&self, text: &str) -> String {
        let items = self.record["items"].as_array().cloned().unwrap_or_default();
        let found = items.iter().find(|i| i["command"].as_str().is_some_and(|c| c.contains(text)));
        found
            .map(|i| i["outcome"].as_str().unwrap_or_default().to_owned())
            .unwrap_or_else(|| panic!("no `{text}` in\n{}", self.story()))
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("xl-e2e-").tempdir().expect("a scratch directory");
        std::fs::create_dir(dir.path().join("t")).expect("a tree");
        // The workspace root is the tree, not whatever is above the scratch directory.
        std::fs::write(dir.path().join("t/xl.toml"), "").expect("a marker");
        Self { dir, env: BTreeMap::new() }
    }

    /// The tree that is built.
    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.path().join("t")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.tree().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let p = self.path(name);
        std::fs::create_dir_all(p.parent().expect("a parent")).expect("its directory");
        std::fs::write(&p, text).unwrap_or_else(|e| panic!("{}: {e}", p.display()));
    }

    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))).into_owned()
    }

    /// A shell command in the tree, without `xl`.
    pub(crate) fn sh(&self, text: &str) -> Output {
        self.command("sh").args(["-c", text]).output().expect("sh")
    }

    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut c = Command::new(program);
        c.current_dir(self.tree())
            .stdin(Stdio::null())
            .env("XL_CACHE_DIR", self.cache())
            .env_remove("XL_SESSION")
            .env_remove("MAKEFLAGS");
        // Where the tests themselves are built is not where a build under test shall go.
        c.env_remove("CARGO_TARGET_DIR");
        // What build scripts tell the compiler is there when cargo runs the tests, too: a date, for one.
        c.env_remove("XL_VERSION");
        // Under cargo every loader would look for libraries in its directories first.
        c.env_remove("LD_LIBRARY_PATH");
        c.env("LC_ALL", "C.UTF-8").envs(&self.env);
        c
    }

    /// Empties the tree.
    pub(crate) fn wipe(&self) {
        self.sh("chmod -R u+w .; find . -mindepth 1 -delete");
        self.write("xl.toml", "");
    }

    /// `xl` with these words.
    pub(crate) fn xl(&self, words: &[&str]) -> Command {
        let mut c = self.command(env!("CARGO_BIN_EXE_xl"));
        c.args(words);
        c
    }

    /// `xl VERB --json … -- CMD`.
    pub(crate) fn xl_run(&self, verb: &str, cmd: &[&str]) -> Run {
        self.xl_run_after("", verb, cmd)
    }

    /// The same, from a shell that does `first` before.
    pub(crate) fn xl_run_after(&self, first: &str, verb: &str, cmd: &[&str]) -> Run {
        let json = self.dir.path().join("record.json");
        let _ = std::fs::remove_file(&json);
        let words = [verb, "--json", json.to_str().expect("utf-8"), "--"];
        let output = if first.is_empty() {
            self.xl(&words).args(cmd).output().expect("xl")
        } else {
            let text = format!("{first}exec \"$@\"");
            self.command("sh")
                .args(["-c", &text, "sh", env!("CARGO_BIN_EXE_xl")])
                .args(words)
                .args(cmd)
                .output()
                .expect("xl")
        };
        let record = std::fs::read(&json).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or(Value::Null);
        Run { output, record }
    }

    /// What `xl --json ../r.json` has written, where something stands between.
    pub(crate) fn record(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("../r.json")).expect("a record")).expect("JSON")
    }

    pub(crate) fn run(&self, cmd: &[&str]) -> Run {
        self.xl_run("run", cmd)
    }

    /// One shell text as one pip.
    pub(crate) fn pip(&self, text: &str) -> Run {
        self.xl_run("exec", &["sh", "-c", text])
    }

    /// Gives every file that is new this time long ago, so that [`World::snapshot`] shows who keeps it.
    pub(crate) fn age(&self, time: u32) {
        self.sh(&format!("find . -mindepth 1 -not -type d -newermt @{NEW} -exec touch -h -d @{time} {{}} +"));
    }

    /// Names, types, modes, bytes and old times of everything in the tree.
    pub(crate) fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        tree(&self.tree(), &[])
    }
}

/// A time after this one (seconds since the epoch) is new: no test can tell one such time from another.
const NEW: i64 = 1_700_000_000;

/// Contents that are longer are told by their digests.
const LONG: usize = 4096;

/// Names, types, modes, bytes and old times of everything in a directory, but for what is called like one of these.
pub(crate) fn tree(root: &Path, but: &[&str]) -> BTreeMap<PathBuf, String> {
    let mut out = BTreeMap::new();
    walk(root, root, but, &mut out);
    out
}

fn walk(root: &Path, dir: &Path, but: &[&str], out: &mut BTreeMap<PathBuf, String>) {
    use std::os::unix::fs::MetadataExt;
    for e in std::fs::read_dir(dir).expect("a directory").flatten() {
        let p = e.path();
        if but.iter().any(|b| e.file_name() == *b) {
            continue;
        }
        let m = p.symlink_metadata().expect("its state");
        let what = if m.is_dir() {
            walk(root, &p, but, out);
            String::new()
        } else if m.is_symlink() {
            format!("{:?}", std::fs::read_link(&p))
        } else {
            let time = if m.mtime() < NEW { format!("{} ", m.mtime()) } else { String::new() };
            match std::fs::read(&p) {
                Ok(b) if b.len() > LONG => time + &cache::Digest::of(&b).hex(),
                other => time + &format!("{other:?}"),
            }
        };
        out.insert(p.strip_prefix(root).expect("below the root").to_owned(), format!("{:o} {what}", m.mode()));
    }
}

/// Says why a test cannot run here.
pub(crate) fn skip(why: &str) {
    eprintln!("skipped: {why}");
}
