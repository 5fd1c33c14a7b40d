//! Tries repairs before anybody is told of them: one that makes a fresh build fail is worse than none.
//!
//! In a throw-away layer over the tree the trial takes away what the build made, makes the edits and builds again, with
//! the user's own command; then it touches the files that were not declared, builds once more and looks whether their
//! targets are made again. What fails, or changes nothing, is no repair, and is not printed. If they do not all hold
//! together, each is tried alone. Where the build fails without any edit too, the trial says nothing and leaves them.
//!
//! It builds with whatever the caller puts before the command: `xl run`, so that the commands are hits and it takes
//! what a warm build takes.

use crate::finding::{Edit, Findings, Fix, Spot};
use crate::kinds::{Kind, Severity};
use crate::layer::{Layer, PATIENCE};
use crate::observer::Observed;
use crate::paths::{below, os_path};
use cache::PathBytes;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The most builds that one audit makes to find out which repairs hold, and how long they may take.
const BUILDS: usize = 12;
const TOGETHER: Duration = Duration::from_secs(60);

/// Arguments: the DIRECTORY with the lists, then the build command. It prints what the first build said if it failed,
/// else a line for each target that was made again after the files were touched, and `works` if
/// anything was done then.
const TRY: &str = r#"
lists=$1; shift
xargs -0 rm -f -- <"$lists/made"
xargs -0 -r -n 2 cp -- <"$lists/edits"
"$@" >"$TMPDIR/said" 2>&1 || { echo "fails $(grep -v '^$' "$TMPDIR/said" | tail -n 1)"; exit 0; }
echo builds
[ -s "$lists/touched" ] || exit 0
stamps() { while IFS= read -r it; do stat -c '%i %Y %z' -- "$it" 2>/dev/null || echo none; done <"$lists/targets"; }
"$@" >"$TMPDIR/idle" 2>&1 || exit 0
stamps >"$TMPDIR/before"
xargs -0 touch -- <"$lists/touched"
"$@" >"$TMPDIR/said" 2>&1 || exit 0
stamps >"$TMPDIR/after"
cmp -s "$TMPDIR/idle" "$TMPDIR/said" || echo works
paste "$TMPDIR/before" "$TMPDIR/after" "$lists/targets" | awk -F '\t' '$1 != $2 { print $3 }'
"#;

/// The build to try them with.
pub struct Trial<'a> {
    /// What comes before the command, with the command.
    pub command: &'a [OsString],
    pub cwd: &'a Path,
    pub root: &'a Path,
    /// A directory for a mount point.
    pub base: &'a Path,
}

/// One repair, and what is expected of it: after a change of the file the target is made again.
#[derive(Clone)]
struct Repair {
    edit: Edit,
    text: String,
    expects: Vec<(PathBytes, PathBytes)>,
}

/// How a build with some repairs went.
enum Went {
    /// Whether each of them does what is expected.
    Builds(Vec<bool>),
    Fails,
}

impl Trial<'_> {
    /// Takes away the repairs that do not hold. The result is how many; what cannot be tried stays.
    pub fn settle(&self, findings: &mut Findings, seen: &Observed) -> usize {
        let mut all: Vec<Repair> = Vec::new();
        let key = |f: &Fix| f.edit.clone().map(|e| (e, f.text.clone()));
        // Notes are shown to who asks for them, and are not worth a build.
        for v in findings.violations.iter().filter(|v| v.severity >= Severity::Warning) {
            let Some((edit, text)) = v.fix.as_ref().and_then(key) else { continue };
            let full = |name: &str| PathBytes::from(self.root.join(name).as_os_str().as_bytes());
            // What reports show of a name that is no UTF-8 is not the name.
            let told = v.code == Kind::UndeclaredInput && ![&v.file, &v.target].iter().any(|n| n.contains("\\x"));
            let expects = told.then(|| (full(&v.file), full(&v.target)));
            match all.iter_mut().find(|r| r.edit == edit && r.text == text) {
                Some(known) => known.expects.extend(expects),
                None => all.push(Repair { edit, text, expects: expects.into_iter().collect() }),
            }
        }
        if all.is_empty() {
            return 0;
        }
        let is_own = |m: &&PathBytes| below(m, self.root.as_os_str().as_bytes());
        let made: Vec<PathBytes> =
            seen.pips.iter().flat_map(|p| &p.made).filter(|m| !m.is_dir).map(|m| m.path.clone()).collect();
        let made: Vec<&PathBytes> = made.iter().filter(is_own).collect();
        let Ok(layer) = Layer::new(self.base, self.root) else { return 0 };
        let begun = Instant::now();
        let holds = holding(all.len(), &mut |some| {
            if begun.elapsed() > TOGETHER {
                return None;
            }
            let some: Vec<&Repair> = some.iter().map(|i| &all[*i]).collect();
            self.build(&layer, &made, &some)
        });
        let Some(holds) = holds else { return 0 };
        let mut gone = 0;
        for v in &mut findings.violations {
            let Some((edit, text)) = v.fix.as_ref().and_then(key) else { continue };
            let n = all.iter().position(|r| r.edit == edit && r.text == text);
            if n.is_some_and(|n| !holds[n]) {
                v.fix = None;
                gone += 1;
            }
        }
        gone
    }

    /// `None`: there was no answer.
    fn build(&self, layer: &Layer, made: &[&PathBytes], some: &[&Repair]) -> Option<Went> {
        let lists = tempfile::tempdir().ok()?;
        write_lists(lists.path(), made, some).ok()?;
        let mut words: Vec<OsString> = ["sh", "-c", TRY, "xl-try"].map(OsString::from).into();
        words.push(lists.path().into());
        words.extend(self.command.iter().cloned());
        let out = layer.run(&words, self.cwd, self.cwd, std::env::vars_os(), PATIENCE).ok()?;
        let mut lines = out.split(|b| *b == b'\n');
        if lines.next()? != b"builds" {
            return Some(Went::Fails);
        }
        let again: Vec<&[u8]> = lines.collect();
        // A command that leaves alone what is right has been run all the same.
        let works = again.contains(&&b"works"[..]);
        let does = |r: &&Repair| works || r.expects.iter().all(|(_, target)| again.contains(&&target[..]));
        Some(Went::Builds(some.iter().map(does).collect()))
    }
}

