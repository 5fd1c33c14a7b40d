//! Keeps the right to load eBPF programs in one thread until the programs are loaded, and in no thread after that.
//!
//! An ordinary user has the right from the file: `xl` with `cap_bpf,cap_perfmon`. Capabilities belong to threads, which
//! inherit them when they start. So the loader's thread starts first, then this process gives its own capabilities up,
//! and no later thread has anything to abuse. Using the loaded programs takes descriptors only (since Linux 5.19,
//! bpf(2)). Root keeps its capabilities, because its build needs them.

use crate::observer::Observer;
use crate::programs::{RingSize, Unavailable};
use crate::sys::capabilities;
use std::sync::{Mutex, mpsc};

type Loaded = Result<Observer, Unavailable>;

pub(crate) enum Loader {
    /// The thread that asks loads them itself: it is root's, or no thread could be started.
    Anybody,
    /// A thread loads them when it is asked, once.
    Thread(Mutex<Option<(mpsc::Sender<RingSize>, mpsc::Receiver<Loaded>)>>),
}

impl Loader {
    /// Starts the thread and gives up the capabilities. Must be called before the process starts its other threads.
    pub(crate) fn start() -> Self {
        if rustix::process::geteuid().is_root() {
            return Self::Anybody;
        }
        let (ask, asked) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        let load = move || {
            if let Ok(ring) = asked.recv() {
                // A session that is over does not want it any more.
                drop(answer.send(Observer::load(ring)));
            }
        };
        if std::thread::Builder::new().name("xl-ebpf".into()).spawn(load).is_err() {
            return Self::Anybody;
        }
        capabilities::drop_given();
        Self::Thread(Mutex::new(Some((ask, answered))))
    }

    /// Loads the programs.
    pub(crate) fn load(&self, ring: RingSize) -> Loaded {
        let Self::Thread(slot) = self else { return Observer::load(ring) };
        let (ask, answered) = slot.lock().expect("loader").take().ok_or(Unavailable::Twice)?;
        ask.send(ring).ok().and_then(|()| answered.recv().ok()).unwrap_or(Err(Unavailable::Twice))
    }
}
