//! `xl log`: the builds of a workspace, and the commands of one.

use crate::world::World;

fn shown(w: &World, words: &[&str]) -> (String, String) {
    let o = w.xl(&[&["log"], words].concat()).output().unwrap();
    assert!(o.status.success(), "{words:?}: {}", String::from_utf8_lossy(&o.stderr));
    (String::from_utf8_lossy(&o.stdout).into_owned(), String::from_utf8_lossy(&o.stderr).into_owned())
}

/// Two builds in a workspace, one below it, one elsewhere, all in one cache.
fn several() -> World {
    let w = World::new();
    w.write("Makefile", "all: a.o b.o\n%.o: %.c\n\tgcc -O1 -Wall -c -o $@ $<\nslow:\n\tsh -c 'echo slow > slow'\n");
    w.write("sub/Makefile", "sub.o: sub.c\n\tgcc -c sub.c\n");
    ["a.c", "b.c", "sub/sub.c"].iter().for_each(|f| w.write(f, "int x;\n"));
    w.sh("mkdir ../elsewhere && touch ../elsewhere/xl.toml");
    w.run(&["make", "a.o"]);
    w.sh("rm a.o");
    w.run(&["make", "all", "slow"]);
    w.run(&["make", "-C", "sub"]);
    for dir in ["sub", "../elsewhere"] {
        let o = w.xl(&["run", "--", "true"]).current_dir(w.path(dir)).output().unwrap();
        assert!(o.status.success());
    }
    w
}

#[test]
fn builds_of_this_workspace() {
    let w = several();
    let (out, _) = shown(&w, &[]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}");
    let today = String::from_utf8_lossy(&w.sh("date +%Y-%m-%d").stdout).trim().to_owned();
    assert!(lines[0].contains(&today) && lines[0].contains("1 pip ") && lines[0].ends_with("/t$ make a.o"), "{out}");
    assert!(lines[3].ends_with("/t/sub$ true"), "{out}");
    let (out, _) = shown(&w, &["--all"]);
    assert_eq!(out.lines().count(), 5);
    assert!(out.contains("/elsewhere$ true"), "{out}");
    assert_eq!(shown(&w, &["--dir", "sub"]).0.lines().count(), 1);
    let (out, err) = shown(&w, &["--dir", "nowhere"]);
    assert!(out.is_empty() && err.contains("no build in `") && err.contains("`xl log --all`"), "{err}");
    for line in shown(&w, &["--json"]).0.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            row["started"].as_u64() > Some(1_700_000_000) && row["cwd"].as_str().is_some_and(|c| c.contains("/t")),
            "{line}"
        );
    }
}

#[test]
fn commands_of_a_build() {
    let w = several();
    // `--json` counts what the text shows.
    let count = |words: &[&str]| {
        let record: serde_json::Value = serde_json::from_str(&shown(&w, &[words, &["--json"]].concat()).0).unwrap();
        let text = shown(&w, words).0;
        let commands: Vec<String> =
            record["items"].as_array().unwrap().iter().map(|i| i["command"].as_str().unwrap().to_owned()).collect();
        commands.iter().for_each(|c| assert!(text.contains(c.as_str()), "{words:?}: {c} in {text}"));
        commands
    };
    assert_eq!(count(&["2"]).len(), 3);
    assert_eq!(count(&["2", "--ran"]).len(), 2);
    assert_eq!(count(&["2", "--tool", "gcc"]).len(), 2);
    assert_eq!(count(&["2", "--tool", "gcc", "--ran"]), ["gcc -O1 -Wall -c -o b.o b.c"]);
    assert_eq!(count(&["2", "--file", "a.c"]), ["gcc -O1 -Wall -c -o a.o a.c"]);
    assert_eq!(count(&["2", "--file", "/t/slow"]).len(), 1);
    let record: serde_json::Value = serde_json::from_str(&shown(&w, &["2", "--slowest", "--json"]).0).unwrap();
    let times: Vec<f64> = record["items"].as_array().unwrap().iter().map(|i| i["wall_ms"].as_f64().unwrap()).collect();
    assert!(times.len() == 3 && times.is_sorted_by(|a, b| a >= b) && times[2] < times[0], "{times:?}");
    assert_eq!(count(&["3", "--dir", "sub"]).len(), 1);
    assert!(count(&["2", "--dir", "sub"]).is_empty());
    // Commands are asked for without a number: those of the last build here.
    assert!(count(&["--ran"]).is_empty());
    assert_eq!(count(&["last"]).len(), count(&["4"]).len());
    let (out, err) = shown(&w, &["3", "--ran"]);
    assert!(out.contains("make -C sub") && out.contains("/t/sub\n") && out.contains("ran: "), "{out}");
    assert!(err.is_empty(), "{err}");
    assert!(shown(&w, &["2", "--ran"]).1.contains("xl: 2 of 3 commands"));
    for (word, why) in
        [("99", "no build 99 is known"), ("abc", "the number of a build (`xl log` lists them), or `last`")]
    {
        let o = w.xl(&["log", word]).output().unwrap();
        assert_eq!(o.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&o.stderr).contains(why), "{o:?}");
    }
}

/// What does not fit a terminal is left out where it tells least; what is written elsewhere is whole.
#[test]
fn as_wide_as_the_terminal() {
    let w = World::new();
    let flags = "-Wall -Wextra -Wpedantic -DA=1 -DB=2 -DC=3 -DD=4 -DE=5 -DF=6 -DG=7 -DH=8";
    w.write("Makefile", &format!("dir/a.o: dir/a.c\n\tgcc {flags} -c dir/a.c -o dir/a.o\n"));
    w.write("dir/a.c", "int x;\n");
    w.run(&["make"]);
    assert!(shown(&w, &["1"]).0.contains(flags));
    let text = format!("stty cols 80; {} log 1", env!("CARGO_BIN_EXE_xl"));
    let o = w.command("script").args(["-qec", &text, "/dev/null"]).output().unwrap();
    let out = String::from_utf8_lossy(&o.stdout).into_owned();
    let line = out.lines().find(|l| l.contains("gcc")).unwrap_or_else(|| panic!("{out}"));
    assert!(
        line.trim_end().chars().count() <= 80 && line.contains(" … ") && line.contains("-c dir/a.c -o dir/a.o"),
        "{line}"
    );
}
