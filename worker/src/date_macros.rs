//! Does a compiler expand one of its macros for date and time? A word in a comment asks for nothing, nor does a
//! definition that nobody uses: `config.h` explains the words, `version.h` defines what one file of a hundred prints.
//!
//! No preprocessor: it knows neither conditions nor values. Wherever it cannot be sure (a word in a string, in a branch
//! that is not taken, in a text that it cannot take apart) the word counts as used, so that what it errs in runs once
//! more.

use crate::scripts::{has_word, part_of_name};
use crate::tools::{self, Known};
use bstr::ByteSlice;
use rustc_hash::FxHashSet;

/// How far a text goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Clock {
    #[default]
    Unnamed,
    /// A macro is defined that would ask, and nobody uses it. Who precompiles it hands it on.
    Defined,
    Asked,
}

/// What these texts do about the macros in `roots`. `naming` are those in which one of them occurs, `all` are the
/// others, too, and the words of the command lines; it is only called if it matters. `None`: a text is not known.
pub(crate) fn clock(
    roots: &[&[u8]],
    naming: impl IntoIterator<Item = Option<Vec<u8>>>,
    all: impl FnOnce() -> Option<Vec<Vec<u8>>>,
) -> Clock {
    let roots: Vec<Vec<u8>> = roots.iter().map(|r| r.to_vec()).collect();
    let mut new = Vec::new();
    for text in naming {
        match text.and_then(|t| defines(&t, &roots)) {
            Some(found) => new.extend(found),
            None => return Clock::Asked,
        }
    }
    if new.is_empty() {
        return Clock::Unnamed;
    }
    let Some(texts) = all() else { return Clock::Asked };
    let mut macros: FxHashSet<Vec<u8>> = FxHashSet::default();
    loop {
        new.retain(|n| macros.insert(n.clone()));
        if new.is_empty() {
            break;
        }
        let mut next = Vec::new();
        for t in &texts {
            match defines(t, &new) {
                Some(found) => next.extend(found),
                None => return Clock::Asked,
            }
        }
        new = next;
    }
    let words = words(&texts);
    if macros.iter().any(|m| is_pasted(m, &words)) { Clock::Asked } else { Clock::Defined }
}

/// Does this compiler expand macros, rather than call one that does?
pub(crate) fn preprocesses(path: &[u8]) -> bool {
    tools::find(path).is_some_and(Known::expands_macros)
}

/// Does it compile C, or a language like it, of today, from files that it names, with options that are all on its
/// command line?
pub(crate) fn is_clear(compiler: Known, argv: &[Vec<u8>]) -> bool {
    // Comments are others there, or the text is nowhere.
    const OLD: &[&[u8]] = &[b"-traditional", b"-ansi", b"-std=c8", b"-std=c90", b"-std=iso9899:199", b"-trigraphs"];
    let elsewhere = |w: &[u8]| w.starts_with(b"/dev/") && w != b"/dev/null" || w.starts_with(b"/proc/");
    let options = |w: &[u8]| [&b"@"[..], b"--config", b"-specs", b"--specs"].iter().any(|o| w.starts_with(o));
    let unclear = |w: &Vec<u8>| elsewhere(w) || options(w) || OLD.iter().any(|o| w.starts_with(o));
    !compiler.is_of_other_language() && !reads_stdin(argv) && !argv.iter().skip(1).any(unclear)
}

/// Is it told to read its standard input?
pub(crate) fn reads_stdin(argv: &[Vec<u8>]) -> bool {
    let is_output = |w: &[u8]| [&b"-o"[..], b"-MF", b"-MT", b"-MQ"].contains(&w);
    argv.windows(2).any(|w| w[1] == b"/dev/stdin" || w[1] == b"-" && !is_output(&w[0]))
}

/// May a source that is not kept ask for date or time, and for the time of the source?
pub(crate) fn asked_by(source: &[u8]) -> (bool, bool) {
    let asks = |roots: &[&[u8]]| {
        cache::digest::names_any(source, roots) && clock(roots, [Some(source.to_vec())], || None) != Clock::Unnamed
    };
    (asks(&cache::digest::MACROS), asks(&[cache::digest::FILE_TIME]))
}

