//! Generators that leave an output alone that is right already: `xl check` calls it what it is, a result of the last
//! run, and `--heal` breaks nothing. Each form with make and with ninja, when the later run really ran and when it was
//! served from the cache; and what is stale all the same is found, and healed to what a clean build makes.

use crate::world::World;

/// A way to make files, some of which stay.
struct Form {
    /// `gen.py`; it reads `in`, and `cfg`, of which no build tool knows.
    generator: &'static str,
    /// The targets of the one rule, its inputs and its command.
    targets: &'static str,
    inputs: &'static str,
    /// Lines of the recipe; ninja has them in one.
    commands: &'static [&'static str],
    /// What is removed before a clean build.
    made: &'static str,
    /// What `xl check` has to list when `cfg` has changed.
    stale: &'static str,
}

const WRITE_IF_CHANGED: &str = "import os
new = open('in').read()[:1] + open('cfg').read()
if not os.path.exists('out') or open('out').read() != new: open('out', 'w').write(new)
open('stamp', 'w').write('')
";

const PRINT: &str = "print(open('in').read()[:1] + open('cfg').read())\n";

/// Looks at the times, and makes what is older than its source.
const IN_PART_BY_TIME: &str = "import os
for name, source in [('out', 'in'), ('two', 'in2')]:
    if not os.path.exists(name) or os.stat(name).st_mtime_ns < os.stat(source).st_mtime_ns:
        open(name, 'w').write(open(source).read()[:1] + open('cfg').read())
open('stamp', 'w').write('')
";

/// Remembers the contents of the sources, and makes what is missing or of another content (Qt's AUTOMOC).
const IN_PART_BY_MEMORY: &str = "import json, os
memory = json.load(open('memory')) if os.path.exists('memory') else {}
for name, source in [('out', 'in'), ('two', 'in2')]:
    now = open(source).read()[:1] + open('cfg').read()
    if not os.path.exists(name) or memory.get(name) != now:
        open(name, 'w').write(now)
    memory[name] = now
json.dump(memory, open('memory', 'w'))
open('stamp', 'w').write('')
";

/// Writes a file, at a time behind that of another.
fn write_later(w: &World, name: &str, text: &str, than: &str) {
    let modified = |n: &str| w.path(n).metadata().and_then(|m| m.modified()).ok();
    w.write(name, text);
    while modified(name) <= modified(than) {
        w.write(name, text);
    }
}

impl Form {
    fn set_up(&self, w: &World, tool: &str) {
        w.write("gen.py", self.generator);
        w.write("move-if-change", "if cmp -s \"$1\" \"$2\"; then rm \"$1\"; else mv \"$1\" \"$2\"; fi\n");
        w.write("cfg", "x");
        w.write("in2", "z");
        let Self { targets, inputs, commands, .. } = self;
        let first = targets.split(' ').next().expect("a target");
        if tool == "make" {
            let recipe: String = commands.iter().map(|c| format!("\t{c}\n")).collect();
            w.write(
                "Makefile",
                &format!("all: final\nfinal: {targets}\n\tcat out > final\n{first}: {inputs} gen.py\n{recipe}"),
            );
        } else {
            let command = commands.join(" && ");
            let rules = format!("rule g\n command = {command}\n restat = 1\nrule c\n command = cat out > final\n");
            w.write("build.ninja", &format!("{rules}build {targets}: g {inputs} gen.py\nbuild final: c {targets}\n"));
        }
    }

