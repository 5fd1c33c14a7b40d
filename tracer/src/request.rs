//! Everything about a blocked `execve` that a decision may need, read from the stopped process.

use crate::descriptors::Descriptors;
use crate::process::{Process, Scope};
use crate::resolve::Resolved;
use crate::task_files;
use std::sync::Arc;

/// Credentials and limits of a task that may change what a command does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    pub umask: u32,
    /// The `Uid`, `Gid`, `Groups` and `CapEff` lines of `/proc/PID/status`: what it may do.
    pub rights: Vec<u8>,
    /// `SigIgn` and `SigBlk` of those signals that commands can do something about: what a terminal sends, or its end,
    /// shells let background jobs ignore.
    pub signals: [u64; 2],
    /// `Cpus_allowed`.
    pub processors: Vec<u8>,
    /// `/proc/PID/limits`.
    pub limits: Vec<u8>,
    /// `/proc/PID/personality`, hexadecimal.
    pub personality: Vec<u8>,
}

/// One `execve` that would succeed.
#[derive(Debug)]
pub struct ExecRequest {
    pub process: Arc<Process>,
    /// Scope of the process before the exec.
    pub scope: Scope,
    /// The program, resolved.
    pub program: Resolved,
    /// What the kernel opens besides: interpreters of scripts, in order, and of ELF images.
    pub interpreters: Vec<Resolved>,
    /// Which of them will be the process's image; `None`: the program itself, it is no script.
    pub image: Option<usize>,
    pub argv: Vec<Vec<u8>>,
    /// `NAME=value` strings.
    pub env: Vec<Vec<u8>>,
    pub cwd: Arc<[u8]>,
    pub(crate) tid: i32,
}

impl Credentials {
    /// Those of process `pid`.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let status = std::fs::read(format!("/proc/{pid}/status")).ok()?;
        let mut c = Self {
            limits: std::fs::read(format!("/proc/{pid}/limits")).ok()?,
            personality: std::fs::read(format!("/proc/{pid}/personality")).unwrap_or_default(),
            ..Self::default()
        };
        let set = |v: &[u8]| u64::from_str_radix(std::str::from_utf8(v).ok()?, 16).ok();
        // HUP, INT, QUIT, TSTP, TTIN, TTOU: signal(7).
        let told_apart = |v| Some(set(v)? & !(1 | 1 << 1 | 1 << 2 | 1 << 19 | 1 << 20 | 1 << 21));
        for l in status.split(|c| *c == b'\n') {
            let Some(colon) = l.iter().position(|c| *c == b':') else { continue };
            let (name, value) = (&l[..colon], l[colon + 1..].trim_ascii());
            match name {
                b"Uid" | b"Gid" | b"Groups" | b"CapEff" => {
                    c.rights.extend_from_slice(value);
                    c.rights.push(b'\n');
                }
                b"Umask" => c.umask = u32::from_str_radix(std::str::from_utf8(value).ok()?, 8).ok()?,
                b"SigIgn" => c.signals[0] = told_apart(value)?,
                b"SigBlk" => c.signals[1] = told_apart(value)?,
                b"Cpus_allowed" => c.processors = value.to_vec(),
                _ => {}
            }
        }
        Some(c)
    }

    /// Those of this process, as they were when somebody first asked.
    pub fn own() -> Option<&'static Self> {
        static OWN: std::sync::OnceLock<Option<Credentials>> = std::sync::OnceLock::new();
        OWN.get_or_init(|| Self::of(std::process::id().cast_signed())).as_ref()
    }
}

impl ExecRequest {
    /// Reads what the task may do, and what else it has inherited.
    pub fn credentials(&self) -> Option<Credentials> {
        Credentials::of(self.process.pid)
    }

    /// Does the program give rights of its own to whoever executes it (execve(2), "set-user-ID")?
    pub fn changes_rights(&self) -> bool {
        let s = self.program.state;
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        // Nobody else's programs have effect in a build of an ordinary user: no_new_privs is set.
        user == 0
            && s.is_some_and(|s| {
                let mode = u32::from(s.stx_mode);
                mode & 0o4000 != 0 && s.stx_uid != user || mode & 0o2010 == 0o2010 && s.stx_gid != group
            })
    }

    /// Does a path mean the same file to the task as to us? Not in another mount namespace, or below another root.
    pub fn shares_our_files(&self) -> bool {
        static OURS: std::sync::OnceLock<Option<(u64, u64, Vec<u8>)>> = std::sync::OnceLock::new();
        let ours = OURS.get_or_init(|| task_files::view(std::process::id().cast_signed()));
        ours.is_some() && task_files::view(self.process.pid) == *ours
    }

    /// Reads what the descriptors are; the error says why the task may not be looked into.
    pub fn descriptors(&self) -> Result<Descriptors, &'static str> {
        Descriptors::of(&self.process)
    }
}
