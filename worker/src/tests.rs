//! Pips in a table: what a command's accesses become, without processes or files.
//!
//! Each case plays a few calls against a [`Table`], as the tracer would report them, and looks at what the recorder,
//! the outputs and the end make of them.

use crate::accesses::{Accesses, Program};
use crate::evaluate::Now;
use crate::look::Look;
use crate::outputs::written;
use crate::running::Running;
use crate::testing::Table;
use crate::{
    finish::finish,
    judgement::{Context, Finished},
};
use cache::{FileStat, Kind, Observation};
use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, statx};
use tracer::{Access, Crossed, Made, Op, Resolved};

const PID: i32 = 4711;

/// A pip of one process, and the world that it lives in.
struct Pip {
    table: Table,
    accesses: Accesses,
    running: Running,
}

/// What the kernel would say of this state.
fn kernel(s: &FileStat) -> Statx {
    let mut x = statx(CWD, "/", AtFlags::empty(), StatxFlags::BASIC_STATS).expect("a root");
    let kind = match s.kind {
        Kind::File => 0o100_000,
        Kind::Directory => 0o040_000,
        Kind::Symlink => 0o120_000,
        Kind::Special => 0o010_000,
    };
    x.stx_mode = u16::try_from(kind | s.mode).expect("a mode");
    (x.stx_ino, x.stx_size, x.stx_nlink, x.stx_uid, x.stx_gid) = (s.ino, s.size, s.nlink, s.uid, s.gid);
    x
}

impl Pip {
    fn new(table: Table, program: &str, line: &str) -> Self {
        let argv: Vec<Vec<u8>> = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        let running = Running::of(program.as_bytes(), &argv, None, b"/w", None, &Running::default(), b"/w");
        let running = Running { image: 1, ..running };
        let mut accesses = Accesses::default();
        accesses.programs.push(Program {
            path: program.into(),
            argv,
            tool: running.tool,
            is_opaque: false,
            interpreter: None,
            pid: PID,
        });
        Self { table, accesses, running }
    }

    /// One call, told before it happens.
    fn call(&mut self, op: Op, path: &str) -> &mut Self {
        self.call_through(op, path, &[])
    }

    fn call_through(&mut self, op: Op, path: &str, links: &[(&str, &str)]) -> &mut Self {
        let state = self.table.stat(path.as_bytes());
        let links = links.iter().map(|(l, t)| Crossed { link: l.as_bytes().into(), target: t.as_bytes().into() });
        let access = Access {
            op,
            path: Resolved {
                path: path.as_bytes().into(),
                links: links.collect(),
                left: Vec::new(),
                state: state.as_ref().map(kernel),
                nowhere: false,
            },
            call: "a call",
            late: None,
        };
        if self.accesses.apply(&access, state, &self.running, false, PID) {
            // What the recorder does before the call goes on.
            let content = state.and_then(|s| self.table.content(path.as_bytes(), &s).ok());
            self.accesses.names.get_mut(path.as_bytes()).expect("its record").before = content;
        }
        self
    }

    fn reads(&mut self, path: &str) -> &mut Self {
        self.call(Op::OpenRead { content: true }, path)
    }

    fn looks_at(&mut self, path: &str) -> &mut Self {
        self.call(Op::Stat, path)
    }

    /// open(2) with `O_CREAT | O_TRUNC`, and what follows.
    fn makes(&mut self, path: &str, text: &str) -> &mut Self {
        self.call(Op::OpenWrite { keeps: false, creates: true, exclusive: false, private: false }, path);
        if self.table.stat(path.as_bytes()).is_some() {
            self.table.write(path, text);
        } else {
            self.table.file(path, text);
        }
        self.accesses.names.get_mut(path.as_bytes()).expect("its record");
        self
    }

    /// open(2) with `O_RDWR`: what is there stays.
    fn changes(&mut self, path: &str, text: &str) -> &mut Self {
        self.call(Op::OpenWrite { keeps: true, creates: false, exclusive: false, private: false }, path);
        self.table.write(path, text);
        self
    }

    fn removes(&mut self, path: &str) -> &mut Self {
        self.call(Op::Remove { moved: false }, path);
        self.table.remove(path);
        self
    }

    fn makes_directory(&mut self, path: &str) -> &mut Self {
        self.call(Op::Create { how: Made::Directory, exclusive: true, private: false }, path);
        self.table.dir(path);
        self
    }

    /// The end: what it wrote, by name, and what it depended on.
    fn end(&mut self) -> (Vec<String>, Finished) {
        let mut a = std::mem::take(&mut self.accesses);
        let w = written(&mut a, &self.table, 0o22);
        let mut names: Vec<String> = w
            .iter()
            .map(|w| {
                let sign = if w.state.is_none() { "-" } else { "" };
                format!("{sign}{}", String::from_utf8_lossy(&w.path))
            })
            .collect();
        names.sort();
        let context = Context {
            env: &[],
            pass: &[],
            track: &[],
            dated: false,
            stdin: Default::default(),
            said: b"",
            ran: [0, 1],
            root: b"/w",
            deterministic: &|_| false,
        };
        (names, finish(a, w, &self.table, &context))
    }
}

