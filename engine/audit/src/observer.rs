//! Collects what a run was seen to do: who launched whom, and what each pip used and made.
//!
//! The observer is a sink of the engine's events, shared by the threads of a run. It gives everything away when the run
//! is over, and under enforcement, for each pip that ends, what has to be judged with it. A hit counts with what its
//! recorded run had looked at, so that a warm build tells the same as a cold one.

use cache::PathBytes;
use engine::event::{Event, Launch, Sink};
use engine::seen::{Fault, Seen};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Log {
    launches: Vec<Arc<Launch>>,
    pips: Vec<Seen>,
    faults: FxHashMap<usize, Vec<Fault>>,
    names: FxHashSet<PathBytes>,
    /// Pips by what they made.
    makers: FxHashMap<PathBytes, Vec<usize>>,
}

/// The collector.
#[derive(Default)]
pub struct Observer(Mutex<Log>);

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub launches: Vec<Arc<Launch>>,
    /// In the order in which they started.
    pub pips: Vec<Seen>,
}

impl Observer {
    /// What has to be judged with a pip that is about to end: those that made what it used, and it as the last one.
    pub(crate) fn around(&self, pip: &Seen) -> Observed {
        let log = self.0.lock().expect("observed");
        let mut makers: Vec<usize> =
            pip.uses.iter().filter_map(|u| log.makers.get(&u.path)).flatten().copied().collect();
        makers.sort_unstable();
        makers.dedup();
        let mut pips: Vec<Seen> = makers.into_iter().map(|i| log.pips[i].clone()).collect();
        let faults = log.faults.get(&pip.launch).cloned().unwrap_or_default();
        pips.push(Seen { faults, ..pip.clone() });
        Observed { launches: log.launches.clone(), pips }
    }

    /// The same with all pips that have ended.
    pub(crate) fn so_far(&self, pip: &Seen) -> Observed {
        let log = self.0.lock().expect("observed");
        let faults = log.faults.get(&pip.launch).cloned().unwrap_or_default();
        let pips = log.pips.iter().cloned().chain([Seen { faults, ..pip.clone() }]).collect();
        Observed { launches: log.launches.clone(), pips }
    }

    /// Gives everything away when the run is over.
    pub fn take(&self) -> Observed {
        let mut log = std::mem::take(&mut *self.0.lock().expect("observed"));
        for p in &mut log.pips {
            p.faults.extend(log.faults.remove(&p.launch).unwrap_or_default());
        }
        log.pips.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
        Observed { launches: log.launches, pips: log.pips }
    }
}

impl Sink for Observer {
    fn on(&self, event: &Event<'_>) {
        let mut log = self.0.lock().expect("observed");
        match event {
            Event::Launched { launch, what } => {
                debug_assert_eq!(*launch, log.launches.len());
                log.launches.push(Arc::clone(what));
            }
            Event::BecameDriver { launch } => {
                if let Some(l) = log.launches.get_mut(*launch) {
                    Arc::make_mut(l).driver = true;
                }
            }
            Event::Fault { launch, fault } => {
                let all = log.faults.entry(*launch).or_default();
                if !all.contains(fault) {
                    all.push((*fault).clone());
                }
            }
            Event::Ended(pip) => log.ended((*pip).clone()),
            _ => {}
        }
    }
}

impl Log {
    fn ended(&mut self, mut pip: Seen) {
        // Thousands of pips look at the same names.
        for p in pip.uses.iter_mut().map(|u| &mut u.path).chain(pip.made.iter_mut().map(|m| &mut m.path)) {
            match self.names.get(p) {
                Some(known) => *p = known.clone(),
                None => drop(self.names.insert(p.clone())),
            }
        }
        let n = self.pips.len();
        for m in pip.made.iter().filter(|m| !m.deleted) {
            self.makers.entry(m.path.clone()).or_default().push(n);
        }
        self.pips.push(pip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::seen::{How, Made, Use};

    fn pip(launch: usize, reads: &[&str], makes: &[&str], start_ms: f64) -> Seen {
        let path = |name: &&str| -> PathBytes { name.as_bytes().into() };
        Seen {
            launch,
            hit: false,
            exit_code: 0,
            start_ms,
            end_ms: start_ms,
            uses: reads.iter().map(|r| Use { path: path(r), how: How::Read, evidence: None }).collect(),
            made: makes.iter().map(|m| Made { path: path(m), digest: None, is_dir: false, deleted: false }).collect(),
            faults: Vec::new(),
        }
    }

    fn launches(o: &Observed) -> Vec<usize> {
        o.pips.iter().map(|p| p.launch).collect()
    }

    #[test]
    fn what_is_judged_with_a_pip() {
        let o = Observer::default();
        // They end in another order than they started.
        for p in [pip(2, &["a"], &["b"], 2.0), pip(1, &[], &["a"], 1.0), pip(3, &["x"], &["y"], 3.0)] {
            o.on(&Event::Ended(&p));
        }
        for _ in 0..2 {
            o.on(&Event::Fault { launch: 4, fault: &Fault::Survivor });
        }
        let last = pip(4, &["b", "y", "/usr/x"], &["z"], 4.0);
        assert_eq!(launches(&o.around(&last)), [2, 3, 4]);
        assert_eq!(launches(&o.so_far(&last)), [2, 1, 3, 4]);
        assert_eq!(o.around(&last).pips[2].faults, [Fault::Survivor]);
        o.on(&Event::Ended(&last));
        let all = o.take();
        assert_eq!(launches(&all), [1, 2, 3, 4]);
        assert_eq!(all.pips[3].faults, [Fault::Survivor]);
        assert!(o.take().pips.is_empty());
    }
}
