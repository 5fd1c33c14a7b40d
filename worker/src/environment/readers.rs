//! Which variables each program of a pip can read: a tool those in its row, a script those that its text names, a
//! compiled program of the build those of the C library; all of them if that cannot be told.
//!
//! Knows where the text of a script is, and whether it is what ran. What a text can read is the business of [`shell`],
//! [`python`], [`awk`], and of [`elf`] for programs.

use super::{Names, awk, elf, python, shell};
use crate::accesses::Program;
use crate::command_text::shell_text;
use crate::judgement::Context;
use crate::look::Look;
use crate::record::{Image, Record};
use crate::tools::{self, Class, Language, languages};
use crate::{places, scripts};
use bstr::ByteSlice;

/// What a program can read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// Any; `job`: it may go through those of a job, too, without naming one.
    All { job: bool },
    /// `named` by their text, and what is `read` for the usual purpose.
    These { named: Vec<Vec<u8>>, read: Vec<&'static str> },
}

/// Any, but those of a job only where they are named.
const ANY: Reads = Reads::All { job: false };

const NONE: Reads = Reads::These { named: Vec::new(), read: Vec::new() };

/// awk's own, of gawk's and mawk's manuals.
const AWK: &[&str] =
    &["AWK*", "GAWK_*", "MAWK*", "WHINY_USERS", "INT_CHAIN_MAX", "STR_CHAIN_MAX", "TIDYMEM", "NO_TRACK_CHAIN"];

/// What is known of a pip when its end is judged.
pub(super) struct Pip<'a, L> {
    pub(super) names: &'a Names,
    pub(super) look: &'a L,
    pub(super) c: &'a Context<'a>,
}

