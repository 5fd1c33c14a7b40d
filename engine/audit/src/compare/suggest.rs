//! Writes the edit that repairs a violation, in the syntax of the file that a person would edit (the makefile, the
//! manifest, or what a generator made them from), and the command that shows the violation.

use super::authors::{Author, author};
use super::{cmake, meson};
use crate::declared::{Declarations, Driver, StepId};
use crate::finding::{Edit, Fix, Spot};
use crate::frontend::{Step, Tool, absolute, depfile};
use crate::observer::Observed;
use crate::paths::{below, os_path, parent};
use cache::PathBytes;
use cache::shown as text;
use engine::redact::redact;
use engine::seen::Made;
use std::path::Path;
use worker::tools::base_name;

/// A path as seen from where the build tool works.
fn relative(path: &[u8], dir: &[u8]) -> Vec<u8> {
    match path.strip_prefix(dir) {
        Some(rest) if rest.first() == Some(&b'/') => rest[1..].to_vec(),
        _ => path.to_vec(),
    }
}

/// With what a makefile, or a manifest, needs before special characters.
fn escaped(path: &[u8], tool: Tool) -> String {
    let mut out = Vec::new();
    for b in path {
        match (tool, b) {
            (Tool::Make, b'$') => out.push(b'$'),
            (Tool::Make, b' ' | b'#' | b'%' | b':') => out.push(b'\\'),
            (Tool::Ninja, b'$' | b' ' | b':') => out.push(b'$'),
            _ => {}
        }
        out.push(*b);
    }
    text(&out)
}

/// A path for a shell command.
fn quoted(path: &[u8]) -> String {
    let lossy = text(path);
    shlex::try_quote(&lossy).map(std::borrow::Cow::into_owned).unwrap_or(lossy)
}

/// A path as reports show it, from the top of the workspace.
pub(super) fn from_root(path: &[u8], root: &Path) -> String {
    text(&relative(path, root.as_os_str().as_encoded_bytes()))
}

fn is_object(s: &Step) -> bool {
    s.outputs.first().is_some_and(|o| [&b".o"[..], b".obj", b".lo", b".sho", b".os"].iter().any(|e| o.ends_with(e)))
}

/// A path as a person would write it in a build file: from where the build tool works, by the variables that configure
/// sets, else by `..` within the workspace.
fn named(d: &Driver, path: &[u8], root: &Path) -> String {
    let tool = d.declared.tool;
    let near = relative(path, &d.dir);
    if near.len() < path.len() {
        return escaped(&near, tool);
    }
    for (variable, dir) in [("srcdir", &d.declared.srcdir), ("top_srcdir", &d.declared.top_srcdir)] {
        if let Some(dir) = dir.as_ref().filter(|dir| below(path, dir)) {
            return format!("$({variable})/{}", escaped(&relative(path, dir), tool));
        }
    }
    let mut up = Vec::new();
    let mut dir = &d.dir[..];
    let inside = below(dir, root.as_os_str().as_encoded_bytes());
    // Outside the workspace (a build beside the sources) they have at least a directory in common.
    while if inside { below(dir, root.as_os_str().as_encoded_bytes()) } else { dir.len() > 1 } {
        if below(path, dir) {
            up.extend(relative(path, dir));
            return escaped(&up, tool);
        }
        up.extend(b"../");
        dir = parent(dir);
    }
    escaped(path, tool)
}

/// What a step can name to have this file: it, if it is a source or its build tool can make it, else what is declared
/// of the step that makes it. `None`: no such name; a fresh build would end with *No rule to make target*.
fn nameable(all: &Declarations, step: StepId, maker: Option<StepId>, path: &PathBytes) -> Option<PathBytes> {
    let Some(maker) = maker else { return Some(path.clone()) };
    let d = &all.drivers[step.driver];
    // What another make has made is there when this one begins, unless this one launches the other.
    let apart = maker.driver != step.driver && !all.launches(step.driver, maker.driver);
    // A rule without anything is what a dependency file says of a header (`-MP`): a fresh build does not have it.
    let is_rule = |s: &usize| {
        let s = &d.declared.steps[*s];
        !(s.commands.is_empty() && s.inputs.is_empty() && s.order_only.is_empty())
    };
    if apart || d.by_output.get(path).is_some_and(|all| all.iter().any(is_rule)) {
        return Some(path.clone());
    }
    let first =
        all.step(maker).outputs.first().filter(|o| maker.driver == step.driver && maker != step && **o != *path)?;
    Some(first.clone())
}

