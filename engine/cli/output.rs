//! Where results go: standard output, or the file that an option names. `xl` writes them here and nowhere else.
//!
//! A reader that leaves (`xl log | head -1`) ends `xl` as SIGPIPE ends other commands; whatever else cannot be written,
//! to a full disk for one, is an error. What an option names is tried before anything runs: a mistyped name should not
//! cost a build. `-` is standard output. What a build prints there goes to standard error then, for a document is of no
//! use with a compiler's words in it.

use crate::exit_code;
use crate::messages::CommandError;
use ::cache::home;
use rustix::fs::Access;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Prints to standard output.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    printed(out.write_all(text.as_ref()).and_then(|()| out.flush()))
}

/// What has become of something that went to standard output.
pub(crate) fn printed(result: std::io::Result<()>) -> Result<(), CommandError> {
    result.map_err(|e| cannot_write("standard output", &e))
}

fn quoted(path: &Path) -> String {
    format!("`{}`", path.display())
}

fn cannot_write(name: &str, e: &std::io::Error) -> CommandError {
    match e.kind() {
        ErrorKind::BrokenPipe => CommandError::reader_left(),
        _ => CommandError::new(exit_code::CACHE, format!("cannot write to {name}")).cause(e.to_string()),
    }
}

/// Standard output, while the build's own goes to standard error.
pub(crate) struct OwnStdout(File);

/// At most one thing can be written to standard output.
static TAKEN: AtomicBool = AtomicBool::new(false);

impl OwnStdout {
    /// `redirect`: what is started from now on prints to standard error instead.
    fn take(redirect: bool) -> Result<Self, CommandError> {
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Err(CommandError::new(exit_code::USAGE, "only one thing can be written to standard output")
                .hint("give the others names of files"));
        }
        let failed = |e: rustix::io::Errno| cannot_write("standard output", &e.into());
        let own = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).map_err(failed)?;
        if redirect {
            rustix::stdio::dup2_stdout(rustix::stdio::stderr()).map_err(failed)?;
        }
        Ok(Self(own.into()))
    }
}

impl Drop for OwnStdout {
    /// The command may run without `xl` after all.
    fn drop(&mut self) {
        let _ = rustix::stdio::dup2_stdout(&self.0);
        TAKEN.store(false, Ordering::Relaxed);
    }
}

/// Something that is written as a whole, when it is complete.
pub(crate) enum Document {
    Stdout(OwnStdout),
    File(PathBuf),
}

impl Document {
    /// What an option names. `runs`: a build is about to run.
    pub(crate) fn at(path: &Path, runs: bool) -> Result<Self, CommandError> {
        if path == Path::new("-") {
            return Self::stdout(runs);
        }
        let path = home::expand(path);
        writable(&path).map_err(|e| cannot_write(&quoted(&path), &e))?;
        Ok(Self::File(path))
    }

    /// Standard output. `redirect`: what a build prints there would be mixed with it.
    pub(crate) fn stdout(redirect: bool) -> Result<Self, CommandError> {
        OwnStdout::take(redirect).map(Self::Stdout)
    }

    pub(crate) fn write(&mut self, text: impl AsRef<[u8]>) -> Result<(), CommandError> {
        match self {
            Self::Stdout(out) => printed(out.0.write_all(text.as_ref())),
            Self::File(path) => std::fs::write(&*path, text).map_err(|e| cannot_write(&quoted(path), &e)),
        }
    }
}

/// Could a file be written there? Nothing is made yet: a command that cannot be found should leave no empty record.
fn writable(path: &Path) -> std::io::Result<()> {
    match path.metadata() {
        Ok(m) if m.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(rustix::fs::access(path, Access::WRITE_OK)?),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(e) => Err(e),
    }
}

/// Something that is written line by line while a build runs.
pub(crate) enum Stream {
    Stdout(OwnStdout),
    File(File, PathBuf),
}

impl Stream {
    /// What an option names; a file is emptied.
    pub(crate) fn at(path: &Path) -> Result<Self, CommandError> {
        if path == Path::new("-") {
            return OwnStdout::take(true).map(Self::Stdout);
        }
        let path = home::expand(path);
        let file = File::create(&path).map_err(|e| cannot_write(&quoted(&path), &e))?;
        Ok(Self::File(file, path))
    }

    /// In one call of write(2), so that lines of several threads stay whole.
    pub(crate) fn add(&self, text: &str) -> Result<(), CommandError> {
        match self {
            Self::Stdout(out) => printed((&out.0).write_all(text.as_bytes())),
            Self::File(file, path) => (&*file).write_all(text.as_bytes()).map_err(|e| cannot_write(&quoted(path), &e)),
        }
    }
}
