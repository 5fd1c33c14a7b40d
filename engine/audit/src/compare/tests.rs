//! Tables of small builds: what is declared, what pips were seen to do, and what they are accused of.
//!
//! Names are relative to a scratch directory, in which every file exists that somebody makes or reads: the checks look
//! at what is there after a build.

use super::check;
use crate::declared::{Declarations, Driver};
use crate::finding::Violation;
use crate::frontend::{Declared, Step};
use crate::kinds::Severity;
use crate::observer::Observed;
use crate::places::Surroundings;
use crate::workspace::Workspace;
use cache::PathBytes;
use engine::event::Launch;
use engine::seen::{Fault, How, Made, Seen, Use};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// A step, and what its only command is seen to do: words, of which one with a mark says more.
struct Pip {
    /// `out: input | order-only`; nothing before the colon is a command of no step.
    step: &'static str,
    /// `read`, `?probed`, `!looked for in vain`, `listed/`, then `>` and what it makes.
    does: &'static str,
}

const fn pip(step: &'static str, does: &'static str) -> Pip {
    Pip { step, does }
}

fn launch(parent: Option<usize>, argv: &[&str], dir: &Path) -> Arc<Launch> {
    Arc::new(Launch {
        parent,
        program: argv[0].as_bytes().into(),
        argv: argv.iter().map(|w| w.as_bytes().to_vec()).collect(),
        shown: argv.join(" "),
        cwd: dir.as_os_str().as_bytes().into(),
        env: Vec::new(),
        driver: parent.is_none(),
        again: false,
        start_ms: 0.0,
    })
}

/// Runs the checks; `make` is told to have all steps, in this order. `change` may alter what was seen.
fn found(pips: &[Pip], change: impl Fn(&mut Observed)) -> Vec<Violation> {
    let scratch = tempfile::tempdir().expect("a directory");
    let dir = std::fs::canonicalize(scratch.path()).expect("a directory");
    let full = |name: &str| -> PathBytes { dir.join(name).as_os_str().as_bytes().into() };
    let exists = |name: &str| {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, name).expect("a file");
    };
    let mut seen = Observed { launches: vec![launch(None, &["ninja"], &dir)], pips: Vec::new() };
    let mut declared = Declared::default();
    for (i, p) in pips.iter().enumerate() {
        let command = format!("command-{i} {}", p.step);
        let (outputs, rest) = p.step.split_once(':').expect("a colon");
        let (inputs, order_only) = rest.split_once('|').unwrap_or((rest, ""));
        let list = |names: &str| names.split_whitespace().map(full).collect::<Vec<_>>();
        let commands = vec![worker::command_text::normalised(command.as_bytes())];
        let step = Step {
            outputs: list(outputs),
            inputs: list(inputs),
            order_only: list(order_only),
            commands,
            ..Step::default()
        };
        if !step.outputs.is_empty() {
            declared.steps.push(step);
        }
        let words: Vec<&str> = command.split_whitespace().collect();
        seen.launches.push(launch(Some(0), &words, &dir));
        let (uses, makes) = p.does.split_once('>').unwrap_or((p.does, ""));
        let one = |word: &str| {
            let (how, name) = match (word.strip_prefix('?'), word.strip_prefix('!'), word.strip_suffix('/')) {
                (Some(name), ..) => (How::Probed, name),
                (_, Some(name), _) => (How::Missed, name),
                (.., Some(name)) => (How::Listed, name),
                _ => (How::Read, word),
            };
            if how == How::Read {
                exists(name);
            }
            Use { path: full(name), how, evidence: None }
        };
        let made = |word: &str| {
            exists(word);
            Made { path: full(word), digest: None, is_dir: false, deleted: false }
        };
        seen.pips.push(Seen {
            launch: i + 1,
            hit: false,
            exit_code: 0,
            start_ms: i as f64,
            end_ms: i as f64 + 0.5,
            uses: uses.split_whitespace().map(one).collect(),
            made: makes.split_whitespace().map(made).collect(),
            faults: Vec::new(),
        });
    }
    change(&mut seen);
    let driver = Driver::new(0, &seen.launches[0], declared);
    let declared = Declarations::of(&seen, &[(0, Arc::new(driver))].into_iter().collect(), false);
    let workspace = Workspace { root: dir.clone(), cache_dir: "/nowhere".into(), policy: Arc::default() };
    check(&seen, &declared, &workspace, &Surroundings::default()).0
}

/// Accusations as `XL001 target file`.
fn shown(all: &[Violation]) -> Vec<String> {
    all.iter().map(|v| format!("{} {} {}", v.code.about().code, v.target, v.file)).collect()
}