impl<L: Look> Pip<'_, L> {
    /// What the program can read that an image of the pip is.
    pub(super) fn reads(&self, p: &Program, image: Image) -> Reads {
        if let Some(interpreter) = &p.interpreter {
            return self.script(p, interpreter, image).unwrap_or_else(|| self.open(p, image));
        }
        match p.tool {
            Some(t) if t.is(Class::Shell) => {
                let names = || match shell_text(&p.argv) {
                    Some(text) => shell::names(text),
                    None => self.of_shell_files(options_of_shell(&p.argv)?, image),
                };
                let named = if self.shell_reads_more() { None } else { names() };
                named.map_or(ANY, |named| Reads::These { named, read: Vec::new() })
            }
            Some(_) if p.argv.iter().any(|w| super::extends_compilers(w)) => ANY,
            Some(_) => NONE,
            None if tools::base_name(&p.path) == b"env" && places::belongs_to_the_machine(&p.path) => env(&p.argv),
            None if tools::base_name(&p.path) == b"printenv" => Reads::All { job: p.argv.len() < 2 },
            None => self.unknown(p, image).unwrap_or_else(|| self.open(p, image)),
        }
    }

    /// An interpreter of a script, or a compiled program.
    fn unknown(&self, p: &Program, image: Image) -> Option<Reads> {
        match self.language(&p.path) {
            Some(l) if *l == languages::PYTHON => self.python(&p.argv, None, image),
            Some(l) if *l == languages::AWK || *l == languages::MAWK => {
                let texts = awk::texts(&p.argv)?;
                texts.iter().try_for_each(|t| match t {
                    awk::Text::Here(t) => awk::is_closed(t).then_some(()),
                    awk::Text::InFile(word) => self.files(word, image)?.iter().all(|t| awk::is_closed(t)).then_some(()),
                })?;
                Some(Reads::These { named: Vec::new(), read: AWK.to_vec() })
            }
            Some(_) => None,
            None => self.compiled(p, image),
        }
    }

    /// A script with a first line that names its interpreter.
    fn script(&self, p: &Program, interpreter: &[u8], image: Image) -> Option<Reads> {
        let text = self.own_text(&p.path)?;
        let first = text.strip_prefix(b"#!")?.lines().next()?;
        let mut words = first.fields().skip(1);
        if tools::base_name(interpreter) == b"env" && places::belongs_to_the_machine(interpreter) {
            // What it launches is the next program.
            let plain = |w: &[u8]| w.iter().all(|b| b.is_ascii_alphanumeric() || b".+_-".contains(b));
            let launches = words.next().is_some_and(|w| !w.starts_with(b"-") && plain(w)) && words.next().is_none();
            return launches.then(|| Reads::These { named: Vec::new(), read: vec!["PATH"] });
        }
        let language = self.language(interpreter)?;
        if language.is_shell {
            let row = tools::kind(interpreter)?;
            let simple = |w: &[u8]| w.len() > 1 && w[0] == b'-' && w[1..].iter().all(|b| b"eufx".contains(b));
            if self.shell_reads_more() || !words.all(simple) {
                return None;
            }
            return Some(Reads::These { named: shell::names(&text)?, read: row.variables.to_vec() });
        }
        if *language == languages::PYTHON {
            let simple = |w: &[u8]| w.len() > 1 && w[0] == b'-' && w[1..].iter().all(|b| b"BEIOsSu".contains(b));
            return { words }.all(simple).then(|| self.python(&[], Some(&text), image))?;
        }
        let of_awk = *language == languages::AWK || *language == languages::MAWK;
        let reads = of_awk && words.next() == Some(b"-f") && words.next().is_none() && awk::is_closed(&text);
        reads.then(|| Reads::These { named: Vec::new(), read: AWK.to_vec() })
    }

    /// The language of the scripts that a program of the machine runs.
    fn language(&self, program: &[u8]) -> Option<&'static Language> {
        let known = tools::find(program)?;
        known.language().filter(|_| places::is_installed(program, self.c.root))
    }

    /// What makes a shell run more than its text: a file of commands, functions, a prompt.
    fn shell_reads_more(&self) -> bool {
        let more = |v: &Vec<u8>| {
            v.starts_with(b"BASH_ENV=")
                || v.starts_with(b"ENV=")
                || v.starts_with(b"BASH_FUNC_")
                || v.starts_with(b"PS4=") && v.contains(&b'$')
        };
        self.c.env.iter().any(more)
    }

    /// The text of a file that was read and not changed.
    fn own_text(&self, path: &[u8]) -> Option<Vec<u8>> {
        let unchanged = |r: &Record| !r.intent && r.first.is_some_and(|s| s.is_file());
        self.names.get(path).filter(|r| unchanged(r))?;
        self.look.source(path)
    }

    /// The texts of the files that this program read and a word of its command line may name.
    fn files(&self, word: &[u8], image: Image) -> Option<Vec<Vec<u8>>> {
        let named = self.names.iter().filter(|(p, r)| r.readers.contains(&image) && scripts::is_name_of(word, p));
        let texts: Vec<Vec<u8>> = named.map(|(p, _)| self.own_text(p)).collect::<Option<_>>()?;
        (!texts.is_empty()).then_some(texts)
    }

    fn of_shell_files(&self, word: &[u8], image: Image) -> Option<Vec<Vec<u8>>> {
        let texts = self.files(word, image)?;
        let all: Option<Vec<Vec<Vec<u8>>>> = texts.iter().map(|t| shell::names(t)).collect();
        Some(all?.concat())
    }

    /// A Python, with this script if it is named by a first line; all modules that are not of the standard library have
    /// to be closed, too.
    fn python(&self, argv: &[Vec<u8>], script: Option<&[u8]>, image: Image) -> Option<Reads> {
        let is_standard = |p: &[u8]| {
            let below_root = p.strip_prefix(self.c.root).is_some_and(|rest| rest.starts_with(b"/"));
            let library = p.contains_str("/lib/python3") && !p.contains_str("-packages/");
            !below_root && library || p.starts_with(b"/etc/python3")
        };
        let (mut texts, mut module) = (Vec::new(), None);
        match script {
            Some(text) => texts.push(text.to_vec()),
            None => match python_text(argv)? {
                Given::Text(text) => texts.push(text.to_vec()),
                Given::Module(m) => module = Some(m.to_vec()),
                Given::File(word) => texts.extend(self.files(word, image)?),
            },
        }
        let mut modules: Vec<&[u8]> = Vec::new();
        let is_file = |r: &Record| r.first.is_some_and(|s| s.is_file());
        for (path, r) in self.names.iter().filter(|(path, r)| is_file(r) && !is_standard(path)) {
            let read = r.readers.contains(&image);
            if !r.interpreted && !read {
                continue;
            }
            if path.ends_with(b".py") {
                modules.push(path);
                texts.extend(self.own_text(path).filter(|_| !is_of_setuptools(path)));
                self.own_text(path)?;
            } else if path.ends_with(b".pth") && read {
                let text = self.own_text(path)?;
                let runs = text.lines().any(|l| l.starts_with(b"import ") || l.starts_with(b"import\t"));
                if runs && !path.ends_with(b"/distutils-precedence.pth") {
                    return None;
                }
            } else if path.ends_with(b".pyc") && read {
                // It has to be that of a source that is there, and to be judged by its time and size (PEP 552).
                let dir = path.rsplitn_str(2, "/").nth(1)?.strip_suffix(b"/__pycache__")?;
                let source = [dir, b"/", tools::base_name(path).split(|b| *b == b'.').next()?, b".py"].concat();
                let checked = self.own_text(path)?.get(4..8)? == [0; 4];
                if !checked || !self.names.get(&source[..]).is_some_and(|r| r.first.is_some_and(|s| s.is_file())) {
                    return None;
                }
            } else {
                let packed = [&b".zip"[..], b".egg", b".whl"].iter().any(|e| path.ends_with(e));
                let loads = is_library(path) && read && !places::belongs_to_the_machine(path);
                (!packed && !loads).then_some(())?;
            }
        }
        let (mut named, mut read) = (Vec::new(), python::INTERPRETER.to_vec());
        let is_there = |m: &[u8]| {
            let (file, package) = ([b"/", m, b".py"].concat(), [b"/", m, b"/__init__.py"].concat());
            modules.iter().any(|p| p.ends_with(&file) || p.ends_with(&package))
        };
        for text in &texts {
            let closed = python::closed(text)?;
            if !closed.modules.iter().all(|m| is_there(m)) {
                return None;
            }
            named.extend(closed.variables);
            read.extend(closed.read);
        }
        if let Some(m) = module {
            match python::variables_of(&m) {
                Some(variables) => read.extend(variables),
                None => is_there(m.split(|b| *b == b'.').next()?).then_some(())?,
            }
        }
        Some(Reads::These { named, read })
    }

    /// A compiled program, with what it loaded.
    fn compiled(&self, p: &Program, image: Image) -> Option<Reads> {
        let program = self.own_text(&p.path)?;
        let mut files = vec![program];
        for (path, r) in self.names.iter().filter(|(_, r)| r.readers.contains(&image)) {
            let library = r.first.is_some_and(|s| s.is_file()) && is_library(path);
            if library && !elf::is_of_the_c_library(path) {
                files.push(self.own_text(path)?);
            }
        }
        let all = files.iter().map(|f| elf::imports(f)).collect::<Vec<_>>();
        if all.contains(&elf::Imports::All) {
            return Some(Reads::All { job: true });
        }
        if all.iter().any(|i| *i != elf::Imports::None) {
            return None;
        }
        let passes = |n: &[u8]| super::passes(n, self.c.pass);
        let named = files.iter().flat_map(|f| elf::named(f, self.c.env)).filter(|n| !passes(n)).collect();
        Some(Reads::These { named, read: elf::LIBRARIES_READ.to_vec() })
    }

    /// What an open program reads: anything; those of a job if its texts go through the environment.
    fn open(&self, p: &Program, image: Image) -> Reads {
        let own = self.names.iter().filter(|(path, r)| {
            (r.readers.contains(&image) || path[..] == p.path[..]) && !places::is_foreign(path, self.c.root)
        });
        let job = p.argv.iter().any(|w| goes_through(w))
            || own
                .filter_map(|(path, _)| self.look.source(path))
                .any(|t| !t.starts_with(b"\x7fELF") && goes_through(&t));
        Reads::All { job }
    }
}

