//! What GNU make prints for `-n -B -p --trace`: commands by target, then the data base.
//!
//! Written against the output of 4.3 and 4.4 (`file.c: print_file`, `remake.c`, `job.c` of GNU make say what is
//! printed). The data base has one paragraph a file: `target: inputs | order-only` between comments that tell what make
//! knows of it.

use crate::frontend::step::{Declared, Place, Step, Tool};
use crate::paths::{absolute, os_path};
use rustc_hash::FxHashMap;
use worker::command_text::normalised;

/// Parses what a make in `dir` has printed; `None` if there is no data base in it.
pub(crate) fn parse(out: &[u8], dir: &[u8]) -> Option<Declared> {
    let lines: Vec<&[u8]> = out.split(|b| *b == b'\n').collect();
    let base = lines.iter().rposition(|l| l.starts_with(b"# Make data base, printed on"))?;
    // Its version stands right before, in several lines.
    let end = lines[..base].iter().rposition(|l| l.starts_with(b"# GNU Make ")).unwrap_or(base);
    let (commands, turns) = commands(&lines[..end]);
    let files = base + lines[base..].iter().position(|l| *l == b"# Files")?;
    let mut d = Declared {
        tool: Tool::Make,
        collects_depfiles: lines[base..files].iter().any(|l| l.starts_with(b"CMAKE_COMMAND = ")),
        ..Declared::default()
    };
    let dir_of = |variable: &[u8]| {
        let value = lines[base..files].iter().find_map(|l| l.strip_prefix(variable)?.strip_prefix(b" = "))?;
        (!value.is_empty() && !value.contains(&b'$')).then(|| absolute(dir, value))
    };
    (d.srcdir, d.top_srcdir) = (dir_of(b"srcdir"), dir_of(b"top_srcdir"));
    let makefiles = lines[base..files].iter().find_map(|l| l.strip_prefix(b"MAKEFILE_LIST := "));
    d.files = words(makefiles.unwrap_or_default()).map(|f| absolute(dir, f)).collect();
    let mut there = Existing { dir, known: FxHashMap::default() };
    let mut double: FxHashMap<cache::PathBytes, usize> = FxHashMap::default();
    for p in lines[files + 1..].split(|l| l.is_empty()) {
        let Some((mut step, is_double, name)) = file(p, dir, &commands, &mut there) else { continue };
        step.turn = turns.get(name).copied().unwrap_or_default();
        // Which of the rules with `::` a command belongs to cannot be told: together they are one.
        if is_double && let Some(first) = double.get(&step.outputs[0]) {
            let one = &mut d.steps[*first];
            one.inputs.extend(step.inputs);
            one.order_only.extend(step.order_only);
            continue;
        }
        if is_double {
            double.insert(step.outputs[0].clone(), d.steps.len());
        }
        d.steps.push(step);
    }
    Some(d)
}

fn words(l: &[u8]) -> impl Iterator<Item = &[u8]> {
    l.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty())
}

/// The text between `before` and the next `'` that is followed by `after`.
fn quoted<'a>(line: &'a [u8], before: &[u8], after: &[u8]) -> Option<&'a [u8]> {
    let from = line.windows(before.len()).position(|w| w == before)? + before.len();
    let rest = &line[from..];
    let to = rest.windows(after.len()).position(|w| w == after)?;
    Some(&rest[..to])
}

/// The commands of each target, [`normalised`].
type Commands = FxHashMap<Vec<u8>, Vec<Vec<u8>>>;

