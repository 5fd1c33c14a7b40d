//! The table of tools, in files by what the tools are for. A file ends with the functions that its rows name.
//!
//! Sources are the manual of each program, and what each was seen to do (strace(1)).

mod archivers;
mod binutils;
mod build_tools;
mod compilers;
mod documents;
mod files;
mod git;
mod interpreters;
mod listings;
mod machine;
mod shells;
mod text;

use super::row::Tool;

/// All rows. Those with a `*` in their names come last in their files: the first that fits decides.
pub(crate) fn rows() -> impl Iterator<Item = &'static Tool> {
    [
        compilers::ROWS,
        binutils::ROWS,
        archivers::ROWS,
        shells::ROWS,
        interpreters::ROWS,
        build_tools::ROWS,
        files::ROWS,
        listings::ROWS,
        text::ROWS,
        documents::ROWS,
        machine::ROWS,
        git::ROWS,
    ]
    .into_iter()
    .flatten()
}
