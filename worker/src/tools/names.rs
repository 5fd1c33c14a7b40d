//! From the name of a program to its row of the table, and how near the one comes to the other.
//!
//! Tools are installed under names with a version (`gcc-12`, `python3.11`), with the target before it
//! (`x86_64-linux-gnu-ar`), or with both. How much of what is known of a tool holds for such a name is decided once,
//! here and in [`Known`], and not by each who asks. Knows names only; whether a program is what it is called is asked
//! at the end, by its place.

use super::{Class, Known, Likeness, Tool, table};
use crate::places;
use rustc_hash::FxHashMap;
use std::sync::LazyLock;

/// File name of a path.
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

/// The rows by their names, made once.
struct Index {
    exact: FxHashMap<&'static [u8], &'static Tool>,
    /// Names with a `*`, in the order of the table.
    patterns: Vec<(Pattern, &'static Tool)>,
}

/// A name with a `*` at the end, at the beginning, or at both.
#[derive(Clone, Copy)]
enum Pattern {
    Begins(&'static [u8]),
    Ends(&'static [u8]),
    Contains(&'static [u8]),
}

impl Pattern {
    fn of(name: &'static str) -> Option<Self> {
        let (front, back) = (name.strip_prefix('*'), name.strip_suffix('*'));
        match (front, back) {
            (Some(rest), Some(_)) => rest.strip_suffix('*').map(|word| Self::Contains(word.as_bytes())),
            (Some(end), None) => Some(Self::Ends(end.as_bytes())),
            (None, Some(beginning)) => Some(Self::Begins(beginning.as_bytes())),
            (None, None) => None,
        }
    }

    /// What ends so may have a version.
    fn matches(self, name: &[u8]) -> bool {
        match self {
            Self::Begins(word) => name.starts_with(word),
            Self::Ends(word) => unversioned(name).ends_with(word),
            Self::Contains(word) => bstr::ByteSlice::contains_str(name, word),
        }
    }
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index { exact: FxHashMap::default(), patterns: Vec::new() };
    for tool in table::rows() {
        for name in tool.names {
            match Pattern::of(name) {
                Some(p) => index.patterns.push((p, tool)),
                None => _ = index.exact.insert(name.as_bytes(), tool),
            }
        }
    }
    index
});

/// What is known of a program by its name, and by nothing else. The nearest name decides: its own; without a version;
/// without a target before it; one of the patterns.
pub fn find(path: &[u8]) -> Option<Known> {
    let name = base_name(path);
    let exact = |n: &[u8]| INDEX.exact.get(n).copied();
    let known = |likeness: Likeness| move |tool: &'static Tool| Known { tool, likeness };
    if let Some(tool) = exact(name) {
        return Some(known(Likeness::Itself)(tool));
    }
    let bare = unversioned(name);
    if let Some(tool) = exact(bare) {
        // The version comes after a dash, or right after a distinct name: `cc65` is no `cc`.
        let is_clear = name[bare.len()..].starts_with(b"-") || tool.distinct;
        return Some(known(if is_clear { Likeness::Release } else { Likeness::Digits })(tool));
    }
    let is_pattern = |(p, _): &&(Pattern, &'static Tool)| p.matches(name);
    let pattern = || INDEX.patterns.iter().find(is_pattern).map(|(_, tool)| *tool).map(known(Likeness::Pattern));
    let for_target = after_target(versionless(name)).filter_map(exact).find(|t| t.is(Class::Toolchain));
    for_target.map(known(Likeness::Target)).or_else(|| exact(stem(name)).map(known(Likeness::Digits))).or_else(pattern)
}

/// The row of a program all of whose variables are known, by its name.
pub fn kind(path: &[u8]) -> Option<&'static Tool> {
    find(path)?.kind()
}

/// Compilers, assemblers, archivers, linkers.
pub fn is_toolchain(path: &[u8]) -> bool {
    kind(path).is_some_and(|t| t.is(Class::Toolchain))
}

/// sh, dash, bash.
pub fn is_shell(path: &[u8]) -> bool {
    kind(path).is_some_and(|t| t.is(Class::Shell))
}

fn unversioned(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|b| !(b.is_ascii_digit() || *b == b'.')).map_or(0, |i| i + 1);
    let dash = name[..end].iter().rposition(|b| *b != b'-').map_or(0, |i| i + 1);
    &name[..dash]
}

/// Without digits, dots and dashes at the end, in any order.
fn stem(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|b| !(b.is_ascii_digit() || b".-".contains(b))).map_or(0, |i| i + 1);
    &name[..end]
}

/// Without the version, if it is clear that it is one.
fn versionless(name: &[u8]) -> &[u8] {
    let bare = unversioned(name);
    if name[bare.len()..].starts_with(b"-") { bare } else { name }
}

/// What may be the name of a tool for the target that stands before it (`arm-none-eabi-ld`).
fn after_target(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_target = PROCESSORS.iter().any(|p| name.starts_with(p.as_bytes()));
    name.iter().enumerate().filter(move |(_, b)| is_target && **b == b'-').map(|(i, _)| &name[i + 1..])
}

/// How the first words of target triplets begin (config.sub of GNU's config). `my-gcc` may be anything.
const PROCESSORS: &[&str] = &[
    "x86_64-",
    "i386-",
    "i486-",
    "i586-",
    "i686-",
    "arm",
    "aarch64",
    "riscv",
    "mips",
    "powerpc",
    "ppc",
    "s390",
    "sparc",
    "m68k-",
    "m68hc",
    "avr-",
    "avr32-",
    "msp430-",
    "xtensa",
    "sh-",
    "sh2",
    "sh3",
    "sh4",
    "shle-",
    "hppa",
    "alpha",
    "ia64-",
    "loongarch",
    "or1k-",
    "microblaze",
    "nios2-",
    "tricore-",
    "rx-",
    "v850",
    "h8300-",
    "bfin-",
    "cris-",
    "arc-",
    "arceb-",
    "csky-",
    "nds32",
    "lm32-",
    "rl78-",
    "vax-",
    "c6x-",
    "amdgcn-",
    "nvptx-",
    "bpf-",
    "wasm32-",
    "ft32-",
    "moxie-",
    "e2k-",
];

/// Is a program what it is called? One that is installed is. One of the build's own may be a compiler (its name is
/// distinct, or has a target before it: `arm-none-eabi-ld`), or be started by one `by_compiler`; but a program called
/// `test` is anything.
pub(crate) fn is_what_it_is_called(path: &[u8], known: Option<Known>, root: &[u8], by_compiler: bool) -> bool {
    let kind = known.and_then(Known::kind);
    // What is in a directory of programs only is; elsewhere a `join` may be anything.
    // A shell that the user has installed is one: what else would be called `bash`?
    let is_small = |t: &Tool| !(t.is(Class::Toolchain) || t.is(Class::Shell) && places::is_users(path));
    let small = || kind.is_some_and(is_small) && !places::belongs_to_the_machine(path);
    let is_toolchain = |name: &[u8]| is_toolchain(name);
    places::is_installed(path, root) && !small()
        || by_compiler && kind.is_some()
        || known.is_some_and(Known::is_distinct)
        || after_target(base_name(path)).any(is_toolchain)
}
