//! Enforcement, while a run goes on: a pip with an error fails, and `enforce = "block"` refuses accesses.
//!
//! The engine asks an [`Enforcer`] as its judge, and tells it what happens as to any other sink. The enforcer judges
//! pips that end, and asks the `access_guard` about accesses that are about to happen.

mod access_guard;
mod enforcer;

pub use enforcer::Enforcer;
