//! One file per subcommand, and what they share: configuration, the cache, the launch.

pub(crate) mod audit;
pub(crate) mod cache;
pub(crate) mod check;
mod ci;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod log;
pub(crate) mod manual;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod sharing;
mod summary;
pub(crate) mod trace;

use crate::args::{Backend, CommonArgs};
use crate::ebpf_memo::EbpfMemo;
use crate::exit_code;
use crate::messages::{CommandError, warning};
use ::audit::workspace::Workspace;
use ::cache::CacheHandle;
use ::cache::home;
use engine::config::{Config, Overrides};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Loads the configuration for the current directory.
pub(crate) fn config(a: &CommonArgs) -> Result<Config, CommandError> {
    Ok(settings(a)?.0)
}

/// The same, with what it says of audits.
pub(crate) fn settings(a: &CommonArgs) -> Result<(Config, Workspace), CommandError> {
    settings_with(a, None)
}

/// The same, with a remote cache that was asked for.
pub(crate) fn settings_with(a: &CommonArgs, remote_cache: Option<String>) -> Result<(Config, Workspace), CommandError> {
    let o = Overrides { cache_dir: a.cache_dir.clone(), config: a.config.as_deref().map(home::expand), remote_cache };
    let config = Config::load(&here()?, &o, |v| std::env::var_os(v))?;
    let workspace = Workspace::new(&config)?;
    Ok((config, workspace))
}

/// The current directory. Somebody may have removed it.
pub(crate) fn here() -> Result<PathBuf, CommandError> {
    let gone = |e: std::io::Error| {
        CommandError::new(exit_code::CACHE, "the current directory cannot be used").cause(e.to_string())
    };
    std::env::current_dir().map_err(|e| gone(e).hint("cd to a directory that is there"))
}

/// Opens the cache of a configuration.
pub(crate) fn open_cache(c: &Config) -> ::cache::Result<(CacheHandle, Vec<String>)> {
    CacheHandle::open(&c.cache_dir)
}

/// Opens the cache for something that needs it, and closes it however that ends.
pub(crate) fn with_cache<T>(
    c: &Config,
    f: impl FnOnce(&CacheHandle) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let (cache, notices) = open_cache(c)?;
    notices.iter().for_each(|n| warning(n));
    let done = f(&cache);
    cache.store.close();
    cache.store.notices().iter().for_each(|n| warning(n));
    done
}

/// Finds the program of a command line, with the errors and exit codes that shells give.
pub(crate) fn find_program(cmd: &[OsString]) -> Result<PathBuf, CommandError> {
    let name = &cmd[0];
    let shown = name.to_string_lossy();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let not_found = || CommandError::new(exit_code::NOT_FOUND, format!("cannot run `{shown}`"));
    let found = tracer::search_path(name, &path).ok_or_else(|| not_found().cause("no such command in PATH"))?;
    let m = std::fs::metadata(&found).map_err(|e| not_found().cause(e.to_string()))?;
    let refused = |why: &str| CommandError::new(exit_code::NOT_EXECUTABLE, format!("cannot run `{shown}`")).cause(why);
    if m.is_dir() {
        return Err(refused("it is a directory"));
    }
    if !tracer::may_execute(&found) {
        return Err(refused("it is not executable").hint(format!("chmod +x {shown}")));
    }
    Ok(found)
}

/// Replaces this process by the command: what `XL_DISABLE=1` and nested runs do.
pub(crate) fn become_command(cmd: &[OsString]) -> CommandError {
    use std::os::unix::process::CommandExt;
    let e = std::process::Command::new(&cmd[0]).args(&cmd[1..]).exec();
    let code = if e.kind() == std::io::ErrorKind::NotFound { exit_code::NOT_FOUND } else { exit_code::NOT_EXECUTABLE };
    CommandError::new(code, format!("cannot run `{}`", cmd[0].to_string_lossy())).cause(e.to_string())
}

/// The variable that tells a nested `xl` that it is already supervised.
pub(crate) const SESSION: &str = "XL_SESSION";

/// Launches a command under supervision.
pub(crate) fn launch(
    cmd: &[OsString],
    backend: Backend,
    watched: Vec<(i32, Vec<u8>)>,
    cache_dir: Option<&std::path::Path>,
    needs_entry: bool,
    screen: Option<std::sync::Arc<dyn tracer::Screen>>,
) -> Result<tracer::Session, CommandError> {
    let program = find_program(cmd)?;
    let argv: Vec<&OsStr> = cmd.iter().map(OsString::as_os_str).collect();
    let session = OsString::from(std::process::id().to_string());
    let vars: Vec<(OsString, OsString)> = std::env::vars_os().filter(|(k, _)| k != SESSION).collect();
    let mut env: Vec<(&OsStr, &OsStr)> = vars.iter().map(|(k, v)| (k.as_os_str(), v.as_os_str())).collect();
    env.push((OsStr::new(SESSION), &session));
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
    let journal = cache_dir.map(worker::journal::Journal::place);
    tracer::survive_failed_writes();
    let memo = EbpfMemo::new();
    let ebpf_works = memo.as_ref().is_some_and(EbpfMemo::is_kept);
    let session = tracer::Session::launch(&tracer::Options {
        program: &program,
        argv: &argv,
        env: &env,
        backend: backend.choice(),
        threads,
        watched,
        journal,
        ring: ring_size(std::env::var("XL_EBPF_RING").ok().as_deref()),
        ebpf_works,
        screen,
        needs_entry,
    })?;
    if backend == Backend::Ebpf && session.backend() != tracer::Backend::Ebpf {
        warning(
            "`[[deny]]`, --local-jobs and blocked outside-reads need to know of reads before they happen: the backend \
                is seccomp",
        );
    }
    if let (Some(m), tracer::Backend::Ebpf, false) = (memo, session.backend(), ebpf_works) {
        m.keep();
    }
    Ok(session)
}

/// `XL_EBPF_RING`: bytes of the ring, and a `!` if nobody waits for room in it. For those who try what happens then.
fn ring_size(setting: Option<&str>) -> tracer::RingSize {
    let text = setting.unwrap_or_default();
    let bytes = text.trim_end_matches('!').parse::<u32>().ok().filter(|n| n.is_power_of_two() && *n >= 4096);
    bytes.map_or_else(tracer::RingSize::default, |bytes| tracer::RingSize { bytes, waits: !text.ends_with('!') })
}

/// The programs could not be loaded after all: the next run tries before it relies on them.
pub(crate) fn forget_ebpf() {
    if let Some(m) = EbpfMemo::new() {
        m.forget();
    }
}
