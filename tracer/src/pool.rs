//! Threads for work that may block: hashing, materialising, waiting, replaying.
//!
//! Elastic on purpose. A replay blocks until its reader has read, and the reader may itself be a command that
//! waits for a thread of this pool (`hit | hit` in a driver script), so a fixed size would deadlock. A job never
//! waits for a free thread; idle threads are reused and leave after a moment.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    busy: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is a job.
    work: Condvar,
    /// Nothing is to be done any more.
    quiet: Condvar,
}

#[derive(Clone, Default)]
pub(crate) struct Pool(Arc<Shared>);

/// How long an idle thread stays.
const LINGER: Duration = Duration::from_secs(2);

impl Pool {
    /// Runs `job` soon, on some thread.
    pub(crate) fn run(&self, job: Job) {
        let mut s = self.0.state.lock().expect("pool");
        s.jobs.push_back(job);
        if s.idle >= s.jobs.len() {
            self.0.work.notify_one();
            return;
        }
        s.busy += 1;
        drop(s);
        let shared = self.0.clone();
        let spawned =
            std::thread::Builder::new().name("xl-pool".into()).stack_size(1 << 20).spawn(move || shared.work());
        if spawned.is_err() {
            // No thread to be had (a process limit): the caller's own thread is better than never.
            let job = {
                let mut s = self.0.state.lock().expect("pool");
                s.busy -= 1;
                s.jobs.pop_back()
            };
            if let Some(job) = job {
                job();
            }
        }
    }

    /// Waits until every job that was given has ended.
    pub(crate) fn drain(&self) {
        let s = self.0.state.lock().expect("pool");
        let _quiet = self.0.quiet.wait_while(s, |s| s.busy > 0 || !s.jobs.is_empty()).expect("pool");
    }
}

impl Shared {
    /// A thread: busy while it has a job, idle until it gets one or has waited long enough.
    fn work(&self) {
        let mut s = self.state.lock().expect("pool");
        loop {
            while let Some(job) = s.jobs.pop_front() {
                drop(s);
                // A panicking job must not take the count of busy threads with it.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                s = self.state.lock().expect("pool");
            }
            s.busy -= 1;
            s.idle += 1;
            self.quiet.notify_all();
            let (guard, timeout) = self.work.wait_timeout_while(s, LINGER, |s| s.jobs.is_empty()).expect("pool");
            s = guard;
            s.idle -= 1;
            if timeout.timed_out() && s.jobs.is_empty() {
                return;
            }
            s.busy += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Each job waits for the next one: only a pool that never makes a job wait gets through.
    #[test]
    fn jobs_may_wait_for_each_other() {
        let pool = Pool::default();
        let (done, finished) = mpsc::channel();
        let mut previous = done;
        for _ in 0..50 {
            let (tx, rx) = mpsc::channel::<()>();
            let out = std::mem::replace(&mut previous, tx);
            pool.run(Box::new(move || {
                let _ = rx.recv_timeout(Duration::from_secs(20));
                let _ = out.send(());
            }));
        }
        drop(previous);
        finished.recv_timeout(Duration::from_secs(10)).expect("no deadlock");
        pool.drain();
    }
}
