//! What may be said on the command line: subcommands, options, and their help.
//!
//! Knows no command: who carries them out is [`crate::app`]'s affair.

use crate::exit_code;
use clap::{Args, CommandFactory, Parser, Subcommand};
use engine::values::Size;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Parser)]
#[command(name = "xl", version = env!("XL_VERSION"), about = "Never run a command whose observed inputs have not \
    changed", after_help = exit_code::HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Wrap a build: every command that it launches is cached by what it was observed to depend on
    Run(RunArgs),
    /// Run one command as one cached unit (a ./configure, a generator, a test)
    Exec(ExecArgs),
    /// Show what a command reads, probes, lists and writes; nothing is cached
    Trace(TraceArgs),
    /// What a build does and its build files do not say; without a command, what the last audit here found
    Audit(AuditArgs),
    /// Is this tree what its inputs make? Lists files that the build tool would leave alone although something has
    /// changed
    Check(CheckArgs),
    /// What `run --heal` does first
    #[command(hide = true)]
    Heal(CheckArgs),
    /// Look after the cache
    Cache(CacheArgs),
    /// Past builds of this workspace; of one build, what happened to each command and why
    Log(LogArgs),
    /// Why did it run? All that differs from the nearest earlier run, what that came of, and what to do
    Explain(ExplainArgs),
    /// What works on this machine, and where each setting comes from
    Doctor(DoctorArgs),
    /// Serve a directory as a cache for many machines (Remote Execution API v2: for xl, Bazel, recc, BuildStream)
    Serve(ServeArgs),
    /// Print what a shell needs to complete `xl`'s command line
    Completions(CompletionsArgs),
    /// Show the manual
    Man(ManArgs),
}

impl Cli {
    /// Of what is about a workspace: where that is to be, how settings are found, whether what cannot be is an error.
    pub(crate) fn place(&self) -> Option<(&PlaceArgs, &CommonArgs, bool)> {
        let options = match &self.command {
            Command::Run(a) => &a.options,
            Command::Exec(a) => &a.options,
            Command::Audit(a) => &a.options,
            Command::Check(a) | Command::Heal(a) => return Some((&a.place, &a.common, false)),
            // The others answer from records, or are about no workspace.
            _ => return None,
        };
        Some((&options.place, &options.common, options.strict))
    }
}

#[derive(Args, Clone, Default)]
pub(crate) struct CommonArgs {
    /// Cache directory [default: $XDG_CACHE_HOME/xl]
    #[arg(long, value_name = "DIR", global = true)]
    pub cache_dir: Option<PathBuf>,
    /// Configuration file [default: xl.toml at the workspace root]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

/// Where the workspace is to be for the command.
#[derive(Args, Clone, Default)]
pub(crate) struct PlaceArgs {
    /// Give the workspace this path, in a mount namespace of its own: results are shared by all checkouts that have it,
    /// and debug information names it [default: `at` of `[workspace]`, else where it is]
    #[arg(long, value_name = "DIR")]
    pub at: Option<PathBuf>,
    /// Said by `xl` itself when it has done so: where the workspace is outside
    #[arg(long, hide = true, value_name = "DIR")]
    pub really: Option<PathBuf>,
}

/// What `run`, `exec` and `audit` have in common.
#[derive(Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub place: PlaceArgs,
    /// How processes are observed; `auto` takes the best that works here
    #[arg(long, value_enum, default_value = "auto", env = "XL_BACKEND")]
    pub backend: Backend,
    /// Run everything, store results
    #[arg(long)]
    pub no_cache_read: bool,
    /// Use results, store nothing
    #[arg(long)]
    pub no_cache_write: bool,
    /// Write the build record (JSON, what happened to each command) to this file; `-`: to standard output, and what the
    /// build prints to standard error
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write what happened to each command, as it ends, to this file; `-` as above
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Write one test case per command, in JUnit's form, to this file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// The summary after the run; `auto` adds what the CI system around shows
    #[arg(long, value_enum, default_value = "auto")]
    pub summary: Summary,
    /// Say nothing but warnings and errors: no status line, no summary
    #[arg(short, long)]
    pub quiet: bool,
    /// Really run this many of a hundred hits, and compare
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub recheck: u8,
    /// The most commands that really run at once, whatever the build tool starts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub local_jobs: Option<u16>,
    /// Share results with other machines: file:///directory, grpc://host:port/instance, grpcs://…, unix:/socket
    /// [default: `remote.cache` of the configuration, XL_REMOTE_CACHE]
    #[arg(long, value_name = "URL")]
    pub remote_cache: Option<String>,
    /// Ask no remote cache
    #[arg(long, conflicts_with = "remote_cache")]
    pub offline: bool,
    /// What xl cannot do (use the cache, heal, enforce, compare) is an error, not a warning
    #[arg(long)]
    pub strict: bool,
}