/// A module by which setuptools comes before Python's own distutils; it reads one variable.
fn is_of_setuptools(path: &[u8]) -> bool {
    path.ends_with(b"/_distutils_hack/__init__.py") && path.contains_str("-packages/")
}

/// Is it named as a shared library?
fn is_library(path: &[u8]) -> bool {
    tools::base_name(path).contains_str(".so") && !path.starts_with(b"/etc/")
}

/// `env`: with a command it hands the environment on; without one it shows all of it.
fn env(argv: &[Vec<u8>]) -> Reads {
    if argv.iter().any(|w| super::preloads(w)) {
        return ANY;
    }
    let mut words = argv.iter().skip(1).peekable();
    while let Some(w) = words.peek() {
        match &w[..] {
            b"-i" | b"-" | b"--ignore-environment" => _ = words.next(),
            b"-u" => _ = (words.next(), words.next()),
            w if w.starts_with(b"-") => return ANY,
            w if w.contains(&b'=') => _ = words.next(),
            _ => return Reads::These { named: Vec::new(), read: vec!["PATH"] },
        }
    }
    Reads::All { job: true }
}

/// The script of `sh [options] SCRIPT`.
fn options_of_shell(argv: &[Vec<u8>]) -> Option<&[u8]> {
    let mut words = argv.iter().skip(1).map(Vec::as_slice);
    loop {
        match words.next()? {
            b"-o" => _ = words.next().filter(|w| matches!(*w, b"pipefail" | b"errexit" | b"nounset"))?,
            [b'-', letters @ ..] if !letters.is_empty() => {
                letters.iter().all(|b| b"eufxv".contains(b)).then_some(())?;
            }
            [b'+' | b'-', ..] => return None,
            script => return Some(script),
        }
    }
}

