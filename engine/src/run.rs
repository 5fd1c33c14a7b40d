//! One run: its settings, its cache, who runs commands, and who is told of what happens.

use crate::config::Config;
use crate::event::{Event, Sink};
use crate::judge::Judge;
use crate::launches::Launches;
use crate::ledger::Ledger;
use crate::products::Products;
use crate::record::{BuildRecord, Mode};
use crate::redact::{one_line, redact};
use cache::store::{Access as StoreAccess, History};
use cache::{CacheHandle, Digest};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use worker::command::Limits;
use worker::executor::{Executor, Local, Rules, Setting};
use worker::journal::Journal;
use worker::world::World;

/// Switches of a run.
pub struct Switches {
    pub mode: Mode,
    pub backend: tracer::Backend,
    pub read: bool,
    pub write: bool,
    /// How many of a hundred hits really run, and are compared.
    pub recheck: u8,
    /// How many commands may really run at once.
    pub local_jobs: Option<usize>,
    /// Everything is observed, so that it can be held against what is declared.
    pub audit: bool,
    /// Who is told of every event.
    pub sinks: Vec<Arc<dyn Sink>>,
    /// Who may refuse what pips do; it is told of every event too.
    pub judge: Option<Arc<dyn Judge>>,
    /// What the descriptors above 2 were when `xl` was started, from [`tracer::inherited`].
    pub inherited: Vec<(i32, Vec<u8>)>,
    /// Where the workspace is outside, if the commands see it elsewhere.
    pub really: Option<std::path::PathBuf>,
}

/// The decisions of one run.
pub struct Engine {
    pub(crate) config: Arc<Config>,
    pub(crate) switches: Switches,
    pub(crate) cache: Option<Arc<CacheHandle>>,
    /// Runs commands in the processes of this build, and knows its files.
    pub(crate) local: Arc<Local>,
    /// Who runs what has to run.
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) meaning: Vec<u8>,
    /// The root command was seen to start.
    pub(crate) begun: AtomicBool,
    pub(crate) started: Instant,
    /// The same moment, milliseconds since the epoch.
    pub(crate) opened: u64,
    /// Who launched whom, for the events.
    pub(crate) launches: Launches,
    stream: Arc<Stream>,
}

/// The one owner of the stream of events: it tells each event to everybody before the next.
struct Stream {
    order: Mutex<()>,
    ledger: Ledger,
    products: Products,
    sinks: Vec<Arc<dyn Sink>>,
    judge: Option<Arc<dyn Judge>>,
}

impl Stream {
    fn tell(&self, event: &Event<'_>) {
        // There is nothing behind the lock that a sink that panicked could have left half done.
        let _in_order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.ledger.on(event);
        self.products.on(event);
        self.sinks.iter().for_each(|s| s.on(event));
        if let Some(j) = &self.judge {
            j.on(event);
        }
    }
}

/// How a run stands.
pub struct Now {
    pub hits: u64,
    /// Commands that ran and have ended.
    pub ran: u64,
    pub running: u64,
    /// What has been running longest: for how long, and which command, in one line.
    pub longest: Option<(Duration, String)>,
    pub elapsed: Duration,
}

