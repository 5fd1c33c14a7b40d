//! Leaves a remote cache alone that fails: *closed* (it is asked) → *open* (nobody asks; who would is told at once that
//! it is not there) → *half open* (one thread of our own asks whether it answers) → closed, or open for twice as long.
//!
//! So no command of the build waits for a cache that is known to fail, and the time that it can cost is that of the
//! calls which find that out. Of what it refuses to do it is not asked again.

use cache::{Class, Error, Result};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Failures in a row that open it. One that took its whole time is enough.
const PATIENCE: u32 = 3;
/// How long it is left alone at first, and at most.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Default)]
struct State {
    failures: u32,
    open: bool,
    /// Nobody asks any more whether it is back.
    over: bool,
    said: Vec<String>,
    /// It was open once.
    tripped: bool,
}

pub(crate) struct Breaker {
    /// What it is that is not done while it is open, for messages.
    what: &'static str,
    state: Arc<(Mutex<State>, Condvar)>,
    ping: Arc<dyn Fn() -> Result<()> + Send + Sync>,
}

/// What is said when a remote cache is left alone.
fn opened(what: &str, why: &Error) -> String {
    format!("{what}, the build goes on without: {why}")
}

impl Breaker {
    pub(crate) fn new(what: &'static str, ping: Arc<dyn Fn() -> Result<()> + Send + Sync>) -> Self {
        Self { what, state: Arc::default(), ping }
    }

    /// Does something, or is told at once that it cannot be done.
    pub(crate) fn call<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.is_open() {
            return Err(crate::peer::unavailable("it is left alone for a while"));
        }
        let began = std::time::Instant::now();
        let done = f();
        match &done {
            Ok(_) => self.state.0.lock().expect("breaker").failures = 0,
            Err(e) => self.failed(e, began.elapsed() >= crate::SLOW),
        }
        done
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.0.lock().expect("breaker").open
    }

    /// It failed; `slowly`: and took long.
    pub(crate) fn failed(&self, e: &Error, slowly: bool) {
        let for_good = match e.class() {
            Class::Absent | Class::Corrupt => return,
            Class::Refused => true,
            Class::Unavailable => false,
        };
        let mut s = self.state.0.lock().expect("breaker");
        s.failures += 1;
        if s.open || !(for_good || slowly || s.failures >= PATIENCE) {
            return;
        }
        if !s.tripped {
            s.said.push(opened(self.what, e));
        }
        (s.open, s.tripped) = (true, true);
        if for_good {
            return;
        }
        let (state, ping, what) = (self.state.clone(), self.ping.clone(), self.what);
        let watch = move || {
            let mut pause = FIRST;
            let mut s = state.0.lock().expect("breaker");
            while !s.over {
                s = state.1.wait_timeout_while(s, pause, |s| !s.over).expect("breaker").0;
                if s.over {
                    return;
                }
                drop(s);
                let answers = ping().is_ok();
                s = state.0.lock().expect("breaker");
                if answers {
                    (s.open, s.failures) = (false, 0);
                    let back = format!("{what} for a while: it is back");
                    if !s.said.contains(&back) {
                        s.said.push(back);
                    }
                    return;
                }
                pause = (2 * pause).min(LONGEST);
            }
        };
        // Without that thread it stays open.
        drop(std::thread::Builder::new().name("xl-remote-watch".into()).spawn(watch));
    }

    /// Nobody will ask any more. What the user should hear, and whether it was open once.
    pub(crate) fn finish(&self) -> (Vec<String>, bool) {
        let mut s = self.state.0.lock().expect("breaker");
        s.over = true;
        self.state.1.notify_all();
        (std::mem::take(&mut s.said), s.tripped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    fn failing() -> Result<()> {
        Err(crate::peer::unavailable("gone"))
    }

    #[test]
    fn it_opens_and_closes_again() {
        let back = Arc::new(AtomicBool::new(false));
        let asked = back.clone();
        let answers = move || if asked.load(Ordering::SeqCst) { Ok(()) } else { failing() };
        let b = Breaker::new("it cannot be read", Arc::new(answers));
        let calls = AtomicU32::new(0);
        let call = |r: Result<()>| {
            b.call(|| {
                calls.fetch_add(1, Ordering::SeqCst);
                r
            })
        };
        for r in [failing(), failing(), Ok(()), failing(), failing()] {
            let _ = call(r);
        }
        assert!(!b.is_open(), "never three in a row");
        let _ = call(failing());
        assert!(b.is_open() && calls.load(Ordering::SeqCst) == 6);
        assert_eq!(call(Ok(())).unwrap_err().class(), Class::Unavailable);
        assert_eq!(calls.load(Ordering::SeqCst), 6, "nobody asked");
        back.store(true, Ordering::SeqCst);
        while b.is_open() {
            std::thread::yield_now();
        }
        assert!(call(Ok(())).is_ok());
        let (said, tripped) = b.finish();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(tripped && said[0].ends_with("the build goes on without: the remote cache: gone"));
    }

    #[test]
    fn what_is_refused_is_not_asked_for_again() {
        let b = Breaker::new("nothing can be stored", Arc::new(|| Ok(())));
        let refused = || Err(Error::Remote { class: Class::Refused, message: "no".into() });
        assert!(b.call(|| -> Result<()> { refused() }).is_err());
        assert!(b.is_open());
        // What is not there is no failure.
        let b = Breaker::new("x", Arc::new(|| Ok(())));
        for _ in 0..9 {
            let _ = b.call(|| -> Result<()> { Err(Error::Absent { digest: cache::Digest([0; 32]) }) });
        }
        assert!(!b.is_open());
    }
}
