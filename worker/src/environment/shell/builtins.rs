//! What a simple command of a shell's text may do to go through variables, by its name and arguments.
//!
//! A name that is no builtin is a function of the text or a program, which counts by itself. Sources: dash(1), bash(1),
//! "Shell Builtin Commands".

use super::{End, Scan, Simple, Word};

/// Builtins that neither list variables nor take computed names for values.
const HARMLESS: &str =
    ": true false echo cd pwd exit return break continue shift umask wait kill type hash times ulimit";

/// Builtins, and words of the grammar, that may.
const OTHER: &str = ". source eval alias unalias bg bind builtin caller compgen complete compopt declare dirs disown \
    enable fc fg help history jobs let logout mapfile popd pushd readarray shopt suspend typeset \
    function select coproc [[ chdir setvar time";

fn is_one_of(list: &str, word: &[u8]) -> bool {
    list.split(' ').any(|w| w.as_bytes() == word)
}

/// Judges a simple command and forgets it.
pub(super) fn close(command: &mut Simple, s: &mut Scan<'_, '_>) -> Option<()> {
    let words = std::mem::take(&mut command.words);
    let mut rest = &words[words.iter().take_while(|w| w.assigns()).count()..];
    loop {
        let Some((name, arguments)) = rest.split_first() else { return Some(()) };
        if !name.plain {
            return None;
        }
        let of_program = |b: &u8| b.is_ascii_alphanumeric() || b"_./+:@-".contains(b);
        let value = &name.value[..];
        match value {
            b"[" | b"test" => return tests(arguments),
            b"exec" | b"command" => match arguments.first() {
                Some(a) if value == b"command" && (a.is(b"-v") || a.is(b"-V")) => return Some(()),
                Some(a) if a.value.starts_with(b"-") => return None,
                _ => rest = arguments,
            },
            b"set" => return sets(arguments),
            b"export" | b"readonly" | b"local" => {
                return (!arguments.is_empty() && arguments.iter().all(Word::is_name)).then_some(());
            }
            b"trap" => {
                let action = arguments.first()?;
                if !action.literal || action.value.contains(&b'\\') {
                    return None;
                }
                if action.value.starts_with(b"-") {
                    return action.is(b"-").then_some(());
                }
                return Scan { text: &action.value, at: 0, found: s.found, here: Vec::new() }.list(End::Text);
            }
            b"cd" => {
                // What is computed may be `-`.
                if arguments.iter().any(|a| a.splits || !a.literal && a.head == 0 || a.value.starts_with(b"-")) {
                    s.found.names.push(b"OLDPWD".to_vec());
                }
                return Some(());
            }
            // Subscripts are arithmetic.
            b"read" | b"unset" | b"getopts" => {
                return arguments.iter().all(|a| a.literal && !a.value.contains(&b'[')).then_some(());
            }
            b"printf" => return arguments.first().filter(|a| a.literal && !a.value.starts_with(b"-")).map(|_| ()),
            _ if is_one_of(HARMLESS, value) => return Some(()),
            _ if is_one_of(OTHER, value) => return None,
            _ => {
                s.found.commands.push(value.to_vec());
                return (!value.is_empty() && value.iter().all(of_program)).then_some(());
            }
        }
    }
}

/// `test` asks whether a variable is set by `-v`, whose name may be computed: what is no operator is in quotes.
fn tests(arguments: &[Word]) -> Option<()> {
    let asks = |w: &Word| matches!(&w.value[..], b"-v" | b"-R" | b"-o") && w.literal;
    let counts = |w: &Word| !w.splits;
    let two = arguments.len() <= 3 && arguments.first().is_some_and(|w| !w.literal) && arguments.len() > 1;
    let compares = arguments.len() > 2 && arguments[1].plain && !arguments[1].value.starts_with(b"]");
    (!arguments.iter().any(asks) && arguments.iter().all(counts) && (!two || compares)).then_some(())
}

/// `set` lists all variables, unless it is given something.
fn sets(arguments: &[Word]) -> Option<()> {
    let first = arguments.first()?;
    let flags = |w: &Word| {
        w.plain && matches!(w.value.first(), Some(b'-' | b'+')) && {
            let letters = &w.value[1..];
            !letters.is_empty() && letters.iter().all(|b| b"abCefhmnuvx".contains(b))
        }
    };
    let named = |w: &[Word]| {
        matches!(w, [o, n] if matches!(&o.value[..], b"-o" | b"+o" | b"-eo" | b"-euo" | b"-exo" | b"-euxo")
            && o.plain && matches!(&n.value[..], b"pipefail" | b"errexit" | b"nounset" | b"xtrace") && n.plain)
    };
    (first.is(b"--") || named(arguments) || arguments.iter().all(flags)).then_some(())
}
