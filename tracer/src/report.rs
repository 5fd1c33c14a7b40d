//! From a path that a task has named to a reported access: path resolved, state looked up, supervisor asked.
//!
//! Two ways lead here: a call that is blocked ([`crate::calls`]), and a look that a record of the eBPF programs tells
//! of ([`crate::ebpf_records`]), whose task has gone on. [`Caller`] is the difference.

use crate::access::{Access, EscapeKind, Late, Op, StdinUse};
use crate::gate::{Flow, Gate};
use crate::process::{Process, Scope};
use crate::resolve::Resolved;
use crate::task_files;
use rustix::fs::FileType;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// See `PATH_MAX` in path_resolution(7).
pub(crate) const TOO_DEEP: &str = "a path is longer than the kernel takes";

/// Where glibc's dynamic loader looks up libraries (ld.so(8)).
pub const LOADER_CACHE: &[u8] = b"/etc/ld.so.cache";

/// The task that makes a call, and how it is asked for what only it knows.
pub(crate) enum Caller<'a> {
    /// It waits for us.
    Blocked { tid: i32, process: &'a Process },
    /// It went on long ago: what is not in the record cannot be had.
    Gone { pid: i32, cwd: Option<Arc<[u8]>>, target: Target, late: Late },
}

/// What is behind a descriptor that was named by a path.
pub(crate) enum Target {
    Path(Vec<u8>),
    /// No file with a name.
    Nameless,
    /// It was not recorded.
    Unknown,
}

impl Caller<'_> {
    pub(crate) fn pid(&self) -> i32 {
        match self {
            Self::Blocked { process, .. } => process.pid,
            Self::Gone { pid, .. } => *pid,
        }
    }

    fn cwd(&self, gate: &Gate) -> Option<Arc<[u8]>> {
        match self {
            Self::Blocked { tid, process } => gate.cwd(process, *tid),
            Self::Gone { cwd, .. } => cwd.clone(),
        }
    }

    fn late(&self) -> Option<Late> {
        if let Self::Gone { late, .. } = self { Some(*late) } else { None }
    }
}

/// A path as a task has named it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    /// The directory that it is relative to.
    pub base: &'a [u8],
    pub raw: &'a [u8],
    /// A symbolic link as the last component is followed.
    pub follow: bool,
}

impl Named<'_> {
    /// What makes two looks of one program the same; `None` if each counts.
    fn look(&self, program: (i32, u32), op: &Op) -> Option<Box<[u8]>> {
        // Each look at a device may show something else; and a program that opens the cache of its loader may do so
        // for itself the second time.
        if self.raw.starts_with(b"/dev/") || self.raw == LOADER_CACHE {
            return None;
        }
        let tag = match op {
            Op::OpenRead { content: true } => 1,
            Op::OpenRead { content: false } => 2,
            Op::Readlink => 3,
            Op::Stat => 4,
            Op::Chdir => 5,
            Op::Attributes => 6,
            Op::MayWrite => 7,
            _ => return None,
        };
        let mut key = Vec::with_capacity(self.base.len() + self.raw.len() + 11);
        key.extend_from_slice(&program.0.to_ne_bytes());
        key.extend_from_slice(&program.1.to_ne_bytes());
        key.extend_from_slice(&[tag, u8::from(self.follow)]);
        if self.raw.first() != Some(&b'/') {
            key.extend_from_slice(self.base);
        }
        key.push(0);
        key.extend_from_slice(self.raw);
        Some(key.into())
    }
}

impl Op {
    /// The same, if there is what it needs. What is not there cannot be changed, and where no directory is nothing can
    /// be made: the call can only fail, and all that it shows is that. That something could be made there depends on
    /// the directory, not on the name: `path` is then what is there instead of it.
    fn if_possible(self, path: &mut Resolved) -> Self {
        let makes = matches!(self, Self::Create { .. } | Self::OpenWrite { creates: true, .. });
        let can = !self.writes() || path.state.is_some() || makes && !path.nowhere;
        if path.nowhere && makes {
            let cut = path.path.iter().rposition(|b| *b == b'/').unwrap_or(0).max(1);
            path.path = path.path[..cut].into();
            path.state = crate::resolve::lstat(&path.path);
        }
        if can { self } else { Self::Stat }
    }
}