impl RunOptions {
    /// The form of the summary.
    pub(crate) fn summary(&self) -> Summary {
        if self.quiet { Summary::Off } else { self.summary }
    }
}

#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub options: RunOptions,
    /// First see to it that files are made again whose inputs have changed without the build tool's knowledge (see `xl
    /// check`)
    #[arg(long)]
    pub heal: bool,
    /// A command that uses what its build file does not declare fails (see `xl audit`)
    #[arg(long)]
    pub enforce: bool,
    /// The command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    pub cmd: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub options: RunOptions,
    /// The command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    pub cmd: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub place: PlaceArgs,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// Bring back what the last `xl run --heal` removed and nothing has made since
    #[arg(long, conflicts_with_all = ["json", "cmd"])]
    pub restore: bool,
    /// The build command [default: that of the last successful build here]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub cmd: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pub options: RunOptions,
    /// Form of the report
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Write the report to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Show notes too
    #[arg(long)]
    pub notes: bool,
    /// Known violations; new ones count [default: `baseline` of the configuration]
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write today's violations to the baseline, which may only shrink once it is there
    #[arg(long)]
    pub write_baseline: bool,
    /// Try out finding N of the last audit, in a throw-away layer over the tree: does it bite?
    #[arg(long, value_name = "N")]
    pub prove: Option<usize>,
    /// The build command [default: look at the last audit here again]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub cmd: Vec<OsString>,
}

/// Forms of an audit's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
    /// SARIF 2.1.0, which code hosts show
    Sarif,
    /// One self-contained page
    Html,
}

/// Ways to observe processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Backend {
    Auto,
    /// Looks are reported by eBPF programs, changes are notified: needs CAP_BPF and CAP_PERFMON
    Ebpf,
    /// System calls are notified by a seccomp filter
    Seccomp,
    /// Processes stop at every system call: slow, for places where filters are forbidden
    Ptrace,
}

impl Backend {
    /// `None`: the best one.
    pub(crate) fn choice(self) -> Option<tracer::Backend> {
        match self {
            Self::Auto => None,
            Self::Ebpf => Some(tracer::Backend::Ebpf),
            Self::Seccomp => Some(tracer::Backend::Seccomp),
            Self::Ptrace => Some(tracer::Backend::Ptrace),
        }
    }
}

/// Forms of the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Summary {
    /// One line on standard error, and GitHub's or GitLab's form when run there
    Auto,
    /// Nothing, and no status line
    Off,
    /// A job summary in $GITHUB_STEP_SUMMARY, and annotations
    Github,
    /// A collapsed section of the job log
    Gitlab,
    /// What `--junit` writes, and one line
    Junit,
}

#[derive(Args)]
pub(crate) struct TraceArgs {
    /// How processes are observed; `auto` takes the best that works here
    #[arg(long, value_enum, default_value = "auto", env = "XL_BACKEND")]
    pub backend: Backend,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// Write the report to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    pub cmd: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct CacheArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(subcommand)]
    pub command: CacheCommand,
}

#[derive(Subcommand)]
pub(crate) enum CacheCommand {
    /// Size, number of results, last use
    Stats,
    /// Evict least recently used results until the cache is below its cap
    Gc {
        /// Cap instead of the configured one: bytes, or with a unit (5M, 10G: powers of 1000; 20GiB: powers of 1024)
        #[arg(long, value_name = "SIZE")]
        max_bytes: Option<Size>,
    },
    /// Read and check every blob and record; damaged ones are dropped
    Verify,
    /// Print the cache directory
    Path,
}

