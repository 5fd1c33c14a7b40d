//! For whom users, groups and the name of the machine count by themselves, where no single access tells.
//!
//! To which programs the numbers of owners matter is in the table of tools; the recorder notes what those looked at.
//! Of a shell only its text tells, over all that it ran: a variable that has the user's number or the machine's name,
//! `test -O`, `ulimit`. Who gives something to another owner has learned whose things are. What a text puts together
//! from parts is not found.

use crate::accesses::{Accesses, Program};
use crate::limits::CORE;
use crate::look::{Form, Look};
use crate::record::Record;
use crate::tools::base_name;
use crate::{places, scripts};
use bstr::ByteSlice;
use cache::observation::value;
use cache::{Fact, Observation, PathBytes, Value};
use rustc_hash::FxHashMap;

type Names = FxHashMap<PathBytes, Record>;

/// What the texts of shells ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Asks {
    ids: bool,
    host: bool,
    limits: bool,
}

impl Asks {
    const ALL: Self = Self { ids: true, host: true, limits: true };

    fn or(self, other: Self) -> Self {
        Self { ids: self.ids || other.ids, host: self.host || other.host, limits: self.limits || other.limits }
    }

    /// Of one text. `dumps`: a shell that may run it has variables for both, which a bare `set` shows.
    fn of(text: &[u8], dumps: bool) -> Self {
        let word = |w: &str| scripts::has_word(text, w.as_bytes(), false);
        let words = || text.fields_with(|c| c.is_whitespace() || "(){}[];|&`\"'".contains(c));
        // Prompts have both (bash(1), "PROMPTING").
        let prompts = text.contains_str("@P}") || word("PS4") || word("PS1");
        let bare = |l: &[u8]| matches!(l.trim_with(|c| " \t();".contains(c)), b"set" | b"declare" | b"typeset");
        let shows = || {
            ["(set)", "declare -p", "typeset -p", "set |", "set>", "set >"].iter().any(|w| text.contains_str(w))
                || text.lines().any(bare)
        };
        if prompts || dumps && shows() {
            return Self { limits: word("ulimit"), ..Self::ALL };
        }
        Self {
            ids: ["UID", "EUID", "GROUPS"].into_iter().any(word) || words().any(|w| matches!(w, b"-O" | b"-G")),
            host: ["HOSTNAME", "HOSTTYPE", "MACHTYPE"].into_iter().any(word),
            limits: word("ulimit"),
        }
    }
}

/// What the shells of a pip ask for.
fn of_shells(a: &Accesses, names: &Names, look: &impl Look) -> Asks {
    let image = |p: &Program| p.interpreter.clone().unwrap_or_else(|| p.path.clone());
    let shells: Vec<&Program> = a.programs.iter().filter(|p| scripts::is_shell_program(&image(p))).collect();
    if shells.is_empty() {
        return Asks::default();
    }
    let dumps = shells.iter().any(|p| !matches!(base_name(&image(p)), b"dash"));
    // Its text comes through a pipe, or is typed.
    let is_told = |p: &&&Program| {
        p.interpreter.is_some()
            || crate::command_text::shell_text(&p.argv).is_some()
            || scripts::scripts_of(&p.path, &p.argv).next().is_some()
    };
    if !shells.iter().all(|p| is_told(&p)) {
        return Asks::ALL;
    }
    let of_words = shells.iter().flat_map(|p| &p.argv).map(|w| Asks::of(w, dumps));
    let texts = names.iter().filter(|(p, r)| {
        r.sourced && (r.first.is_some_and(|s| s.is_file()) || r.created) && look.form(p) != Form::Binary
    });
    let of_texts = texts.map(|(p, _)| match look.source(p) {
        Some(text) => Asks::of(&text, dumps),
        // Gone, or too long to be looked into.
        None => Asks::ALL,
    });
    of_words.chain(of_texts).fold(Asks::default(), Asks::or)
}

/// What counts besides of user, groups and machine.
pub(crate) fn observe(
    all: &mut Vec<(Observation, Value)>,
    a: &mut Accesses,
    names: &Names,
    look: &impl Look,
    root: &[u8],
) {
    let asks = of_shells(a, names, look);
    if asks.limits {
        let asked = std::mem::take(&mut a.asked_by_shells);
        a.facts.extend(asked);
    }
    if asks.host {
        a.facts.extend([Fact::Host, Fact::System]);
    }
    if asks.ids || names.values().any(|r| r.sets_owner) {
        a.facts.insert(Fact::Ids);
        let owner =
            |(p, r): (&PathBytes, &Record)| Some((Observation::Owner(p.clone()), value::owner(r.first.as_ref()?)));
        let observed: Vec<_> =
            names.iter().filter(|(_, r)| r.read || r.probed || r.soft_probe).filter_map(owner).collect();
        all.extend(observed);
    }
    // A child of the build's own may have ended by a signal, and a shell says whether that left a core file.
    if a.programs.iter().skip(1).any(|p| p.interpreter.is_none() && !places::is_foreign(&p.path, root)) {
        a.facts.insert(Fact::Limit(CORE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_shells() {
        let none = Asks::default();
        let (ids, host) = (Asks { ids: true, ..none }, Asks { host: true, ..none });
        let both = Asks { ids: true, host: true, limits: false };
        for (text, dumps, want) in [
            ("echo $UID", true, ids),
            ("test -O f && echo mine", false, ids),
            ("[ -G f ]", false, ids),
            ("echo ${GROUPS[0]}", true, ids),
            ("echo $HOSTNAME", true, host),
            ("echo ${x@P}", true, both),
            ("(set) 2>&1 | sort", true, both),
            ("(set) 2>&1 | sort", false, Asks::default()),
            ("set\n", true, both),
            ("x=$(ulimit -n)", false, Asks { limits: true, ..none }),
            ("set -e\ngcc -O2 -c a.c; GUIDE=1 BUILD_UID_X=2", true, Asks::default()),
        ] {
            assert_eq!(Asks::of(text.as_bytes(), dumps), want, "{text}");
        }
    }
}
