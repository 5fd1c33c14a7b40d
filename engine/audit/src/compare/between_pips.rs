//! Judges what pips do to each other: one reads a file before another one makes it, or while it may be made again; two
//! write the same file; one reads a source whose change would not make it run again.
//!
//! What counts is the declared order, not which pip happened to be first. Only between build tools that a script runs
//! is no order declared: there the order that was seen counts.

use super::checker::Checker;
use super::questions::{Case, Maker, ask};
use super::suggest;
use crate::declared::StepId;
use crate::declared::graph::{Answers, Asked};
use crate::finding::Fix;
use crate::kinds::{Kind, Severity};
use crate::paths::os_path;
use cache::PathBytes;
use engine::seen::{How, Made, Use};
use worker::command_text::executed;
use worker::tools::base_name;

/// Scripts of the build system that nobody declares as inputs: a change of one of them is a change of the tool.
const MACHINERY: &[&str] = &[
    "libtool",
    "ltmain.sh",
    "config.status",
    "depcomp",
    "missing",
    "install-sh",
    "mkinstalldirs",
    "ylwrap",
    "compile",
    "test-driver",
    "ar-lib",
    "config.guess",
    "config.sub",
    "configure",
    "move-if-change",
    "shtool",
];

/// May a command that lists a directory have looked for this name there? Not if it is one that takes files as they are
/// named, and only the shell has listed, for patterns that the name is none of (`rm -f x*`).
fn may_look_for(argv: &[Vec<u8>], name: &[u8]) -> bool {
    const TAKE_NAMES: &[&[u8]] = &[b"rm", b"cat", b"mv", b"touch", b"echo", b"ar", b"chmod", b"ln", b"wc"];
    let text = executed(argv);
    // More than one simple command, or words that are something else by the time they are used.
    if text.iter().any(|b| b";|&<>()$`'\"\\\n[]{}".contains(b)) {
        return true;
    }
    let mut words = text.split(|b| *b == b' ').filter(|w| !w.is_empty());
    let takes = words.next().is_some_and(|w| TAKE_NAMES.contains(&base_name(w)));
    let words: Vec<&[u8]> = words.collect();
    let recurses = |w: &&[u8]| w.starts_with(b"-") && w.iter().any(|b| b"rR".contains(b));
    let is_pattern = |w: &&&[u8]| w.iter().any(|b| b"*?".contains(b));
    if !takes || words.iter().any(recurses) || !words.iter().any(|w| is_pattern(&w)) {
        return true;
    }
    // A pattern may be for a directory in the middle of a path: its parts are looked at alone.
    let parts = words.iter().filter(is_pattern).flat_map(|w| w.split(|b| *b == b'/'));
    parts.filter(|p| p.iter().any(|b| b"*?".contains(b))).any(|p| matches(p, name))
}

/// Does a pattern of `*` and `?` fit a name?
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|n| matches(rest, &name[n..])),
        ([b'?', p @ ..], [_, n @ ..]) => matches(p, n),
        ([a, p @ ..], [b, n @ ..]) => a == b && matches(p, n),
        _ => false,
    }
}

