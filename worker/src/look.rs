//! How a pip's judges ask the world outside: states, contents, lists.
//!
//! Whoever judges sees files only through [`Look`], so that a test may answer from a table
//! ([`crate::testing::Table`]). [`crate::world::World`] answers from the file system.

use crate::indexes::{Index, Linking};
use cache::digest::Content;
use cache::{FileStat, Kind, Observation, Value};
use rustix::fs::Access;
use std::sync::Arc;

/// How the outside world is asked; a test may answer from a table.
pub trait Look {
    /// State of a name now.
    fn stat(&self, path: &[u8]) -> Option<FileStat>;
    /// The bytes of a file that is not too long for a script or a small tool.
    fn source(&self, path: &[u8]) -> Option<Vec<u8>>;
    /// What kind of file it is, by its beginning.
    fn form(&self, path: &[u8]) -> Form;
    /// Content of a file in this state; `Err` if it has another one by now.
    fn content(&self, path: &[u8], state: &FileStat) -> Result<Content, Problem>;
    /// What is in an index in this state; `Err` if it has another one by now.
    fn index(&self, path: &[u8], state: &FileStat) -> Result<Arc<Index>, Problem>;
    /// What a program or library says to the dynamic loader.
    fn linking(&self, path: &[u8]) -> Option<Arc<Linking>>;
    /// Does the file hold this word? `None`: it cannot be read.
    fn holds(&self, path: &[u8], word: &[u8]) -> Option<bool>;
    /// Would any later change show in the state, although its time is recent? If it was not seen at the moment of the
    /// access: was it seen `before` that? `own`: the pip changes it itself.
    fn settled(&self, path: &[u8], state: &FileStat, before: Option<i128>, own: bool) -> bool;
    /// Value of an environment observation or a fact.
    fn value(&self, o: &Observation) -> Value;
    fn list(&self, path: &[u8]) -> Option<Vec<(Vec<u8>, Kind)>>;
    fn read_link(&self, path: &[u8]) -> Option<Vec<u8>>;
    /// May this process do that in a directory, by its effective rights (`faccessat(2)`)?
    fn may(&self, dir: &[u8], access: Access) -> bool;
    /// Does the file have any extended attribute? (An access list that says no more than the mode is none.)
    fn has_attributes(&self, path: &[u8]) -> bool;
    /// Has the file in this state another owner than a new one would get, or extended attributes?
    fn keeps_more(&self, path: &[u8], state: &FileStat) -> bool;
    /// Does the directory say who may use what is new in it (a default access list)?
    fn passes_on_access(&self, dir: &[u8]) -> bool;
}

/// What kind of file something is, for a compiler that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    /// A header or module in a compiler's own form: what it defines cannot be read.
    Precompiled,
    /// A program, a library, an object, data.
    Binary,
}

/// Why a result is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(pub String);
