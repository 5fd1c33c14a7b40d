//! `cargo xtask package`: `xl` for machines that have nothing of it, as one file and as a Debian package, in
//! `target/package`.
//!
//! The binary is linked statically against everything, glibc included (`crt-static`), so it asks for a kernel and
//! nothing else; only the name service of glibc is out of reach (`engine/src/home.rs`). RocksDB and what it compresses
//! with are Debian's archives: the copy in the crate takes twelve minutes to compile. The linker finds them in a
//! directory of their own, in which there is no shared library that it would prefer.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Archives, each after those that need it.
const STATIC: &[&str] = &["rocksdb", "snappy", "lz4", "zstd", "bz2", "z", "stdc++"];

/// Builds both; the result is false after something was said.
pub(crate) fn run() -> bool {
    match package() {
        Ok(made) => {
            made.iter().for_each(|p| println!("{}", p.display()));
            true
        }
        Err(e) => {
            eprintln!("xtask: {e}");
            false
        }
    }
}

fn package() -> io::Result<Vec<PathBuf>> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let target = std::path::absolute(target)?;
    let to = target.join("package");
    let _ = fs::remove_dir_all(&to);
    let archives = archives(&to.join("static"))?;
    build(&to.join("static"))?;
    let xl = to.join("xl");
    fs::copy(target.join(TARGET).join("dist/xl"), &xl)?;
    let needs = said("readelf", &["-d", text(&xl)?])?;
    if let Some(shared) = needs.lines().find(|l| l.contains("(NEEDED)")) {
        return Err(io::Error::other(format!("the binary is not whole: {shared}")));
    }
    let root = to.join("root");
    lay(&root, &xl, &archives)?;
    let version = control(&root)?;
    let deb = to.join(format!("xl_{version}_amd64.deb"));
    let mut c = Command::new("dpkg-deb");
    // No file is younger than the commit: the same commit makes the same package.
    if let Ok(time) = said("git", &["log", "-1", "--format=%ct"]) {
        c.env("SOURCE_DATE_EPOCH", time.trim());
    }
    done(c.args(["--build", "--root-owner-group"]).arg(&root).arg(&deb).stdout(io::stderr()))?;
    fs::remove_dir_all(root)?;
    Ok(vec![xl, deb])
}

/// Finds the archives for the linker; the result is where they are.
fn archives(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(dir)?;
    let mut all = Vec::new();
    for name in STATIC.iter().chain(&["c"]) {
        let file = format!("lib{name}.a");
        let found = PathBuf::from(said("g++", &[&format!("-print-file-name={file}")])?.trim());
        if !found.is_absolute() {
            return Err(io::Error::other(format!(
                "`{file}` is not installed; `./setup package` installs what is needed"
            )));
        }
        if *name != "c" {
            symlink(fs::canonicalize(&found)?, dir.join(file))?;
        }
        all.push(found);
    }
    Ok(all)
}

fn build(dir: &Path) -> io::Result<()> {
    let home =
        std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|h| h + "/.cargo")).unwrap_or_default();
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned(), format!("-Lnative={}", text(dir)?)];
    flags.extend(STATIC.iter().skip(1).map(|name| format!("-Clink-arg=-l{name}")));
    // Where it was built is nobody's business, and makes two builds differ.
    flags.push(format!("--remap-path-prefix={home}=/cargo"));
    flags.push(format!("--remap-path-prefix={}=/xl", text(&std::env::current_dir()?)?));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut c = Command::new(cargo);
    c.args(["build", "--profile", "dist", "--target", TARGET, "--package", "xl", "--bin", "xl"]);
    c.env("ROCKSDB_STATIC", "1").env("ROCKSDB_LIB_DIR", dir);
    // For the target alone: what runs while building is linked as ever.
    c.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", flags.join(" ")).env_remove("RUSTFLAGS");
    done(&mut c)
}

/// The files of the package.
fn lay(root: &Path, xl: &Path, archives: &[PathBuf]) -> io::Result<()> {
    let dir = |d: &str| fs::create_dir_all(root.join(d)).map(|()| root.join(d));
    fs::copy(xl, dir("usr/bin")?.join("xl"))?;
    let man = dir("usr/share/man/man1")?;
    done(Command::new(xl).args(["man", "--dir"]).arg(&man))?;
    for page in fs::read_dir(&man)? {
        done(Command::new("gzip").arg("-9n").arg(page?.path()))?;
    }
    for (shell, place, name) in [
        ("bash", "usr/share/bash-completion/completions", "xl"),
        ("zsh", "usr/share/zsh/vendor-completions", "_xl"),
        ("fish", "usr/share/fish/vendor_completions.d", "xl.fish"),
    ] {
        fs::write(dir(place)?.join(name), said(text(xl)?, &["completions", shell])?)?;
    }
    let doc = dir("usr/share/doc/xl")?;
    fs::write(doc.join("copyright"), copyright(archives)?)?;
    fs::copy("README.md", doc.join("README.md"))?;
    for page in fs::read_dir("docs")? {
        let page = page?.path();
        fs::copy(&page, dir("usr/share/doc/xl/docs")?.join(page.file_name().unwrap_or_default()))?;
    }
    fs::copy("CHANGELOG.md", doc.join("CHANGELOG.md")).map(drop)
}

