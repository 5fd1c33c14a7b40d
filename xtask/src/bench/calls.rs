//! What one observed call costs: `stat` in a loop, under each observer and under strace, and unobserved while somebody
//! else is observed.
//!
//! Costs are per call, after what an empty loop costs in the same way: the slow observers are given fewer calls, since
//! nobody waits for a hundred thousand stops.

use super::{Bench, Costs, medians, timed};
use serde_json::{Value, json};

/// Calls of one loop; a tenth of them where each stops the process.
const CALLS: u32 = 200_000;

/// Formats the number of a call, modulo a second one, into a name, and asks for its state.
const LOOP: &str = r"#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
int main(int c, char **v) {
  char n[64]; struct stat s;
  for (int i = 0; i < atoi(v[1]); i++) { sprintf(n, v[2], i % atoi(v[3])); stat(n, &s); }
  return 0;
}
";

impl Bench {
    pub(super) fn calls(&self, rounds: usize) -> Result<Value, String> {
        let dir = self.dir.join("calls");
        std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        std::fs::write(dir.join("loop.c"), LOOP).map_err(|e| e.to_string())?;
        timed("gcc -O1 -w loop.c -o loop", &[], &dir)?;
        let xl = self.xl.display();
        let mut ways = vec![("plain".to_owned(), String::new(), CALLS)];
        for (backend, calls) in [("ebpf", CALLS), ("seccomp", CALLS / 10), ("ptrace", CALLS / 10)] {
            ways.push((backend.to_owned(), format!("{xl} trace --backend {backend} -o /dev/null --"), calls));
        }
        if self.strace {
            ways.push(("strace".into(), "strace -f --seccomp-bpf -qq -e trace=%file -o /dev/null".into(), CALLS / 10));
        }
        let mut all = Costs::default();
        for _ in 0..rounds {
            for (way, prefix, calls) in &ways {
                let nothing = timed(&format!("{prefix} ./loop 0 x 1"), &[], &dir)?;
                // The same few names over and over, as compilers do, and never the same.
                for (names, different) in [("the same 20 names", 20), ("always another name", *calls)] {
                    let cost = timed(&format!("{prefix} ./loop {calls} ./n%d {different}"), &[], &dir)?;
                    let each = |total: f64, nothing: f64| (total - nothing) * 1e6 / f64::from(*calls);
                    all.add(format!("{way}, {names}"), (each(cost.0, nothing.0), each(cost.1, nothing.1)));
                }
            }
            // Somebody else is observed meanwhile: one side of a FIFO holds its session open.
            let held = format!(
                "rm -f go up; mkfifo go; {xl} trace --backend ebpf -o /dev/null -- sh -c 'stat -c %n . >up; read x \
                    <go' & \
                 while [ ! -s up ]; do :; done; {{ time ./loop {CALLS} ./n%d 20 ; }} 2>inner; echo >go; wait"
            );
            timed(&held, &[], &dir)?;
            let said = std::fs::read_to_string(dir.join("inner")).unwrap_or_default();
            let n: Vec<f64> = said.split_whitespace().filter_map(|w| w.parse().ok()).collect();
            let [wall, user, system] = n[..] else { return Err(format!("no times from bash: {said}")) };
            let each = |total: f64| total * 1e6 / f64::from(CALLS);
            all.add("plain, while another is observed by ebpf".into(), (each(wall), each(user + system)));
        }
        let plain = medians(&all.0[0].1).1;
        println!("\none `stat` ({rounds} rounds)\n\n| | µs CPU | of plain | µs wall |\n|---|---|---|---|");
        let mut out = serde_json::Map::new();
        for (what, costs) in &all.0 {
            let (wall, cpu) = medians(costs);
            println!("| {what} | {cpu:.2} | {:.2} | {wall:.2} |", cpu / plain);
            out.insert(what.clone(), json!({ "cpu_us": cpu, "wall_us": wall }));
        }
        Ok(Value::Object(out))
    }
}
