//! The build record while it is being written: one of those who are told of every event.

use crate::event::{Event, Recheck, Sink};
use crate::record::{BuildRecord, Item, Outcome, Rechecks};
use cache::Digest;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// More warnings than this help nobody.
const WARNINGS: usize = 20;

#[derive(Default)]
struct Pages {
    items: Vec<Item>,
    /// How many hit, and how many ran to their end.
    hits: u64,
    ran: u64,
    warnings: Vec<String>,
    rechecks: Rechecks,
    /// Programs that build tools executed and that could not be looked into: how many, by why.
    unseen: BTreeMap<String, u64>,
    /// Results that were served.
    used: Vec<Digest>,
    restored: u64,
    stored: u64,
    saved_us: u64,
}

#[derive(Default)]
pub(crate) struct Ledger(Mutex<Pages>);

impl Sink for Ledger {
    fn on(&self, event: &Event<'_>) {
        let p = &mut *self.0.lock().expect("ledger");
        match event {
            Event::Done(item) => {
                *(if item.outcome == Outcome::Hit { &mut p.hits } else { &mut p.ran }) += 1;
                p.items.push((*item).clone());
            }
            Event::Warning(w) => warn(&mut p.warnings, (*w).to_owned()),
            Event::Served { strong, bytes, saved_us } => {
                p.used.push(*strong);
                p.restored += bytes;
                p.saved_us += saved_us;
            }
            Event::Stored { bytes } => p.stored += bytes,
            Event::Rechecked(Recheck::Same) => p.rechecks.same += 1,
            Event::Rechecked(Recheck::Unknown) => p.rechecks.unknown += 1,
            Event::Rechecked(Recheck::Different(what)) => p.rechecks.different.push((*what).to_owned()),
            Event::Unseen { why } => *p.unseen.entry((*why).to_owned()).or_insert(0) += 1,
            Event::Launched { .. }
            | Event::BecameDriver { .. }
            | Event::Fault { .. }
            | Event::Ended(_)
            | Event::Product { .. } => {}
        }
    }
}

fn warn(all: &mut Vec<String>, w: String) {
    if !all.contains(&w) && all.len() < WARNINGS {
        all.push(w);
    }
}

impl Ledger {
    /// How many commands hit so far, and how many ran to their end.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let p = self.0.lock().expect("ledger");
        (p.hits, p.ran)
    }

    /// Results that were served.
    pub(crate) fn used(&self) -> Vec<Digest> {
        self.0.lock().expect("ledger").used.clone()
    }

    /// Puts what happened so far into a record, but for the warnings: there may be more of them before the end.
    pub(crate) fn fill(&self, record: &mut BuildRecord) {
        let p = &mut *self.0.lock().expect("ledger");
        let mut items = std::mem::take(&mut p.items);
        items.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
        for (i, item) in items.iter_mut().enumerate() {
            item.id = u32::try_from(i + 1).unwrap_or(u32::MAX);
        }
        record.items = items;
        record.saved_cpu_ms = p.saved_us / 1000;
        record.bytes.restored = p.restored;
        record.bytes.stored = p.stored;
        record.rechecks = std::mem::take(&mut p.rechecks);
        record.count();
        for (why, n) in std::mem::take(&mut p.unseen) {
            record.unseen += n;
            let times =
                if n == 1 { "a program was executed".to_owned() } else { format!("{n} times a program was executed") };
            warn(&mut p.warnings, format!("{times} that could not be looked into, and ran uncached: {why}"));
        }
    }

    /// What went wrong with `xl` itself.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.0.lock().expect("ledger").warnings.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_noted_once_and_not_too_many() {
        let l = Ledger::default();
        for w in ["a", "b", "a"] {
            l.on(&Event::Warning(w));
        }
        assert_eq!(l.warnings(), ["a", "b"]);
        (0..100).for_each(|i| l.on(&Event::Warning(&i.to_string())));
        assert_eq!(l.warnings().len(), WARNINGS);
    }

    #[test]
    fn served_and_stored_add_up() {
        let l = Ledger::default();
        for n in [1, 2] {
            l.on(&Event::Served { strong: Digest([n; 32]), bytes: 10, saved_us: 1500 });
            l.on(&Event::Stored { bytes: 7 });
        }
        l.on(&Event::Rechecked(Recheck::Same));
        l.on(&Event::Rechecked(Recheck::Different("x")));
        l.on(&Event::Unseen { why: "w" });
        let mut r = BuildRecord::default();
        l.fill(&mut r);
        assert_eq!((r.bytes.restored, r.bytes.stored, r.saved_cpu_ms, r.unseen), (20, 14, 3, 1));
        assert_eq!((r.rechecks.total(), l.used().len()), (2, 2));
        assert_eq!(l.warnings(), ["a program was executed that could not be looked into, and ran uncached: w"]);
    }
}
