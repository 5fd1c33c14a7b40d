//! `--at DIR`: the workspace under another path, for `xl` and everything that it starts.
//!
//! What compilers write down (debug information, `__FILE__`, dependency files) names the directory of the build, so
//! results of two checkouts differ where these do. Here every checkout gets the same path: this process enters a mount
//! namespace of its own, in which the workspace is mounted at that path as well, and executes itself again there. The
//! rest of `xl` does not know that it is elsewhere; only records say where the workspace really is.
//!
//! Root needs a mount namespace for that (unshare(2), mount(2)), everybody else a user namespace around it, in which
//! users and groups other than the own ones look like `nobody` (user_namespaces(7)).

use crate::args::Cli;
use crate::commands::run::{is_disabled, is_supervised};
use crate::commands::{here, settings};
use crate::exit_code;
use crate::messages::{CommandError, warning};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use std::ffi::{CString, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

/// Goes where the command line, or the configuration, wants the workspace to be; then this process is another one. It
/// comes back if nothing of the kind is wanted.
///
/// # Errors
/// What is asked for cannot be had with this directory; or, with `--strict`, not on this machine.
pub(crate) fn enter(cli: &Cli) -> Result<(), CommandError> {
    let Some((args, common, strict)) = cli.place() else { return Ok(()) };
    if args.really.is_some() || is_disabled() || is_supervised() {
        return Ok(());
    }
    // What is wrong with the configuration is told by whoever is going to use it.
    let configured = || settings(common).ok().and_then(|(c, _)| c.at);
    let Some(dir) = args.at.clone().or_else(configured) else { return Ok(()) };
    let here = here()?;
    let root = engine::config::workspace_root(&here);
    let Some(place) = Place::of(&dir, &root)? else { return Ok(()) };
    if let Err(e) = namespace() {
        let why = CommandError::new(exit_code::BACKEND, format!("the workspace cannot be at `{}`", dir.display()))
            .cause(format!("no mount namespace: {e}"));
        if strict {
            return Err(why.hint("in a container: --cap-add SYS_ADMIN; elsewhere user namespaces must be allowed"));
        }
        warning(&format!("{}; it stays at `{}`", why.line(), root.display()));
        return Ok(());
    }
    place.mount(&root)?;
    let inside = match here.strip_prefix(&root) {
        Ok(rest) if !rest.as_os_str().is_empty() => dir.join(rest),
        _ => dir,
    };
    let mut words = std::env::args_os();
    let mut again = std::process::Command::new("/proc/self/exe");
    again.arg0(words.next().unwrap_or_else(|| "xl".into()));
    again.args(words.next()).arg(option(&root)).args(words).current_dir(&inside);
    if std::env::var_os("PWD").is_some() {
        again.env("PWD", &inside);
    }
    Err(CommandError::new(exit_code::INTERNAL, "xl cannot execute itself again").cause(again.exec().to_string()))
}

/// The option by which the second `xl` knows where the workspace is.
fn option(root: &Path) -> OsString {
    let mut text = OsString::from("--really=");
    text.push(root);
    text
}

/// Where the workspace is to be seen.
struct Place {
    dir: PathBuf,
    /// The directory in which a name has to be made that this user may not make there.
    covered: Option<PathBuf>,
}

fn refused(dir: &Path, why: &str, hint: &str) -> CommandError {
    CommandError::new(exit_code::USAGE, format!("the workspace cannot be at `{}`", dir.display())).cause(why).hint(hint)
}

impl Place {
    /// `None`: the workspace is there already.
    fn of(dir: &Path, root: &Path) -> Result<Option<Self>, CommandError> {
        const ANOTHER: &str = "choose a directory that is empty or not there, such as /src";
        let normal = dir.components().collect::<PathBuf>();
        if !dir.is_absolute()
            || normal.as_os_str() != dir.as_os_str()
            || dir.components().any(|c| c.as_os_str() == "..")
        {
            return Err(refused(dir, "it is no absolute path in its shortest form", ANOTHER));
        }
        if dir == root {
            return Ok(None);
        }
        if dir.starts_with(root) || root.starts_with(dir) {
            return Err(refused(dir, "one of the two would be inside the other", ANOTHER));
        }
        // The nearest directory that is there.
        let there = dir.ancestors().find(|d| d.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
        if there.canonicalize().ok().as_deref() != Some(there) {
            return Err(refused(dir, &format!("`{}` is a symbolic link", there.display()), ANOTHER));
        }
        if there == dir {
            let mut members = fs::read_dir(dir).map_err(|e| refused(dir, &e.to_string(), ANOTHER))?;
            if same(dir, root) {
                return Ok(None);
            }
            if members.next().is_some() {
                return Err(refused(dir, "there is something in it, which would be hidden", ANOTHER));
            }
            return Ok(Some(Self { dir: dir.to_owned(), covered: None }));
        }
        match fs::create_dir_all(dir) {
            Ok(()) => Ok(Some(Self { dir: dir.to_owned(), covered: None })),
            Err(_) => Ok(Some(Self { dir: dir.to_owned(), covered: Some(there.to_owned()) })),
        }
    }

    /// In the namespace: from now on the workspace is there as well.
    fn mount(&self, root: &Path) -> Result<(), CommandError> {
        let failed = |e: std::io::Error| {
            CommandError::new(exit_code::BACKEND, format!("the workspace cannot be at `{}`", self.dir.display()))
                .cause(e.to_string())
        };
        if let Some(above) = &self.covered {
            cover(above, &self.dir).map_err(failed)?;
        }
        bind(root, &self.dir).map_err(failed)
    }
}

fn same(a: &Path, b: &Path) -> bool {
    let of = |p: &Path| p.metadata().ok().map(|m| (m.dev(), m.ino()));
    of(a).is_some_and(|a| of(b) == Some(a))
}

/// A mount namespace of our own, which learns of later mounts outside and tells nobody of its own.
fn namespace() -> std::io::Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if unshare(CloneFlags::CLONE_NEWNS).is_err() {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    let flags = MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM;
    Ok(rustix::mount::mount_change("/", flags)?)
}

fn bind(from: &Path, to: &Path) -> std::io::Result<()> {
    Ok(rustix::mount::mount_bind_recursive(from, to)?)
}

/// What is in a directory.
enum Member {
    Link(PathBuf),
    /// A copy of what is mounted there, or of the file's own place.
    Mount(OwnedFd),
}

/// Puts a directory of our own in front of `above`, with all that is there and the directories up to `dir`. This user
/// may make nothing in `above`, so nothing that is made there is lost.
fn cover(above: &Path, dir: &Path) -> std::io::Result<()> {
    // Copies of the mounts are taken first: whatever is covered later is behind them, not in front.
    let copied = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let mut members = Vec::new();
    for m in fs::read_dir(above)? {
        let m = m?;
        let kind = m.file_type()?;
        let what = if kind.is_symlink() {
            Member::Link(fs::read_link(m.path())?)
        } else {
            Member::Mount(rustix::mount::open_tree(CWD, m.path(), copied)?)
        };
        members.push((m.file_name(), kind, what));
    }
    // What is mounted on `/` itself is not seen before somebody changes his root: it is made elsewhere, and moved.
    let is_root = above == Path::new("/");
    let made = if is_root { Path::new("/tmp") } else { above };
    let mode = CString::new(format!("mode={:o}", above.metadata()?.mode() & 0o7777))?;
    rustix::mount::mount("xl", made, "tmpfs", MountFlags::NOSUID, &*mode)?;
    for (name, kind, what) in members {
        let to = made.join(name);
        match what {
            Member::Link(target) => std::os::unix::fs::symlink(target, &to)?,
            Member::Mount(copy) => {
                if kind.is_dir() {
                    fs::create_dir(&to)?;
                } else {
                    fs::File::create(&to)?;
                }
                rustix::mount::move_mount(copy, "", CWD, &to, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            }
        }
    }
    fs::create_dir_all(made.join(dir.strip_prefix(above).unwrap_or(dir)))?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
    rustix::mount::mount_remount(made, flags, c"")?;
    if is_root {
        rustix::process::chdir(made)?;
        rustix::mount::mount_move(".", "/")?;
        rustix::process::chroot(".")?;
    }
    Ok(())
}
