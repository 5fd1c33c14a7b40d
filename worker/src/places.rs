//! Whose a path is, told by where it is: the machine's packages', other people's, or the build's own and the user's.
//!
//! A leaf: it knows prefixes, and no files. Three questions are asked of a place, and no other list of prefixes answers
//! one of them.

use bstr::ByteSlice;

/// Where the packages of a distribution are (hier(7)), and the stores of Nix and Guix.
const MACHINE: &[&str] =
    &["/usr/", "/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/", "/nix/store/", "/gnu/store/"];

/// Where whole tools of others are installed, besides.
const INSTALLED: &[&str] = &["/opt/", "/nix/", "/gnu/"];

/// Where package managers of languages put what is not the build's own, wherever they put it.
const PACKAGES: &[&str] = &[
    "/site-packages/",
    "/dist-packages/",
    "/node_modules/",
    "/lib/python",
    "/lib/perl",
    "/lib/ruby",
    "/perl5/",
    "/perlbrew/",
    "/.rbenv/",
    "/.pyenv/",
    "/.rustup/",
    "/.cargo/",
    "/.nvm/",
];

fn starts(path: &[u8], dirs: &[&str]) -> bool {
    dirs.iter().any(|d| path.starts_with(d.as_bytes()))
}

/// Does a package of the machine's own system say what is there?
pub fn belongs_to_the_machine(path: &[u8]) -> bool {
    starts(path, MACHINE)
}

/// Is it at a place where tools are installed, by the machine, by its user or by a package manager, so that a compiler
/// or an interpreter there is what it is called? What is below the workspace `root` is not, wherever that is.
pub fn is_installed(path: &[u8], root: &[u8]) -> bool {
    is_foreign(path, root)
}

/// Did somebody else write this text, so that nobody looks for the clock in it?
pub fn is_foreign(path: &[u8], root: &[u8]) -> bool {
    let below = root.len() > 1 && path.strip_prefix(root).is_some_and(|rest| rest.starts_with(b"/"));
    !below && (belongs_to_the_machine(path) || starts(path, INSTALLED)) || PACKAGES.iter().any(|d| path.contains_str(d))
}
