//! What a pip depends on and no access shows: clock and chance, the processor, variables that are passed through, times
//! inside of precompiled files. It is looked for in command lines, in the text of what was read and, for the time, in
//! what was made, and becomes observations or reasons not to store.
//!
//! Which words to look for is the business of [`crate::scripts`] and [`crate::clock_in_results`]; the clock itself is
//! read without a system call (vdso(7)).

use crate::accesses::{Accesses, Program, Stdin, reads_live_stdin};
use crate::date_macros::{self, Clock};
use crate::judgement::{Context, Finished};
use crate::look::{Form, Look};
use crate::record::Record;
use crate::tools::{self, Class, Known};
use crate::{clock_in_results, environment, places, scripts, stdin_of_scripts, volatile};
use bstr::ByteSlice;
use cache::digest::Traits;
use cache::{Fact, Observation, PathBytes};
use rustc_hash::{FxHashMap, FxHashSet};

type Names = FxHashMap<PathBytes, Record>;

fn text(p: &[u8]) -> String {
    String::from_utf8_lossy(p).into_owned()
}

/// All of it. What was observed so far is in `f`, with what contents were found to ask for.
pub(crate) fn reveal(
    a: &mut Accesses,
    names: &Names,
    outputs: &FxHashSet<PathBytes>,
    look: &impl Look,
    c: &Context<'_>,
    f: &mut Finished,
) -> Vec<Observation> {
    let epoch = c.env.iter().any(|v| v.starts_with(b"SOURCE_DATE_EPOCH="));
    let asks = asked_of_compilers(a, names, outputs, look, c, f);
    precompiled(names, &a.programs, &asks, c, f);
    clock_of_compilers(&a.programs, &asks, epoch, f);
    if a.keeps_cache && !c.said.is_empty() {
        f.problems.push("what it prints may depend on what it keeps in a cache of its own".to_owned());
    }
    if a.keeps_cache && a.programs.iter().any(is_compiler) {
        // Which headers these read is known only to who runs them, and not to who finds the result.
        f.problems.push("what it compiles with another compiler it keeps in a cache of its own".to_owned());
    }
    // Who waits and makes something has made it without waiting, too.
    if outputs.is_empty() && c.said.is_empty() && volatile::only_wait(&a.programs) {
        f.problems.push("`sleep`: it only waits".to_owned());
    }
    f.problems.extend(volatile::daemon(&a.programs, c.env).map(|(name, why)| format!("`{}`: {why}", text(name))));
    let mut out = Vec::new();
    let options = option_files(names, &a.programs, look);
    // A compiler may be told to make what is best for this processor.
    let words = a.programs.iter().flat_map(|p| &p.argv).chain(&options);
    out.extend({ words }.any(|w| w.contains_str("native")).then_some(Observation::Fact(Fact::Processor)));
    let extended = options.iter().flat_map(|t| t.fields()).any(environment::extends_compilers);
    out.extend(extended.then_some(Observation::EnvAll));
    let shown = options.iter().flat_map(|t| t.fields()).any(environment::search::shows_directories);
    out.extend({ environment::search::all() }.filter(|_| shown).map(|n| Observation::Env(n.into())));
    out.extend(own_texts(a, names, outputs, look, (c, epoch), f));
    shows_when_it_ran(a, names, outputs, look, c, epoch, f);
    let is_stranger =
        |p: &Program| p.tool.is_none() && !p.interpreter.as_ref().is_some_and(|i| scripts::is_shell_program(i));
    let asked = match a.met_stdin {
        true if a.lent_stdin && a.programs.iter().any(is_stranger) => Stdin::Used,
        true => asked_by_scripts(a, names, look, c),
        false => Stdin::Unused,
    };
    f.stdin = a.stdin.max(asked);
    if a.saved_live && asked == Stdin::Used {
        f.problems.push(reads_live_stdin());
    }
    out
}

/// What do the scripts of interpreters that have met it ask about standard input? A shell's may be the machine's own,
/// if another sources them. What compiled programs do with it is seen.
fn asked_by_scripts(a: &Accesses, names: &Names, look: &impl Look, c: &Context<'_>) -> Stdin {
    let counts = |p: &[u8]| !places::is_foreign(p, c.root) || p.ends_with(b".sh");
    let texts = names
        .iter()
        .filter(|(p, r)| r.read && counts(p) && (r.interpreted || scripts::may_have_run(p, false, &a.programs)));
    let of_text = |p: &[u8]| {
        look.source(p)
            .filter(|t| !t.starts_with(b"\x7fELF"))
            .map(|t| stdin_of_scripts::asks(&t, scripts::is_shell(p, &t)))
    };
    let of_words =
        |p: &Program| p.argv.iter().map(|w| stdin_of_scripts::asks(w, scripts::is_shell_program(&p.path))).max();
    a.programs.iter().filter_map(of_words).chain(texts.filter_map(|(p, _)| of_text(p))).max().unwrap_or_default()
}

