//! Tells commands of one text apart: make runs the recipe of `a b: src` once for each of its targets.
//!
//! Steps with the same commands are a *family*. Each time that a build tool goes through the commands of a family is
//! one *round*, known by counting how often it has launched each of the texts, and every round is of another step: of
//! one whose output it wrote, else, if there was a round for every step, in the turn in which the build tool comes to
//! them. A text that steps with other commands have too (`mkdir -p out`) says nothing of the step, and is left to what
//! the command wrote.

use super::driver::Driver;
use crate::observer::Observed;
use cache::PathBytes;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The steps of the launches whose text several steps have, as far as they can be told. `number`: the drivers by
/// launch.
pub(super) fn tell_apart(
    seen: &Observed,
    drivers: &[Arc<Driver>],
    number: &FxHashMap<usize, usize>,
) -> FxHashMap<usize, usize> {
    let mut times: FxHashMap<(usize, usize, &[u8]), usize> = FxHashMap::default();
    // By driver and first step of a family: the launches of each round.
    let mut rounds: BTreeMap<(usize, usize), Vec<Vec<usize>>> = BTreeMap::new();
    let mut keys: Vec<Vec<u8>> = Vec::with_capacity(seen.launches.len());
    let mut found: Vec<(usize, usize, usize)> = Vec::new();
    for (launch, l) in seen.launches.iter().enumerate() {
        keys.push(Vec::new());
        let Some((parent, driver)) = l.parent.and_then(|p| Some((p, *number.get(&p)?))) else { continue };
        let d = &drivers[driver];
        if let all @ [first, _, ..] = d.candidates(l, &seen.launches[parent])
            && all.iter().all(|s| d.declared.steps[*s].commands == d.declared.steps[*first].commands)
        {
            keys[launch] = d.key(l, &seen.launches[parent]);
            found.push((launch, driver, *first));
        }
    }
    for (launch, driver, first) in found {
        let step = &drivers[driver].declared.steps[first];
        let often = step.keys_of_commands().filter(|k| k.contains(&keys[launch])).count().max(1);
        let n = times.entry((driver, first, &keys[launch])).or_default();
        let round = *n / often;
        *n += 1;
        let all = rounds.entry((driver, first)).or_default();
        all.resize_with(all.len().max(round + 1), Vec::new);
        all[round].push(launch);
    }
    let mut wrote: FxHashMap<usize, FxHashSet<&PathBytes>> = FxHashMap::default();
    for p in &seen.pips {
        let mut at = p.launch;
        while let Some(up) = seen.launches[at].parent.filter(|up| !number.contains_key(up)) {
            at = up;
        }
        wrote.entry(at).or_default().extend(p.made.iter().filter(|m| !m.deleted).map(|m| &m.path));
    }
    let mut out = FxHashMap::default();
    for ((driver, first), rounds) in rounds {
        let d = &drivers[driver];
        let mut open: Vec<usize> = d.family(first).filter(|s| !d.declared.steps[*s].commands.is_empty()).collect();
        open.sort_by_key(|s| (d.declared.steps[*s].turn, *s));
        let complete = rounds.len() == open.len();
        for round in rounds {
            let made = |o: &PathBytes| round.iter().any(|l| wrote.get(l).is_some_and(|w| w.contains(o)));
            let own = open.iter().position(|s| d.declared.steps[*s].outputs.iter().any(made));
            let Some(at) = own.or_else(|| (complete && !open.is_empty()).then_some(0)) else { continue };
            let step = open.remove(at);
            out.extend(round.into_iter().map(|l| (l, step)));
        }
    }
    out
}
