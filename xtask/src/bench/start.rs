//! What `xl` costs where there is little to do: starting and ending, one edit, one trivial command. Beside it the same
//! of another accelerator, if the words are given that are put before a command for it (`--peer 'firebuild --'`).

use super::{Bench, Cost, Costs, medians, timed};
use serde_json::{Value, json};
use std::path::Path;

const FILES: usize = 100;

/// Times are short: this many for one of the longer builds.
const TIMES: usize = 5;

/// A tree of small files, of which every one needs a compiler.
fn plant(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("all.h"), "#include <stdio.h>\n#include <string.h>\n#define K 3\n")?;
    for i in 0..FILES {
        std::fs::write(dir.join(format!("f{i}.c")), source(i, 0))?;
    }
    let rules = "OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))\nlib.a: $(OBJECTS)\n\trm -f $@; ar rcs $@ \
        $(OBJECTS)\n%.o: %.c all.h\n\tgcc -O1 -c $< -o $@\n";
    std::fs::write(dir.join("Makefile"), rules)
}

fn source(i: usize, edits: usize) -> String {
    format!("#include \"all.h\"\nint f{i}(int x) {{ return K * x + {edits}; }}\n")
}

/// A state of things: what is done before each run, not timed, and what is run.
struct Row {
    name: &'static str,
    edits: fn(&Path, usize) -> std::io::Result<()>,
    /// Run under the words for a build, or under those for one command.
    command: &'static str,
    is_build: bool,
}

const ROWS: &[Row] = &[
    Row { name: "nothing to do", edits: |_, _| Ok(()), command: "make", is_build: true },
    Row {
        name: "one edit in 100 files",
        edits: |d, n| std::fs::write(d.join("f50.c"), source(50, n)),
        command: "make",
        is_build: true,
    },
    Row { name: "a trivial command, hit", edits: |_, _| Ok(()), command: "sh -c 'cat in >out'", is_build: false },
    Row {
        name: "a trivial command, missed",
        edits: |d, n| std::fs::write(d.join("in"), n.to_string()),
        command: "sh -c 'cat in >out'",
        is_build: false,
    },
];

impl Bench {
    pub(super) fn start(&self, rounds: usize, peer: Option<&str>) -> Result<Value, String> {
        let dir = self.dir.join("start");
        let cache = self.dir.join("start-cache").display().to_string();
        for old in [&*dir, Path::new(&cache)] {
            // The first time there is none.
            drop(std::fs::remove_dir_all(old));
        }
        plant(&dir)
            .and_then(|()| std::fs::write(dir.join("in"), "0"))
            .map_err(|e| format!("`{}`: {e}", dir.display()))?;
        let xl = |what: &str, backend: &str| format!("{} {what} --backend {backend} --", self.xl.display());
        let mut ways = vec![("plain".to_owned(), String::new(), String::new())];
        for backend in ["ebpf", "seccomp"] {
            ways.push((format!("xl {backend}"), xl("run", backend), xl("exec", backend)));
        }
        if let Some(p) = peer {
            ways.push((format!("`{p}`"), p.to_owned(), p.to_owned()));
        }
        let mut edits = 0;
        let mut out = serde_json::Map::new();
        timed("make -j2", &[], &dir)?;
        println!(
            "\nlittle to do ({} rounds)\n\n| | wall ms | more than plain | CPU ms |\n|---|---|---|---|",
            rounds * TIMES
        );
        for row in ROWS {
            let mut all = Costs::default();
            // The first time, everybody learns.
            for n in 0..=rounds * TIMES {
                for (way, build, command) in &ways {
                    edits += 1;
                    (row.edits)(&dir, edits).map_err(|e| format!("an edit: {e}"))?;
                    let text = format!("{} {}", if row.is_build { build } else { command }, row.command);
                    let cost = timed(&text, &[("XL_CACHE_DIR", &cache)], &dir)?;
                    if n > 0 {
                        all.add(way.clone(), cost);
                    }
                }
            }
            let ms = |c: Cost| (c.0 * 1e3, c.1 * 1e3);
            let plain = ms(medians(&all.0[0].1)).0;
            for (way, costs) in &all.0 {
                let (wall, cpu) = ms(medians(costs));
                println!("| {}, {way} | {wall:.1} | {:+.1} | {cpu:.1} |", row.name, wall - plain);
                out.insert(
                    format!("{}, {way}", row.name),
                    json!({ "wall_ms": wall, "more_ms": wall - plain, "cpu_ms": cpu }),
                );
            }
        }
        Ok(Value::Object(out))
    }
}
