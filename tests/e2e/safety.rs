//! The tables of `docs/safety.md`, row by row.

use crate::world::World;

/// Command and expected outcome of each row that has them.
fn rows(text: &str) -> Vec<(String, String)> {
    let cells = |l: &str| -> Vec<String> {
        let inner = l.trim().strip_prefix('|').and_then(|l| l.strip_suffix('|')).unwrap_or_default();
        inner.split(" | ").map(|c| c.trim().to_owned()).collect()
    };
    let of_row = |l: &str| match cells(l).as_slice() {
        [_, _, command, outcome] => Some((command.strip_prefix('`')?.strip_suffix('`')?.to_owned(), outcome.clone())),
        _ => None,
    };
    text.lines().filter_map(of_row).collect()
}

#[test]
fn every_row_is_true() {
    let rows = rows(include_str!("../../docs/safety.md"));
    assert!(rows.len() >= 25, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for (command, want) in rows {
        let w = World::new();
        let prepare = || {
            w.wipe();
            w.sh("echo content > f; mkdir d; touch d/x; ln -s f l; echo 'int a;' > a.c; echo 'char *t = __TIME__;' > \
                t.c; echo 'import time; print(time.time())' > t.py; printf '#include <time.h>\n#include \
                <stdio.h>\nint main() { time_t t = time(0); puts(ctime(&t)); }\n' > now.c; touch -d @1000 f d *.c");
        };
        prepare();
        let first = w.pip(&command);
        prepare();
        let r = w.pip(&command);
        let item = &r.record["items"][0];
        let by_chance = item["not_stored"].as_str().is_some_and(|why| why.contains("while it ran"));
        if item["outcome"] != want.as_str() || by_chance {
            wrong.push(format!("`{command}` is {}, not {want}\n{}\n{}", item["outcome"], first.story(), r.story()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
