//! The world as it is: files by system calls, contents through the run-wide memo, environment and facts of one request.
//!
//! Every look is made anew; who may share one is [`crate::evaluate::Now`]'s affair.

use crate::command::Limits;
use crate::environment::{self, search};
use crate::file_state::FileStates;
use crate::indexes::{Index, Linking};
use crate::limits;
use crate::look::{Form, Look, Problem};
use cache::digest::Content;
use cache::observation::value;
use cache::{Fact, FileStat, Kind, Observation, Store, Value};
use rustix::fs::{Access, AtFlags, CWD};
use rustix::system::uname;
use std::ffi::CStr;
use std::sync::Arc;

/// The world, as one request sees it.
pub struct World<'a> {
    pub files: &'a FileStates,
    pub store: Option<&'a Store>,
    pub key: &'a [u8; 32],
    pub env: &'a [Vec<u8>],
    pub cwd: &'a [u8],
    pub limits: &'a Limits,
    pub pass: &'a [String],
}

impl World<'_> {
    fn local(&self, o: &Observation) -> Value {
        match o {
            Observation::Attributes(p) => value::attributes(&cache::collect::attributes(p)),
            Observation::Env(name) => match name.strip_suffix(b"*") {
                Some(prefix) => {
                    let mut names: Vec<&[u8]> = self
                        .vars()
                        .map(|(n, _)| n)
                        // What a list of directories means is an observation of its own.
                        .filter(|n| n.starts_with(prefix) && search::searched(n).is_none())
                        .collect();
                    names.sort_unstable();
                    value::environment(self.key, names.into_iter())
                }
                None => {
                    // One that is there twice has, for some programs, its first value, and its last for others.
                    let found: Vec<Vec<u8>> =
                        self.vars().filter(|(n, _)| n == name).map(|(n, v)| environment::effective(n, v)).collect();
                    value::env(self.key, Some(found.join(&0)).filter(|_| !found.is_empty()).as_deref())
                }
            },
            Observation::EnvAll => self.all(&|n| !environment::passes(n, self.pass)),
            Observation::EnvJob => self.all(&|n| environment::is_of_job(n, self.pass)),
            Observation::Found { variable, names } => {
                let set: Vec<&[u8]> = self.vars().filter(|(n, _)| n == variable).map(|(_, v)| v).collect();
                // One that is there twice has one value for some programs, and the other for others.
                let met: Vec<Vec<u8>> = set.iter().map(|v| search::meets(variable, v, names)).collect();
                // Nobody is there to be asked, set or not.
                let found = met.join(&b"\0\0"[..]);
                let empty = names.is_empty() && found.is_empty() && set.iter().all(|v| !v.is_empty());
                value::found(self.key, Some(found).filter(|_| !set.is_empty() && !empty).as_deref())
            }
            Observation::Fact(f) => value::fact(&self.fact(*f)),
            _ => value::absent(),
        }
    }

    /// The variables of these names, sorted.
    fn all(&self, counts: &dyn Fn(&[u8]) -> bool) -> Value {
        let mut all: Vec<(&[u8], &[u8])> = self.vars().filter(|(n, _)| counts(n)).collect();
        all.sort_by_key(|(n, _)| *n);
        let all: Vec<Vec<u8>> =
            all.into_iter().map(|(n, v)| [n, b"=", &environment::effective(n, v)].concat()).collect();
        value::environment(self.key, all.iter().map(Vec::as_slice))
    }

    fn vars(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.env.iter().map(|v| environment::split(v))
    }

    fn fact(&self, f: Fact) -> Vec<u8> {
        match f {
            Fact::Cwd => self.cwd.to_vec(),
            Fact::Uname => {
                [Fact::System, Fact::Host, Fact::Release, Fact::KernelVersion].map(|f| self.fact(f)).join(&0)
            }
            Fact::System => [uname().sysname(), uname().machine()].map(CStr::to_bytes).join(&0),
            Fact::Host => uname().nodename().to_bytes().to_vec(),
            Fact::Release => uname().release().to_bytes().to_vec(),
            Fact::KernelVersion => uname().version().to_bytes().to_vec(),
            Fact::Ids => self.limits.rights.clone(),
            Fact::Limit(n) => limits::told(&self.limits.limits, n, &self.limits.rights),
            Fact::Limits => self.limits.limits.clone(),
            Fact::Processor => processor_features(),
            Fact::Cpus => std::thread::available_parallelism().map_or(0, usize::from).to_le_bytes().to_vec(),
            Fact::Memory => rustix::system::sysinfo().totalram.to_le_bytes().to_vec(),
        }
    }
}

