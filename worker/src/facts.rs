//! Which facts of machine and process count for the program that asks for them.
//!
//! Asking is not using. Every program that is linked against glibc asks for its stack at its start, bash for the name
//! of the machine, sorts and linkers for processors and memory. What is known of a program by its row in the table of
//! [`crate::tools`] is left out here; whatever else is asked for counts.

use crate::limits;
use crate::tools::{Class, Known, Uname, base_name};
use cache::Fact;

/// A fact that the tracer tells of, in the cache's words.
pub fn fact_of(f: tracer::Fact) -> Fact {
    use tracer::Fact as T;
    match f {
        T::Cwd => Fact::Cwd,
        T::Uname => Fact::Uname,
        T::Cpus => Fact::Cpus,
        T::Memory => Fact::Memory,
        T::Limit(n) => Fact::Limit(n),
    }
}

/// What asking means to a program that a process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asking {
    /// More processors and memory make it faster, and nothing else.
    fast: bool,
    /// What it uses of the answer of uname(2).
    uname: Uname,
    /// It fits itself to the limits, or hands them on.
    hands_on: bool,
    /// It has yet to ask for its stack, as it does at its start.
    starts: bool,
}

impl Asking {
    /// Of a program with these arguments. `known` is its row, if it is what it is called; `loader` what the kernel
    /// starts in its stead to load it.
    pub(crate) fn of(known: Option<Known>, argv: &[Vec<u8>], loader: Option<&[u8]>) -> Self {
        let class = known.and_then(Known::kind).and_then(|t| t.class);
        // glibc from 2.34 on (`__pthread_initialize_minimal_internal`); the loaders of those before have a version in
        // their own names.
        let glibc = loader.is_some_and(|l| base_name(l).starts_with(b"ld-linux"));
        Self {
            fast: class.is_some() || known.is_some_and(Known::is_only_faster),
            uname: known.map_or(Uname::ALL, |k| k.uname(argv)),
            hands_on: matches!(class, Some(Class::Toolchain | Class::Utility))
                || known.is_some_and(|k| k.hands_on_limits(argv)),
            starts: glibc,
        }
    }

    /// What counts of a fact that it asks for.
    pub(crate) fn counts(&mut self, f: Fact) -> Vec<Fact> {
        match f {
            Fact::Cpus | Fact::Memory if self.fast => Vec::new(),
            // It does not ask for that one: a signal of its own may show it.
            Fact::Limit(limits::CORE) => vec![f],
            Fact::Limit(_) if self.hands_on => Vec::new(),
            Fact::Limit(limits::STACK) if self.starts => {
                self.starts = false;
                Vec::new()
            }
            Fact::Uname => self.uname.facts().collect(),
            _ => vec![f],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::find;

    fn counts(program: &str, line: &str, asked: &[Fact]) -> Vec<Fact> {
        let argv: Vec<Vec<u8>> = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        let mut asking = Asking::of(find(program.as_bytes()), &argv, Some(b"/lib64/ld-linux-x86-64.so.2"));
        asked.iter().flat_map(|f| asking.counts(*f)).collect()
    }

    #[test]
    fn who_uses_what_it_asks_for() {
        use Fact::{Cpus, Host, Limit, Memory, Release, System, Uname};
        let stack = Limit(limits::STACK);
        for (program, line, asked, want) in [
            ("gcc", "gcc -c a.c", &[stack, stack, Cpus, Memory][..], &[][..]),
            ("bash", "bash x", &[stack, Uname, Memory], &[]),
            ("bash", "bash x", &[stack, stack, Limit(6)], &[stack, Limit(6)]),
            ("dash", "dash x", &[stack, Limit(7)], &[Limit(7)]),
            ("sort", "sort f", &[Limit(9), Memory, Cpus], &[]),
            ("gen", "gen", &[stack, Cpus, Limit(7)], &[Cpus, Limit(7)]),
            ("nproc", "nproc", &[Cpus], &[Cpus]),
            ("uname", "uname -m", &[Uname], &[System]),
            ("uname", "uname -sr", &[Uname], &[System, Release]),
            ("uname", "uname", &[Uname], &[System]),
            ("hostname", "hostname", &[Uname], &[Host]),
            ("xargs", "xargs rm", &[stack, stack], &[]),
            ("xargs", "xargs -s 9999 rm", &[stack, stack], &[stack]),
            ("gcc", "gcc x", &[Limit(limits::CORE)], &[Limit(limits::CORE)]),
        ] {
            assert_eq!(counts(program, line, asked), want, "{line}");
        }
        assert_eq!(counts("gen", "gen", &[Uname]).len(), 4);
        assert_eq!(counts("uname", "uname -a", &[Uname]).len(), 4);
    }

    #[test]
    fn another_library_asks_for_a_reason() {
        for loader in [None, Some(&b"/lib/ld-musl-x86_64.so.1"[..]), Some(b"/lib/ld-2.31.so")] {
            assert_eq!(Asking::of(None, &[], loader).counts(Fact::Limit(limits::STACK)).len(), 1);
        }
    }
}