    fn holds(&self, tool: &str) {
        let w = World::new();
        self.set_up(&w, tool);
        let mut served = false;
        let mut build = |input: &str| {
            write_later(&w, "in", input, self.targets.split(' ').next().expect("a target"));
            let r = w.run(&[tool]);
            assert_eq!(r.code(), Some(0), "{}{}", r.stdout(), r.stderr());
            assert!(w.read("out").starts_with(&input[..1]));
            served |= r.story().lines().any(|l| l.starts_with("\"hit\"") && l.contains("gen.py"));
        };
        let check = || {
            let out = w.xl(&["check", "--", tool]).output().expect("xl");
            (
                out.status.code(),
                String::from_utf8_lossy(&out.stdout).into_owned(),
                String::from_utf8_lossy(&out.stderr).into_owned(),
            )
        };
        let right = |when: &str| {
            let (code, listed, said) = check();
            assert!((code, &*listed) == (Some(0), "") && said.contains("nothing is stale"), "{when}: {listed}{said}");
        };
        build("abc");
        right("at first");
        build("axx");
        right("when it was left alone");
        let before = w.snapshot();
        let healed = w.xl(&["run", "--heal", "--", tool]).output().expect("xl");
        let said = String::from_utf8_lossy(&healed.stderr).into_owned();
        assert!(healed.status.success() && !said.contains("to be made again") && !said.contains("put back"), "{said}");
        let without_logs = |mut s: std::collections::BTreeMap<std::path::PathBuf, String>| {
            s.retain(|p, _| !p.starts_with(".ninja_log") && !p.starts_with(".ninja_deps"));
            s
        };
        assert_eq!(without_logs(w.snapshot()), without_logs(before));
        build("abc");
        right("with the first input again");
        build("axx");
        right("with the second input again");
        build("bcd");
        right("with another one");
        // Times that are inputs are others each time.
        assert!(served || self.generator == IN_PART_BY_TIME, "no later run was served from the cache");
        // What no build tool knows of. It is found, and the result is that of a clean build.
        w.write("cfg", "y");
        let (code, listed, said) = check();
        assert_eq!((code, listed.lines().any(|l| l.starts_with(self.stale))), (Some(1), true), "{listed}{said}");
        let healed = w.xl(&["run", "--heal", "--", tool]).output().expect("xl");
        assert!(
            healed.status.success() && w.read("out").trim_end() == "by",
            "{}",
            String::from_utf8_lossy(&healed.stderr)
        );
        right("after healing");
        let healed = without_logs(w.snapshot());
        w.sh(&format!("rm -f final {} && {tool}", self.made));
        assert_eq!(without_logs(w.snapshot()), healed, "not what a clean build makes");
    }
}

macro_rules! forms {
    ($($name:ident: $form:expr;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn make() {
                $form.holds("make");
            }

            #[test]
            fn ninja() {
                $form.holds("ninja");
            }
        })*
    };
}

const GENERATE: &str = "python3 -B gen.py";

forms! {
    write_if_changed_and_a_stamp: Form {
        generator: WRITE_IF_CHANGED, targets: "stamp", inputs: "in", commands: &[GENERATE], made: "out \
            stamp", stale: "out: ",
    };
    write_if_changed_as_an_output: Form {
        generator: WRITE_IF_CHANGED, targets: "out", inputs: "in", commands: &[GENERATE], made: "out \
            stamp", stale: "out: ",
    };
    compare_or_move: Form {
        generator: PRINT, targets: "out", inputs: "in",
        commands: &["python3 -B gen.py > new; cmp -s new out && rm new || mv new out"], made: "out", stale: "out: ",
    };
    move_if_change_in_several_commands: Form {
        generator: PRINT, targets: "stamp", inputs: "in",
        commands: &["python3 -B gen.py > new", "sh move-if-change new out", "touch stamp"], made: "out \
            stamp", stale: "out: ",
    };
    in_part_by_time: Form {
        generator: IN_PART_BY_TIME, targets: "stamp", inputs: "in in2", commands: &[GENERATE], made: "out two \
            stamp", stale: "two: ",
    };
    in_part_by_memory: Form {
        generator: IN_PART_BY_MEMORY, targets: "stamp", inputs: "in in2", commands: &[GENERATE], made: "out two stamp \
            memory", stale: "two: ",
    };
}

/// A command that is too cheap to be looked up makes a file anew: of what that is now nothing is known, least of all
/// that it is stale.
#[test]
fn a_bypassed_command() {
    let w = World::new();
    w.write("Makefile", "out: in\n\tcp in out\n");
    // When it is cheap is a matter of the machine; once it is, one more round.
    let mut rounds = 0..100;
    let mut bypassed = 0;
    while bypassed < 2 {
        let i = rounds.next().expect("it is never bypassed");
        write_later(&w, "in", &i.to_string(), "out");
        let r = w.run(&["make"]);
        assert_eq!(w.read("out"), i.to_string());
        let out = w.xl(&["check", "--", "make"]).output().expect("xl");
        assert_eq!((out.status.code(), &out.stdout[..]), (Some(0), &b""[..]), "{}", r.story());
        bypassed += u32::from(r.outcome("cp in out") == "bypassed");
    }
}
