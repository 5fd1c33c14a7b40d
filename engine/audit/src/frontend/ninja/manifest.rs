//! `build.ninja`: statements, scopes, rules and edges.
//!
//! As ninja's manual has it: variables are expanded where they are set, those of a rule where they are used; a name on
//! an edge is looked up in `in`/`out`, the edge, the rule, then the file's scope outwards; `include` shares the scope,
//! `subninja` has one below.

use super::lexer::{Lexer, Text, Wrong};
use crate::frontend::step::FrontendError;
use crate::paths::{absolute, os_path};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// A `build` statement. Paths as ninja has them: relative to its directory, without `.` and `..` where that is
/// possible.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edge {
    pub rule: Vec<u8>,
    /// The explicit ones come first.
    pub outputs: Vec<Vec<u8>>,
    explicit_outputs: usize,
    pub inputs: Vec<Vec<u8>>,
    pub implicit: Vec<Vec<u8>>,
    pub order_only: Vec<Vec<u8>>,
    own: Vec<(Vec<u8>, Vec<u8>)>,
    scope: usize,
    pub file: Arc<[u8]>,
    pub line: usize,
}

#[derive(Debug, Default)]
struct Scope {
    values: FxHashMap<Vec<u8>, Vec<u8>>,
    rules: FxHashMap<Vec<u8>, FxHashMap<Vec<u8>, Text>>,
    parent: Option<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct Manifest {
    pub edges: Vec<Edge>,
    /// Everything that was read, as it is named.
    pub files: Vec<Vec<u8>>,
    scopes: Vec<Scope>,
    dir: Vec<u8>,
}

/// What one line of a dyndep file adds.
pub(crate) struct DynamicEdge {
    /// The first names the edge, the others are added.
    pub outputs: Vec<Vec<u8>>,
    pub implicit: Vec<Vec<u8>>,
}

/// Manifests that include each other without end.
const DEEPEST: usize = 64;

impl Manifest {
    /// Reads `file` and what it includes; `dir` is where ninja runs.
    pub(crate) fn load(dir: &[u8], file: &[u8]) -> Result<Self, FrontendError> {
        let mut m = Self { scopes: vec![Scope::default()], dir: dir.to_vec(), ..Self::default() };
        m.read(file, 0, 0)?;
        Ok(m)
    }

    fn read(&mut self, file: &[u8], scope: usize, depth: usize) -> Result<(), FrontendError> {
        let shown = || String::from_utf8_lossy(&absolute(&self.dir, file)).into_owned();
        let bytes = std::fs::read(os_path(&absolute(&self.dir, file)))
            .map_err(|source| FrontendError::Read { path: shown(), source })?;
        self.files.push(file.to_vec());
        let mut l = Lexer::new(&bytes);
        let name: Arc<[u8]> = file.into();
        loop {
            l.skip_empty_lines();
            if l.at_end() {
                return Ok(());
            }
            let line = l.line;
            let wrong = |m: &Self, what: Wrong| FrontendError::Syntax {
                path: String::from_utf8_lossy(&absolute(&m.dir, file)).into_owned(),
                line,
                what,
            };
            match self.statement(&mut l, scope, &name) {
                Ok(None) => {}
                Ok(Some(_)) if depth >= DEEPEST => return Err(wrong(self, "it is included without end".into())),
                Ok(Some((included, scope))) => self.read(&included, scope, depth + 1)?,
                Err(what) => return Err(wrong(self, what)),
            }
        }
    }