#[test]
fn what_pips_are_accused_of() {
    let table: &[(&str, &[Pip], &[&str])] = &[
        ("all is declared", &[pip("a.o: a.c a.h", "a.c a.h > a.o"), pip("a: a.o", "a.o > a")], &[]),
        ("a source that nothing declares", &[pip("a.o: a.c", "a.c a.h > a.o")], &["XL001 a.o a.h"]),
        (
            "noticed through what is made from it",
            &[pip("gen.h: gen.in", "gen.in > gen.h"), pip("a.o: a.c gen.h", "a.c gen.h gen.in > a.o")],
            &[],
        ),
        (
            "made by others, in no order",
            &[pip("gen.h: in", "in > gen.h"), pip("a.o: a.c", "a.c gen.h > a.o")],
            &["XL002 a.o gen.h"],
        ),
        (
            "made first, but no input",
            &[pip("gen.h: in", "in > gen.h"), pip("a.o: a.c | gen.h", "a.c gen.h > a.o")],
            &["XL001 a.o gen.h"],
        ),
        (
            "looked for in vain, and made by others",
            &[pip("gen.h: in", "in > gen.h"), pip("a.o: a.c", "a.c !gen.h > a.o")],
            &["XL003 a.o gen.h"],
        ),
        (
            "read by what it is made from",
            &[pip("gen.h: a.o", "a.o > gen.h"), pip("a.o: a.c", "a.c gen.h > a.o")],
            &["XL016 a.o gen.h"],
        ),
        ("not declared to be made", &[pip("a.o: a.c", "a.c > a.o a.lst")], &["XL004 a.o a.lst"]),
        ("declared and not made", &[pip("a.o a.lst: a.c", "a.c > a.o")], &["XL005 a.o a.lst"]),
        (
            "written twice",
            &[pip("a: in", "in > a log"), pip("b: in", "in > b log")],
            &["XL004 a log", "XL004 b log", "XL006 log log"],
        ),
        (
            "listed while others make files there",
            &[pip("d/x: in", "in > d/x"), pip("list: in", "in d/ > list")],
            &["XL017 list d"],
        ),
        (
            "declared and never read",
            &[pip("a.o: a.c b.c", "a.c > a.o"), pip("b.o: b.c", "b.c > b.o")],
            &["XL012 a.o b.c"],
        ),
        (
            "a stamp stands for what was made with it",
            &[pip("stamp x.h: in", "in > stamp x.h"), pip("a.o: a.c stamp", "a.c x.h > a.o")],
            &[],
        ),
        (
            "a list of symbols stands for the library",
            &[
                pip("l.so: l.c", "l.c > l.so"),
                pip("l.syms.h: l.so", "l.so > l.syms.h"),
                pip("a: a.c l.syms.h | l.so", "a.c l.so > a"),
            ],
            &[],
        ),
        ("a command of no step", &[pip(":", "whatever > x")], &[]),
    ];
    for (what, pips, want) in table {
        assert_eq!(shown(&found(pips, |_| {})), *want, "{what}");
    }
}

/// One of them that has failed is accused of nothing but of what makes its result doubtful.
#[test]
fn failed_pips() {
    let pips = [pip("a.o: a.c", "a.c a.h > a.o")];
    let all = found(&pips, |seen| {
        seen.pips[0].exit_code = 1;
        seen.pips[0].faults.push(Fault::Survivor);
    });
    assert_eq!(shown(&all), ["XL015 a.o "]);
}

/// What is said of a missing edge: who makes the file, how it was used, what to write, and a command that shows it.
#[test]
fn accusations_say_what_to_do() {
    let pips = [pip("gen.h: in", "in > gen.h"), pip("a.o: a.c", "a.c gen.h > a.o")];
    let all = found(&pips, |_| {});
    let v = &all[0];
    assert_eq!(v.message, "`a.o` reads `gen.h`, and nothing says that it is made first");
    assert_eq!(v.other.as_ref().map(|o| o.target.as_str()), Some("gen.h"));
    assert_eq!(v.evidence[0].what, "read");
    assert_eq!(v.fix.as_ref().map(|f| f.text.as_str()), Some("build a.o: … | gen.h"));
    assert!(v.reproduce.as_ref().is_some_and(|r| r.ends_with("rm -f gen.h a.o && ninja a.o")), "{v:?}");
    let hit = found(&pips, |seen| seen.pips[1].hit = true);
    assert_eq!(hit[0].evidence[0].what, "read, by the recorded run of this hit");
}

/// A change of such a script is a change of the tool: nobody declares it.
#[test]
fn scripts_of_the_build_system_are_only_noted() {
    let all = found(&[pip("a.lo: a.c", "a.c libtool > a.lo")], |_| {});
    assert_eq!((shown(&all), all[0].severity), (vec!["XL001 a.lo libtool".to_owned()], Severity::Note));
}

/// Of two that write at once nobody knows what each wrote: the last writer has written over it.
#[test]
fn two_writers_of_the_same_content() {
    let pips = [pip("a: in", "in > a log"), pip("b: in", "in > b log")];
    let severity = |contents: [&[u8]; 2], at_once: bool| {
        let all = found(&pips, |seen| {
            for (p, content) in seen.pips.iter_mut().zip(contents) {
                p.made.iter_mut().for_each(|m| m.digest = Some(cache::Digest::of(content)));
            }
            if at_once {
                seen.pips[0].end_ms = 1.2;
            }
        });
        all.iter().find(|v| v.code == crate::kinds::Kind::DoubleWrite).map(|v| v.severity)
    };
    assert_eq!(severity([b"1", b"1"], false), Some(Severity::Warning));
    assert_eq!(severity([b"1", b"2"], false), Some(Severity::Error));
    assert_eq!(severity([b"1", b"1"], true), Some(Severity::Error));
}

/// Nobody has a rule for `gen.h`: a fix that names it would break a fresh build.
#[test]
fn a_fix_names_what_can_be_made() {
    let fix = |maker: &'static str| {
        let all = found(&[pip(maker, "in > gen.c gen.h"), pip("a.o: a.c", "a.c gen.h > a.o")], |_| {});
        let edge = all.iter().find(|v| v.code == crate::kinds::Kind::MissingEdge);
        edge.and_then(|v| v.fix.as_ref()).map(|f| f.text.clone())
    };
    assert_eq!(fix("gen.c gen.h: in").as_deref(), Some("build a.o: … | gen.h"));
    assert_eq!(fix("gen.c: in").as_deref(), Some("build a.o: … | gen.c"));
}