/// What compilers were asked for.
struct Asks {
    /// Date or time.
    clock: Clock,
    /// The time of the source, which no environment settles.
    file_time: Clock,
}

fn is_compiler(p: &Program) -> bool {
    p.tool.is_some_and(|t| t.is(Class::Toolchain)) || date_macros::preprocesses(&p.path)
}

/// May it expand macros itself? The drivers of gcc call what does, and who only asks them calls nobody.
fn expands(p: &Program) -> bool {
    date_macros::preprocesses(&p.path)
        || tools::find(&p.path).is_some_and(Known::reads_source) && !p.tool.is_some_and(|t| t.distinct)
}

/// Does it read a source about which the texts of files do not tell everything?
fn is_unclear(p: &Program) -> bool {
    tools::find(&p.path).is_some_and(|k| k.reads_source() && !date_macros::is_clear(k, &p.argv))
}

fn asked_of_compilers(
    a: &Accesses,
    names: &Names,
    outputs: &FxHashSet<PathBytes>,
    look: &impl Look,
    c: &Context<'_>,
    f: &Finished,
) -> Asks {
    let compilers: Vec<&Program> = a.programs.iter().filter(|p| is_compiler(p)).collect();
    if !compilers.iter().any(|p| expands(p)) {
        return Asks { clock: Clock::Unnamed, file_time: Clock::Unnamed };
    }
    let words = || a.programs.iter().flat_map(|p| &p.argv);
    // What came from elsewhere than a file that is still there, or is no C of today: the word alone has to do.
    let unclear = compilers.iter().any(|p| is_unclear(p)) || f.clocks.iter().any(|(p, _)| outputs.contains(p));
    let texts = || {
        // The pip wrote a source itself, and may have removed it: nobody can look any more at what used its macros.
        if a.own_sources.any {
            return None;
        }
        let of_files = names
            .iter()
            .filter(|(_, r)| r.read && r.first.is_some_and(|s| s.is_file()))
            .map(|(p, _)| (p, if outputs.contains(p) { Form::Precompiled } else { look.form(p) }))
            .filter(|(_, form)| *form != Form::Binary)
            .map(|(p, form)| if form == Form::Precompiled { None } else { look.source(p) });
        of_files.chain(words().map(|w| Some(w.clone()))).collect()
    };
    // What a program of the build's own writes into a pipe may be what is in it. If it was compiled here, its source
    // was looked into.
    let makers = || a.programs.iter().filter(|p| p.tool.is_none() && !places::is_foreign(&p.path, c.root));
    let writes = |p: &Program, roots: &[&[u8]]| {
        let was_there = names.get(&p.path[..]).is_none_or(|r| r.first.is_some());
        match look.source(&p.path) {
            Some(text) => (was_there || !text.starts_with(b"\x7fELF")) && cache::digest::names_any(&text, roots),
            None => was_there,
        }
    };
    let piped = |roots: &[&[u8]]| {
        compilers.iter().any(|p| date_macros::reads_stdin(&p.argv)) && makers().any(|p| writes(p, roots))
    };
    let of = |roots: &[&[u8]], on_stdin: bool, named: &dyn Fn(bool) -> bool| {
        let mut files = f.clocks.iter().filter(|(_, file_time)| named(*file_time)).map(|(p, _)| p).peekable();
        let said = || on_stdin || piped(roots) || words().any(|w| cache::digest::names_any(value_of(w), roots));
        match files.peek() {
            _ if said() => Clock::Asked,
            None => Clock::Unnamed,
            Some(_) if unclear => Clock::Asked,
            Some(_) => date_macros::clock(roots, files.map(|p| look.source(p)), texts),
        }
    };
    let clock = of(&cache::digest::MACROS, c.stdin.asks_time || a.own_sources.ask_time, &|_| true);
    let file_time =
        of(&[cache::digest::FILE_TIME], c.stdin.asks_file_time || a.own_sources.ask_file_time, &|file_time| file_time);
    Asks { clock, file_time }
}

