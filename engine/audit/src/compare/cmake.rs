//! Writes repairs as a person writes them for CMake: a command for the end of the `CMakeLists.txt` in which the target
//! is, with the line on which that is declared.
//!
//! Where that is follows from the directories: CMake repeats those of the sources in the build. The line is looked up
//! by the text of the commands; what a function or a loop declares has none.

use crate::declared::{Driver, StepId};
use crate::finding::{Edit, Fix, Spot};
use crate::frontend::{Step, absolute};
use crate::paths::{below, os_path, parent};
use cache::PathBytes;
use cache::shown as text;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use worker::tools::base_name;

/// One build directory, and a step in it.
pub(super) struct Cmake<'a> {
    d: &'a Driver,
    step: &'a Step,
    source: PathBytes,
    build: PathBytes,
}

/// A command of a list file.
struct Call {
    line: usize,
    name: String,
    words: Vec<String>,
}

/// The commands of a list file, with their arguments as they are written.
fn calls(text: &str) -> Vec<Call> {
    let mut out: Vec<Call> = Vec::new();
    let mut depth = 0;
    for (n, line) in text.lines().enumerate() {
        let line = line.split_once('#').map_or(line, |(before, _)| before);
        let spaced = line.replace('(', " ( ").replace(')', " ) ");
        let mut before = "";
        for word in spaced.split_whitespace() {
            match word {
                "(" if depth == 0 => {
                    out.push(Call { line: n + 1, name: before.to_ascii_lowercase(), words: Vec::new() });
                    depth = 1;
                }
                "(" => depth += 1,
                ")" => depth = (depth - 1).max(0),
                _ if depth > 0 => out.last_mut().into_iter().for_each(|c| c.words.push(word.trim_matches('"').into())),
                _ => before = word,
            }
        }
    }
    out
}

fn is_object(name: &[u8]) -> bool {
    name.ends_with(b".o") || name.ends_with(b".obj")
}

/// The target whose directory this is a name in: `…/CMakeFiles/NAME.dir/…`.
fn in_dir_of(name: &[u8]) -> Option<String> {
    let name = text(name);
    Some(name.split_once("CMakeFiles/")?.1.split_once(".dir/")?.0.to_owned())
}

impl<'a> Cmake<'a> {
    /// `None` without a `CMakeCache.txt` that says where the sources are.
    pub(super) fn new(d: &'a Driver, step: &'a Step) -> Option<Self> {
        let build = os_path(&d.dir).ancestors().find(|dir| dir.join("CMakeCache.txt").exists())?;
        let cache = std::fs::read_to_string(build.join("CMakeCache.txt")).ok()?;
        let home = cache.lines().find_map(|l| l.strip_prefix("CMAKE_HOME_DIRECTORY:INTERNAL="))?;
        let real = |p: &Path| std::fs::canonicalize(p).ok().map(|p| PathBytes::from(p.as_os_str().as_bytes()));
        Some(Self { d, step, source: real(Path::new(home))?, build: real(build)? })
    }

    /// The target that this step belongs to.
    fn target(&self) -> Option<String> {
        let output = self.step.outputs.first()?;
        let phony = || self.d.declared.steps.iter().filter(|s| s.phony && s.outputs.len() <= 2);
        let name = |s: &Step| {
            let name = s.outputs.first().map(|o| text(base_name(o)))?;
            (name != "all" && !name.starts_with("cmake_object_order")).then_some(name)
        };
        // ninja has one file for all targets, and a name for each that stands for what it makes.
        let named = || phony().filter(|s| s.inputs.contains(output)).find_map(name);
        let ordered = || {
            let all = phony().filter(|s| s.order_only.contains(output)).filter_map(|s| s.outputs.first());
            all.filter_map(|o| text(o).split_once("cmake_object_order_depends_target_").map(|x| x.1.to_owned())).next()
        };
        // A program that is called like its target needs no other name; its own objects come first.
        let linked = || self.step.inputs.iter().filter(|i| is_object(i)).find_map(|i| in_dir_of(i));
        let told = in_dir_of(&self.step.place.file).or_else(|| in_dir_of(output));
        told.or_else(named).or_else(ordered).or_else(linked)
    }

    /// The directory of the sources in which the step is declared.
    fn dir(&self) -> Vec<u8> {
        let makefile = &self.step.place.file[..];
        let output = self.step.outputs.first().map(|o| &o[..]).unwrap_or_default();
        let at = if base_name(makefile) == b"build.make" { makefile } else { output };
        let near = at.strip_prefix(&self.build[..]).unwrap_or_default();
        let end = near.windows(12).position(|w| w == b"/CMakeFiles/").unwrap_or(parent(near).len());
        let mut dir = [&self.source[..], &near[..end]].concat();
        while dir.len() > self.source.len() && !os_path(&dir).join("CMakeLists.txt").exists() {
            dir.truncate(parent(&dir).len());
        }
        dir
    }

