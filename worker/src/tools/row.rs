//! The row of a tool: what can be known of a program, each fact with what it means where nobody has stated it.

use super::Language;
use cache::Fact;

/// What a program of which all variables are known is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Compilers, assemblers, linkers, archivers: always worth a lookup.
    Toolchain,
    Shell,
    /// Small file and text tools.
    Utility,
}

/// Of which names a program reads the modification time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    #[default]
    None,
    /// Python's modules, to judge their compiled form; of other files as `Unread`.
    Modules,
    /// Files, but directories only to find their way.
    Files,
    /// Files and directories, but not the directories that it is in: a script, or cmake, goes through those to get
    /// anywhere.
    Elsewhere,
    /// Of Java's sources and classes, to judge which is newer; of other files none.
    Classes,
    /// Whatever it looks at (archivers and copiers).
    All,
    /// Nothing is known of it: perhaps of what it looks at and does not read, to see whether there is something to do;
    /// and then of all that it looks at.
    Unread,
}

impl Times {
    /// Does the time of `path` count, for a program that was started in `cwd`?
    pub(crate) fn of(self, path: &[u8], directory: bool, cwd: &[u8]) -> bool {
        match self {
            Self::None | Self::Classes | Self::Unread => false,
            Self::Modules => path.ends_with(b".py") || path.ends_with(b".pyc"),
            Self::Files => !directory,
            Self::Elsewhere => {
                !(directory && cwd.strip_prefix(path).is_some_and(|rest| matches!(rest.first(), None | Some(b'/'))))
            }
            Self::All => true,
        }
    }

    /// Does the time count of what is looked at and then not read, and that of what is read where times are set on what
    /// it makes?
    pub(crate) fn of_unread(self) -> bool {
        matches!(self, Self::Modules | Self::Classes | Self::Unread)
    }

    /// May a look at `path` that reads nothing have been one at its time?
    pub(crate) fn judges(self, path: &[u8]) -> bool {
        match self {
            Self::Classes => path.ends_with(b".java") || path.ends_with(b".class"),
            _ => self.of_unread(),
        }
    }
}

/// Whose entries a program asks for in the files of users and groups, if it opens them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Its own.
    Own,
    /// Those of the owners of what it looked at, and its own.
    Owners,
}

/// What of the answer of uname(2) a program uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uname(u8);

impl Uname {
    const FACTS: [Fact; 4] = [Fact::System, Fact::Host, Fact::Release, Fact::KernelVersion];
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const SYSTEM: Self = Self(1);
    pub(crate) const HOST: Self = Self(2);
    pub(crate) const RELEASE: Self = Self(4);
    pub(crate) const VERSION: Self = Self(8);
    pub(crate) const ALL: Self = Self(15);

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// One by one.
    pub(crate) fn facts(self) -> impl Iterator<Item = Fact> {
        Self::FACTS.into_iter().enumerate().filter(move |(i, _)| self.0 & 1 << i != 0).map(|(_, f)| f)
    }
}

/// How a compiler comes to a text in which macros for date and time may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Macros {
    /// It expands them.
    Expands,
    /// It calls a program that does.
    Calls,
}

/// Whose build files a build tool reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuildFiles {
    /// GNU make's.
    Make,
    Ninja,
}

/// Where a tool keeps results of its own.
pub(crate) struct OwnCache {
    /// The variable that names the directory.
    pub(crate) variable: &'static str,
    /// Otherwise it is this one in the user's cache directory (XDG Base Directory Specification).
    pub(crate) default: &'static str,
    /// Which runs make the same whatever is there. What they print may tell.
    pub(crate) when: Ask<bool>,
}

/// When a program launches the commands of a build.
#[derive(Clone, Copy)]
pub(crate) enum Drives {
    /// Always, by whichever of its path and its first argument it has the name.
    Always,
    /// If its command line says so.
    If(Ask<bool>),
}

/// Something told by the words of a command line, of which the first is the program's name.
pub(crate) type Ask<T> = fn(&[Vec<u8>]) -> T;

/// Something told by the words of a text.
pub(crate) type AskWords = fn(&[&[u8]]) -> bool;

