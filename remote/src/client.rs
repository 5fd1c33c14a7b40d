//! A remote cache as a run has it: read while commands wait, written behind their backs.
//!
//! Results are queued and sent by one thread, many at a time; contents stay where they are in this machine's store
//! until then, so the queue is small. When the run is over it is given some time. Reads and writes have a
//! [`Breaker`] each: one may fail without the other.

use crate::breaker::Breaker;
use crate::tier::{Outgoing, Remote, Sent};
use cache::tier::{Failure, Link, Sink, Upload};
use cache::{Blobs, Cas, Class, Closed, Digest, Entry, Far, PathSet, Publication, Result, Results};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Results that wait, at most. What comes then is not sent.
const WAITING: usize = 20_000;
/// What did not arrive so often is not sent again.
const TRIES: u8 = 3;
/// How often is looked whether it is back, while results wait.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Results that are sent at once.
const BATCH: usize = 64;

/// The thread that empties the outbox, until somebody waits for it.
type Sending = Mutex<Option<JoinHandle<()>>>;

/// A result that waits.
struct Owned {
    weak: Digest,
    set: PathSet,
    strong: Digest,
    values: Vec<u64>,
    entry: Entry,
    tries: u8,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Owned>,
    /// Of those that were taken out.
    in_hand: usize,
    over: bool,
    sent: Sent,
    /// Results that were not sent, and why.
    lost: u64,
    why: Option<String>,
}

struct Outbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

pub(crate) struct Client {
    remote: Arc<Remote>,
    reads: Breaker,
    writes: Arc<Breaker>,
    /// `None`: it is only read.
    outbox: Option<(Arc<Outbox>, Sending)>,
    patience: Duration,
    /// Time that commands waited for it, and that they would have taken, microseconds.
    waited: AtomicU64,
    gained: AtomicU64,
    begun: Instant,
}

/// A cache that costs this much more time than it saves is left alone, besides a twentieth of the run so far.
const COSTS: Duration = Duration::from_secs(10);

impl Client {
    /// `cas`: from where contents are sent, if any are. `patience`: how long to wait at the end.
    pub(crate) fn new(remote: Arc<Remote>, cas: Option<Arc<Cas>>, patience: Duration) -> Self {
        let ping = {
            let remote = remote.clone();
            Arc::new(move || remote.ping())
        };
        let writes = Arc::new(Breaker::new("nothing could be stored in the remote cache", ping.clone()));
        let outbox = cas.and_then(|cas| {
            let outbox = Arc::new(Outbox { queue: Mutex::default(), changed: Condvar::new() });
            let (to, remote, breaker) = (outbox.clone(), remote.clone(), writes.clone());
            let sender = move || to.work(&remote, &cas, &breaker);
            let thread = std::thread::Builder::new().name("xl-remote-send".into()).spawn(sender).ok()?;
            Some((outbox, Mutex::new(Some(thread))))
        });
        let (waited, gained) = (AtomicU64::new(0), AtomicU64::new(0));
        let reads = Breaker::new("the remote cache was not asked", ping);
        Self { remote, reads, writes, outbox, patience, waited, gained, begun: Instant::now() }
    }

    /// Asks while a command waits.
    fn ask<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let answer = self.reads.call(f);
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let waited = self.waited.fetch_add(micros(began.elapsed()), Ordering::Relaxed);
        let allowed = self.gained.load(Ordering::Relaxed) + micros(COSTS + self.begun.elapsed() / 20);
        if waited > allowed && !self.reads.is_open() {
            let message = "it costs more time than it saves".into();
            self.reads.failed(&cache::Error::Remote { class: Class::Refused, message }, true);
        }
        answer
    }
}

