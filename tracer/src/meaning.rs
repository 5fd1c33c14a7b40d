//! What a system call does to which paths, told from its shape in the table of [`crate::arch`] and from its arguments.
//!
//! Pure: it reads no memory of a task and knows no file. What a call says behind pointers (the flags of openat2, the
//! times of utimensat) is read by [`crate::dispatch`], which then asks here or builds the operation itself.

use crate::access::{Fact, Made, Op};
use crate::arch::{At, Follow, Shape};

/// One thing that a call does to one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Where the path is.
    pub at: At,
    pub op: Op,
    /// A symbolic link as the last component is followed.
    pub follow: bool,
}

impl Step {
    fn new(at: At, op: Op, follow: bool) -> Self {
        Self { at, op, follow }
    }
}

/// What a call looks at and how, if all that it does can be told from its arguments; `arg` gives those.
pub(crate) fn look(shape: Shape, arg: impl Fn(u8) -> u64) -> Option<Step> {
    match shape {
        Shape::Open(at, flags) => {
            let (op, follow) = open(arg(flags), arg(flags + 1));
            Some(Step::new(at, op, follow))
        }
        Shape::Stat(at, f) => Some(Step::new(at, Op::Stat, follows(f, arg))),
        Shape::Access(at, mode, f) => {
            // Of a call with flags an observer that learns of it afterwards knows only these.
            let writes = matches!(f, Follow::UnlessFlag(_)) || has(arg(mode), libc::W_OK);
            Some(Step::new(at, if writes { Op::MayWrite } else { Op::Stat }, follows(f, arg)))
        }
        Shape::Attributes(at, f) => Some(Step::new(at, Op::Attributes, follows(f, arg))),
        Shape::Readlink(at) => Some(Step::new(at, Op::Readlink, false)),
        _ => None,
    }
}

/// The fact that a call is about which names a resource.
pub(crate) fn limit(resource: u64) -> Fact {
    Fact::Limit(u8::try_from(resource).unwrap_or(u8::MAX))
}

/// Does this signal end a process with a core file, if it does not handle it (signal(7), "Core")?
pub(crate) fn may_leave_core(signal: u64) -> bool {
    use libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSEGV, SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ};
    [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSEGV, SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ]
        .iter()
        .any(|s| signal == u64::from(s.cast_unsigned()))
}

/// What a call that changes names or files does, in order, if its arguments tell; empty if they do not, and for calls
/// that change none.
pub(crate) fn changes(shape: Shape, arg: impl Fn(u8) -> u64) -> Vec<Step> {
    match shape {
        Shape::Creat(at) => {
            vec![Step::new(at, Op::OpenWrite { keeps: false, creates: true, exclusive: false, private: false }, true)]
        }
        Shape::Unlink(at) => vec![Step::new(at, Op::Remove { moved: false }, false)],
        Shape::Make(at, how) => vec![Step::new(at, Op::Create { how, exclusive: true, private: false }, false)],
        Shape::MakeDirectory(at, mode) => {
            let private = is_private(arg(mode));
            vec![Step::new(at, Op::Create { how: Made::Directory, exclusive: true, private }, false)]
        }
        Shape::SetMeta(at, f, meta) => vec![Step::new(at, Op::SetMeta(meta), follows(f, arg))],
        Shape::Truncate(at) => vec![Step::new(at, Op::Truncate, true)],
        Shape::Rename(from, to, flags) => {
            let exclusive = flags.is_some_and(|i| has(arg(i), libc::RENAME_NOREPLACE.cast_signed()));
            vec![
                Step::new(from, Op::RenameSource, false),
                Step::new(from, Op::Remove { moved: true }, false),
                Step::new(to, Op::Create { how: Made::Renamed, exclusive, private: false }, false),
            ]
        }
        Shape::Link(from, to, f) => vec![
            Step::new(from, Op::LinkSource, follows(f, arg)),
            Step::new(to, Op::Create { how: Made::Linked, exclusive: true, private: false }, false),
        ],
        _ => Vec::new(),
    }
}

/// Is the last symbolic link followed?
pub(crate) fn follows(f: Follow, arg: impl Fn(u8) -> u64) -> bool {
    match f {
        Follow::Yes => true,
        Follow::No => false,
        Follow::UnlessFlag(i) => !has(arg(i), libc::AT_SYMLINK_NOFOLLOW),
        Follow::IfFlag(i) => has(arg(i), libc::AT_SYMLINK_FOLLOW),
    }
}

