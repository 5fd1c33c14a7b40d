//! In what two results of one command differ.

use cache::entry::TextContent;
use cache::{Cas, Entry, FileStat, OutputKind, PathBytes, shown};

/// What is different of two results.
pub(crate) struct Different {
    pub(crate) paths: Vec<PathBytes>,
    /// What has no name of its own: the exit code, the text.
    pub(crate) others: Vec<String>,
}

impl std::fmt::Display for Different {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths = self.paths.iter().map(|p| format!("`{}`", shown(p)));
        f.write_str(&paths.chain(self.others.iter().cloned()).collect::<Vec<_>>().join(", "))
    }
}

/// What went to standard output and to standard error. In which order it came on two pipes is a matter of timing.
fn streams(e: &Entry, cas: &Cas) -> Option<[Vec<u8>; 2]> {
    let mut all = [Vec::new(), Vec::new()];
    for t in &e.text {
        let into = &mut all[usize::from(t.stream == 2)];
        match &t.content {
            TextContent::Inline(b) => into.extend_from_slice(b),
            TextContent::Blob(d) => into.extend_from_slice(&cas.read(d).ok()?),
        }
    }
    Some(all)
}

/// In what a result that was just made differs from one that was known.
pub(crate) fn differences(known: &Entry, made: &Entry, cas: &Cas) -> Option<Different> {
    if known.same_result(made) {
        return None;
    }
    let lacks = |e: &'_ Entry, o: &cache::Output| !e.outputs.iter().any(|x| x.by_itself() == o.by_itself());
    let changed = made.outputs.iter().filter(|o| lacks(known, o));
    // A directory that another command has made at the same time (`mkdir -p`, libtool's `.libs`) is there all the same.
    let is_there = |o: &cache::Output| match o.kind {
        OutputKind::Directory { mode, .. } => FileStat::of(&o.path).is_some_and(|s| s.is_dir() && s.mode == mode),
        _ => false,
    };
    let missing = known.outputs.iter().filter(|o| !made.outputs.iter().any(|m| m.path == o.path) && !is_there(o));
    let paths = changed.chain(missing).map(|o| o.path.clone()).collect();
    let code = (known.exit_code != made.exit_code)
        .then(|| format!("exit code {} instead of {}", made.exit_code, known.exit_code));
    let words = (known.text != made.text && streams(known, cas) != streams(made, cas)).then(|| "its text".to_owned());
    let d = Different { paths, others: code.into_iter().chain(words).collect() };
    (!d.paths.is_empty() || !d.others.is_empty()).then_some(d)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache::{Digest, Output, Text, Time};

    fn entry(code: i32, outputs: &[(&str, u8)], text: &[(u8, &str)]) -> Entry {
        let file = |n: u8| OutputKind::File {
            digest: Digest([n; 32]),
            size: 1,
            mode: 0o644,
            link_group: None,
            in_place: false,
            traits: Default::default(),
            time: Time::Fresh,
        };
        Entry {
            exit_code: code,
            outputs: outputs.iter().map(|(p, n)| Output { path: p.as_bytes().into(), kind: file(*n) }).collect(),
            text: text
                .iter()
                .map(|(stream, t)| Text { stream: *stream, content: TextContent::Inline(t.as_bytes().to_vec()) })
                .collect(),
            ..Entry::default()
        }
    }

    #[test]
    fn what_differs_is_named() {
        let t = tempfile::tempdir().unwrap();
        let cas = Cas::new(t.path());
        let known = entry(0, &[("/a", 1), ("/b", 2)], &[(1, "x"), (2, "y")]);
        let check = |made: &Entry, want: Option<&str>| {
            assert_eq!(differences(&known, made, &cas).map(|d| d.to_string()).as_deref(), want);
        };
        check(&known.clone(), None);
        check(&entry(0, &[("/b", 2), ("/a", 1)], &[(1, "x"), (2, "y")]), None);
        // The order of two streams is a matter of timing.
        check(&entry(0, &[("/a", 1), ("/b", 2)], &[(2, "y"), (1, "x")]), None);
        check(&entry(0, &[("/a", 9), ("/b", 2)], &[(1, "x"), (2, "y")]), Some("`/a`"));
        check(&entry(0, &[("/a", 1)], &[(1, "x"), (2, "y")]), Some("`/b`"));
        check(&entry(0, &[("/a", 1), ("/b", 2), ("/c", 3)], &[(1, "x"), (2, "y")]), Some("`/c`"));
        check(&entry(3, &[("/a", 1), ("/b", 2)], &[(1, "z"), (2, "y")]), Some("exit code 3 instead of 0, its text"));
    }
}
