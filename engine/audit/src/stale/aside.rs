//! Keeps what healing takes away or makes older, and undoes it.
//!
//! Everything is noted before anything is done, and a file that is taken away gets a second name outside the tree
//! before it loses its own. So whoever comes next after a kill at any instant finds the file where it was or here, with
//! content, mode and times. A second name costs nothing and keeps everything; where there can be none (on another file
//! system) the file is copied.

use crate::paths::os_path;
use cache::TEMPORARY_PREFIX;
use cache::file_stat::{OLD, age, set_time};
use cache::{Digest, FileStat, PathBytes};
use engine::Config;
use rustix::fs::{CWD, RenameFlags};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Done {
    Removed,
    /// It was made older than everything; it had been changed at this time, nanoseconds since the epoch.
    Aged(i128),
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Row {
    path: PathBytes,
    done: Done,
}

/// What was undone, because nobody has made the file since.
pub struct Undone {
    pub path: PathBytes,
    pub was: Done,
    /// Why it could not be undone. It is tried again next time.
    pub outcome: Result<(), String>,
}

/// The files of one workspace that are set aside.
pub struct Aside {
    note: PathBuf,
    place: PathBuf,
}

impl Aside {
    pub fn of(config: &Config) -> Self {
        let note = config.kept("aside");
        Self { place: note.with_extension("d"), note }
    }

    /// Removes these files from the tree, or makes them older, in this order.
    ///
    /// # Errors
    /// What is done cannot be noted, or what was done last time cannot be read: nothing was done.
    pub fn put(&self, plan: &[(PathBytes, Done)]) -> std::io::Result<Vec<std::io::Result<()>>> {
        // What could not be brought back.
        let mut rows = self.rows()?;
        rows.retain(|r| self.is_pending(r) && plan.iter().all(|(p, _)| *p != r.path));
        rows.extend(plan.iter().map(|(path, done)| Row { path: path.clone(), done: *done }));
        std::fs::create_dir_all(&self.place)?;
        self.keep(&rows)?;
        let one = |(path, done): &(PathBytes, Done)| match done {
            Done::Removed => {
                let safe = self.safe(path);
                // Of another healing, which is over.
                let _ = std::fs::remove_file(&safe);
                duplicate(os_path(path), &safe)?;
                std::fs::remove_file(os_path(path))
            }
            Done::Aged(_) => age(os_path(path)),
        };
        Ok(plan.iter().map(one).collect())
    }

    /// Undoes whatever nobody has made again since.
    ///
    /// # Errors
    /// The note of what was done cannot be read or written.
    pub fn bring_back(&self) -> std::io::Result<Vec<Undone>> {
        let (pending, settled): (Vec<Row>, Vec<Row>) = self.rows()?.into_iter().partition(|r| self.is_pending(r));
        let undo = |r: &Row| match r.done {
            Done::Removed => {
                os_path(&r.path).parent().map_or(Ok(()), std::fs::create_dir_all)?;
                duplicate(&self.safe(&r.path), os_path(&r.path))?;
                std::fs::remove_file(self.safe(&r.path))
            }
            Done::Aged(then) => set_time(os_path(&r.path), then),
        };
        let undone: Vec<Undone> = pending
            .iter()
            .map(|r| Undone { path: r.path.clone(), was: r.done, outcome: undo(r).map_err(|e| e.to_string()) })
            .collect();
        let left: Vec<Row> =
            pending.into_iter().zip(&undone).filter(|(_, u)| u.outcome.is_err()).map(|(r, _)| r).collect();
        settled.iter().for_each(|r| drop(std::fs::remove_file(self.safe(&r.path))));
        if !left.is_empty() {
            self.keep(&left)?;
        } else if self.note.exists() {
            std::fs::remove_file(&self.note)?;
            let _ = std::fs::remove_dir_all(&self.place);
        }
        Ok(undone)
    }

    /// Is the file still missing, or still as old as it was made?
    fn is_pending(&self, r: &Row) -> bool {
        match (r.done, FileStat::of(&r.path)) {
            (Done::Removed, now) => now.is_none() && self.safe(&r.path).symlink_metadata().is_ok(),
            (Done::Aged(then), now) => then != OLD && now.is_some_and(|s| s.mtime == OLD),
        }
    }

    fn safe(&self, path: &PathBytes) -> PathBuf {
        self.place.join(Digest::of(path).hex())
    }

    fn rows(&self) -> std::io::Result<Vec<Row>> {
        match std::fs::read(&self.note) {
            Ok(b) => serde_json::from_slice(&b).map_err(|e| {
                std::io::Error::other(format!(
                    "{e}; remove `{}`, and look into `{}`",
                    self.note.display(),
                    self.place.display()
                ))
            }),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// The note is the old one or the new one, whatever happens.
    fn keep(&self, rows: &[Row]) -> std::io::Result<()> {
        let new = self.note.with_extension(format!("{}.new", std::process::id()));
        let f = std::fs::File::create(&new)?;
        serde_json::to_writer(&f, rows)?;
        f.sync_all()?;
        std::fs::rename(new, &self.note)
    }
}

/// Gives a file another name, or makes a copy of it there, with mode and time. Whoever has that name keeps it.
fn duplicate(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::hard_link(from, to) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists || e.kind() == ErrorKind::NotFound => return Err(e),
        Err(_) => {}
        Ok(()) => return Ok(()),
    }
    let state = from.symlink_metadata()?;
    let scratch = to.with_file_name(format!("{TEMPORARY_PREFIX}{}-aside", std::process::id()));
    let copied = (|| {
        if state.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(from)?, &scratch)?;
        } else {
            std::fs::copy(from, &scratch)?;
            std::fs::File::open(&scratch)?.sync_all()?;
        }
        let modified = state.modified()?;
        let since = |t: std::time::SystemTime| match t.duration_since(std::time::UNIX_EPOCH) {
            Ok(d) => i128::try_from(d.as_nanos()),
            Err(e) => i128::try_from(e.duration().as_nanos()).map(|n| -n),
        };
        set_time(&scratch, since(modified).map_err(std::io::Error::other)?)?;
        Ok(rustix::fs::renameat_with(CWD, &scratch, CWD, to, RenameFlags::NOREPLACE)?)
    })();
    if copied.is_err() {
        let _ = std::fs::remove_file(&scratch);
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    /// A tree with a file and a link in it, at a place of its own.
    struct Case {
        dir: tempfile::TempDir,
        aside: Aside,
        names: [PathBytes; 2],
    }

    type State = (u32, i64, i64, Vec<u8>);

    impl Case {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let tree = dir.path().join("tree/sub");
            std::fs::create_dir_all(&tree).unwrap();
            let names = [tree.join("f"), tree.join("l")];
            std::fs::write(&names[0], "content").unwrap();
            std::fs::set_permissions(&names[0], std::fs::Permissions::from_mode(0o751)).unwrap();
            symlink("f", &names[1]).unwrap();
            names.iter().for_each(|n| set_time(n, 12_345_678_901_234_567).unwrap());
            let note = dir.path().join("aside/x.json");
            let aside = Aside { place: note.with_extension("d"), note };
            Self { dir, aside, names: names.map(|n| n.as_os_str().as_bytes().into()) }
        }

        fn states(&self) -> Vec<Option<State>> {
            let state = |n: &PathBytes| {
                let p = os_path(n);
                let m = p.symlink_metadata().ok()?;
                let bytes = if m.is_symlink() {
                    p.read_link().ok()?.into_os_string().into_encoded_bytes()
                } else {
                    std::fs::read(p).ok()?
                };
                Some((m.mode(), m.mtime(), m.mtime_nsec(), bytes))
            };
            self.names.iter().map(state).collect()
        }

        fn plan(&self) -> Vec<(PathBytes, Done)> {
            self.names.iter().map(|n| (n.clone(), Done::Removed)).collect()
        }
    }

    #[test]
    fn what_is_missing_comes_back_as_it_was() {
        let c = Case::new();
        let before = c.states();
        assert!(c.aside.put(&c.plan()).unwrap().iter().all(Result::is_ok));
        assert_eq!(c.states(), [None, None]);
        // Even if its directory is gone.
        std::fs::remove_dir(c.dir.path().join("tree/sub")).unwrap();
        let undone = c.aside.bring_back().unwrap();
        assert!(undone.len() == 2 && undone.iter().all(|u| u.outcome.is_ok()));
        assert_eq!(c.states(), before);
        assert!(c.aside.bring_back().unwrap().is_empty() && !c.aside.place.exists());
        // What was made again meanwhile is nobody's to touch.
        c.aside.put(&c.plan()).unwrap();
        std::fs::write(os_path(&c.names[0]), "new").unwrap();
        assert_eq!(c.aside.bring_back().unwrap().len(), 1);
        assert_eq!(std::fs::read(os_path(&c.names[0])).unwrap(), b"new");
    }

    /// Killed after each step: the next one brings back everything.
    #[test]
    fn nothing_is_lost_half_way() {
        for step in 0..6 {
            let c = Case::new();
            let before = c.states();
            std::fs::create_dir_all(&c.aside.place).unwrap();
            let rows: Vec<Row> = c.plan().into_iter().map(|(path, done)| Row { path, done }).collect();
            let [f, l] = &c.names;
            let steps: [&dyn Fn(); 6] = [
                &|| c.aside.keep(&rows).unwrap(),
                &|| duplicate(os_path(f), &c.aside.safe(f)).unwrap(),
                &|| std::fs::remove_file(os_path(f)).unwrap(),
                &|| duplicate(os_path(l), &c.aside.safe(l)).unwrap(),
                &|| std::fs::remove_file(os_path(l)).unwrap(),
                // Here in the middle of bringing back.
                &|| duplicate(&c.aside.safe(f), os_path(f)).unwrap(),
            ];
            steps[..=step].iter().for_each(|s| s());
            c.aside.bring_back().unwrap();
            assert_eq!(c.states(), before, "killed after step {step}");
            // And a healing after that is none the worse.
            c.aside.put(&c.plan()).unwrap();
            c.aside.bring_back().unwrap();
            assert_eq!(c.states(), before, "killed after step {step}");
        }
    }

    /// What cannot be brought back now is tried again.
    #[test]
    fn a_failure_is_not_forgotten() {
        let c = Case::new();
        let before = c.states();
        c.aside.put(&c.plan()).unwrap();
        let (dir, away) = (c.dir.path().join("tree"), c.dir.path().join("away"));
        std::fs::rename(&dir, &away).unwrap();
        std::fs::write(&dir, "in the way").unwrap();
        assert!(c.aside.bring_back().unwrap().iter().all(|u| u.outcome.is_err()));
        std::fs::remove_file(&dir).unwrap();
        std::fs::rename(&away, &dir).unwrap();
        assert!(c.aside.bring_back().unwrap().iter().all(|u| u.outcome.is_ok()));
        assert_eq!(c.states(), before);
    }

    /// Another file system has no second name for it.
    #[test]
    fn copies_keep_mode_and_time() {
        let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
        let c = Case::new();
        let before = c.states();
        for (i, n) in c.names.iter().enumerate() {
            let there = other.path().join(i.to_string());
            duplicate(os_path(n), &there).unwrap();
            assert!(duplicate(os_path(n), &there).is_err(), "a name was replaced");
            std::fs::remove_file(os_path(n)).unwrap();
            duplicate(&there, os_path(n)).unwrap();
        }
        assert_eq!(c.states(), before);
    }
}