/// A build of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WhichBuild {
    Number(u64),
    Last,
}

impl std::str::FromStr for WhichBuild {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "last" => Ok(Self::Last),
            n => {
                n.parse().map(Self::Number).map_err(|_| "write the number of a build (`xl log` lists them), or `last`")
            }
        }
    }
}

const LOG_HELP: &str = "\
Examples:
  xl log                        the builds of this workspace
  xl log --all                  those of every directory
  xl log last --ran             what really ran in the last build, and why
  xl log 7 --slowest            the commands of build 7, the slowest first
  xl log 7 --tool gcc --file parse.c --dir src
  xl log last --export build.json    for another machine; there: xl log --import build.json
  xl log last --json | jq '.items[] | select(.outcome == \"miss\") | .reason'

A command is shortened to the width of a terminal; a file or another program gets it whole.";

#[derive(Args)]
#[command(after_help = LOG_HELP)]
pub(crate) struct LogArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// The number of a build, or `last`: what happened to each of its commands [default: list the builds of this
    /// workspace]
    #[arg(value_name = "BUILD")]
    pub build: Option<WhichBuild>,
    /// Builds of every directory
    #[arg(short, long)]
    pub all: bool,
    /// Only builds, or commands of a build, in this directory or below
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Only commands that make or name a file with this in its path
    #[arg(long, value_name = "TEXT")]
    pub file: Option<String>,
    /// Only commands of this program
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,
    /// Only commands that really ran
    #[arg(long)]
    pub ran: bool,
    /// Write the build, with all that its results depend on, to this file, for `xl explain --diff` on another machine
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "dir", "file", "tool", "ran", "slowest", "json"])]
    pub export: Option<PathBuf>,
    /// Keep the build that such a file holds, under a number of its own
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "dir", "file", "tool", "ran", "slowest", "json", "export", "build"])]
    pub import: Option<PathBuf>,
    /// The slowest commands first
    #[arg(long)]
    pub slowest: bool,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

const EXPLAIN_HELP: &str = "\
Examples:
  xl explain main.o             why what makes `main.o` ran in the last build
  xl explain util.h             the commands that read `util.h`
  xl explain 7                  command 7 of the last build, or '#7'
  xl explain main.o --build 12  of build 12
  xl explain                    all that ran in the last build
  xl explain --diff 12 14       what keeps build 14 from using what build 12 made

Builds of another machine are compared after `xl log --export FILE` there and `xl log --import FILE` here.

It answers from records and the cache; no file of the tree is looked at.";

#[derive(Args)]
#[command(after_help = EXPLAIN_HELP)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// A file that a command makes or reads, or the number of the command [default: all that ran]
    #[arg(value_name = "OUTPUT|SOURCE|#N")]
    pub(crate) what: Option<String>,
    /// The number of a build, or `last`
    #[arg(long, value_name = "BUILD")]
    pub(crate) build: Option<WhichBuild>,
    /// Compare two builds, command by command: why could the second not use what the first made?
    #[arg(long, num_args = 2, value_name = "BUILD", conflicts_with_all = ["what", "build"])]
    pub(crate) diff: Option<Vec<u64>>,
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Try out this remote cache: reach it, store something there, read it back [default: that of the configuration]
    #[arg(long, value_name = "URL")]
    pub remote: Option<String>,
}

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Address and port to listen at. Everybody who reaches it may read and write
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8980")]
    pub listen: std::net::SocketAddr,
    /// The directory, which is made if need be
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// What was not used for longest is dropped when there is more than this [default: nothing is dropped]
    #[arg(long, value_name = "SIZE")]
    pub max_bytes: Option<Size>,
}

#[derive(Args)]
pub(crate) struct CompletionsArgs {
    pub shell: clap_complete::Shell,
}

#[derive(Args)]
pub(crate) struct ManArgs {
    /// The page of this command (`run`, `cache gc`, …) instead of that of `xl`
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write every page to this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

/// The command line, for what is made from its definition.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}
