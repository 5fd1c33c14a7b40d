//! The engine without processes: an executor that follows a script, a cache in a temporary directory.

use crate::asked::Asked;
use crate::config::{Config, Overrides};
use crate::event::{Event, Sink};
use crate::lookup::{self, Found, Reason};
use crate::record::{Item, Mode, Outcome};
use crate::run::{Engine, Switches};
use crate::weak;
use cache::{CacheHandle, Observation};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use worker::Command;
use worker::Finished;
use worker::evaluate::Now;
use worker::executor::{Ended, Executor, Job, Keep};
use worker::look::Look;
use worker::testing::{Script, command, finished};

/// Hears what commands came to.
#[derive(Default)]
struct Heard(Mutex<Vec<Item>>);

impl Sink for Heard {
    fn on(&self, event: &Event<'_>) {
        if let Event::Done(item) = event {
            self.0.lock().unwrap().push((*item).clone());
        }
    }
}

/// A workspace with one input, `in`, of a command that reads it.
struct Bench {
    dir: tempfile::TempDir,
    engine: Arc<Engine>,
    heard: Arc<Heard>,
}

impl Bench {
    fn new(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("w");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("xl.toml"), settings).unwrap();
        std::fs::write(root.join("in"), "1").unwrap();
        let home = dir.path().join("home");
        let config =
            Config::load(&root, &Overrides::default(), |v| (v == "HOME").then(|| home.clone().into())).unwrap();
        let (cache, _) = CacheHandle::open(&config.cache_dir).unwrap();
        let heard = Arc::new(Heard::default());
        let switches = Switches {
            mode: Mode::Build,
            backend: tracer::Backend::Seccomp,
            read: true,
            write: true,
            recheck: 0,
            local_jobs: None,
            audit: false,
            sinks: vec![heard.clone()],
            judge: None,
            inherited: Vec::new(),
            really: None,
        };
        Self { dir, engine: Arc::new(Engine::new(config, switches, Some(cache))), heard }
    }

    fn input(&self) -> std::path::PathBuf {
        self.dir.path().join("w/in")
    }

    fn command(&self) -> Command {
        let program = Path::new("/bin/true").canonicalize().unwrap();
        Command { interpreters: Vec::new(), ..command(program.to_str().unwrap(), "true") }
    }

    /// What the command depends on, with its value now.
    fn observed(&self) -> Finished {
        let command = self.command();
        let world = self.engine.world(&command.env, &command.cwd, &command.limits);
        let o = Observation::FileContent(self.input().as_os_str().as_encoded_bytes().into());
        let v = Now::new(&world as &dyn Look).evaluate(&o).unwrap();
        finished(vec![(o, v)])
    }

    fn asked(&self, reason: Reason) -> Asked {
        let command = self.command();
        let world = self.engine.world(&command.env, &command.cwd, &command.limits);
        let weak = weak::weak_fingerprints(&command, &Now::new(&world), self.engine.key(), &self.engine.meaning);
        Asked {
            command: Arc::new(command.clone()),
            key: cache::Digest([5; 32]),
            weak: Some(weak.unwrap()),
            facts: Vec::new(),
            reason,
            expected: None,
            parent: None,
            launch: None,
            started: Instant::now(),
        }
    }

    fn look(&self) -> Result<Found, Reason> {
        let (asked, cache) = (self.asked(Reason::NoWeakMatch), self.engine.cache.as_ref().unwrap());
        let world = self.engine.world(&asked.command.env, &asked.command.cwd, &asked.command.limits);
        let weak = asked.weak.as_ref().unwrap().all();
        lookup::first(&weak, cache, &Now::new(&world)).unwrap()
    }

    /// Runs it by a script; what the record says of that.
    fn run(&self, asked: Asked, act: impl Fn() -> Option<(i32, Finished)> + Send + Sync + 'static) -> Item {
        let script = Script::new(move |_| act());
        let me = self.engine.clone();
        script.submit(Job {
            command: asked.command.clone(),
            held: None,
            keep: if self.engine.config.failures { Keep::Everything } else { Keep::Success },
            whole: false,
            explain: false,
            launch: None,
            started: asked.started,
            done: Box::new(move |what| me.ended(&asked, what)),
        });
        assert_eq!(script.ran.lock().unwrap().len(), 1);
        self.heard.0.lock().unwrap().pop().expect("its line")
    }
}

