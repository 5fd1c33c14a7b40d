//! The weak fingerprint: everything that is known of a pip before it runs, in one named walk.

use cache::{Digest, Fingerprint};
use tracer::{Chunk, ExecRequest};
use worker::Command;
use worker::accesses::Stdin;
use worker::command::{Input, Place};
use worker::evaluate::Now;

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

/// The weak fingerprints of one command.
pub struct Weak {
    /// Under this a result is stored that came about without a look at standard input.
    pub unasked: Digest,
    /// Under this if all that was asked is whether it is a terminal.
    pub asked: Digest,
    /// Under this any other.
    pub own: Digest,
    /// Under these if it has no text, and minds no place: by how it asked for standard input, as above.
    silent: Option<[Digest; 3]>,
    /// Under these if its text is on one stream, and it minds no place but a terminal.
    single: Option<[Digest; 3]>,
    /// All of its text is seen.
    is_heard: bool,
    /// Under these a result would do as well: text that went to a pipe may go to `/dev/null`, though not the other way
    /// round.
    pub others: Vec<Digest>,
}

impl Weak {
    /// Those under which to look, the likeliest first.
    pub fn all(&self) -> Vec<Digest> {
        let mut all = vec![self.unasked, self.asked, self.own];
        all.extend(self.silent.iter().chain(&self.single).flatten());
        all.extend(&self.others);
        all.dedup();
        all
    }

    /// That under which to store the result of a command that used standard input so, and printed this.
    pub fn of_result(&self, stdin: Stdin, text: &[Chunk], minds_no_stream: bool) -> &Digest {
        let i = match stdin {
            Stdin::Unused => 0,
            Stdin::Asked => 1,
            Stdin::Used => 2,
        };
        let one = text.windows(2).all(|w| w[0].stream == w[1].stream);
        let alike = match () {
            () if !(minds_no_stream && self.is_heard) => None,
            () if text.is_empty() => self.silent.as_ref(),
            () if one => self.single.as_ref(),
            () => None,
        };
        alike.map_or([&self.unasked, &self.asked, &self.own][i], |all| &all[i])
    }
}

/// What a command can tell of its output descriptors: the kind of each, and at which place of a file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outputs {
    stdout: Place,
    stderr: Place,
    shared: bool,
}

/// What is known of a command before it runs, as one stream.
struct Walk<'a> {
    command: &'a Command,
    now: &'a Now<'a>,
    /// The key of digests of what may be a secret.
    key: &'a [u8; 32],
    /// The user's rules that change what results depend on.
    meaning: &'a [u8],
}

/// Computes the weak fingerprints. `Err` says why the pip cannot be cached.
pub fn weak_fingerprints(c: &Command, now: &Now<'_>, key: &[u8; 32], meaning: &[u8]) -> Result<Weak, String> {
    let exact = as_told(c);
    let piped = |p| if p == Place::Null { Place::Pipe } else { p };
    let as_pipe = Outputs { stdout: piped(exact.stdout), stderr: piped(exact.stderr), ..exact };
    let mut alike = Vec::new();
    if as_pipe != exact {
        alike.push(as_pipe);
    }
    if as_pipe.stdout != exact.stdout && as_pipe.stderr != exact.stderr {
        // Nothing is printed at all: it does not matter either which text came from which.
        alike.push(Outputs { shared: !as_pipe.shared, ..as_pipe });
    }
    let base = Walk { command: c, now, key, meaning }.without_streams(Fingerprint::new("weak"))?;
    let own = stdin(&base, &c.stdin);
    let one_of = |alike: u64| {
        let mut f = base.clone();
        f.number("stdin", alike);
        f
    };
    // A closed descriptor is another file's number as soon as one is opened; a file counts with its content; on a
    // socket bash takes itself for one that a network server has started (bash(1), INVOCATION: "connected to a network
    // connection").
    let (unasked, asked) = match c.stdin {
        Input::Closed | Input::File { .. } | Input::Live(Place::Socket) => (own.clone(), own.clone()),
        Input::Live(Place::Terminal) => (one_of(9), own.clone()),
        Input::Null | Input::Drained | Input::Live(_) => (one_of(9), one_of(8)),
    };
    let finish = |f: &Fingerprint, o| outputs(f, o).finish();
    let among = |places: &[Place]| [exact.stdout, exact.stderr].iter().all(|p| places.contains(p));
    let alike_for = |places: &[Place], name: &str| {
        among(places).then(|| {
            [&unasked, &asked, &own].map(|stdin| {
                let mut f = stdin.clone();
                f.number(name, 1);
                f.finish()
            })
        })
    };
    Ok(Weak {
        silent: alike_for(&[Place::Null, Place::Pipe, Place::Terminal], "no text"),
        single: alike_for(&[Place::Null, Place::Pipe], "text on one stream"),
        is_heard: among(&[Place::Pipe, Place::Terminal]),
        unasked: finish(&unasked, exact),
        asked: finish(&asked, exact),
        own: finish(&own, exact),
        others: alike.iter().flat_map(|o| [&unasked, &asked, &own].map(|stdin| finish(stdin, *o))).collect(),
    })
}

