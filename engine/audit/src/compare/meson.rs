//! Writes repairs as a person writes them for meson: the keyword for the call that declares the target, with the file
//! and the line, as `meson-info` and the text of the file tell them.

use crate::declared::{Declarations, StepId};
use crate::finding::{Edit, Fix, Spot};
use crate::paths::{below, os_path, parent};
use cache::PathBytes;
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

/// The line in which the target's name is, counted from 1.
fn line(t: &Target) -> Option<usize> {
    let lines = std::fs::read_to_string(&t.defined_in).unwrap_or_default();
    lines.lines().position(|l| l.contains(&format!("'{}'", t.name))).map(|n| n + 1)
}

fn place(t: &Target, root: &Path) -> String {
    let file = super::suggest::from_root(t.defined_in.as_bytes(), root);
    line(t).map_or_else(|| file.clone(), |n| format!("{file}:{n}"))
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
    let edit = line(&t).map(|n| Edit { file: PathBytes::from(t.defined_in.as_bytes()), at: Spot::Call(n) });
    Some(Fix { place: place(&t, root), text: format!("{keyword}: files('{up}{file}')"), edit })
}

/// Makes sure that a step begins after `maker`.
pub(super) fn edge(all: &Declarations, step: StepId, maker: StepId, root: &Path) -> Option<Fix> {
    let (then, first) = (target(all, step)?, target(all, maker)?);
    let keyword = if then.r#type == "custom" { "depends" } else { "sources" };
    let text = format!("{keyword}: what custom_target('{}') returns", first.name);
    Some(Fix::by_hand(place(&then, root), text))
}
