//! What is known of the program that a process runs, from its name, its arguments and who runs it, by its row in the
//! table of [`crate::tools`].
//!
//! Settled once, when the process becomes that program, so that each of its accesses costs no lookup. Knows nothing of
//! what it accesses: that is [`crate::recorder`].

use crate::accesses::Stdin;
use crate::facts::Asking;
use crate::globs::{Lists, OBJECTS};
use crate::record::Image;
use crate::tools::{self, Class, Known, Times, Tool};
use crate::{drivers, places, scripts};
use std::sync::Arc;
use tracer::{Access, Made, Op};

/// Which directories a program makes if they are not there, whatever the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ensures {
    #[default]
    None,
    /// Those in which libtool keeps objects.
    Objects,
    All,
}

impl Ensures {
    /// Is this a look at such a directory, or the making of it?
    pub(crate) fn makes(self, a: &Access, root: &[u8]) -> bool {
        let looks = matches!(
            a.op,
            Op::Stat | Op::MayWrite | Op::Chdir | Op::OpenRead { .. } | Op::Create { how: Made::Directory, .. }
        );
        let is_meant = match self {
            Self::None => false,
            Self::Objects => OBJECTS.contains(&tools::base_name(&a.path.path)),
            Self::All => true,
        };
        looks && is_meant && a.path.path.strip_prefix(root).is_some_and(|rest| rest.starts_with(b"/"))
    }
}

/// Is this script one that makes the directory of its objects if it is not there?
fn ensures_objects(script: &[u8]) -> bool {
    let title = tools::find(script).and_then(Known::ensures_objects);
    title.is_some_and(|title| scripts::is_titled(script, title))
}

/// A program, as it matters to what its process does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running {
    pub(crate) image: Image,
    /// Its row, if it is a program all of whose variables are known.
    pub(crate) tool: Option<&'static Tool>,
    pub(crate) times: Times,
    /// It writes down the time of the file on its standard input.
    pub(crate) notes_time_of_stdin: bool,
    /// Whose time does not count: Python compiles modules, not the script that it is given.
    pub(crate) main: Option<Arc<[u8]>>,
    /// It runs scripts.
    pub(crate) interprets: bool,
    /// It is a shell, wherever that comes from.
    pub(crate) sources: bool,
    /// It is the machine's shell.
    pub(crate) is_shell: bool,
    /// It is a shell of which is known how it expands patterns.
    pub(crate) expands: bool,
    /// How much of a look at standard input may matter to it.
    pub(crate) minds_stdin: Stdin,
    /// Where it was started.
    pub(crate) cwd: Arc<[u8]>,
    /// It looks at its output before it replaces it, to no effect.
    pub(crate) replaces: bool,
    /// It lists directories only to find libraries.
    pub(crate) searches: bool,
    /// What it can want of the directories that it lists.
    pub(crate) lists: Lists,
    /// The directories that it makes if they are not there.
    pub(crate) ensures: Ensures,
    /// What it makes and removes again has a name that nobody had.
    pub(crate) scratches: bool,
    /// It expands macros.
    pub(crate) preprocesses: bool,
    /// The user says that what it looks at does not count.
    pub(crate) ignored: bool,
    /// What it means that it asks for a fact.
    pub(crate) asking: Asking,
    /// It may tell whose files are, or write that down.
    pub(crate) minds_owners: bool,
    /// How often it may still read random bytes for its own needs.
    pub(crate) seeds: u8,
    /// How often it may still open the terminal, to no effect.
    pub(crate) knocks: u8,
    /// Files of the kernel's that it may still read once, to no effect.
    pub(crate) kernel_files: Vec<&'static str>,
    /// It, or who started it, finds out what the machine can do.
    pub(crate) configures: bool,
    /// It starts one command after another for what it is told of.
    pub(crate) hands_out: bool,
    /// Where it, or who started it, keeps results of its own, to no effect.
    pub(crate) own_cache: Option<Arc<[u8]>>,
}

