//! Which entries of users and groups a pip asked for, told by the programs that opened the files.
//!
//! Only of tools is that known, by their rows: a shell asks for its own user, `ls -l` for the owners of what it looked
//! at. What a text makes a tool ask for besides (`~name` is a user to a shell) is looked for in its arguments and in
//! what it read. Whoever else opens such a file may have read all of it.

use super::texts;
use crate::accesses::{Accesses, Program};
use crate::judgement::Context;
use crate::look::{Form, Look};
use crate::places;
use crate::record::{Image, Record};
use crate::tools::{self, Asks};
use bstr::ByteSlice;
use cache::{PathBytes, Question};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

pub(super) const USERS: &[u8] = b"/etc/passwd";
pub(super) const GROUPS: &[u8] = b"/etc/group";
pub(super) const SERVICES: &[u8] = b"/etc/nsswitch.conf";

/// Kinds of entries in `nsswitch.conf` that matter to who asks for users and groups.
const KINDS: [&[u8]; 3] = [b"passwd", b"group", b"initgroups"];

/// What the pip asked of this file; `None`: perhaps of everything in it.
pub(super) fn questions(
    index: &[u8],
    r: &Record,
    a: &Accesses,
    names: &FxHashMap<PathBytes, Record>,
    look: &impl Look,
    c: &Context<'_>,
) -> Option<Vec<Question>> {
    let program = |i: &Image| a.programs.get((*i as usize).checked_sub(1)?);
    let asks = |i: &Image| {
        let p = program(i).filter(|p| p.interpreter.is_none())?;
        let known = tools::find(&p.path);
        let asks = known.filter(|_| places::belongs_to_the_machine(&p.path))?.asks_accounts(&p.argv)?;
        (!has_more_to_ask(*i, p, a, names, look, c)).then_some(asks)
    };
    let all: Vec<Asks> = r.readers.iter().map(asks).collect::<Option<_>>()?;
    let is_tool = |p: &[u8]| a.programs.iter().any(|x| x.path == p) || super::is_library(tools::base_name(p));
    let settled = |p: &[u8]| {
        [USERS, GROUPS, SERVICES].contains(&p)
            || places::belongs_to_the_machine(p) && (is_tool(p) || p.ends_with(b".mo"))
    };
    // Options that nobody sees on the command line.
    let options = c.env.iter().any(|v| v.starts_with(b"TAR_OPTIONS="));
    if all.is_empty() || options || !texts::nobody_names(index, settled, a, names, look, c) {
        return None;
    }
    if index == SERVICES {
        return Some(KINDS.iter().map(|k| Question::Service(k.to_vec())).collect());
    }
    let mut out = vec![Question::Own];
    if all.contains(&Asks::Owners) {
        let states = names.iter().flat_map(|(p, r)| [r.first, r.intent.then(|| look.stat(p)).flatten()]).flatten();
        let all = states.map(|s| (s.uid, s.gid)).chain(a.owners.iter().copied());
        let owners: BTreeSet<u32> = all.map(|(user, group)| if index == USERS { user } else { group }).collect();
        out.extend(owners.into_iter().map(Question::Number));
    }
    Some(out)
}

/// May a text that the program `p` was given, and was run as `image`, make it ask for other users, by name?
fn has_more_to_ask(
    image: Image,
    p: &Program,
    a: &Accesses,
    names: &FxHashMap<PathBytes, Record>,
    look: &impl Look,
    c: &Context<'_>,
) -> bool {
    // It need not have come from a file that this image read.
    let is_text = |(path, r): &(&PathBytes, &Record)| {
        let own = r.readers.contains(&image) && ![USERS, GROUPS, SERVICES].contains(&&path[..]);
        r.read && r.first.is_some_and(|s| s.is_file()) && (own || !places::belongs_to_the_machine(path))
    };
    let made = |r: &Record| r.reuses && (r.sourced || r.interpreted);
    let functions = c.env.iter().filter(|v| v.starts_with(b"BASH_FUNC_"));
    let mut words = p.argv.iter().chain(a.programs.iter().flat_map(|p| &p.argv)).chain(functions);
    let mut texts = names.iter().filter(is_text).filter(|(p, _)| look.form(p) == Form::Text);
    words.any(|w| names_users(w))
        || names.values().any(made)
        || texts.any(|(p, _)| look.source(p).is_none_or(|t| names_users(&t)))
}

/// `~name`, and words by which shells and Tcl find users.
fn names_users(text: &[u8]) -> bool {
    const WORDS: [&str; 4] = ["compgen", "complete", " -owner ", " -group "];
    // A shell takes what is put together for a name if it is told to read it again.
    let is_again = || ["eval", "source", ". "].iter().any(|w| text.contains_str(w));
    let is_plain = |b: Option<&u8>| match b {
        None | Some(b'/' | b' ' | b'\t' | b'\n' | b';' | b':' | b')' | b'|' | b'&') => true,
        Some(b'\'' | b'"') => !is_again(),
        _ => false,
    };
    text.find_iter("~").any(|i| !is_plain(text.get(i + 1))) || WORDS.iter().any(|w| text.contains_str(w))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_names_users() {
        for text in [
            "cd ~bob",
            "eval echo ~$USER",
            "compgen -u",
            "file attributes f -owner bob",
            "eval \"echo ~\"bob",
            "echo ~%s",
        ] {
            assert!(names_users(text.as_bytes()), "{text}");
        }
        assert!(!names_users(b"cd ~; ls ~/x; echo a~ '~'"));
    }
}