    /// One statement; the result is a file to read, and its scope.
    fn statement(
        &mut self,
        l: &mut Lexer<'_>,
        scope: usize,
        file: &Arc<[u8]>,
    ) -> Result<Option<(Vec<u8>, usize)>, Wrong> {
        let line = l.line;
        match l.name()? {
            b"build" => self.edge(l, scope, file.clone(), line)?,
            b"rule" => {
                let name = l.name()?.to_vec();
                l.end_of_line()?;
                let mut bindings = FxHashMap::default();
                while l.indent() {
                    let (key, value) = binding(l)?;
                    bindings.insert(key, value);
                }
                self.scopes[scope].rules.insert(name, bindings);
            }
            b"pool" => {
                l.name()?;
                l.end_of_line()?;
                while l.indent() {
                    binding(l)?;
                }
            }
            b"default" => {
                while !l.path()?.0.is_empty() {}
                l.end_of_line()?;
            }
            kind @ (b"include" | b"subninja") => {
                let path = l.path()?.expand(|n| self.lookup(scope, n));
                l.end_of_line()?;
                let below = if kind == b"include" {
                    scope
                } else {
                    self.scopes.push(Scope { parent: Some(scope), ..Scope::default() });
                    self.scopes.len() - 1
                };
                return Ok(Some((path, below)));
            }
            name => {
                let name = name.to_vec();
                if !l.takes(b"=") {
                    return Err("`=` is expected".into());
                }
                let value = l.value()?.expand(|n| self.lookup(scope, n));
                self.scopes[scope].values.insert(name, value);
            }
        }
        Ok(None)
    }

    fn edge(&mut self, l: &mut Lexer<'_>, scope: usize, file: Arc<[u8]>, line: usize) -> Result<(), Wrong> {
        let mut outputs = paths(l)?;
        let explicit_outputs = outputs.len();
        if l.takes(b"|") {
            outputs.extend(paths(l)?);
        }
        if outputs.is_empty() {
            return Err("a build statement names no output".into());
        }
        if !l.takes(b":") {
            return Err("`:` is expected".into());
        }
        let rule = l.name()?.to_vec();
        let inputs = paths(l)?;
        let (mut implicit, mut order_only) = (Vec::new(), Vec::new());
        loop {
            if l.takes(b"||") {
                order_only.extend(paths(l)?);
            } else if l.takes(b"|@") {
                // Validations: they run besides, and order nothing.
                paths(l)?;
            } else if l.takes(b"|") {
                implicit.extend(paths(l)?);
            } else {
                break;
            }
        }
        l.end_of_line()?;
        let mut own = Vec::new();
        while l.indent() {
            let (key, value) = binding(l)?;
            let value = value.expand(|n| self.lookup(scope, n));
            own.push((key, value));
        }
        if rule != b"phony" && self.rule(scope, &rule).is_none() {
            return Err(format!("unknown rule `{}`", String::from_utf8_lossy(&rule)));
        }
        let mut e = Edge { rule, explicit_outputs, own, scope, file, line, ..Edge::default() };
        let all = |m: &Self, texts: Vec<Text>| -> Vec<Vec<u8>> {
            texts.iter().map(|t| canonical(&t.expand(|n| m.own(&e, n).unwrap_or_else(|| m.lookup(scope, n))))).collect()
        };
        let (outputs, inputs, implicit, order_only) =
            (all(self, outputs), all(self, inputs), all(self, implicit), all(self, order_only));
        (e.outputs, e.inputs, e.implicit, e.order_only) = (outputs, inputs, implicit, order_only);
        if e.rule == b"phony" {
            // A name for itself, as some generators write: ninja drops it.
            let outputs = e.outputs.clone();
            e.inputs.retain(|i| !outputs.contains(i));
        }
        self.edges.push(e);
        Ok(())
    }

    fn lookup(&self, scope: usize, name: &[u8]) -> Vec<u8> {
        let s = &self.scopes[scope];
        s.values.get(name).cloned().or_else(|| s.parent.map(|p| self.lookup(p, name))).unwrap_or_default()
    }

    fn rule(&self, scope: usize, name: &[u8]) -> Option<&FxHashMap<Vec<u8>, Text>> {
        let s = &self.scopes[scope];
        s.rules.get(name).or_else(|| self.rule(s.parent?, name))
    }

    fn own(&self, e: &Edge, name: &[u8]) -> Option<Vec<u8>> {
        e.own.iter().rev().find(|(k, _)| k == name).map(|(_, v)| v.clone())
    }