/// Where the text of a Python is.
enum Given<'a> {
    Text(&'a [u8]),
    Module(&'a [u8]),
    File(&'a [u8]),
}

/// What a Python is to run; `None` for its standard input, and for options that are not known here.
fn python_text(argv: &[Vec<u8>]) -> Option<Given<'_>> {
    let mut words = argv.iter().skip(1).map(Vec::as_slice);
    loop {
        match words.next()? {
            b"-c" => return words.next().map(Given::Text),
            b"-m" => return words.next().map(Given::Module),
            [b'-', letters @ ..] => {
                let plain = !letters.is_empty() && letters.iter().all(|b| b"BEIOsSu".contains(b));
                plain.then_some(())?;
            }
            file => return Some(Given::File(file)),
        }
    }
}

/// Might this text of a script go through all variables, or compute names of some?
fn goes_through(text: &[u8]) -> bool {
    let quote = |b: Option<&u8>| b.is_some_and(|b| b"\"'".contains(b));
    let literal = |rest: &[u8], opens: &[&str]| {
        opens.iter().any(|o| {
            let rest = rest.trim_start();
            rest.strip_prefix(o.as_bytes()).is_some_and(|r| {
                let r = r.trim_start();
                let name = r.get(1..).unwrap_or_default();
                let end = name.iter().position(|b| !scripts::part_of_name(Some(b))).unwrap_or(name.len());
                let after = name[end..].get(1..).unwrap_or_default().trim_start();
                quote(r.first())
                    && name.get(end) == r.first()
                    && matches!(after.first(), Some(b']' | b')' | b',' | b'}'))
            })
        })
    };
    let words: [(&str, &[&str]); 5] = [
        ("environ", &["[", ".get(", ".pop(", ".setdefault("]),
        ("getenv", &["("]),
        ("ENVIRON", &["["]),
        ("%ENV", &[]),
        ("process.env", &["["]),
    ];
    words.iter().any(|(word, opens)| {
        text.find_iter(word).any(|i| {
            let rest = &text[i + word.len()..];
            let longer = scripts::part_of_name(rest.first());
            let attribute = *word == "process.env" && rest.starts_with(b".");
            !longer && !attribute && !literal(rest, opens)
        })
    })
}
