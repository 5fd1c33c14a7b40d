//! Dependency files: the makefile fragments that compilers write (`gcc -MD`).
//!
//! Names are separated by blanks; `\ ` is a blank in a name, `\#` a `#`, `$$` a `$`, a backslash before the end of a
//! line joins it with the next (GCC's `mkdeps.cc`; ninja reads the same). A line that is no rule is passed over.

/// Targets, and what they depend on.
pub(crate) type Rule = (Vec<Vec<u8>>, Vec<Vec<u8>>);

/// Is it a name that people and automake give dependency files?
pub(crate) fn is_name(path: &[u8]) -> bool {
    [&b".d"[..], b".Po", b".Plo", b".Tpo"].iter().any(|e| path.ends_with(e))
}

/// Rules of a dependency file.
pub(crate) fn parse(text: &[u8]) -> Vec<Rule> {
    let mut out = Vec::new();
    let mut targets: Vec<Vec<u8>> = Vec::new();
    let mut inputs: Vec<Vec<u8>> = Vec::new();
    let (mut word, mut after_colon, mut i) = (Vec::new(), false, 0);
    while i <= text.len() {
        let c = text.get(i).copied().unwrap_or(b'\n');
        let next = text.get(i + 1).copied();
        let ends_word = matches!(c, b' ' | b'\t' | b'\n' | b'\r');
        // A colon ends the targets if nothing of a name follows it.
        let colon = c == b':' && !after_colon && next.is_none_or(|n| matches!(n, b' ' | b'\t' | b'\n' | b'\r' | b'\\'));
        if ends_word || colon {
            if !word.is_empty() {
                if after_colon { &mut inputs } else { &mut targets }.push(std::mem::take(&mut word));
            }
            after_colon |= colon;
            if c == b'\n' {
                if after_colon && !targets.is_empty() {
                    out.push((std::mem::take(&mut targets), std::mem::take(&mut inputs)));
                }
                targets.clear();
                inputs.clear();
                after_colon = false;
            }
        } else {
            match (c, next) {
                (b'\\', Some(b'\n')) => {
                    i += 1;
                    if !word.is_empty() {
                        if after_colon { &mut inputs } else { &mut targets }.push(std::mem::take(&mut word));
                    }
                }
                (b'\\', Some(b'\r')) if text.get(i + 2) == Some(&b'\n') => i += 2,
                (b'\\', Some(n @ (b' ' | b'#' | b':'))) => {
                    word.push(n);
                    i += 1;
                }
                (b'$', Some(b'$')) => {
                    word.push(b'$');
                    i += 1;
                }
                _ => word.push(c),
            }
        }
        i += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &[(&[&str], &[&str])]) {
        let got = parse(text.as_bytes());
        let shown: Vec<(Vec<String>, Vec<String>)> = got
            .iter()
            .map(|(t, i)| {
                let s = |v: &Vec<Vec<u8>>| v.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect();
                (s(t), s(i))
            })
            .collect();
        let want: Vec<(Vec<String>, Vec<String>)> = want
            .iter()
            .map(|(t, i)| (t.iter().map(ToString::to_string).collect(), i.iter().map(ToString::to_string).collect()))
            .collect();
        assert_eq!(shown, want, "{text:?}");
    }

    #[test]
    fn compilers_output() {
        check("a.o: a.c \\\n  a.h b.h\n\na.h:\n", &[(&["a.o"], &["a.c", "a.h", "b.h"]), (&["a.h"], &[])]);
        check("a\\ b.o c: x\\#y $$z", &[(&["a b.o", "c"], &["x#y", "$z"])]);
        check("C:/x.o: d:/y.h\n", &[(&["C:/x.o"], &["d:/y.h"])]);
        check("a.o:\\\n b.h\n", &[(&["a.o"], &["b.h"])]);
        check("a.o: b.h\r\nc.o: d.h", &[(&["a.o"], &["b.h"]), (&["c.o"], &["d.h"])]);
        check("no rule\n", &[]);
        check("", &[]);
    }
}
