//! From a record of the eBPF programs to a reported access: the same report as of a blocked call, after the fact.
//!
//! The gate reads all records, in the order in which the calls returned, before it lets the next change happen. So the
//! file that a record names is still in the state in which the task saw it, unless somebody outside the build changed
//! it; the report carries what is needed to find that out ([`Late`]). This module also decides which tasks the programs
//! follow, and from when on.

use crate::access::{EscapeKind, Late};
use crate::arch::Shape;
use crate::gate::{Bases, Gate};
use crate::meaning::{self, Step};
use crate::observer::Observer;
use crate::process::{Process, Scope};
use crate::report::{Caller, Named, TOO_DEEP, Target};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracer_ebpf as layout;
use tracer_ebpf::Record;

/// Names, leaf first, each with a zero byte at its end.
fn path_of(names: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(names.len() + 1);
    for name in names.split(|b| *b == 0).rev().filter(|n| !n.is_empty()) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

/// What is to be added to the programs' clock to get that of files, nanoseconds.
fn clock_offset() -> i128 {
    use rustix::time::{ClockId, clock_gettime};
    let ns = |c| {
        let t = clock_gettime(c);
        i128::from(t.tv_sec) * 1_000_000_000 + i128::from(t.tv_nsec)
    };
    ns(ClockId::Realtime) - ns(ClockId::Monotonic)
}

impl Gate {
    /// Takes note of everything that was looked at so far.
    pub(crate) fn drain(&self) {
        let Some(observer) = self.observer() else { return };
        let mut offset = None;
        observer.drain(|r, text| {
            let mut bases = self.bases.lock().expect("bases");
            bases.records += 1;
            self.record(r, text, &mut bases, *offset.get_or_insert_with(clock_offset));
        });
    }

    fn record(&self, r: &Record, text: &[u8], bases: &mut Bases, offset: i128) {
        let (pid, tid) = (r.tgid.cast_signed(), r.tid.cast_signed());
        let Some(scope) = r.scope.checked_sub(1).map(Scope) else { return };
        if let Some(p) = self.processes.known(pid)
            && p.unsettled.compare_exchange(tid, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            self.settle_names(&p);
        }
        if !self.supervisor.observes_reads(scope) {
            return;
        }
        if r.kind == layout::KIND_FORK {
            return self.supervisor.forked(scope, pid, r.result);
        }
        let Some((name, shape)) = self.shapes.get(r.number as usize).copied().flatten() else { return };
        if r.kind != layout::KIND_CALL {
            return;
        }
        if let Shape::Fact(fact) = shape {
            return self.supervisor.fact(scope, pid, fact);
        }
        if let Shape::Limit(_) = shape {
            return self.supervisor.fact(scope, pid, meaning::limit(r.flags.into()));
        }
        let Some(Step { op, follow, .. }) = meaning::look(shape, |_| u64::from(r.flags)) else { return };
        let marked = |bit| r.marks & bit != 0;
        let unreadable = |why| self.escape(Some(scope), EscapeKind::Unreadable, why);
        if marked(layout::MARK_FAULT) {
            return unreadable("its memory cannot be read");
        }
        if marked(layout::MARK_LONG) {
            return unreadable(TOO_DEEP);
        }
        let (path, rest) = text.split_at((r.path as usize).min(text.len()));
        let (base, rest) = rest.split_at((r.base as usize).min(rest.len()));
        let raw = path.split(|b| *b == 0).next().unwrap_or_default();
        // The kernel has refused a path that is too long before it looked at anything.
        let refused = r.result == -libc::ENAMETOOLONG && raw.len() + 1 >= libc::PATH_MAX as usize;
        if raw.is_empty() || refused || marked(layout::MARK_NO_BASE) {
            return;
        }
        let absolute = raw.first() == Some(&b'/');
        if marked(layout::MARK_GONE) && !absolute {
            return unreadable("its working directory is gone");
        }
        let mut cwd = None;
        if marked(layout::MARK_CWD) {
            if !marked(layout::MARK_SAME_BASE) {
                bases.cwd.insert(r.tid, path_of(base).into());
            }
            cwd = bases.cwd.get(&r.tid).cloned();
            if cwd.is_none() {
                return unreadable("its working directory is not known");
            }
        }
        let base: Arc<[u8]> = match &cwd {
            _ if absolute => Arc::from(&b"/"[..]),
            Some(d) => d.clone(),
            None => path_of(base).into(),
        };
        let target = match marked(layout::MARK_TARGET) {
            false => Target::Unknown,
            true if marked(layout::MARK_TARGET_GONE) => Target::Nameless,
            true => Target::Path(path_of(rest)),
        };
        let found = match r.result {
            0.. => Some(true),
            e if e == -libc::ENOENT => Some(false),
            _ => None,
        };
        let named = Named { base: &base, raw, follow };
        if !self.is_news(scope, (pid, r.execs), &op, &named, || found.filter(|f| *f).map(|_| r.inode)) {
            return;
        }
        let late = Late { time: i128::from(r.time) + offset, found, inode: r.inode };
        // Nothing can be refused or delayed any more.
        let _ = self.access(&Caller::Gone { pid, cwd, target, late }, scope, name, op, &named);
    }

    /// A call that moved directories or links has happened: believe nothing that was seen before.
    pub(crate) fn settle_names(&self, p: &Process) {
        self.moved();
        if let Some(s) = self.scope_state(p.scope()) {
            s.seen.lock().expect("seen").clear();
        }
    }

    /// Directories or links may have other names.
    pub(crate) fn moved(&self) {
        self.resolver.forget();
        if let Some(o) = self.observer() {
            o.moved();
        }
    }

    /// The observer, if it was needed so far.
    pub(crate) fn observer(&self) -> Option<&Observer> {
        self.observer.get()?.as_ref()
    }

    /// The kernel keeps a child's scope whatever became of its parents.
    pub(crate) fn known_to_kernel(&self, p: &Process) -> bool {
        match self.observer().and_then(|o| o.followed(p)) {
            Some(scope) => {
                p.set_scope(scope);
                true
            }
            None => false,
        }
    }

    /// Task `tid` of `p` is about to enter `scope`: from then on its looks are recorded, if anybody wants them. Loads
    /// the observer when it is needed for the first time.
    pub(crate) fn follow(self: &Arc<Self>, p: &Process, tid: i32, scope: Scope) {
        let Some(loader) = &self.loader else { return };
        let wanted = |s| self.supervisor.observes_reads(s).then_some(s);
        let (scope, before) = (wanted(scope), wanted(p.scope()));
        if scope.is_none() && self.observer().is_none() {
            return;
        }
        let observer = self.observer.get_or_init(|| match loader.load(self.ring) {
            Ok(o) => Some(o),
            Err(e) => {
                self.escape(None, EscapeKind::Unobserved, e.to_string());
                None
            }
        });
        // Without the thread that reads, who waits for room in the ring would wait for ever.
        let reads = || {
            let gate = self.clone();
            std::thread::Builder::new().name("xl-ring".into()).spawn(move || gate.read_on()).is_ok()
        };
        let followed = match observer {
            Some(o) if *self.reading.get_or_init(reads) => o.follow(p, tid, scope, before).map_err(|e| e.to_string()),
            Some(_) => Err("no thread can be started that reads what the eBPF programs record".to_owned()),
            None => Err("the eBPF programs could not be loaded".to_owned()),
        };
        if let (Some(scope), Err(why)) = (scope, followed) {
            self.escape(Some(scope), EscapeKind::Unobserved, why);
        }
    }

    /// Reads what piles up while nobody asks.
    pub(crate) fn read_on(self: &Arc<Self>) {
        while let Some(o) = self.observer() {
            o.wait();
            self.drain();
        }
    }

    /// The scope is about to end: is everything known that it did?
    pub(crate) fn admit_losses(&self, scope: Scope) {
        let Some(o) = self.observer() else { return };
        let (own, nobodys) = (o.lost_of(scope), o.lost().1);
        if own + nobodys > 0 {
            self.escape(Some(scope), EscapeKind::Lost, format!("{} were lost", own + nobodys));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_a_path() {
        assert_eq!(path_of(b"c\0b\0a\0"), b"/a/b/c");
        assert_eq!(path_of(b""), b"/");
    }
}