/// Which commands each target has, and in which turn make comes to it.
fn commands(lines: &[&[u8]]) -> (Commands, FxHashMap<Vec<u8>, usize>) {
    let mut turns: FxHashMap<Vec<u8>, usize> = FxHashMap::default();
    let mut all = Commands::default();
    let mut target: Option<Vec<u8>> = None;
    let mut text: Vec<u8> = Vec::new();
    for l in
        lines.iter().filter(|l| !(l.starts_with(b"# GNU Make ") || l.starts_with(b"make: ") || l.starts_with(b"make[")))
    {
        let traced =
            quoted(l, b": update target '", b"' due to:").or_else(|| quoted(l, b": target '", b"' does not exist"));
        if let (Some(t), true) = (traced, text.is_empty()) {
            let next = turns.len() + 1;
            turns.entry(t.to_vec()).or_insert(next);
            target = Some(t.to_vec());
            continue;
        }
        text.extend_from_slice(l);
        // A line that goes on is one command.
        if l.ends_with(b"\\") {
            text.push(b'\n');
            continue;
        }
        let command = normalised(&std::mem::take(&mut text));
        if let Some(t) = &target
            && !command.is_empty()
        {
            all.entry(t.clone()).or_default().push(command);
        }
    }
    (all, turns)
}

/// Which names there are. The data base prints blanks in a name as they are: `a b` may be one file.
struct Existing<'a> {
    dir: &'a [u8],
    known: FxHashMap<Vec<u8>, bool>,
}

impl Existing<'_> {
    fn has(&mut self, name: &[u8]) -> bool {
        let dir = self.dir;
        let look = |n: &Vec<u8>| std::fs::symlink_metadata(os_path(&absolute(dir, n))).is_ok();
        *self.known.entry(name.to_vec()).or_insert_with_key(look)
    }

    /// The files of a list: words, or several that together are a file where the first alone is none.
    fn list(&mut self, text: &[u8]) -> Vec<cache::PathBytes> {
        let all: Vec<&[u8]> = words(text).collect();
        let mut out = Vec::with_capacity(all.len());
        let mut i = 0;
        while i < all.len() {
            let mut end = i + 1;
            if !self.has(all[i]) {
                let joined = (i + 2..=all.len().min(i + 8)).find(|e| self.has(&all[i..*e].join(&b' ')));
                end = joined.unwrap_or(end);
            }
            out.push(absolute(self.dir, &all[i..end].join(&b' ')));
            i = end;
        }
        out
    }
}

/// One paragraph of the data base, whether it is a rule with `::`, and the name of its target.
fn file<'a>(
    paragraph: &[&'a [u8]],
    dir: &[u8],
    commands: &Commands,
    there: &mut Existing<'_>,
) -> Option<(Step, bool, &'a [u8])> {
    // Before it may stand the variables of the target: `target: NAME := value`.
    let sets = |w: &[u8]| matches!(w, b"=" | b":=" | b"::=" | b":::=" | b"+=" | b"?=" | b"!=");
    let assigns = |l: &[u8]| words(l).skip(1).take(2).any(sets);
    let head = paragraph.iter().find(|l| !l.starts_with(b"#") && !l.starts_with(b"\t") && !assigns(l))?;
    let has = |text: &[u8]| paragraph.iter().any(|l| l.starts_with(text));
    // A name with a colon in it ends where the colon is followed by a blank, another colon or nothing.
    let end = (0..head.len()).find(|i| head[*i] == b':' && matches!(head.get(i + 1), None | Some(b' ' | b':')))?;
    let name = &head[..end];
    if has(b"# Not a target:") || is_special(name) {
        return None;
    }
    let double = head[end..].starts_with(b"::");
    let rest = if double { &head[end + 2..] } else { &head[end + 1..] };
    let cut = rest.iter().position(|b| *b == b'|').unwrap_or(rest.len());
    let recipe = paragraph.iter().find(|l| l.starts_with(b"#  recipe to execute"));
    let place = recipe.and_then(|l| {
        let line = quoted(l, b", line ", b")")?;
        Some(Place {
            file: absolute(dir, quoted(l, b"(from '", b"', line")?).to_vec(),
            line: std::str::from_utf8(line).ok()?.parse().ok()?,
        })
    });
    // A member of an archive is made in the archive: `lib.a(x.o)`.
    let archive = name.iter().position(|b| *b == b'(').filter(|_| name.ends_with(b")"));
    let mut outputs = vec![absolute(dir, archive.map_or(name, |i| &name[..i]))];
    for l in paragraph {
        if let Some(more) = l.strip_prefix(b"#  Also makes:") {
            outputs.extend(there.list(more));
        }
    }
    let step = Step {
        outputs,
        inputs: there.list(&rest[..cut]),
        order_only: there.list(rest.get(cut + 1..).unwrap_or_default()),
        commands: commands.get(name).cloned().unwrap_or_default(),
        phony: has(b"#  Phony target"),
        place: place.unwrap_or_default(),
        ..Step::default()
    };
    Some((step, double, name))
}