impl Running {
    /// `program`, a `#!` file if there is an `interpreter`, started in `cwd` by a process that ran `before`. What is
    /// below `root` is the build's own. `loader` is what the kernel starts to load it.
    pub(crate) fn of(
        program: &[u8],
        argv: &[Vec<u8>],
        interpreter: Option<&[u8]>,
        cwd: &[u8],
        loader: Option<&[u8]>,
        before: &Self,
        root: &[u8],
    ) -> Self {
        let image = interpreter.unwrap_or(program);
        let named = tools::find(image);
        let known = named.filter(|_| tools::is_what_it_is_called(image, named, root, before.is_compiler()));
        let own = known.filter(|_| interpreter.is_none());
        let tool = own.and_then(Known::kind);
        let language = named.and_then(Known::language);
        // A script's own words are told of in its text, wherever it comes from.
        let mut all = interpreter.map(|_| program).into_iter().chain(scripts::scripts_of(program, argv));
        let script = all.next().map(|s| if s.starts_with(b"/") { s.to_vec() } else { [cwd, b"/", s].concat() });
        let foreign = script.as_ref().is_some_and(|s| places::is_foreign(s, root));
        let by_name = if interpreter.is_some() { tools::find(program) } else { named };
        Self {
            image: 0,
            tool,
            times: known.map_or(Times::Unread, |k| k.times(argv)),
            notes_time_of_stdin: by_name.is_some_and(|k| k.notes_time_of_stdin(argv)),
            main: script.as_deref().map(Into::into),
            interprets: language.is_some(),
            sources: language.is_some_and(|l| l.is_shell),
            is_shell: known.is_some() && language.is_some_and(|l| l.is_shell),
            expands: known.is_some() && matches!(tools::base_name(image), b"bash" | b"dash"),
            minds_stdin: match tool {
                None => Stdin::Used,
                Some(t) if t.is(Class::Shell) => Stdin::Used,
                Some(_) if own.is_some_and(|k| k.minds_terminal(argv)) => Stdin::Asked,
                Some(_) => Stdin::Unused,
            },
            cwd: cwd.into(),
            replaces: own.is_some_and(|k| k.replaces(argv)),
            searches: own.is_some_and(Known::searches_libraries),
            ensures: match before.ensures {
                _ if known.is_some_and(|k| k.ensures(argv)) => Ensures::All,
                _ if known.is_some() && script.as_ref().is_some_and(|s| ensures_objects(s)) => Ensures::Objects,
                Ensures::Objects if known.is_some_and(Known::makes_directories) => Ensures::Objects,
                _ => Ensures::None,
            },
            lists: if own.is_some_and(|k| k.counts_members(argv)) { Lists::Count } else { Lists::All },
            scratches: tool.is_some_and(|t| t.is(Class::Toolchain)) || own.is_some_and(Known::searches_libraries),
            preprocesses: by_name.is_some_and(Known::expands_macros),
            ignored: false,
            asking: Asking::of(known, argv, loader),
            // What a shell's text asks for is found in the end.
            minds_owners: !language.is_some_and(|l| l.is_shell && known.is_some())
                && known.is_none_or(|k| k.minds_owners(argv)),
            knocks: known.map_or(0, Known::knocks),
            kernel_files: known.map_or(&[][..], Known::kernel_files).to_vec(),
            configures: before.configures || drivers::configures(image, script.as_deref(), argv),
            hands_out: by_name.is_some_and(|k| k.hands_out(argv)),
            own_cache: before.own_cache.clone(),
            seeds: known.map_or(0, |k| k.seeds(foreign)),
        }
    }

    /// Settles what it can want of directories, started with these words and variables.
    pub(crate) fn lists(self, argv: &[Vec<u8>], env: &[Vec<u8>]) -> Self {
        let lists = match self.ensures {
            _ if !self.expands => return self,
            Ensures::Objects => Lists::by_libtool(argv),
            _ => Lists::by_shell(argv, env),
        };
        Self { lists, ..self }
    }

    /// A compiler, assembler, linker or archiver?
    pub(crate) fn is_compiler(&self) -> bool {
        self.tool.is_some_and(|t| t.is(Class::Toolchain))
    }
}