impl Look for World<'_> {
    fn stat(&self, path: &[u8]) -> Option<FileStat> {
        FileStat::of(path)
    }

    fn content(&self, path: &[u8], state: &FileStat) -> Result<Content, Problem> {
        self.files.content(path, state, self.store).ok_or_else(|| {
            Problem(format!("`{}` changed or could not be read when it was hashed", String::from_utf8_lossy(path)))
        })
    }

    fn index(&self, path: &[u8], state: &FileStat) -> Result<Arc<Index>, Problem> {
        let changed = || Problem(format!("`{}` changed or could not be read", String::from_utf8_lossy(path)));
        self.files.told.index(self.files, path, state).ok_or_else(changed)
    }

    fn linking(&self, path: &[u8]) -> Option<Arc<Linking>> {
        self.files.told.linking(self.files, path)
    }

    fn holds(&self, path: &[u8], word: &[u8]) -> Option<bool> {
        self.files.told.holds(self.files, path, word)
    }

    fn source(&self, path: &[u8]) -> Option<Vec<u8>> {
        const LONGEST: u64 = 8 << 20;
        let mut text = Vec::new();
        let f = cache::collect::open_file(path)?;
        (f.metadata().ok()?.len() <= LONGEST).then_some(())?;
        std::io::Read::read_to_end(&mut std::io::Read::take(f, LONGEST), &mut text).ok()?;
        Some(text)
    }

    fn form(&self, path: &[u8]) -> Form {
        let mut head = [0; 8000];
        let n = cache::collect::open_file(path).and_then(|mut f| std::io::Read::read(&mut f, &mut head).ok());
        match &head[..n.unwrap_or(0)] {
            head if cache::digest::is_precompiled(head) => Form::Precompiled,
            // As git tells: a zero byte near the beginning.
            head if head.contains(&0) => Form::Binary,
            _ => Form::Text,
        }
    }

    fn settled(&self, path: &[u8], state: &FileStat, before: Option<i128>, own: bool) -> bool {
        self.files.settled(path, state, before, own)
    }

    fn value(&self, o: &Observation) -> Value {
        self.local(o)
    }

    fn list(&self, path: &[u8]) -> Option<Vec<(Vec<u8>, Kind)>> {
        cache::collect::list(path).ok()
    }

    fn may(&self, dir: &[u8], access: Access) -> bool {
        rustix::fs::accessat(CWD, dir, access, AtFlags::EACCESS).is_ok()
    }

    fn has_attributes(&self, path: &[u8]) -> bool {
        match rustix::fs::llistxattr(path, &mut [0u8; 256][..]) {
            Ok(n) => n > 0,
            Err(e) => e == rustix::io::Errno::RANGE,
        }
    }

    fn keeps_more(&self, path: &[u8], state: &FileStat) -> bool {
        cache::collect::keeps_more(path, state)
    }

    fn passes_on_access(&self, dir: &[u8]) -> bool {
        cache::collect::passes_on_access(dir)
    }

    fn read_link(&self, path: &[u8]) -> Option<Vec<u8>> {
        cache::collect::read_link(path).ok()
    }
}

/// What of the processor a program may make use of.
fn processor_features() -> Vec<u8> {
    let info = std::fs::read("/proc/cpuinfo").unwrap_or_default();
    let wanted = |l: &&[u8]| {
        [&b"model name"[..], b"flags", b"cpu family", b"model\t", b"cache size"].iter().any(|p| l.starts_with(p))
    };
    let mut lines: Vec<&[u8]> = info.split(|b| *b == b'\n').filter(wanted).collect();
    lines.sort_unstable();
    lines.dedup();
    lines.join(&b'\n')
}