impl Outbox {
    fn work(&self, remote: &Remote, cas: &Cas, breaker: &Breaker) {
        loop {
            let mut batch: Vec<Owned> = {
                let q = self.queue.lock().expect("queue");
                let mut q = self.changed.wait_while(q, |q| q.waiting.is_empty() && !q.over).expect("queue");
                if q.waiting.is_empty() || breaker.is_open() && q.over {
                    return;
                }
                if breaker.is_open() {
                    // What waits is sent when it is back.
                    drop(self.changed.wait_timeout(q, LOOK_AGAIN).expect("queue"));
                    continue;
                }
                let n = q.waiting.len().min(BATCH);
                q.in_hand = n;
                q.waiting.drain(..n).collect()
            };
            let outgoing = |o: &'_ Owned| o.entry.blobs().map(|d| cas.upload(d)).collect::<Vec<_>>();
            let all: Vec<Outgoing<'_>> = batch
                .iter()
                .map(|o| {
                    let publication = Publication {
                        weak: &o.weak,
                        set: &o.set,
                        strong: &o.strong,
                        values: &o.values,
                        entry: &o.entry,
                    };
                    Outgoing { publication, blobs: outgoing(o) }
                })
                .collect();
            let done = breaker.call(|| remote.publish_all(&all));
            drop(all);
            let mut q = self.queue.lock().expect("queue");
            q.in_hand = 0;
            match done {
                Ok((_, sent)) => {
                    q.sent.results += sent.results;
                    q.sent.bytes += sent.bytes;
                    q.lost += batch.len() as u64 - sent.results;
                    q.why = sent.trouble.or(q.why.take());
                }
                Err(e) if e.class() == Class::Unavailable => {
                    for o in batch.drain(..).rev() {
                        match o.tries + 1 {
                            TRIES => q.lost += 1,
                            tries => q.waiting.push_front(Owned { tries, ..o }),
                        }
                    }
                }
                Err(e) => {
                    q.lost += batch.len() as u64;
                    q.why = Some(e.to_string());
                }
            }
            self.changed.notify_all();
        }
    }
}

impl Results for Client {
    fn candidates(&self, weak: &[Digest]) -> Result<Vec<Vec<Link>>> {
        self.ask(|| self.remote.candidates(weak))
    }

    fn path_sets(&self, wanted: &[Digest]) -> Result<Vec<Option<PathSet>>> {
        self.ask(|| self.remote.path_sets(wanted))
    }

    fn entries(&self, strong: &[Digest]) -> Result<Vec<Option<Entry>>> {
        self.ask(|| self.remote.entries(strong))
    }

    fn adopt(&self, p: &Publication<'_>) {
        self.gained.fetch_add(p.entry.wall_us, Ordering::Relaxed);
    }

    /// It is sent later, or never.
    fn publish(&self, p: &Publication<'_>) -> Result<Option<Entry>> {
        if let Some((outbox, _)) = &self.outbox {
            let mut q = outbox.queue.lock().expect("queue");
            if q.waiting.len() >= WAITING {
                q.lost += 1;
                return Ok(None);
            }
            q.waiting.push_back(Owned {
                weak: *p.weak,
                set: p.set.clone(),
                strong: *p.strong,
                values: p.values.to_vec(),
                entry: p.entry.clone(),
                tries: 0,
            });
            outbox.changed.notify_all();
        }
        Ok(None)
    }
}

impl Blobs for Client {
    fn missing(&self, wanted: &[Digest]) -> Result<Vec<Digest>> {
        self.ask(|| self.remote.missing(wanted))
    }

    fn read(&self, wanted: &[Digest], sink: &dyn Sink) -> Result<Vec<Failure>> {
        let failed = self.ask(|| self.remote.read(wanted, sink))?;
        // One of them may tell that it is gone.
        let gone = failed.iter().find(|f| f.error.class() == Class::Unavailable);
        gone.iter().for_each(|f| self.reads.failed(&f.error, false));
        Ok(failed)
    }

    /// They go with the results that need them.
    fn put(&self, _: &[Upload<'_>]) -> Result<Vec<Failure>> {
        Ok(Vec::new())
    }
}

impl Far for Client {
    fn finish(&self) -> Closed {
        let mut closed = Closed { only_read: self.outbox.is_none(), ..Closed::default() };
        if let Some((outbox, thread)) = &self.outbox {
            let until = Instant::now() + self.patience;
            let mut q = outbox.queue.lock().expect("queue");
            q.over = true;
            outbox.changed.notify_all();
            while q.in_hand + q.waiting.len() > 0 && !self.writes.is_open() {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                q = outbox.changed.wait_timeout(q, left).expect("queue").0;
            }
            let late = (q.in_hand + q.waiting.len()) as u64;
            q.waiting.clear();
            (closed.sent, closed.sent_bytes) = (q.sent.results, q.sent.bytes);
            let lost = q.lost + late;
            let why = q.why.take().map(|w| format!(": {w}")).unwrap_or_default();
            drop(q);
            if late == 0 {
                let ended = thread.lock().expect("thread").take().map(JoinHandle::join);
                drop(ended);
            }
            if lost > 0 {
                let when = match late {
                    0 => String::new(),
                    _ if self.writes.is_open() => String::new(),
                    _ => format!(" within {} s after the build", self.patience.as_secs()),
                };
                let results = if lost == 1 { "result" } else { "results" };
                closed.notices.push(format!("{lost} {results} could not be sent to the remote cache{when}{why}"));
                closed.failed = true;
            }
        }
        for b in [&self.reads, &*self.writes] {
            let (said, tripped) = b.finish();
            closed.notices.splice(0..0, said);
            closed.failed |= tripped;
        }
        closed
    }
}
