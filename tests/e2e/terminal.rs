//! What `xl` shows on a terminal that others write to: their bytes stay as they are, one behind the other, and nothing
//! is shown while a line or a sequence of theirs is open.
//!
//! With `XL_STATUS_AFTER=0` the status is shown at every moment at which it may be, not only after two silent seconds.

use crate::world::World;

const DRAW: &[u8] = b"\x1b7\x1b[?7l\x1b[m";
const DRAWN: &[u8] = b"\x1b[?7h";
const ERASE: &[u8] = b"\x1b8\x1b[m\x1b[K\x1b8";
const TERMS: [&str; 5] = ["xterm-256color", "tmux-256color", "screen", "linux", "vt100"];

/// What a command in the tree prints on a terminal.
fn on_terminal(w: &World, term: &str, command: &str) -> Vec<u8> {
    w.write("../command.sh", &format!("stty cols 100 rows 24\n{command}\n"));
    w.sh(&format!("TERM={term} script -qe -E never -c 'bash ../command.sh' /dev/null")).stdout
}

/// The same below `xl`.
fn below_xl(w: &World, term: &str, options: &str, command: &str) -> Vec<u8> {
    on_terminal(w, term, &format!("XL_STATUS_AFTER=0 {} run {options} -- {command}", env!("CARGO_BIN_EXE_xl")))
}

/// What others have written, and after how many bytes of it the status was shown, each time.
///
/// Panics if a sequence is not whole, or anything is written while the status is shown.
fn take_out(all: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut rest, mut shown, mut at, mut draws) = (Vec::new(), false, 0, Vec::new());
    while at < all.len() {
        let here = &all[at..];
        if here.starts_with(ERASE) {
            assert!(shown, "erased twice at {at}: {}", all.escape_ascii());
            (shown, at) = (false, at + ERASE.len());
        } else if here.starts_with(DRAW) {
            let end = here.windows(DRAWN.len()).position(|w| w == DRAWN).expect("the end of the status");
            let text = &here[DRAW.len()..end];
            assert!(!shown && text.starts_with(b"xl: ") && !text.contains(&0x1b), "at {at}: {}", all.escape_ascii());
            (shown, at) = (true, at + end + DRAWN.len());
            draws.push(rest.len());
        } else {
            assert!(!shown, "written over at {at}: {}", all.escape_ascii());
            rest.push(all[at]);
            at += 1;
        }
    }
    assert!(!shown, "left behind: {}", all.escape_ascii());
    (rest, draws)
}

/// Without the summary, which begins a line.
fn without_summary(mut text: Vec<u8>) -> Vec<u8> {
    let ends = (0..text.len()).find(|i| text[*i..].starts_with(b"xl: ") && (*i == 0 || text[i - 1] == b'\n'));
    text.truncate(ends.expect("a summary"));
    text
}

/// Sequences, characters and lines in pieces, with the time for a status between any two of them.
const PIECES: &str = r#"
import os, time
for piece in [b"\x1b[3", b"1mred\x1b", b"[m\n", b"plain\n", b"\x1b]0;ti", b"t\nle", b"\x07", b"checking... ", b"yes\n", b"\xe2\x9c", b"\x93\r\n", b"50%\r", b"100%\n",
              b"last\n", b"\x1b[2Aup\x1b[2B\n", b"after\n"]:
    os.write(1 if b"%" in piece else 2, piece)
    time.sleep(0.004)
"#;

/// Runs each kind of build on each kind of terminal so many times.
fn bytes_stay(times: usize) {
    let w = World::new();
    let steps = (0..12)
        .map(|i| format!("s{i}:\n\t@printf '\\033[32mstep {i}\\033[m\\n'; echo more of {i} >&2\n\techo shown {i}\n"));
    w.write(
        "Makefile",
        &format!(
            "all: {}\n{}",
            (0..12).map(|i| format!("s{i}")).collect::<Vec<_>>().join(" "),
            steps.collect::<String>()
        ),
    );
    let edges = (0..12).map(|i| format!("build n{i}: e\n"));
    w.write(
        "build.ninja",
        &format!(
            "rule e\n command = echo text of $out; : > $out\n description = EDGE $out\n{}",
            edges.collect::<String>()
        ),
    );
    w.write("pieces.py", PIECES);
    w.write("ninja.sh", "rm -f n[0-9]*; ninja -j1\n");
    let builds =
        [("make -B -j2", false), ("make -B", true), ("sh ninja.sh", true), ("/usr/bin/python3 -B pieces.py", true)];
    let mut all = 0;
    for (command, ordered) in builds {
        let lines = |text: &[u8]| {
            let mut lines: Vec<Vec<u8>> = text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            if !ordered {
                lines.sort();
            }
            lines
        };
        for term in TERMS {
            let plain = on_terminal(&w, term, command);
            for time in 0..times {
                let (said, draws) = take_out(&below_xl(&w, term, "", command));
                let said = without_summary(said);
                assert_eq!(lines(&said), lines(&plain), "{command}, {term}, {time}: {}", said.escape_ascii());
                for before in draws.iter().filter_map(|at| said.get(..*at)) {
                    let sequence = before.ends_with(b"\x1b]0;tit\r\n") || before.windows(4).any(|w| w == b"\x1b[2A");
                    let closed =
                        before.is_empty() || before.ends_with(b"\n") && !sequence || before.ends_with(b"le\x07");
                    assert!(closed, "{command}, {term}: shown after {}", before.escape_ascii());
                }
                all += draws.len();
            }
        }
    }
    // A status that is never shown disturbs nobody.
    assert!(all > 20 * times, "the status was shown {all} times");
}