/// What it precompiled, and the times of what that knows of.
fn precompiled(names: &Names, programs: &[Program], asks: &Asks, c: &Context<'_>, f: &mut Finished) {
    let option = |p: &Program| Some((tools::find(&p.path)?.undated_headers()?, p.argv.clone()));
    let mut dating = programs.iter().filter_map(option).peekable();
    let undated = dating.peek().is_some() && dating.all(|(o, argv)| argv.iter().any(|w| w == o.as_bytes()));
    let asks_time = asks.clock != Clock::Unnamed || f.opaque.is_some();
    f.precompiled =
        Traits { asks_time, asks_file_time: asks.file_time != Clock::Unnamed, precompiled: true, dated: !undated };
    let dated = std::mem::take(&mut f.dated);
    match (f.precompiled.dated && c.dated, &dated[..]) {
        (false, []) => {}
        // What is compared is what it knows of, not its own time.
        (false, [one]) => crate::file_times::observe_all(&mut f.observations, names, Some(one)),
        _ => crate::file_times::observe_all(&mut f.observations, names, None),
    }
}

/// `-D__DATE__="x"` does not ask for the date: it says it.
fn value_of(word: &[u8]) -> &[u8] {
    let defines = word.starts_with(b"-D") || word.starts_with(b"-U");
    if !defines { word } else { word.find_byte(b'=').map_or(&b""[..], |i| &word[i + 1..]) }
}

/// `__DATE__` and the like, unless the environment or the command line says what they are.
fn clock_of_compilers(programs: &[Program], asks: &Asks, epoch: bool, f: &mut Finished) {
    let compiled = programs.iter().any(is_compiler);
    let defined = |name: &str| {
        programs
            .iter()
            .flat_map(|p| &p.argv)
            .any(|w| w.strip_prefix(b"-D").is_some_and(|d| d.starts_with(name.as_bytes())))
    };
    let settled = epoch || defined("__DATE__=") && defined("__TIME__=");
    if let Some(p) = f.opaque.as_ref().filter(|_| compiled && !settled) {
        f.problems.push(format!("`{}` is precompiled, and asks for date or time, or was not seen being made", text(p)));
    }
    let file_time = asks.file_time == Clock::Asked && !defined("__TIMESTAMP__=");
    f.asks_time = file_time || asks.clock == Clock::Asked && !settled;
    if file_time {
        f.problems.push("it compiles a source that asks for its own time (`__TIMESTAMP__`)".to_owned());
    } else if f.asks_time {
        f.problems.push("it compiles a source that asks for date or time (set SOURCE_DATE_EPOCH)".to_owned());
    }
}

/// The texts of files of options that were read: those that a command line names (`@file`, `--config=file`), or another
/// such file.
fn option_files(names: &Names, programs: &[Program], look: &impl Look) -> Vec<Vec<u8>> {
    let named = |w: &[u8]| {
        let w = w.trim_with(|c| matches!(c, '"' | '\''));
        let file = w.strip_prefix(b"@").or_else(|| w.strip_prefix(b"--config=")).map(tools::base_name)?;
        (!file.is_empty()).then(|| file.to_vec())
    };
    let mut open: Vec<Vec<u8>> = programs.iter().flat_map(|p| &p.argv).filter_map(|w| named(w)).collect();
    let (mut seen, mut texts) = (FxHashSet::default(), Vec::new());
    while let Some(file) = open.pop() {
        let read = names.iter().filter(|(p, r)| r.read && tools::base_name(p) == file);
        let found: Vec<Vec<u8>> = read.filter_map(|(p, _)| look.source(p)).collect();
        if seen.insert(file) {
            open.extend(found.iter().flat_map(|t| t.fields()).filter_map(named));
            texts.extend(found);
        }
    }
    texts
}

/// Does the user say that what this program makes depends neither on time nor on chance?
pub(crate) fn is_trusted(p: &Program, c: &Context<'_>) -> bool {
    (c.deterministic)(&p.path) || scripts::scripts_of(&p.path, &p.argv).any(|s| (c.deterministic)(s))
}

