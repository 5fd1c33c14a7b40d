//! Driver or pip: pure rules over a program and its arguments.
//!
//! A driver launches pips and is never cached. What it launches is a pip with everything it starts, unless that
//! turns out to be a driver itself (`sh -c 'cd sub && make'`): then it is demoted, and this is remembered.

use crate::tools::{self, Class, base_name};

/// Build tools.
const DRIVERS: &[&str] =
    &["make", "gmake", "remake", "bmake", "ninja", "ninja-build", "samu", "scons", "cargo", "bazel", "waf", "xl"];

/// Is this the name of a GNU make?
pub fn is_make(name: &[u8]) -> bool {
    matches!(name, b"make" | b"gmake")
}

/// Is this the name of a ninja?
pub fn is_ninja(name: &[u8]) -> bool {
    matches!(name, b"ninja" | b"ninja-build" | b"samu")
}

/// Is this exec a build tool? `extra` are the user's own.
pub fn is_driver(program: &[u8], argv: &[Vec<u8>], extra: &[String]) -> bool {
    let name = base_name(program);
    let first = argv.first().map_or(name, |a| base_name(a));
    let arg = |i: usize| argv.get(i).map_or(&b""[..], Vec::as_slice);
    let known = |n: &[u8]| DRIVERS.iter().any(|d| d.as_bytes() == n) || extra.iter().any(|d| d.as_bytes() == n);
    if known(name) || known(first) {
        return true;
    }
    match name {
        b"cmake" => arg(1) == b"--build" || arg(1) == b"--install",
        b"ctest" => true,
        // A Python program: `python3 /usr/bin/meson compile`, `scons`.
        n if n == b"meson" || n.starts_with(b"python") => {
            let (tool, verb) = if n == b"meson" { (n, arg(1)) } else { (base_name(arg(1)), arg(2)) };
            let verb = if n == b"meson" && base_name(arg(1)) == b"meson" { arg(2) } else { verb };
            (tool == b"meson" && matches!(verb, b"compile" | b"install" | b"test"))
                || tool == b"scons"
                || tool == b"waf"
        }
        _ => false,
    }
}

/// Does this run of a build tool only ask something (`make --version`, `ninja -t`), or run a configure probe?
pub fn only_asks(argv: &[Vec<u8>]) -> bool {
    // ninja's `-v` is verbose, make's is the version; ninja's `-t` is a tool, make's touches.
    let ninja = argv.first().is_some_and(|a| is_ninja(base_name(a)));
    argv.iter().skip(1).any(|a| {
        matches!(&a[..], b"--version" | b"--help" | b"-h" | b"-n" | b"-q" | b"--question" | b"--dry-run" | b"-t")
            || (a == b"-v" && !ninja)
            || base_name(a).starts_with(b"conftest")
            || base_name(a).starts_with(b"confmf")
            || base_name(a) == b"confinc"
    })
}

/// Commands that a configure probe's makefile is made of; they alone do not make a pip a driver.
const TRIVIAL: &[&[u8]] =
    &[b"echo", b"true", b"false", b":", b"test", b"[", b"printf", b"cat", b"pwd", b"expr", b"exit"];

/// Is a command that a driver inside a pip launches worth caching by itself? If so, the pip is a driver.
pub fn worth_caching(program: &[u8], argv: &[Vec<u8>]) -> bool {
    if is_shell(program) {
        // One trivial command, and nothing else in the text.
        return argv.iter().skip(1).filter(|a| a.first() != Some(&b'-')).any(|text| {
            let first = text.split(|b| b.is_ascii_whitespace()).find(|w| !w.is_empty()).unwrap_or_default();
            !TRIVIAL.contains(&first) || text.iter().any(|b| matches!(b, b';' | b'&' | b'|' | b'`' | b'\n'))
        });
    }
    !TRIVIAL.contains(&base_name(program))
}

/// sh, dash, bash.
pub fn is_shell(program: &[u8]) -> bool {
    tools::tool(program).is_some_and(|t| t.class == Class::Shell)
}

/// Compilers, assemblers, archivers, linkers.
pub fn is_toolchain(program: &[u8]) -> bool {
    tools::tool(program).is_some_and(|t| t.class == Class::Toolchain)
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