/// The macros that are defined with one of these names; `None` if one is used, as far as can be told.
fn defines(text: &[u8], names: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let mentions = |t: &[u8]| names.iter().any(|n| has_word(t, n, false));
    if !names.iter().any(|n| text.contains_str(n)) {
        return Some(Vec::new());
    }
    let code = code(text)?;
    let mut out = Vec::new();
    for line in code.lines().filter(|l| mentions(l)) {
        let (word, rest) = split_word(line.trim_start().strip_prefix(b"#")?.trim_start());
        let rest = rest.trim_start();
        match word {
            b"define" => {
                let (name, body) = split_word(rest);
                if mentions(body) {
                    out.push(name.to_vec());
                }
            }
            b"undef" | b"ifdef" | b"ifndef" | b"elifdef" | b"elifndef" => {}
            b"if" | b"elif" if !mentions(&without_defined(rest)) => {}
            _ => return None,
        }
    }
    Some(out)
}

/// A name, and what follows it.
fn split_word(b: &[u8]) -> (&[u8], &[u8]) {
    b.split_at(b.iter().position(|c| !part_of_name(Some(c))).unwrap_or(b.len()))
}

/// A condition without what `defined` asks for: that expands nothing.
fn without_defined(condition: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = condition;
    while let Some(i) = rest.find(b"defined") {
        out.extend_from_slice(&rest[..i]);
        out.push(b' ');
        let after = rest[i + 7..].trim_start();
        rest = split_word(after.strip_prefix(b"(").unwrap_or(after).trim_start()).1;
    }
    out.extend_from_slice(rest);
    out
}

/// The text with its lines joined where they end in `\`, and without comments: phases 2 and 3 of translation (C11,
/// 5.1.1.2). `None` if it cannot be told what is a comment.
fn code(text: &[u8]) -> Option<Vec<u8>> {
    // No text, a trigraph for `\`, or the end of a line as of old.
    let lone = |i: usize| text.get(i + 1) != Some(&b'\n');
    if text.contains(&0) || text.contains_str("??/") || text.find_iter("\r").any(lone) {
        return None;
    }
    let text = spliced(text);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = &text[..];
    while let Some(&c) = rest.first() {
        let n = match c {
            b'/' if rest.starts_with(b"/*") => {
                let n = rest[2..].find(b"*/")? + 4;
                // Whether this is one depends on the compiler.
                if rest[..n].contains(&b'\n') && is_raw(out.rsplit(|b| *b == b'\n').next().unwrap_or_default()) {
                    return None;
                }
                out.push(b' ');
                rest = &rest[n..];
                continue;
            }
            b'/' if rest.starts_with(b"//") => {
                let n = rest.find_byte(b'\n').unwrap_or(rest.len());
                // Whether this is one depends on the language.
                if rest[2..n].contains_str("*/") || rest[2..n].contains_str("/*") {
                    return None;
                }
                rest = &rest[n..];
                continue;
            }
            b'"' | b'\'' => literal(rest),
            b'0'..=b'9' => {
                let n = number(rest);
                // A separator of digits in C++, the beginning of a character in C.
                if rest.get(n) == Some(&b'\'') {
                    return None;
                }
                n
            }
            _ if part_of_name(Some(&c)) => {
                let (word, rest) = split_word(rest);
                // In a raw string none of this holds.
                if matches!(word, b"R" | b"LR" | b"uR" | b"UR" | b"u8R") && rest.starts_with(b"\"") {
                    return None;
                }
                word.len()
            }
            _ => 1,
        };
        out.extend_from_slice(&rest[..n]);
        rest = &rest[n..];
    }
    Some(out)
}

/// Does the rest of a line that begins like this stand for itself: the text of an error, the name of a header?
fn is_raw(line: &[u8]) -> bool {
    let word = line
        .trim_start()
        .strip_prefix(b"#")
        .or_else(|| line.trim_start().strip_prefix(b"%:"))
        .map(|d| split_word(d.trim_start()).0);
    matches!(
        word,
        Some(
            b"warning"
                | b"error"
                | b"include"
                | b"include_next"
                | b"import"
                | b"embed"
                | b"ident"
                | b"sccs"
                | b"pragma"
        )
    ) || line.contains_str("__has_")
}

