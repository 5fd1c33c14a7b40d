//! Writes repairs as a person writes them for meson: the keyword for the call that declares the target, with the file
//! and the line, as `meson-info` and the text of the file tell them.

use crate::declared::{Declarations, StepId};
use crate::finding::Fix;
use crate::paths::{below, os_path, parent};
use cache::shown as text;
use serde::Deserialize;
use std::path::Path;

/// What is used of an entry of `intro-targets.json`.
#[derive(Deserialize)]
struct Target {
    name: String,
    r#type: String,
    defined_in: String,
    filename: Vec<String>,
}

/// The target that a step is part of: it makes its file, or what is in the directory of its objects.
fn target(all: &Declarations, step: StepId) -> Option<Target> {
    let file = os_path(&all.drivers[step.driver].dir).join("meson-info/intro-targets.json");
    let targets: Vec<Target> = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let output = text(all.step(step).outputs.first()?);
    let makes = |f: &String| output == *f || output.strip_prefix(&**f).is_some_and(|rest| rest.starts_with(".p/"));
    targets.into_iter().find(|t| t.filename.iter().any(makes))
}

fn place(t: &Target, root: &Path) -> String {
    let file = super::suggest::from_root(t.defined_in.as_bytes(), root);
    let lines = std::fs::read_to_string(&t.defined_in).unwrap_or_default();
    let at = lines.lines().position(|l| l.contains(&format!("'{}'", t.name)));
    at.map_or_else(|| file.clone(), |n| format!("{file}:{}", n + 1))
}

/// Makes `path` an input of a step.
pub(super) fn input(all: &Declarations, step: StepId, path: &[u8], root: &Path) -> Option<Fix> {
    let t = target(all, step)?;
    let (mut dir, mut up) = (parent(t.defined_in.as_bytes()), String::new());
    while !dir.is_empty() && !below(path, dir) {
        up.push_str("../");
        dir = parent(dir);
    }
    let file = text(path[dir.len()..].strip_prefix(b"/")?);
    // What a compiler reads it says itself.
    let keyword = match &*t.r#type {
        "custom" => "depend_files",
        _ if all.step(step).outputs.first().is_some_and(|o| o.ends_with(b".o")) => return None,
        _ => "link_depends",
    };
    Some(Fix { place: place(&t, root), text: format!("{keyword}: files('{up}{file}')") })
}

/// Makes sure that a step begins after `maker`.
pub(super) fn edge(all: &Declarations, step: StepId, maker: StepId, root: &Path) -> Option<Fix> {
    let (then, first) = (target(all, step)?, target(all, maker)?);
    let keyword = if then.r#type == "custom" { "depends" } else { "sources" };
    Some(Fix { place: place(&then, root), text: format!("{keyword}: what custom_target('{}') returns", first.name) })
}