    /// Top-level `builddir`.
    pub(crate) fn builddir(&self) -> Vec<u8> {
        self.lookup(0, b"builddir")
    }

    /// The value of a variable for an edge. In a `command`, paths are quoted for the shell.
    pub(crate) fn value(&self, e: &Edge, name: &[u8]) -> Vec<u8> {
        self.for_edge(e, name, name == b"command", &mut Vec::new())
    }

    fn for_edge(&self, e: &Edge, name: &[u8], quoted: bool, open: &mut Vec<Vec<u8>>) -> Vec<u8> {
        let list = |v: &[Vec<u8>], between: u8| {
            let shown: Vec<Vec<u8>> = v.iter().map(|p| if quoted { shell_quoted(p) } else { p.clone() }).collect();
            shown.join(&between)
        };
        match name {
            b"in" => return list(&e.inputs, b' '),
            b"in_newline" => return list(&e.inputs, b'\n'),
            b"out" => return list(&e.outputs[..e.explicit_outputs], b' '),
            _ => {}
        }
        if let Some(v) = self.own(e, name) {
            return v;
        }
        match self.rule(e.scope, &e.rule).and_then(|r| r.get(name)) {
            // Ninja refuses variables of a rule that need each other; here they are empty.
            Some(_) if open.iter().any(|n| n == name) => Vec::new(),
            Some(t) => {
                open.push(name.to_vec());
                let value = t.expand(|n| self.for_edge(e, n, quoted, open));
                open.pop();
                value
            }
            None => self.lookup(e.scope, name),
        }
    }
}

/// Reads a dyndep file (ninja's manual, "Dynamic Dependencies").
pub(crate) fn dyndep(dir: &[u8], file: &[u8]) -> Result<Vec<DynamicEdge>, FrontendError> {
    let path = absolute(dir, file);
    let shown = String::from_utf8_lossy(&path).into_owned();
    let bytes = std::fs::read(os_path(&path)).map_err(|source| FrontendError::Read { path: shown.clone(), source })?;
    let mut l = Lexer::new(&bytes);
    let mut out = Vec::new();
    let plain = |t: Vec<Text>| t.iter().map(|t| canonical(&t.expand(|_| Vec::new()))).collect::<Vec<_>>();
    let mut one = |l: &mut Lexer<'_>| -> Result<(), Wrong> {
        if l.name()? != b"build" {
            // The version.
            l.takes(b"=");
            l.value()?;
            return Ok(());
        }
        let mut outputs = plain(paths(l)?);
        if l.takes(b"|") {
            outputs.extend(plain(paths(l)?));
        }
        if !l.takes(b":") || l.name()? != b"dyndep" {
            return Err("`: dyndep` is expected".into());
        }
        let implicit = if l.takes(b"|") { plain(paths(l)?) } else { Vec::new() };
        l.end_of_line()?;
        while l.indent() {
            binding(l)?;
        }
        out.push(DynamicEdge { outputs, implicit });
        Ok(())
    };
    loop {
        l.skip_empty_lines();
        if l.at_end() {
            return Ok(out);
        }
        let line = l.line;
        one(&mut l).map_err(|what| FrontendError::Syntax { path: shown.clone(), line, what })?;
    }
}

fn paths(l: &mut Lexer<'_>) -> Result<Vec<Text>, Wrong> {
    let mut all = Vec::new();
    loop {
        let p = l.path()?;
        if p.0.is_empty() {
            return Ok(all);
        }
        all.push(p);
    }
}

fn binding(l: &mut Lexer<'_>) -> Result<(Vec<u8>, Text), Wrong> {
    let key = l.name()?.to_vec();
    if !l.takes(b"=") {
        return Err("`=` is expected".into());
    }
    Ok((key, l.value()?))
}

