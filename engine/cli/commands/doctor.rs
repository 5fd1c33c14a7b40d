//! `xl doctor`: what works on this machine, found out by doing it, and which setting came from where.

use super::{open_cache, settings_with, sharing};
use crate::args::DoctorArgs;
use crate::messages::CommandError;
use crate::output::print;
use crate::self_test::{self, Failure, Proof};
use std::path::Path;

/// The lines of the report.
#[derive(Default)]
struct Report {
    bad: u32,
    /// Why nobody can read it.
    unread: Option<CommandError>,
    last: Option<Failure>,
}

impl Report {
    fn say(&mut self, mark: &str, what: &str, text: &str) {
        if self.unread.is_none() {
            self.unread = print(format!("{mark:<5} {what:<22} {text}\n")).err();
        }
    }

    fn ok(&mut self, what: &str, text: &str) {
        self.say("ok", what, text);
    }

    /// A `nicety` is nothing to be repaired.
    fn failed(&mut self, nicety: bool, what: &str, why: &[String]) {
        self.bad += u32::from(!nicety);
        let mut lines = why.iter();
        self.say(if nicety { "--" } else { "FAIL" }, what, lines.next().map_or("", String::as_str));
        lines.for_each(|l| self.say("", "", l));
    }

    fn trial(&mut self, nicety: bool, what: &str, r: &Result<Proof, Failure>) {
        match r {
            Err(f) if self.last.as_ref() == Some(f) => self.failed(nicety, what, &["the same".into()]),
            Ok(p) => {
                let took = p.took.as_secs_f64();
                let by = if what.contains(&p.backend) { String::new() } else { format!("takes {}: ", p.backend) };
                self.ok(
                    what,
                    &format!("{by}a tiny build ran, was known, and ran again with another input ({took:.2} s)"),
                );
            }
            Err(f) => {
                let mut why = f.why.clone();
                if let Some(first) = why.first_mut() {
                    *first = format!("{}: {first}", f.step);
                }
                self.failed(nicety, what, &why);
                self.last = Some(f.clone());
            }
        }
    }
}

pub(crate) fn run(a: &DoctorArgs) -> Result<i32, CommandError> {
    let (config, _) = settings_with(&a.common, a.remote.clone())?;
    let remote = sharing::settings(&config.sharing)?;
    let mut report = Report::default();
    let cache = open_cache(&config).map(|(c, notices)| {
        let access = format!("{} ({:?})", config.cache_dir.display(), c.store.access());
        c.store.close();
        [vec![access], notices].concat().join("; ")
    });
    let temporary = std::env::temp_dir();
    let near: &Path = if cache.is_ok() { &config.cache_dir } else { &temporary };
    if let Err(e) = tracer::prove() {
        let e = CommandError::from(tracer::SpawnError::from(e));
        let why = [
            e.causes,
            vec!["no backend can work without that".into()],
            e.hint.map(|h| format!("hint: {h}")).into_iter().collect(),
        ];
        report.failed(false, "backends", &why.concat());
    } else if super::run::is_supervised() {
        // Its own results would be those of the outer one.
        report.say("--", "backends", "this runs below another xl: nothing can be tried");
    } else {
        let auto = self_test::of("auto", near);
        report.trial(false, "`--backend auto`", &auto);
        for backend in ["seccomp", "ptrace", "ebpf"] {
            // What was tried just now is not tried again.
            if auto.as_ref().is_ok_and(|p| p.backend == backend) {
                continue;
            }
            // The others see what `ebpf` sees; it is the fastest.
            report.trial(backend == "ebpf", &format!("backend `{backend}`"), &self_test::of(backend, near));
        }
    }
    match cache {
        Ok(text) => report.ok("cache", &text),
        Err(e) => report.failed(false, "cache", &[e.to_string()]),
    }
    if let Some(s) = &remote {
        for step in remote::probe::probe(s) {
            match step.found {
                Ok(text) => report.ok(step.what, &text),
                Err(why) => report.failed(false, step.what, &[why]),
            }
        }
    }
    report.ok("kernel", &rustix::system::uname().release().to_string_lossy());
    report.ok("workspace root", &config.root.display().to_string());
    if let Some(e) = report.unread {
        return Err(e);
    }
    for (key, value, from) in &config.origins {
        print(format!("      {key} = {value}  (from {from})\n"))?;
    }
    Ok(i32::from(report.bad > 0))
}
