//! What `xl` says: always on stderr, always after `xl:`, errors with cause and hint. One place maps library
//! errors to message, hint and exit code.

use crate::exit_code;
use rustix::process::Signal;
use tracer::Exited;

/// An error as the user sees it.
#[derive(Clone, Debug)]
pub(crate) struct CommandError {
    pub message: String,
    pub causes: Vec<String>,
    pub hint: Option<String>,
    pub code: u8,
    reader_left: bool,
}

impl CommandError {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), hint: None, code, reader_left: false }
    }

    /// Whoever read standard output has enough: no error, and no reason to go on.
    pub(crate) fn reader_left() -> Self {
        Self { reader_left: true, ..Self::new(exit_code::CACHE, "nobody reads standard output any more") }
    }

    pub(crate) fn cause(mut self, c: impl Into<String>) -> Self {
        self.causes.push(c.into());
        self
    }

    pub(crate) fn hint(mut self, h: impl Into<String>) -> Self {
        self.hint = Some(h.into());
        self
    }

    /// Message and causes in one line, for a warning.
    pub(crate) fn line(&self) -> String {
        [std::slice::from_ref(&self.message), &self.causes].concat().join(": ")
    }

    /// Prints it; the result is how this process is to end.
    pub(crate) fn report(&self) -> Exited {
        if self.reader_left {
            return Exited::Signal(Signal::PIPE.as_raw());
        }
        let mut text = format!("xl: error: {}\n", self.message);
        self.causes.iter().for_each(|c| text.push_str(&format!("  caused by: {c}\n")));
        self.hint.iter().for_each(|h| text.push_str(&format!("  hint: {h}\n")));
        write(&text);
        Exited::Code(self.code.into())
    }
}

/// To standard error, in one write: several builds may share a terminal. If nobody reads it, nobody can be told.
pub(crate) fn write(text: &str) {
    crate::progress::write(text);
}

/// One line after `xl:`.
pub(crate) fn say(text: &str) {
    write(&format!("xl: {text}\n"));
}

/// A warning, with what was done about it.
pub(crate) fn warning(text: &str) {
    say(&format!("warning: {text}"));
}

impl From<engine::config::ConfigError> for CommandError {
    fn from(e: engine::config::ConfigError) -> Self {
        use engine::config::ConfigError as E;
        let error = Self::new(exit_code::CONFIG, e.to_string());
        match e {
            E::Read { source, .. } => error.cause(source.to_string()),
            E::Parse { message, hint, .. } => {
                let error = error.cause(message);
                match hint {
                    Some(h) => error.hint(h),
                    None => error,
                }
            }
            E::Glob { message, .. } => error.cause(message),
            E::Size(source) => error.cause(source.to_string()),
            E::Setting(source) => error.cause(source.to_string()),
            E::NoHome => Self { code: exit_code::CACHE, ..error }.hint("set XL_CACHE_DIR"),
            E::Ignore { .. } => error.hint("one entry for a path, another for a tool"),
        }
    }
}

impl From<audit::policy::PolicyError> for CommandError {
    fn from(e: audit::policy::PolicyError) -> Self {
        use audit::policy::PolicyError as E;
        let shown = e.to_string();
        match e {
            E::File(e) => e.into(),
            E::Section { source, .. } => Self::new(exit_code::CONFIG, shown).cause(source.to_string()),
        }
    }
}

impl From<cache::Error> for CommandError {
    fn from(e: cache::Error) -> Self {
        let hint = cache_hint(&e);
        let error = Self::new(exit_code::CACHE, e.to_string());
        match hint {
            Some(h) => error.hint(h),
            None => error,
        }
    }
}

/// What to do about an unusable cache, when that is certain.
pub(crate) fn cache_hint(e: &cache::Error) -> Option<String> {
    match e {
        cache::Error::Owner { .. } => Some("choose another directory with --cache-dir or XL_CACHE_DIR".into()),
        cache::Error::Version { .. } => Some("use the newer xl, or another directory with --cache-dir".into()),
        _ => None,
    }
}

impl From<tracer::SpawnError> for CommandError {
    fn from(e: tracer::SpawnError) -> Self {
        Self::new(exit_code::BACKEND, "no process can be supervised here").cause(e.to_string()).hint(remedy(&e))
    }
}

/// What a hit needs, and the backend `ptrace`.
pub(crate) const ALLOW_PTRACE: &str =
    "allow ptrace: kernel.yama.ptrace_scope below 2, in a container --cap-add SYS_PTRACE";

/// How to get what is needed.
fn remedy(e: &tracer::SpawnError) -> String {
    use tracer::{EbpfUnavailable, Need, SpawnError as E};
    let me = || std::env::current_exe().map_or_else(|_| "xl".into(), |p| p.display().to_string());
    let text = match e {
        E::Lacking(l) => match l.need {
            Need::Proc | Need::Task => "mount the `/proc` of this process namespace: mount -t proc proc /proc",
            Need::Threads => "use a container runtime that answers `clone3` with ENOSYS, or a profile that allows it",
            Need::Handles => "Linux 5.9 or newer is needed, and in a container a profile that allows `pidfd_open`",
            Need::Memory => "in a container: --cap-add SYS_PTRACE, or a profile that allows `process_vm_readv`",
            Need::Files | Need::Waiting => "use a newer container runtime, or a profile that allows these calls",
        },
        E::Attach(_) => ALLOW_PTRACE,
        E::Launch(_) | E::Receive(_) => "use a profile that allows `seccomp` with a listener, or --backend ptrace",
        E::Observer(EbpfUnavailable::NotBuilt(_)) => "install clang and build xl again",
        E::Observer(_) if rustix::process::geteuid().is_root() => "in a container: --cap-add BPF --cap-add PERFMON",
        E::Observer(_) => return format!("to let every user have it: sudo setcap cap_bpf,cap_perfmon+ep {}", me()),
        E::Keeper(_) => "`xl doctor` shows what works on this machine",
    };
    text.to_owned()
}
