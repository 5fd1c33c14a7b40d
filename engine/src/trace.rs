//! `xl trace`: what a command accesses, without caching.

use cache::{FileStat, Kind, PathBytes};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Mutex;
use tracer::{Access, Escape, ExecTicket, ExitTicket, Flow, Op, Process, Scope, Supervisor};

/// Names by what was done to them; the first access decides whether a name counts as an input.
#[derive(Debug, Default, Serialize)]
pub struct Trace {
    pub read: BTreeSet<String>,
    pub probed: BTreeSet<String>,
    pub absent: BTreeSet<String>,
    pub listed: BTreeSet<String>,
    pub symlinks: BTreeSet<String>,
    /// Meant to be created or changed, and there when the command ended.
    pub written: BTreeSet<String>,
    /// Meant to be created, and gone when it ended.
    pub temporary: BTreeSet<String>,
    pub deleted: BTreeSet<String>,
    pub executed: Vec<Vec<String>>,
    pub escapes: BTreeSet<String>,
}

#[derive(Default)]
struct State {
    trace: Trace,
    first: std::collections::HashMap<PathBytes, (Option<FileStat>, bool)>,
}

/// Records every access of every process.
#[derive(Default)]
pub struct Tracer {
    state: Mutex<State>,
}

fn text(b: &[u8]) -> String {
    String::from_utf8_lossy(b).into_owned()
}

impl Tracer {
    /// What was recorded; call it when the command has ended.
    pub fn finish(&self) -> Trace {
        let mut s = self.state.lock().expect("trace");
        let first = std::mem::take(&mut s.first);
        let mut t = std::mem::take(&mut s.trace);
        for (path, (before, intent)) in first {
            if !intent {
                continue;
            }
            let now = FileStat::of(&path);
            let name = text(&path);
            match (before, now) {
                (None, None) => _ = t.temporary.insert(name),
                (Some(_), None) => _ = t.deleted.insert(name),
                (b, Some(n)) if b != Some(n) && n.kind != Kind::Directory => _ = t.written.insert(name),
                _ => {}
            }
        }
        t
    }

    fn record(&self, a: &Access) {
        let mut s = self.state.lock().expect("trace");
        let now = a.path.state.as_ref().map(FileStat::from_statx);
        let (first, intent) = s.first.entry(a.path.path.clone()).or_insert((now, false));
        let own = *intent && *first != now;
        *intent |= a.op.writes();
        let name = text(&a.path.path);
        let links: Vec<String> = a.path.links.iter().map(|l| text(l)).collect();
        let t = &mut s.trace;
        t.symlinks.extend(links);
        if own {
            return;
        }
        match (&a.op, now) {
            (Op::Create | Op::Remove | Op::OpenWrite { creates: true, .. }, None) => {}
            (_, None) => _ = t.absent.insert(name),
            (Op::List, _) => _ = t.listed.insert(name),
            (Op::Readlink, Some(n)) if n.kind == Kind::Symlink => _ = t.symlinks.insert(name),
            (Op::OpenRead { content: true } | Op::Exec | Op::LinkSource | Op::OpenWrite { keeps: true, .. }, Some(n)) if n.kind != Kind::Directory => {
                _ = t.read.insert(name);
            }
            (op, Some(_)) if !op.writes() => _ = t.probed.insert(name),
            _ => {}
        }
    }
}

impl Supervisor for Tracer {
    fn exec(&self, t: ExecTicket) {
        let r = &t.request;
        for path in std::iter::once(&r.program).chain(&r.interpreters) {
            self.record(&Access { op: Op::Exec, path: path.clone(), call: "execve" });
        }
        self.state.lock().expect("trace").trace.executed.push(r.argv.iter().map(|a| text(a)).collect());
        t.proceed();
    }

    fn access(&self, _: Scope, _: &Process, a: &Access) -> Flow {
        self.record(a);
        Flow::Go
    }

    fn fact(&self, _: Scope, _: tracer::access::Fact) {}

    fn escape(&self, _: Option<Scope>, e: Escape) {
        self.state.lock().expect("trace").trace.escapes.insert(e.to_string());
    }

    fn root_exit(&self, _: ExitTicket) {}
    fn root_killed(&self, _: Scope) {}
    fn exec_failed(&self, _: Scope) {}

    fn observes_reads(&self, _: Scope) -> bool {
        true
    }
}