/// What was observed below the workspace, in one line each.
fn observed(done: &Finished) -> Vec<String> {
    let one = |o: &Observation| {
        let path = o.path().map(|p| String::from_utf8_lossy(p).into_owned()).filter(|p| p.starts_with("/w/"))?;
        let kind = match o {
            Observation::Absent(_) => "absent",
            Observation::FileContent(_) => "content",
            Observation::FileProbe { times: true, .. } => "probe with times",
            Observation::FileProbe { .. } => "probe",
            Observation::KindProbe(_) => "kind",
            Observation::Symlink(_) => "link",
            Observation::DirListing(..) => "listing",
            Observation::DirSearch { .. } => "search",
            Observation::DirMatch { .. } => "match",
            Observation::DirCount(..) => "count",
            Observation::Ensured(..) => "ensured",
            Observation::Attributes(_) => "attributes",
            Observation::SameFile(..) => "same file",
            Observation::Answer(..) => "answer",
            // Told of by the tests of rights.
            Observation::Rights(_) | Observation::Owner(_) => return None,
            Observation::Env(_)
            | Observation::EnvAll
            | Observation::EnvJob
            | Observation::Found { .. }
            | Observation::Fact(_) => return None,
        };
        Some(format!("{kind} {}", &path[3..]))
    };
    done.observations.iter().filter_map(|(o, _)| one(o)).collect()
}

fn world() -> Table {
    let mut t = Table::new();
    t.file("/usr/bin/gcc", "gcc").file("/w/a.c", "int a;").file("/w/a.h", "#define A");
    t
}

/// Calls of a pip, what it has written in the end, and what it depends on.
struct Case {
    name: &'static str,
    play: fn(&mut Pip),
    written: &'static [&'static str],
    observed: &'static [&'static str],
}

const CAT: (&str, &str) = ("/usr/bin/cat", "cat");

#[test]
fn what_accesses_become() {
    let all = [
        Case {
            name: "an input and an output",
            play: |p| _ = p.reads("/w/a.c").makes("/w/o", "x"),
            written: &["/w/o"],
            observed: &["content a.c"],
        },
        Case {
            name: "what is replaced without a look is no input",
            play: |p| {
                p.table.file("/w/o", "old");
                p.makes("/w/o", "new");
            },
            written: &["/w/o"],
            observed: &[],
        },
        Case {
            name: "what is read before it is replaced is one",
            play: |p| {
                p.table.file("/w/o", "old");
                p.reads("/w/o").makes("/w/o", "new");
            },
            written: &["/w/o"],
            observed: &["content o"],
        },
        Case {
            name: "what is changed in place is one, too",
            play: |p| {
                p.table.file("/w/log", "1");
                p.changes("/w/log", "12");
            },
            written: &["/w/log"],
            observed: &["content log"],
        },
        Case {
            name: "what it reads of its own doing is none",
            play: |p| _ = p.makes("/w/o", "x").reads("/w/o").looks_at("/w/o"),
            written: &["/w/o"],
            observed: &[],
        },
        Case {
            name: "a temporary leaves nothing",
            play: |p| _ = p.makes("/w/tmp", "x").reads("/w/tmp").removes("/w/tmp"),
            written: &[],
            observed: &["absent tmp"],
        },
        Case {
            name: "what was looked for in vain must stay away",
            play: |p| _ = p.looks_at("/w/first/a.h").reads("/w/a.h"),
            written: &[],
            observed: &["content a.h", "absent first/a.h"],
        },
        Case {
            name: "a look is not a read",
            play: |p| _ = p.looks_at("/w/a.h"),
            written: &[],
            observed: &["probe a.h"],
        },
        Case {
            name: "what is removed was there",
            play: |p| _ = p.removes("/w/a.h"),
            written: &["-/w/a.h"],
            observed: &["kind a.h"],
        },
        Case {
            name: "to remove what is not there is to look",
            play: |p| _ = p.call(Op::Remove { moved: false }, "/w/none"),
            written: &[],
            observed: &["absent none"],
        },
        Case {
            name: "a new directory must be new",
            play: |p| _ = p.makes_directory("/w/d").makes("/w/d/f", "x"),
            written: &["/w/d", "/w/d/f"],
            observed: &["absent d"],
        },
        Case {
            name: "a link that was crossed, and what it leads to",
            play: |p| {
                p.table.link("/w/l", "a.c");
                p.accesses.links.insert(
                    b"/w/l"[..].into(),
                    crate::accesses::Link { state: p.table.stat(b"/w/l"), target: b"a.c".to_vec(), late: None },
                );
                p.reads("/w/a.c");
            },
            written: &[],
            observed: &["content a.c", "link l"],
        },
    ];
    for c in all {
        let mut p = Pip::new(world(), CAT.0, CAT.1);
        (c.play)(&mut p);
        let (written, done) = p.end();
        assert_eq!(written, c.written, "{}", c.name);
        let mut seen = observed(&done);
        seen.sort();
        let mut want = c.observed.to_vec();
        want.sort_unstable();
        assert_eq!(seen, want, "{}", c.name);
        assert!(done.problems.is_empty(), "{}: {:?}", c.name, done.problems);
    }
}

