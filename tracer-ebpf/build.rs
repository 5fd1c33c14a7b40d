//! Compiles the programs with clang, and makes the two forms of the record layout from its one definition.
//!
//! Without a clang that knows the target `bpf` the crate builds all the same, without programs: [`OBJECT`] is then
//! `None`, and `WHY_NOT` says why.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/bpf");
    println!("cargo::rerun-if-changed=src/layout.txt");
    println!("cargo::rerun-if-env-changed=XL_BPF_CLANG");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let (c, rust) = layout(&std::fs::read_to_string("src/layout.txt").expect("the layout"));
    std::fs::write(out.join("layout.h"), c).expect("a writable build directory");
    std::fs::write(out.join("layout.rs"), rust).expect("a writable build directory");
    let kernel = std::fs::read_to_string("src/bpf/kernel.h").expect("what the programs use of the kernel");
    std::fs::write(out.join("kernel.rs"), structures(&kernel)).expect("a writable build directory");
    let object = out.join("observer.bpf.o");
    let text = match compile(&object, &out) {
        Ok(()) => format!(
            "/// The compiled programs.\npub const OBJECT: Option<&[u8]> = Some(&Aligned(*include_bytes!({object:?})).0);\n\
             /// Why there are none.\npub const WHY_NOT: &str = \"\";\n"
        ),
        Err(why) => {
            println!("cargo::warning=no eBPF backend in this build: {why}");
            format!(
                "/// The compiled programs.\npub const OBJECT: Option<&[u8]> = None;\n/// Why there are none.\npub const WHY_NOT: &str = {why:?};\n"
            )
        }
    };
    std::fs::write(out.join("object.rs"), text).expect("a writable build directory");
}

/// Tries one clang after the other.
fn compile(object: &Path, include: &Path) -> Result<(), String> {
    let chosen = std::env::var("XL_BPF_CLANG").ok();
    let names = chosen.iter().map(String::as_str).chain(["clang", "clang-19", "clang-16", "clang-14"]);
    let mut why = String::from("no clang was found (Debian: apt-get install clang)");
    for clang in names.take(if chosen.is_some() { 1 } else { usize::MAX }) {
        let tried = Command::new(clang)
            .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror", "-Wno-unused-function"])
            // The same bytes wherever it is built.
            .args(["-fdebug-compilation-dir=.", "-fno-ident"])
            .arg(format!("-ffile-prefix-map={}=.", include.display()))
            .arg("-I")
            .arg(include)
            .args(["-c", "src/bpf/observer.bpf.c", "-o"])
            .arg(object)
            .output();
        match tried {
            Ok(o) if o.status.success() => return Ok(()),
            Ok(o) => {
                why = format!("`{clang}` cannot compile the programs: {}", String::from_utf8_lossy(&o.stderr).trim())
            }
            Err(_) => {}
        }
    }
    Err(why)
}

/// The structures that the programs look into, each in a line that begins with its name.
fn structures(kernel: &str) -> String {
    let names: Vec<&str> =
        kernel.lines().filter_map(|l| l.strip_prefix("struct ")?.split_once(" {")).map(|(name, _)| name).collect();
    format!(
        "/// The structures of the kernel's that the programs look into.\npub const KERNEL_STRUCTURES: &[&str] = &{names:?};\n"
    )
}

/// C and Rust from the definition. In Rust each structure is read from and written to bytes, field by field.
fn layout(text: &str) -> (String, String) {
    let (mut c, mut rust) = (String::new(), String::new());
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut name = String::new();
    let close = |name: &mut String, fields: &mut Vec<(String, String)>, c: &mut String, rust: &mut String| {
        if name.is_empty() {
            return;
        }
        c.push_str("};\n");
        rust.push_str("}\n");
        let size: usize = fields.iter().map(|(_, t)| width(t)).sum();
        assert!(size.is_multiple_of(8), "{name} would be padded");
        let camel = camel(name);
        let _ = write!(rust, "impl {camel} {{\n/// Bytes that one takes.\npub const SIZE: usize = {size};\n");
        let _ = write!(
            rust,
            "/// `None` when there are too few bytes.\npub fn read(b: &[u8]) -> Option<Self> {{\nSome(Self {{\n"
        );
        let mut at = 0;
        for (f, t) in fields.iter() {
            let end = at + width(t);
            let _ = writeln!(rust, "{f}: {t}::from_ne_bytes(b.get({at}..{end})?.try_into().ok()?),");
            at = end;
        }
        rust.push_str("})\n}\n/// As the programs see it.\npub fn bytes(&self) -> [u8; Self::SIZE] {\nlet mut b = [0; Self::SIZE];\n");
        let mut at = 0;
        for (f, t) in fields.iter() {
            let end = at + width(t);
            let _ = writeln!(rust, "b[{at}..{end}].copy_from_slice(&self.{f}.to_ne_bytes());");
            at = end;
        }
        rust.push_str("b\n}\n}\n");
        name.clear();
        fields.clear();
    };
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match first {
            "struct" => {
                close(&mut name, &mut fields, &mut c, &mut rust);
                name = second.to_owned();
                let _ = writeln!(c, "struct {name} {{");
                let meaning = words.collect::<Vec<_>>().join(" ");
                let _ = write!(
                    rust,
                    "/// {meaning}\n#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]\npub struct {} {{\n",
                    camel(&name)
                );
            }
            "const" => {
                close(&mut name, &mut fields, &mut c, &mut rust);
                let value = words.next().unwrap_or_default();
                let meaning = words.collect::<Vec<_>>().join(" ");
                let _ = writeln!(c, "#define {second} {value}");
                let _ = writeln!(rust, "/// {meaning}\npub const {second}: u32 = {value};");
            }
            field => {
                let meaning = words.collect::<Vec<_>>().join(" ");
                let _ = writeln!(c, "\t{second} {field};");
                let _ = writeln!(rust, "/// {meaning}\npub {field}: {second},");
                fields.push((field.to_owned(), second.to_owned()));
            }
        }
    }
    close(&mut name, &mut fields, &mut c, &mut rust);
    (c, rust)
}

fn width(kind: &str) -> usize {
    match kind {
        "u64" => 8,
        "u32" | "i32" => 4,
        other => panic!("unknown type {other} in the layout"),
    }
}

fn camel(name: &str) -> String {
    let mut c = name.chars();
    c.next().map(|f| f.to_uppercase().chain(c).collect()).unwrap_or_default()
}
