//! What build files declare: one module per build tool, one shape for all.
//!
//! A front end reads what *the next run* of the build tool would know: it is asked when the build is over, so that
//! generated manifests, included dependency files and the deps log count as the build tool will see them. It accuses
//! nobody; that is for [`crate::compare`].

pub(crate) mod depfile;
pub(crate) mod make;
pub(crate) mod ninja;
mod step;

pub use crate::paths::absolute;
pub(crate) use step::Tool;
pub use step::{Declared, FrontendError, Step};

use crate::layer::Layer;
use cache::PathBytes;
use engine::redact::{one_line, redact};
use std::path::Path;
use worker::drivers::{is_make, is_ninja};

/// Where a build tool works that was started in `cwd` with these words.
pub(crate) fn directory(program: &[u8], argv: &[Vec<u8>], cwd: &[u8]) -> PathBytes {
    match worker::tools::base_name(program) {
        name if is_make(name) => make::directory(argv, cwd).into(),
        name if is_ninja(name) => ninja::directory(argv, cwd),
        _ => cwd.into(),
    }
}

/// What a build tool declares that is started so; `None` for other commands. `scratch` is a directory for a mount
/// point, `root` the workspace.
pub fn declared(
    argv: &[Vec<u8>],
    cwd: &[u8],
    env: &[Vec<u8>],
    scratch: &Path,
    root: &Path,
) -> Result<Option<Declared>, FrontendError> {
    match argv.first().map(|p| worker::tools::base_name(p)) {
        Some(name) if is_make(name) => {
            let ask = |why| FrontendError::Ask { command: one_line(&redact(argv, env)), why };
            let layer = Layer::new(scratch, root).map_err(ask)?;
            make::declared(argv, cwd, env, &layer, &Default::default()).map(Some)
        }
        Some(name) if is_ninja(name) => ninja::declared(argv, cwd).map(Some),
        _ => Ok(None),
    }
}
