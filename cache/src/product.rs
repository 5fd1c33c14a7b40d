//! A product: which result a file is of, and what that result depended on. That is the result of the command that last
//! put it there, or of a later run of that command that looked at it and left it as it is.
//!
//! Kept by path, so that a tree can be asked later whether it is still what its inputs make.

use crate::Digest;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    pub strong: Digest,
    pub path_set: Digest,
    /// The values of its observations, shortened as in links, in the order of the path set.
    pub values: Vec<u64>,
    /// Which of them had other values when the build was over, by the build's own doing: names that came, directories
    /// that filled.
    pub settled: Vec<(u32, u64)>,
    /// Which of them are about files of the result itself that the command found and left: no inputs.
    pub own: Vec<u32>,
    /// What the command left there: the bytes of a file, the target of a symbolic link.
    pub content: Digest,
    /// The command that made it, for people: without secrets.
    pub command: String,
    pub cwd: Vec<u8>,
    /// The build tool that had it made (`make`, `ninja`), or nothing: a script, or somebody who asked for this one
    /// command.
    pub tool: Vec<u8>,
    /// Variables that it depended on and that it had from outside the build.
    pub inherited: Vec<Vec<u8>>,
    /// The whole environment around the build, if all of it counts.
    pub environment: Option<u64>,
    /// There was nothing of this name before a command first made it: it is nobody's source.
    pub created: bool,
    /// Keyed digests of the command that made it: the text of `sh -c`, or its words; and of that with the name of make
    /// as make's answers have it.
    pub keys: [Digest; 2],
}
