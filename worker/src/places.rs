//! Whose a path is, told by where it is: the machine's packages', other people's, or the build's own and the user's.
//!
//! A leaf: it knows prefixes, and no files. Three questions are asked of a place, and no other list of prefixes answers
//! one of them.

use bstr::ByteSlice;

/// Where the packages of a distribution are (hier(7)), and the stores of Nix and Guix.
const MACHINE: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];

/// What is below one of those, and is no package's: hier(7) leaves it to who administers the machine.
const USERS: &str = "/usr/local";

/// Where whole tools of others are installed, besides.
const INSTALLED: &[&str] = &["/opt", "/nix", "/gnu"];

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

fn below(path: &[u8], dir: &str) -> bool {
    path.strip_prefix(dir.as_bytes()).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

fn below_any(path: &[u8], dirs: &[&str]) -> bool {
    dirs.iter().any(|d| below(path, d))
}

/// Does a package of the machine's own system say what is there?
///
/// It protects the answer to *is this small program what it is called*: somebody's own `test` or `join` in
/// `/usr/local/bin` may read any variable and compare any time. A `gcc` there is a compiler all the same, for nobody
/// gives that name to anything else.
pub fn belongs_to_the_machine(path: &[u8]) -> bool {
    below_any(path, MACHINE) && !below(path, USERS)
}

/// Is it where the user of this machine installs what no package of it is?
pub(crate) fn is_users(path: &[u8]) -> bool {
    below(path, USERS)
}

/// Is it at a place where tools are installed, by the machine, by its user or by a package manager? A compiler or an
/// interpreter there is what it is called: to know nothing of a Python in `/usr/local/bin` would be to overlook when
/// the times of its modules count. What is below the workspace `root` is none, wherever that is.
pub(crate) fn is_installed(path: &[u8], root: &[u8]) -> bool {
    is_foreign(path, root) || is_users(path) && !below_root(path, root)
}

/// Did somebody else write this text, so that nobody has to look for the clock in it? A script in `/usr/local` may be
/// the user's own, and is searched like one of the build.
pub(crate) fn is_foreign(path: &[u8], root: &[u8]) -> bool {
    let by_place = belongs_to_the_machine(path) || below_any(path, INSTALLED);
    by_place && !below_root(path, root) || PACKAGES.iter().any(|d| path.contains_str(d))
}

fn below_root(path: &[u8], root: &[u8]) -> bool {
    root.len() > 1 && path.strip_prefix(root).is_some_and(|rest| rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_place_is() {
        // Whether it belongs to the machine, is installed, and is foreign.
        for (path, want) in [
            ("/usr/bin/test", [true, true, true]),
            ("/bin/sh", [true, true, true]),
            ("/lib64/ld-linux-x86-64.so.2", [true, true, true]),
            ("/usr/lib/gcc/x86_64-linux-gnu/12/cc1", [true, true, true]),
            ("/usr", [true, true, true]),
            ("/usr/localhost/x", [true, true, true]),
            ("/nix/store/h-gcc/bin/gcc", [true, true, true]),
            ("/usr/local", [false, true, false]),
            ("/usr/local/bin/gen.py", [false, true, false]),
            ("/usr/local/lib/python3.11/random.py", [false, true, true]),
            ("/opt/x/bin/ld", [false, true, true]),
            ("/home/u/.cargo/bin/rustc", [false, true, true]),
            ("/w/venv/lib/python3.11/random.py", [false, true, true]),
            ("/usr/src/app/gen.py", [true, true, true]),
            ("/usr2/cc", [false; 3]),
            ("/home/u/bin/gen", [false; 3]),
            ("/w/usr/bin/gen", [false; 3]),
        ] {
            let p = path.as_bytes();
            assert_eq!([belongs_to_the_machine(p), is_installed(p, b"/w"), is_foreign(p, b"/w")], want, "{path}");
        }
        // The workspace is the build's own, wherever it is.
        for (path, root) in [("/usr/src/app/gen.py", "/usr/src/app"), ("/usr/local/src/app/gen", "/usr/local/src/app")]
        {
            let (p, root) = (path.as_bytes(), root.as_bytes());
            assert!(!is_installed(p, root) && !is_foreign(p, root), "{path}");
        }
    }
}
