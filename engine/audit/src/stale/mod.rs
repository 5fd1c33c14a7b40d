//! Files that are not what their inputs make, and how a build tool is brought to make them again.
//!
//! [`find`] says which they are; [`heal`] plans what has to go so that the build tool notices, and does it; [`aside`]
//! keeps what is taken away, and undoes whatever was not made again; [`outlook`] tries the plan out beforehand.

pub mod aside;
pub mod find;
pub mod heal;
pub mod outlook;
