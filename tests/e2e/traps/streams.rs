//! Text that goes to somebody with a mind of its own: a reader that leaves, a terminal that is read from, a log that is
//! read.

use crate::world::World;

const XL: &str = env!("CARGO_BIN_EXE_xl");

/// Ends like a member of a pipe whose reader has left: also if that is known only when a capture has taken all of the
/// text, and if the text comes from the cache.
#[test]
fn readers_that_leave() {
    let w = World::new();
    // Its compiler says about 600 KB.
    let lines: String = (0..6000).map(|n| format!("#warning number {n} of them\n")).collect();
    w.write("w.c", &format!("{lines}int w;\n"));
    w.write(
        "say.c",
        "#include <stdlib.h>\n#include <unistd.h>\nint main(int n, char **v) { char b[1000] = {0}; \
        sleep(n > 2); for (int i = atoi(v[1]); i; i--) write(1, b, 1000); return 5; }\n",
    );
    w.sh("gcc -O2 say.c -o say");
    let text = |reader: &str| {
        format!(
            "gcc -c w.c 2>&1 | {reader}; echo gcc ${{PIPESTATUS[0]}}
for n in 0 80 100 300; do ./say $n | {reader}; echo $n ${{PIPESTATUS[0]}}; done
{{ ./say 1 late; echo late $? >&2; }} | {reader}
(trap '' PIPE; ./say 100) | {reader}; echo ignored ${{PIPESTATUS[0]}}"
        )
    };
    let all = w.sh(&format!("bash -c '{}' 2>/dev/null", text("cat > /dev/null")));
    for reader in ["cat > /dev/null", "head -c1 > /dev/null", "exec <&-"] {
        w.write("b.sh", &text(reader));
        let want = w.sh("bash b.sh");
        let want =
            (String::from_utf8_lossy(&want.stdout).into_owned(), String::from_utf8_lossy(&want.stderr).into_owned());
        assert_eq!(want.0.as_bytes() == all.stdout, reader.starts_with("cat"), "{reader} bites nobody: {}", want.0);
        for time in ["cold", "warm"] {
            w.sh("rm -f w.o");
            let r = w.run(&["bash", "b.sh"]);
            let late = r.stderr().lines().next().unwrap_or_default().to_owned();
            assert_eq!((r.stdout(), format!("{late}\n")), want, "{reader}, {time}: {}", r.story());
            if reader.starts_with("cat") {
                assert_eq!(r.outcome("gcc -c"), if time == "cold" { "miss" } else { "hit" }, "{}", r.story());
            }
        }
    }
}

