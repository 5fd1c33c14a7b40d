//! The weak fingerprint: everything that is known of a pip before it runs, in one named walk.

use cache::digest::Content;
use cache::{Digest, Fingerprint};
use std::os::fd::{AsFd, BorrowedFd};
use tracer::ExecRequest;
use tracer::request::{Credentials, Descriptors, FdKind, Stdin};
use worker::world::World;

/// Words with these endings are source files if they exist: their content is known before the run.
const SOURCES: &[&str] =
    &["c", "cc", "cpp", "cxx", "C", "c++", "m", "mm", "S", "s", "sx", "f", "f90", "rs", "y", "l", "yy", "ll"];

/// Identity of a command across runs, for its history: no contents, no environment. `key` is the cache's.
pub fn command_key(r: &ExecRequest, key: &[u8; 32]) -> Digest {
    let mut f = Fingerprint::new("command");
    f.bytes("program", &r.program.path);
    f.digest("argv", &Digest::keyed(key, r.argv.iter().map(Vec::as_slice)));
    f.bytes("cwd", &r.cwd);
    f.finish()
}

/// What a command can tell of its output descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outputs {
    stdout: Place,
    stderr: Place,
    shared: bool,
}

/// The kind of an output descriptor, and at which place of a file it is.
type Place = (u64, Option<(u64, bool)>);

/// The weak fingerprints of one command.
pub struct Weak {
    /// Under this a result is stored that came about without a look at standard input.
    pub unasked: Digest,
    /// Under this if all that was asked is whether it is a terminal.
    pub asked: Digest,
    /// Under this any other.
    pub own: Digest,
    /// Under these a result would do as well: text that went to a pipe may go to `/dev/null`, though not the other way
    /// round.
    pub others: Vec<Digest>,
}

impl Weak {
    /// Those under which to look, the likeliest first.
    pub fn all(&self) -> Vec<Digest> {
        let mut all = vec![self.unasked, self.asked, self.own];
        all.extend(&self.others);
        all.dedup();
        all
    }
}

/// Computes the weak fingerprints. `Err` says why the pip cannot be cached.
pub fn weak_fingerprints(
    r: &ExecRequest,
    d: &Descriptors,
    c: &Credentials,
    w: &World<'_>,
    meaning: &[u8],
) -> Result<Weak, String> {
    // What a compiler prints does not depend on where it goes, but for a terminal.
    let compiles = worker::drivers::is_toolchain(&r.program.path);
    let place = |k: &FdKind| match (k, compiles) {
        (FdKind::Regular { .. } | FdKind::Socket, true) => (kind(&FdKind::Pipe), None),
        (FdKind::Regular { tells, appends, .. }, false) => (kind(k), Some((*tells, *appends))),
        _ => (kind(k), None),
    };
    let exact = Outputs { stdout: place(&d.stdout.kind), stderr: place(&d.stderr.kind), shared: d.shared };
    let piped = |p| if p == place(&FdKind::Null) { place(&FdKind::Pipe) } else { p };
    let as_pipe = Outputs { stdout: piped(exact.stdout), stderr: piped(exact.stderr), ..exact };
    let mut alike = Vec::new();
    if as_pipe != exact {
        alike.push(as_pipe);
    }
    if as_pipe.stdout != exact.stdout && as_pipe.stderr != exact.stderr {
        // Nothing is printed at all: it does not matter either which text came from which.
        alike.push(Outputs { shared: !as_pipe.shared, ..as_pipe });
    }
    let base = without_streams(r, d, c, w, meaning)?;
    let own = stdin(&base, &d.stdin)?;
    let one_of = |alike: u64| {
        let mut f = base.clone();
        f.number("stdin", alike);
        f
    };
    // A closed descriptor is another file's number as soon as one is opened; a file counts with its content; on a
    // socket bash takes itself for one that a network server has started (bash(1), INVOCATION: "connected to a network
    // connection").
    let (unasked, asked) = match d.stdin {
        Stdin::Closed | Stdin::Regular { .. } | Stdin::Live(FdKind::Socket) => (own.clone(), own.clone()),
        Stdin::Live(FdKind::Terminal) => (one_of(9), own.clone()),
        Stdin::Null | Stdin::Drained | Stdin::Live(_) => (one_of(9), one_of(8)),
    };
    Ok(Weak {
        unasked: outputs(&unasked, exact),
        asked: outputs(&asked, exact),
        own: outputs(&own, exact),
        others: alike.iter().flat_map(|o| [&unasked, &asked, &own].map(|stdin| outputs(stdin, *o))).collect(),
    })
}

fn outputs(f: &Fingerprint, o: Outputs) -> Digest {
    let mut f = f.clone();
    for (name, (kind, place)) in [("stdout", o.stdout), ("stderr", o.stderr)] {
        f.number(name, kind);
        if let Some((tells, appends)) = place {
            f.number("tells", tells);
            f.number("appends", u64::from(appends));
        }
    }
    f.number("stdout is stderr", u64::from(o.shared));
    f.finish()
}

