//! How many commands really run at once (`--local-jobs`).
//!
//! A command that would run waits for a slot while its process is held in `execve`. Whoever might be waited for by one
//! that runs never waits: a command that reads a pipe with writers, and one that writes into the standard input of a
//! running one. One that opens a FIFO gives its slot back, for the other end may be waiting. What cannot be seen (a
//! loop until somebody makes a file) is left to time: when no slot has come free for [`PATIENCE`], one more command
//! runs.

use rustc_hash::FxHashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long nothing may end before one more command runs.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
struct State {
    running: usize,
    /// What the running commands read on standard input, by the kernel's names.
    read: FxHashMap<Vec<u8>, usize>,
    /// When a slot last came free, or was given in spite of the limit.
    moved: Option<Instant>,
}

/// All slots of a run.
#[derive(Debug)]
pub struct Slots {
    limit: usize,
    state: Mutex<State>,
    free: Condvar,
}

/// One command's slot; given back when it is dropped.
#[derive(Debug)]
pub struct Slot {
    all: Arc<Slots>,
    input: Vec<u8>,
    counted: bool,
}

impl Slots {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), state: Mutex::default(), free: Condvar::new() })
    }

    /// Waits for a slot, for a command with these descriptors (kernel names of pipes, empty for anything else).
    pub fn take(self: &Arc<Self>, input: Vec<u8>, outputs: &[Vec<u8>]) -> Slot {
        let mut s = self.state.lock().expect("slots");
        let began = Instant::now();
        while s.running >= self.limit && input.is_empty() && !outputs.iter().any(|o| s.read.contains_key(o)) {
            let last = s.moved.map_or(began, |m| m.max(began));
            let left = PATIENCE.saturating_sub(last.elapsed());
            if left.is_zero() {
                break;
            }
            s = self.free.wait_timeout(s, left).expect("slots").0;
        }
        if s.running >= self.limit {
            s.moved = Some(Instant::now());
        }
        s.running += 1;
        if !input.is_empty() {
            *s.read.entry(input.clone()).or_insert(0) += 1;
            // Somebody may be waiting who writes to it.
            self.free.notify_all();
        }
        Slot { all: self.clone(), input, counted: true }
    }
}

impl Slot {
    /// The command goes on, but may now depend on one that has not started.
    pub fn lend(&mut self) {
        if std::mem::take(&mut self.counted) {
            let mut s = self.all.state.lock().expect("slots");
            s.running -= 1;
            s.moved = Some(Instant::now());
            self.all.free.notify_all();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.lend();
        let mut s = self.all.state.lock().expect("slots");
        if let Some(n) = s.read.get_mut(&self.input) {
            *n -= 1;
            if *n == 0 {
                s.read.remove(&self.input);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn never_more_than_the_limit() {
        let slots = Slots::new(2);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    for _ in 0..50 {
                        let slot = slots.take(Vec::new(), &[]);
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                        drop(slot);
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 2);
        assert_eq!(slots.state.lock().unwrap().running, 0);
    }

    #[test]
    fn both_ends_of_a_pipe_run() {
        let slots = Slots::new(1);
        let reader = slots.take(b"pipe:[1]".to_vec(), &[]);
        // Would hang: the only slot is taken by whoever waits for this one's output.
        let writer = slots.take(Vec::new(), &[b"pipe:[1]".to_vec()]);
        drop((reader, writer));
        let writer = slots.take(Vec::new(), &[b"pipe:[2]".to_vec()]);
        let reader = slots.take(b"pipe:[2]".to_vec(), &[]);
        drop((writer, reader));
        let s = slots.state.lock().unwrap();
        assert!(s.running == 0 && s.read.is_empty());
    }

    #[test]
    fn whoever_opens_a_fifo_lets_another_start() {
        let slots = Slots::new(1);
        let mut first = slots.take(Vec::new(), &[]);
        first.lend();
        drop(slots.take(Vec::new(), &[]));
    }
}
