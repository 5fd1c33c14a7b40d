//! The results of a farther tier, of which those that are served are kept by the nearer one.
//!
//! Candidates come from the farther tier alone: whoever asks has asked the nearer one before.

use super::{Link, Publication, Results};
use crate::{Digest, Entry, PathSet, Result};

pub struct Adopting<N, F> {
    near: N,
    far: F,
}

impl<N, F> Adopting<N, F> {
    pub fn new(near: N, far: F) -> Self {
        Self { near, far }
    }
}

impl<N: Results, F: Results> Results for Adopting<N, F> {
    fn candidates(&self, weak: &[Digest]) -> Result<Vec<Vec<Link>>> {
        self.far.candidates(weak)
    }

    fn path_sets(&self, wanted: &[Digest]) -> Result<Vec<Option<PathSet>>> {
        self.far.path_sets(wanted)
    }

    fn entries(&self, strong: &[Digest]) -> Result<Vec<Option<Entry>>> {
        self.far.entries(strong)
    }

    fn publish(&self, p: &Publication<'_>) -> Result<Option<Entry>> {
        self.far.publish(p)
    }

    fn adopt(&self, p: &Publication<'_>) {
        self.far.adopt(p);
        // If it cannot be kept, the farther tier will be asked again.
        drop(self.near.publish(p));
    }
}