/// Length of a string or character; one that is not ended goes to the end of its line.
fn literal(b: &[u8]) -> usize {
    let mut i = 1;
    while let Some(&c) = b.get(i) {
        match c {
            b'\n' => return i,
            b'\\' if b.get(i + 1).is_some_and(|n| *n != b'\n') => i += 2,
            _ if c == b[0] => return i + 1,
            _ => i += 1,
        }
    }
    b.len()
}

/// Length of a preprocessing number (C11, 6.4.8).
fn number(b: &[u8]) -> usize {
    let mut i = 1;
    while let Some(&c) = b.get(i) {
        let sign = matches!(c, b'+' | b'-') && matches!(b[i - 1], b'e' | b'E' | b'p' | b'P');
        if !(sign || c == b'.' || part_of_name(Some(&c))) {
            break;
        }
        i += 1;
    }
    i
}

/// gcc also joins lines with blanks after the `\`.
fn spliced(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(i) = rest.find_byte(b'\\') {
        let blanks = rest[i + 1..].iter().take_while(|c| matches!(c, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)).count();
        let joined = rest.get(i + 1 + blanks) == Some(&b'\n');
        out.extend_from_slice(&rest[..if joined { i } else { i + 1 }]);
        rest = &rest[if joined { i + blanks + 2 } else { i + 1 }..];
    }
    out.extend_from_slice(rest);
    out
}

/// What `##` might put together: the words of these texts, but not those in their strings.
fn words(texts: &[Vec<u8>]) -> FxHashSet<Vec<u8>> {
    let mut all = FxHashSet::default();
    for text in texts {
        let clear = code(text);
        let mut rest = clear.as_deref().unwrap_or(text);
        while let Some(c) = rest.first() {
            let n = match c {
                b'"' | b'\'' if clear.is_some() => literal(rest),
                _ if part_of_name(Some(c)) => {
                    let (word, _) = split_word(rest);
                    if !all.contains(word) {
                        all.insert(word.to_vec());
                    }
                    word.len()
                }
                _ => 1,
            };
            rest = &rest[n..];
        }
    }
    all
}