/// Whose the parts of the binary are. Of an archive that is what its own package says.
fn copyright(archives: &[PathBuf]) -> io::Result<String> {
    let mut out = format!(
        "{}\n{}",
        fs::read_to_string("LICENSE-MIT")?,
        "or the Apache License 2.0: /usr/share/common-licenses/Apache-2.0\n"
    );
    out += "\nThe binary contains these crates, under the licences named:\n\n";
    let tree =
        ["tree", "--package", "xl", "--edges", "normal", "--target", TARGET, "--prefix", "none", "--format", "{p} {l}"];
    let crates = said("cargo", &tree)?;
    let mut crates: Vec<&str> = crates.lines().filter(|l| !l.contains(" (/") && !l.ends_with("(*)")).collect();
    crates.sort_unstable();
    crates.dedup();
    out += &crates.join("\n");
    for a in archives {
        let owner = said("dpkg", &["-S", text(a)?]).or_else(|_| said("dpkg", &["-S", text(&fs::canonicalize(a)?)?]))?;
        let owner = owner.split(':').next().unwrap_or_default();
        out += &format!("\n\n== {} of Debian's {owner}\n\n", a.file_name().unwrap_or_default().to_string_lossy());
        out += &fs::read_to_string(format!("/usr/share/doc/{owner}/copyright"))?;
    }
    Ok(out)
}

/// The package's description of itself; the result is its version.
fn control(root: &Path) -> io::Result<String> {
    let about = said(text(&root.join("usr/bin/xl"))?, &["--version"])?;
    // `xl 0.1.0 (0123456789 2026-11-30)`: the date orders the packages of one version.
    let mut words = about.split_whitespace().skip(1).map(|w| w.trim_matches(['(', ')']));
    let number = words.next().unwrap_or_default();
    let version = match (words.next(), words.next()) {
        (Some(commit), Some(date)) => format!("{number}+{}.{commit}", date.replace('-', "")),
        _ => number.to_owned(),
    };
    let (mut size, mut sums) = (0, String::new());
    let mut files = Vec::new();
    below(root, &mut files)?;
    files.sort();
    for f in &files {
        let name = f.strip_prefix(root).unwrap_or(f);
        let mode = if name.starts_with("usr/bin") { 0o755 } else { 0o644 };
        fs::set_permissions(f, fs::Permissions::from_mode(mode))?;
        size += fs::metadata(f)?.len().div_ceil(1024);
        let sum = said("md5sum", &[text(f)?])?;
        sums += &format!("{}  {}\n", sum.split(' ').next().unwrap_or_default(), name.display());
    }
    let by = said("git", &["log", "-1", "--format=%an <%ae>"]).unwrap_or_else(|_| "nobody <nobody@localhost>".into());
    let debian = root.join("DEBIAN");
    fs::create_dir_all(&debian)?;
    fs::write(debian.join("md5sums"), sums)?;
    fs::write(
        debian.join("control"),
        format!(
            "Package: xl\nVersion: {version}\nArchitecture: amd64\nMaintainer: {}\nInstalled-Size: {size}\nSection: \
                devel\nPriority: optional\n\
             Conflicts: xen-utils-common\nDescription: process-tracing build accelerator\n \
             Wraps an existing build, unchanged: a command whose observed inputs have not\n changed never starts; its outputs are put back from a \
             cache.\n",
            by.trim()
        ),
    )?;
    Ok(version)
}

fn below(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for e in fs::read_dir(dir)? {
        let path = e?.path();
        if path.is_dir() { below(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn text(p: &Path) -> io::Result<&str> {
    p.to_str().ok_or_else(|| io::Error::other(format!("`{}` is no UTF-8", p.display())))
}

/// What a command prints.
fn said(program: &str, args: &[&str]) -> io::Result<String> {
    let failed = |why: String| io::Error::other(format!("`{program} {}` failed: {why}", args.join(" ")));
    let out = Command::new(program).args(args).output().map_err(|e| failed(e.to_string()))?;
    if !out.status.success() {
        return Err(failed(String::from_utf8_lossy(&out.stderr).into_owned()));
    }
    String::from_utf8(out.stdout).map_err(|e| failed(e.to_string()))
}

fn done(c: &mut Command) -> io::Result<()> {
    let program = c.get_program().to_string_lossy().into_owned();
    let status = c.status().map_err(|e| io::Error::other(format!("cannot run `{program}`: {e}")))?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("`{program}` failed: {status}"))) }
}
