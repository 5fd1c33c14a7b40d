//! The text of a pip: captured while it runs without the command noticing, replayed on a hit.
//!
//! A pipe is replaced by a pipe, a socket by a socket and a terminal by a pseudo-terminal of the same size, and every
//! byte is forwarded at once (cargo acts on rustc's messages while it runs). A regular file stays where it is: its
//! bytes are read back when the pip ends. Of a device nothing is captured. Descriptors 1 and 2 on one description get
//! one replacement, so their order is kept. Each capture has a thread of its own, because forwarding may block on a
//! reader that is itself a command under supervision. `xl` never makes a descriptor of the build's non-blocking.

use crate::descriptors::{Descriptors, FdKind};
use crate::terminal::LineEnds;
use crate::writing::write_all;
use rustc_hash::FxHashMap;
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

/// Which descriptor a piece of text went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

/// A piece of text, in the order in which it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub stream: Stream,
    pub bytes: Vec<u8>,
}

struct Source {
    stream: Stream,
    from: OwnedFd,
    to: OwnedFd,
    open: bool,
    /// Names the copies that the keeper holds.
    held: u32,
    /// The file that `to` is, if it is a regular one.
    log: Option<FileId>,
    /// What is kept from it for now.
    kept: Vec<u8>,
    line_ends: Option<LineEnds>,
    _size: Option<crate::terminal::Size>,
}

struct File {
    stream: Stream,
    file: OwnedFd,
    offset: u64,
    id: Option<FileId>,
    /// How much had been forwarded to it when this began.
    forwarded: u64,
}

/// Device and inode.
type FileId = (u64, u64);

/// How many bytes `xl` has forwarded to each file so far, for commands that write through a pipe of its own. If that
/// number grows while another command has the file as its output, the file holds text that is not that command's.
static FORWARDED: Mutex<FxHashMap<FileId, u64>> = Mutex::new(FxHashMap::with_hasher(rustc_hash::FxBuildHasher));

pub(crate) fn file_id(f: &OwnedFd) -> Option<FileId> {
    let s = rustix::fs::fstat(f).ok()?;
    (rustix::fs::FileType::from_raw_mode(s.st_mode) == rustix::fs::FileType::RegularFile)
        .then_some((s.st_dev, s.st_ino))
}

fn forwarded(id: Option<FileId>) -> u64 {
    id.and_then(|id| FORWARDED.lock().expect("forwarded").get(&id).copied()).unwrap_or(0)
}

/// A running capture.
pub(crate) struct Capture {
    passage: Arc<Passage>,
    result: mpsc::Receiver<Record>,
    files: Vec<File>,
}

/// What others may ask of the thread that forwards.
pub(crate) struct Passage {
    asks: mpsc::Sender<Ask>,
    wake: OwnedFd,
    /// The regular files that text goes to.
    logs: Vec<FileId>,
    /// Nothing goes to them before the end.
    keep_back: AtomicBool,
}

pub(crate) enum Ask {
    /// To say when all that is there has been forwarded.
    Flush(mpsc::Sender<()>),
    /// To send the record of what was there, and only to forward from then on.
    Finish,
}

impl Passage {
    /// A passage, and the receiver of what others ask of it.
    pub(crate) fn new(logs: Vec<FileId>) -> rustix::io::Result<(Arc<Self>, mpsc::Receiver<Ask>)> {
        let (asks, asked) = mpsc::channel();
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok((Arc::new(Self { asks, wake, logs, keep_back: AtomicBool::new(false) }), asked))
    }

    /// Becomes readable when something is asked.
    pub(crate) fn wake(&self) -> &OwnedFd {
        &self.wake
    }

    fn ask(&self, ask: Ask) {
        // Whoever is gone has forwarded everything.
        let _ = self.asks.send(ask);
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Waits until everything that was written so far has been forwarded; as long as its reader takes.
    pub(crate) fn flush(&self) {
        let (done, is_done) = mpsc::channel();
        self.ask(Ask::Flush(done));
        let _ = is_done.recv();
    }

    /// The command reads this file. If its text goes there, none comes before it has ended: it would read it, and write
    /// it again, for ever (`grep -r` and `cat` know better when they see the file itself as their output). Returns
    /// whether that is so.
    pub(crate) fn is_read(&self, file: FileId) -> bool {
        let own = self.logs.contains(&file);
        if own {
            self.keep_back.store(true, Ordering::Relaxed);
        }
        own
    }
}

impl Drop for Capture {
    /// A capture that nobody asks for any more (its pip was killed, or became a driver) only forwards.
    fn drop(&mut self) {
        self.passage.ask(Ask::Finish);
    }
}

/// Descriptors to install in the blocked task: number, replacement, original.
pub(crate) struct Install {
    pub target: i32,
    pub replacement: OwnedFd,
    pub original: OwnedFd,
}

/// Why the text of a command is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// The command wrote it all, but its reader left before it had come.
    #[error("nobody reads its text any more")]
    Abandoned,
    #[error("its text could not be forwarded")]
    Lost,
    #[error("others write to the file that its text goes to")]
    Mixed,
    #[error("its redirected text could not be read back")]
    Unreadable,
}