/// Might `##` make this name, of two words or more? Numbers are at hand everywhere (`__LINE__`).
fn is_pasted(name: &[u8], words: &FxHashSet<Vec<u8>>) -> bool {
    let is_piece = |b: &[u8]| b.len() < name.len() && (words.contains(b) || b.iter().all(u8::is_ascii_digit));
    let mut reached = vec![true];
    for end in 1..=name.len() {
        reached.push((0..end).any(|begin| reached[begin] && is_piece(&name[begin..end])));
    }
    reached[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOTS: &[&[u8]] = &[b"__DATE__", b"__TIME__"];

    fn of(texts: &[&str]) -> Clock {
        let bytes = |t: &&str| t.as_bytes().to_vec();
        let named = |t: &&&str| t.contains("__DATE__") || t.contains("__TIME__");
        clock(ROOTS, texts.iter().filter(named).map(|t| Some(bytes(t))), || Some(texts.iter().map(bytes).collect()))
    }

    #[test]
    fn comments_and_conditions_ask_for_nothing() {
        for text in [
            "/* Define when __DATE__ \" \" __TIME__ can be used */\n/* #undef HAVE_DATE_TIME */\n",
            "int a; // __DATE__\nint b;",
            "/* a\n * __DATE__\n */ int a;",
            "#ifdef __DATE__\n#endif\n# if defined(__DATE__) && defined __TIME__ && !defined X\n#endif\n",
            "char *e = \"ERROR\"; char c = '\"'; /* __DATE__ */ char *s = \"\\\"\"; /* __TIME__ */",
            "x = 1.e+5; // \\\n __DATE__\nint c;",
        ] {
            assert_eq!(of(&[text]), Clock::Unnamed, "{text}");
        }
    }

    #[test]
    fn what_might_be_used_is() {
        for text in [
            "char *t = __TIME__;",
            "/* a */ char *t = __TIME__; /* b */",
            "// a\nchar *t = __TIME__;",
            "// a /*\nchar *t = __TIME__; /* b */",
            "char *a = \"/*\"; char *t = __TIME__; char *b = \"*/\";",
            "char a = '\"'; char *s = \"/*\"; char *t = __TIME__; /* \" */",
            "char *t = \"\\\"/*\"; char *u = __TIME__; /* */",
            "int a = 1'0; // it's __TIME__",
            "char *s = R\"(/*)\"; char *t = __TIME__; /* */",
            "#if X /* __DATE__\n",
            "#if 0 ??/\n#endif\n__DATE__",
            "a /\\\n* b *\\\n/ __DATE__",
            "#if __DATE__ == 1\n#endif",
            "#pragma message(__DATE__)",
            "#define A __DATE__\nchar *t = A;",
            "#define A(x) x __DATE__\n#define B A(1)\n#  define C \\\n  B\nchar *t = C;",
            "#define VERSION_LONG __DATE__\n#define V(x) VERSION_##x\nchar *t = V(LONG);",
            "#define A /* \n */ __DATE__\nchar *t = A;",
            "\0 // __DATE__",
            "#define FW_A_STR __DATE__\n#define F(x) FW_##x##_STR\nchar *t = F(A);",
            "#define A_B __DATE__\n#define F(a, b) a##_##b\nchar *t = F(A, B);",
            "#define V1 __DATE__\n#define F(a, b) a##b\nchar *t = F(V, __COUNTER__);",
            "// a\rchar *t = __TIME__;",
            "#warning /*\nchar *t = __TIME__; /* b */",
            "#include <a/*b.h>\nchar *t = __TIME__; /* b */",
            "#if __has_include(<a/*b.h>)\nchar *t = __TIME__; /* b */\n#endif",
        ] {
            assert_eq!(of(&[text]), Clock::Asked, "{text}");
        }
        assert_eq!(of(&["#define STAMP __DATE__\n", "int a;\n", "char *t = STAMP;\n"]), Clock::Asked);
        assert_eq!(of(&["#define STAMP __DATE__\n", "#define ALL \"x\" STAMP\n", "-DX=ALL"]), Clock::Asked);
    }

    #[test]
    fn definitions_that_nobody_uses() {
        let header = "#ifndef V_H\n#define V_H\n#define STAMP __DATE__ \" \" __TIME__ /* now */\n#define ALL(x) STAMP \
            x\n#endif\n";
        assert_eq!(
            of(&[header, "#include \"v.h\"\nint STAMPS; // STAMP\n#ifdef STAMP\n#endif\n#undef ALL\n"]),
            Clock::Defined
        );
        assert_eq!(clock(ROOTS, [Some(header.into())], || None), Clock::Asked);
        assert_eq!(
            of(&["#define A_B __DATE__\n#define F(x) x##x\n", "char *s = \"A _B\"; // A _B\r\n"]),
            Clock::Defined
        );
        assert_eq!(clock(ROOTS, [Some(header.into())], || Some(vec![header.into()])), Clock::Defined);
        assert_eq!(clock(ROOTS, [None], || Some(Vec::new())), Clock::Asked);
    }

    #[test]
    fn whose_options_are_all_known() {
        let clear = |line: &str| {
            let argv: Vec<Vec<u8>> = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
            tools::find(&argv[0]).is_some_and(|compiler| is_clear(compiler, &argv))
        };
        assert!(clear("gcc -c a.c") && clear("/usr/lib/cc1 -quiet a.c -o -"));
        for line in [
            "gcc -x c -",
            "gcc @options a.c",
            "clang --config=x.cfg a.c",
            "gcc -specs=x a.c",
            "nasm a.asm",
            "gcc -ansi a.c",
        ] {
            assert!(!clear(line), "{line}");
        }
        let reads = |p: &str| tools::find(p.as_bytes()).is_some_and(Known::reads_source);
        assert!(reads("gcc-12") && reads("/usr/bin/x86_64-linux-gnu-g++") && reads("clang-15") && reads("cc1plus"));
        assert!(!reads("as") && !reads("ld.bfd") && !reads("ar"));
    }
}