/// The dependency file that a command has made, which names the input and which nobody reads.
fn unread_depfile<'a>(d: &Driver, made: &'a [Made], cwd: &[u8], path: &PathBytes) -> Option<&'a PathBytes> {
    let tells = |f: &PathBytes| {
        let rules = depfile::parse(&std::fs::read(os_path(f)).unwrap_or_default());
        rules.iter().any(|(_, inputs)| inputs.iter().any(|i| absolute(cwd, i) == *path))
    };
    let mut all = made.iter().filter(|m| !m.deleted && depfile::is_name(&m.path)).map(|m| &m.path);
    all.find(|f| !d.declared.files.contains(f) && tells(f))
}

/// One recipe that is run for each of several targets: that it makes them all at once.
fn grouped(all: &Declarations, a: StepId, b: StepId, root: &Path) -> Option<Fix> {
    let d = &all.drivers[a.driver];
    let (first, second) = (all.step(a), all.step(b));
    let alike = a.driver == b.driver && first.place == second.place && first.place.line > 0;
    if !alike || d.declared.tool != Tool::Make || first.commands != second.commands || first.inputs != second.inputs {
        return None;
    }
    let mut family: Vec<usize> = d.family(a.step).filter(|s| d.declared.steps[*s].place == first.place).collect();
    family.sort_by_key(|s| (d.declared.steps[*s].turn, *s));
    let names =
        |list: &mut dyn Iterator<Item = &PathBytes>| list.map(|p| named(d, p, root)).collect::<Vec<_>>().join(" ");
    let targets = names(&mut family.iter().filter_map(|s| d.declared.steps[*s].outputs.first()));
    let inputs = names(&mut first.inputs.iter());
    let text = format!("{targets} &: {inputs}");
    Some(Fix { place: place(first, root), text, edit: edit(d, first, Spot::HeadBefore(first.place.line)) })
}

/// Keeps two writers of a file from writing it at once.
pub(crate) fn writers(all: &Declarations, first: StepId, second: StepId, root: &Path) -> Option<Fix> {
    let d = &all.drivers[first.driver];
    if first.driver != second.driver || author(d) != Author::Person {
        return None;
    }
    grouped(all, first, second, root).or_else(|| {
        let (then, before) = (all.step(second), all.step(first).outputs.first()?);
        Some(line(d, then, before, true, root))
    })
}

/// `target: file`, or what comes to the same.
fn line(d: &Driver, s: &Step, path: &[u8], order_only: bool, root: &Path) -> Fix {
    let tool = d.declared.tool;
    let name = |p: &[u8]| named(d, p, root);
    let target = s.outputs.first().map(|o| name(o)).unwrap_or_default();
    let (text, spot) = match tool {
        Tool::Make if order_only => (format!("{target}: | {}", name(path)), Spot::End),
        Tool::Make => (format!("{target}: {}", name(path)), Spot::End),
        // An edge is written once: the file goes to the end of its line.
        Tool::Ninja if order_only => (format!("build {target}: … || {}", name(path)), Spot::Edge(s.place.line)),
        Tool::Ninja => (format!("build {target}: … | {}", name(path)), Spot::Edge(s.place.line)),
    };
    Fix { place: place(s, root), text, edit: edit(d, s, spot) }
}

/// In the file that the build tool reads: what a generator makes that of may not be asked.
fn edit(d: &Driver, s: &Step, spot: Spot) -> Option<Edit> {
    if d.declared.files.iter().any(|f| f[..] == s.place.file[..]) {
        return Some(Edit { file: PathBytes::from(&s.place.file[..]), at: spot });
    }
    let is_makefile =
        |f: &&PathBytes| parent(f) == &d.dir[..] && matches!(base_name(f), b"GNUmakefile" | b"makefile" | b"Makefile");
    let file = d.declared.files.iter().find(is_makefile).filter(|_| matches!(spot, Spot::End))?;
    Some(Edit { file: file.clone(), at: spot })
}

/// Makes `path` an input of a step, whose command in `cwd` has made these; `maker` makes the path.
pub(crate) fn input(
    all: &Declarations,
    step: StepId,
    (made, cwd): (&[Made], &[u8]),
    (path, maker): (&PathBytes, Option<StepId>),
    root: &Path,
) -> Option<Fix> {
    let (d, s) = (&all.drivers[step.driver], all.step(step));
    if author(d) == Author::Person
        && d.declared.tool == Tool::Make
        && let Some(unread) = unread_depfile(d, made, cwd, path)
    {
        let text = format!("-include {}", escaped(&relative(unread, &d.dir), Tool::Make));
        return Some(Fix { place: from_root(&s.place.file, root), text, edit: edit(d, s, Spot::End) });
    }
    let path = &nameable(all, step, maker, path)?;
    match author(d) {
        Author::Cmake => cmake::of(all, step)?.input(path, root),
        Author::Meson => meson::input(all, step, path, root),
        Author::Person => Some(line(d, s, path, false, root)),
    }
}