impl Gate {
    /// Most looks repeat (cc1 resolves every include directory anew): of one program the tracer reports the first, and
    /// those with another `answer` than the one before, since somebody else may make, replace or remove what a program
    /// waits for. `program` is a process, and which of its programs it runs.
    pub(crate) fn is_news(
        &self,
        scope: Scope,
        program: (i32, u32),
        op: &Op,
        named: &Named<'_>,
        answer: impl FnOnce() -> Option<u64>,
    ) -> bool {
        let Some(s) = self.scope_state(scope) else { return true };
        let Some(key) = named.look(program, op) else { return true };
        let answer = answer();
        s.seen.lock().expect("seen").insert(key, answer) != Some(answer)
    }

    /// Reports that `who` does `op` to what it has named.
    pub(crate) fn access(&self, who: &Caller<'_>, scope: Scope, call: &'static str, op: Op, named: &Named<'_>) -> Flow {
        let mut path = self.resolver.resolve(named.base, named.raw, named.follow);
        if path.path.len().max(named.base.len() + named.raw.len()) >= libc::PATH_MAX as usize {
            // It has a name for whoever stands near it, and none that we could use.
            self.escape(Some(scope), EscapeKind::Unreadable, TOO_DEEP);
            return Flow::Go;
        }
        if path.path.starts_with(b"/proc/self/") {
            for (magic, real) in
                [(&b"/proc/self/cwd"[..], who.cwd(self)), (b"/proc/self/root", Some(Arc::from(&b"/"[..])))]
            {
                if let (Some(rest), Some(real)) = (path.path.strip_prefix(magic), real)
                    && rest.first() == Some(&b'/')
                {
                    path = self.resolver.resolve(&real, &rest[1..], named.follow);
                    break;
                }
            }
        }
        if let Some((fd, below)) = path.path.strip_prefix(b"/proc/self/fd/").and_then(descriptor) {
            // `/dev/stdin`, `/dev/fd/3`: the file behind the descriptor, opened anew; or what lies below it, if it is a
            // directory.
            if fd == 0 {
                self.stdin_touched(who, scope, StdinUse::Takes);
            }
            let below = below.to_vec();
            match (self.target(who, scope, fd), who) {
                (Some(real), Caller::Blocked { .. }) if !below.is_empty() => {
                    path = self.resolver.resolve(&real, &below, named.follow)
                }
                (Some(real), _) => path = self.resolver.resolve(b"/", &real, false),
                (None, _) => return Flow::Go,
            }
        }
        let op = op.if_possible(&mut path);
        if let (true, Caller::Blocked { tid, process }) = (op.writes(), who) {
            self.about_to_write(*tid, process, scope, &op, &path);
        }
        let late = who.late();
        if late.is_some_and(|l| l.found == Some(false)) {
            // Whatever is there now, it was not there then.
            path.state = None;
        }
        if let (Op::OpenRead { content: true }, Some(file)) = (&op, path.file())
            && self.scope_state(scope).is_some_and(|s| s.text.get().is_some_and(|t| t.is_read(file)))
        {
            self.escape(Some(scope), EscapeKind::OwnText, String::from_utf8_lossy(&path.path));
        }
        // What writes to the terminal past us comes after what has come to us.
        let before = match op {
            Op::OpenWrite { creates, .. } => self.terminal_opened(&path, who.pid(), creates),
            _ => None,
        };
        match (self.supervisor.access(scope, who.pid(), &Access { op, path, call, late }), before) {
            (Flow::Go, Some(job)) => Flow::After(job),
            (Flow::After(more), Some(job)) => Flow::After(Box::new(|| {
                more();
                job();
            })),
            (flow, _) => flow,
        }
    }

    /// The file behind descriptor `fd`, if it has a name.
    fn target(&self, who: &Caller<'_>, scope: Scope, fd: i32) -> Option<Vec<u8>> {
        match who {
            Caller::Blocked { tid, .. } => {
                let path = task_files::fd_path(*tid, fd);
                if path.is_none() {
                    self.nameless(*tid, scope, fd);
                }
                path
            }
            Caller::Gone { target: Target::Path(p), .. } => Some(p.clone()),
            Caller::Gone { target: Target::Nameless, .. } => None,
            Caller::Gone { target: Target::Unknown, .. } => {
                self.escape(Some(scope), EscapeKind::Unreadable, "it names a descriptor in an unusual way");
                None
            }
        }
    }

