//! What is known of common programs: one row for each, in [`table`], with everything that matters to what its runs
//! depend on, and the reason.
//!
//! To add a tool is to add a row: its names, what is known, and why that is so. A fact that nobody has stated is the
//! suspicious one: every variable counts, every look at a file counts, and so does the time of what is looked at and
//! not read. A fact that depends on the command line is a small function beside the row.
//!
//! A row is found by the name of a program alone ([`find`]). Builds make programs called `test` or `size`, so who
//! trusts a fact asks first whether the program is what it is called ([`names::is_what_it_is_called`]).

mod arguments;
mod known;
pub(crate) mod languages;
mod libraries;
mod names;
mod row;
mod table;
#[cfg(test)]
mod tests;

pub use known::{Known, Likeness};
pub use languages::Language;
pub(crate) use libraries::{library_stem, names_libraries_exactly};
pub(crate) use names::is_what_it_is_called;
pub use names::{base_name, find, is_shell, is_toolchain, kind};
pub(crate) use row::{Asks, BuildFiles, Uname};
pub use row::{Class, Times, Tool};
