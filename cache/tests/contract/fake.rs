//! A tier that fails as it is told to, over one in memory.

use cache::tier::{Failure, Link, Memory, Sink, Upload};
use cache::{Blobs, Class, Digest, Entry, Error, PathSet, Publication, Result, Results};
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Every call fails as a whole.
    Fails(Class),
    /// It hands out other contents than it was asked for.
    Lies,
    /// It hands out the beginning of a content, and then the connection ends.
    Breaks,
}

#[derive(Default)]
pub(crate) struct Fake {
    pub memory: Arc<Memory>,
    fault: Mutex<Option<Fault>>,
}

/// A connection that ends at once.
pub(crate) struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl Fake {
    pub(crate) fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    fn fault(&self) -> Option<Fault> {
        *self.fault.lock().unwrap()
    }

    /// Fails, if all is to fail.
    fn answers(&self) -> Result<()> {
        let failure =
            |kind: io::ErrorKind| Err(Error::Io { operation: "ask", path: "far away".into(), source: kind.into() });
        match self.fault() {
            Some(Fault::Fails(Class::Absent)) => failure(io::ErrorKind::NotFound),
            Some(Fault::Fails(Class::Unavailable)) => failure(io::ErrorKind::TimedOut),
            Some(Fault::Fails(Class::Refused)) => failure(io::ErrorKind::PermissionDenied),
            Some(Fault::Fails(Class::Corrupt)) => Err(Error::Corrupt { digest: Digest::of(b"") }),
            Some(Fault::Lies | Fault::Breaks) | None => Ok(()),
        }
    }
}

impl Results for Fake {
    fn candidates(&self, weak: &[Digest]) -> Result<Vec<Vec<Link>>> {
        self.answers().and_then(|()| self.memory.candidates(weak))
    }

    fn path_sets(&self, wanted: &[Digest]) -> Result<Vec<Option<PathSet>>> {
        self.answers().and_then(|()| self.memory.path_sets(wanted))
    }

    fn entries(&self, strong: &[Digest]) -> Result<Vec<Option<Entry>>> {
        self.answers().and_then(|()| self.memory.entries(strong))
    }

    fn publish(&self, p: &Publication<'_>) -> Result<Option<Entry>> {
        self.answers().and_then(|()| self.memory.publish(p))
    }
}

/// Passes on something else than it is given.
struct Wrong<'a>(Fault, &'a dyn Sink);

impl Sink for Wrong<'_> {
    fn receive(&self, digest: &Digest, from: &mut dyn Read) -> Result<()> {
        match self.0 {
            Fault::Lies => self.1.receive(digest, &mut b"a lie".as_slice().chain(from)),
            _ => self.1.receive(digest, &mut from.take(1).chain(Broken)),
        }
    }
}

impl Blobs for Fake {
    fn missing(&self, wanted: &[Digest]) -> Result<Vec<Digest>> {
        self.answers().and_then(|()| self.memory.missing(wanted))
    }

    fn read(&self, wanted: &[Digest], sink: &dyn Sink) -> Result<Vec<Failure>> {
        self.answers()?;
        match self.fault() {
            Some(fault) => self.memory.read(wanted, &Wrong(fault, sink)),
            None => self.memory.read(wanted, sink),
        }
    }

    fn put(&self, batch: &[Upload<'_>]) -> Result<Vec<Failure>> {
        self.answers().and_then(|()| self.memory.put(batch))
    }
}

impl Sink for Fake {
    fn receive(&self, digest: &Digest, from: &mut dyn Read) -> Result<()> {
        self.answers().and_then(|()| self.memory.receive(digest, from))
    }
}
