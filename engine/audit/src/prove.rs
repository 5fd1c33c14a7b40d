//! Proof on demand: tries out whether a finding bites, with the user's own build command, in a throw-away layer over
//! the tree.
//!
//! *Stale*: builds until nothing is to be done, touches the file, builds again, and looks whether the target is still
//! the old one. As a control it touches an input that is declared, too; if nothing is done then either, the experiment
//! says nothing. *Race*: takes away the generated file, the target and what dependency files tell, and builds with `-j`
//! and the command that makes the file held back until the target was made: is that done without the file, or not at
//! all? If it waits, the order is declared. make gets a shell that waits, for this target only; the edge in ninja's
//! manifest gets a command that does. Where neither takes hold, the target is asked for alone, as an unlucky order
//! would. *Missing*: looks whether the output is there after a build. Other kinds are matters of timing or of policy,
//! and cannot be tried so.

use crate::finding::{PipRef, Violation};
use crate::kinds::Kind;
use crate::layer::Layer;
use engine::redact::is_whole;
use std::ffi::OsString;
use std::path::Path;
use worker::drivers;
use worker::tools::base_name;

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
build() { "$@" >"$TMPDIR/said" 2>&1; }
build "$@" || { echo "= broken $(tail -n 1 "$TMPDIR/said")"; exit 0; }
build "$@"; one=$(stamp); build "$@"; two=$(stamp); cp "$TMPDIR/said" "$TMPDIR/idle"
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
# A command that leaves alone what is right has been run all the same.
if [ "$last" != "$after" ]; then echo "built again: now $target is new"; echo "= stale"
elif ! cmp -s "$TMPDIR/said" "$TMPDIR/idle"; then echo "built again: now something is done"; echo "= stale"
else echo "= deaf"; fi
"#;

/// Arguments: ROOT FILE, TARGET, its DIRECTORY of work, PLACE and COMMAND, the target that is to be LATE with the same
/// three, then the build command. The places are those in a manifest, or empty: then make is told.
const HELD: &str = r##"
root=$1 file=$2 target=$3 dir=$4 at=$5 command=$6 late=$7 late_dir=$8 late_at=$9; shift 9; late_command=$1; shift
export XL_TARGET="$target" XL_DIR="$dir" XL_LATE="$late_dir"
echo '#!/bin/sh
[ . -ef "$XL_LATE" ] || exec /bin/sh "$@"
n=0
while [ ! -e "$TMPDIR/read" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
[ -e "$TMPDIR/read" ] && : >"$TMPDIR/held" || : >"$TMPDIR/waits"
exec /bin/sh "$@"' >"$TMPDIR/late"
echo '#!/bin/sh
[ . -ef "$XL_DIR" ] || exec /bin/sh "$@"
/bin/sh "$@"; code=$?
if [ $code != 0 ] || [ -e "$XL_TARGET" ]; then [ -e "$TMPDIR/read" ] || echo $code >"$TMPDIR/read"; fi
exit $code' >"$TMPDIR/first"
chmod +x "$TMPDIR/late" "$TMPDIR/first"
find "$root" -type f \( -name '*.d' -o -name '*.Po' -o -name '*.Plo' \) -exec truncate -s 0 {} +
find "$root" -name .ninja_deps -delete
rm -f "$file" "$target" "$late"; echo "rm $file $target, and what dependency files say"
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g; s/[\$]/\$\$/g")"; }
wrapped() { # PLACE SCRIPT COMMAND: a command of its own after the head of the edge
  line=$(quoted "$3")
  XL_LINE="  command = $TMPDIR/$2 -c $line" awk -v n="${1##*:}" '{ print }
    NR >= n && !done && !/\$$/ { print ENVIRON["XL_LINE"]; done = 1 }' "${1%:*}" >"$TMPDIR/manifest"
  cat "$TMPDIR/manifest" >"${1%:*}"
}
flags=
names() { # TARGET SCRIPT DIRECTORY: the names that a make there may have for it
  for name in "$1" "$(realpath -ms --relative-to="$3" "$1")"; do
    flags="$flags --eval=$(printf %s "$name" | sed 's/[ $#%:\\]/\\&/g'):\ SHELL:=$TMPDIR/$2"
  done
}
if [ -n "$at" ]; then
  # From the end, so that the lines before stay where they are.
  if [ "${at##*:}" -gt "${late_at##*:}" ]; then
    wrapped "$at" first "$command"; wrapped "$late_at" late "$late_command"
  else
    wrapped "$late_at" late "$late_command"; wrapped "$at" first "$command"
  fi
else
  names "$target" first "$dir"; names "$late" late "$late_dir"
  export MAKEFLAGS="-j8$flags"
fi
export CMAKE_BUILD_PARALLEL_LEVEL=8
case ${1##*/} in make|gmake|ninja) set -- "$@" -j8;; esac
echo "$*, with what makes $file held back"
"$@" >"$TMPDIR/said" 2>&1
if [ -e "$TMPDIR/waits" ]; then echo "= waits"
elif [ ! -e "$TMPDIR/held" ]; then echo "= free"
elif [ "$(cat "$TMPDIR/read")" = 0 ]; then echo "= without"
else
  echo "= fails $(grep -F -- "${file##*/}" "$TMPDIR/said" |
    grep -i 'no such\|not found\|cannot\|missing\|no rule\|undefined' | head -n 1)"
fi
"##;

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

    /// `None`: the producer could not be held back.
    fn held(&self, v: &Violation, base: &Path) -> Result<Option<(Verdict, Vec<String>)>, String> {
        let full = |p: &str| self.root.join(p).display().to_string();
        let Some(other) = v.other.as_ref().filter(|o| !o.target.is_empty() && !v.pip.target.is_empty()) else {
            return Ok(None);
        };
        let is_ninja = |p: &PipRef| p.tool.first().is_some_and(|t| drivers::is_ninja(base_name(t.as_bytes())));
        let place = |p: &PipRef| if is_ninja(p) { full(&p.declared_at) } else { String::new() };
        if is_ninja(&v.pip) != is_ninja(other) {
            return Ok(None);
        }
        let [at, late_at] = [&v.pip, other].map(place);
        let (file, target, late) = (full(&v.file), full(&v.target), full(&other.target));
        let root = self.root.display().to_string();
        let reader = [&file, &target, &v.pip.tool_dir, &at, &v.pip.command];
        let words = [&root].into_iter().chain(reader).chain([&late, &other.tool_dir, &late_at, &other.command]);
        let words: Vec<&str> = words.map(String::as_str).collect();
        let (seen, steps) = self.ask(base, HELD, &words, self.command)?;
        let verdict = match seen.split_once(' ') {
            Some(("fails", said)) if !said.is_empty() => {
                Verdict::Proven(format!("without `{}` first, `{}` fails: {said}", v.file, v.target))
            }
            _ if seen == "without" => Verdict::Proven(format!("`{}` is made without `{}`", v.target, v.file)),
            _ if seen == "waits" => Verdict::NotProven(format!("`{}` waits until `{}` is made", v.target, v.file)),
            _ => return Ok(None),
        };
        Ok(Some((verdict, steps)))
    }

    fn race(&self, v: &Violation, base: &Path) -> Result<(Verdict, Vec<String>), String> {
        if let Some(found) = self.held(v, base)? {
            return Ok(found);
        }
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
