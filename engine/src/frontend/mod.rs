//! What build files declare: one module per build tool, one shape for all.
//!
//! A front end reads what *the next run* of the build tool would know: it is asked when the build is over, so that
//! generated manifests, included dependency files and the deps log count as the build tool will see them. It accuses
//! nobody; that is [`crate::violation`]'s.

pub mod ask;
pub mod depfile;
pub mod make;
pub mod ninja;

use cache::PathBytes;

/// One step of a build file: what ninja calls an edge and make a rule with a recipe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What it says that it makes; a phony name too. Absolute.
    pub outputs: Vec<PathBytes>,
    /// A change of one of these makes the build tool run it again. Absolute.
    pub inputs: Vec<PathBytes>,
    /// Besides, from dependency files that the build tool reads.
    pub discovered: Vec<PathBytes>,
    /// These are only made before it.
    pub order_only: Vec<PathBytes>,
    /// The texts that it gives to the shell, or the words that it executes, in the form of [`command_key`].
    pub commands: Vec<Vec<u8>>,
    /// It makes no file: its outputs are names (make's `.PHONY`).
    pub phony: bool,
    /// Where it is written: file and line, the latter 0 if not known.
    pub place: Place,
    /// Files that its command may write without being asked (a dependency file, a response file).
    pub byproducts: Vec<PathBytes>,
}

impl Step {
    /// What [`executed_key`] may be of its commands: the text, or the words if no shell was needed.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        // With `.ONESHELL` all of them are one text.
        let whole = self.commands.join(&b' ');
        let texts = self.commands.iter().map(Vec::as_slice).chain([&whole[..]]);
        let both = |c: &[u8]| {
            let words: Vec<Vec<u8>> = shlex::bytes::Shlex::new(c).collect();
            [c.to_vec(), command_key(&words.join(&b' '))]
        };
        texts.flat_map(both).collect()
    }
}

/// A line of a build file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub file: Vec<u8>,
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.file))?;
        if self.line > 0 { write!(f, ":{}", self.line) } else { Ok(()) }
    }
}

/// Everything that one run of a build tool declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    pub tool: Tool,
    pub steps: Vec<Step>,
    /// The build files themselves.
    pub files: Vec<PathBytes>,
    /// It is a generator's: dependency files that a compiler writes are read at the next start, into files of its own.
    pub collects_depfiles: bool,
    /// Where configure says that the sources of this directory, and of the whole, are: make's `$(srcdir)` and
    /// `$(top_srcdir)`.
    pub srcdir: Option<PathBytes>,
    pub top_srcdir: Option<PathBytes>,
}

/// Whose syntax a suggestion has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tool {
    #[default]
    Ninja,
    Make,
}

/// Why nothing is known of what a build tool declares.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    #[error("cannot read `{path}`")]
    Read { path: String, source: std::io::Error },
    #[error("`{path}`, line {line}: {what}")]
    Syntax { path: String, line: usize, what: String },
    #[error("`{command}` could not be asked for its rules: {why}")]
    Ask { command: String, why: String },
}

/// Is this the name of a GNU make?
pub fn is_make(name: &[u8]) -> bool {
    matches!(name, b"make" | b"gmake")
}

/// Is this the name of a ninja?
pub fn is_ninja(name: &[u8]) -> bool {
    matches!(name, b"ninja" | b"ninja-build" | b"samu")
}

/// Where a build tool works that was started in `cwd` with these words.
pub fn directory(program: &[u8], argv: &[Vec<u8>], cwd: &[u8]) -> PathBytes {
    match worker::tools::base_name(program) {
        name if is_make(name) => make::directory(argv, cwd).into(),
        name if is_ninja(name) => ninja::directory(argv, cwd),
        _ => cwd.into(),
    }
}

/// What a build tool declares that is started so; `None` for other commands. `scratch` is a directory for a mount
/// point, `root` the workspace.
pub fn declared(
    argv: &[Vec<u8>],
    cwd: &[u8],
    env: &[Vec<u8>],
    scratch: &std::path::Path,
    root: &std::path::Path,
) -> Result<Option<Declared>, FrontendError> {
    match argv.first().map(|p| worker::tools::base_name(p)) {
        Some(name) if is_make(name) => {
            let ask =
                |why| FrontendError::Ask { command: crate::redact::one_line(&crate::redact::redact(argv, env)), why };
            let sandbox = ask::Sandbox::new(scratch, root).map_err(ask)?;
            make::declared(argv, cwd, env, &sandbox, &Default::default()).map(Some)
        }
        Some(name) if is_ninja(name) => ninja::declared(argv, cwd).map(Some),
        _ => Ok(None),
    }
}

/// A command in a form in which what a build file says can be compared with what was executed: white space runs are one
/// blank. The words of a command that was executed without a shell are joined.
pub fn command_key(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let words = text.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty() && *w != b"\\");
    for w in words {
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(w);
    }
    out
}

/// The key of an executed command: the text of `sh -c`, else its words.
pub fn executed_key(argv: &[Vec<u8>]) -> Vec<u8> {
    let shell = argv.first().is_some_and(|p| worker::drivers::is_shell(p));
    match worker::environment::shell_text(argv).filter(|_| shell) {
        Some(text) => command_key(text),
        None => command_key(&argv.join(&b' ')),
    }
}

/// A path as the standard library wants it.
pub(crate) fn os_path(p: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(p))
}

/// `name` as seen from `dir`, without `.` and `..` components. As build tools do, by text alone.
pub fn absolute(dir: &[u8], name: &[u8]) -> PathBytes {
    let joined = if name.first() == Some(&b'/') { name.to_vec() } else { [dir, b"/", name].concat() };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in joined.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            p => parts.push(p),
        }
    }
    let mut out = Vec::with_capacity(joined.len());
    for p in parts {
        out.push(b'/');
        out.extend_from_slice(p);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_absolute() {
        for (dir, name, want) in
            [("/a/b", "c", "/a/b/c"), ("/a", "../x/./y", "/x/y"), ("/a", "/b//c", "/b/c"), ("/", "..", "/")]
        {
            assert_eq!(&*absolute(dir.as_bytes(), name.as_bytes()), want.as_bytes());
        }
    }

    #[test]
    fn commands_are_compared_without_layout() {
        let v = |s: &[&str]| s.iter().map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(command_key(b"gcc  -c a.c \\\n\t-o a.o"), executed_key(&v(&["gcc", "-c", "a.c", "-o", "a.o"])));
        assert_eq!(executed_key(&v(&["/bin/sh", "-c", "cd x;  y"])), command_key(b"cd x; y"));
        assert_eq!(executed_key(&v(&["bash", "-eu", "-o", "pipefail", "-c", "x y"])), b"x y");
        assert_eq!(executed_key(&v(&["ssh", "-c", "aes", "host"])), b"ssh -c aes host");
    }
}
