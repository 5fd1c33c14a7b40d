//! Runs a command in a throw-away layer: it sees the tree, and whatever it changes there is forgotten.
//!
//! Needed because asking a build tool is not harmless: `make -n` runs `$(shell …)`, lines with `+` and lines with
//! `$(MAKE)`, and remakes included files. The command gets a mount namespace of its own, in which writes to the tree go
//! to memory (overlayfs), and everything outside the tree is read-only. util-linux's `unshare` and `mount` do it, as
//! root or in a user namespace; where neither is allowed, no build tool is asked, and the report says so.
//!
//! Only files are kept from harm: the command can reach the network and other processes as ever.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Prepares the namespace and becomes the command: SCRATCH, the same as an option of overlayfs has it, CWD COUNT, then
/// the covered directories, each with its name as such an option too, then the command.
const SCRIPT: &str = r#"set -e
scratch=$1 option=$2 cwd=$3 count=$4; shift 4
while read -r _ at kind options _; do
  case $kind in proc|sysfs|devpts|cgroup*|mqueue) continue;; esac
  at=$(printf '%b' "$at")
  case $options in rw*)
    mount -o remount,bind,ro "$at" 2>/dev/null || [ ! -w "$at" ] ||
      { echo "$at cannot be made read-only" >&2; exit 1; };;
  esac
done < /proc/self/mounts
mount -t tmpfs xl "$scratch"
mkdir "$scratch/tmp"
while [ "$count" -gt 0 ]; do
  mkdir "$scratch/up$count" "$scratch/work$count"
  mount -t overlay -o "lowerdir=$2,upperdir=$option/up$count,workdir=$option/work$count" xl "$1"
  count=$((count - 1)); shift 2
done
export TMPDIR="$scratch/tmp"
cd "$cwd"
exec "$@"
"#;

/// How long a build tool may take to answer a question. Experiments take as long as the builds that they are.
pub(crate) const PATIENCE: Option<Duration> = Some(Duration::from_secs(120));

/// A way to get such a namespace that works here.
pub(crate) struct Layer {
    unshare: &'static [&'static str],
    scratch: PathBuf,
    /// The tree that is covered.
    root: PathBuf,
}

impl Drop for Layer {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.scratch);
    }
}

impl Layer {
    /// Finds out what is allowed. `base` is a directory to make a mount point in, unless it is below `root`, which will
    /// be covered.
    pub(crate) fn new(base: &Path, root: &Path) -> Result<Self, String> {
        let name = format!("xl-ask-{}", std::process::id());
        let places = [base.to_owned(), std::env::temp_dir(), "/dev/shm".into(), "/run".into()];
        let mut places = places.iter().filter(|p| !p.starts_with(root)).map(|p| p.join(&name));
        let scratch =
            places.find(|p| std::fs::create_dir_all(p).is_ok()).ok_or("there is no place for a mount point")?;
        let mut s = Self { unshare: &[], scratch, root: root.to_owned() };
        let mut why = String::new();
        for way in [&["--mount"][..], &["--user", "--map-root-user", "--mount"]] {
            s.unshare = way;
            match s.enter(&[OsString::from("true")], Path::new("/"), &[], std::env::vars_os(), PATIENCE) {
                Ok(_) => return Ok(s),
                Err(e) => why = e,
            }
        }
        Err(format!("a mount namespace is needed to ask without touching the tree, and is not permitted here ({why})"))
    }

    /// Standard output of a command that runs in `cwd`, and may seem to change the tree and the directory `also`. Its
    /// exit code is not looked at.
    ///
    /// # Errors
    /// No namespace, no command, or no answer in time.
    pub(crate) fn run(
        &self,
        argv: &[OsString],
        cwd: &Path,
        also: &Path,
        env: impl Iterator<Item = (OsString, OsString)>,
        limit: Option<Duration>,
    ) -> Result<Vec<u8>, String> {
        let covered: Vec<&Path> =
            [Some(&*self.root), (!also.starts_with(&self.root)).then_some(also)].into_iter().flatten().collect();
        self.enter(argv, cwd, &covered, env, limit)
    }

    fn enter(
        &self,
        argv: &[OsString],
        cwd: &Path,
        covered: &[&Path],
        env: impl Iterator<Item = (OsString, OsString)>,
        limit: Option<Duration>,
    ) -> Result<Vec<u8>, String> {
        let seconds = limit.map_or(0, |l| l.as_secs());
        let mut c = Command::new("timeout");
        // No seconds: no limit (timeout(1)).
        c.args(["-k", "1", &seconds.to_string(), "unshare"])
            .args(self.unshare)
            .args(["--", "sh", "-c", SCRIPT, "xl-ask"]);
        c.arg(&self.scratch).arg(option_text(&self.scratch)).arg(cwd).arg(covered.len().to_string());
        for dir in covered {
            c.arg(dir).arg(option_text(dir));
        }
        c.args(argv).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        c.env_clear().envs(env);
        let out = c.output().map_err(|e| format!("`timeout unshare` cannot be run: {e}"))?;
        let said = || String::from_utf8_lossy(&out.stderr).lines().last().unwrap_or_default().to_owned();
        match out.status.code() {
            Some(124 | 137) => Err(format!("no answer within {seconds} s")),
            // `unshare` and the script say so themselves, before anything is printed.
            Some(c) if c != 0 && out.stdout.is_empty() => Err(said()),
            None => Err("it was killed".into()),
            _ => Ok(out.stdout),
        }
    }
}

/// A path in the options of overlayfs, where `,`, `:` and `\` separate and escape.
fn option_text(p: &Path) -> OsString {
    let mut out = Vec::new();
    for b in OsStr::as_bytes(p.as_os_str()) {
        if matches!(b, b',' | b':' | b'\\') {
            out.push(b'\\');
        }
        out.push(*b);
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_does_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, base) = (dir.path().join("a,b:c d"), dir.path().join("b,a:s\\e"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("f"), "old").unwrap();
        let s = match Layer::new(&base, &tree) {
            Ok(s) => s,
            Err(e) => {
                use std::io::Write;
                return drop(writeln!(std::io::stderr(), "skipped: {e}"));
            }
        };
        let text = "echo new > f; cat f; echo x > g; touch /etc/xl-was-here /dev/shm/xl-was-here 2>/dev/null || \
                    echo refused; echo t > $TMPDIR/t && cat $TMPDIR/t";
        let out = s.run(&["sh".into(), "-c".into(), text.into()], &tree, &tree, std::env::vars_os(), PATIENCE).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), "new\nrefused\nt\n");
        assert_eq!(std::fs::read(tree.join("f")).unwrap(), b"old");
        assert!(
            !tree.join("g").exists()
                && !Path::new("/etc/xl-was-here").exists()
                && !Path::new("/dev/shm/xl-was-here").exists()
        );
        drop(s);
        assert_eq!(std::fs::read_dir(&base).unwrap().count(), 0);
        // A place below the tree would be covered with it.
        let s = Layer::new(&tree.join("cache"), &tree).unwrap();
        assert!(!s.scratch.starts_with(&tree) && !tree.join("cache").exists());
    }
}
