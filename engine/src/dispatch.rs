//! The tracer's calls: each exec of the build becomes driver, pip, hit or bypassed command; all else goes to whoever
//! runs the command.
//!
//! Receiving threads only classify. Fingerprints, lookups, restores, hashing and publication run on the tracer's
//! pool while the task stays blocked. A failure of the cache degrades to running the command, with one warning.

use crate::asked::{Asked, item};
use crate::event::Event;
use crate::judge::Attempt;
use crate::lookup::{self, Reason};
use crate::policy;
use crate::record::{Mode, Outcome};
use crate::run::Engine;
use crate::seen::Fault;
use crate::weak;
use cache::store::History;
use cache::{Digest, Entry, shown};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tracer::StdinUse;
use tracer::{Access, Escape, ExecTicket, ExitTicket, Flow, Op, Scope, Supervisor};
use worker::Command;
use worker::drivers;
use worker::evaluate::Now;
use worker::executor::{Bypassed, Held, Inside, Job, Keep, Role};

/// The engine as the tracer sees it.
pub struct Run(pub Arc<Engine>);

impl std::ops::Deref for Run {
    type Target = Arc<Engine>;

    fn deref(&self) -> &Arc<Engine> {
        &self.0
    }
}

impl Supervisor for Run {
    fn exec(&self, t: ExecTicket) {
        match self.local.role(t.request.scope) {
            Role::Pip => self.inside(t),
            Role::Bypassed => t.proceed(),
            Role::Driver if self.begun.swap(true, Ordering::AcqRel) => self.exec_by_driver(t),
            Role::Driver => match self.switches.mode {
                Mode::Build if !worker::tools::is_toolchain(&t.request.program.path) => {
                    self.note_launch(&t, true);
                    t.proceed();
                }
                // A compiler launches only parts of itself.
                Mode::Build | Mode::Single => {
                    let me = self.0.clone();
                    t.later(move |t| me.start(t));
                }
            },
        }
    }

    fn access(&self, scope: Scope, pid: i32, access: &Access) -> Flow {
        let role = self.local.role(scope);
        if let Some(why) = self.denied(role, access) {
            self.warn(format!("denied `{}`: {why}", shown(&access.path.path)));
            return Flow::Refuse;
        }
        let flow = self.local.access(scope, pid, access);
        // A pip may have become a driver just now; then nobody else says what becomes of this name.
        if access.op.writes() && (role == Role::Driver || self.local.role(scope) == Role::Driver) {
            self.forget_products(std::iter::once(&access.path.path));
        }
        flow
    }

    fn fact(&self, scope: Scope, pid: i32, fact: tracer::Fact) {
        self.local.fact(scope, pid, fact);
    }

    fn stdin(&self, scope: Scope, pid: i32, how: StdinUse, live: bool) {
        self.local.stdin(scope, pid, how, live);
    }

    fn forked(&self, scope: Scope, parent: i32, child: i32) {
        self.local.forked(scope, parent, child);
    }

    fn escape(&self, scope: Option<Scope>, escape: Escape) {
        if escape.kind == tracer::EscapeKind::Tracing {
            // Not only is it not cached: it does not work.
            self.warn(format!("a command of this build is disturbed: {escape}"));
        }
        self.local.escape(scope, &escape);
    }

    fn unseen(&self, scope: Option<Scope>, escape: Escape) {
        if scope.is_none_or(|s| self.local.role(s) == Role::Driver) {
            self.tell(&Event::Unseen { why: &escape.to_string() });
        }
        self.escape(scope, escape);
    }

    fn connects(&self, scope: Scope, escape: Escape) -> Flow {
        if let Some(launch) = self.local.launch(scope) {
            self.tell(&Event::Fault { launch, fault: &Fault::Network(escape.detail.clone()) });
        }
        let guard = self.guard().filter(|_| self.local.role(scope) != Role::Driver);
        let flow = match guard.and_then(|g| g.refuses(Attempt::Network(&escape.detail))) {
            Some(why) => {
                self.warn(format!("denied `{}`: {why}", escape.detail));
                Flow::Refuse
            }
            None => Flow::Go,
        };
        self.escape(Some(scope), escape);
        flow
    }