/// The same walk for people: each field that the fingerprint [`Weak::own`] is made of, with its value. Texts that may
/// hold secrets are keyed digests.
pub fn facts(c: &Command, now: &Now<'_>, key: &[u8; 32], meaning: &[u8]) -> Vec<(String, Vec<u8>)> {
    let walk = Walk { command: c, now, key, meaning };
    walk.without_streams(Fingerprint::recording("weak"))
        .map(|f| outputs(&stdin(&f, &c.stdin), as_told(c)).finish_recorded().1)
        .unwrap_or_default()
}

/// What a compiler prints does not depend on where it goes, but for a terminal. Who minds no place has a pipe where its
/// text goes nowhere.
fn as_told(c: &Command) -> Outputs {
    let compiles = worker::tools::is_toolchain(&c.program);
    let minds_none = worker::streams::minds_none(&c.program, &c.argv);
    let place = |p: Place| match p {
        Place::Null if minds_none => Place::Pipe,
        Place::File { .. } | Place::Socket if compiles => Place::Pipe,
        other => other,
    };
    Outputs { stdout: place(c.stdout), stderr: place(c.stderr), shared: c.shared }
}

fn outputs(f: &Fingerprint, o: Outputs) -> Fingerprint {
    let mut f = f.clone();
    for (name, place) in [("stdout", o.stdout), ("stderr", o.stderr)] {
        f.number(name, number(place));
        if let Place::File { tells, appends } = place {
            f.number("tells", tells);
            f.number("appends", u64::from(appends));
        }
    }
    f.number("stdout is stderr", u64::from(o.shared));
    f
}

