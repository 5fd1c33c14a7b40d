//! Runs a build tool where it can do no harm: the tree is covered by a throw-away layer, everything else is read-only.
//!
//! `make -n` is not harmless: it runs `$(shell …)`, lines with `+` and lines with `$(MAKE)`, and remakes included files. So it
//! gets a mount namespace of its own, in which writes to the tree go to memory (overlayfs) and are forgotten. util-linux's `unshare`
//! and `mount` do it, as root or in a user namespace; where neither is allowed, nobody is asked, and the report says so.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Prepares the namespace and becomes the command: SCRATCH CWD COUNT, then the covered directories, each with its name as an
/// option of overlayfs has it, then the command.
const SCRIPT: &str = r#"set -e
scratch=$1 cwd=$2 count=$3; shift 3
while read -r _ at kind options _; do
  case $kind in proc|sysfs|devpts|cgroup*|mqueue) continue;; esac
  case $options in rw*) mount -o remount,bind,ro "$(printf '%b' "$at")" 2>/dev/null || :;; esac
done < /proc/self/mounts
mount -t tmpfs xl "$scratch"
mkdir "$scratch/tmp"
while [ "$count" -gt 0 ]; do
  mkdir "$scratch/up$count" "$scratch/work$count"
  mount -t overlay -o "lowerdir=$2,upperdir=$scratch/up$count,workdir=$scratch/work$count" xl "$1"
  count=$((count - 1)); shift 2
done
export TMPDIR="$scratch/tmp"
cd "$cwd"
exec "$@"
"#;

/// How long an answer may take, seconds.
const PATIENCE: &str = "120";

/// A way to get such a namespace that works here.
pub struct Sandbox {
    unshare: &'static [&'static str],
    scratch: PathBuf,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.scratch);
    }
}

impl Sandbox {
    /// Finds out what is allowed. `base` is a directory to make a mount point in.
    pub fn new(base: &Path) -> Result<Self, String> {
        let name = format!("xl-ask-{}", std::process::id());
        let mut scratch = base.join(&name);
        if std::fs::create_dir_all(&scratch).is_err() {
            scratch = std::env::temp_dir().join(&name);
            std::fs::create_dir_all(&scratch).map_err(|e| format!("`{}` cannot be made: {e}", scratch.display()))?;
        }
        let mut s = Self { unshare: &[], scratch };
        let mut why = String::new();
        for way in [&["--mount"][..], &["--user", "--map-root-user", "--mount"]] {
            s.unshare = way;
            match s.run(&[OsString::from("true")], Path::new("/"), &[], std::env::vars_os()) {
                Ok(_) => return Ok(s),
                Err(e) => why = e,
            }
        }
        Err(format!("a mount namespace is needed to ask without touching the tree, and is not permitted here ({why})"))
    }

    /// Standard output of a command that runs in `cwd`, with `covered` directories that it may seem to change. Its exit code is
    /// not looked at.
    pub fn run(
        &self,
        argv: &[OsString],
        cwd: &Path,
        covered: &[&Path],
        env: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Vec<u8>, String> {
        // Below a covered directory the mount point would be covered too.
        let mut c = Command::new("timeout");
        c.args(["-k", "1", PATIENCE, "unshare"]).args(self.unshare).args(["--", "sh", "-c", SCRIPT, "xl-ask"]);
        c.arg(option_text(&self.scratch)).arg(cwd).arg(covered.len().to_string());
        for dir in covered {
            c.arg(dir).arg(option_text(dir));
        }
        c.args(argv).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        c.env_clear().envs(env);
        let out = c.output().map_err(|e| format!("`timeout unshare` cannot be run: {e}"))?;
        let said = || String::from_utf8_lossy(&out.stderr).lines().last().unwrap_or_default().to_owned();
        match out.status.code() {
            Some(124 | 137) => Err(format!("no answer within {PATIENCE} s")),
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
        let (tree, base) = (dir.path().join("a,b:c d"), dir.path().join("base"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("f"), "old").unwrap();
        let s = match Sandbox::new(&base) {
            Ok(s) => s,
            Err(e) => {
                use std::io::Write;
                return drop(writeln!(std::io::stderr(), "skipped: {e}"));
            }
        };
        let text = "echo new > f; cat f; echo x > g; touch /etc/xl-was-here /dev/shm/xl-was-here 2>/dev/null || echo refused; echo t > $TMPDIR/t && cat $TMPDIR/t";
        let out = s.run(&["sh".into(), "-c".into(), text.into()], &tree, &[&tree], std::env::vars_os()).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), "new\nrefused\nt\n");
        assert_eq!(std::fs::read(tree.join("f")).unwrap(), b"old");
        assert!(!tree.join("g").exists() && !Path::new("/etc/xl-was-here").exists() && !Path::new("/dev/shm/xl-was-here").exists());
        drop(s);
        assert_eq!(std::fs::read_dir(&base).unwrap().count(), 0);
    }
}
