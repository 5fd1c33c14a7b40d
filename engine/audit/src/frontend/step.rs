//! What a step of a build file is, and what one run of a build tool declares: one shape for all build tools.
//!
//! All paths are absolute, resolved by text alone, as build tools do it.

use cache::PathBytes;
use worker::command_text::normalised;

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
    /// The texts that it gives to the shell, or the words that it executes, [`normalised`].
    pub commands: Vec<Vec<u8>>,
    /// It makes no file: its outputs are names (make's `.PHONY`).
    pub phony: bool,
    /// Where it is written: file and line, the latter 0 if not known.
    pub place: Place,
    /// Files that its command may write without being asked (a dependency file, a response file).
    pub byproducts: Vec<PathBytes>,
    /// When the build tool, asked to run everything, comes to it; 0 if that is not known.
    pub turn: usize,
}

impl Step {
    /// For each command, the text, or the words if no shell was needed.
    pub(crate) fn keys_of_commands(&self) -> impl Iterator<Item = [Vec<u8>; 2]> {
        self.commands.iter().map(|c| {
            let words: Vec<Vec<u8>> = shlex::bytes::Shlex::new(c).collect();
            [c.clone(), normalised(&words.join(&b' '))]
        })
    }

    /// What [`executed`](worker::command_text::executed) may be of its commands: the text, or the words if no shell was
    /// needed.
    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        // With `.ONESHELL` all of them are one text.
        let whole = self.commands.join(&b' ');
        let texts = self.commands.iter().map(Vec::as_slice).chain([&whole[..]]);
        let both = |c: &[u8]| {
            let words: Vec<Vec<u8>> = shlex::bytes::Shlex::new(c).collect();
            [c.to_vec(), normalised(&words.join(&b' '))]
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
