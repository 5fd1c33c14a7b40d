//! Fakes for tests: a world in a table, and an executor that follows a script.
//!
//! Only compiled for tests, and for crates that ask for the feature `testing`.

use crate::executor::{Ended, Executor, Exit, Job, Ran};
use crate::indexes::{Index, Linking};
use crate::judgement::Finished;
use crate::look::{Form, Look, Problem};
use cache::digest::Content;
use cache::{Digest, Entry, FileStat, Kind, Observation, Value};
use rustix::fs::Access;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// One name of a [`Table`].
#[derive(Clone, Debug)]
struct Node {
    state: FileStat,
    /// A file's bytes, or a link's target.
    bytes: Vec<u8>,
}

/// A file system in a table, with a clock that goes on by a second with each change.
#[derive(Clone, Debug, Default)]
pub struct Table {
    nodes: BTreeMap<Vec<u8>, Node>,
    /// Values of environment observations and facts.
    values: BTreeMap<Observation, Value>,
    clock: i128,
    numbers: u64,
}

const SECOND: i128 = 1_000_000_000;

impl Table {
    pub fn new() -> Self {
        let mut t = Self { clock: 1_000_000 * SECOND, ..Self::default() };
        t.put(b"/", Kind::Directory, 0o755, b"");
        t
    }

    /// The time now, nanoseconds after the epoch.
    pub fn now(&self) -> i128 {
        self.clock
    }

    fn put(&mut self, path: &[u8], kind: Kind, mode: u32, bytes: &[u8]) {
        self.clock += SECOND;
        self.numbers += 1;
        if let Some(cut) = path.iter().rposition(|b| *b == b'/').filter(|_| path != b"/") {
            let parent = &path[..cut.max(1)];
            if !self.nodes.contains_key(parent) {
                self.put(parent, Kind::Directory, 0o755, b"");
            }
            let clock = self.clock;
            let parent = self.nodes.get_mut(parent).expect("the directory");
            (parent.state.mtime, parent.state.ctime) = (clock, clock);
        }
        let state = FileStat {
            kind,
            dev: 1,
            ino: self.numbers,
            size: bytes.len() as u64,
            mtime: self.clock,
            ctime: self.clock,
            mode,
            nlink: 1,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        self.nodes.insert(path.to_vec(), Node { state, bytes: bytes.to_vec() });
    }

    /// A new file in the place of whatever is there.
    pub fn file(&mut self, path: &str, text: &str) -> &mut Self {
        self.put(path.as_bytes(), Kind::File, 0o644, text.as_bytes());
        self
    }

    pub fn dir(&mut self, path: &str) -> &mut Self {
        self.put(path.as_bytes(), Kind::Directory, 0o755, b"");
        self
    }

    pub fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.put(path.as_bytes(), Kind::Symlink, 0o777, target.as_bytes());
        self
    }

    /// Other bytes in the same file.
    pub fn write(&mut self, path: &str, text: &str) -> &mut Self {
        self.clock += SECOND;
        let node = self.nodes.get_mut(path.as_bytes()).expect("a file");
        node.bytes = text.into();
        node.state.size = text.len() as u64;
        (node.state.mtime, node.state.ctime) = (self.clock, self.clock);
        self
    }

    pub fn mode(&mut self, path: &str, mode: u32) -> &mut Self {
        self.clock += SECOND;
        let node = self.nodes.get_mut(path.as_bytes()).expect("a name");
        (node.state.mode, node.state.ctime) = (mode, self.clock);
        self
    }

    pub fn remove(&mut self, path: &str) -> &mut Self {
        self.clock += SECOND;
        self.nodes.remove(path.as_bytes());
        self
    }

    /// The value of a variable or a fact.
    pub fn value(&mut self, o: Observation, v: Value) -> &mut Self {
        self.values.insert(o, v);
        self
    }
}

impl Look for Table {
    fn stat(&self, path: &[u8]) -> Option<FileStat> {
        self.nodes.get(path).map(|n| n.state)
    }

    fn source(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.nodes.get(path).filter(|n| n.state.is_file()).map(|n| n.bytes.clone())
    }

    fn form(&self, path: &[u8]) -> Form {
        let binary = self.nodes.get(path).is_some_and(|n| n.bytes.contains(&0));
        if binary { Form::Binary } else { Form::Text }
    }

    fn content(&self, path: &[u8], state: &FileStat) -> Result<Content, Problem> {
        match self.nodes.get(path) {
            Some(n) if n.state == *state => Ok(cache::digest::pass(&mut &n.bytes[..]).expect("bytes")),
            _ => Err(Problem(format!("`{}` changed", String::from_utf8_lossy(path)))),
        }
    }