/// Without `.`, `//`, and `..` after a name: how ninja spells paths, also in commands.
fn canonical(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for p in path.split(|b| *b == b'/') {
        match p {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|l| *l != b"..") => drop(parts.pop()),
            b".." if path.first() == Some(&b'/') => {}
            p => parts.push(p),
        }
    }
    let joined = parts.join(&b'/');
    match (path.first(), joined.is_empty()) {
        (Some(b'/'), _) => [b"/", &joined[..]].concat(),
        (_, true) => b".".to_vec(),
        _ => joined,
    }
}

/// As ninja quotes paths in commands.
fn shell_quoted(path: &[u8]) -> Vec<u8> {
    let safe = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'.' | b'/');
    if path.iter().all(safe) {
        return path.to_vec();
    }
    let mut out = vec![b'\''];
    for b in path {
        if *b == b'\'' {
            out.extend_from_slice(b"'\\''");
        } else {
            out.push(*b);
        }
    }
    out.push(b'\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)]) -> Result<Manifest, FrontendError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Manifest::load(dir.path().as_os_str().as_encoded_bytes(), b"build.ninja")
    }

    fn text(b: &[u8]) -> String {
        String::from_utf8_lossy(b).into_owned()
    }

    #[test]
    fn scopes_and_expansion() {
        let m = load(&[
            (
                "build.ninja",
                "x = 1\nrule r\n  command = do $x $y $in > $out\n  y = [$x]\nx = 2\nbuild a: r b$ c d'e\n\
                 build o | p: r ./i//j/../k | l || m |@ n\n  x = 3\nsubninja s\ninclude t\nbuild w: r $x\n",
            ),
            ("s", "x = 4\nbuild sub: r in\nrule local\n  command = l\nbuild q: local\n"),
            ("t", "x = 5\n"),
        ])
        .unwrap();
        let commands: Vec<String> = m.edges.iter().map(|e| text(&m.value(e, b"command"))).collect();
        assert_eq!(
            commands,
            ["do 5 [5] 'b c' 'd'\\''e' > a", "do 3 [3] i/k > o", "do 4 [4] in > sub", "l", "do 5 [5] 5 > w"]
        );
        let e = &m.edges[1];
        assert_eq!(
            (&e.implicit[..], &e.order_only[..], e.outputs.len()),
            (&[b"l".to_vec()][..], &[b"m".to_vec()][..], 2)
        );
        assert_eq!(m.files.len(), 3);
    }

    #[test]
    fn lines_that_go_on_and_odd_names() {
        let text_of_all = "rule r\n  command = a $\n     b$$c ${in}x\r\n# comment\n\n\
                           build $\n  out$:1: $\n  r in\n  # inside\n  pool = console\n\
                           default out$:1\npool p\n  depth = 2\n";
        let m = load(&[("build.ninja", text_of_all)]).unwrap();
        let e = &m.edges[0];
        assert_eq!((text(&e.outputs[0]), text(&m.value(e, b"command"))), ("out:1".into(), "a b$c inx".into()));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (manifest, line, says) in [
            ("rule r\n  command = x\nbuild a: s b\n", 3, "unknown rule `s`"),
            ("build a\n", 1, "`:` is expected"),
            ("\n\nx = $%\n", 3, "escape"),
            ("rule r\n\tcommand = x\n", 2, "tabs"),
            ("include build.ninja\n", 1, "without end"),
        ] {
            match load(&[("build.ninja", manifest)]) {
                Err(FrontendError::Syntax { line: l, what, .. }) => {
                    assert!(l == line && what.contains(says), "{l} {what}")
                }
                other => panic!("{manifest:?}: {other:?}"),
            }
        }
        assert!(matches!(load(&[]), Err(FrontendError::Read { .. })));
    }

    #[test]
    fn paths_are_spelled_as_ninja_does() {
        for (from, to) in
            [("./a", "a"), ("a/../b", "b"), ("../a", "../a"), ("a/..", "."), ("/..//x", "/x"), ("../../x/..", "../..")]
        {
            assert_eq!(text(&canonical(from.as_bytes())), to);
        }
    }
}
