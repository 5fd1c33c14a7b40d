//! Tells whose a file is by where it is: the project's, git's, the machine's, or anybody's scratch file.
//!
//! Git is asked once which files it tracks, and only when somebody wants to know.

use crate::paths::{absolute, below, os_path, parent};
use cache::PathBytes;
use rustc_hash::FxHashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

/// Where the machine keeps what is no package's, and nobody keeps sources.
const SYSTEM: &[&str] = &["/usr/local", "/etc", "/opt", "/proc", "/sys", "/dev", "/run", "/nix", "/var"];

/// Where anybody may leave scratch files.
const SCRATCH: &[&str] = &["/tmp", "/var/tmp", "/dev", "/proc", "/run", "/sys"];

/// Where a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// In the workspace, or where a build tool of this run works: a file of this project, as far as one can tell.
    Inside,
    /// What git keeps for itself.
    Git,
    /// Where anybody may leave something behind.
    Scratch,
    /// The machine's own tools.
    System,
    Outside,
}

/// What the machine, not the configuration, says of places. Found out once, when somebody first asks.
#[derive(Default)]
pub(crate) struct Surroundings {
    scratch: OnceLock<Vec<PathBytes>>,
    tracked: OnceLock<Result<Option<FxHashSet<PathBytes>>, String>>,
}

impl Surroundings {
    /// Directories of this user in which anything may be left behind. Absolute.
    fn scratch(&self) -> &[PathBytes] {
        self.scratch.get_or_init(|| {
            // What a compiler's cache keeps for the user is no trace of the build.
            let own = cache::home::user_cache_dir(|v| std::env::var_os(v))
                .and_then(|d| d.parent().map(|p| p.as_os_str().to_owned()));
            let all = ["TMPDIR", "XDG_RUNTIME_DIR"].iter().filter_map(std::env::var_os).chain(own);
            all.filter(|d| d.as_bytes().starts_with(b"/")).map(|d| absolute(b"/", d.as_bytes())).collect()
        })
    }

    /// Why git did not say which files are sources, if it was asked in vain.
    pub(crate) fn trouble(&self) -> Option<String> {
        let why = self.tracked.get()?.as_ref().err()?;
        Some(format!("git does not say which files are sources ({why}): a source is what build files take for one"))
    }

    /// Has this file, which git tracks, the content that git knows?
    pub(crate) fn is_as_committed(&self, path: &[u8]) -> bool {
        let mut git = std::process::Command::new("git");
        git.args(["--no-optional-locks", "-C"]).arg(os_path(parent(path)));
        git.args(["diff", "--quiet", "--no-ext-diff", "--"]).arg(os_path(path));
        git.output().is_ok_and(|out| out.status.success())
    }

    /// The files that git tracks below `root`, as [`tracked`] says it.
    pub(crate) fn tracked(&self, root: &Path) -> Result<Option<&FxHashSet<PathBytes>>, &str> {
        self.tracked.get_or_init(|| tracked(root)).as_ref().map(Option::as_ref).map_err(String::as_str)
    }
}

/// The places that a configuration names, and those around.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a> {
    /// The workspace root.
    pub(crate) root: &'a Path,
    /// Not part of the build.
    pub(crate) cache_dir: &'a Path,
    pub(crate) around: &'a Surroundings,
}

impl Places<'_> {
    /// Whose a name is. `grounds`: directories in which build tools work, besides the workspace.
    pub(crate) fn of(&self, path: &[u8], grounds: &[PathBytes]) -> Where {
        if path.windows(6).any(|w| w == b"/.git/") {
            Where::Git
        } else if below(path, self.root.as_os_str().as_bytes()) || grounds.iter().any(|g| below(path, g)) {
            Where::Inside
        } else if is_scratch(path)
            || self.around.scratch().iter().any(|d| below(path, d))
            || below(path, self.cache_dir.as_os_str().as_bytes())
        {
            Where::Scratch
        } else if is_system(path) {
            Where::System
        } else {
            Where::Outside
        }
    }
}

/// May anybody leave something behind there, whatever is configured?
pub(crate) fn is_scratch(path: &[u8]) -> bool {
    SCRATCH.iter().any(|d| below(path, d.as_bytes()))
}

/// Is it one of the machine's own files?
pub(crate) fn is_system(path: &[u8]) -> bool {
    worker::places::belongs_to_the_machine(path) || SYSTEM.iter().any(|d| below(path, d.as_bytes()))
}

/// The files that git tracks below `root`, those of submodules too; `None` if this is no repository of git's.
///
/// # Errors
/// It is a repository, and git does not answer: it is missing, or distrusts the owner.
pub(crate) fn tracked(root: &Path) -> Result<Option<FxHashSet<PathBytes>>, String> {
    if !root.ancestors().any(|d| d.join(".git").exists()) {
        return Ok(None);
    }
    let git = |words: &[&str]| {
        let out = std::process::Command::new("git")
            .arg("-C")
            .arg(root)
            .args(words)
            .output()
            .map_err(|e| format!("git: {e}"))?;
        let said = || String::from_utf8_lossy(&out.stderr).lines().next().unwrap_or("git failed").to_owned();
        if out.status.success() { Ok(out.stdout) } else { Err(said()) }
    };
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let top = Path::new(OsStr::from_bytes(top.strip_suffix(b"\n").unwrap_or(&top)));
    let full = |name: &[u8]| -> PathBytes { top.join(OsStr::from_bytes(name)).as_os_str().as_bytes().into() };
    let all = git(&["ls-files", "-z", "--full-name", "--recurse-submodules"])?;
    Ok(Some(all.split(|b| *b == 0).filter(|n| !n.is_empty()).map(full).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let places = Places {
            root: Path::new("/w"),
            cache_dir: Path::new("/home/x/.cache/xl"),
            around: &Surroundings { scratch: vec![b"/scratch"[..].into()].into(), ..Surroundings::default() },
        };
        let grounds = [b"/build"[..].into()];
        for (path, want) in [
            ("/w/a", Where::Inside),
            ("/ww/a", Where::Outside),
            ("/build/x", Where::Inside),
            ("/w/.git/index", Where::Git),
            ("/home/x/.git/HEAD", Where::Git),
            ("/tmp/x", Where::Scratch),
            ("/scratch/x", Where::Scratch),
            ("/home/x/.cache/xl/cas", Where::Scratch),
            ("/usr/include/a.h", Where::System),
            ("/library/a", Where::Outside),
            ("/home/x/a", Where::Outside),
        ] {
            assert_eq!(places.of(path.as_bytes(), &grounds), want, "{path}");
        }
    }
}
