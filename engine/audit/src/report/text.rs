//! The report for a terminal: one block for what is one edit or one rule, worst first, then counts.

use super::Report;
use crate::finding::{Findings, Violation};
use crate::kinds::{KINDS, Kind, Severity};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// So many lines of a list are shown.
const FILES: usize = 12;

/// The report: what is at least as bad as `least`, each under its number in the whole.
pub fn text(r: &Report, least: Severity) -> String {
    let mut out = String::new();
    let numbered = r.findings.violations.iter().enumerate().map(|(i, v)| (i + 1, v));
    let shown: Vec<Numbered<'_>> = numbered.filter(|(_, v)| v.severity >= least && v.allowed.is_none()).collect();
    blocks(&shown).iter().for_each(|b| block(&mut out, b));
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

/// What is said together, worst first, and of what is equally bad, what there is most of. Files that the same targets
/// miss are one block, and so are targets of one rule that each miss files of their own.
fn blocks<'a>(all: &[Numbered<'a>]) -> Vec<Vec<Numbered<'a>>> {
    type Key<'a> = (Severity, Kind, Option<&'a str>);
    let key = |v: &'a Violation| (v.severity, v.code, v.other.as_ref().map(|o| o.target.as_str()));
    let mut targets: BTreeMap<(Key<'a>, &str), BTreeSet<&str>> = BTreeMap::new();
    for (_, v) in all {
        targets.entry((key(v), &v.file)).or_default().insert(&v.target);
    }
    let mut groups: BTreeMap<(Key<'a>, &BTreeSet<&str>), Vec<Numbered<'a>>> = BTreeMap::new();
    for (n, v) in all {
        groups.entry((key(v), &targets[&(key(v), &*v.file)])).or_default().push((*n, v));
    }
    // Several targets of their own are a block if a place says that they have one rule.
    let mut by_rule: BTreeMap<(Key<'a>, Result<&str, usize>), Vec<Numbered<'a>>> = BTreeMap::new();
    for ((key, names), group) in groups {
        let (n, v) = group[0];
        let rule = Some(&*v.pip.declared_at).filter(|at| names.len() == 1 && !at.is_empty()).ok_or(n);
        by_rule.entry((key, rule)).or_default().extend(group);
    }
    let mut out: Vec<_> = by_rule.into_values().collect();
    out.iter_mut().for_each(|b| b.sort_by_key(|(n, _)| *n));
    out.sort_by_key(|b| (Reverse(b[0].1.severity), b[0].1.code, Reverse(b.len()), b[0].0));
    out
}

fn block(out: &mut String, all: &[Numbered<'_>]) {
    let (n, v) = all[0];
    let names = |of: fn(&Violation) -> &str| all.iter().map(|(_, v)| of(v)).collect::<BTreeSet<_>>().len();
    let (targets, files) = (names(|v| &v.target), names(|v| &v.file));
    let (word, code) = (word(v.severity), v.code.about().code);
    let _ = match (all, targets, files) {
        ([_], ..) => writeln!(out, "{word}[{code} {}] #{n}: {}", v.name, v.message),
        (_, 1, _) => writeln!(out, "{word}[{code} {}]: `{}`: {files} files", v.name, v.target),
        (_, _, 1) => writeln!(out, "{word}[{code} {}]: `{}`: {targets} targets", v.name, v.file),
        _ => writeln!(out, "{word}[{code} {}]: {files} files, {targets} targets", v.name),
    };
    for (n, v) in all.iter().take(FILES).filter(|_| all.len() > 1) {
        let _ = match (targets, files) {
            (1, _) => writeln!(out, "      #{n} {}", v.file),
            (_, 1) => writeln!(out, "      #{n} {}", v.target),
            _ => writeln!(out, "      #{n} {} ← {}", v.target, v.file),
        };
    }
    if all.len() > FILES {
        let _ = writeln!(out, "      … and {} more (--format json has them all)", all.len() - FILES);
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
    let fixes = fixes(all);
    for (text, place) in fixes.iter().take(FILES) {
        let at = if place.is_empty() { String::new() } else { format!("  ({place})") };
        let _ = writeln!(out, "   fix: {text}{at}");
    }
    if fixes.len() > FILES {
        let _ = writeln!(out, "        … and {} more", fixes.len() - FILES);
    }
    if let Some(r) = &v.reproduce {
        let _ = writeln!(out, "  show: {r}   (or: xl audit --prove {n})");
    }
    out.push('\n');
}

/// The edits of a block, each once. A makefile may name several targets in one line.
fn fixes<'a>(all: &[Numbered<'a>]) -> Vec<(String, &'a str)> {
    let mut out: Vec<(Vec<&str>, &str, &str)> = Vec::new();
    for f in all.iter().filter_map(|(_, v)| v.fix.as_ref()) {
        let (target, rest) = match f.text.split_once(": ") {
            Some((target, rest)) if !target.contains(' ') => (Some(target), rest),
            _ => (None, f.text.as_str()),
        };
        match out.iter_mut().find(|(t, r, p)| (t.is_empty(), *r, *p) == (target.is_none(), rest, &*f.place)) {
            Some((targets, ..)) => targets.extend(target.filter(|t| !targets.contains(t))),
            None => out.push((target.into_iter().collect(), rest, &f.place)),
        }
    }
    let line = |t: &[&str], rest: &str| if t.is_empty() { rest.to_owned() } else { format!("{}: {rest}", t.join(" ")) };
    out.into_iter().map(|(t, rest, place)| (line(&t, rest), place)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Fix, PipRef};

    fn missing(target: &str, file: &str, at: &str) -> Violation {
        let about = Kind::UndeclaredInput.about();
        let pip = PipRef {
            id: 1,
            command: "cc".into(),
            cwd: "/w".into(),
            target: target.into(),
            declared_at: at.into(),
            tool_dir: String::new(),
            tool: Vec::new(),
        };
        Violation {
            code: about.kind,
            name: about.name.into(),
            severity: about.severity,
            message: "said".into(),
            why: about.why.into(),
            target: target.into(),
            file: file.into(),
            pip,
            other: None,
            evidence: Vec::new(),
            fix: Some(Fix::by_hand(at, format!("{target}: {file}"))),
            reproduce: None,
            control: None,
            allowed: None,
        }
    }

    fn heads(all: &[Violation]) -> Vec<String> {
        let numbered: Vec<Numbered<'_>> = all.iter().enumerate().map(|(i, v)| (i + 1, v)).collect();
        let mut out = String::new();
        blocks(&numbered).iter().for_each(|b| block(&mut out, b));
        let said = |l: &&str| l.starts_with("error") || l.starts_with("   fix");
        out.lines().filter(said).map(|l| l.trim().replace("[XL001 undeclared-input]", "")).collect()
    }

    #[test]
    fn what_is_said_together() {
        // One header that many targets of many rules miss, and what one of them misses besides.
        let mut all: Vec<Violation> = (0..3).map(|i| missing(&format!("o{i}"), "a.h", &format!("m:{i}"))).collect();
        all.push(missing("o1", "b.h", "m:1"));
        assert_eq!(
            heads(&all),
            [
                "error: `a.h`: 3 targets",
                "fix: o0: a.h  (m:0)",
                "fix: o1: a.h  (m:1)",
                "fix: o2: a.h  (m:2)",
                "error #4: said",
                "fix: o1: b.h  (m:1)"
            ]
        );
        // One rule: one line repairs all of its targets. Files of their own are one block too.
        let one: Vec<Violation> = (0..3).map(|i| missing(&format!("o{i}"), "a.h", "m:1")).collect();
        assert_eq!(heads(&one), ["error: `a.h`: 3 targets", "fix: o0 o1 o2: a.h  (m:1)"]);
        let own: Vec<Violation> = (0..2).map(|i| missing(&format!("o{i}"), &format!("h{i}"), "m:1")).collect();
        assert_eq!(heads(&own), ["error: 2 files, 2 targets", "fix: o0: h0  (m:1)", "fix: o1: h1  (m:1)"]);
        // One target.
        let files: Vec<Violation> = ["a.h", "b.h"].iter().map(|f| missing("o", f, "")).collect();
        assert_eq!(heads(&files), ["error: `o`: 2 files", "fix: o: a.h", "fix: o: b.h"]);
        // Without a place nobody knows that it is one rule.
        let apart: Vec<Violation> = (0..2).map(|i| missing(&format!("o{i}"), &format!("h{i}"), "")).collect();
        assert_eq!(heads(&apart).len(), 4);
    }
}
