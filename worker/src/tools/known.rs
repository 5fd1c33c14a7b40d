//! A program whose name leads to a row, and which of the row's facts hold for that name.
//!
//! A name with a version or for a target is of the same kind; but what its command line means is known only of the
//! names in the table, unless the row says [`Tool::by_any_name`].

use super::languages::Language;
use super::row::{Asks, BuildFiles, Class, Drives, Macros, Times, Tool, Uname};

/// How near the name of a program comes to one in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// It is that name.
    Itself,
    /// That, and what is clearly a version: `gcc-12`, `clang14`, `sort-2`.
    Release,
    /// That, and what may be a version or a part of the name: `python3.11`, `cc65`.
    Digits,
    /// A compiler's or the like, after a target: `arm-none-eabi-ld`.
    Target,
    /// One of the names with a `*`.
    Pattern,
}

/// A tool, and how near the name comes by which it was found.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub(crate) tool: &'static Tool,
    pub(crate) likeness: Likeness,
}

use Likeness::{Digits, Itself, Pattern, Release, Target};

impl Known {
    /// The row, if this is a program all of whose variables are known: by its name, or, what builds other programs,
    /// with a version or target.
    pub(crate) fn kind(self) -> Option<&'static Tool> {
        let is_of_kind = match self.likeness {
            Itself => self.tool.class.is_some(),
            Release | Target => self.tool.is(Class::Toolchain),
            Digits | Pattern => false,
        };
        is_of_kind.then_some(self.tool)
    }

    /// The row, for what the words of a command line mean.
    fn used(self) -> Option<&'static Tool> {
        (self.likeness == Itself || self.tool.by_any_name || self.kind().is_some()).then_some(self.tool)
    }

    /// The row, for what holds for exactly the names in the table.
    fn itself(self) -> Option<&'static Tool> {
        (self.likeness == Itself).then_some(self.tool)
    }

    /// The row, for what the program does before it looks at its arguments: any version of it does.
    fn any_version(self) -> Option<&'static Tool> {
        (self.likeness != Target).then_some(self.tool)
    }

    /// Would nobody give this name to another program?
    pub(crate) fn is_distinct(self) -> bool {
        self.tool.distinct && matches!(self.likeness, Itself | Release)
    }

    /// Which modification times a run with these arguments reads. It is what it is called.
    pub(crate) fn times(self, argv: &[Vec<u8>]) -> Times {
        let unstated = if self.kind().is_some() { Times::None } else { Times::Unread };
        self.used().and_then(|t| t.times).map_or(unstated, |f| f(argv))
    }

    /// Do users and groups matter to a run with these arguments? It is what it is called.
    pub(crate) fn minds_owners(self, argv: &[Vec<u8>]) -> bool {
        self.used().and_then(|t| t.minds_owners).map_or(self.kind().is_none(), |f| f(argv))
    }

    /// Do processors and memory make it faster, and nothing else?
    pub(crate) fn is_only_faster(self) -> bool {
        self.used().is_some_and(|t| t.only_faster)
    }

    /// What it uses of the names of kernel and machine.
    pub(crate) fn uname(self, argv: &[Vec<u8>]) -> Uname {
        self.used().and_then(|t| t.uname).map_or(Uname::ALL, |f| f(argv))
    }

    /// Does it only hand resource limits on, or fit itself to them?
    pub(crate) fn hands_on_limits(self, argv: &[Vec<u8>]) -> bool {
        self.used().and_then(|t| t.hands_on_limits).is_some_and(|f| f(argv))
    }

    /// Does it write down the time of the file on its standard input?
    pub(crate) fn notes_time_of_stdin(self, argv: &[Vec<u8>]) -> bool {
        self.itself().and_then(|t| t.notes_time_of_stdin).is_some_and(|f| f(argv))
    }

    /// Does it lay out text for a terminal?
    pub(crate) fn lays_out(self, argv: &[Vec<u8>]) -> bool {
        self.itself().and_then(|t| t.lays_out).is_some_and(|f| f(argv))
    }

    /// Is a look at an output by this run without effect on what it makes?
    pub(crate) fn replaces(self, argv: &[Vec<u8>]) -> bool {
        self.kind().and_then(|t| t.replaces).is_some_and(|f| f(argv))
    }

    /// Does it matter to this run of a known tool whether its standard input is a terminal?
    pub(crate) fn minds_terminal(self, argv: &[Vec<u8>]) -> bool {
        self.itself().and_then(|t| t.minds_terminal).is_some_and(|f| f(argv))
    }

    /// What it is never the same in.
    pub(crate) fn never_the_same(self) -> Option<&'static str> {
        self.itself()?.never_the_same
    }

    /// What this run asks for that is another thing each time.
    pub(crate) fn asks_for_now(self, argv: &[Vec<u8>]) -> Option<&'static str> {
        self.itself()?.asks_for_now?(argv)
    }

    /// Does it write the time into what it makes?
    pub(crate) fn is_dated(self) -> bool {
        self.itself().is_some_and(|t| t.dated)
    }

    /// The variable without which it works with what nobody sees, and what to do about it.
    pub(crate) fn daemon(self) -> Option<(&'static str, &'static str)> {
        self.itself()?.daemon
    }

    /// Does it do nothing but wait?
    pub(crate) fn only_waits(self) -> bool {
        self.itself().is_some_and(|t| t.only_waits)
    }

    /// How often may it read random bytes for its own needs?
    pub(crate) fn seeds(self, runs_foreign_script: bool) -> u8 {
        self.any_version().map_or(0, |t| if runs_foreign_script { t.seeds_of_others_scripts } else { t.seeds })
    }

    /// Which files of the kernel's does it read once for its own needs?
    pub(crate) fn kernel_files(self) -> &'static [&'static str] {
        self.itself().map_or(&[], |t| t.kernel_files)
    }

    /// How often may it open `/dev/tty` for its own needs?
    pub(crate) fn knocks(self) -> u8 {
        self.any_version().map_or(0, |t| t.knocks)
    }

    /// The language of the scripts that it runs.
    pub(crate) fn language(self) -> Option<&'static Language> {
        self.tool.language.filter(|_| matches!(self.likeness, Itself | Release | Digits))
    }

    /// Which variables of this shell's own have another value each time?
    pub(crate) fn changing_variables(self) -> Option<&'static [&'static str]> {
        self.itself()?.changing_variables
    }

    /// Does it expand macros?
    pub(crate) fn expands_macros(self) -> bool {
        self.tool.macros == Some(Macros::Expands)
    }

    /// Does it read sources, or call what does? (Assemblers and linkers do, too, but no macros for the time are
    /// theirs.)
    pub(crate) fn reads_source(self) -> bool {
        self.tool.macros.is_some()
    }

    /// Is what it reads no C of today?
    pub(crate) fn is_of_other_language(self) -> bool {
        self.tool.other_language
    }

    /// The option without which the times of sources are in the headers that it precompiles.
    pub(crate) fn undated_headers(self) -> Option<&'static str> {
        self.any_version()?.undated_headers
    }

    /// Does it list directories only to find libraries?
    pub(crate) fn searches_libraries(self) -> bool {
        self.itself().is_some_and(|t| t.searches_libraries)
    }

    /// Does this run make directories if they are not there?
    pub(crate) fn ensures(self, argv: &[Vec<u8>]) -> bool {
        self.itself().and_then(|t| t.ensures).is_some_and(|f| f(argv))
    }

    /// Is there nothing else that it makes than directories?
    pub(crate) fn makes_directories(self) -> bool {
        self.itself().is_some_and(|t| t.ensures.is_some() && t.is(Class::Utility))
    }

    /// The title by which a script is known that makes the directory of its objects if that is not there.
    pub(crate) fn ensures_objects(self) -> Option<&'static str> {
        self.tool.ensures_objects
    }

    /// May what it prints hold dates of others' making?
    pub(crate) fn tells_dates(self) -> bool {
        self.itself().is_some_and(|t| t.tells_dates)
    }

    /// Does whatever has this name launch the commands of a build?
    pub(crate) fn always_drives(self) -> bool {
        self.itself().is_some_and(|t| matches!(t.drives, Some(Drives::Always)))
    }

    /// Does this run launch the commands of a build?
    pub(crate) fn drives(self, argv: &[Vec<u8>]) -> bool {
        match self.used().and_then(|t| t.drives) {
            Some(Drives::Always) => self.likeness == Itself,
            Some(Drives::If(f)) => f(argv),
            None => false,
        }
    }

    /// Does this run start one command after another for what it is told of?
    pub(crate) fn hands_out(self, argv: &[Vec<u8>]) -> bool {
        self.itself().and_then(|t| t.hands_out).is_some_and(|f| f(argv))
    }

    /// Does this run find out what the machine can do?
    pub(crate) fn configures(self, argv: &[Vec<u8>]) -> bool {
        self.used().and_then(|t| t.configures).is_some_and(|f| f(argv))
    }

    /// Where it keeps results of its own, if this run makes the same whatever is there.
    pub(crate) fn own_cache(self, argv: &[Vec<u8>], env: &[Vec<u8>]) -> Option<Vec<u8>> {
        let cache = self.itself()?.own_cache.filter(|c| (c.when)(argv))?;
        let value = |name: &str| {
            let set = |v: &'_ Vec<u8>| Some(v.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?.to_vec());
            env.iter().find_map(set).filter(|v| v.starts_with(b"/"))
        };
        let below = |base: Vec<u8>, name: &str| [&base[..], b"/", name.as_bytes()].concat();
        let users = || value("XDG_CACHE_HOME").or_else(|| Some(below(value("HOME")?, ".cache")));
        value(cache.variable).or_else(|| Some(below(users()?, cache.default)))
    }

    /// Does it read build files of this kind?
    pub(crate) fn reads(self, files: BuildFiles) -> bool {
        self.itself().is_some_and(|t| t.build_files == Some(files))
    }

    /// Whose entries does this run ask for in the files of users and groups? `None`: perhaps for all of them.
    pub(crate) fn asks_accounts(self, argv: &[Vec<u8>]) -> Option<Asks> {
        let known = self.itself().or_else(|| self.language().and(self.any_version()))?;
        known.asks_accounts?(argv)
    }

    /// Are the makefiles of configure probes made of it?
    pub(crate) fn is_trivial(self) -> bool {
        self.itself().is_some_and(|t| t.trivial)
    }

    /// Does this run list the directory of marks only to count them?
    pub(crate) fn counts_members(self, argv: &[Vec<u8>]) -> bool {
        self.itself().and_then(|t| t.counts_members).is_some_and(|f| f(argv))
    }

    /// Does it have commands that only count how far the build is?
    pub fn may_count_progress(self) -> bool {
        self.itself().is_some_and(|t| t.counts_progress.is_some())
    }

    /// Do these words of one of its commands only count how far the build is?
    pub fn counts_progress(self, words: &[&[u8]]) -> bool {
        self.itself().and_then(|t| t.counts_progress).is_some_and(|f| f(words))
    }
}
