//! Where a user is at home, and keeps caches.
//!
//! Without the variable that is read from `/etc/passwd`, not asked of getpwuid(3): that loads the libraries which
//! `nsswitch.conf` names, and a program that is linked statically dies of it (tried: glibc 2.36, libnss_systemd). Who
//! is known to another service only has no home here.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The home directory of this user; `var` gives environment variables. `None` if there is none, or it is no absolute
/// path.
pub fn dir(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let told = var("HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    told.or_else(|| of(&std::fs::read("/etc/passwd").ok()?, rustix::process::getuid().as_raw()))
}

/// `~` and `~/x` are in the home directory. No shell has seen what is in a file, or behind the `=` of an option.
pub fn expand(path: &Path) -> PathBuf {
    let Ok(rest) = path.strip_prefix("~") else { return path.to_owned() };
    match dir(|v| std::env::var_os(v)) {
        // Without an empty last component, which would show as a slash.
        Some(home) if rest.as_os_str().is_empty() => home,
        Some(home) => home.join(rest),
        None => path.to_owned(),
    }
}

/// Where a user's caches are (XDG Base Directory Specification: what is no absolute path is ignored); `var` gives
/// environment variables.
pub fn user_cache_dir(var: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let absolute = |n: &str| var(n).map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || Some(dir(&var)?.join(".cache"));
    Some(absolute("XDG_CACHE_HOME").or_else(home)?.join("xl"))
}

/// passwd(5): `name:password:uid:gid:comment:home:shell`.
fn of(users: &[u8], uid: u32) -> Option<PathBuf> {
    let uid = uid.to_string();
    let home = users.split(|b| *b == b'\n').find_map(|l| {
        let mut fields = l.split(|b| *b == b':');
        (fields.nth(2)? == uid.as_bytes()).then(|| fields.nth(2))?
    })?;
    Some(PathBuf::from(OsStr::from_bytes(home))).filter(|p| p.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_alone_is_home() {
        let home = dir(|v| std::env::var_os(v)).expect("a home directory");
        assert_eq!(expand(Path::new("~/x/y")), home.join("x/y"));
        assert_eq!(expand(Path::new("~")), home);
        for path in ["/a/~/b", "~x", "x/~"] {
            assert_eq!(expand(Path::new(path)), Path::new(path));
        }
    }

    #[test]
    fn lines_of_passwd() {
        let users =
            b"root:x:0:0:root:/root:/bin/sh\n+::::::\n\na:x:10:1::/home/a:/bin/sh\nb:x:11:1::relative:\nc:x:12:1\n";
        let home = |uid| of(users, uid).map(|p| p.display().to_string());
        assert_eq!((home(0).as_deref(), home(10).as_deref()), (Some("/root"), Some("/home/a")));
        assert_eq!((home(1), home(11), home(12)), (None, None, None));
    }
}
