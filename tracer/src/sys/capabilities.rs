//! The two capabilities with which an ordinary user loads eBPF programs, and what having them does to a process.
//!
//! Who keeps them for how long is decided elsewhere ([`crate::loader`]).

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// May this thread load tracing programs (capabilities(7))?
pub(crate) fn may_trace() -> bool {
    let enough = CapabilitySet::BPF | CapabilitySet::PERFMON;
    capabilities(None).is_ok_and(|c| c.effective.contains(enough) || c.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Takes the two capabilities from the calling thread. A fork calls it, too, before the build starts: a task that has
/// more than `xl` has cannot be looked into. Root keeps what it has: its build needs it.
pub(crate) fn drop_given() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let given = CapabilitySet::BPF | CapabilitySet::PERFMON;
    if let Ok(c) = capabilities(None) {
        let less = CapabilitySets {
            effective: c.effective - given,
            permitted: c.permitted - given,
            inheritable: c.inheritable - given,
        };
        // Less can always be asked for.
        let _ = set_capabilities(None, less);
    }
}

/// The kernel hides a program whose file gives it capabilities, and its forks, from the user who runs it. This makes
/// them visible again to whoever looks into them.
pub(crate) fn stay_visible() {
    if !rustix::process::geteuid().is_root() {
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable);
    }
}