impl Walk<'_> {
    /// All but the standard descriptors, added to `f`.
    fn without_streams(&self, mut f: Fingerprint) -> Result<Fingerprint, String> {
        let c = self.command;
        f.bytes("rules", self.meaning);
        f.bytes("program", &c.program);
        f.digest("program content", &self.content(&c.program)?);
        for i in &c.interpreters {
            f.bytes("interpreter", i);
            f.digest("interpreter content", &self.content(i)?);
        }
        // An argument may be a secret, and fingerprints are stored.
        f.digest("argv", &Digest::keyed(self.key, c.argv.iter().map(Vec::as_slice)));
        f.bytes("cwd", &c.cwd);
        for i in &c.inherited {
            f.number("inherited", u64::from(i.fd));
            f.bytes("inherited file", &i.link);
            f.number("inherited file is captured", u64::from(i.captured));
            if let Some((content, offset)) = &i.content {
                f.number("inherited offset", *offset);
                f.digest("inherited content", content);
            }
        }
        f.number("umask", u64::from(c.limits.umask));
        f.number("ignored signals", c.limits.signals[0]);
        f.number("blocked signals", c.limits.signals[1]);
        if let Some(processors) = &c.limits.processors {
            f.bytes("processors", processors);
        }
        f.bytes("limits", &worker::limits::tight(&c.limits.limits));
        f.bytes("personality", &c.limits.personality);
        f.bytes("architecture", std::env::consts::ARCH.as_bytes());
        for (file, is_response) in static_inputs(c) {
            if file.is_empty() || !(is_response || is_source(file)) {
                continue;
            }
            let path = if file[0] == b'/' { file.to_vec() } else { [&c.cwd[..], b"/", file].concat() };
            let state = self.now.state(&path).filter(cache::FileStat::is_file);
            if let Some(content) = state.and_then(|s| self.now.content(&path, &s)) {
                f.bytes("static input", file);
                f.digest("static input content", &content.digest);
            }
        }
        Ok(f)
    }

    fn content(&self, path: &[u8]) -> Result<Digest, String> {
        let found = self.now.state(path).and_then(|s| self.now.content(path, &s));
        found.map(|c| c.digest).ok_or_else(|| format!("`{}` cannot be read", String::from_utf8_lossy(path)))
    }
}

