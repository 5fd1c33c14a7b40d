//! Which variables a Python script can read: those that it names, if it is *closed*.
//!
//! A script is closed if each of its words is of a kind that cannot lead to the environment but by
//! `os.environ["NAME"]`, `os.environ.get("NAME"…)` and `os.getenv("NAME"…)`, and if it imports only
//! modules of the standard library of which it is known what they read, and modules that are read, and
//! closed, themselves. In doubt it is open: a word that could get at attributes by computed names, run computed code,
//! or look into frames and modules makes it so. What a script launches counts by itself.

/// Modules of the standard library that read no variables, by their sources. `os`, `sys` and `string` can lead to the
/// environment by words that are told below.
const READ_NOTHING: &str = "__future__ _thread abc array ast base64 binascii bisect bz2 calendar cmath codecs collections \
    colorsys configparser contextlib copy csv dataclasses datetime decimal difflib enum errno filecmp \
    fnmatch fractions functools glob gzip hashlib heapq hmac html io itertools json keyword lzma math \
    mmap numbers operator os pprint queue random re signal stat statistics string struct sys tarfile \
    textwrap threading time token tokenize types typing unicodedata urllib.parse warnings xml.etree \
    zipfile zlib";

/// Those that read some. What is in neither list may read any. Help is laid out by `shutil.get_terminal_size`, messages
/// are `gettext`'s; `subprocess` and `shutil.which` search PATH; `expanduser` is a word that is told below.
const READ: &[(&str, &[&str])] = &[
    ("getopt", &["LANGUAGE"]),
    ("locale", &["LANGUAGE"]),
    ("argparse", &["COLUMNS", "LINES", "LANGUAGE"]),
    ("optparse", &["COLUMNS", "LINES", "LANGUAGE"]),
    ("gettext", &["LANGUAGE"]),
    ("pathlib", &["HOME"]),
    ("shutil", &["COLUMNS", "LINES", "PATH"]),
    ("tempfile", &["TMPDIR", "TEMP", "TMP"]),
    ("subprocess", &["PATH"]),
];

/// What every Python reads (python3(1), "Environment Variables"; its `site` module; PATH for where it is itself).
/// `SETUPTOOLS_USE_DISTUTILS`: a file of setuptools' that each start executes.
pub(super) const INTERPRETER: &[&str] = &["PYTHON*", "HOME", "PATH", "SETUPTOOLS_USE_DISTUTILS"];

/// Words that may lead anywhere.
const OPEN: &str = "exec eval compile getattr setattr delattr globals locals vars dir help breakpoint modules meta_path \
    path_hooks path_importer_cache settrace setprofile tb_frame tb_next f_globals f_locals f_back \
    f_builtins gi_frame cr_frame ag_frame environb getenvb expandvars attrgetter methodcaller Formatter \
    vformat get_type_hints ForwardRef importlib runpy ctypes pickle marshal inspect code codeop pdb gc \
    builtins imp pkgutil zipimport site sysconfig posix reload get_exec_path expanduser home mro audit \
    addaudithook get_referrers get_objects open_code walk_packages ENV singledispatch";

/// Those that are builtins, or names of modules, and harmless as attributes of anything else: nobody gets at the module
/// of the builtins but by its names.
const ATTRIBUTES: &str = "compile eval exec dir help vars globals locals code site";

/// Attributes with two underscores that lead nowhere.
const PLAIN: &str = "__name__ __file__ __doc__ __init__ __main__ __future__ __all__ __repr__ __str__ __eq__ __ne__ __lt__ \
    __le__ __gt__ __ge__ __hash__ __len__ __iter__ __next__ __enter__ __exit__ __version__ __author__ \
    __slots__ __call__ __getitem__ __setitem__ __contains__ __add__ __sub__ __mul__ __bool__ __int__ \
    __post_init__ __new__ __license__ __copyright__";