/// Which of so many repairs hold: all together, or else each of them alone, as far as the number of builds allows.
/// `None`: it cannot be told.
fn holding(count: usize, build: &mut dyn FnMut(&[usize]) -> Option<Went>) -> Option<Vec<bool>> {
    let all: Vec<usize> = (0..count).collect();
    match build(&all)? {
        Went::Builds(holds) => return Some(holds),
        Went::Fails => {}
    }
    if !matches!(build(&[])?, Went::Builds(_)) {
        return None;
    }
    let mut holds = vec![false; count];
    for n in all.into_iter().take(BUILDS - 2) {
        holds[n] = matches!(build(&[n]), Some(Went::Builds(does)) if does[0]);
    }
    Some(holds)
}

/// What the script reads: names, each ended by NUL but for the targets (one a line), and the files as they are to be.
fn write_lists(dir: &Path, made: &[&PathBytes], some: &[&Repair]) -> io::Result<()> {
    let ended =
        |all: &mut dyn Iterator<Item = &[u8]>| all.flat_map(|p| p.iter().copied().chain([0])).collect::<Vec<u8>>();
    let is_line = |p: &&(PathBytes, PathBytes)| !p.1.contains(&b'\n');
    let expects: Vec<&(PathBytes, PathBytes)> = some.iter().flat_map(|r| &r.expects).filter(is_line).collect();
    fs::write(dir.join("made"), ended(&mut made.iter().map(|p| &p[..])))?;
    fs::write(dir.join("touched"), ended(&mut expects.iter().map(|(file, _)| &file[..])))?;
    fs::write(dir.join("targets"), expects.iter().flat_map(|(_, t)| [&t[..], b"\n"].concat()).collect::<Vec<u8>>())?;
    let mut files: Vec<(&PathBytes, Vec<Vec<u8>>)> = Vec::new();
    for r in some {
        let n = match files.iter().position(|(f, _)| *f == &r.edit.file) {
            Some(n) => n,
            None => {
                let text = fs::read(os_path(&r.edit.file))?;
                files.push((&r.edit.file, text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()));
                files.len() - 1
            }
        };
        put(&mut files[n].1, r.edit.at, r.text.as_bytes());
    }
    let mut edits = Vec::new();
    for (n, (file, lines)) in files.iter().enumerate() {
        let new = dir.join(n.to_string());
        fs::write(&new, lines.join(&b'\n'))?;
        edits.extend(ended(&mut [OsStr::as_bytes(new.as_os_str()), &file[..]].into_iter()));
    }
    fs::write(dir.join("edits"), edits)
}