/// What a capture has seen so far.
#[derive(Default)]
struct Record {
    chunks: Vec<Chunk>,
    /// Not all of it could be forwarded.
    failed: Option<Incomplete>,
}

/// How many bytes are kept back at most: a command that writes more than that is not about to end.
const MOST_KEPT: usize = 64 << 20;

impl Source {
    fn new(stream: Stream, from: OwnedFd, original: &OwnedFd) -> rustix::io::Result<Self> {
        let (to, log) = (rustix::io::fcntl_dupfd_cloexec(original, 3)?, file_id(original));
        Ok(Self { stream, from, to, open: true, held: 0, log, kept: Vec::new(), line_ends: None, _size: None })
    }

    /// Forwards text and notes it, or keeps it for now.
    ///
    /// When the reader is gone, our end is closed: the command learns of it as it would have without us, if it goes on
    /// writing.
    fn pass_on(&mut self, bytes: &[u8], record: Option<&mut Record>, keep_back: bool) {
        if keep_back && self.log.is_some() && self.kept.len() + bytes.len() <= MOST_KEPT {
            self.kept.extend_from_slice(bytes);
            return;
        }
        let mut all = std::mem::take(&mut self.kept);
        let bytes = if all.is_empty() {
            bytes
        } else {
            all.extend_from_slice(bytes);
            &all
        };
        if bytes.is_empty() {
            return;
        }
        if let Some(id) = self.log {
            *FORWARDED.lock().expect("forwarded").entry(id).or_insert(0) += bytes.len() as u64;
        }
        let written = write_all(self.to.as_fd(), bytes);
        self.open = written.is_ok();
        if let Some(r) = record {
            push(&mut r.chunks, self.stream, bytes);
            r.failed = r
                .failed
                .or(written.err().map(|e| if e == Errno::PIPE { Incomplete::Abandoned } else { Incomplete::Lost }));
        }
    }
}

impl Capture {
    /// Prepares the capture of a task's standard output and error. `hear` makes sure that what the task has looked at
    /// so far is known.
    pub(crate) fn start(
        d: &Descriptors,
        keeper: &crate::keeper::Keeper,
        hear: impl Fn() + Send + 'static,
    ) -> rustix::io::Result<(Self, Vec<Install>)> {
        let mut sources = Vec::new();
        let mut files = Vec::new();
        let mut installs = Vec::new();
        for (target, stream, fd) in [(1, Stream::Out, &d.stdout), (2, Stream::Err, &d.stderr)] {
            let Some(original) = &fd.dup else { continue };
            if target == 2 && d.shared {
                // One description: the first replacement serves both.
                if let Some(first) = installs.first() {
                    let first: &Install = first;
                    installs.push(Install {
                        target,
                        replacement: rustix::io::fcntl_dupfd_cloexec(&first.replacement, 3)?,
                        original: rustix::io::fcntl_dupfd_cloexec(original, 3)?,
                    });
                }
                continue;
            }
            match fd.kind {
                FdKind::Closed | FdKind::Null | FdKind::Device => {}
                FdKind::Regular { offset, .. } => {
                    let file = rustix::fs::open(
                        format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(original)),
                        OFlags::RDONLY | OFlags::CLOEXEC,
                        Mode::empty(),
                    )?;
                    let id = file_id(&file);
                    files.push(File { stream, file, offset, id, forwarded: forwarded(id) });
                }
                FdKind::Terminal => {
                    let t = crate::terminal::like(original)?;
                    crate::terminal::follow_sizes();
                    sources.push(Source {
                        line_ends: t.line_ends,
                        _size: Some(t.size),
                        ..Source::new(stream, t.ours, original)?
                    });
                    installs.push(Install {
                        target,
                        replacement: t.theirs,
                        original: rustix::io::fcntl_dupfd_cloexec(original, 3)?,
                    });
                }
                FdKind::Pipe | FdKind::Log | FdKind::Socket => {
                    let (from, replacement) = if fd.kind == FdKind::Socket {
                        use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
                        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?
                    } else {
                        rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?
                    };
                    sources.push(Source::new(stream, from, original)?);
                    installs.push(Install {
                        target,
                        replacement,
                        original: rustix::io::fcntl_dupfd_cloexec(original, 3)?,
                    });
                }
            }
        }
        let (tx, result) = mpsc::channel();
        let (passage, asked) = Passage::new(sources.iter().filter_map(|s| s.log).collect())?;
        if sources.is_empty() {
            let _ = tx.send(Record::default());
        } else {
            for s in &sources {
                // Our end is ours alone: non-blocking here is invisible to the build.
                let flags = rustix::fs::fcntl_getfl(&s.from)?;
                rustix::fs::fcntl_setfl(&s.from, flags | OFlags::NONBLOCK)?;
            }
            for s in &mut sources {
                s.held = keeper.hold(s.from.as_fd(), s.to.as_fd());
            }
            let (keeper, passage) = (keeper.clone(), passage.clone());
            std::thread::Builder::new()
                .name("xl-text".into())
                .stack_size(256 << 10)
                .spawn(move || forward(sources, &passage, &asked, &tx, &keeper, &hear))
                .map_err(|_| Errno::AGAIN)?;
        }
        Ok((Self { passage, result, files }, installs))
    }

    pub(crate) fn passage(&self) -> &Arc<Passage> {
        &self.passage
    }

    /// Collects the text. Must be called while the pip's root is still held, so that everything that it wrote is
    /// in the pipes or forwarded. Survivors that go on writing are still forwarded, but not recorded.
    pub(crate) fn finish(mut self) -> Result<Vec<Chunk>, Incomplete> {
        self.passage.ask(Ask::Finish);
        let Record { mut chunks, failed } = self.result.recv().map_err(|_| Incomplete::Lost)?;
        if let Some(why) = failed {
            return Err(why);
        }
        for f in std::mem::take(&mut self.files) {
            if forwarded(f.id) != f.forwarded {
                return Err(Incomplete::Mixed);
            }
            let mut bytes = Vec::new();
            let mut at = f.offset;
            let mut buf = vec![0; 64 << 10];
            loop {
                match rustix::io::pread(&f.file, &mut buf, at) {
                    Ok(0) => break,
                    Ok(n) => {
                        bytes.extend_from_slice(&buf[..n]);
                        at += n as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(_) => return Err(Incomplete::Unreadable),
                }
            }
            if !bytes.is_empty() {
                chunks.push(Chunk { stream: f.stream, bytes });
            }
        }
        Ok(chunks)
    }
}