    /// The list file and the first command in it that is meant, with what it finds there.
    fn find<T>(&self, root: &Path, meant: impl Fn(&Call) -> Option<T>) -> (String, Option<T>) {
        let file = absolute(&self.dir(), b"CMakeLists.txt");
        let shown = super::suggest::from_root(&file, root);
        let all = calls(&std::fs::read_to_string(os_path(&file)).unwrap_or_default());
        match all.iter().find_map(|c| Some((c.line, meant(c)?))) {
            Some((line, found)) => (format!("{shown}:{line}"), Some(found)),
            None => (shown, None),
        }
    }

    /// A path without the directories of this machine.
    fn spelled(&self, path: &[u8]) -> String {
        for (variable, dir) in [("CMAKE_BINARY_DIR", &self.build), ("CMAKE_SOURCE_DIR", &self.source)] {
            if below(path, dir) {
                return format!("${{{variable}}}/{}", text(path[dir.len()..].strip_prefix(b"/").unwrap_or_default()));
            }
        }
        let (mut dir, mut up) = (&self.source[..], String::from("${CMAKE_SOURCE_DIR}"));
        while !dir.is_empty() && !below(path, dir) {
            up.push_str("/..");
            dir = parent(dir);
        }
        format!("{up}{}", text(&path[dir.len()..]))
    }

    /// The command, for the end of the list file.
    fn fix(&self, place: String, text: String) -> Fix {
        let file = PathBytes::from(&absolute(&self.dir(), b"CMakeLists.txt")[..]);
        Fix { place, text, edit: Some(Edit { file, at: Spot::End }) }
    }

    /// The place where a target is declared.
    fn place(&self, target: Option<&str>, root: &Path) -> String {
        let kinds = ["add_executable", "add_library", "add_custom_target"];
        let declares =
            |c: &Call| (kinds.contains(&&*c.name) && c.words.first().map(String::as_str) == target).then_some(());
        self.find(root, declares).0
    }

    /// Makes `path` an input of the step.
    pub(super) fn input(&self, path: &[u8], root: &Path) -> Option<Fix> {
        let output = self.step.outputs.first()?;
        let (target, file) = (self.target(), self.spelled(path));
        let place = self.place(target.as_deref(), root);
        if is_object(output) {
            let name = base_name(output);
            let stem = &name[..name.iter().rposition(|b| *b == b'.')?];
            let source = self.step.inputs.iter().find(|i| base_name(i) == stem)?;
            let source = self.spelled(source);
            let text = format!("set_property(SOURCE {source} APPEND PROPERTY OBJECT_DEPENDS {file})");
            return Some(self.fix(place, text));
        }
        let object = self.step.inputs.iter().find(|i| is_object(i));
        if let Some(object) = object.filter(|_| output.ends_with(b".a")) {
            // An archive is not linked: it is made again with one of its objects.
            let of = self.d.by_output.get(object)?.first()?;
            return Self::new(self.d, &self.d.declared.steps[*of])?.input(path, root);
        }
        if object.is_some() {
            let text = format!("set_property(TARGET {} APPEND PROPERTY LINK_DEPENDS {file})", target?);
            return Some(self.fix(place, text));
        }
        let (place, name) = self.custom(root);
        Some(self.fix(place, format!("add_custom_command(OUTPUT {} APPEND DEPENDS {file})", name?)))
    }

    /// Where the custom command is that makes the step's output, and how that is written there.
    fn custom(&self, root: &Path) -> (String, Option<String>) {
        let outputs: Vec<String> = self.step.outputs.iter().map(|o| text(base_name(o))).collect();
        self.find(root, |c| {
            let keyword = |w: &&String| !w.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            let named = c.words.iter().skip_while(|w| *w != "OUTPUT").skip(1).take_while(keyword);
            let mut own = named.filter(|w| outputs.iter().any(|o| text(base_name(w.as_bytes())) == *o));
            if c.name == "add_custom_command" { own.next().cloned() } else { None }
        })
    }

    /// Makes sure that the step begins after `maker`, which makes `path`.
    pub(super) fn edge(&self, maker: &Self, path: &[u8], root: &Path) -> Option<Fix> {
        let place = |target: &str| self.place(Some(target), root);
        match (self.target(), maker.target()) {
            (Some(a), Some(b)) if a != b => Some(self.fix(place(&a), format!("add_dependencies({a} {b})"))),
            (Some(a), _) if self.step.outputs.first().is_some_and(|o| is_object(o)) => {
                Some(self.fix(place(&a), format!("target_sources({a} PRIVATE {})", self.spelled(path))))
            }
            _ => self.input(path, root),
        }
    }
}

/// The edits for a step, and for the one before it.
pub(super) fn of<'a>(all: &'a crate::declared::Declarations, step: StepId) -> Option<Cmake<'a>> {
    Cmake::new(&all.drivers[step.driver], all.step(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_a_list_file() {
        let all = calls(
            "# add_library(no)\nProject(p C)\nadd_custom_command(\n  OUTPUT \"${D}/x\" # why\n  COMMAND $(MAKE) x)\n",
        );
        let shown: Vec<String> = all.iter().map(|c| format!("{}:{} {}", c.line, c.name, c.words.join(" "))).collect();
        assert_eq!(shown, ["2:project p C", "3:add_custom_command OUTPUT ${D}/x COMMAND $ MAKE x"]);
    }
}