/// What is known of one tool. Each field is a fact; the functions of the same names state it.
#[derive(Clone, Copy)]
pub struct Tool {
    /// A `*` at the end, at the beginning, or at both stands for anything.
    pub(crate) names: &'static [&'static str],
    /// From where all this is known.
    pub(crate) why: &'static str,
    pub(crate) distinct: bool,
    pub(crate) by_any_name: bool,
    pub(crate) class: Option<Class>,
    pub(crate) variables: &'static [&'static str],
    pub(crate) lays_out: Option<Ask<bool>>,
    pub(crate) times: Option<Ask<Times>>,
    pub(crate) notes_time_of_stdin: Option<Ask<bool>>,
    pub(crate) replaces: Option<Ask<bool>>,
    pub(crate) minds_terminal: Option<Ask<bool>>,
    pub(crate) never_the_same: Option<&'static str>,
    pub(crate) asks_for_now: Option<Ask<Option<&'static str>>>,
    pub(crate) dated: bool,
    pub(crate) daemon: Option<(&'static str, &'static str)>,
    pub(crate) only_waits: bool,
    pub(crate) seeds: u8,
    pub(crate) seeds_of_others_scripts: u8,
    pub(crate) kernel_files: &'static [&'static str],
    pub(crate) knocks: u8,
    pub(crate) language: Option<&'static Language>,
    pub(crate) changing_variables: Option<&'static [&'static str]>,
    pub(crate) macros: Option<Macros>,
    pub(crate) other_language: bool,
    pub(crate) undated_headers: Option<&'static str>,
    pub(crate) searches_libraries: bool,
    pub(crate) ensures: Option<Ask<bool>>,
    pub(crate) ensures_objects: Option<&'static str>,
    pub(crate) moves: bool,
    pub(crate) copies_modes: bool,
    pub(crate) invents_names: bool,
    pub(crate) tells_dates: bool,
    pub(crate) drives: Option<Drives>,
    pub(crate) hands_out: Option<Ask<bool>>,
    pub(crate) configures: Option<Ask<bool>>,
    pub(crate) own_cache: Option<&'static OwnCache>,
    pub(crate) build_files: Option<BuildFiles>,
    pub(crate) trivial: bool,
    pub(crate) asks_accounts: Option<Ask<Option<Asks>>>,
    pub(crate) counts_progress: Option<AskWords>,
    pub(crate) counts_members: Option<Ask<bool>>,
    pub(crate) minds_owners: Option<Ask<bool>>,
    pub(crate) only_faster: bool,
    pub(crate) uname: Option<Ask<Uname>>,
    pub(crate) hands_on_limits: Option<Ask<bool>>,
}

impl std::fmt::Debug for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tool").field(&self.names).finish()
    }
}

/// A row of which nothing is stated yet.
pub(crate) const fn tool(names: &'static [&'static str]) -> Tool {
    Tool {
        names,
        why: "",
        distinct: false,
        by_any_name: false,
        class: None,
        variables: &[],
        lays_out: None,
        times: None,
        notes_time_of_stdin: None,
        replaces: None,
        minds_terminal: None,
        never_the_same: None,
        asks_for_now: None,
        dated: false,
        daemon: None,
        only_waits: false,
        seeds: 0,
        seeds_of_others_scripts: 0,
        kernel_files: &[],
        knocks: 0,
        language: None,
        changing_variables: None,
        macros: None,
        other_language: false,
        undated_headers: None,
        searches_libraries: false,
        ensures: None,
        ensures_objects: None,
        moves: false,
        copies_modes: false,
        invents_names: false,
        tells_dates: false,
        drives: None,
        hands_out: None,
        configures: None,
        own_cache: None,
        build_files: None,
        trivial: false,
        asks_accounts: None,
        counts_progress: None,
        counts_members: None,
        minds_owners: None,
        only_faster: false,
        uname: None,
        hands_on_limits: None,
    }
}

impl Tool {
    /// The reason: a short sentence that says where to look it up, or what was seen.
    pub(crate) const fn why(mut self, source: &'static str) -> Self {
        self.why = source;
        self
    }

    /// Nobody gives this name to a program of another kind, wherever that is.
    pub(crate) const fn distinct(mut self) -> Self {
        self.distinct = true;
        self
    }

    /// What its command line means holds for its name with a version, too, and for those with a `*`.
    pub(crate) const fn by_any_name(mut self) -> Self {
        self.by_any_name = true;
        self
    }

    /// What it is for. All variables that it reads are in [`Self::variables`]. A tool of no class may read any.
    pub(crate) const fn class(mut self, class: Class) -> Self {
        self.class = Some(class);
        self
    }