/// The words of a compiler's command line that may be its sources, and whether each is a response file. What follows
/// `-o` is none: that it is there already must not matter. Other programs may name what they make anywhere.
fn static_inputs(r: &Command) -> Vec<(&[u8], bool)> {
    let words: Vec<&[u8]> = r
        .argv
        .iter()
        .flat_map(|a| a.split(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\'' | b'"' | b';' | b'&' | b'(' | b')' | b'`')))
        .filter(|w| !w.is_empty())
        .collect();
    let shell = worker::tools::is_shell(&r.program);
    let first = if shell { words.iter().skip(1).find(|w| !w.starts_with(b"-")).copied() } else { Some(&r.program[..]) };
    if !first.is_some_and(worker::tools::is_toolchain) {
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
fn stdin(base: &Fingerprint, s: &Input) -> Fingerprint {
    let mut f = base.clone();
    match s {
        Input::Closed => f.number("stdin", 0),
        Input::Null => f.number("stdin", 1),
        Input::Drained => f.number("stdin", 2),
        Input::File { content, offset } => {
            f.number("stdin", 3);
            f.number("stdin offset", *offset);
            f.digest("stdin content", content);
        }
        Input::Live(p) => {
            f.number("stdin", 4);
            f.number("live stdin", number(*p));
        }
    }
    f
}

/// The kind of a place, as fingerprints know it.
fn number(p: Place) -> u64 {
    match p {
        Place::Closed => 0,
        Place::Null => 1,
        Place::Pipe => 2,
        Place::Terminal => 3,
        Place::File { .. } => 4,
        Place::Socket => 5,
        Place::Device => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use worker::command::{Inherited, Limits};
    use worker::testing::{Table, command};

    const KEY: &[u8; 32] = &[7; 32];

    fn weak(c: &Command, t: &Table) -> Weak {
        weak_fingerprints(c, &Now::new(t), KEY, b"rules").expect("a fingerprint")
    }

    fn table() -> Table {
        let mut t = Table::new();
        t.file("/usr/bin/gen", "gen")
            .file("/usr/bin/gcc", "gcc")
            .file("/usr/bin/cat", "cat")
            .file("/lib/ld.so", "ld")
            .file("/w/a.c", "int a;");
        t
    }

    /// Every field that counts, changed by itself; the record of the walk names it, and no other.
    #[test]
    fn what_counts() {
        type Change = (&'static str, fn(&mut Command, &mut Table));
        let all: &[Change] = &[
            ("program content", |_, t| _ = t.write("/usr/bin/gcc", "gcc 2")),
            ("interpreter content", |_, t| _ = t.write("/lib/ld.so", "ld 2")),
            ("argv", |c, _| c.argv.push(b"-O2".to_vec())),
            ("umask", |c, _| c.limits.umask = 0o27),
            ("ignored signals", |c, _| c.limits.signals[0] = 1),
            ("blocked signals", |c, _| c.limits.signals[1] = 1),
            ("limits", |c, _| c.limits.limits = format!("head\n{:<26}{:<21}60\n", "Max cpu time", 60).into_bytes()),
            ("personality", |c, _| c.limits.personality = b"1".to_vec()),
            ("static input content", |_, t| _ = t.write("/w/a.c", "int b;")),
            ("stdout", |c, _| c.stdout = Place::Terminal),
            ("stdout is stderr", |c, _| c.shared = true),
        ];
        let base = command("/usr/bin/gcc", "gcc -c a.c");
        for (field, change) in all {
            let (mut c, mut t) = (base.clone(), table());
            change(&mut c, &mut t);
            assert_ne!(weak(&c, &t).own, weak(&base, &table()).own, "{field}");
            let fields = |c: &Command, t: &Table| facts(c, &Now::new(t), KEY, b"rules");
            let (before, after) = (fields(&base, &table()), fields(&c, &t));
            let differ: Vec<&str> =
                before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, _)| a.0.as_str()).collect();
            assert_eq!((differ.as_slice(), before.len()), (&[*field][..], after.len()));
        }
    }

    #[test]
    fn what_a_walk_adds() {
        let base = command("/usr/bin/gcc", "gcc -c a.c");
        let mut c = base.clone();
        c.limits = Limits { processors: Some(b"1".to_vec()), ..c.limits };
        c.inherited = vec![Inherited { fd: 5, link: b"/w/log".to_vec(), captured: false, content: None }];
        let names = |c: &Command| -> Vec<String> {
            facts(c, &Now::new(&table()), KEY, b"rules").into_iter().map(|(name, _)| name).collect()
        };
        let (before, after) = (names(&base), names(&c));
        let new: Vec<&String> = after.iter().filter(|n| !before.contains(n)).collect();
        assert_eq!(new, ["inherited", "inherited file", "inherited file is captured", "processors"]);
    }

    /// What does not count before anybody has asked for it.
    #[test]
    fn what_does_not() {
        let base = command("/usr/bin/gcc", "gcc -c a.c -o a.o");
        let same = |change: &dyn Fn(&mut Command, &mut Table)| {
            let (mut c, mut t) = (base.clone(), table());
            change(&mut c, &mut t);
            weak(&c, &t).own == weak(&base, &table()).own
        };
        assert!(same(&|c, _| c.env.push(b"X=1".to_vec())));
        assert!(same(&|c, _| c.limits.rights = b"1".to_vec()), "who runs it");
        assert!(same(&|_, t| _ = t.file("/w/a.o", "old")), "an output");
        assert!(same(&|_, t| _ = t.file("/w/a.h", "#define A")), "what only the compiler knows of");
        assert!(same(&|c, _| c.stdout = Place::Socket), "where a compiler's text goes, if that is no terminal");
        assert!(same(&|c, _| c.stdout = Place::File { tells: 7, appends: true }));
        assert!(same(&|c, _| c.stdout = Place::Null), "a compiler has a pipe there");
    }

    #[test]
    fn text_for_a_pipe_does_for_nowhere() {
        let c = command("/usr/bin/gen", "gen f");
        let nowhere = Command { stdout: Place::Null, ..c.clone() };
        let (piped, nowhere) = (weak(&c, &table()), weak(&nowhere, &table()));
        assert!(nowhere.others.contains(&piped.own) && !piped.others.contains(&nowhere.own));
        assert!(nowhere.all().contains(&piped.unasked));
    }

    /// What has no text does for every place, and text on one stream for every one that is no terminal.
    #[test]
    fn places_of_text() {
        let to = |stdout, stderr, shared| {
            weak(&Command { stdout, stderr, shared, ..command("/usr/bin/gcc", "gcc -c a.c") }, &table())
        };
        let say = |stream| Chunk { stream, bytes: b"x".to_vec() };
        let (piped, merged) = (to(Place::Pipe, Place::Pipe, false), to(Place::Pipe, Place::Pipe, true));
        let (nowhere, shown) = (to(Place::Null, Place::Null, false), to(Place::Terminal, Place::Terminal, true));
        let stored = |w: &Weak, text: &[Chunk], minds_none| *w.of_result(Stdin::Unused, text, minds_none);
        let everywhere = [&piped, &merged, &nowhere, &shown];
        for (i, w) in everywhere.iter().enumerate() {
            for (j, other) in everywhere.iter().enumerate() {
                assert!(w.all().contains(&stored(other, &[], true)), "no text");
                let one = w.all().contains(&stored(other, &[say(tracer::Stream::Err)], true));
                assert_eq!(one, (i == 3) == (j == 3), "text on one stream");
            }
        }
        let both = [say(tracer::Stream::Out), say(tracer::Stream::Err)];
        assert!(
            !merged.all().contains(&stored(&piped, &both, true)) && !merged.all().contains(&stored(&piped, &[], false))
        );
    }

    #[test]
    fn standard_input_counts_as_far_as_it_was_asked() {
        let with = |stdin: Input| weak(&Command { stdin, ..command("/usr/bin/cat", "cat") }, &table());
        let file = |n: u8, offset| Input::File { content: Digest([n; 32]), offset };
        let [null, drained, live, terminal] =
            [Input::Null, Input::Drained, Input::Live(Place::Pipe), Input::Live(Place::Terminal)].map(with);
        // Nobody asks: all of them do for each other. Somebody asks for a terminal: all but one.
        assert!([&drained, &live, &terminal].iter().all(|w| w.unasked == null.unasked));
        assert!([&drained, &live].iter().all(|w| w.asked == null.asked) && terminal.asked != null.asked);
        assert!(null.own != drained.own && drained.own != live.own);
        // A file counts with content and offset in each case.
        assert_ne!(with(file(1, 0)).unasked, with(file(2, 0)).unasked);
        assert_ne!(with(file(1, 0)).unasked, with(file(1, 4)).unasked);
    }

    #[test]
    fn sources_are_found_among_the_words() {
        let words = |program: &str, line: &str| -> Vec<(String, bool)> {
            let c = command(program, line);
            let all = static_inputs(&c).into_iter().filter(|(w, response)| *response || is_source(w));
            all.map(|(w, r)| (String::from_utf8_lossy(w).into_owned(), r)).collect()
        };
        let named = |n: &str, r: bool| (n.to_owned(), r);
        assert_eq!(words("/usr/bin/gcc", "gcc -c a.c -o b.c x.S"), [named("a.c", false), named("x.S", false)]);
        assert_eq!(words("/usr/bin/gcc", "gcc @opts"), [named("opts", true)]);
        let mut shell = command("/bin/sh", "sh -c");
        shell.argv.push(b"gcc -c 'a b'.c d.cc; true".to_vec());
        let found: Vec<&[u8]> = static_inputs(&shell).into_iter().map(|(w, _)| w).filter(|w| is_source(w)).collect();
        assert_eq!(found, [&b".c"[..], b"d.cc"]);
        assert!(words("/usr/bin/python3", "python3 gen.py a.c").is_empty(), "it may make what it names");
    }

    #[test]
    fn a_program_that_cannot_be_read_is_said() {
        let gone = command("/usr/bin/none", "none");
        let why = weak_fingerprints(&gone, &Now::new(&table()), KEY, b"").map(|_| ()).unwrap_err();
        assert_eq!(why, "`/usr/bin/none` cannot be read");
    }
}
