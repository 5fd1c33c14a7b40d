//! What a pip has written: each name that it meant to write, its state now against its state before. Then it is an
//! output, a deletion or a temporary. What could not be put back as the command would leave it is a problem.
//!
//! Knows no contents; those are collected by [`cache::collect`].

use crate::accesses::Accesses;
use crate::look::Look;
use crate::paths::{parent, text};
use crate::record::{changed, is_own};
use cache::collect::Written;
use cache::{FileStat, Kind, PathBytes};
use rustc_hash::FxHashSet;

/// What the pip has written so far, by the states of the names it meant to write. Directories that were moved
/// into place are written with everything in them.
pub fn written(a: &mut Accesses, look: &impl Look, umask: u32) -> Vec<Written> {
    let mut out: Vec<Written> = Vec::new();
    let mut problems = Vec::new();
    let mut moved: Vec<PathBytes> = Vec::new();
    for (path, r) in &a.names {
        if !(r.intent || r.ensured) {
            continue;
        }
        let now = look.stat(path);
        // Also one that is back again: what was done below its other name is not known as done to it.
        if r.first.is_some_and(|s| s.is_dir()) && r.moved_away {
            problems.push(format!("it renames the existing directory `{}`", text(path)));
        }
        if r.sets_attributes && now.is_some() && look.has_attributes(path) {
            problems.push(format!("it sets extended attributes of `{}`", text(path)));
        }
        // A directory that was there is to be there as well when the result is put back.
        if !(r.is_ensured(now.as_ref())
            || changed(r.first.as_ref(), now.as_ref())
            || r.dated && now.is_some_and(|s| s.is_dir()))
        {
            continue;
        }
        if r.in_place
            && let (Some(f), Some(n)) = (&r.first, &now)
            && (f.nlink > 1
                || !f.is_file()
                || (f.mode == n.mode && f.mode != 0o666 & !umask && f.mode != 0o777 & !umask))
        {
            problems.push(format!("it overwrites `{}` in place, which is linked or has an unusual mode", text(path)));
        }
        if now.is_some_and(|n| n.is_file() && look.keeps_more(path, &n)) {
            problems.push(format!(
                "it leaves `{}` with another owner than a new file would get, or with extended attributes",
                text(path)
            ));
        }
        if r.moved_in && now.is_some_and(|s| s.is_dir()) {
            moved.push(path.clone());
        }
        if r.sets_owner && now.is_some_and(|s| !is_own(&s)) {
            problems.push(format!("it gives `{}` to another owner", text(path)));
        }
        // Who changes the mode of a file, or its name, leaves its time.
        let is_left = |n: &FileStat| {
            r.first.is_some_and(|f| n.is_file() && !r.in_place && (f.dev, f.ino, f.mtime) == (n.dev, n.ino, n.mtime))
        };
        let time_of = now.and_then(|n| if is_left(&n) { Some(path.clone()) } else { a.time_of(&n) });
        // What was there is an input, whatever it is: it was not only replaced.
        let over = r.first.is_some() && !r.only_replaced(now.as_ref());
        out.push(Written {
            path: path.clone(),
            state: now,
            in_place: r.in_place,
            time_of,
            dated: r.dated,
            over,
            was_there: r.first.is_some(),
        });
    }
    let known: FxHashSet<PathBytes> = out.iter().map(|w| w.path.clone()).collect();
    while let Some(dir) = moved.pop() {
        for (name, kind) in look.list(&dir).unwrap_or_default() {
            let path: PathBytes = [&dir[..], b"/", &name].concat().into();
            if kind == Kind::Directory {
                moved.push(path.clone());
            }
            if !known.contains(&path) {
                let state = look.stat(&path);
                out.push(Written {
                    path,
                    state,
                    in_place: false,
                    time_of: None,
                    dated: false,
                    over: false,
                    was_there: false,
                });
            }
        }
    }
    let around: FxHashSet<&[u8]> =
        out.iter().filter(|w| !w.was_there && w.state.is_some()).map(|w| parent(&w.path)).collect();
    let strict = around.into_iter().filter(|dir| look.passes_on_access(dir));
    problems.extend(strict.map(|dir| {
        format!("`{}`, where it makes something, says who may use what is new in it (`setfacl -k`)", text(dir))
    }));
    for p in problems {
        a.problem(p);
    }
    out
}
