//! What `./setup package` makes, on a machine that has nothing but a C library, a shell and make.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs it; what it printed.
fn done(c: &mut Command) -> String {
    let Output { status, stdout, stderr } = c.output().unwrap_or_else(|e| panic!("{c:?}: {e}"));
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{c:?}: {status}: {said}");
    said
}

/// A root file system of the packages that every Debian has, and make. Kept, since it does not change.
fn bare_root() -> PathBuf {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bare");
    let tar = base.join("root.tar");
    if !tar.exists() {
        std::fs::create_dir_all(&base).expect("a directory");
        let part = base.join("part.tar");
        let mut c = Command::new("mmdebstrap");
        done(c.args(["--quiet", "--variant=essential", "--include=make", "bookworm"]).arg(&part));
        std::fs::rename(part, &tar).expect("a new name");
    }
    let root = base.join("root");
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir(&root).expect("a root");
    done(Command::new("tar").arg("-C").arg(&root).arg("-xf").arg(tar));
    root
}

/// A library of the name service: glibc loads it into whoever asks for a user that no file names. With a variable of
/// each thread, as that of systemd has, a statically linked program dies of it.
const NAME_SERVICE: &str = "__thread int asked; int _nss_bare_getpwuid_r(void) { return asked++ < 0; }";

/// What a user does there. `u` is known to no list of users.
const USE: &str = r#"
set -eu
dpkg -i /xl.deb
! ls /usr/lib/*/librocksdb* /usr/lib/*/libstdc++* 2>/dev/null
for page in xl xl-run xl-audit xl-man; do gzip -t /usr/share/man/man1/$page.1.gz; done
for shell in bash-completion/completions/xl zsh/vendor-completions/_xl fish/vendor_completions.d/xl.fish doc/xl/copyright; do test -s /usr/share/$shell; done
xl --version
xl doctor
mkdir /build /home/u
chmod 777 /build /home/u
cd /build
printf 'out: in\n\tseq 1 300000 | sort -r | sed s/1/2/ >out\n' >Makefile
touch in
echo 'passwd: files bare' >/etc/nsswitch.conf
try() {
    "$@" make; sha256sum out >sums; rm out
    "$@" make; sha256sum -c sums; rm out sums
}
HOME=/root try xl run --strict --
test "$(HOME=/root xl cache path)" = /root/.cache/xl
test -n "$(ls /root/.cache/xl)"
u() { chroot --userspec=4242:4242 --skip-chdir / env -i PATH="$PATH" "$@"; }
try u XDG_CACHE_HOME=/home/u xl run --strict --
try u xl run --
try u XL_BACKEND=ptrace XL_CACHE_DIR=/home/u/p xl run --strict --
dpkg -P xl
! ls -d /usr/share/doc/xl /usr/share/man/man1/xl* 2>/dev/null
"#;

#[test]
#[ignore = "builds `xl` once more, and a root file system; part of `cargo xtask long`"]
fn a_bare_machine() {
    if !rustix::process::geteuid().is_root() {
        return crate::world::skip("a root file system is for root");
    }
    let mut c = Command::new(env!("CARGO"));
    let made = c
        .args(["run", "--release", "--quiet", "--package", "xtask", "--", "package"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let made = made.expect("cargo");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made = String::from_utf8(made.stdout).expect("UTF-8");
    let (xl, deb) = made.trim().split_once('\n').expect("two files");
    assert_eq!(done(Command::new(xl).arg("--version")), done(Command::new(env!("CARGO_BIN_EXE_xl")).arg("--version")));
    let root = bare_root();
    std::fs::copy(deb, root.join("xl.deb")).expect("a copy");
    std::fs::write(root.join("use.sh"), USE).expect("a script");
    let source = root.join("bare.c");
    std::fs::write(&source, NAME_SERVICE).expect("a source");
    let library = root.join("usr/lib/x86_64-linux-gnu/libnss_bare.so.2");
    done(Command::new("gcc").args(["-shared", "-fPIC", "-o"]).args([library, source]));
    let text = "mount -t proc proc $0/proc && mount --rbind /sys $0/sys && mount --rbind /dev $0/dev && exec chroot \
        $0 bash /use.sh";
    let mut c = Command::new("unshare");
    let said =
        done(c.args(["--mount", "sh", "-c", text]).arg(&root).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
    // Each second build hits, but for who has nowhere to keep a result.
    let count = |text: &str| said.lines().filter(|l| l.starts_with("xl: ") && l.contains(text)).count();
    assert_eq!(
        (count("1 pip: 0 hits, 1 ran"), count("1 pip: 1 hit, 0 ran"), count("no cache directory")),
        (3, 3, 2),
        "{said}"
    );
}