#[test]
fn the_bytes_of_others_stay() {
    bytes_stay(3);
}

#[test]
#[ignore = "minutes; part of `cargo xtask long`"]
fn the_bytes_of_others_stay_two_hundred_times() {
    bytes_stay(200);
}

#[test]
fn two_silent_seconds() {
    let w = World::new();
    w.write("Makefile", "all:\n\t@sleep 2.7\n\t@echo done\nshort:\n\t@sleep 0.7\n");
    let run = |goal: &str| {
        let began = std::time::Instant::now();
        let all = on_terminal(&w, "xterm", &format!("{} run -- make -s {goal}", env!("CARGO_BIN_EXE_xl")));
        (String::from_utf8_lossy(&all).into_owned(), take_out(&all), began.elapsed().as_secs_f64())
    };
    let (text, (said, draws), _) = run("all");
    assert!(!draws.is_empty() && draws.iter().all(|at| *at == 0), "{draws:?}");
    assert_eq!(without_summary(said), b"done\r\n");
    assert!(text.contains("xl: 0 hits, 0 ran, 1 running, 0.0/s") && text.contains(" s: sleep 2.7\x1b[?7h"), "{text}");
    let (text, (_, draws), took) = run("short");
    assert!(draws.is_empty() || took > 2.0, "{text}");
}

#[test]
fn where_no_status_is_shown() {
    let w = World::new();
    for (term, options, how) in [
        ("xterm", "--quiet", ""),
        ("xterm", "--summary off", ""),
        ("xterm", "", "export NO_COLOR=1; "),
        ("dumb", "", ""),
        ("unheard-of", "", ""),
        ("''", "", ""),
        ("xterm", "", "exec 2> log; "),
    ] {
        let command = format!(
            "{how}XL_STATUS_AFTER=0 {} run {options} -- sh -c 'sleep 0.3; echo text'",
            env!("CARGO_BIN_EXE_xl")
        );
        let said = on_terminal(&w, term, &command);
        assert!(
            said.starts_with(b"text\r\n") && !said.contains(&0x1b),
            "{term} {options} {how}: {}",
            said.escape_ascii()
        );
        assert_eq!(
            options.is_empty() && !how.contains("exec"),
            said.windows(4).any(|w| w == b"xl: "),
            "{}",
            said.escape_ascii()
        );
    }
    assert!(!w.read("log").contains('\x1b'));
    // Others have the terminal: the shell, whoever reads the text, another command of the same job.
    let build = format!("XL_STATUS_AFTER=0 {} run -- sh -c 'sleep 0.3; echo text'", env!("CARGO_BIN_EXE_xl"));
    for command in [format!("set -m; {build} & wait"), format!("{build} | cat"), format!("sleep 5 & {build}; kill $!")]
    {
        let said = on_terminal(&w, "xterm", &command);
        assert!(said.windows(4).any(|w| w == b"text") && !said.contains(&0x1b), "{command}: {}", said.escape_ascii());
    }
    // What is not said is only what is no trouble.
    let o = w.xl(&["run", "--quiet", "--cache-dir", "/dev/null/x", "--", "true"]).output().unwrap();
    assert!(String::from_utf8_lossy(&o.stderr).starts_with("xl: warning: "), "{o:?}");
}

/// A line that the build leaves open is not gone on with.
#[test]
fn words_between_lines() {
    let w = World::new();
    let all = below_xl(&w, "xterm", "", "sh -c 'printf open'");
    assert!(take_out(&all).0.starts_with(b"open\r\nxl: 0 pips"), "{}", all.escape_ascii());
}

