//! Tells `xl --version` from which commit it was built. It runs again when `HEAD` has moved, which costs this package,
//! not the libraries.
//!
//! Without git, or from an archive in somebody else's repository, there is the version alone, unless `XL_COMMIT` says
//! more.

use std::path::Path;
use std::process::Command;

fn git(words: &[&str]) -> Option<String> {
    let out = Command::new("git").args(words).output().ok().filter(|o| o.status.success())?;
    String::from_utf8(out.stdout).ok().map(|s| s.trim().to_owned())
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=XL_COMMIT");
    let ours = git(&["ls-files", "--error-unmatch", "build.rs"]).is_some();
    // The log of `HEAD` grows with each commit, checkout, rebase and reset.
    for name in ["HEAD", "logs/HEAD"].into_iter().filter(|_| ours) {
        if let Some(file) = git(&["rev-parse", "--git-path", name]).filter(|f| Path::new(f).exists()) {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    let given = std::env::var("XL_COMMIT").ok().filter(|c| !c.is_empty());
    let commit = given.or_else(|| git(&["log", "-1", "--abbrev=10", "--format=%h %cs"]).filter(|_| ours));
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rustc-env=XL_VERSION={version}{}", commit.map(|c| format!(" ({c})")).unwrap_or_default());
}