/// All but the standard descriptors.
fn without_streams(
    r: &ExecRequest,
    d: &Descriptors,
    c: &Credentials,
    w: &World<'_>,
    meaning: &[u8],
) -> Result<Fingerprint, String> {
    let mut f = Fingerprint::new("weak");
    f.bytes("rules", meaning);
    f.bytes("program", &r.program.path);
    let content = |path: &[u8]| {
        let s = w.state(path)?;
        w.files.content(path, &s, w.store)
    };
    let name = |p: &[u8]| String::from_utf8_lossy(p).into_owned();
    f.digest(
        "program content",
        &content(&r.program.path).ok_or_else(|| format!("`{}` cannot be read", name(&r.program.path)))?.digest,
    );
    for i in &r.interpreters {
        f.bytes("interpreter", &i.path);
        f.digest(
            "interpreter content",
            &content(&i.path).ok_or_else(|| format!("`{}` cannot be read", name(&i.path)))?.digest,
        );
    }
    // An argument may be a secret, and fingerprints are stored.
    f.digest("argv", &Digest::keyed(w.key, r.argv.iter().map(Vec::as_slice)));
    f.bytes("cwd", &r.cwd);
    for i in &d.others {
        let Some(file) = &i.file else { continue };
        f.number("inherited", u64::from(i.fd.cast_unsigned()));
        f.bytes("inherited file", &i.link);
        f.number("inherited file is captured", u64::from(file.captured));
        // What cannot be read through it, and is not written to in the end, does not count.
        if file.readable {
            f.number("inherited offset", file.offset);
            f.digest(
                "inherited content",
                &behind(file.as_fd()).map_err(|e| format!("its descriptor {} cannot be read: {e}", i.fd))?.digest,
            );
        }
    }
    f.number("umask", u64::from(c.umask));
    f.bytes("rights", &c.rights);
    f.number("ignored signals", c.signals[0]);
    f.number("blocked signals", c.signals[1]);
    // What all commands of a build may use is a fact that some ask for; this one was given others.
    if Credentials::own().is_some_and(|own| own.processors != c.processors) {
        f.bytes("processors", &c.processors);
    }
    f.bytes("limits", &c.limits);
    f.bytes("personality", &c.personality);
    f.bytes("architecture", std::env::consts::ARCH.as_bytes());
    for (file, is_response) in static_inputs(r) {
        if file.is_empty() || !(is_response || is_source(file)) {
            continue;
        }
        let path = if file[0] == b'/' { file.to_vec() } else { [&r.cwd[..], b"/", file].concat() };
        if let Some(c) =
            w.state(&path).filter(cache::FileStat::is_file).and_then(|s| w.files.content(&path, &s, w.store))
        {
            f.bytes("static input", file);
            f.digest("static input content", &c.digest);
        }
    }
    Ok(f)
}

/// The words of a compiler's command line that may be its sources, and whether each is a response file. What follows
/// `-o` is none: that it is there already must not matter. Other programs may name what they make anywhere.
fn static_inputs(r: &ExecRequest) -> Vec<(&[u8], bool)> {
    let words: Vec<&[u8]> = r
        .argv
        .iter()
        .flat_map(|a| a.split(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\'' | b'"' | b';' | b'&' | b'(' | b')' | b'`')))
        .filter(|w| !w.is_empty())
        .collect();
    let shell = worker::drivers::is_shell(&r.program.path);
    let first =
        if shell { words.iter().skip(1).find(|w| !w.starts_with(b"-")).copied() } else { Some(&r.program.path[..]) };
    if !first.is_some_and(worker::drivers::is_toolchain) {
        return Vec::new();
    }
    let made = |i: usize| i > 0 && words[i - 1] == b"-o";
    let all = words.iter().enumerate().filter(|(i, _)| !made(*i));
    all.map(|(_, w)| w.strip_prefix(b"@").map_or((*w, false), |rest| (rest, true))).collect()
}

fn is_source(word: &[u8]) -> bool {
    let Some(dot) = word.iter().rposition(|b| *b == b'.') else { return false };
    SOURCES.iter().any(|s| s.as_bytes() == &word[dot + 1..])
}

/// A regular file behind standard input counts by content and offset.
fn stdin(base: &Fingerprint, s: &Stdin) -> Result<Fingerprint, String> {
    let mut f = base.clone();
    match s {
        Stdin::Closed => f.number("stdin", 0),
        Stdin::Null => f.number("stdin", 1),
        Stdin::Drained => f.number("stdin", 2),
        Stdin::Regular { fd, offset, .. } => {
            f.number("stdin", 3);
            f.number("stdin offset", *offset);
            f.digest(
                "stdin content",
                &behind(fd.as_fd()).map_err(|e| format!("its standard input cannot be read: {e}"))?.digest,
            );
        }
        Stdin::Live(k) => {
            f.number("stdin", 4);
            f.number("live stdin", kind(k));
        }
    }
    Ok(f)
}

/// Content of the file behind a descriptor; the shared offset stays where it is.
pub(crate) fn behind(fd: BorrowedFd<'_>) -> std::io::Result<Content> {
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
    cache::digest::pass(&mut std::fs::File::open(path)?)
}

/// What a command can tell apart. A log that the build tool writes to as well is a pipe to the command while it runs.
fn kind(k: &FdKind) -> u64 {
    match k {
        FdKind::Closed => 0,
        FdKind::Null => 1,
        FdKind::Pipe | FdKind::Log => 2,
        FdKind::Terminal => 3,
        FdKind::Regular { .. } => 4,
        FdKind::Socket => 5,
        FdKind::Device => 6,
    }
}