/// What stands in for a terminal is only written to. Who sets its modes or reads from it has the terminal itself, in
/// the modes that it knows, and leaves it as it was.
#[test]
fn more_of_a_terminal_than_its_text() {
    let w = World::new();
    w.write(
        "menu.py",
        "import os, sys, termios
def ask(fd, name):
    old = termios.tcgetattr(fd)
    raw = termios.tcgetattr(fd)
    raw[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(fd, termios.TCSANOW, raw)
    print(name, 'post', old[1] & termios.OPOST != 0)
    sys.stdout.flush()
    print('key', os.read(fd, 1))
    sys.stdout.flush()
    termios.tcsetattr(fd, termios.TCSANOW, old)
ask(1, 'out')
ask(2, 'err')
",
    );
    w.write("ask.sh", "echo -n \"$1? \"; read x <&2; echo hello $x\n");
    w.write("direct.sh", "echo -n 'town? '; read -u 2 x; echo hello $x\n");
    w.write("say.sh", "printf 'a\\nb\\r\\nc\\r50%%\\rtab\\t.\\n\\n'\n");
    w.write(
        "Makefile",
        "all:\n\t/usr/bin/python3 -B menu.py\n\tdash ask.sh name; bash ask.sh place; bash direct.sh\n\tsh say.sh; \
            :\n\tgcc -E none.c; :\n",
    );
    let on_terminal = |command: &str, keys: &str| {
        // Nothing is typed before somebody asks.
        w.write(
            "type.sh",
            "for k in \"$@\"; do until [ \"$(grep -aFc \"${k%%=*}\" typed)\" != 0 ]; do :; done; printf \"${k#*=}\"; \
                done\n",
        );
        w.sh(&format!(
            ": > typed; sh type.sh {keys} | TERM=dumb timeout 60 script -qefc '{command}; stty -a > stty' typed > \
                /dev/null; sed -i '/^Script/d' typed"
        ));
        (w.read("typed"), w.read("stty"))
    };
    let keys = "'out post=q' 'err post=w' 'name?=first\\n' 'place?=second\\n' 'town?=third\\n'";
    let want = on_terminal("make", keys);
    assert!(want.0.contains("hello third") && want.0.contains("b'w'") && want.1.contains("\nopost"), "{want:?}");
    for time in 0..2 {
        let got = on_terminal(&format!("{XL} run --summary off --json ../r.json -- make"), keys);
        let r = w.record();
        assert_eq!(got, want, "{time}: {r}");
        let unstored = |c: &str| {
            let items = r["items"].as_array().expect("items");
            items.iter().any(|i| {
                i["command"].to_string().contains(c) && i["not_stored"].to_string().contains("terminal for more than")
            })
        };
        assert!(unstored("menu.py") && unstored("ask.sh") && !unstored("say.sh"), "{r}");
    }
    // A result that is printed on a terminal is what the command has written.
    let want = on_terminal("sh say.sh", "");
    for hits in 0..2 {
        assert_eq!(on_terminal(&format!("{XL} exec --summary off --json ../r.json -- sh say.sh"), ""), want);
        let r = w.record();
        assert_eq!(r["pips"]["hit"].as_u64(), Some(hits));
    }
}

/// A command that looks through all files finds the log of the build, which its text goes to. It ends all the same.
#[test]
fn a_log_that_is_read() {
    let w = World::new();
    w.write("Makefile", "all:\n\tgrep -r needle .; :\n\tcat *.txt; :\n");
    w.write("a.txt", "needle\n");
    for _ in 0..2 {
        let o = w.sh(&format!("timeout 60 {XL} run --json ../r.json -- make > b.txt"));
        assert_eq!(o.status.code(), Some(0));
        // Where looks are told of late, some of it is read.
        assert!(w.read("b.txt").len() < 1 << 20);
        let r = w.record();
        assert_eq!((r["pips"]["hit"].as_u64(), r["pips"]["uncacheable"].as_u64()), (Some(0), Some(2)), "{r}");
    }
}

/// Nothing matters less than where no text goes: a build hits wherever its output went before, and goes now.
#[test]
fn how_the_output_of_a_build_is_redirected() {
    let w = World::new();
    w.write(
        "Makefile",
        "CFLAGS = -O1\nall: p\np: a.o b.o l.a\n\tgcc -o p a.o b.o l.a\na.o: a.c\n\tgcc -c a.c -o a.o\nb.o: b.c\n\t\
            gcc -MD -MF b.Tpo -c b.c -o b.o && mv -f b.Tpo b.Po\nl.a: c.o\n\trm -f l.a; ar cr l.a c.o\nc.o: c.c\n\tgcc \
            -Wall -c c.c -o c.o\n",
    );
    w.write("a.c", "int b(void); int c(void); int main(void) { return b() + c(); }\n");
    w.write("b.c", "int b(void) { return 0; }\n");
    w.write("c.c", "int c(void) { int unused; return 0; }\n");
    let xl = format!("{XL} run --summary off --json ../r.json --");
    let ways = [
        format!("{xl} make > /dev/null 2>&1"),
        format!("{xl} make 2>&1 | tail -3"),
        format!("{xl} make 2> ../err"),
        format!("{xl} make > ../log 2>&1"),
        format!("script -qefc '{xl} make' /dev/null > /dev/null"),
        format!("bash -c '{xl} make 2> >(cat > ../err.log)'"),
        format!("{xl} make 2>&1 | cat"),
    ];
    for (i, first) in ways.iter().enumerate() {
        w.sh("rm -rf ../cache *.o *.Po l.a p");
        w.sh(first);
        let r = w.record();
        assert_eq!((r["pips"]["miss"].as_u64(), r["pips"]["uncacheable"].as_u64()), (Some(5), Some(0)), "{first}: {r}");
        for other in ways.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, o)| o) {
            w.sh("rm -f *.o *.Po l.a p");
            w.sh(other);
            let r = w.record();
            let of = |o: &str| {
                let items = r["items"].as_array().expect("items").iter();
                items.filter(|i| i["outcome"] == o).map(|i| i["command"].to_string()).collect::<Vec<_>>()
            };
            // A warning is coloured for a terminal.
            let coloured = first.contains("script") != other.contains("script");
            let missed = of("miss").into_iter().filter(|c| !(coloured && c.contains("-Wall"))).collect::<Vec<_>>();
            assert!(missed.is_empty() && of("uncacheable").is_empty(), "{first}, then {other}: {r}");
            assert!(w.sh("./p").status.success());
        }
    }
}

/// Who asks what its output is, or has text for it, has the answer that it would have.
#[test]
fn who_minds_where_its_text_goes() {
    let w = World::new();
    w.write(
        "ask.py",
        "import os, stat, sys\nprint(oct(stat.S_IFMT(os.fstat(1).st_mode)), os.isatty(1), file=open('o', 'w'))\n",
    );
    w.write("a.c", "#warning text\nint a;\n");
    let ask = [
        "/usr/bin/python3 -B ask.py; :",
        "test -t 1; echo $? > o",
        "[ -p /dev/stdout ]; echo $? > o",
        "[ -c /dev/stdout ]; echo $? > o",
        "readlink /proc/self/fd/1 | cut -c1-4 > o; :",
        "gcc -c a.c; cp a.c o",
        "ls -d a.c; :",
    ];
    for command in ask {
        w.write("Makefile", &format!("all:\n\t{}\n", command.replace('$', "$$")));
        let run = |way: &str, with: &str| {
            let text = w.sh(&format!("rm -f o; {with} make -s{way}")).stdout;
            (w.sh("cat o").stdout, text)
        };
        let (nowhere, piped) = (" > /dev/null 2>&1", " 2>&1 | cat");
        let plain = run(piped, "");
        w.sh("rm -rf ../cache");
        run(nowhere, &format!("{XL} run --summary off --"));
        assert_eq!(run(piped, &format!("{XL} run --summary off --")), plain, "{command}");
    }
}
