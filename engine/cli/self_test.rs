//! A tiny build, to show that a backend works here, or which step of what does not: run, run again, and run once more
//! after a change.
//!
//! Each step is a process of `xl` like any other (this one may have threads by now, and a supervisor must not), in a
//! tree that is thrown away, with a cache that is thrown away too, on the file system where the user's cache is. What
//! it knows is what any user gets: exit code, output, files, the build record, and `xl`'s own words. The build needs a
//! shell, `cat` and nothing else.

use engine::{BuildRecord, Outcome};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Text through a pipe, a file that a command makes, and one that a command's text is sent to: three commands, so that
/// none is known to be cheap.
const BUILD: &str = "cat in\nsh -c 'cat in > made; exit 0'\ncat ./in > sent\n";
/// How many commands that are.
const COMMANDS: u64 = 3;
/// A build that takes so long stands still.
const LIMIT: Duration = Duration::from_secs(20);

/// What works.
pub(crate) struct Proof {
    /// The backend, as the build record names it.
    pub backend: String,
    pub took: Duration,
}

/// What does not.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub step: &'static str,
    /// Why, and what to do about it, a line each.
    pub why: Vec<String>,
}

impl Failure {
    fn new(step: &'static str, why: impl ToString) -> Self {
        Self { step, why: vec![why.to_string()] }
    }
}

/// What one run of the build did.
struct Ran {
    step: &'static str,
    record: BuildRecord,
    text: String,
    said: String,
}

impl Ran {
    /// What is wrong, then `xl`'s own words, then why commands ended otherwise than so.
    fn failure(&self, wrong: impl ToString, all: Option<Outcome>) -> Failure {
        let others = self.record.items.iter().filter(|i| all.is_some_and(|o| o != i.outcome)).map(|i| {
            let why = i.not_stored.clone().or_else(|| i.reason.as_ref().map(ToString::to_string));
            format!("`{}`: {}", i.command, why.unwrap_or_default())
        });
        Failure {
            step: self.step,
            why: std::iter::once(wrong.to_string()).chain(words(&self.said)).chain(others).collect(),
        }
    }
}

/// Errors, causes, hints and warnings; who reads them runs `xl doctor` already.
fn words(said: &str) -> Vec<String> {
    let lines = said.lines().map(|l| l.trim_start().trim_start_matches("xl: "));
    lines.filter(|l| !l.is_empty() && !l.contains("`xl doctor`")).map(str::to_owned).collect()
}

/// Tries out one backend, or `auto`; `near` is a directory of the file system where the trial's cache is to be.
pub(crate) fn of(backend: &str, near: &Path) -> Result<Proof, Failure> {
    let begun = Instant::now();
    let scratch = |r: std::io::Result<tempfile::TempDir>| r.map_err(|e| Failure::new("a directory to try it in", e));
    let here = scratch(tempfile::Builder::new().prefix("xl-doctor-").tempdir())?;
    let cache = scratch(tempfile::Builder::new().prefix("doctor-").tempdir_in(near))?;
    let tree = here.path().join("tree");
    let write = |name: &str, text: &str| {
        std::fs::write(tree.join(name), text).map_err(|e| Failure::new("a file to try it with", e))
    };
    std::fs::create_dir(&tree).map_err(|e| Failure::new("a directory to try it in", e))?;
    for (name, text) in [("xl.toml", ""), ("build.sh", BUILD), ("in", "one\n")] {
        write(name, text)?;
    }
    let run = |step| run(step, backend, here.path(), &tree, cache.path());

    let first = run("the first run")?;
    if first.record.pips.miss != COMMANDS {
        let wrong = format!(
            "of {COMMANDS} commands it saw {}, and could store {}",
            first.record.pips.total, first.record.pips.miss
        );
        return Err(first.failure(wrong, Some(Outcome::Miss)));
    }
    made(&tree, &first, "one\n")?;
    for name in ["made", "sent"] {
        std::fs::remove_file(tree.join(name)).map_err(|e| Failure::new("emptying the tree", e))?;
    }
    let second = run("the second run, in which all is known")?;
    if second.record.pips.hit != COMMANDS {
        let wrong = format!("of {COMMANDS} commands it could skip {}", second.record.pips.hit);
        return Err(second.failure(wrong, Some(Outcome::Hit)));
    }
    made(&tree, &second, "one\n")?;
    write("in", "two\n")?;
    let third = run("the third run, with another input")?;
    made(&tree, &third, "two\n")?;
    Ok(Proof { backend: third.record.backend, took: begun.elapsed() })
}

/// Has it printed and made what it should?
fn made(tree: &Path, r: &Ran, content: &str) -> Result<(), Failure> {
    if r.text != content {
        return Err(r.failure(format!("its text was {:?}, not {content:?}", r.text), None));
    }
    for name in ["made", "sent"] {
        let now = std::fs::read_to_string(tree.join(name)).unwrap_or_else(|e| e.to_string());
        if now != content {
            return Err(r.failure(format!("`{name}` was {now:?}, not {content:?}"), None));
        }
    }
    Ok(())
}

fn run(step: &'static str, backend: &str, here: &Path, tree: &Path, cache: &Path) -> Result<Ran, Failure> {
    let failed = |e: std::io::Error| Failure::new(step, e);
    let record = here.join("record");
    let _ = std::fs::remove_file(&record);
    // Without `/proc` it is found as it was called.
    let me = std::env::current_exe()
        .ok()
        .or_else(|| std::env::args_os().next().map(PathBuf::from))
        .unwrap_or_else(|| "xl".into());
    let mut c = Command::new(me);
    c.args(["run", "--strict", "--summary", "off", "--backend", backend, "--cache-dir"]).arg(cache);
    c.arg("--config").arg(tree.join("xl.toml")).arg("--json").arg(&record).args(["--", "sh", "build.sh"]);
    // Nothing of the user's but the machine.
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.as_encoded_bytes().starts_with(b"XL_") || n == "MAKEFLAGS") {
        c.env_remove(name);
    }
    c.current_dir(tree).env("XDG_CACHE_HOME", here).env("XDG_CONFIG_HOME", here);
    let mut child = c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let pid = rustix::process::Pid::from_child(&child);
    let (done, is_done) = mpsc::channel();
    let mut end = move || -> std::io::Result<_> {
        // One after the other: a pipe holds more than either.
        let text = child.stdout.take().map_or(Ok(String::new()), std::io::read_to_string)?;
        let said = child.stderr.take().map_or(Ok(String::new()), std::io::read_to_string)?;
        Ok((child.wait()?, text, said))
    };
    std::thread::Builder::new().spawn(move || drop(done.send(end()))).map_err(failed)?;
    match is_done.recv_timeout(LIMIT) {
        Ok(Ok((status, text, said))) if status.success() => {
            let bytes = std::fs::read(&record).map_err(failed)?;
            let record = serde_json::from_slice(&bytes).map_err(|e| failed(e.into()))?;
            Ok(Ran { step, record, text, said })
        }
        Ok(Ok((status, _, said))) => {
            let own = words(&said);
            Err(if own.is_empty() { Failure::new(step, status) } else { Failure { step, why: own } })
        }
        Ok(Err(e)) => Err(failed(e)),
        Err(_) => {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            Err(Failure::new(step, format!("it stands still: no end after {} s", LIMIT.as_secs())))
        }
    }
}
