//! Driver or pip: pure rules over a program and its arguments.
//!
//! A driver launches pips and is never cached. What it launches is a pip with everything it starts, unless that
//! turns out to be a driver itself (`sh -c 'cd sub && make'`): then it is demoted, and this is remembered.

use crate::tools::{self, BuildFiles, Known, base_name, is_shell};

/// Is this the name of a GNU make?
pub fn is_make(name: &[u8]) -> bool {
    tools::find(name).is_some_and(|k| k.reads(BuildFiles::Make))
}

/// Is this the name of a ninja?
pub fn is_ninja(name: &[u8]) -> bool {
    tools::find(name).is_some_and(|k| k.reads(BuildFiles::Ninja))
}

/// Is this exec a build tool? `extra` are the user's own.
pub fn is_driver(program: &[u8], argv: &[Vec<u8>], extra: &[String]) -> bool {
    let first = argv.first().map_or(program, Vec::as_slice);
    let is_extra = |n: &[u8]| extra.iter().any(|d| d.as_bytes() == base_name(n));
    let always = |n: &[u8]| tools::find(n).is_some_and(Known::always_drives) || is_extra(n);
    always(program) || always(first) || tools::find(program).is_some_and(|k| k.drives(argv))
}

/// Does this run of a build tool only ask something (`make --version`, `ninja -t`), or run a configure probe?
pub fn only_asks(argv: &[Vec<u8>]) -> bool {
    // ninja's `-v` is verbose, make's is the version; ninja's `-t` is a tool, make's touches.
    let ninja = argv.first().is_some_and(|a| is_ninja(a));
    argv.iter().skip(1).any(|a| {
        matches!(&a[..], b"--version" | b"--help" | b"-h" | b"-n" | b"-q" | b"--question" | b"--dry-run" | b"-t")
            || (a == b"-v" && !ninja)
            || base_name(a).starts_with(b"conftest")
            || base_name(a).starts_with(b"confmf")
            || base_name(a) == b"confinc"
    })
}

/// Is a command that a driver inside a pip launches worth caching by itself? If so, the pip is a driver.
pub fn worth_caching(program: &[u8], argv: &[Vec<u8>]) -> bool {
    let is_trivial = |n: &[u8]| tools::find(n).is_some_and(Known::is_trivial);
    if is_shell(program) {
        // One trivial command, and nothing else in the text.
        return argv.iter().skip(1).filter(|a| a.first() != Some(&b'-')).any(|text| {
            let first = text.split(|b| b.is_ascii_whitespace()).find(|w| !w.is_empty()).unwrap_or_default();
            first.contains(&b'/')
                || !is_trivial(first)
                || text.iter().any(|b| matches!(b, b';' | b'&' | b'|' | b'`' | b'\n'))
        });
    }
    !is_trivial(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|s| s.as_bytes().to_vec()).collect()
    }

    #[test]
    fn drivers() {
        for (program, line, want) in [
            ("/usr/bin/make", "make -j2", true),
            ("/usr/bin/ninja", "ninja", true),
            ("/usr/bin/cmake", "cmake --build .", true),
            ("/usr/bin/cmake", "cmake -E copy a b", false),
            ("/usr/bin/python3.11", "python3 /usr/bin/meson compile", true),
            ("/usr/bin/python3.11", "python3 /usr/bin/meson --internal exe", false),
            ("/usr/bin/gcc", "gcc -c x.c", false),
            ("/bin/dash", "sh -c make", false),
            ("/opt/mymake", "mymake", false),
        ] {
            assert_eq!(is_driver(program.as_bytes(), &args(line), &[]), want, "{line}");
        }
        assert!(is_driver(b"/opt/mymake", &args("mymake"), &["mymake".into()]));
    }

    #[test]
    fn probes_do_not_demote() {
        assert!(only_asks(&args("make --version")));
        assert!(only_asks(&args("make -f conftest.make")));
        assert!(only_asks(&args("make -s -f confmf.GNU")));
        assert!(!only_asks(&args("make -j2 all")));
        assert!(!only_asks(&args("ninja -v")) && only_asks(&args("make -v")) && !only_asks(&args("make -p")));
        assert!(!worth_caching(b"/bin/echo", &args("echo hi")));
        assert!(!worth_caching(b"/bin/sh", &["sh".into(), "-c".into(), "echo $(MAKE) x".into()]));
        assert!(worth_caching(b"/bin/sh", &["sh".into(), "-c".into(), "test -f x || gen y".into()]));
        assert!(worth_caching(
            b"/bin/sh",
            &["sh".into(), "-c".into(), "/bin/sh ./libtool --mode=compile gcc -c a.c".into()]
        ));
        assert!(worth_caching(b"/usr/bin/gcc", &args("gcc -c a.c")));
    }
}