    fn root_exit(&self, t: ExitTicket) {
        self.local.root_exit(t);
    }

    fn root_killed(&self, scope: Scope) {
        self.local.killed(scope);
    }

    fn exec_failed(&self, scope: Scope) {
        self.forget_products(self.local.never_began(scope).iter());
    }

    fn observes_reads(&self, scope: Scope) -> bool {
        scope != Scope::DRIVER && self.local.role(scope) == Role::Pip
    }
}

impl Engine {
    /// Why a pip may not do this, by the user's rules. Looking whether a file is there is not forbidden.
    fn denied(&self, role: Role, access: &Access) -> Option<String> {
        let looks = matches!(access.op, Op::Stat | Op::MayWrite | Op::Attributes | Op::Readlink | Op::Chdir | Op::Exec);
        if role == Role::Driver || looks {
            return None;
        }
        let path = &access.path.path;
        let by_rule = self.config.deny.find(path).map(str::to_owned);
        by_rule.or_else(|| self.guard()?.refuses(Attempt::Access(&access.op, path)))
    }

    /// An exec inside a pip.
    fn inside(self: &Arc<Self>, t: ExecTicket) {
        match self.local.inside(t, &self.config.drivers, self.switches.mode == Mode::Build) {
            Inside::Goes(t) => t.proceed(),
            Inside::Tool(t) => {
                self.note_launch(&t, true);
                t.proceed();
            }
            Inside::Launched(t) => self.exec_by_driver(t),
        }
    }

    fn exec_by_driver(self: &Arc<Self>, t: ExecTicket) {
        let r = &t.request;
        let interpreter = r.image.map(|i| &*r.interpreters[i].path);
        if drivers::is_driver(&r.program.path, &r.argv, &self.config.drivers)
            || interpreter.is_some_and(drivers::is_make)
        {
            self.note_launch(&t, true);
            return t.enter(Scope::DRIVER, false);
        }
        let me = self.clone();
        t.later(move |t| me.start(t));
    }

    /// Tells who starts, if anybody wants to know; the result is the number of the launch.
    fn note_launch(&self, t: &ExecTicket, driver: bool) -> Option<usize> {
        if !self.switches.audit && self.guard().is_none() {
            return None;
        }
        let tell = |launch, what: &_| self.tell(&Event::Launched { launch, what });
        Some(self.launches.add(&t.request, driver, self.ms(Instant::now()), tell))
    }

    /// An exec by a driver: the start of a pip.
    fn start(self: &Arc<Self>, t: ExecTicket) {
        let key = weak::command_key(&t.request, self.key());
        let h = self.history(&key);
        let launch = self.note_launch(&t, h.driver);
        if h.driver {
            return t.proceed();
        }
        let started = Instant::now();
        // What is bypassed is not watched closely enough to deny it anything, or to tell what it looked at.
        let closely = !self.config.deny.is_empty() || self.guard().is_some() || self.switches.audit;
        if self.switches.mode == Mode::Build
            && !closely
            && policy::is_cheap(&h, &t.request.program.path, &t.request.argv)
        {
            return self.bypass(t, key, Reason::Cheap, started);
        }
        let rights = t.request.credentials().ok_or("its process cannot be looked into");
        let (descriptors, rights) = match t.request.descriptors().and_then(|d| Ok((d, rights?))) {
            Ok(both) => both,
            Err(why) => return self.bypass(t, key, Reason::Uncacheable { why: why.into() }, started),
        };
        let obstacle = self.local.obstacle(&t, &descriptors, &rights);
        let (command, unreadable) = Command::of(&t.request, &descriptors, &rights, obstacle.is_none());
        let obstacle = obstacle.or(unreadable);
        let asked = Asked {
            command: Arc::new(command),
            key,
            weak: None,
            facts: Vec::new(),
            reason: Reason::Disabled,
            expected: None,
            parent: t.request.process.parent(),
            launch,
            started,
        };
        self.answer(Held { ticket: t, descriptors }, asked, obstacle);
    }

