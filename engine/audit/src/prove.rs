//! Proof on demand: tries out whether a finding bites, with the user's own build command, in a throw-away layer over
//! the tree.
//!
//! *Stale*: builds until nothing is to be done, touches the file, builds again, and looks whether the target is still
//! the old one. As a control it touches an input that is declared, too; if that does not rebuild the target either, the
//! experiment says nothing. *Race*: takes away the generated file, the target and what dependency files tell, and asks
//! for the target alone, as an unlucky order would: is it made without the file, or not at all? *Missing*: looks
//! whether the output is there after a build. Other kinds are matters of timing or of policy, and cannot be tried so.

use crate::finding::Violation;
use crate::kinds::Kind;
use crate::layer::Layer;
use engine::redact::is_whole;
use std::ffi::OsString;
use std::path::Path;

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Proven(String),
    NotProven(String),
    /// It could not be tried.
    Untried(String),
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Proven(why) => write!(f, "proven: {why}"),
            Self::NotProven(why) => write!(f, "not proven: {why}"),
            Self::Untried(why) => write!(f, "not tried: {why}"),
        }
    }
}

/// The build to try it with.
pub struct Experiment<'a> {
    pub command: &'a [String],
    pub cwd: &'a Path,
    pub root: &'a Path,
}

/// Prints a line for each step, then `=` and what was seen. Arguments: FILE TARGET CONTROL, then the build command.
const STALE: &str = r#"
file=$1 target=$2 control=$3; shift 3
stamp() { stat -c '%i %Y %z' "$target" 2>/dev/null || echo none; }
build() { "$@" >/dev/null 2>"$TMPDIR/said"; }
build "$@" || { echo "= broken $(tail -n 1 "$TMPDIR/said")"; exit 0; }
build "$@"; one=$(stamp); build "$@"; two=$(stamp)
[ "$one" != none ] || { echo "= none"; exit 0; }
[ "$one" = "$two" ] || { echo "= always"; exit 0; }
echo "the build is up to date"
touch "$file"; echo "touch $file"
build "$@"; after=$(stamp)
[ "$after" = "$two" ] || { echo "= rebuilt"; exit 0; }
echo "built again: $target is still the old one"
[ -n "$control" ] || { echo "= stale"; exit 0; }
touch "$control"; echo "touch $control, which is declared"
build "$@"; last=$(stamp)
[ "$last" = "$after" ] && echo "= deaf" || { echo "built again: now $target is new"; echo "= stale"; }
"#;

/// Arguments: DIR FILE TARGET, then the build tool with the target.
const RACE: &str = r#"
dir=$1 file=$2 target=$3; shift 3
cd "$dir"
find . -type f \( -name '*.d' -o -name '*.Po' -o -name '*.Plo' \) -exec truncate -s 0 {} +
rm -f .ninja_deps
rm -f "$file" "$target"; echo "rm $file $target, and what dependency files say"
echo "$*"
if "$@" >"$TMPDIR/said" 2>&1; then
  [ -e "$file" ] && echo "= made" || echo "= without"
else
  # Only a failure for want of the file is one that counts.
  echo "= fails $(grep -F -- "${file##*/}" "$TMPDIR/said" |
    grep -i 'no such\|not found\|cannot\|missing\|no rule\|undefined' | head -n 1)"
fi
"#;

impl Experiment<'_> {
    /// The verdict, and what was done. `base` is a directory for a mount point.
    pub fn run(&self, v: &Violation, base: &Path) -> (Verdict, Vec<String>) {
        if [&v.file, &v.target].iter().any(|n| n.contains("\\x")) {
            return (Verdict::Untried("its name is no UTF-8".into()), Vec::new());
        }
        if !is_whole(self.command) || !is_whole(&v.pip.tool) {
            return (
                Verdict::Untried(
                    "the build command held a secret, or a byte that is no UTF-8, which is not kept".into(),
                ),
                Vec::new(),
            );
        }
        let tried = match v.code {
            Kind::UndeclaredInput => self.stale(v, base),
            Kind::MissingEdge => self.race(v, base),
            Kind::MissingOutput => {
                let there = self.root.join(&v.file).symlink_metadata().is_ok();
                let verdict = if there {
                    Verdict::NotProven(format!("`{}` is there now", v.file))
                } else {
                    Verdict::Proven(format!("`{}` is not there after the build", v.file))
                };
                return (verdict, Vec::new());
            }
            _ => return (Verdict::Untried(format!("there is no experiment for {}", v.name)), Vec::new()),
        };
        match tried {
            Ok(x) => x,
            Err(why) => (Verdict::Untried(why), Vec::new()),
        }
    }

    fn ask(
        &self,
        base: &Path,
        script: &str,
        arguments: &[&str],
        command: &[String],
    ) -> Result<(String, Vec<String>), String> {
        let layer = Layer::new(base, self.root)?;
        let mut words: Vec<OsString> = ["sh", "-c", script, "sh"].map(OsString::from).into();
        words.extend(arguments.iter().map(OsString::from));
        words.extend(command.iter().map(OsString::from));
        let out = layer.run(&words, self.cwd, self.cwd, std::env::vars_os(), None)?;
        let mut lines: Vec<String> = String::from_utf8_lossy(&out).lines().map(str::to_owned).collect();
        let seen =
            lines.pop().and_then(|l| l.strip_prefix("= ").map(str::to_owned)).ok_or("the experiment ended early")?;
        Ok((seen, lines))
    }

    fn stale(&self, v: &Violation, base: &Path) -> Result<(Verdict, Vec<String>), String> {
        let full = |p: &str| self.root.join(p).display().to_string();
        let control = v.control.as_deref().map(full).unwrap_or_default();
        let (seen, steps) = self.ask(base, STALE, &[&full(&v.file), &full(&v.target), &control], self.command)?;
        let verdict = match seen.split_once(' ').map_or(seen.as_str(), |(word, _)| word) {
            "stale" => Verdict::Proven(format!("`{}` is not made again when `{}` changes", v.target, v.file)),
            "rebuilt" => Verdict::NotProven(format!("`{}` is made again when `{}` changes", v.target, v.file)),
            "always" => Verdict::NotProven(format!("`{}` is made again in every build", v.target)),
            "deaf" => Verdict::NotProven("a declared input does not rebuild the target either".into()),
            "none" => Verdict::Untried(format!("the build does not make `{}`", v.target)),
            _ => Verdict::Untried(format!("the build fails in the layer: {}", seen.trim_start_matches("broken "))),
        };
        Ok((verdict, steps))
    }

    fn race(&self, v: &Violation, base: &Path) -> Result<(Verdict, Vec<String>), String> {
        let full = |p: &str| self.root.join(p).display().to_string();
        let target = full(&v.target);
        let shown = target.strip_prefix(&format!("{}/", v.pip.tool_dir)).unwrap_or(&target).to_owned();
        let command: Vec<String> = v.pip.tool.iter().cloned().chain([shown]).collect();
        let (seen, steps) = self.ask(base, RACE, &[&v.pip.tool_dir, &full(&v.file), &target], &command)?;
        let verdict = match seen.split_once(' ') {
            Some(("fails", "")) => Verdict::Untried(format!("`{}` fails for another reason", command.join(" "))),
            Some(("fails", said)) => {
                Verdict::Proven(format!("without `{}` first, `{}` fails: {said}", v.file, v.target))
            }
            _ if seen == "without" => Verdict::Proven(format!("`{}` is made without `{}`", v.target, v.file)),
            _ => Verdict::NotProven(format!("`{}` is made before `{}` all the same", v.file, v.target)),
        };
        Ok((verdict, steps))
    }
}