/// Has a word of flags, in an argument, one of these bits?
pub(crate) fn has(flags: u64, bits: i32) -> bool {
    flags & u64::from(bits.cast_unsigned()) != 0
}

/// Is one of these arguments of setresuid(2) or its like another id than `own`? -1 leaves an id as it is; bash sets
/// those that it has.
pub(crate) fn changes_ids(args: &[u64], own: u32) -> bool {
    args.iter().any(|id| *id as u32 != u32::MAX && *id as u32 != own)
}

/// Are these the permissions of a thing that is nobody else's?
fn is_private(mode: u64) -> bool {
    mode & 0o077 == 0
}

/// What open(2) flags and permissions ask for, and whether the last link is followed.
pub(crate) fn open(flags: u64, mode: u64) -> (Op, bool) {
    let has = |bits| has(flags, bits);
    let follow = !(has(libc::O_NOFOLLOW) || has(libc::O_CREAT) && has(libc::O_EXCL));
    if has(libc::O_PATH) {
        return (Op::OpenRead { content: false }, follow);
    }
    let write = has(libc::O_ACCMODE) || has(libc::O_TRUNC) || has(libc::O_CREAT);
    if flags & libc::O_TMPFILE as u64 == libc::O_TMPFILE as u64 {
        return (Op::Stat, follow);
    }
    if !write {
        // With O_DIRECTORY it only learns of a file that it is none.
        return (Op::OpenRead { content: !has(libc::O_DIRECTORY) }, follow);
    }
    let creates = has(libc::O_CREAT);
    let op = Op::OpenWrite {
        keeps: !has(libc::O_TRUNC),
        creates,
        exclusive: creates && has(libc::O_EXCL),
        private: creates && is_private(mode),
    };
    (op, follow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Meta;
    use crate::arch::TABLE;

    /// What the call of this name does, given these arguments.
    fn steps(name: &str, args: [i32; 6]) -> Vec<Step> {
        let (_, _, shape) = TABLE.iter().find(|(_, n, _)| *n == name).expect("a call of the table");
        let arg = |i: u8| u64::from(args[usize::from(i)].cast_unsigned());
        look(*shape, arg).map_or_else(|| changes(*shape, arg), |s| vec![s])
    }

    fn check(name: &str, args: [i32; 6], expected: &[(Op, bool)]) {
        let found: Vec<_> = steps(name, args).into_iter().map(|s| (s.op, s.follow)).collect();
        assert_eq!(found, expected, "{name} {args:?}");
    }

    #[test]
    fn calls_are_what_their_arguments_make_of_them() {
        let none = [0; 6];
        let write = |keeps, creates, exclusive, private| Op::OpenWrite { keeps, creates, exclusive, private };
        let create = |how, exclusive, private| Op::Create { how, exclusive, private };
        let rename = |exclusive| {
            [
                (Op::RenameSource, false),
                (Op::Remove { moved: true }, false),
                (create(Made::Renamed, exclusive, false), false),
            ]
        };
        let open = |flags, mode| [libc::AT_FDCWD, 0, flags, mode, 0, 0];
        check("openat", open(libc::O_RDONLY, 0), &[(Op::OpenRead { content: true }, true)]);
        check("openat", open(libc::O_DIRECTORY, 0), &[(Op::OpenRead { content: false }, true)]);
        check("openat", open(libc::O_PATH | libc::O_NOFOLLOW, 0), &[(Op::OpenRead { content: false }, false)]);
        check("openat", open(libc::O_RDWR | libc::O_TMPFILE, 0o600), &[(Op::Stat, true)]);
        check("openat", open(libc::O_RDWR, 0), &[(write(true, false, false, false), true)]);
        check("openat", open(libc::O_TRUNC, 0), &[(write(false, false, false, false), true)]);
        check("openat", open(libc::O_WRONLY | libc::O_EXCL, 0), &[(write(true, false, false, false), true)]);
        let mkstemp = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        check("openat", open(mkstemp, 0o600), &[(write(true, true, true, true), false)]);
        check("open", [0, mkstemp, 0o644, 0, 0, 0], &[(write(true, true, true, false), false)]);
        check("creat", none, &[(write(false, true, false, false), true)]);

        check("lstat", none, &[(Op::Stat, false)]);
        check("newfstatat", [0, 0, 0, libc::AT_SYMLINK_NOFOLLOW, 0, 0], &[(Op::Stat, false)]);
        check("newfstatat", none, &[(Op::Stat, true)]);
        check("access", [0, libc::X_OK, 0, 0, 0, 0], &[(Op::Stat, true)]);
        check("faccessat", [0, 0, libc::R_OK | libc::W_OK, 0, 0, 0], &[(Op::MayWrite, true)]);
        check("faccessat2", [0, 0, 0, libc::AT_SYMLINK_NOFOLLOW, 0, 0], &[(Op::MayWrite, false)]);
        check("readlinkat", none, &[(Op::Readlink, false)]);
        check("lgetxattr", none, &[(Op::Attributes, false)]);

        check("mkdir", [0, 0o700, 0, 0, 0, 0], &[(create(Made::Directory, true, true), false)]);
        check("mkdirat", [0, 0, 0o755, 0, 0, 0], &[(create(Made::Directory, true, false), false)]);
        check("symlinkat", none, &[(create(Made::Symlink, true, false), false)]);
        check("mknod", [0, 0o600, 0, 0, 0, 0], &[(create(Made::Node, true, false), false)]);
        check("unlinkat", none, &[(Op::Remove { moved: false }, false)]);
        check("rmdir", none, &[(Op::Remove { moved: false }, false)]);
        check("rename", [1; 6], &rename(false));
        check("renameat2", none, &rename(false));
        check("renameat2", [0, 0, 0, 0, libc::RENAME_NOREPLACE.cast_signed(), 0], &rename(true));
        let linked = |follow| [(Op::LinkSource, follow), (create(Made::Linked, true, false), false)];
        check("link", none, &linked(false));
        check("linkat", [0, 0, 0, 0, libc::AT_SYMLINK_FOLLOW, 0], &linked(true));

        check("chmod", none, &[(Op::SetMeta(Meta::Mode), true)]);
        check("fchmodat2", [0, 0, 0, libc::AT_SYMLINK_NOFOLLOW, 0, 0], &[(Op::SetMeta(Meta::Mode), false)]);
        check("lchown", none, &[(Op::SetMeta(Meta::Owner), false)]);
        check("lsetxattr", none, &[(Op::SetMeta(Meta::Attribute), false)]);
        check("removexattr", none, &[(Op::SetMeta(Meta::NoAttribute), true)]);
        check("truncate", none, &[(Op::Truncate, true)]);
    }

    #[test]
    fn ids_that_one_has_anyway_are_no_change() {
        let same = u64::from(u32::MAX);
        assert!(!changes_ids(&[same, 1000, u64::MAX], 1000));
        assert!(changes_ids(&[same, 0], 1000));
        assert!(!changes_ids(&[], 1000));
    }

    /// Where the operands are is right for every call that has a name among its arguments: the man page's order.
    #[test]
    fn both_paths_of_a_call_are_told_apart() {
        let paths = |name| steps(name, [0; 6]).into_iter().map(|s| (s.at.0, s.at.1)).collect::<Vec<_>>();
        assert_eq!(paths("rename"), [(None, 0), (None, 0), (None, 1)]);
        assert_eq!(paths("renameat2"), [(Some(0), 1), (Some(0), 1), (Some(2), 3)]);
        assert_eq!(paths("linkat"), [(Some(0), 1), (Some(2), 3)]);
        assert_eq!(paths("symlink"), [(None, 1)]);
        assert_eq!(paths("symlinkat"), [(Some(1), 2)]);
    }

    /// The names say which metadata are written.
    #[test]
    fn every_call_writes_the_metadata_of_its_name() {
        for (_, name, shape) in TABLE {
            let (Shape::SetMeta(.., meta) | Shape::SetMetaFd(meta)) = shape else { continue };
            let word = match meta {
                Meta::Mode => "chmod",
                Meta::Owner => "chown",
                Meta::Attribute => "setxattr",
                Meta::NoAttribute => "removexattr",
                Meta::Flags => "setattr",
            };
            assert!(name.contains(word), "{name}: {meta:?}");
        }
    }
}