    /// Serves what is known, or runs the command.
    fn answer(self: &Arc<Self>, held: Held, mut asked: Asked, obstacle: Option<String>) {
        let command = asked.command.clone();
        let world = self.world(&command.env, &command.cwd, &command.limits);
        let now = Now::new(&world);
        let weak = match obstacle {
            Some(why) => Err(why),
            None => weak::weak_fingerprints(&command, &now, self.key(), &self.meaning),
        };
        asked.reason = match (weak, &self.cache) {
            (Err(why), _) => Reason::Uncacheable { why },
            (Ok(w), Some(cache)) if self.switches.read => {
                let found = lookup::first(&w.all(), cache, &now);
                asked.weak = Some(w).filter(|_| found.is_ok());
                match found {
                    Ok(Ok(found)) if self.samples(&found.strong) => {
                        asked.expected = Some(found.entry);
                        Reason::Rechecked
                    }
                    Ok(Ok(found)) => return self.serve(held, found, asked),
                    Ok(Err(reason)) => reason,
                    Err(e) => {
                        self.warn(format!("a lookup failed, the command runs: {e}"));
                        Reason::Disabled
                    }
                }
            }
            (Ok(w), _) => {
                asked.weak = Some(w);
                Reason::Disabled
            }
        };
        asked.facts = self.facts(&command, &now);
        self.run(held, asked);
    }

    /// Is this hit one of those that `--recheck` really runs?
    fn samples(&self, strong: &Digest) -> bool {
        // A sample that differs from build to build, so that in time every result is tried.
        let mut f = cache::Fingerprint::new("sample");
        f.digest("strong", strong);
        f.number("build", self.opened);
        u64::from(f.finish().0[0]) * 100 < u64::from(self.switches.recheck) * 256
    }

    /// What the record keeps of the weak fingerprint, so that *why did it run* can be answered later on.
    fn facts(&self, command: &Command, now: &Now<'_>) -> Vec<(String, String)> {
        let all = weak::facts(command, now, self.key(), &self.meaning);
        all.into_iter().map(|(name, v)| (name, crate::explain::short(&v))).collect()
    }

    /// The command really runs.
    pub(crate) fn run(self: &Arc<Self>, held: Held, mut asked: Asked) {
        // A hit that could not be served: nobody has asked for them yet.
        if asked.facts.is_empty() {
            let world = self.world(&asked.command.env, &asked.command.cwd, &asked.command.limits);
            asked.facts = self.facts(&asked.command, &Now::new(&world));
        }
        let me = self.clone();
        let keep = match asked.reason {
            Reason::Uncacheable { .. } => Keep::Nothing,
            _ if !self.switches.write || asked.weak.is_none() => Keep::Nothing,
            _ if self.config.failures => Keep::Everything,
            _ => Keep::Success,
        };
        self.executor.submit(Job {
            command: asked.command.clone(),
            keep,
            // cargo runs a build script again as a whole or not at all, whatever it runs in turn.
            whole: held.ticket.request.process.parent_name().is_some_and(|n| n == b"cargo"),
            explain: self.switches.audit,
            launch: asked.launch,
            started: asked.started,
            held: Some(held),
            done: Box::new(move |what| me.ended(&asked, what)),
        });
    }

    /// Runs a command without lookup or capture; its writes are still seen.
    fn bypass(self: &Arc<Self>, t: ExecTicket, key: Digest, reason: Reason, started: Instant) {
        let me = self.clone();
        let (argv, env, cwd) = (t.request.argv.clone(), t.request.env.clone(), t.request.cwd.clone());
        self.local.bypass(t, started, move |b: Bypassed| {
            me.forget_products(b.wrote.iter());
            b.exit.release();
            let entry = Entry { exit_code: b.code, wall_us: b.wall_us, ..Entry::default() };
            let outcome = if reason == Reason::Cheap { Outcome::Bypassed } else { Outcome::Uncacheable };
            let mut item = item((&argv, &env, &cwd), outcome, me.ms(started), b.wall_us as f64 / 1e3, &entry);
            item.reason = Some(reason);
            me.tell(&Event::Done(&item));
            if b.wall_us > 4 * policy::CHEAP_US {
                // Dearer than it was: look at it again.
                me.put_history(&key, &History { cheap_runs: 0, ..me.history(&key) });
            }
        });
    }
}
