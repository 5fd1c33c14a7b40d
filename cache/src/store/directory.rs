//! The directory of a cache: whose it is, which format it has, and its key.

use super::{Access, Notice, now_ms};
use crate::{Error, IoResultExt, Result};
use std::path::Path;

/// Format of the directory. A directory with a higher number is left alone, the results of one with a lower number are
/// dropped.
const DIRECTORY_FORMAT: u32 = 2;

/// Creates the directory, checks owner and format.
pub(super) fn prepare(dir: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).at("create", dir)?;
    let you = rustix::process::geteuid().as_raw();
    let m = std::fs::metadata(dir).at("look at", dir)?;
    let owner = m.uid();
    if owner != you {
        return Err(Error::Owner { path: dir.to_owned(), owner, you });
    }
    if m.mode() & 0o077 != 0 {
        // Made by hand, or unpacked by a CI cache: nobody else has business here.
        use std::os::unix::fs::PermissionsExt;
        let _ = std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700));
    }
    let file = dir.join("format");
    match std::fs::read_to_string(&file) {
        Ok(text) => match text.trim().parse() {
            Ok(found) if found > DIRECTORY_FORMAT => {
                return Err(Error::Version { path: dir.to_owned(), found, known: DIRECTORY_FORMAT });
            }
            Ok(DIRECTORY_FORMAT) => return Ok(()),
            Ok(_) => {
                for old in ["db", "spool"].map(|name| dir.join(name)).iter().filter(|d| d.exists()) {
                    std::fs::remove_dir_all(old).at("remove", old)?;
                }
            }
            Err(_) => {}
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).at("read", &file),
    }
    std::fs::write(&file, format!("{DIRECTORY_FORMAT}\n")).at("write", &file)
}

/// Puts another key in the place of that of the cache in `dir`.
pub(super) fn put_key(dir: &Path, key: &[u8; 32]) -> Result<()> {
    let (path, scratch) = (dir.join("key"), dir.join(format!("key.{}", std::process::id())));
    std::fs::write(&scratch, key).at("write", &scratch)?;
    std::fs::rename(&scratch, &path).at("store", &path)
}

/// The key of the cache in `dir`, made if there is none; one that cannot be kept is good for this run.
pub(super) fn key(dir: &Path, access: Access, notices: &mut Vec<Notice>) -> Result<[u8; 32]> {
    let path = dir.join("key");
    let found = std::fs::symlink_metadata(&path).ok();
    if found.as_ref().is_some_and(std::fs::Metadata::is_file)
        && let Ok(b) = std::fs::read(&path)
        && let Ok(k) = b.try_into()
    {
        return Ok(k);
    }
    if found.is_some() && access != Access::ReadOnly {
        let aside = dir.join(format!("key.damaged-{}", now_ms()));
        std::fs::rename(&path, &aside).at("move aside", &path)?;
        let aside = aside.display();
        notices.push(format!(
            "the key of the cache was damaged; it was moved to `{aside}`: results that depend on variables miss once"
        ));
    }
    let mut k = [0; 32];
    let mut f = std::fs::File::open("/dev/urandom").at("open", "/dev/urandom")?;
    std::io::Read::read_exact(&mut f, &mut k).at("read", "/dev/urandom")?;
    if access != Access::ReadOnly {
        let scratch = dir.join(format!("key.{}", std::process::id()));
        std::fs::write(&scratch, k).at("write", &scratch)?;
        // The first one stays: another process may have been faster. Some file systems know no links; there the
        // last one stays.
        match std::fs::hard_link(&scratch, &path) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                std::fs::rename(&scratch, &path).at("store", &path)?
            }
            _ => std::fs::remove_file(&scratch).at("remove", &scratch)?,
        }
        if let Ok(b) = std::fs::read(&path)
            && let Ok(winner) = b.try_into()
        {
            return Ok(winner);
        }
    }
    Ok(k)
}