/// Nobody sees who asks for the time, but it may be there in what was made, and in nothing that it was made from.
fn shows_when_it_ran(
    a: &Accesses,
    names: &Names,
    outputs: &FxHashSet<PathBytes>,
    look: &impl Look,
    c: &Context<'_>,
    epoch: bool,
    f: &mut Finished,
) {
    let Some(maker) = a.programs.iter().find(|p| p.tool.is_none() && !is_trusted(p, c)) else { return };
    if !f.problems.is_empty() {
        return;
    }
    let run = clock_in_results::Run::new(c.ran[0], c.ran[1], c.env);
    // A date may also be that of a file or a commit, or the one that it was told.
    let of_a_file = |r: &Record| {
        r.times && !r.time_is_shown && r.first.is_some_and(|s| run.is_of_its_day(cache::file_stat::seconds(s.mtime)))
    };
    let tells_dates = a.programs.iter().any(|p| tools::find(&p.path).is_some_and(Known::tells_dates));
    let dates = !epoch && !tells_dates && !names.values().any(of_a_file);
    // Logs say when they were written.
    let is_log = |p: &[u8]| p.ends_with(b".log") || p.ends_with(b"log.txt");
    let inputs = || names.iter().filter(|(p, r)| r.read && !outputs.contains(*p)).filter_map(|(p, _)| look.source(p));
    let words = || c.env.iter().chain(a.programs.iter().flat_map(|p| &p.argv));
    let told = |word: &[u8]| words().any(|w| w.contains_str(word)) || inputs().any(|t| t.contains_str(word));
    let new = |made: &[u8]| run.shown(made, dates, &|word| !told(word)).map(text);
    let made =
        || outputs.iter().filter(|p| !is_log(p)).find_map(|p| Some((format!("`{}`", text(p)), new(&look.source(p)?)?)));
    if let Some((what, word)) = new(c.said).map(|w| ("what it prints".to_owned(), w)).or_else(made) {
        let who = text(tools::base_name(&maker.path));
        f.problems.push(format!("{what} shows when `{who}` ran (`{word}`)"));
    }
}

/// What the texts of the build's own scripts and tools name: variables that would be passed through, and time or
/// chance, which is a problem.
fn own_texts(
    a: &mut Accesses,
    names: &Names,
    outputs: &FxHashSet<PathBytes>,
    look: &impl Look,
    (c, epoch): (&Context<'_>, bool),
    f: &mut Finished,
) -> Vec<Observation> {
    let programs = &a.programs;
    let unknown = programs.iter().any(|p| p.tool.is_none());
    if !unknown && programs.iter().all(|p| p.tool.is_some_and(|t| !t.is(Class::Shell))) && a.state.is_empty() {
        return Vec::new();
    }
    let doubtful = || programs.iter().filter(|p| !is_trusted(p, c));
    if let Some(p) = doubtful().find(|p| !epoch && volatile::is_dated(p)) {
        let name = text(tools::base_name(&p.path));
        f.problems.push(format!("`{name}`: what it makes shows the time (set SOURCE_DATE_EPOCH)"));
    }
    let mut counts = Vec::new();
    let told = |s: &str| doubtful().any(|p| scripts::says(p, s));
    if a.state.contains(scripts::MEMORY) && told(scripts::MEMORY) {
        counts.push(Observation::Fact(Fact::Memory));
    }
    // Of the memory it is not the free part that matters, unless that is all that the pip asks for.
    let matters = |s: &str| s != scripts::MEMORY || doubtful().next().is_some_and(|p| scripts::says(p, s));
    if let Some(s) = a.state.iter().find(|s| told(s) && matters(s)) {
        f.problems.push(format!("it reads the state of kernel or processes (`{s}`)"));
    }
    f.asks = doubtful().find_map(|p| Some((text(tools::base_name(&p.path)), scripts::command_asks(p)?)));
    let mut variables = |text: &[u8], which| counts.extend(environment::named(text, which, c.env, c.pass));
    for p in programs.iter().filter(|p| p.tool.is_none()) {
        p.argv.iter().for_each(|w| variables(w, environment::Search::Everything));
    }
    // A module of Python's may have been run from its compiled form.
    let looked = |(p, r): &(&PathBytes, &Record)| {
        let module = r.probed && p.ends_with(b".py");
        (r.read || module)
            && !outputs.contains(*p)
            && r.first.is_some_and(|s| s.is_file())
            && !places::is_foreign(p, c.root)
    };
    for (path, r) in names.iter().filter(looked) {
        let script = scripts::may_have_run(path, r.interpreted, programs);
        // A program that nobody knows may hand on whatever it reads: templates, `env!` of Rust.
        if !(script || unknown && r.read || r.interpreted) {
            continue;
        }
        let Some(source) = look.source(path) else { continue };
        if !script && r.sourced && f.asks.is_none() && !(c.deterministic)(path) {
            f.asks = scripts::asks_if_sourced(&source, programs).map(|word| (text(path), word));
        }
        if !(script || (unknown || r.sourced) && r.read) {
            continue;
        }
        let search = match () {
            () if source.starts_with(b"\x7fELF") => environment::Search::Strings,
            // Shell scripts ask for the terminal to colour their talk.
            () if !script || scripts::is_shell(path, &source) => environment::Search::Job,
            () => environment::Search::Everything,
        };
        variables(&source, search);
        if script && f.asks.is_none() && !(c.deterministic)(path) {
            f.asks = scripts::asks(path, &source, programs, epoch).map(|word| (text(path), word));
        }
    }
    if let Some((who, word)) = &f.asks {
        f.problems.push(format!("`{who}` asks for what is different each time (`{word}`)"));
    }
    counts
}
