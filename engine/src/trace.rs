//! `xl trace`: what a command accesses, without caching.

use cache::{FileStat, Kind, PathBytes};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tracer::{Access, Escape, ExecTicket, ExitTicket, Flow, Made, Op, Scope, Supervisor};

/// Names by what was done to them. A name may be in several sets; whether its first access was a look or a change
/// decides if it is an input.
#[derive(Debug, Default, Serialize)]
pub struct Trace {
    /// Opened for reading, or executed.
    pub read: BTreeSet<String>,
    /// Read or probed before the command changed it.
    pub inputs: BTreeSet<String>,
    /// Looked at, never read.
    pub probed: BTreeSet<String>,
    /// Looked for, and not there.
    pub absent: BTreeSet<String>,
    pub listed: BTreeSet<String>,
    /// Links that were read or crossed.
    pub symlinks: BTreeSet<String>,
    /// Created or changed: outputs and temporaries.
    pub written: BTreeSet<String>,
    /// Created or changed, and there at the end.
    pub outputs: BTreeSet<String>,
    /// Created, and gone at the end.
    pub temps: BTreeSet<String>,
    pub deleted: BTreeSet<String>,
    /// Directories that were made, and are there at the end.
    pub directories: BTreeSet<String>,
    /// Its words, without secrets.
    pub executed: Vec<Vec<String>>,
    /// What observation cannot describe.
    pub escapes: BTreeSet<String>,
}

struct First {
    state: Option<FileStat>,
    looked: bool,
    intent: bool,
    made_dir: bool,
}

#[derive(Default)]
struct State {
    trace: Trace,
    first: std::collections::HashMap<PathBytes, First>,
}

/// Records every access of every process.
#[derive(Default)]
pub struct Tracer {
    state: Mutex<State>,
    entered: AtomicBool,
}

fn text(b: &[u8]) -> String {
    String::from_utf8_lossy(b).into_owned()
}

/// A path for people: what follows a missing component may still hold `..`.
fn tidy(path: &[u8]) -> String {
    let mut out: Vec<&[u8]> = Vec::new();
    for c in path.split(|b| *b == b'/').filter(|c| !matches!(*c, b"" | b".")) {
        if c == b".." {
            out.pop();
        } else {
            out.push(c);
        }
    }
    format!("/{}", text(&out.join(&b'/')))
}

impl Tracer {
    /// What was recorded; call it when the command has ended.
    pub fn finish(&self) -> Trace {
        let mut s = self.state.lock().expect("trace");
        let first = std::mem::take(&mut s.first);
        let mut t = std::mem::take(&mut s.trace);
        for (path, f) in first {
            let now = FileStat::of(&path);
            let name = text(&path);
            if f.looked && f.state.is_some_and(|s| !s.is_dir()) {
                t.inputs.insert(name.clone());
            }
            if !f.intent {
                continue;
            }
            match (f.state, now) {
                (None, None) if !f.made_dir => {
                    t.temps.insert(name.clone());
                    t.written.insert(name);
                }
                (None, None) => {}
                (None, Some(n)) if n.kind == Kind::Directory => _ = t.directories.insert(name),
                (Some(_), None) => _ = t.deleted.insert(name),
                (b, Some(n)) if b != Some(n) && n.kind != Kind::Directory => {
                    t.outputs.insert(name.clone());
                    t.written.insert(name);
                }
                _ => {}
            }
        }
        let read = std::mem::take(&mut t.read);
        t.probed.retain(|p| !read.contains(p) && !t.written.contains(p));
        t.read = read;
        t
    }

    fn record(&self, a: &Access) {
        let mut s = self.state.lock().expect("trace");
        let now = a.path.state.as_ref().map(FileStat::from_statx);
        let looks = !a.op.writes() || matches!(a.op, Op::OpenWrite { keeps: true, exclusive: false, .. });
        let new = !s.first.contains_key(&a.path.path);
        let f = s.first.entry(a.path.path.clone()).or_insert(First {
            state: now,
            looked: looks,
            intent: false,
            made_dir: false,
        });
        let made = f.intent;
        f.intent |= a.op.writes();
        f.made_dir |= matches!(a.op, Op::Create { how: Made::Directory, .. });
        let t = &mut s.trace;
        t.symlinks.extend(a.path.links.iter().map(|c| text(&c.link)));
        let name = text(&a.path.path);
        match (&a.op, now) {
            (Op::Create { .. } | Op::OpenWrite { creates: true, .. }, None) => {}
            (Op::Remove { .. }, None) if !new => {}
            (_, None) if !made => _ = t.absent.insert(tidy(&a.path.path)),
            (_, None) => {}
            (Op::List, _) => _ = t.listed.insert(name),
            (Op::Readlink, Some(n)) if n.kind == Kind::Symlink => _ = t.symlinks.insert(name),
            // What moves is the file, not what is in it.
            (Op::RenameSource, Some(n)) if n.kind != Kind::Directory => {}
            (
                Op::OpenRead { content: true }
                | Op::Exec
                | Op::LinkSource
                | Op::OpenWrite { keeps: true, exclusive: false, .. },
                Some(n),
            ) if n.kind != Kind::Directory => {
                if made && a.op == Op::LinkSource {
                    return;
                }
                t.read.insert(name);
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
            self.record(&Access { op: Op::Exec, path: path.clone(), call: "execve", late: None });
        }
        self.state.lock().expect("trace").trace.executed.push(crate::redact::redact(&r.argv, &r.env));
        if self.entered.swap(true, Ordering::AcqRel) {
            t.proceed();
        } else {
            // From the first program on.
            t.enter(Scope::DRIVER, false);
        }
    }

    fn access(&self, _: Scope, _: i32, a: &Access) -> Flow {
        self.record(a);
        Flow::Go
    }

    fn fact(&self, _: Scope, _: i32, _: tracer::Fact) {}

    fn forked(&self, _: Scope, _: i32, _: i32) {}

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
