//! Users and groups (passwd(5), group(5)), and where they come from (nsswitch.conf(5)).
//!
//! Knows lines and numbers. Who asks for which is told in [`super::who_asks`].

use bstr::ByteSlice;
use cache::Value;
use cache::observation::value;
use rustc_hash::FxHashMap;

/// A file of users or of groups.
pub struct Accounts {
    /// All lines with a number, one after the other: the first is found.
    by_number: FxHashMap<u32, Vec<u8>>,
    /// Lines that are no plain entries: each may matter to every question.
    odd: Vec<u8>,
    own: Vec<u32>,
}

impl Accounts {
    /// `own`: the numbers of this process's user, or of its groups.
    pub fn parse(bytes: &[u8], own: Vec<u32>) -> Self {
        let mut out = Self { by_number: FxHashMap::default(), odd: Vec::new(), own };
        for line in bytes.lines() {
            let line = line.trim_start();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let number = line.split(|b| *b == b':').nth(2).and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
            let lines = match number {
                // Of other services (`compat`).
                _ if b"+-".contains(&line[0]) => &mut out.odd,
                Some(n) => out.by_number.entry(n).or_default(),
                None => &mut out.odd,
            };
            lines.extend_from_slice(line);
            lines.push(b'\n');
        }
        out
    }

    fn lines(&self, number: u32) -> &[u8] {
        self.by_number.get(&number).map_or(&[], Vec::as_slice)
    }

    /// The entry of a number.
    pub fn number(&self, number: u32) -> Value {
        match (self.lines(number), &self.odd[..]) {
            ([], []) => value::answer(&[]),
            (lines, odd) => value::answer(&[lines, odd]),
        }
    }

    /// The entries of its own numbers, and these.
    pub fn own(&self) -> Value {
        let numbers: Vec<[u8; 4]> = self.own.iter().map(|n| n.to_le_bytes()).collect();
        let lines = self.own.iter().zip(&numbers).flat_map(|(n, bytes)| [&bytes[..], self.lines(*n)]);
        value::answer(&lines.chain([&self.odd[..]]).collect::<Vec<_>>())
    }
}

/// Numbers, sorted, each once.
fn sorted(mut numbers: Vec<u32>) -> Vec<u32> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The numbers of this process's user.
pub(super) fn own_users() -> Vec<u32> {
    use rustix::process::{geteuid, getuid};
    sorted(vec![getuid().as_raw(), geteuid().as_raw()])
}

/// The numbers of its groups.
pub(super) fn own_groups() -> Vec<u32> {
    use rustix::process::{getegid, getgid, getgroups};
    let more = getgroups().unwrap_or_default();
    sorted([getgid(), getegid()].iter().chain(&more).map(|g| g.as_raw()).collect())
}

/// Where the C library looks users, groups and the like up.
pub struct Services(Vec<(Vec<u8>, Vec<u8>)>);

impl Services {
    pub fn parse(bytes: &[u8]) -> Self {
        let lines = bytes.lines().filter_map(|l| {
            let text = l.split(|b| *b == b'#').next().unwrap_or_default();
            let (of, services) = text.split_once_str(":")?;
            Some((of.trim().to_vec(), services.fields().collect::<Vec<_>>().join(&b' ')))
        });
        Self(lines.collect())
    }

    /// All lines of one kind.
    pub fn service(&self, of: &[u8]) -> Value {
        value::answer(&self.0.iter().filter(|(name, _)| name == of).map(|(_, s)| &s[..]).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_by_its_number() {
        let of = |text: &str| Accounts::parse(text.as_bytes(), vec![0, 7]);
        let base = of("root:x:0:0:root:/root:/bin/sh\nu:x:7:7::/:\n");
        let more = of("# users\nroot:x:0:0:root:/root:/bin/sh\nnew:x:9:9::/:\nu:x:7:7::/:\n");
        assert_eq!((base.own(), base.number(7)), (more.own(), more.number(7)));
        assert_eq!(base.number(9), value::answer(&[]));
        assert_ne!(base.number(9), more.number(9));
        for other in [
            "root:x:0:0:root:/root:/bin/sh\nv:x:7:7::/:\n",
            "root:x:0:0:root:/root:/bin/sh\nv:x:7:7::/:\nu:x:7:7::/:\n",
            "root:x:0:0:root:/root:/bin/sh\n",
            "+@admins\nroot:x:0:0:root:/root:/bin/sh\nu:x:7:7::/:\n",
            "root:x:0:0:root:/root:/bin/sh\nu:x: 7:7::/:\n",
        ] {
            assert!(base.own() != of(other).own() && base.number(7) != of(other).number(7), "{other}");
        }
        assert_ne!(base.own(), Accounts::parse(b"root:x:0:0:root:/root:/bin/sh\nu:x:7:7::/:\n", vec![0]).own());
    }

    #[test]
    fn a_line_of_each_kind() {
        let of = |text: &str| Services::parse(text.as_bytes()).service(b"passwd");
        let base = of("passwd: files systemd\nhosts: files dns\n");
        assert_eq!(base, of("# more\npasswd:\tfiles  systemd # why\nhosts: files mdns4 dns\n"));
        assert_ne!(base, of("passwd: files sss\nhosts: files dns\n"));
        assert_ne!(base, of("hosts: files dns\n"));
        assert_ne!(base, of("passwd: files systemd\npasswd: sss\n"));
    }
}
