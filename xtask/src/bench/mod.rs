//! `cargo xtask bench`: what `xl` costs and saves on builds that nobody here wrote, against the plain build, ccache and
//! strace.
//!
//! Sources come from Debian's archive (`examples/fetch.sh`). In every round each way of building is run once, in turn,
//! so that a machine that gets slower is slower for all; every build starts from a copy of the configured tree at the
//! same path. CPU is that of all processes together, `xl` included, as the shell's `time` tells it. Medians are
//! printed, and written as JSON. This measures; it tests nothing.

mod calls;
mod size;
mod start;
mod workloads;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use workloads::{WORKLOADS, Workload};

/// Wall and CPU seconds of one run.
type Cost = (f64, f64);

/// What each way of running cost, round for round, in the order in which the ways were first tried.
#[derive(Default)]
struct Costs(Vec<(String, Vec<Cost>)>);

impl Costs {
    fn add(&mut self, what: String, cost: Cost) {
        match self.0.iter_mut().find(|(n, _)| *n == what) {
            Some((_, v)) => v.push(cost),
            None => self.0.push((what, vec![cost])),
        }
    }
}

struct Bench {
    xl: PathBuf,
    dir: PathBuf,
    ccache: bool,
    strace: bool,
}

/// `args`: names of workloads, `--rounds N`, `--dir DIR`, `--json FILE`, `--peer WORDS`.
pub(crate) fn run(args: &[&str]) -> bool {
    let value = |name: &str| args.iter().position(|a| *a == name).and_then(|i| args.get(i + 1).copied());
    let rounds = match value("--rounds").map(str::parse::<usize>) {
        None => 3,
        Some(Ok(n)) if n > 0 => n,
        Some(_) => {
            eprintln!("bench: --rounds takes a number, 1 or more");
            return false;
        }
    };
    let dir = value("--dir").map_or_else(|| std::env::temp_dir().join("xl-bench"), PathBuf::from);
    let options = ["--rounds", "--dir", "--json", "--peer"];
    let named: Vec<&str> = args
        .iter()
        .enumerate()
        .filter(|(i, a)| !a.starts_with("--") && (*i == 0 || !options.contains(&args[i - 1])))
        .map(|(_, a)| *a)
        .collect();
    let own = ["start", "calls", "size"];
    if let Some(unknown) = named.iter().find(|n| !own.contains(n) && WORKLOADS.iter().all(|w| w.name != **n)) {
        let all: Vec<&str> = WORKLOADS.iter().map(|w| w.name).chain(own).collect();
        eprintln!("bench: there is no workload `{unknown}`: {}", all.join(", "));
        return false;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let Ok(xl) = target.join("release/xl").canonicalize() else {
        eprintln!("bench: build xl first: cargo build --release");
        return false;
    };
    let has = |tool: &str| {
        Command::new(tool)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    let b = Bench { xl, dir, ccache: has("ccache") && Path::new("/usr/lib/ccache").is_dir(), strace: has("strace") };
    for (there, tool) in [(b.ccache, "ccache"), (b.strace, "strace")] {
        if !there {
            eprintln!("bench: no {tool}: its column is left out (apt-get install {tool})");
        }
    }
    let mut results = serde_json::Map::new();
    for w in WORKLOADS.iter().filter(|w| named.is_empty() || named.contains(&w.name)) {
        match b.workload(w, rounds) {
            Ok(v) => drop(results.insert(w.name.into(), v)),
            Err(why) => {
                eprintln!("bench: {}: {why}", w.name);
                return false;
            }
        }
    }
    for name in own.into_iter().filter(|n| named.is_empty() || named.contains(n)) {
        let done = match name {
            "start" => b.start(rounds, value("--peer")),
            "size" => b.size(rounds),
            _ => b.calls(rounds),
        };
        match done {
            Ok(v) => drop(results.insert(name.into(), v)),
            Err(why) => {
                eprintln!("bench: {name}: {why}");
                return false;
            }
        }
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let text = serde_json::to_string_pretty(&json!({ "rounds": rounds, "kernel": kernel.trim(), "results": results }))
        .unwrap_or_default();
    match value("--json") {
        Some(file) => std::fs::write(file, text).map_err(|e| eprintln!("bench: cannot write `{file}`: {e}")).is_ok(),
        None => true,
    }
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    match v.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => v[n / 2],
        n => f64::midpoint(v[n / 2 - 1], v[n / 2]),
    }
}

fn medians(v: &[Cost]) -> Cost {
    (median(v.iter().map(|c| c.0).collect()), median(v.iter().map(|c| c.1).collect()))
}

/// Runs a shell text and tells what it and everything below it cost.
fn timed(text: &str, vars: &[(&str, &str)], cwd: &Path) -> Result<Cost, String> {
    let script = format!("TIMEFORMAT='%R %U %S'; time {{ {text}\n}} >/dev/null 2>\"$XL_BENCH_LOG\" </dev/null");
    let log = cwd.with_extension("log");
    let o = Command::new("bash")
        .args(["-c", &script])
        .current_dir(cwd)
        .env("XL_BENCH_LOG", &log)
        .envs([("CC", "gcc"), ("CXX", "g++"), ("LC_ALL", "C.UTF-8")])
        .envs(vars.iter().copied())
        .output()
        .map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&o.stderr);
    if !o.status.success() {
        return Err(format!("`{text}` failed: {}", std::fs::read_to_string(&log).unwrap_or_default()));
    }
    let n: Vec<f64> = said.split_whitespace().filter_map(|w| w.parse().ok()).collect();
    let [wall, user, system] = n[..] else { return Err(format!("no times from bash: {said}")) };
    Ok((wall, user + system))
}

impl Bench {
    fn workload(&self, w: &Workload, rounds: usize) -> Result<Value, String> {
        let base = self.dir.join(w.name);
        // ccache is configured for in a tree of its own: its compiler is another program.
        let mut kinds = vec![("plain", "")];
        if self.ccache {
            kinds.push(("ccache", "/usr/lib/ccache:"));
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let tree = base.join("src");
        for (kind, prefix) in &kinds {
            let kept = base.join(kind);
            if kept.exists() {
                continue;
            }
            std::fs::create_dir_all(&base).map_err(|e| e.to_string())?;
            eprintln!("bench: {}: preparing ({kind})", w.name);
            let fetch =
                Command::new("examples/fetch.sh").arg(w.package).arg(&tree).status().map_err(|e| e.to_string())?;
            if !fetch.success() {
                return Err("its sources cannot be had".into());
            }
            timed(w.configure, &[("PATH", &format!("{prefix}{path}"))], &tree)?;
            std::fs::rename(&tree, &kept).map_err(|e| e.to_string())?;
        }
        let reset = |kind: &str| {
            if tree.exists() {
                std::fs::remove_dir_all(&tree).map_err(|e| format!("`{}`: {e}", tree.display()))?;
            }
            let copied = Command::new("cp").arg("-a").arg(base.join(kind)).arg(&tree).status();
            if copied.is_ok_and(|s| s.success()) { Ok(()) } else { Err("no room for a copy".to_owned()) }
        };
        let cache = base.join("cache").display().to_string();
        // The first time there is none.
        let empty = || drop(std::fs::remove_dir_all(&cache));
        let mut all = Costs::default();
        for _ in 0..rounds {
            reset("plain")?;
            all.add("plain".into(), timed(w.build, &[], &tree)?);
            for backend in ["ebpf", "seccomp", "ptrace"] {
                empty();
                let command = format!("{} run --backend {backend} -- sh -c '{}'", self.xl.display(), w.build);
                let vars = [("XL_CACHE_DIR", cache.as_str())];
                for kind in ["cold", "warm", "no-op"] {
                    if kind != "no-op" {
                        reset("plain")?;
                    }
                    all.add(format!("xl {backend}, {kind}"), timed(&command, &vars, &tree)?);
                }
            }
            if self.ccache {
                empty();
                let wrapped = format!("/usr/lib/ccache:{path}");
                let vars = [("CCACHE_DIR", cache.as_str()), ("PATH", &wrapped)];
                for kind in ["cold", "warm", "no-op"] {
                    if kind != "no-op" {
                        reset("ccache")?;
                    }
                    all.add(format!("ccache, {kind}"), timed(w.build, &vars, &tree)?);
                }
            }
            if self.strace {
                reset("plain")?;
                let command =
                    format!("strace -f --seccomp-bpf -qq -e trace=%file,getdents64 -o /dev/null sh -c '{}'", w.build);
                all.add("strace".into(), timed(&command, &[], &tree)?);
            }
        }
        let plain = medians(&all.0[0].1);
        println!("\n{} ({rounds} rounds; plain: {:.2} s CPU, {:.2} s wall)\n", w.name, plain.1, plain.0);
        println!("| | CPU s | of plain | wall s | of plain |\n|---|---|---|---|---|");
        let mut out = serde_json::Map::new();
        for (what, costs) in &all.0 {
            let (wall, cpu) = medians(costs);
            println!("| {what} | {cpu:.2} | {:.3} | {wall:.2} | {:.3} |", cpu / plain.1, wall / plain.0);
            out.insert(
                what.clone(),
                json!({ "cpu_s": cpu, "cpu_ratio": cpu / plain.1, "wall_s": wall, "wall_ratio": wall / plain.0 }),
            );
        }
        Ok(Value::Object(out))
    }
}
