//! What is known of the program that a process runs, from its name, its arguments and who runs it, by the tables of
//! [`crate::tools`] and [`crate::times`].
//!
//! Settled once, when the process becomes that program, so that each of its accesses costs no lookup. Knows nothing of
//! what it accesses: that is [`crate::recorder`].

use crate::record::Image;
use crate::recorder::Stdin;
use crate::times::{self, Times};
use crate::tools::{self, Class, Tool};
use crate::{macros, scripts};
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
        let looks =
            matches!(a.op, Op::Stat | Op::Chdir | Op::OpenRead { .. } | Op::Create { how: Made::Directory, .. });
        let is_meant = match self {
            Self::None => false,
            Self::Objects => tools::LIBTOOL_OBJECTS.contains(&tools::base_name(&a.path.path)),
            Self::All => true,
        };
        looks && is_meant && a.path.path.strip_prefix(root).is_some_and(|rest| rest.starts_with(b"/"))
    }
}

/// A program, as it matters to what its process does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running {
    pub(crate) image: Image,
    pub(crate) tool: Option<&'static Tool>,
    pub(crate) times: Times,
    /// Whose time does not count: Python compiles modules, not the script that it is given.
    pub(crate) main: Option<Arc<[u8]>>,
    /// It runs scripts.
    pub(crate) interprets: bool,
    /// It is a shell, wherever that comes from.
    pub(crate) sources: bool,
    /// It is the machine's shell.
    pub(crate) is_shell: bool,
    /// How much of a look at standard input may matter to it.
    pub(crate) minds_stdin: Stdin,
    /// Where it was started.
    pub(crate) cwd: Arc<[u8]>,
    /// It looks at its output before it replaces it, to no effect.
    pub(crate) probes_output: bool,
    /// It lists directories only to find libraries.
    pub(crate) searches: bool,
    /// The directories that it makes if they are not there.
    pub(crate) ensures: Ensures,
    /// What it makes and removes again has a name that nobody had.
    pub(crate) scratches: bool,
    /// It expands macros.
    pub(crate) preprocesses: bool,
    /// The user says that what it looks at does not count.
    pub(crate) ignored: bool,
    /// How often it may still read random bytes for its own needs.
    pub(crate) seeds: u8,
    /// How often it may still open the terminal, to no effect.
    pub(crate) knocks: u8,
}

impl Running {
    /// `program`, a `#!` file if there is an `interpreter`, started in `cwd` by a process that ran `before`. What is
    /// below `root` is the build's own.
    pub(crate) fn of(
        program: &[u8],
        argv: &[Vec<u8>],
        interpreter: Option<&[u8]>,
        cwd: &[u8],
        before: &Self,
        root: &[u8],
    ) -> Self {
        let image = interpreter.unwrap_or(program);
        let known = tools::is_what_it_is_called(image, root, before.is_compiler());
        let is_program = interpreter.is_none() && known;
        let tool = if is_program { tools::tool(program) } else { None };
        // A script's own words are told of in its text, wherever it comes from.
        let mut all = interpreter.map(|_| program).into_iter().chain(scripts::scripts_of(program, argv));
        let script = all.next().map(|s| if s.starts_with(b"/") { s.to_vec() } else { [cwd, b"/", s].concat() });
        let foreign = script.as_ref().is_some_and(|s| scripts::is_foreign(s, root));
        Self {
            image: 0,
            tool,
            times: if known { times::reads_times(image, argv) } else { Times::Unread },
            main: script.as_deref().map(Into::into),
            interprets: scripts::interprets(image),
            sources: scripts::is_shell_program(image),
            is_shell: known && scripts::is_shell_program(image),
            minds_stdin: match tool {
                None => Stdin::Used,
                Some(t) if t.class == Class::Shell => Stdin::Used,
                Some(_) if tools::minds_terminal(program, argv) => Stdin::Asked,
                Some(_) => Stdin::Unused,
            },
            cwd: cwd.into(),
            probes_output: tool.is_some_and(|t| tools::probes_output(t, program, argv)),
            searches: is_program && tools::searches_libraries(program),
            ensures: match before.ensures {
                _ if known && tools::ensures_directories(image, argv) => Ensures::All,
                _ if known && script.as_ref().is_some_and(|s| scripts::is_libtool(s)) => Ensures::Objects,
                Ensures::Objects if known && tools::base_name(image) == b"mkdir" => Ensures::Objects,
                _ => Ensures::None,
            },
            scratches: tool.is_some_and(|t| t.class == Class::Toolchain) || is_program && tools::compiles_rust(program),
            preprocesses: macros::preprocesses(program),
            ignored: false,
            knocks: if known { tools::knocks(image) } else { 0 },
            seeds: if known { tools::own_seeds(image, foreign) } else { 0 },
        }
    }

    /// A compiler, assembler, linker or archiver?
    pub(crate) fn is_compiler(&self) -> bool {
        self.tool.is_some_and(|t| t.class == Class::Toolchain)
    }
}
