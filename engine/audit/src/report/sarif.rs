//! SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format"): what code hosts show beside the lines of build
//! files.

use super::Report;
use crate::finding::Violation;
use crate::kinds::{KINDS, Severity};
use serde_json::{Value, json};

/// The report as a SARIF log.
pub fn sarif(r: &Report) -> Value {
    let rules: Vec<Value> = KINDS
        .iter()
        .map(|a| {
            json!({
                "id": a.code,
                "name": pascal(a.name),
                "shortDescription": {"text": a.name.replace('-', " ")},
                "fullDescription": {"text": a.why},
                "defaultConfiguration": {"level": level(a.severity)},
            })
        })
        .collect();
    let gaps: Vec<Value> =
        r.findings.gaps.iter().map(|g| json!({"level": "warning", "message": {"text": g}})).collect();
    let results: Vec<Value> = r.findings.violations.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "xl", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "originalUriBaseIds": {"ROOT": {"uri": format!("file://{}/", uri(&r.root))}},
            "invocations": [{
                "executionSuccessful": true,
                "commandLine": r.command.join(" "),
                "exitCode": r.exit_code,
                "toolExecutionNotifications": gaps,
            }],
            "results": results,
        }],
    })
}

fn result(v: &Violation) -> Value {
    let (file, line) = match v.pip.declared_at.rsplit_once(':') {
        Some((f, l)) if l.parse::<u32>().is_ok() => (f, l.parse().unwrap_or(1)),
        _ if v.pip.declared_at.is_empty() => (v.file.as_str(), 1u32),
        _ => (v.pip.declared_at.as_str(), 1),
    };
    let add = v.fix.as_ref().map(|f| format!(". Add: {}", f.text)).unwrap_or_default();
    let mut out = json!({
        "ruleId": v.code.about().code,
        "ruleIndex": v.code as usize,
        "level": level(v.severity),
        "message": {"text": format!("{}: {}{add}", v.message, v.why)},
        "partialFingerprints": {"xl/v1": format!("{}:{}:{}", v.code.about().code, v.target, v.file)},
        "properties": {"target": v.target, "file": v.file, "command": v.pip.command},
    });
    if !file.is_empty() {
        let place = if file.starts_with('/') {
            json!({"uri": format!("file://{}", uri(file))})
        } else {
            json!({"uri": uri(file), "uriBaseId": "ROOT"})
        };
        out["locations"] =
            json!([{"physicalLocation": {"artifactLocation": place, "region": {"startLine": line.max(1)}}}]);
    }
    if let Some(why) = &v.allowed {
        out["suppressions"] = json!([{"kind": "external", "justification": why}]);
    }
    out
}

fn level(s: Severity) -> &'static str {
    match s {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
        Severity::Off => "none",
    }
}

fn pascal(name: &str) -> String {
    name.split('-').map(|w| w[..1].to_uppercase() + &w[1..]).collect()
}

/// A path with everything escaped that has a meaning in a URI (RFC 3986).
fn uri(path: &str) -> String {
    let plain =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'/' | b'+' | b'=' | b',');
    path.bytes().map(|b| if plain(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