/// Names that are instructions to make and no files (its manual, "Special Built-in Target Names").
fn is_special(name: &[u8]) -> bool {
    const SPECIAL: &[&str] = &[
        ".PHONY",
        ".SUFFIXES",
        ".DEFAULT",
        ".PRECIOUS",
        ".INTERMEDIATE",
        ".NOTINTERMEDIATE",
        ".SECONDARY",
        ".SECONDEXPANSION",
        ".DELETE_ON_ERROR",
        ".IGNORE",
        ".LOW_RESOLUTION_TIME",
        ".SILENT",
        ".EXPORT_ALL_VARIABLES",
        ".NOTPARALLEL",
        ".ONESHELL",
        ".POSIX",
        ".WAIT",
    ];
    SPECIAL.iter().any(|s| s.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "\
Makefile:6: update target 'a.o' due to: a.c a.h
echo CC a.o
gcc -c a.c \\
   -o a.o
Makefile:11: target 'sub' does not exist
make: *** something
cd out && : x
# GNU Make 4.3
# Built for x86_64-pc-linux-gnu
# Make data base, printed on Sun Nov 22
# Variables
# makefile (from 'Makefile', line 1)
CC = gcc
srcdir = ../s
top_srcdir = $(somewhere)
# makefile
MAKEFILE_LIST := Makefile gen.mk
# Files

# Not a target:
a.h:
#  Implicit rule search has been done.

a.o: a.c a.h FORCE | out
#  Implicit/static pattern stem: 'a'
#  recipe to execute (from 'Makefile', line 6):
\t@echo CC $@
\t$(CC) -c $< \\
\t   -o $@

sub: .SHELLSTATUS := 0
sub:
#  Phony target (prerequisite of .PHONY).
#  recipe to execute (from 'Makefile', line 11):
\tcd out && $(MAKE) x

FORCE:
#  File does not exist.

.PHONY: sub

odd:: b
#  recipe to execute (from 'x y.mk', line 3):

# files hash-table stats:
# Finished Make data base on Sun Nov 22
";

    #[test]
    fn targets_commands_and_places() {
        use cache::PathBytes;
        let d = parse(ANSWER.as_bytes(), b"/w").unwrap();
        let text =
            |v: &[PathBytes]| v.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect::<Vec<_>>().join(" ");
        let got: Vec<String> = d
            .steps
            .iter()
            .map(|s| {
                let commands: Vec<_> = s.commands.iter().map(|c| String::from_utf8_lossy(c)).collect();
                format!(
                    "{}: {} | {} {commands:?} {} {} {}",
                    text(&s.outputs),
                    text(&s.inputs),
                    text(&s.order_only),
                    s.phony,
                    s.turn,
                    s.place
                )
            })
            .collect();
        assert_eq!(
            got,
            [
                "/w/a.o: /w/a.c /w/a.h /w/FORCE | /w/out [\"echo CC a.o\", \"gcc -c a.c -o a.o\"] false 1 \
                 /w/Makefile:6",
                "/w/sub:  |  [\"cd out && : x\"] true 2 /w/Makefile:11",
                "/w/FORCE:  |  [] false 0 ",
                "/w/odd: /w/b |  [] false 0 /w/x y.mk:3"
            ]
        );
        assert_eq!(text(&d.files), "/w/Makefile /w/gen.mk");
        assert!(!d.collects_depfiles);
        assert_eq!((d.srcdir.as_deref(), d.top_srcdir.as_deref()), (Some(&b"/s"[..]), None));
        assert_eq!(parse(b"make: nothing", b"/w"), None);
    }
}