impl Checker<'_> {
    pub(super) fn between_pips(&mut self) {
        let (cases, answers) = ask(self);
        for c in cases {
            self.judge(c, &answers);
        }
    }

    fn judge(&mut self, c: Case<'_>, a: &Answers) {
        match c {
            Case::Source { pip, used, path, levels } => {
                // Further out: whoever launched the build tool must run again too.
                if let Some((step, _)) = levels.into_iter().find(|(_, asked)| !a.reached(*asked)) {
                    self.source(pip, step, used, &path);
                }
            }
            Case::Generated { pip, used, makers, noticed } => self.generated(pip, used, &makers, noticed, a),
            Case::Listed { pip, used, others } => {
                let argv = &self.seen.launches[self.seen.pips[pip].launch].argv;
                let unordered = others.iter().filter(|(_, _, x, y)| !a.ordered(*x) && !a.ordered(*y));
                let unordered = unordered.filter(|(_, name, ..)| may_look_for(argv, base_name(name)));
                self.listed(pip, used, &unordered.map(|(other, name, ..)| (*other, name)).collect::<Vec<_>>());
            }
            Case::Written { path, first, second, same, orders } => {
                let ordered = a.ordered(orders.0) || a.ordered(orders.1);
                self.written(&path, (first, second), same, ordered);
            }
        }
    }

    /// A source was read whose change does not make this step run again.
    fn source(&mut self, pip: usize, step: StepId, used: &Use, path: &PathBytes) {
        let machinery = MACHINERY.iter().any(|m| base_name(path) == m.as_bytes());
        let s = self.declared.step(step);
        let (target, file) = (self.target(step), self.shown(path));
        let message = format!("`{target}` reads `{file}`, which nothing declares");
        let mut v = self.violation(Kind::UndeclaredInput, pip, Some(step), path, message);
        v.fix = suggest::input(self.declared, step, self.made_by(pip), (path, None), self.places.root);
        v.reproduce = suggest::stale(self.seen, self.declared, step, path);
        let exists = |i: &&PathBytes| std::fs::metadata(os_path(i)).is_ok_and(|m| m.is_file());
        v.control = s.inputs.iter().find(exists).map(|i| self.shown(i));
        if machinery {
            v.severity = Severity::Note;
        }
        // Scripts of the build system are in nobody's dependency file.
        if !machinery && self.declared.discovered(step).next().is_some() {
            v.message.push_str(", not even its dependency file");
            let message = format!("the dependency file of `{target}` does not name `{file}`, which it reads");
            let omits = self.violation(Kind::StaleDepfile, pip, Some(step), path, message);
            self.accuse(omits, &[(pip, used)]);
        }
        self.accuse(v, &[(pip, used)]);
    }

    /// A directory was listed in which these others make these names, in no order with the pip.
    fn listed(&mut self, pip: usize, used: &Use, others: &[(usize, &PathBytes)]) {
        let Some((other, name)) = others.first() else { return };
        let more = others.len() - 1;
        let and = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (target, dir) = (self.name(pip), self.shown(&used.path));
        let message = format!("`{target}` lists `{dir}`, in which `{}`{and} is made", self.shown(name));
        let mut v = self.violation(Kind::Listing, pip, None, &used.path, message);
        // An import lists directories for the names of modules only.
        let program = &self.seen.launches[self.seen.pips[pip].launch].program;
        // What is hidden is seldom looked for.
        let hidden = others.iter().all(|(_, name)| base_name(name).starts_with(b"."));
        // libtool looks for objects and libraries by patterns of its own.
        let text = executed(&self.seen.launches[self.seen.pips[pip].launch].argv);
        let libtool = text.split(|b| b" ;\n".contains(b)).any(|w| base_name(w) == b"libtool");
        if hidden || libtool || base_name(program).starts_with(b"python") {
            v.severity = Severity::Note;
        }
        v.other = Some(self.pip(*other));
        self.accuse(v, &[(pip, used)]);
    }

    /// Two pips wrote a file.
    fn written(&mut self, path: &PathBytes, (first, second): (usize, usize), same: bool, ordered: bool) {
        let how = match (ordered, same) {
            (true, _) => "one after the other",
            (false, true) => "in no declared order, with the same content this time",
            (false, false) => "in no declared order",
        };
        let message = format!("`{}` is written by two commands, {how}", self.shown(path));
        let mut v = self.violation(Kind::DoubleWrite, second, None, path, message);
        // Members of an archive: make writes one after the other, unless it is told to hurry.
        let declares = |pip: usize| {
            self.innermost(pip).filter(|s| self.declared.step(*s).outputs.contains(path)).map(|s| s.driver)
        };
        let members = declares(first).is_some() && declares(first) == declares(second);
        v.severity = if ordered || members { Severity::Note } else { v.severity };
        if same && !ordered {
            v.severity = v.severity.min(Severity::Warning);
        }
        v.target = self.shown(path);
        v.other = Some(self.pip(first));
        if let (false, false, Some(a), Some(b)) = (ordered, members, self.innermost(first), self.innermost(second)) {
            v.fix = suggest::writers(self.declared, a, b, self.places.root);
        }
        self.out.push(v);
    }

    /// A name that others make was read, or missed.
    fn generated(
        &mut self,
        pip: usize,
        used: &Use,
        makers: &[Maker],
        noticed: Option<(StepId, Vec<Asked>)>,
        a: &Answers,
    ) {
        let makers: Vec<&Maker> = makers.iter().filter(|m| !m.beside || m.is_before(a)).collect();
        let before = makers.iter().find(|m| m.is_before(a)).map(|m| m.pip);
        let unordered = makers.iter().find(|m| !m.is_before(a) && !a.ordered(m.after)).map(|m| m.pip);
        let (target, file) = (self.name(pip), self.shown(&used.path));
        if used.how != How::Read {
            if let (None, Some(other)) = (before, unordered) {
                let message = format!("`{target}` looks whether there is `{file}`, which another command makes");
                let mut v = self.violation(Kind::UndeclaredAbsent, pip, None, &used.path, message);
                v.other = Some(self.pip(other));
                v.fix = self.edge(pip, other, &used.path);
                self.accuse(v, &[(pip, used)]);
            }
            return;
        }
        match (before, unordered) {
            (Some(_), Some(other)) => {
                let message = format!("`{target}` reads `{file}` while another command may be writing it again");
                let mut v = self.violation(Kind::ReadWriteRace, pip, None, &used.path, message);
                v.other = Some(self.pip(other));
                self.accuse(v, &[(pip, used)]);
            }
            (None, Some(other)) => {
                let message = format!("`{target}` reads `{file}`, and nothing says that it is made first");
                let mut v = self.violation(Kind::MissingEdge, pip, None, &used.path, message);
                v.other = Some(self.pip(other));
                v.fix = self.edge(pip, other, &used.path);
                v.reproduce = self.innermost(pip).and_then(|s| suggest::race(self.seen, self.declared, s, &used.path));
                self.accuse(v, &[(pip, used)]);
            }
            (None, None) => {
                let Some(other) = makers.first().map(|m| m.pip) else { return };
                let message = format!("`{target}` reads `{file}`, which is declared to be made from it");
                let mut v = self.violation(Kind::Cycle, pip, None, &used.path, message);
                v.other = Some(self.pip(other));
                self.accuse(v, &[(pip, used)]);
            }
            (Some(other), None) => {
                let Some((step, _)) = noticed.filter(|(_, asked)| !asked.iter().any(|q| a.reached(*q))) else { return };
                let message = format!("`{target}` reads `{file}`, which is made first, but is no input of it");
                let mut v = self.violation(Kind::UndeclaredInput, pip, Some(step), &used.path, message);
                v.other = Some(self.pip(other));
                let path = (&used.path, self.innermost(other));
                v.fix = suggest::input(self.declared, step, self.made_by(pip), path, self.places.root);
                v.reproduce = suggest::stale(self.seen, self.declared, step, &used.path);
                self.accuse(v, &[(pip, used)]);
            }
        }
    }

    /// What a pip has made, and where it worked.
    fn made_by(&self, pip: usize) -> (&[Made], &[u8]) {
        let p = &self.seen.pips[pip];
        (&p.made, &self.seen.launches[p.launch].cwd)
    }

    fn edge(&self, pip: usize, maker: usize, path: &PathBytes) -> Option<Fix> {
        let (step, producer) = (self.innermost(pip)?, self.innermost(maker)?);
        suggest::edge(self.declared, step, producer, path, self.places.root)
    }
}

#[cfg(test)]
mod tests {
    use super::may_look_for;

    #[test]
    fn patterns_of_a_shell() {
        for (text, name, may) in [
            ("rm -f pod2htm*", "pod2htmd.tmp", true),
            ("rm -f pod2htm*", "busybox", false),
            ("rm -f pod2htm*", ".hidden", false),
            ("rm -f d?r/*.o x", "dir", true),
            ("rm -f d?r/*.o x", "a.o", true),
            ("rm -f d?r/*.o x", "a.c", false),
            // It lists by itself, or something else does.
            ("rm -rf pod2htm*", "busybox", true),
            ("ls pod2htm*", "busybox", true),
            ("rm -f pod2htm*; ls", "busybox", true),
            ("rm -f $X*", "busybox", true),
            ("cat names", "busybox", true),
        ] {
            let argv = ["/bin/sh", "-c", text].map(|w| w.as_bytes().to_vec());
            assert_eq!(may_look_for(&argv, name.as_bytes()), may, "{text} {name}");
        }
    }
}
