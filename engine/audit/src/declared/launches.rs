//! Tells which launches of a run are build tools that can be asked for their rules, and which launch is part of which.
//!
//! Not asked are a build tool that only answers a question (`make --version`), one with which a configuration step
//! finds something out, and a make that has remade its makefiles and started itself again: that is the same one.

use crate::observer::Observed;
use engine::event::Launch;
use worker::drivers;
use worker::tools::base_name;

pub(super) fn is_make(l: &Launch) -> bool {
    l.driver && drivers::is_make(base_name(&l.program))
}

pub(super) fn is_ninja(l: &Launch) -> bool {
    l.driver && drivers::is_ninja(base_name(&l.program))
}

/// Does this run of make build nothing (`make --version`, a probe of `configure`)?
fn only_asks(l: &Launch) -> bool {
    drivers::only_asks(&l.argv)
}

/// The run of make that started itself again as this one, having remade its makefiles.
pub(super) fn again(seen: &Observed, i: usize) -> Option<usize> {
    let l = &seen.launches[i];
    l.parent.filter(|p| l.again && is_make(l) && is_make(&seen.launches[*p]) && seen.launches[*p].cwd == l.cwd)
}

/// Is this a build tool whose declarations are to be asked?
pub(super) fn asks(seen: &Observed, i: usize) -> bool {
    let l = &seen.launches[i];
    (is_make(l) || is_ninja(l)) && !only_asks(l) && again(seen, i).is_none() && !is_probe(seen, i)
}

/// Does a configuration step find something out with this build?
fn is_probe(seen: &Observed, i: usize) -> bool {
    let configures = |l: &Launch| {
        let names = l.argv.iter().take(2).map(|a| base_name(a));
        let works = |a: &Vec<u8>| matches!(&a[..], b"--build" | b"--install" | b"-E" | b"-P");
        let cmake = base_name(&l.program) == b"cmake" && !l.argv.iter().any(works);
        cmake || names.into_iter().any(|n| n == b"configure" || n == b"config.status")
    };
    let mut at = seen.launches[i].parent;
    while let Some(p) = at {
        if configures(&seen.launches[p]) {
            return true;
        }
        at = seen.launches[p].parent;
    }
    false
}

/// The build tools, from the innermost, of which this launch is a part.
pub(crate) fn ancestors(seen: &Observed, launch: usize) -> Vec<usize> {
    let mut out = Vec::new();
    let mut at = Some(launch);
    while let Some(l) = at {
        if asks(seen, l) {
            out.push(l);
        }
        at = seen.launches[l].parent;
    }
    out
}
