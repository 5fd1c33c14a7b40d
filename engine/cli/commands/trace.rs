//! `xl trace`: what a command reads, probes, lists and writes.

use super::launch;
use crate::args::TraceArgs;
use crate::exit_code;
use crate::messages::CommandError;
use crate::output::Document;
use engine::trace::{Trace, Tracer};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) fn run(a: &TraceArgs) -> Result<tracer::Exited, CommandError> {
    // As always, the report comes after what the command prints; asked for by its name, standard output is the report's
    // alone.
    let mut to = match &a.output {
        Some(path) => Document::at(path, true)?,
        None => Document::stdout(false)?,
    };
    let session = launch(&a.cmd, a.backend, Vec::new(), None, false, None)?;
    tracer::forward_signals(session.pid());
    let t = Arc::new(Tracer::new(engine::config::workspace_root(&super::here()?).as_os_str().as_encoded_bytes()));
    let (exited, stats) = session
        .run(t.clone())
        .map_err(|e| CommandError::new(exit_code::INTERNAL, "the supervisor could not start").cause(e.to_string()))?;
    let mut trace = t.finish();
    if stats.lost > 0 {
        trace
            .escapes
            .insert(format!("{} accesses came faster than they could be recorded, and are missing here", stats.lost));
    }
    if stats.unobserved {
        super::forget_ebpf();
    }
    let out = if a.json { serde_json::to_string_pretty(&trace).unwrap_or_default() + "\n" } else { plain(&trace) };
    to.write(out)?;
    Ok(exited)
}

fn plain(t: &Trace) -> String {
    let mut s = String::new();
    let mut section = |title: &str, names: &BTreeSet<String>| {
        for n in names {
            s.push_str(&format!("{title:<10} {n}\n"));
        }
    };
    section("read", &t.read);
    section("probed", &t.probed);
    section("absent", &t.absent);
    section("listed", &t.listed);
    section("symlink", &t.symlinks);
    section("fact", &t.facts);
    section("output", &t.outputs);
    section("temporary", &t.temps);
    section("deleted", &t.deleted);
    section("escape", &t.escapes);
    t.problems.iter().for_each(|p| s.push_str(&format!("{:<10} {p}\n", "uncached")));
    s
}