#[test]
fn what_ran_hits_until_its_input_changes() {
    let b = Bench::new("");
    assert_eq!(b.look().map(|_| ()), Err(Reason::NoWeakMatch));
    let done = b.observed();
    let item = b.run(b.asked(Reason::NoWeakMatch), move || Some((0, finished(done.observations.clone()))));
    assert_eq!((item.outcome, item.not_stored.as_deref()), (Outcome::Miss, None));
    let found = b.look().unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(item.result, Some([found.strong.hex(), found.path_set.hex()]));
    let weak = b.asked(Reason::NoWeakMatch).weak.unwrap().all();
    assert!(weak.iter().any(|w| Some(w.hex()) == item.weak));
    std::fs::write(b.input(), "2").unwrap();
    assert!(matches!(b.look(), Err(Reason::Changed { what, .. }) if what.contains("in")));
    std::fs::write(b.input(), "1").unwrap();
    assert!(b.look().is_ok());
    let record = b.engine.close(vec!["make".into()], "/w".into(), 0, 0);
    assert!(record.warnings.is_empty(), "{:?}", record.warnings);
}

#[test]
fn what_is_doubtful_is_not_stored() {
    let b = Bench::new("");
    let doubtful = |b: &Bench, problem: &str| {
        let (observations, problem) = (b.observed().observations, problem.to_owned());
        move || {
            let mut done = finished(observations.clone());
            done.problems.push(problem.clone());
            Some((0, done))
        }
    };
    let item = b.run(b.asked(Reason::NoWeakMatch), doubtful(&b, "it uses a socket"));
    assert_eq!((item.outcome, item.not_stored.as_deref()), (Outcome::Uncacheable, Some("it uses a socket")));
    // What was known before it ran comes first.
    let item = b.run(b.asked(Reason::Uncacheable { why: "by rule".into() }), doubtful(&b, "it uses a socket"));
    assert_eq!((item.outcome, item.not_stored.as_deref()), (Outcome::Uncacheable, Some("by rule")));
    assert_eq!(b.look().map(|_| ()), Err(Reason::NoWeakMatch));
}

#[test]
fn failures_are_kept_only_if_that_is_wanted() {
    for (settings, kept) in [("", false), ("[cache]\nfailures = true\n", true)] {
        let b = Bench::new(settings);
        let observations = b.observed().observations;
        let item = b.run(b.asked(Reason::NoWeakMatch), move || Some((3, finished(observations.clone()))));
        assert_eq!(item.exit_code, 3);
        assert_eq!(item.outcome, if kept { Outcome::Miss } else { Outcome::Failed }, "{item:?}");
        assert_eq!(b.look().map(|f| f.entry.exit_code).ok(), kept.then_some(3));
    }
}

#[test]
fn what_was_killed_leaves_nothing() {
    let b = Bench::new("");
    let item = b.run(b.asked(Reason::NoWeakMatch), || None);
    assert_eq!((item.outcome, item.exit_code), (Outcome::Failed, 128));
    assert!(b.look().is_err());
}

#[test]
fn what_launches_pips_is_remembered_as_a_driver() {
    let b = Bench::new("");
    let asked = b.asked(Reason::NoWeakMatch);
    b.engine.ended(&asked, Ended::Driver { wrote: Vec::new() });
    assert!(b.engine.history(&asked.key).driver && b.heard.0.lock().unwrap().is_empty());
}

#[test]
fn a_recheck_compares() {
    let b = Bench::new("");
    let again = |b: &Bench, code: i32| {
        let observations = b.observed().observations;
        let mut asked = b.asked(Reason::Rechecked);
        asked.expected = Some(cache::Entry { exit_code: 0, ..Default::default() });
        b.run(asked, move || Some((code, finished(observations.clone()))))
    };
    again(&b, 0);
    again(&b, 1);
    let r = b.engine.close(Vec::new(), String::new(), 0, 0).rechecks;
    // A failure is not stored, and so is not compared.
    assert_eq!((r.same, r.unknown, r.different.len()), (1, 1, 0));
}
