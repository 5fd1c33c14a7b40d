//! Every exit code of `xl` itself; `run`, `exec`, `audit` and `trace` otherwise end as their command did. If that died
//! of a signal, `xl` dies of the same one when everything is closed: a shell ends its loop at Ctrl-C, and a caller sees
//! in the wait status what it would have seen.

/// Something is wrong with the build, not with `xl`: violations, stale files, a damaged cache.
pub(crate) const VIOLATIONS: u8 = 1;
/// The command line cannot be understood.
pub(crate) const USAGE: u8 = 2;
/// A finding could not be tried out, or a build had nothing to do that could be audited.
pub(crate) const UNTRIED: u8 = 3;
/// Bad configuration or build file.
pub(crate) const CONFIG: u8 = 65;
/// The remote cache failed, with `--strict`.
pub(crate) const REMOTE: u8 = 69;
/// A defect of `xl`.
pub(crate) const INTERNAL: u8 = 70;
/// The cache, or a report, cannot be read or written.
pub(crate) const CACHE: u8 = 74;
/// The requested backend is not permitted here.
pub(crate) const BACKEND: u8 = 77;
/// The command exists but cannot be executed (as shells have it).
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The command was not found (as shells have it).
pub(crate) const NOT_FOUND: u8 = 127;

/// For `--help`.
pub(crate) const HELP: &str = "\
Exit codes: the command's own for `run`, `exec`, `audit` and `trace`; if it died of a signal, so does xl (a shell \
shows 128+n). Otherwise
  1 found something (`audit`, `run --enforce`, `check`, `doctor`, `cache verify`, `--recheck` \
with `--strict`) · 2 usage · 3 `audit --prove` could not try it, or `audit` saw nothing run · 65 bad \
configuration · 69 the remote cache failed, with `--strict` · 70 internal error · \
74 the cache, a report or standard output cannot be used
  77 the requested backend is not permitted here · 126 not executable · 127 not found";
