//! Finding the program that a command line names, as a shell would.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Finds `name` as a shell would: as a path if it has a slash, else in `path`.
pub fn search_path(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return Some(PathBuf::from(name));
    }
    std::env::split_paths(path).map(|d| d.join(name)).find(|p| p.is_file() && may_execute(p))
}

/// May this process execute the file? Where the question itself is refused the answer is yes: the `execve` tells.
pub fn may_execute(file: &Path) -> bool {
    use rustix::io::Errno;
    matches!(rustix::fs::access(file, rustix::fs::Access::EXEC_OK), Ok(()) | Err(Errno::PERM | Errno::NOSYS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_executable_file_of_the_name_is_found() {
        let t = tempfile::tempdir().expect("a directory");
        let place = |name: &str, mode| {
            let path = t.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            std::fs::write(&path, "").expect("a file");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("its mode");
            path
        };
        place("a/tool", 0o644);
        std::fs::create_dir_all(t.path().join("b/tool")).expect("a directory");
        let (tool, later) = (place("c/tool", 0o755), place("d/tool", 0o755));
        let path = std::env::join_paths(["none", "a", "b", "c", "d"].map(|d| t.path().join(d))).expect("a path");
        assert_eq!(search_path(OsStr::new("tool"), &path), Some(tool));
        assert_eq!(search_path(OsStr::new("other"), &path), None);
        assert_eq!(search_path(OsStr::new("tool"), OsStr::new("")), None);
        // With a slash it is a path, whatever is there.
        assert_eq!(search_path(later.as_os_str(), OsStr::new("")), Some(later));
        assert_eq!(search_path(OsStr::new("./tool"), &path), Some(PathBuf::from("./tool")));
    }
}