/// Whoever opens the terminal, reads from it or makes it their own finds it as without `xl`, and alone.
#[test]
fn others_at_the_terminal() {
    let w = World::new();
    w.write("names.sh", "echo 1; echo 2 > /dev/tty; echo 3 >&2; echo 4 >> $(tty); echo 5; sleep 0.05; echo 6\n");
    w.write("reads.sh", "echo which; read x; sleep 0.05; echo got it; sleep 0.05\n");
    w.write(
        "whose.py",
        "import os, time\nprint(os.tcgetpgrp(1) == os.getpgrp(), os.isatty(2), \
        os.get_terminal_size(2))\ntime.sleep(.05)\nos.write(1, b'end\\n')\n",
    );
    w.write(
        "job.sh",
        "set -m; sh -c 'test $(ps -o tpgid= -p $$) = $(ps -o pgid= -p $$) && echo in front'; sleep 0.05; echo end\n",
    );
    w.write(
        "modes.py",
        "import termios, time\nprint('before', flush=True)\nm = termios.tcgetattr(1)\nm[1] &= \
        ~termios.OPOST\ntermios.tcsetattr(1, 1, m)\nprint('a\\nb', flush=True)\ntime.sleep(.05)\nprint('end', \
        flush=True)\n",
    );
    for (command, from) in [
        ("bash names.sh", Some("2")),
        ("sh reads.sh < /dev/tty", Some("got")),
        ("/usr/bin/python3 -B whose.py", None),
        ("bash job.sh", Some("in front")),
        ("/usr/bin/python3 -B modes.py", Some("a\n")),
        ("bash --norc --noprofile -ic 'echo $-; sleep 0.05; jobs; echo end'", Some("him")),
    ] {
        let plain = on_terminal(&w, "xterm", command);
        for time in 0..5 {
            let all = below_xl(&w, "xterm", "", command);
            let (said, draws) = take_out(&all);
            let said = without_summary(said);
            assert_eq!(said.escape_ascii().to_string(), plain.escape_ascii().to_string(), "{command}, {time}");
            if let Some(from) = from {
                let at = said.windows(from.len()).position(|w| w == from.as_bytes()).expect("its text");
                assert!(draws.iter().all(|d| *d <= at), "{command}: {}", all.escape_ascii());
            }
        }
    }
}

/// The shell that is back while the build is stopped writes where the build has stopped.
#[test]
fn nothing_is_shown_while_the_build_is_stopped() {
    let w = World::new();
    w.write("b.sh", "echo sta''rted; while [ ! -e go ]; do sleep 0.02; done; sh -c 'echo fin\"\"ished; :'\n");
    w.write(
        "shell.py",
        r#"
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0: os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], os.environ | {"TERM": "vt100", "XL_STATUS_AFTER": "0"})
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
seen = b""
def until(text):
    global seen
    before = b""
    while text not in seen:
        try: b = os.read(fd, 4096)
        except OSError: b = b""
        if not b: sys.exit("lost: " + seen.decode())
        seen += b
    at = seen.index(text) + len(text)
    before, seen = seen[:at], seen[at:]
    return before
os.write(fd, (sys.argv[1] + " run -- sh b.sh\n").encode())
until(b"started")
until(b"\x1b[?7h")
os.write(fd, b"\x1a")
said = until(b"Stopped")
assert said.rfind(b"\x1b[K\x1b8") > said.rfind(b"\x1b7"), said
open("go", "w").close()
os.write(fd, b"fg\n")
until(b"finished")
until(b"xl: ")
os.write(fd, b"exit\n")
print("done")
"#,
    );
    for _ in 0..3 {
        w.sh("rm -f go");
        let o = w.sh(&format!("timeout 60 python3 -B shell.py {}", env!("CARGO_BIN_EXE_xl")));
        assert_eq!(String::from_utf8_lossy(&o.stdout), "done\n", "{}", String::from_utf8_lossy(&o.stderr));
    }
}

/// `xl` is killed while it stands between the build and the terminal.
#[test]
fn a_killed_xl_takes_no_text_along() {
    let w = World::new();
    w.write(
        "b.sh",
        "echo one; : > ready; while ! test -e go; do sleep 0.05; done; echo two; echo three >&2; : > end\n",
    );
    let xl = env!("CARGO_BIN_EXE_xl");
    let said = on_terminal(
        &w,
        "xterm",
        &format!(
            "{xl} run -- sh b.sh & while ! test -e ready; do sleep 0.05; done; kill -9 $!; : > go; while ! test -e \
                end; do sleep 0.05; done; sleep 0.2"
        ),
    );
    let text = String::from_utf8_lossy(&said).replace('\r', "");
    assert!(["one\n", "two\n", "three\n"].iter().all(|line| text.contains(line)), "{text}");
}
