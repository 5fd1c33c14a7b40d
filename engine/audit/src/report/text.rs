//! The report for a terminal: one block a target, worst first, then counts.

use super::Report;
use crate::finding::{Findings, Violation};
use crate::kinds::{KINDS, Severity};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Violations of one kind and target with the same other pip are shown together, so many files of them.
const FILES: usize = 12;

/// The report: what is at least as bad as `least`, each under its number in the whole.
pub fn text(r: &Report, least: Severity) -> String {
    let mut out = String::new();
    let numbered = r.findings.violations.iter().enumerate().map(|(i, v)| (i + 1, v));
    let mut groups: BTreeMap<_, Vec<Numbered<'_>>> = BTreeMap::new();
    for (n, v) in numbered.filter(|(_, v)| v.severity >= least && v.allowed.is_none()) {
        groups
            .entry((std::cmp::Reverse(v.severity), v.code, v.target.as_str(), v.other.as_ref().map(|o| o.id)))
            .or_default()
            .push((n, v));
    }
    for ((severity, code, target, _), all) in &groups {
        group(&mut out, severity.0, code.about().code, target, all);
    }
    counts(&mut out, r);
    for g in &r.findings.gaps {
        let _ = writeln!(out, "not compared: {g}");
    }
    for u in &r.unused {
        let _ = writeln!(out, "unused: {u}");
    }
    out
}

/// A violation with its number in the report.
type Numbered<'a> = (usize, &'a Violation);

fn group(out: &mut String, severity: Severity, code: &str, target: &str, all: &[Numbered<'_>]) {
    let v = all[0].1;
    let _ = match all {
        [(n, one)] => writeln!(out, "{}[{code} {}] #{n}: {}", word(severity), v.name, one.message),
        _ => writeln!(out, "{}[{code} {}]: `{target}`: {} files", word(severity), v.name, all.len()),
    };
    if all.len() > 1 {
        for (n, v) in all.iter().take(FILES) {
            let _ = writeln!(out, "      #{n} {}", v.file);
        }
        if all.len() > FILES {
            let _ = writeln!(out, "      … and {} more (--format json has them all)", all.len() - FILES);
        }
    }
    if !v.pip.declared_at.is_empty() {
        let _ = writeln!(out, "   --> {}", v.pip.declared_at);
    }
    let _ = writeln!(out, "    by: {}", cut(&v.pip.command));
    if let Some(o) = &v.other {
        let _ = writeln!(out, "   and: {}", cut(&o.command));
    }
    if let Some(p) = v.evidence.first()
        && let (Some(process), Some(call)) = (&p.process, &p.call)
    {
        let _ = writeln!(out, "  seen: {} by {process}, {call}", p.what);
    }
    let _ = writeln!(out, "   why: {}", v.why);
    for (_, v) in all.iter().take(FILES) {
        if let Some(f) = &v.fix {
            let at = if f.place.is_empty() { String::new() } else { format!("  ({})", f.place) };
            let _ = writeln!(out, "   fix: {}{at}", f.text);
        }
    }
    if let Some(r) = &v.reproduce {
        let _ = writeln!(out, "  show: {r}   (or: xl audit --prove {})", all[0].0);
    }
    out.push('\n');
}

fn counts(out: &mut String, r: &Report) {
    let f = &r.findings;
    let mut kinds: Vec<String> = Vec::new();
    for a in KINDS {
        let n = f.violations.iter().filter(|v| v.code == a.kind && v.allowed.is_none()).count();
        if n > 0 {
            kinds.push(format!("{n} {} ({})", a.name, a.code));
        }
    }
    let allowed = f.violations.iter().filter(|v| v.allowed.is_some()).count();
    let allowed = if allowed > 0 { format!(", {allowed} allowed") } else { String::new() };
    let _ = writeln!(
        out,
        "{}, {}, {}{allowed} · {} of {} commands compared with what is declared · {} ms",
        several(f, Severity::Error),
        several(f, Severity::Warning),
        several(f, Severity::Note),
        f.compared,
        f.compared + f.undeclared,
        r.audit_ms
    );
    if !kinds.is_empty() {
        let _ = writeln!(out, "{}", kinds.join(", "));
    }
}

fn several(f: &Findings, s: Severity) -> String {
    let n = f.count(s);
    format!("{n} {}{}", word(s), if n == 1 { "" } else { "s" })
}

fn word(s: Severity) -> &'static str {
    match s {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
        Severity::Off => "off",
    }
}

fn cut(command: &str) -> String {
    if command.chars().count() <= 160 { command.to_owned() } else { command.chars().take(159).chain(['…']).collect() }
}