/// What a closed text needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Closed {
    /// What it names.
    pub(super) variables: Vec<Vec<u8>>,
    /// What the modules read that it imports.
    pub(super) read: Vec<&'static str>,
    /// Modules that are not of the standard library, the first part of their names.
    pub(super) modules: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Name(&'a [u8]),
    /// The content of a string, and whether there are expressions in it.
    String(&'a [u8], bool),
    Other(u8),
    Line,
}

use Token::{Line, Name, Other, String as Text};

/// What the text needs if it is closed.
pub(super) fn closed(text: &[u8]) -> Option<Closed> {
    if super::preloads(text) {
        return None;
    }
    let t = tokens(text)?;
    let mut out = Closed::default();
    for (i, token) in t.iter().enumerate() {
        match token {
            Text(content, true) if !is_harmless(content) => return None,
            Name(b"environ") => out.variables.push(named(&t, i, true)?),
            Name(b"getenv") => out.variables.push(named(&t, i, false)?),
            Name(b"format" | b"format_map") if i > 0 && t[i - 1] == Other(b'.') => formats(&t[..i - 1])?,
            Name(b"import") => imports(&t, i, &mut out)?,
            // What is an attribute is not the builtin of that name.
            Name(n) if i > 0 && t[i - 1] == Other(b'.') && is(n, ATTRIBUTES) => {}
            Name(n) if !is_plain(n) => return None,
            _ => {}
        }
    }
    Some(out)
}

fn is_plain(word: &[u8]) -> bool {
    let dunder = word.starts_with(b"__") && word.ends_with(b"__");
    !is(word, OPEN) && (!dunder || is(word, PLAIN))
}

fn is(word: &[u8], list: &str) -> bool {
    list.split(' ').any(|o| o.as_bytes() == word)
}

/// The expressions in a string name nothing that could lead to the environment.
fn is_harmless(content: &[u8]) -> bool {
    let mut words = content.split(|b| !crate::scripts::part_of_name(Some(b)));
    words.all(|w| is_plain(w) && !matches!(w, b"environ" | b"getenv" | b"format" | b"format_map"))
        && content.is_ascii()
        && is_whole(content)
}

/// Does no field of an f-string end it? From 3.12 on there may be quotes in a field (PEP 701).
fn is_whole(content: &[u8]) -> bool {
    let (mut depth, mut i) = (0usize, 0);
    while i < content.len() {
        let twice = content.get(i + 1) == Some(&content[i]);
        match content[i] {
            b'{' | b'}' if depth == 0 && twice => i += 1,
            b'{' => depth += 1,
            b'}' if depth == 0 => return false,
            b'}' => depth -= 1,
            _ => {}
        }
        i += 1;
    }
    depth == 0
}

/// The variable that is read by its name at this token.
fn named(t: &[Token<'_>], i: usize, mapping: bool) -> Option<Vec<u8>> {
    let of_os = i >= 2 && t[i - 1] == Other(b'.') && t[i - 2] == Name(b"os");
    if !of_os {
        return None;
    }
    let rest = &t[i + 1..];
    let (name, end) = match rest {
        [Other(b'['), Text(n, false), end, ..] if mapping && *end == Other(b']') => (n, end),
        [Other(b'.'), Name(b"get"), Other(b'('), Text(n, false), end, ..] if mapping => (n, end),
        [Other(b'('), Text(n, false), end, ..] if !mapping => (n, end),
        _ => return None,
    };
    let ends = matches!(end, Other(b')' | b',' | b']'));
    let is_name = !name.is_empty() && name.iter().all(|b| crate::scripts::part_of_name(Some(b)));
    (ends && is_name).then(|| name.to_vec())
}

/// What is formatted has to be literal, and may not name attributes. `t` ends where it does.
fn formats(t: &[Token<'_>]) -> Option<()> {
    let is_text = |x: &&Token<'_>| matches!(x, Text(..));
    let texts: Vec<&Token<'_>> = match t.last()? {
        Other(b')') => {
            let inner: Vec<&Token<'_>> = t[..t.len() - 1].iter().rev().take_while(|x| matches!(x, Text(..))).collect();
            if t[..t.len() - 1 - inner.len()].last() != Some(&Other(b'(')) {
                return None;
            }
            inner
        }
        _ => t.iter().rev().take_while(is_text).collect(),
    };
    let attribute = |content: &[u8]| {
        content.split(|b| *b == b'{').skip(1).any(|field| {
            let end = field.iter().position(|b| b":}!".contains(b)).unwrap_or(field.len());
            field[..end].iter().any(|b| b".[\\".contains(b))
        })
    };
    // An escape may be anything.
    let opens = |x: &&Token<'_>| matches!(x, Text(c, _) if attribute(c) || bstr::ByteSlice::contains_str(*c, "\\x") || bstr::ByteSlice::contains_str(*c, "\\N") || bstr::ByteSlice::contains_str(*c, "\\u") || c.windows(2).any(|w| w[0] == b'\\' && w[1].is_ascii_digit()));
    (!texts.is_empty() && !texts.iter().any(opens)).then_some(())
}

/// Notes the modules of an import statement, of which this is the word `import`.
fn imports(t: &[Token<'_>], i: usize, out: &mut Closed) -> Option<()> {
    let begin = t[..i].iter().rposition(|x| matches!(x, Line | Other(b';' | b':'))).map_or(0, |b| b + 1);
    let mut add = |module: Vec<u8>| {
        match variables_of(&module) {
            Some(variables) => out.read.extend(variables),
            None => out.modules.push(module.split(|b| *b == b'.').next().unwrap_or_default().to_vec()),
        };
    };
    match &t[begin..i] {
        // `from .x import y`: below the package, whose modules are read.
        [Name(b"from"), Other(b'.'), ..] => {}
        [Name(b"from"), module @ ..] => add(dotted(module)?),
        [] => {
            let end = t[i..].iter().position(|x| matches!(x, Line | Other(b';'))).map_or(t.len(), |n| n + i);
            for one in t[i + 1..end].split(|x| *x == Other(b',')) {
                let module = one.iter().position(|x| *x == Name(b"as")).map_or(one, |n| &one[..n]);
                add(dotted(module)?);
            }
        }
        _ => return None,
    }
    Some(())
}

fn dotted(t: &[Token<'_>]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for (i, x) in t.iter().enumerate() {
        match (i % 2, x) {
            (0, Name(n)) => out.extend_from_slice(n),
            (1, Other(b'.')) => out.push(b'.'),
            _ => return None,
        }
    }
    (t.len() % 2 == 1).then_some(out)
}

/// The variables that a module of the standard library reads.
pub(super) fn variables_of(module: &[u8]) -> Option<&'static [&'static str]> {
    let row = |name: &[u8]| {
        let read = READ.iter().find(|(m, _)| m.as_bytes() == name).map(|(_, v)| *v);
        read.or_else(|| is(name, READ_NOTHING).then_some(&[][..]))
    };
    // A row of a package holds for all of it; rows of modules in packages have a dot themselves.
    let parts = |n: usize| module.split(|b| *b == b'.').take(n).collect::<Vec<_>>().join(&b'.');
    row(&parts(1)).or_else(|| row(&parts(2)))
}

/// The tokens of a text; `None` if it is not understood.
fn tokens(text: &[u8]) -> Option<Vec<Token<'_>>> {
    // Another encoding makes other words of the same bytes (PEP 263).
    let coding = |l: &&[u8]| bstr::ByteSlice::contains_str(*l, "coding");
    let plain = |l: &[u8]| {
        let l = l.to_ascii_lowercase();
        ["utf-8", "utf8", "ascii", "latin-1", "iso-8859-1"].iter().any(|c| bstr::ByteSlice::contains_str(&l[..], c))
            && !bstr::ByteSlice::contains_str(&l[..], "utf-8-")
    };
    if !text.split(|b| matches!(b, b'\n' | b'\r')).take(2).filter(coding).all(plain) {
        return None;
    }
    let mut out = Vec::new();
    let mut i = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut depth = 0usize;
    while i < text.len() {
        let b = text[i];
        match b {
            b' ' | b'\t' | 0x0c => i += 1,
            b'\n' | b'\r' => {
                if depth == 0 {
                    out.push(Line);
                }
                i += 1;
            }
            b'#' => i += text[i..].iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(text.len() - i),
            b'\\' if matches!(text.get(i + 1), Some(b'\n')) => i += 2,
            b'"' | b'\'' => {
                let (content, end) = string(text, i)?;
                out.push(Text(content, false));
                i = end;
            }
            b if b.is_ascii_digit() => {
                let of_number = |b: &u8| crate::scripts::part_of_name(Some(b)) || *b == b'.';
                i += text[i..].iter().position(|b| !of_number(b)).unwrap_or(text.len() - i);
                out.push(Other(b'0'));
            }
            b if crate::scripts::part_of_name(Some(&b)) => {
                let end = text[i..].iter().position(|b| !crate::scripts::part_of_name(Some(b)));
                let end = end.map_or(text.len(), |n| n + i);
                let word = &text[i..end];
                if matches!(text.get(end), Some(b'"' | b'\'')) && word.len() <= 2 {
                    let prefix = word.to_ascii_lowercase();
                    if !prefix.iter().all(|b| b"rbuft".contains(b)) {
                        return None;
                    }
                    let (content, next) = string(text, end)?;
                    out.push(Text(content, prefix.iter().any(|b| b"ft".contains(b))));
                    i = next;
                } else {
                    out.push(Name(word));
                    i = end;
                }
            }
            0x21..=0x7e => {
                match b {
                    b'(' | b'[' | b'{' => depth += 1,
                    b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
                    _ => {}
                }
                out.push(Other(b));
                i += 1;
            }
            // Letters of other alphabets are read as the ones that they look like (PEP 3131).
            _ => return None,
        }
    }
    Some(out)
}

/// The content of a string that begins here, and where what follows it begins.
fn string(text: &[u8], begin: usize) -> Option<(&[u8], usize)> {
    let quote = text[begin];
    let triple = text[begin..].starts_with(&[quote; 3]);
    let from = begin + if triple { 3 } else { 1 };
    let mut i = from;
    loop {
        match *text.get(i)? {
            b'\\' => i += 2,
            b if b == quote && !triple => return Some((&text[from..i], i + 1)),
            b if b == quote && text[i..].starts_with(&[quote; 3]) => return Some((&text[from..i], i + 3)),
            b'\n' | b'\r' if !triple => return None,
            _ => i += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_scripts() {
        let check = |text: &str, variables: &str, modules: &str| {
            let c = closed(text.as_bytes()).unwrap_or_else(|| panic!("open: {text}"));
            let join = |v: &[Vec<u8>]| String::from_utf8(v.join(&b' ')).expect("text");
            assert_eq!((join(&c.variables).as_str(), join(&c.modules).as_str()), (variables, modules), "{text}");
        };
        check("import sys, re\nprint(re.compile('a').sub('b', sys.argv[1]))\n", "", "");
        check("import os\nprint(os.environ['A'], os.environ.get(\"B\", 'x'), os.getenv('C'))", "A B C", "");
        check("from util import x\nfrom . import y\nimport a.b as c, json", "", "util a");
        check("# environ ü\n'''environ ü'''\nprint('{} {a!r:>{n}}'.format(1, a=2, n=3), f'{1 + 2}')", "", "");
        check("print(('a {}'\n  'b').format(1)); x = 1.5e3 if True else 0x1f", "", "");
        check("import argparse, subprocess, tempfile\nclass A:\n    def __init__(self): pass", "", "");
        check("try: import json\nexcept ImportError as e: raise ValueError() from e", "", "");
    }

    /// Whatever may lead to variables that are not named.
    #[test]
    fn open_scripts() {
        for text in [
            "import os; print(os.environ)",
            "for k in os.environ: pass",
            "os.environ.items()",
            "dict(os.environ)",
            "e = os.environ",
            "os.environ[x]",
            "os.environ['A' + x]",
            "os.environ['A' 'B']",
            "os.environ.get(x)",
            "os.environ['A':]",
            "os.environ[f'{x}']",
            "os.environ['\\x41']",
            "os.getenv(x)",
            "g = os.getenv",
            "from os import environ",
            "from os import getenv as g; g('A')",
            "from os import *\nenviron['A']",
            "import os as o; o.environ['A']",
            "getattr(os, 'envi' + 'ron')",
            "vars(os)['environ']",
            "os.__dict__",
            "exec('x')",
            "eval('x')",
            "__import__('os')",
            "import importlib",
            "import ctypes",
            "import posix",
            "sys.modules['os']",
            "().__class__.__subclasses__()",
            "f.__globals__",
            "'{0.environ}'.format(os)",
            "fmt.format(os)",
            "('{0.e' + 'nviron}').format(os)",
            "'{0\\x2eenviron}'.format(os)",
            "'{0[environ]}'.format(v)",
            "str.format('{0.environ}', os)",
            "x['a'].format(os)",
            "f'{os.environ}'",
            "f\"{'x' + os.environ['A']}\"",
            "f\"{\"x\" + os.environ[\"A\"]}\"",
            "f\"}} {x:{\"y\" + os.environ[\"A\"]}}\"",
            "ｏｓ.ｅnviron",
            "os.ｅnviron",
            "# coding: utf-7\n+AG8-",
            "# -*- coding: rot13 -*-\nbf.raiveba",
            "\n# coding=utf-16",
            "operator.attrgetter('environ')(os)",
            "os.environb",
            "os.path.expandvars('$A')",
            "import code; code",
            "help(os)",
            "e.__traceback__.tb_frame",
            "sys._getframe().f_globals; globals()",
            "from operator import *; attrgetter",
            "pickle.loads(x)",
            "import builtins",
            "breakpoint()",
            "def f(:\n 'x",
            "print('a",
            "x = 'a\nb'",
            "#\rimport os; os.environ.copy()",
            "compile('x', 'y', 'z')",
            "string.Formatter()",
            "from xml import sax\nos.environ",
            "inspect.getmodule",
            "match x:\n case o(environ=e): pass",
            "\\\nos.environ",
            "os . environ",
            "os.\\\nenviron",
            "(os\n.environ)",
            "os.environ.get('A', os.environ)",
            "dir(os)",
            "x\0y",
            "os.environ.get(*a)",
            "pathlib.Path.home()",
            "runpy.run_path('x')",
            "typing.get_type_hints(x)",
            "del os.environ",
            "print(*os.environ)",
            "f'{x.format(os)}'",
            "from string import Formatter as F",
            "import site",
            "x.format_map(v)",
            "(a, '{}').format(1)",
        ] {
            assert_eq!(closed(text.as_bytes()), None, "{text}");
        }
    }
}