    /// Directories and links that go away make resolved paths stale, now and once the call has happened.
    fn about_to_write(&self, tid: i32, p: &Process, scope: Scope, op: &Op, path: &Resolved) {
        let moves = matches!(op, Op::Remove { .. } | Op::Create { .. })
            && matches!(path.file_type(), Some(FileType::Directory | FileType::Symlink));
        if moves {
            self.moved();
            p.unsettled.store(tid, Ordering::Release);
            if let Some(s) = self.scope_state(scope) {
                s.seen.lock().expect("seen").clear();
            }
        }
    }

    /// A descriptor without a path is no file of the tree, unless the path is only too long.
    pub(crate) fn nameless(&self, tid: i32, scope: Scope, fd: i32) -> Flow {
        if task_files::is_too_deep(tid, fd) {
            self.escape(Some(scope), EscapeKind::Unreadable, TOO_DEEP);
        }
        Flow::Go
    }
}

/// The number of a descriptor in the rest of a path below `/proc/self/fd`, and what is named below that.
fn descriptor(rest: &[u8]) -> Option<(i32, &[u8])> {
    let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
    let fd = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((fd, rest[end..].strip_prefix(b"/").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Made;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn looks_are_the_same_if_everything_is() {
        let named = |base: &'static str, raw: &'static str, follow| Named {
            base: base.as_bytes(),
            raw: raw.as_bytes(),
            follow,
        };
        let first = named("/a", "b", true).look((1, 0), &Op::Stat);
        assert!(first.is_some());
        assert_eq!(named("/a", "b", true).look((1, 0), &Op::Stat), first);
        for (other, program, op) in [
            (named("/a", "b", false), (1, 0), Op::Stat),
            (named("/", "b", true), (1, 0), Op::Stat),
            (named("/a", "c", true), (1, 0), Op::Stat),
            (named("/a", "b", true), (2, 0), Op::Stat),
            (named("/a", "b", true), (1, 1), Op::Stat),
            (named("/a", "b", true), (1, 0), Op::Chdir),
            (named("/a/b", "", true), (1, 0), Op::Stat),
        ] {
            assert_ne!(other.look(program, &op), first, "{other:?} {program:?} {op:?}");
        }
        // An absolute name does not depend on the directory; a device and a listing show something else each time.
        let absolute = |base| named(base, "/b", true).look((1, 0), &Op::Readlink);
        assert_eq!(absolute("/x"), absolute("/y"));
        assert_eq!(named("/a", "/dev/random", true).look((1, 0), &Op::Stat), None);
        assert_eq!(named("/a", "b", true).look((1, 0), &Op::List), None);
    }

    #[test]
    fn what_cannot_be_done_is_a_look() {
        let t = tempfile::tempdir().expect("a directory");
        let root = t.path().canonicalize().expect("its name");
        std::fs::write(root.join("file"), "").expect("a file");
        let remove = Op::Remove { moved: false };
        let create = Op::Create { how: Made::Directory, exclusive: true, private: false };
        let modify = Op::OpenWrite { keeps: true, creates: false, exclusive: false, private: false };
        for (name, op, expected, ends) in [
            ("file", remove.clone(), remove.clone(), "file"),
            ("none", remove, Op::Stat, "none"),
            ("none", modify, Op::Stat, "none"),
            ("none", create.clone(), create.clone(), "none"),
            ("file", create.clone(), create.clone(), "file"),
            // Whether something can be made there, what should be the directory tells.
            ("none/new", create.clone(), Op::Stat, "none"),
            ("file/new", create, Op::Stat, "file"),
            ("none/new", Op::Readlink, Op::Readlink, "none/new"),
        ] {
            let whole = |n: &str| root.join(n).as_os_str().as_bytes().to_vec();
            let mut path = crate::resolve::Resolver::default().resolve(b"/", &whole(name), false);
            let done = op.clone().if_possible(&mut path);
            assert_eq!((done, &*path.path), (expected, &*whole(ends)), "{op:?} of {name}");
        }
    }

    #[test]
    fn descriptors_are_found_in_names() {
        assert_eq!(descriptor(b"3"), Some((3, &b""[..])));
        assert_eq!(descriptor(b"12/a/b"), Some((12, &b"a/b"[..])));
        assert_eq!(descriptor(b""), None);
        assert_eq!(descriptor(b"3x"), None);
    }
}