    fn index(&self, path: &[u8], state: &FileStat) -> Result<Arc<Index>, Problem> {
        self.content(path, state).map(|_| Arc::new(Index::parse(path, &self.nodes[path].bytes)))
    }

    fn linking(&self, path: &[u8]) -> Option<Arc<Linking>> {
        Linking::parse(&self.nodes.get(path)?.bytes[..]).map(Arc::new)
    }

    fn holds(&self, path: &[u8], word: &[u8]) -> Option<bool> {
        self.source(path).map(|text| bstr::ByteSlice::contains_str(&text[..], word))
    }

    fn settled(&self, _: &[u8], _: &FileStat, _: Option<i128>, _: bool) -> bool {
        true
    }

    fn value(&self, o: &Observation) -> Value {
        self.values.get(o).copied().unwrap_or(Digest([0; 32]))
    }

    fn list(&self, path: &[u8]) -> Option<Vec<(Vec<u8>, Kind)>> {
        self.nodes.get(path).filter(|n| n.state.is_dir())?;
        let below = if path == b"/" { b"/".to_vec() } else { [path, b"/"].concat() };
        let members = self.nodes.iter().filter_map(|(p, n)| Some((p.strip_prefix(&below[..])?, n.state.kind)));
        Some(members.filter(|(n, _)| !n.is_empty() && !n.contains(&b'/')).map(|(n, k)| (n.to_vec(), k)).collect())
    }

    fn read_link(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.nodes.get(path).filter(|n| n.state.kind == Kind::Symlink).map(|n| n.bytes.clone())
    }

    fn may(&self, dir: &[u8], access: Access) -> bool {
        let want = if access.contains(Access::WRITE_OK) { 0o200 } else { 0o100 };
        self.nodes.get(dir).is_some_and(|n| n.state.mode & want != 0)
    }

    fn has_attributes(&self, _: &[u8]) -> bool {
        false
    }

    fn keeps_more(&self, _: &[u8], _: &FileStat) -> bool {
        false
    }

    fn passes_on_access(&self, _: &[u8]) -> bool {
        false
    }
}

/// What a scripted command does.
type Act = Box<dyn Fn(&Job) -> Option<(i32, Finished)> + Send + Sync>;

/// An executor that runs nothing: it answers each job at once, as its script says.
pub struct Script {
    act: Act,
    /// The arguments of the jobs that it was given.
    pub ran: Mutex<Vec<Vec<Vec<u8>>>>,
}

impl Script {
    /// `act` gives a job's exit code and what was seen of it; `None`: it is killed.
    pub fn new(act: impl Fn(&Job) -> Option<(i32, Finished)> + Send + Sync + 'static) -> Self {
        Self { act: Box::new(act), ran: Mutex::default() }
    }
}

impl Executor for Script {
    fn submit(&self, job: Job) {
        self.ran.lock().expect("jobs").push(job.command.argv.clone());
        let ended = match (self.act)(&job) {
            None => Ended::Killed { started: job.started, wrote: Vec::new() },
            Some((code, done)) => Ended::Ran(Box::new(Ran {
                entry: Entry { exit_code: code, wall_us: 1000, ..Entry::default() },
                text: Vec::new(),
                done,
                collected: job.keep.wants(code),
                started: job.started,
                cost_us: 1000,
                ran_toolchain: false,
                survived: false,
                evidence: Default::default(),
                exit: Exit::default(),
            })),
        };
        (job.done)(ended);
    }
}

/// A command in `/w` with one interpreter, which reads nothing and prints into pipes. The words of `line` are its
/// arguments.
pub fn command(program: &str, line: &str) -> crate::Command {
    use crate::command::{Command, Input, Limits, Place};
    Command {
        program: program.as_bytes().into(),
        interpreters: vec![b"/lib/ld.so"[..].into()],
        argv: line.split(' ').map(|w| w.as_bytes().to_vec()).collect(),
        env: Vec::new(),
        cwd: b"/w"[..].into(),
        stdin: Input::Null,
        stdout: Place::Pipe,
        stderr: Place::Pipe,
        shared: false,
        inherited: Vec::new(),
        limits: Limits { umask: 0o22, ..Limits::default() },
    }
}

/// What a pip is seen to have done that depended on these, and has made nothing.
pub fn finished(observations: Vec<(Observation, Value)>) -> Finished {
    Finished {
        observations,
        written: Vec::new(),
        problems: Vec::new(),
        asks_time: false,
        minds_no_stream: false,
        stdin: crate::accesses::Stdin::Unused,
        clocks: Vec::new(),
        precompiled: Default::default(),
        opaque: None,
        dated: Vec::new(),
        asks: None,
    }
}