/// Makes an edit. No line moves: what is at the end comes after the lines that there are.
fn put(lines: &mut Vec<Vec<u8>>, at: Spot, text: &[u8]) {
    match at {
        Spot::End => lines.extend([text.to_vec(), Vec::new()]),
        Spot::HeadBefore(n) => {
            if let Some(head) = n.checked_sub(2).and_then(|n| lines.get_mut(n)).filter(|l| l.contains(&b':')) {
                *head = text.to_vec();
            }
        }
        Spot::Edge(n) => {
            let more = text.windows("… ".len()).position(|w| w == "… ".as_bytes());
            let more = more.map_or(text, |i| &text[i + "… ".len()..]);
            let mut last = n.saturating_sub(1);
            while lines.get(last).is_some_and(|l| l.ends_with(b"$")) {
                last += 1;
            }
            lines.get_mut(last).into_iter().for_each(|l| add_to_edge(l, more));
        }
        Spot::Call(n) => {
            // The arguments come after the name, which is the first string.
            let line = lines.get_mut(n.saturating_sub(1));
            line.into_iter().for_each(|l| {
                let quote = |from: usize, l: &[u8]| l[from..].iter().position(|b| *b == b'\'').map(|i| i + from);
                let end = quote(0, l).and_then(|i| quote(i + 1, l)).map(|i| i + 1);
                if let Some(end) = end {
                    let rest = l.split_off(end);
                    l.extend([b", ", text].concat());
                    l.extend(rest);
                }
            });
        }
    }
}

/// Adds `| file` or `|| file` to the line of an edge, where it has a part of its own for that or not.
fn add_to_edge(line: &mut Vec<u8>, more: &[u8]) {
    let find = |l: &[u8], what: &[u8]| l.windows(what.len()).position(|w| w == what);
    let order = find(line, b" || ");
    let (is_order, name) = match more.strip_prefix(b"|| ") {
        Some(name) => (true, name),
        None => (false, more.strip_prefix(b"| ").unwrap_or(more)),
    };
    let rest = if is_order { Vec::new() } else { order.map_or_else(Vec::new, |i| line.split_off(i)) };
    let rule = find(line, b": ").unwrap_or(0);
    let known = if is_order { order.is_some() } else { find(&line[rule..], b" | ").is_some() };
    line.extend(match (known, is_order) {
        (true, _) => [b" ", name].concat(),
        (false, true) => [b" || ", name].concat(),
        (false, false) => [b" | ", name].concat(),
    });
    line.extend(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_in(text: &str, at: Spot, what: &str) -> String {
        let mut lines: Vec<Vec<u8>> = text.split('\n').map(|l| l.as_bytes().to_vec()).collect();
        put(&mut lines, at, what.as_bytes());
        String::from_utf8(lines.join(&b'\n')).unwrap()
    }

    #[test]
    fn edits() {
        assert_eq!(put_in("a: b\n\tc\n", Spot::End, "a: d"), "a: b\n\tc\n\na: d\n");
        assert_eq!(put_in("a b: c\n\tx\n", Spot::HeadBefore(2), "a b &: c"), "a b &: c\n\tx\n");
        assert_eq!(put_in("build a: r b", Spot::Edge(1), "build a: … | c"), "build a: r b | c");
        assert_eq!(put_in("build a: r b | x || y", Spot::Edge(1), "build a: … | c"), "build a: r b | x c || y");
        assert_eq!(
            put_in("build a: r $\n b || y\n  k = v", Spot::Edge(1), "build a: … || c"),
            "build a: r $\n b || y c\n  k = v"
        );
        assert_eq!(put_in("build a | o: r b", Spot::Edge(1), "build a: … | c"), "build a | o: r b | c");
        assert_eq!(put_in("f('n', k: 1)", Spot::Call(1), "d: files('x')"), "f('n', d: files('x'), k: 1)");
    }

    #[test]
    fn which_hold() {
        // The second one fails, the third does nothing.
        let mut asked = Vec::new();
        let mut build = |some: &[usize]| {
            asked.push(some.to_vec());
            Some(if some.contains(&1) { Went::Fails } else { Went::Builds(some.iter().map(|n| *n != 2).collect()) })
        };
        assert_eq!(holding(3, &mut build), Some(vec![true, false, false]));
        assert_eq!(asked, [vec![0, 1, 2], vec![], vec![0], vec![1], vec![2]]);
        assert_eq!(holding(2, &mut |_| Some(Went::Fails)), None);
        assert_eq!(holding(2, &mut |_| None), None);
        // Time is up when they are tried alone: what fails together is not printed.
        let mut left = 3;
        let late = holding(3, &mut |some| {
            left -= 1;
            (left >= 0).then(|| if some.len() == 3 { Went::Fails } else { Went::Builds(vec![true; some.len()]) })
        });
        assert_eq!(late, Some(vec![true, false, false]));
        let mut builds = 0;
        let many = holding(50, &mut |some| {
            builds += 1;
            Some(if some.len() == 50 { Went::Fails } else { Went::Builds(vec![true; some.len()]) })
        });
        assert_eq!((many.unwrap().iter().filter(|h| **h).count(), builds), (BUILDS - 2, BUILDS));
    }
}
