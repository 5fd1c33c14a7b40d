//! What the end of a pip is judged by, and the judgement.

use crate::accesses::Stdin;
use cache::collect::Written;
use cache::digest::Traits;
use cache::{Observation, PathBytes, Value};

/// What a pip did.
#[derive(Debug)]
pub struct Finished {
    /// Each observation with its value when the pip saw it.
    pub observations: Vec<(Observation, Value)>,
    pub written: Vec<Written>,
    pub problems: Vec<String>,
    /// What was compiled asks for date or time, and the environment does not say which.
    pub asks_time: bool,
    /// What was done with its standard input that may matter: a script for which it does has [`Stdin::Used`] it.
    pub stdin: Stdin,
    /// It does not mind where its text goes.
    pub minds_no_stream: bool,
    /// What it read in which one of the macros for that is named, and whether that for the time of the source is.
    pub(crate) clocks: Vec<(PathBytes, bool)>,
    /// What is true of what it has precompiled.
    pub precompiled: Traits,
    /// What it read that is precompiled and may ask for date or time.
    pub(crate) opaque: Option<PathBytes>,
    /// What it read that holds the times of its sources.
    pub(crate) dated: Vec<PathBytes>,
    /// Whose text has which word for what is different each time.
    pub asks: Option<(String, &'static str)>,
}

/// The pip's static side, as far as its end depends on it.
pub struct Context<'a> {
    pub env: &'a [Vec<u8>],
    pub pass: &'a [String],
    pub track: &'a [String],
    /// It made a file that holds the times of its sources.
    pub dated: bool,
    /// What its standard input, a file, asks for.
    pub stdin: Traits,
    /// What it printed.
    pub said: &'a [u8],
    /// When it began and ended, in seconds since 1970.
    pub ran: [i64; 2],
    /// The workspace.
    pub root: &'a [u8],
    /// The user says that what this program makes does not depend on time or chance, whatever its text says.
    pub deterministic: &'a dyn Fn(&[u8]) -> bool,
}
