//! What a remote cache can do, whatever it is: rows by name, contents by name. Knows nothing of fingerprints.
//!
//! Everything is asked in batches and blocks; each call ends within a time of its own.

use crate::name::Name;
use crate::proto::ActionResult;
use cache::tier::{Failure, Sink, Upload};
use cache::{Class, Digest, Error, Result};

/// A content on its way to a peer: under which name, and from where.
pub struct Sending<'a> {
    pub name: Name,
    pub upload: Upload<'a>,
}

pub trait Peer: Send + Sync {
    /// Rows, in the order of their names; `None`: not there.
    fn rows(&self, names: &[Name]) -> Result<Vec<Option<ActionResult>>>;

    /// Puts rows in the place of what was there.
    fn put_rows(&self, rows: &[(Name, ActionResult)]) -> Result<()>;

    /// Puts a row, unless there is one; returned is the one that is there then. (Whoever cannot do that in one step
    /// looks again.)
    fn put_first(&self, name: &Name, row: ActionResult) -> Result<ActionResult>;

    /// Those that are not there.
    fn missing(&self, names: &[Name]) -> Result<Vec<Name>>;

    /// Hands contents to `sink`, which finds out whether they are what they should be. What turns out damaged is
    /// dropped there, if that is possible.
    fn read(&self, wanted: &[(Digest, Name)], sink: &dyn Sink) -> Result<Vec<Failure>>;

    /// Keeps contents; a failure is about one of them.
    fn write(&self, batch: &[Sending<'_>]) -> Result<Vec<Failure>>;

    /// Does it answer?
    fn ping(&self) -> Result<()>;
}

/// It does not answer as it should.
pub fn unavailable(message: impl Into<String>) -> Error {
    Error::Remote { class: Class::Unavailable, message: message.into() }
}