/// Moves bytes until every source is at its end and the record has been asked for. Whatever is asked, what is there is
/// forwarded first.
///
/// When the reader of a source is gone, the keeper's copy of our end is closed with ours.
fn forward(
    mut sources: Vec<Source>,
    passage: &Passage,
    asked: &mpsc::Receiver<Ask>,
    result: &mpsc::Sender<Record>,
    keeper: &crate::keeper::Keeper,
    hear: &dyn Fn(),
) {
    let mut record = Some(Record::default());
    let mut buf = vec![0; 64 << 10];
    while record.is_some() || sources.iter().any(|s| s.open) {
        let mut polls: Vec<PollFd<'_>> = vec![PollFd::new(&passage.wake, PollFlags::IN)];
        polls.extend(sources.iter().filter(|s| s.open).map(|s| PollFd::new(&s.from, PollFlags::IN)));
        if rustix::event::poll(&mut polls, None).is_err() {
            continue;
        }
        drop(polls);
        let _ = rustix::io::read(&passage.wake, &mut buf[..8]);
        let asks: Vec<Ask> = asked.try_iter().collect();
        let finish = record.is_some() && asks.iter().any(|a| matches!(a, Ask::Finish));
        for s in sources.iter_mut().filter(|s| s.open) {
            // What is in a pipe when something is asked fits in this; a survivor may write for ever.
            let mut budget = if asks.is_empty() { usize::MAX } else { 1 << 20 };
            while s.open && budget > 0 {
                let read = rustix::io::read(&s.from, &mut buf);
                if s.log.is_some() && record.is_some() {
                    hear();
                }
                let keep_back = record.is_some() && passage.keep_back.load(Ordering::Relaxed);
                match read {
                    Ok(n) if n > 0 => {
                        budget = budget.saturating_sub(n);
                        match s.line_ends.as_mut().map(|l| l.undo(&buf[..n])) {
                            Some(undone) => s.pass_on(&undone, record.as_mut(), keep_back),
                            None => s.pass_on(&buf[..n], record.as_mut(), keep_back),
                        }
                    }
                    Err(Errno::INTR) => {}
                    end => {
                        let over = matches!(end, Ok(_) | Err(Errno::IO));
                        let rest = s.line_ends.as_mut().map_or(&b""[..], LineEnds::rest);
                        s.pass_on(rest, record.as_mut(), keep_back && !over);
                        s.open &= !over;
                        break;
                    }
                }
            }
            if finish && s.open {
                s.pass_on(b"", record.as_mut(), false);
            }
        }
        if finish && let Some(r) = record.take() {
            let _ = result.send(r);
        }
        for ask in asks {
            if let Ask::Flush(done) = ask {
                let _ = done.send(());
            }
        }
        sources.retain(|s| {
            if !s.open {
                keeper.release(s.held);
            }
            s.open
        });
    }
}

fn push(chunks: &mut Vec<Chunk>, stream: Stream, bytes: &[u8]) {
    match chunks.last_mut() {
        Some(c) if c.stream == stream => c.bytes.extend_from_slice(bytes),
        _ => chunks.push(Chunk { stream, bytes: bytes.to_vec() }),
    }
}