/// Says that a target is no file.
pub(crate) fn phony(all: &Declarations, step: StepId, root: &Path) -> Option<Fix> {
    let (d, s) = (&all.drivers[step.driver], all.step(step));
    let name = escaped(&relative(s.outputs.first()?, &d.dir), Tool::Make);
    Some(Fix { place: place(s, root), text: format!(".PHONY: {name}"), edit: edit(d, s, Spot::End) })
}

/// Makes sure that a file is made before a step that reads it.
pub(crate) fn edge(all: &Declarations, step: StepId, maker: StepId, path: &PathBytes, root: &Path) -> Option<Fix> {
    let (d, s) = (&all.drivers[step.driver], all.step(step));
    match author(d) {
        Author::Cmake => return cmake::of(all, step)?.edge(&cmake::of(all, maker)?, path, root),
        Author::Meson => return meson::edge(all, step, maker, root),
        Author::Person => {}
    }
    if step.driver != maker.driver {
        // Two makes do not wait for each other: the one that launched both has to.
        let (then, first) = all.apart(step, maker)?;
        let (d, s) = (&all.drivers[then.driver], all.step(then));
        let first = all.step(first).outputs.first()?;
        return Some(line(d, s, first, false, root));
    }
    let path = &nameable(all, step, Some(maker), path)?;
    let order_only = is_object(s) && all.discovered(step).next().is_some();
    Some(line(d, s, path, order_only, root))
}

fn place(s: &Step, root: &Path) -> String {
    let file = from_root(&s.place.file, root);
    if s.place.line > 0 { format!("{file}:{}", s.place.line) } else { file }
}

/// The words of a build tool without goals, directories and job counts: what it takes to ask it for one target, where
/// it works.
pub(crate) fn tool(seen: &Observed, d: &Driver) -> Vec<String> {
    let make = d.declared.tool == Tool::Make;
    let argv = &seen.launches[d.launch].argv;
    let mut out = vec![text(argv.first().map_or(if make { b"make" } else { b"ninja" }, Vec::as_slice))];
    let mut words = argv.iter().skip(1);
    while let Some(w) = words.next() {
        match &w[..] {
            b"-C" | b"--directory" | b"-j" | b"-l" => drop(words.next()),
            b"-f" | b"--file" | b"--makefile" | b"-I" | b"-k" | b"-d" | b"-w"
                if !make || !matches!(&w[..], b"-k" | b"-d" | b"-w") =>
            {
                out.push(text(w));
                out.extend(words.next().map(|v| text(v)));
            }
            w if w.starts_with(b"-C") || w.starts_with(b"--directory=") || w.starts_with(b"-j") => {}
            w if w.starts_with(b"-") || (make && w.contains(&b'=')) => out.push(text(w)),
            _ => {}
        }
    }
    let argv: Vec<Vec<u8>> = out.into_iter().map(String::into_bytes).collect();
    redact(&argv, &seen.launches[d.launch].env)
}

fn command(seen: &Observed, d: &Driver) -> String {
    tool(seen, d).iter().map(|w| quoted(w.as_bytes())).collect::<Vec<_>>().join(" ")
}

/// A command that shows that a target is not made again.
pub(crate) fn stale(seen: &Observed, all: &Declarations, step: StepId, path: &PathBytes) -> Option<String> {
    let d = &all.drivers[step.driver];
    let target = quoted(&relative(all.step(step).outputs.first()?, &d.dir));
    Some(format!("cd {} && touch {} && {} {target}", quoted(&d.dir), quoted(&relative(path, &d.dir)), command(seen, d)))
}

/// A command that shows that a target is made before a file that it reads.
pub(crate) fn race(seen: &Observed, all: &Declarations, step: StepId, path: &PathBytes) -> Option<String> {
    let d = &all.drivers[step.driver];
    let target = quoted(&relative(all.step(step).outputs.first()?, &d.dir));
    let gone = quoted(&relative(path, &d.dir));
    Some(format!("cd {} && rm -f {gone} {target} && {} {target}", quoted(&d.dir), command(seen, d)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_syntax_of_the_file() {
        assert_eq!(escaped(b"a b$c#d", Tool::Make), "a\\ b$$c\\#d");
        assert_eq!(escaped(b"a b$c:d", Tool::Ninja), "a$ b$$c$:d");
    }
}
