//! Enforcement: while a run goes on, a pip with an error fails, and what may not happen is refused.
//!
//! [`Enforcer`] is asked by the engine, as its judge, and hears what happens, as a sink. It judges pips that end, and
//! asks [`access_guard`] about accesses that are about to happen.

mod access_guard;
mod enforcer;

pub use enforcer::Enforcer;
