//! Files that are not what their inputs make any more, and how the build tool is brought to make them again.
//!
//! [`find`] says which files are stale; [`heal`] plans what has to go so that the build tool notices, and does it;
//! [`aside`] keeps what healing takes away, and undoes whatever was not made again; [`rehearsal`] tries the plan out
//! beforehand.

pub mod aside;
pub mod find;
pub mod heal;
pub mod rehearsal;
