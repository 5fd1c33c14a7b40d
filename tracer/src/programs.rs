//! From the compiled eBPF programs to attached ones.
//!
//! aya's own loader takes 25 ms before it does anything, because it reads the kernel's whole table of types even if it
//! is then given another one (0.14), so that only its reader of objects (`aya-obj`) is used: it finds the programs and
//! maps, and adapts their instructions to the running kernel. Knows nothing of what the programs do.

use crate::kernel_types::{self, Kind};
use crate::sys::{bpf, capabilities};
use aya_obj::btf::{Btf, BtfFeatures, BtfKind};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use aya_obj::{EbpfSectionKind, Map, Object};
use std::collections::HashMap;
use std::error::Error;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The size of the ring through which the programs send their records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize {
    /// In bytes: a power of two, and at least a page.
    pub bytes: u32,
    /// The programs stop tasks that fill it faster than it is read, until there is room. If not, records are lost.
    pub waits: bool,
}

impl Default for RingSize {
    /// Room for some 100,000 records; who fills it faster waits. Four times as much took 30 ms more to make, in every
    /// run that loads the programs (Linux 6.18).
    fn default() -> Self {
        Self { bytes: 16 << 20, waits: true }
    }
}

/// Why the eBPF programs cannot be used here.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("this build has no programs: {0}")]
    NotBuilt(&'static str),
    #[error("they cannot be loaded without CAP_BPF and CAP_PERFMON, or the bpf system call is refused")]
    Forbidden,
    #[error("the kernel tells nothing of its types (/sys/kernel/btf/vmlinux): {0}")]
    Types(String),
    #[error("the programs cannot be loaded: {0}")]
    Load(String),
    #[error("`{0}` cannot be attached: {1}")]
    Attach(&'static str, String),
    #[error("its memory cannot be mapped: {0}")]
    Memory(std::io::Error),
    #[error("its loader has ended")]
    Twice,
}

/// May this thread load tracing programs? The observer asks before it reads or prepares anything, because for most
/// users the answer is no, in every run.
pub(crate) fn may_load() -> bool {
    capabilities::may_trace() && bpf::is_permitted()
}

/// What is to be loaded, and with which numbers.
pub(crate) struct Plan<'a> {
    pub object: &'a [u8],
    /// The programs and their tracepoints.
    pub programs: &'a [(&'static str, &'static str)],
    /// The structures of the kernel's that they look into.
    pub structures: &'a [&'a str],
    /// Values of their constants.
    pub constants: Vec<(&'static str, Vec<u8>)>,
    /// How many entries a map gets, where that is not as compiled.
    pub entries: (&'static str, u32),
}

/// Loaded and attached programs; they are detached when this is dropped, or the process ends in whatever way.
pub(crate) struct Programs {
    _links: Vec<OwnedFd>,
    maps: HashMap<String, OwnedFd>,
}

impl Programs {
    pub(crate) fn load(plan: &Plan<'_>) -> Result<Self, Unavailable> {
        let failed = |e: &dyn Error| Unavailable::Load(chain(e));
        let kernel = types_for(plan)?;
        let mut object = Object::parse(plan.object).map_err(|e| failed(&e))?;
        let constants = plan.constants.iter().map(|(name, value)| (*name, (value.as_slice(), true))).collect();
        object.patch_map_data(constants).map_err(|e| failed(&e))?;
        // Whatever the compiler writes, a kernel that has storage for tasks (5.11) has long known.
        let features = BtfFeatures::new(true, true, true, true, true, true, true, true);
        let types = object.fixup_and_sanitize_btf(&features).map_err(|e| failed(&e))?;
        let types =
            types.ok_or_else(|| Unavailable::Load("the programs say nothing of their types".into()))?.to_bytes();
        let types = bpf::load_types(&types).map_err(|e| failed(&e))?;
        object.relocate_btf(&kernel).map_err(|e| failed(&e))?;
        let mut maps = HashMap::new();
        let mut known = std::mem::take(&mut object.maps);
        for (name, map) in &mut known {
            if name == plan.entries.0 {
                map.set_max_entries(plan.entries.1);
            }
            let fd = create(name, map, &types).map_err(|e| Unavailable::Load(format!("map `{name}`: {e}")))?;
            maps.insert(name.clone(), fd);
        }
        let sections = object.functions.keys().map(|(section, _)| *section).collect();
        let made = known.iter().map(|(name, map)| (name.as_str(), maps[name].as_raw_fd(), map));
        object.relocate_maps(made, &sections).map_err(|e| failed(&e))?;
        object.relocate_calls(&sections).map_err(|e| failed(&e))?;
        let mut links = Vec::new();
        for (name, tracepoint) in plan.programs {
            let missing = || Unavailable::Load(format!("no program `{name}`"));
            let program = object.programs.get(*name).ok_or_else(missing)?;
            let code = object.functions.get(&program.function_key()).ok_or_else(missing)?;
            let id = kernel.id_by_type_name_kind(&type_of(tracepoint), BtfKind::Typedef);
            let tracepoint_type = id.map_err(|e| Unavailable::Attach(tracepoint, e.to_string()))?;
            let p = bpf::Program {
                name,
                license: &program.license,
                code,
                types: types.as_fd(),
                tracepoint: tracepoint_type,
            };
            let loaded = verified(&p).map_err(|why| Unavailable::Load(format!("program `{name}`: {why}")))?;
            links.push(bpf::attach(loaded.as_fd()).map_err(|e| Unavailable::Attach(tracepoint, e.to_string()))?);
        }
        Ok(Self { _links: links, maps })
    }

    /// Takes a map out, for whoever uses it.
    pub(crate) fn take(&mut self, name: &str) -> Result<OwnedFd, Unavailable> {
        self.maps.remove(name).ok_or_else(|| Unavailable::Load(format!("no map `{name}`")))
    }
}

/// The name of the type of a tracepoint.
fn type_of(tracepoint: &str) -> String {
    format!("btf_trace_{tracepoint}")
}

/// As much of the kernel's types as the programs need.
fn types_for(plan: &Plan<'_>) -> Result<Btf, Unavailable> {
    let tracepoints: Vec<String> = plan.programs.iter().map(|(_, t)| type_of(t)).collect();
    let mut wanted: Vec<(Kind, &str)> = plan.structures.iter().map(|s| (Kind::Structure, *s)).collect();
    wanted.extend(tracepoints.iter().map(|t| (Kind::Name, t.as_str())));
    let table = std::fs::File::open(kernel_types::PLACE).and_then(|f| kernel_types::beginning(&f, &wanted));
    let table = table.map_err(|e| Unavailable::Types(e.to_string()))?;
    Btf::parse(&table, Default::default()).map_err(|e| Unavailable::Types(e.to_string()))
}

fn create(name: &str, map: &Map, types: &OwnedFd) -> std::io::Result<OwnedFd> {
    let own = match map {
        // A ring has neither key nor value.
        Map::Btf(m) if map.map_type() != BPF_MAP_TYPE_RINGBUF as u32 => {
            Some((types.as_fd(), m.def.btf_key_type_id, m.def.btf_value_type_id))
        }
        _ => None,
    };
    let fd = bpf::create_map(map, name, own)?;
    if !map.data().is_empty() {
        bpf::fill(fd.as_fd(), map.data())?;
    }
    if map.section_kind() == EbpfSectionKind::Rodata {
        bpf::freeze(fd.as_fd())?;
    }
    Ok(fd)
}

/// Loads a program. If the verifier refuses it, that is said in its own words.
fn verified(p: &bpf::Program<'_>) -> Result<OwnedFd, String> {
    let mut tries = 0;
    let refused = loop {
        match bpf::load_program(p, &mut []) {
            Ok(fd) => return Ok(fd),
            // A signal is pending: the verifier gives up, and means nothing by it.
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock && tries < 5 => tries += 1,
            Err(e) => break e,
        }
    };
    let mut log = vec![0; 1 << 20];
    match bpf::load_program(p, &mut log) {
        Ok(fd) => Ok(fd),
        Err(_) => {
            let said = String::from_utf8_lossy(log.split(|b| *b == 0).next().unwrap_or_default()).into_owned();
            let end: Vec<&str> = said.lines().rev().take(4).collect();
            Err(format!("{refused}: {}", end.into_iter().rev().collect::<Vec<_>>().join("; ")))
        }
    }
}

/// An error and what caused it, in one line.
fn chain(e: &dyn Error) -> String {
    let mut text = e.to_string();
    let mut next = e.source();
    while let Some(e) = next {
        text = format!("{text}: {e}");
        next = e.source();
    }
    text
}
