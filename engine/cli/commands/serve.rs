//! `xl serve`.

use crate::args::ServeArgs;
use crate::exit_code;
use crate::messages::CommandError;
use crate::output::print;
use ::cache::home;
use remote::directory::Directory;

pub(crate) fn run(a: &ServeArgs) -> Result<i32, CommandError> {
    let dir = home::expand(&a.dir);
    let cannot = |e: std::io::Error| {
        CommandError::new(exit_code::CACHE, format!("`{}` cannot be served at {}", dir.display(), a.listen))
            .cause(e.to_string())
    };
    std::fs::create_dir_all(&dir).map_err(cannot)?;
    let ready = |at| {
        // Whoever does not read that may know it.
        let _ = print(format!("serving {} at grpc://{at}\n", dir.display()));
    };
    remote::serve::serve(a.listen, Directory::new(&dir), a.max_bytes.map(|s| s.0), ready).map(|()| 0).map_err(cannot)
}