pub(crate) fn micros(t: Instant) -> u64 {
    u64::try_from(t.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// What the user is told of a cache that could not take something.
fn trouble(e: &cache::Error) -> String {
    if e.is_full() {
        "the disk of the cache is full: results are not stored, the build goes on".into()
    } else {
        format!("a result could not be stored, the build goes on: {e}")
    }
}

impl Engine {
    pub fn new(config: Config, mut switches: Switches, cache: Option<CacheHandle>) -> Self {
        let writable = cache.as_ref().is_some_and(|c| c.store.access() != StoreAccess::ReadOnly);
        let stream = Arc::new(Stream {
            order: Mutex::default(),
            ledger: Ledger::default(),
            products: Products::default(),
            sinks: std::mem::take(&mut switches.sinks),
            judge: switches.judge.clone(),
        });
        let journal = writable.then(|| {
            let (j, removed) = Journal::open(&config.cache_dir);
            if removed > 0 {
                let what = format!("mended {removed} half-made outputs of an interrupted run: they will be made again");
                stream.tell(&Event::Warning(&what));
            }
            j
        });
        switches.write &= writable;
        let (config, cache) = (Arc::new(config), cache.map(Arc::new));
        let told = stream.clone();
        let local = Arc::new(Local::new(Setting {
            rules: config.clone() as Arc<dyn Rules>,
            cache: cache.clone(),
            journal,
            jobs: switches.local_jobs,
            born: std::mem::take(&mut switches.inherited),
            scratch: writable.then(|| config.cache_dir.clone()),
            key: cache.as_ref().map_or([0; 32], |c| *c.store.key()),
            trouble: Box::new(move |e| told.tell(&Event::Warning(&trouble(e)))),
        }));
        Self {
            meaning: config.meaning(switches.judge.as_ref().is_some_and(|j| j.guards())),
            config,
            switches,
            cache,
            executor: local.clone(),
            local,
            begun: AtomicBool::new(false),
            started: Instant::now(),
            opened: cache::store::now_ms(),
            launches: Launches::default(),
            stream,
        }
    }

    /// What it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How the run stands now.
    pub fn now(&self) -> Now {
        let (hits, ran) = self.stream.ledger.counts();
        let (running, longest) = self.local.running();
        let longest = longest.map(|l| (l.since.elapsed(), one_line(&redact(&l.argv, &l.env))));
        Now { hits, ran, running: running as u64, longest, elapsed: self.started.elapsed() }
    }

    /// Tells everybody who wants to know.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.stream.tell(event);
    }

    /// Which result each file is of.
    pub(crate) fn products(&self) -> &Products {
        &self.stream.products
    }

    /// Who is asked before accesses happen, if anybody is.
    pub(crate) fn guard(&self) -> Option<&dyn Judge> {
        self.switches.judge.as_deref().filter(|j| j.guards())
    }

    /// Notes a trouble that the user is told of when the run is over.
    pub fn warn(&self, w: String) {
        self.tell(&Event::Warning(&w));
    }

    pub(crate) fn cache_trouble(&self, e: &cache::Error) {
        self.warn(trouble(e));
    }

    /// The key of digests of what may be a secret.
    pub(crate) fn key(&self) -> &[u8; 32] {
        const NONE: &[u8; 32] = &[0; 32];
        self.cache.as_ref().map_or(NONE, |c| c.store.key())
    }

    pub(crate) fn world<'a>(&'a self, env: &'a [Vec<u8>], cwd: &'a [u8], limits: &'a Limits) -> World<'a> {
        self.local.world(env, cwd, limits)
    }

    /// Milliseconds from the build's start to a moment.
    pub(crate) fn ms(&self, t: Instant) -> f64 {
        t.duration_since(self.started).as_secs_f64() * 1e3
    }

    pub(crate) fn history(&self, command: &Digest) -> History {
        self.cache.as_ref().and_then(|c| c.store.history(command)).unwrap_or_default()
    }

    pub(crate) fn put_history(&self, command: &Digest, h: &History) {
        if let Some(c) = &self.cache
            && self.switches.write
            && let Err(e) = c.store.put_history(command, h)
        {
            self.warn(format!("the history cannot be kept: {e}"));
        }
    }

    pub(crate) fn in_workspace(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.config.root()).is_some_and(|r| r.first() == Some(&b'/'))
    }

    /// Closes the run: contents are remembered, results marked as used, the record kept.
    pub fn close(&self, command: Vec<String>, cwd: String, exit_code: i32, lost: u64) -> BuildRecord {
        let wall = self.started.elapsed();
        let mut record = BuildRecord {
            version: crate::record::VERSION,
            command,
            cwd,
            workspace: self.switches.really.as_ref().map(|really| crate::record::Workspace {
                really: really.display().to_string(),
                at: self.config.root.display().to_string(),
            }),
            started: cache::store::now().saturating_sub(wall.as_secs()),
            exit_code,
            mode: self.switches.mode,
            backend: self.switches.backend.to_string(),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            lost_events: lost,
            ..BuildRecord::default()
        };
        self.stream.ledger.fill(&mut record);
        if let Some(c) = self.cache.as_ref().filter(|_| self.switches.write)
            && let Err(e) = self.keep(c, &record)
        {
            self.warn(format!("the record of this build could not be kept: {e}"));
        }
        // A warm build may have no need of them: only a run in which everything ran can tell.
        if record.pips.hit == 0 && record.pips.total > 0 {
            for hatch in self.config.unused() {
                self.warn(format!("unused in this build: {hatch}"));
            }
        }
        self.local.close();
        if let Some(c) = &self.cache {
            let closed = c.close();
            record.bytes.sent = closed.sent_bytes;
            record.remote = c.far().is_some().then_some(crate::record::Remote {
                sent: closed.sent,
                only_read: closed.only_read,
                failed: closed.failed,
            });
            if record.bytes.stored > 0 || record.pips.miss > 0 {
                crate::gc::after_run(c, &self.config);
            }
            closed.notices.into_iter().chain(c.store.notices()).for_each(|n| self.warn(n));
        }
        record.warnings = self.stream.ledger.warnings();
        record
    }

    fn keep(&self, c: &CacheHandle, record: &BuildRecord) -> cache::Result<()> {
        c.store.touch(&self.stream.ledger.used())?;
        c.store.memorise(&self.local.files().take_fresh())?;
        c.store.put_products(&self.take_products())?;
        c.store.note_blobs(&c.cas)?;
        c.store.add_build(&serde_json::to_vec(record).unwrap_or_default()).map(drop)
    }
}
