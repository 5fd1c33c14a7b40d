//! Which commands do not mind where their text goes: to a pipe, to nowhere, or, if they have none, to a terminal.
//!
//! What a tool of the table prints it prints wherever that goes; compilers colour it for a terminal. So a result
//! without any text does for every place, and one whose text is on one stream for every place that is no terminal. A
//! shell is as its commands are, if its text says which these are, and names no stream. Of what nobody knows each place
//! is its own.

use crate::accesses::Program;
use crate::command_text::shell_text;
use crate::environment;
use crate::tools::{self, Class, Tool};

/// Will this command not mind, as far as is known before it runs?
pub fn minds_none(program: &[u8], argv: &[Vec<u8>]) -> bool {
    tools::kind(program).is_some_and(|t| tool_minds_none(t, program, argv)) && commands_mind_none(program, argv)
}

/// Did none of these programs mind?
pub(crate) fn none_minded(programs: &[Program]) -> bool {
    programs.iter().all(|p| p.tool.is_some_and(|t| tool_minds_none(t, &p.path, &p.argv)))
}

fn tool_minds_none(t: &Tool, program: &[u8], argv: &[Vec<u8>]) -> bool {
    match t.class {
        None => false,
        Some(Class::Shell) => shell_text(argv).is_some_and(|text| !names_a_stream(text)),
        Some(_) => {
            !tools::find(program).is_some_and(|k| k.minds_terminal(argv)) && !argv.iter().any(|w| names_a_stream(w))
        }
    }
}

/// The commands of a shell's text, if that is one, are tools that do not mind.
fn commands_mind_none(program: &[u8], argv: &[Vec<u8>]) -> bool {
    if !tools::is_shell(program) {
        return true;
    }
    let known = |name: &Vec<u8>| tools::kind(name).is_some_and(|t| !t.is(Class::Shell));
    shell_text(argv).and_then(environment::commands).is_some_and(|all| all.iter().all(known))
}

/// Does a text name a standard stream as a file, or ask whether one is a terminal?
fn names_a_stream(text: &[u8]) -> bool {
    use bstr::ByteSlice;
    let of_device = |i: usize| !text[i..].starts_with(b"/dev/null");
    text.find_iter("/dev/").any(of_device)
        || text.contains_str("/proc/")
        || text.fields().any(|w| w == b"-t" || w == b"-p" || w == b"-ef")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_minds() {
        let argv = |words: &[&str]| words.iter().map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>();
        let shell = |text: &str| minds_none(b"/usr/bin/dash", &argv(&["sh", "-c", text]));
        for text in [
            "gcc -c a.c && mv -f a.o b.o",
            "d=`echo a.o | sed 's|[^/]*$|.deps/&|;s|\\.o$||'`; gcc -c a.c -o $d",
            "rm -f l.a; ar cr l.a a.o > /dev/null 2>&1 || exit 1",
            "if test -f x; then cp x y; fi",
        ] {
            assert!(shell(text), "{text}");
        }
        for text in [
            "python3 g.py",
            "./gen > x",
            "test -t 1 && echo",
            "cat > /dev/stdout",
            "eval gcc",
            "sh x.sh",
            "[ -p /dev/fd/1 ]",
        ] {
            assert!(!shell(text), "{text}");
        }
        assert!(minds_none(b"/usr/bin/gcc", &argv(&["gcc", "-c", "a.c"])));
        assert!(!minds_none(b"/usr/bin/python3", &argv(&["python3", "a.py"])));
    }
}
