//! Who a command is, as far as files ask: what a file's owner, group and mode let it do.
//!
//! A result that came about as one user may be served to another who is allowed the same. So what counts of a file is
//! not whose it is by number but what that means to the one who looks ([`Who::relation`]). Of rights that files do not
//! show (to set a clock, to trace) this knows nothing. Access lists are taken for what the mode says of them (acl(5):
//! the bits of the group are the most that any of them gives).

use crate::FileStat;
use std::sync::OnceLock;

/// The identity that file permissions are checked against (credentials(7)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    pub user: u32,
    pub group: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Modes do not bind it: `CAP_DAC_OVERRIDE` (capabilities(7)).
    pub overrides: bool,
    /// They do not bind what it reads: `CAP_DAC_READ_SEARCH`.
    pub reads: bool,
    /// It may do what only owners may: `CAP_FOWNER`.
    pub owns: bool,
}

const READ: u8 = 4;
const WRITE: u8 = 2;
const EXECUTE: u8 = 1;

impl Who {
    /// This process, as it was when somebody first asked. Commands of others are not cached.
    pub fn own() -> &'static Self {
        static OWN: OnceLock<Who> = OnceLock::new();
        OWN.get_or_init(|| {
            use rustix::thread::{CapabilitySet, capabilities};
            let all = capabilities(None).map_or(CapabilitySet::empty(), |c| c.effective);
            let groups = rustix::process::getgroups().unwrap_or_default();
            Self {
                user: rustix::process::geteuid().as_raw(),
                group: rustix::process::getegid().as_raw(),
                groups: groups.into_iter().map(rustix::process::Gid::as_raw).collect(),
                overrides: all.contains(CapabilitySet::DAC_OVERRIDE),
                reads: all.contains(CapabilitySet::DAC_READ_SEARCH),
                owns: all.contains(CapabilitySet::FOWNER),
            }
        })
    }

    /// What it may do with what is in this state, as bits of a mode (path_resolution(7), "Permissions").
    fn may(&self, s: &FileStat) -> u8 {
        let own = match () {
            () if s.uid == self.user => s.mode >> 6,
            () if self.belongs(s.gid) => s.mode >> 3,
            () => s.mode,
        };
        let anybody_executes = s.is_dir() || s.mode & 0o111 != 0;
        let by_capability = match () {
            () if self.overrides => READ | WRITE | if anybody_executes { EXECUTE } else { 0 },
            () if self.reads => READ | if s.is_dir() { EXECUTE } else { 0 },
            () => 0,
        };
        (own & 0o7) as u8 | by_capability
    }

    fn belongs(&self, group: u32) -> bool {
        group == self.group || self.groups.contains(&group)
    }

    /// May it read and execute (search) it? That is all that most programs make of what they look at.
    pub fn uses(&self, s: &FileStat) -> u8 {
        // A link has no rights of its own.
        if s.kind == crate::Kind::Symlink { READ | EXECUTE } else { self.may(s) & (READ | EXECUTE) }
    }

    /// May it execute it?
    pub fn executes(&self, s: &FileStat) -> bool {
        self.may(s) & EXECUTE != 0
    }

    /// All that owner, group and mode mean to it. Of a directory that is what it may do there, and the group that new
    /// names get from it; of anything else also whether it is its own to change the mode and times of.
    pub fn relation(&self, s: &FileStat) -> [u8; 3] {
        let owns = self.owns || s.uid == self.user;
        let group = match () {
            () if s.gid == self.group => 0,
            () if self.belongs(s.gid) => 1,
            () => 2,
        };
        match s.is_dir() {
            true if s.mode & 0o2000 == 0 => [self.may(s), 0, 0],
            true => [self.may(s), 0, group],
            false => [self.may(s), u8::from(owns), group],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn state(kind: Kind, mode: u32, uid: u32, gid: u32) -> FileStat {
        FileStat { kind, dev: 1, ino: 1, size: 1, mtime: 0, ctime: 0, mode, nlink: 1, uid, gid }
    }

    fn user(user: u32, groups: &[u32]) -> Who {
        Who { user, group: user, groups: groups.to_vec(), overrides: user == 0, reads: user == 0, owns: user == 0 }
    }

    /// The kernel's rule: the first class that fits decides.
    #[test]
    fn what_a_mode_allows() {
        let f = |mode, uid, gid| state(Kind::File, mode, uid, gid);
        for (who, s, may) in [
            (user(7, &[]), f(0o640, 7, 1), 6),
            (user(7, &[1]), f(0o640, 8, 1), 4),
            (user(7, &[]), f(0o640, 8, 1), 0),
            (user(7, &[]), f(0o077, 7, 7), 0),
            (user(7, &[1]), f(0o707, 8, 1), 0),
            (user(0, &[]), f(0o000, 8, 1), 6),
            (user(0, &[]), f(0o001, 8, 1), 7),
            (user(0, &[]), state(Kind::Directory, 0, 8, 1), 7),
        ] {
            assert_eq!(who.may(&s), may, "{who:?} {s:?}");
        }
    }

    #[test]
    fn two_users_who_are_allowed_the_same_are_one() {
        let header = state(Kind::File, 0o644, 0, 0);
        let (a, b, root) = (user(7, &[]), user(8, &[9]), user(0, &[]));
        assert_eq!(a.relation(&header), b.relation(&header));
        assert_eq!(a.uses(&header), root.uses(&header));
        assert_ne!(a.relation(&header), root.relation(&header), "root may write it");
        let own = |w: &Who| state(Kind::File, 0o644, w.user, w.group);
        assert_eq!(a.relation(&own(&a)), root.relation(&own(&root)));
        let shared = state(Kind::File, 0o664, 1, 9);
        assert_ne!(a.relation(&shared), b.relation(&shared), "b is in its group");
        let place = state(Kind::Directory, 0o1777, 0, 0);
        assert_eq!(a.relation(&place), root.relation(&place), "anybody makes scratch files there");
        let handed = state(Kind::Directory, 0o2777, 0, 9);
        assert_ne!(a.relation(&handed), b.relation(&handed), "new names get its group");
    }
}