/// What somebody else does meanwhile forbids storing, whatever becomes of the name.
#[test]
fn what_others_do_meanwhile() {
    type Play = (&'static str, fn(&mut Pip), &'static str);
    let all: &[Play] = &[
        ("an input changes", |p| _ = p.reads("/w/a.c").table.write("/w/a.c", "int b;"), "`/w/a.c` changed"),
        ("an input goes away", |p| _ = p.reads("/w/a.c").table.remove("/w/a.c"), "`/w/a.c` changed"),
        ("what was not there comes", |p| _ = p.looks_at("/w/n").table.file("/w/n", ""), "`/w/n` appeared"),
        (
            "what it made is replaced",
            |p| {
                p.makes("/w/o", "x").looks_at("/w/o");
                p.table.file("/w/o", "y");
            },
            "somebody else made, changed or removed `/w/o`",
        ),
        (
            "what it made goes away",
            |p| {
                p.makes("/w/o", "x").looks_at("/w/o");
                p.table.remove("/w/o");
            },
            "`/w/o`",
        ),
        (
            "what it was about to read is made by another",
            |p| {
                p.looks_at("/w/late");
                p.table.file("/w/late", "1");
                p.reads("/w/late").removes("/w/late");
            },
            "somebody else made, changed or removed `/w/late`",
        ),
    ];
    for (name, play, why) in all {
        let mut p = Pip::new(world(), CAT.0, CAT.1);
        play(&mut p);
        let (_, done) = p.end();
        assert!(done.problems.iter().any(|x| x.contains(why)), "{name}: {:?}", done.problems);
    }
}

/// The look of a tool that replaces its output is forgiven, if it has replaced it in the end.
#[test]
fn a_look_at_an_output() {
    let ends = |replaces: bool| {
        let mut t = world();
        t.file("/usr/bin/as", "as").file("/w/a.s", "nop").file("/w/a.o", "old");
        let mut p = Pip::new(t, "/usr/bin/as", "as a.s -o a.o");
        p.reads("/w/a.s").looks_at("/w/a.o");
        if replaces {
            p.removes("/w/a.o").makes("/w/a.o", "new");
        }
        observed(&p.end().1)
    };
    assert_eq!(ends(true), ["content a.s"]);
    assert_eq!(ends(false), ["content a.s", "probe a.o"]);
}

#[test]
fn what_could_not_be_put_back_is_a_problem() {
    type Play = (fn(&mut Pip), &'static str);
    let all: &[Play] = &[
        (
            |p| {
                p.table.dir("/w/d");
                p.call(Op::RenameSource, "/w/d").call(Op::Remove { moved: true }, "/w/d");
                p.table.remove("/w/d");
                p.call(Op::Create { how: Made::Renamed, exclusive: false, private: false }, "/w/e");
                p.table.dir("/w/e");
            },
            "it renames the existing directory `/w/d`",
        ),
        (
            |p| {
                p.table.file("/w/x", "1").mode("/w/x", 0o600);
                p.changes("/w/x", "2");
            },
            "it overwrites `/w/x` in place",
        ),
    ];
    for (play, why) in all {
        let mut p = Pip::new(world(), CAT.0, CAT.1);
        play(&mut p);
        let (_, done) = p.end();
        assert!(done.problems.iter().any(|x| x.contains(why)), "{why}: {:?}", done.problems);
    }
}

/// Whatever a pip depended on has the same value when it is evaluated for the next one, and another when it changed.
#[test]
fn the_present_agrees_with_the_end() {
    let mut t = world();
    t.dir("/w/d").file("/w/d/1", "").link("/w/l", "a.c").file("/w/f", "x");
    let mut p = Pip::new(t, CAT.0, CAT.1);
    p.reads("/w/a.c").looks_at("/w/a.h").looks_at("/w/none").looks_at("/w/f/below").call(Op::Readlink, "/w/l");
    let (_, done) = p.end();
    let now = Now::new(&p.table);
    for (o, v) in &done.observations {
        assert_eq!(now.evaluate(o).as_ref(), Some(v), "{}", o.describe());
    }
    let mut changed = p.table.clone();
    changed.write("/w/a.c", "2").mode("/w/a.h", 0o600).file("/w/none", "").remove("/w/f").link("/w/l", "b.c");
    let now = Now::new(&changed);
    let same: Vec<String> = done
        .observations
        .iter()
        .filter(|(o, v)| o.path().is_some_and(|p| p.starts_with(b"/w/")) && now.evaluate(o).as_ref() == Some(v))
        .map(|(o, _)| o.describe())
        .collect();
    assert!(same.is_empty(), "{same:?}");
}

#[test]
fn one_request_looks_once() {
    let mut t = world();
    let before = t.clone();
    let now = Now::new(&before);
    let o = Observation::KindProbe(b"/w/a.c"[..].into());
    let then = now.evaluate(&o);
    t.remove("/w/a.c");
    assert_ne!(Now::new(&t).evaluate(&o), then);
    assert_eq!(now.evaluate(&o), then);
}
