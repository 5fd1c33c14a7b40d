//! Of which names the modification time counts, where no single access tells.
//!
//! To which programs file times matter is in the table of tools. What only a script's text tells is found out when the
//! pip has ended, over all texts that it ran: who runs scripts is [`Times::Elsewhere`] there, and what that looked at
//! counts if one of them compares times ([`compares`]). Of a compiled program that nobody knows, what it looks at
//! counts if it does not read all of it: [`Times::Unread`].
//!
//! [`Times::Elsewhere`]: crate::tools::Times::Elsewhere
//! [`Times::Unread`]: crate::tools::Times::Unread

use crate::accesses::{Accesses, Program};
use crate::judgement::Context;
use crate::look::Look;
use crate::record::{Image, Record};
use crate::tools::base_name;
use crate::{places, scripts};
use bstr::ByteSlice;
use cache::observation::value;
use cache::{Kind, Observation, PathBytes, Value};
use rustc_hash::{FxHashMap, FxHashSet};

/// Has this text of a script, or of a command line, a word for comparing or handing on file times?
pub fn compares(text: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "-newer",
        "mtime",
        "ST_MTIME",
        " -M ",
        // The time in what Python's and perl's `stat` give.
        ")[8]",
        ")[9]",
        "-M(",
        // distutils.dep_util.
        "newer(",
        "newer_",
        "filecmp",
        "py_compile",
        "copy2",
        "copystat",
        "copytree",
        "zipfile",
        "zipapp",
        "Archive::Tar",
        "Archive::Zip",
        // Its pod2man.
        "ExtUtils::Command",
        "ARCHIVE_CREATE",
        "tarfile",
        "make_archive",
        "st_mtim",
        "IS_NEWER_THAN",
    ];
    // cmake's `file(TIMESTAMP …)`, and no name of an option that has the word in it.
    let of_cmake = || scripts::has_word(text, b"TIMESTAMP", false);
    let of_list = || text.contains_str("stat") && (text.contains_str("[8]") || text.contains_str("[9]"));
    WORDS.iter().any(|w| text.contains_str(w))
        || of_list()
        || of_cmake()
        || text.fields().any(|w| matches!(w, b"-nt" | b"-ot"))
}

/// Decides of which names the time counts, where that could not be told when they were accessed.
pub(crate) fn count(names: &mut FxHashMap<PathBytes, Record>, a: &Accesses, look: &impl Look, c: &Context<'_>) {
    // A script of the machine's counts if it is what was to be run; what it loads does not.
    let is_script = |(p, r): &(&PathBytes, &Record)| {
        let told = || {
            scripts::is_given(p, &a.programs)
                || a.programs.iter().any(|x| x.interpreter.is_some() && x.path[..] == p[..])
        };
        r.interpreted && r.first.is_some_and(|s| s.is_file()) && (!places::is_foreign(p, c.root) || told())
    };
    let runs = |p: &Program| scripts::interprets(p.interpreter.as_ref().unwrap_or(&p.path));
    let compares = a.compares
        || a.programs.iter().filter(|p| runs(p)).any(|p| p.argv.iter().any(|w| compares(w)))
        || a.programs.iter().any(runs)
            && names.iter().filter(is_script).any(|(p, _)| look.source(p).is_some_and(|text| compares(&text)));
    // Python writes down the time of a module in its compiled form, and compares it.
    let compiled: FxHashSet<Vec<u8>> = names
        .iter()
        .filter(|(p, r)| p.ends_with(b".pyc") && (r.read || r.intent))
        .filter_map(|(p, _)| base_name(p).split(|b| *b == b'.').next().map(<[u8]>::to_vec))
        .collect();
    // Who knows of a file that it does not read compares times, if it does at all, with those of whatever it looks at.
    let is_opaque =
        |i: &Image| (*i as usize).checked_sub(1).and_then(|i| a.programs.get(i)).is_none_or(|p| p.is_opaque);
    let unread = |r: &Record| r.first.is_some_and(|s| s.is_file()) && r.judged();
    let comparing: FxHashSet<Image> = names
        .values()
        .filter(|r| unread(r))
        .flat_map(|r| r.lookers.iter().filter(|i| !r.readers.contains(i)))
        .filter(|i| is_opaque(i))
        .copied()
        .collect();
    for (path, r) in names.iter_mut() {
        let stem = || base_name(path).split(|b| *b == b'.').next().unwrap_or_default();
        r.times |= compares && r.may_compare
            || r.module && (path.ends_with(b".pyc") || compiled.contains(stem()))
            || r.first.is_some_and(|s| s.is_file()) && (r.judged() || r.lookers.iter().any(|i| comparing.contains(i)));
    }
}

/// Who compares the times of all files of which it knows, or hands them on: they are observed with the rest.
pub(crate) fn observe_all(
    all: &mut Vec<(Observation, Value)>,
    names: &FxHashMap<PathBytes, Record>,
    but: Option<&PathBytes>,
) {
    let file = |p: &PathBytes| names.get(p).and_then(|r| r.first).filter(|s| s.kind == Kind::File && but != Some(p));
    let more = |(o, _): &(Observation, Value)| match o {
        Observation::FileContent(p) | Observation::FileProbe { path: p, times: false } => {
            file(p).map(|s| (Observation::FileProbe { path: p.clone(), times: true }, value::probe(&s, true)))
        }
        _ => None,
    };
    let mut more: Vec<_> = all.iter().filter_map(more).collect();
    all.retain(|(o, _)| !matches!(o, Observation::FileProbe { path, times: false } if file(path).is_some()));
    all.append(&mut more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_compare_times() {
        for text in ["file(TIMESTAMP a t)", "FILE( TIMESTAMP a t )", "[ a -nt b ]", "os.path.getmtime(p)"] {
            assert!(compares(text.as_bytes()), "{text}");
        }
        assert!(!compares(b"CONFIG_FEATURE_LS_TIMESTAMPS=y\n# CONFIG_NO_TIMESTAMP is not set\ndont-nt"));
    }

    #[test]
    fn words_that_compare() {
        for text in [
            "[ a -nt\tb ]",
            "test a -ot b",
            "os.stat(f)[8]",
            "(stat $f)[9]",
            "if(a IS_NEWER_THAN b)",
            "find . -newermt x",
        ] {
            assert!(compares(text.as_bytes()), "{text}");
        }
        for text in ["gcc foo-nt.c", "echo -ntx", "x[9]"] {
            assert!(!compares(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn times_of_libraries_and_lists() {
        for text in
            ["python3 -m zipapp d", "use Archive::Tar;", "s = os.stat(f)\nprint(s[8])", "-M($f) < 1", "newer('a', 'b')"]
        {
            assert!(compares(text.as_bytes()), "{text}");
        }
        for text in ["argv[8]", "-Mstrict", "a newer one"] {
            assert!(!compares(text.as_bytes()), "{text}");
        }
    }
}
