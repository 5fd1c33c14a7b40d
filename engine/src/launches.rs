//! Numbers the launches of a run, and finds out who launched whom.
//!
//! A launch is a command that a build tool starts, or a build tool. Who launched it is told from the processes around
//! it, through those that launched nothing themselves (a shell between two makes). Numbers of processes are used
//! again, so a process is known by its number and the time at which it started.

use crate::event::Launch;
use crate::redact::{one_line, redact};
use rustc_hash::FxHashMap;
use std::sync::{Arc, Mutex};
use tracer::ExecRequest;

#[derive(Default)]
struct Known {
    next: usize,
    /// The newest launch of a process, with the time at which the process started.
    newest: FxHashMap<i32, (usize, u64)>,
}

/// The launches so far; shared by the threads of a run.
#[derive(Default)]
pub(crate) struct Launches(Mutex<Known>);

impl Launches {
    /// Numbers a launch that is about to start, and hands it to `tell` before the next one gets its number.
    pub(crate) fn add(
        &self,
        r: &ExecRequest,
        driver: bool,
        start_ms: f64,
        tell: impl FnOnce(usize, &Arc<Launch>),
    ) -> usize {
        let (pid, start) = (r.process.pid, r.process.start);
        let mut ancestors: Vec<(i32, u64)> = Vec::new();
        let mut ancestor = r.process.parent();
        while let Some(p) = ancestor.filter(|p| *p > 1) {
            let Some((start, parent)) = tracer::started(p) else { break };
            ancestors.push((p, start));
            ancestor = Some(parent);
        }
        let mut known = self.0.lock().expect("launches");
        // A process that becomes another program was launched by what it was before.
        let mut parent = known.newest.get(&pid).filter(|(_, s)| *s == start).map(|(l, _)| *l);
        let again = parent.is_some();
        parent = parent.or_else(|| {
            ancestors.iter().find_map(|(p, start)| known.newest.get(p).filter(|(_, s)| s == start).map(|(l, _)| *l))
        });
        let number = known.next;
        known.next += 1;
        known.newest.insert(pid, (number, start));
        let launch = Launch {
            parent,
            program: r.program.path.clone(),
            argv: r.argv.clone(),
            shown: one_line(&redact(&r.argv, &r.env)),
            cwd: r.cwd.clone(),
            env: if driver { r.env.clone() } else { Vec::new() },
            driver,
            again,
            start_ms,
        };
        tell(number, &Arc::new(launch));
        number
    }
}
