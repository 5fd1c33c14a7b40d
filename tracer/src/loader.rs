//! The right to load eBPF programs, kept by one thread until it is used, and by none after that.
//!
//! An ordinary user has it from the file: `xl` with `cap_bpf,cap_perfmon`. Capabilities belong to threads, and are
//! inherited when a thread starts; so the loader starts first, and everybody after it has nothing left to abuse. What
//! is done with the loaded programs needs descriptors only (since Linux 5.19, bpf(2)). Root keeps what it has: its
//! build needs it.

use crate::observer::Observer;
use crate::programs::{RingSize, Unavailable};
use crate::sys::capabilities;
use std::sync::{Mutex, mpsc};

type Loaded = Result<Observer, Unavailable>;

pub(crate) enum Loader {
    /// Whoever asks may do it.
    Anybody,
    /// A thread that waits to be asked, once.
    Thread(Mutex<Option<(mpsc::Sender<RingSize>, mpsc::Receiver<Loaded>)>>),
}

impl Loader {
    /// Must be called before the process starts its other threads.
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
