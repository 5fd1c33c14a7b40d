//! Where things are: the workspace, the machine's own files, scratch directories, what git tracks.

use cache::PathBytes;
use rustc_hash::FxHashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where every machine has its own tools and nobody keeps sources.
const SYSTEM: &[&str] =
    &["/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/proc", "/sys", "/dev", "/run", "/nix", "/var"];

/// Where anybody may leave scratch files.
const SCRATCH: &[&str] = &["/tmp", "/var/tmp", "/dev", "/proc", "/run", "/sys"];

/// What the checks need to know besides.
pub struct Place<'a> {
    /// The workspace root.
    pub root: &'a Path,
    /// Not part of the build.
    pub cache_dir: &'a Path,
    /// Scratch directories of this user besides `/tmp`.
    pub scratch: Vec<PathBytes>,
    /// What rules grant to commands of no build tool.
    pub policy: &'a super::policy::Policy,
    /// Is `outside-read` asked for?
    pub outside_reads: bool,
}

impl Place<'_> {
    pub(crate) fn is_inside(&self, path: &[u8]) -> bool {
        below(path, self.root.as_os_str().as_bytes()) && !is_gits(path)
    }

    /// Where anybody may leave something behind.
    pub(crate) fn is_scratch(&self, path: &[u8]) -> bool {
        SCRATCH.iter().any(|d| below(path, d.as_bytes()))
            || self.scratch.iter().any(|d| below(path, d))
            || below(path, self.cache_dir.as_os_str().as_bytes())
    }

    pub(crate) fn is_system(&self, path: &[u8]) -> bool {
        SYSTEM.iter().any(|d| below(path, d.as_bytes()))
    }
}

/// What git keeps for itself.
pub(super) fn is_gits(path: &[u8]) -> bool {
    path.windows(6).any(|w| w == b"/.git/")
}
pub(super) fn below(path: &[u8], dir: &[u8]) -> bool {
    dir == b"/" || path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}
/// The files that git tracks below `root`; `None` if this is no repository of git's.
pub(crate) fn tracked(root: &Path) -> Option<FxHashSet<PathBytes>> {
    if !root.ancestors().any(|d| d.join(".git").exists()) {
        return None;
    }
    let git = |words: &[&str]| {
        let out = std::process::Command::new("git").arg("-C").arg(root).args(words).output().ok()?;
        out.status.success().then_some(out.stdout)
    };
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let top = Path::new(OsStr::from_bytes(top.strip_suffix(b"\n").unwrap_or(&top)));
    let full = |name: &[u8]| -> PathBytes { top.join(OsStr::from_bytes(name)).as_os_str().as_bytes().into() };
    Some(git(&["ls-files", "-z", "--full-name"])?.split(|b| *b == 0).filter(|n| !n.is_empty()).map(full).collect())
}