    /// Variables that it reads, besides those of every program; a trailing `*` is a prefix.
    pub(crate) const fn variables(mut self, names: &'static [&'static str]) -> Self {
        self.variables = names;
        self
    }

    /// When it lays out text for a terminal, whether there is one or not. Otherwise it does not.
    pub(crate) const fn lays_out(mut self, when: Ask<bool>) -> Self {
        self.lays_out = Some(when);
        self
    }

    /// Of which names it reads the modification times. Otherwise none if it has a class, and else [`Times::Unread`].
    pub(crate) const fn times(mut self, which: Ask<Times>) -> Self {
        self.times = Some(which);
        self
    }

    /// When it writes down the time of the file on its standard input. Otherwise it does not.
    pub(crate) const fn notes_time_of_stdin(mut self, when: Ask<bool>) -> Self {
        self.notes_time_of_stdin = Some(when);
        self
    }

    /// When it looks at its output before it replaces it, and makes the same one either way. Otherwise such a look
    /// counts.
    pub(crate) const fn replaces(mut self, when: Ask<bool>) -> Self {
        self.replaces = Some(when);
        self
    }

    /// When it matters to it whether its standard input is a terminal. Otherwise it does not, if it has a class;
    /// compilers ask for its width.
    pub(crate) const fn minds_terminal(mut self, when: Ask<bool>) -> Self {
        self.minds_terminal = Some(when);
        self
    }

    /// It exists to say something that changes from run to run, and what that is: never cached.
    pub(crate) const fn never_the_same(mut self, what: &'static str) -> Self {
        self.never_the_same = Some(what);
        self
    }

    /// What some of its runs ask for that is another thing each time, although it has other uses.
    pub(crate) const fn asks_for_now(mut self, what: Ask<Option<&'static str>>) -> Self {
        self.asks_for_now = Some(what);
        self
    }

    /// It writes the time into what it makes, unless `SOURCE_DATE_EPOCH` tells it one.
    pub(crate) const fn dated(mut self) -> Self {
        self.dated = true;
        self
    }

    /// It has inputs that nobody sees, wherever it is installed, unless the variable is set; what to do about it.
    pub(crate) const fn daemon(mut self, unless: &'static str, advice: &'static str) -> Self {
        self.daemon = Some((unless, advice));
        self
    }

    /// It does nothing but wait.
    pub(crate) const fn only_waits(mut self) -> Self {
        self.only_waits = true;
        self
    }

    /// How often it may read random bytes for its own needs. Otherwise what it makes depends on them.
    pub(crate) const fn seeds(mut self, times: u8) -> Self {
        self.seeds = times;
        self.seeds_of_others_scripts = times;
        self
    }

    /// The same if it runs a script that is not the build's own.
    pub(crate) const fn seeds_of_others_scripts(mut self, times: u8) -> Self {
        self.seeds_of_others_scripts = times;
        self
    }

    /// Files of the kernel's that it reads once for its own needs. Otherwise what it makes depends on them.
    pub(crate) const fn kernel_files(mut self, names: &'static [&'static str]) -> Self {
        self.kernel_files = names;
        self
    }

    /// How often it may open `/dev/tty` for its own needs. Otherwise it uses the terminal.
    pub(crate) const fn knocks(mut self, times: u8) -> Self {
        self.knocks = times;
        self
    }

    /// The language of the scripts that it runs. Otherwise it runs none.
    pub(crate) const fn runs(mut self, language: &'static Language) -> Self {
        self.language = Some(language);
        self
    }

    /// Which variables of a shell's own have another value each time. Otherwise all that any shell has.
    pub(crate) const fn changing_variables(mut self, names: &'static [&'static str]) -> Self {
        self.changing_variables = Some(names);
        self
    }

    /// It expands macros. Otherwise it asks for no date or time by one.
    pub(crate) const fn expands_macros(mut self) -> Self {
        self.macros = Some(Macros::Expands);
        self
    }

    /// It calls what expands macros, if it is given a source.
    pub(crate) const fn calls_a_preprocessor(mut self) -> Self {
        self.macros = Some(Macros::Calls);
        self
    }

    /// What it reads is no C of today: what is a comment there is told by other rules.
    pub(crate) const fn other_language(mut self) -> Self {
        self.other_language = true;
        self
    }

    /// The option without which the times of sources are in the headers that it precompiles.
    pub(crate) const fn undated_headers(mut self, option: &'static str) -> Self {
        self.undated_headers = Some(option);
        self
    }

    /// It lists directories only to find libraries whose names it knows the beginning of.
    pub(crate) const fn searches_libraries(mut self) -> Self {
        self.searches_libraries = true;
        self
    }

    /// When it makes directories if they are not there, so that it makes no difference whether they are.
    pub(crate) const fn ensures(mut self, when: Ask<bool>) -> Self {
        self.ensures = Some(when);
        self
    }

    /// It is a script with this title in its first 4 KiB, and makes the directory of its objects if that is not there.
    pub(crate) const fn ensures_objects(mut self, title: &'static str) -> Self {
        self.ensures_objects = Some(title);
        self
    }

    /// It gives files other names, or, where that is on another file system, makes copies with their times.
    pub(crate) const fn moves(mut self) -> Self {
        self.moves = true;
        self
    }

    /// It gives what it makes the mode of what it reads, which it asks the open file for.
    pub(crate) const fn copies_modes(mut self) -> Self {
        self.copies_modes = true;
        self
    }

    /// It gives what it makes random names.
    pub(crate) const fn invents_names(mut self) -> Self {
        self.invents_names = true;
        self
    }

    /// What it prints may hold dates of others' making, as those of commits.
    pub(crate) const fn tells_dates(mut self) -> Self {
        self.tells_dates = true;
        self
    }

    /// It launches the commands of a build.
    pub(crate) const fn drives(mut self) -> Self {
        self.drives = Some(Drives::Always);
        self
    }

    /// It does so if its command line says it.
    pub(crate) const fn drives_if(mut self, when: Ask<bool>) -> Self {
        self.drives = Some(Drives::If(when));
        self
    }

    /// When it starts one command after another for what it is told of: if these are compilers, each is worth caching
    /// by itself, and it launches the commands of a build.
    pub(crate) const fn hands_out(mut self, when: Ask<bool>) -> Self {
        self.hands_out = Some(when);
        self
    }

    /// When it finds out what the machine can do: what it launches for that, build tools too, is a part of it.
    pub(crate) const fn configures(mut self, when: Ask<bool>) -> Self {
        self.configures = Some(when);
        self
    }

    /// It keeps results in a directory of its own, by what they were made of, so that it makes no difference which are
    /// there.
    pub(crate) const fn own_cache(mut self, cache: &'static OwnCache) -> Self {
        self.own_cache = Some(cache);
        self
    }

    /// Whose build files it reads, and whose options it has.
    pub(crate) const fn reads(mut self, files: BuildFiles) -> Self {
        self.build_files = Some(files);
        self
    }

    /// The makefiles of configure probes are made of it: that a driver launches it tells nothing.
    pub(crate) const fn trivial(mut self) -> Self {
        self.trivial = true;
        self
    }

    /// Whose entries in the files of users and groups it asks for, but for those that a text names. Otherwise it may
    /// read all of them.
    pub(crate) const fn asks_accounts(mut self, of: Ask<Option<Asks>>) -> Self {
        self.asks_accounts = Some(of);
        self
    }

    /// When the words of a command only count how far the build is.
    pub(crate) const fn counts_progress(mut self, when: AskWords) -> Self {
        self.counts_progress = Some(when);
        self
    }

    /// When it lists the directory in which it marks what is done only to count the marks.
    pub(crate) const fn counts_members(mut self, when: Ask<bool>) -> Self {
        self.counts_members = Some(when);
        self
    }

    /// When it tells users and groups, writes them down or goes by them. Otherwise it does if it has no class.
    pub(crate) const fn minds_owners(mut self, when: Ask<bool>) -> Self {
        self.minds_owners = Some(when);
        self
    }

    /// More processors and memory make it faster, and nothing else. So it is with all that have a class.
    pub(crate) const fn only_faster(mut self) -> Self {
        self.only_faster = true;
        self
    }

    /// What it uses of the answer when it asks for the names of kernel and machine. Otherwise all.
    pub(crate) const fn uname(mut self, what: Ask<Uname>) -> Self {
        self.uname = Some(what);
        self
    }

    /// When it only hands resource limits on, or fits itself to them. So it is with all that have a class, but shells.
    pub(crate) const fn hands_on_limits(mut self, when: Ask<bool>) -> Self {
        self.hands_on_limits = Some(when);
        self
    }

    /// Is it of this class?
    pub fn is(&self, class: Class) -> bool {
        self.class == Some(class)
    }
}
