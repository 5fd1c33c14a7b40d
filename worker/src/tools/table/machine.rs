//! Programs that say what the machine does, what time it is, or something random.

use super::super::arguments::says;
use super::super::base_name;
use super::super::row::Class::Utility;
use super::super::row::{Tool, Uname, tool};

const RANDOM_KEYS: &str = "it makes random keys";
const MOUNTED: &str = "it asks what is mounted";
const PROCESSES: &str = "it looks at other processes";
const NAME: &str = "it tells a name of the machine that is not tracked";

pub(super) const ROWS: &[Tool] = &[
    tool(&["date", "uptime"])
        .never_the_same("it tells the time")
        .why("date(1), uptime(1): they read the clock, which no call shows"),
    tool(&["uuidgen"]).never_the_same("it makes random identifiers").why("uuidgen(1): random, or of the time"),
    tool(&["mcookie"]).never_the_same("it makes random numbers").why("mcookie(1): 128 random bits"),
    tool(&["ssh-keygen"]).never_the_same(RANDOM_KEYS).why("ssh-keygen(1): a new pair of keys each time"),
    tool(&["who", "w"])
        .never_the_same("it tells who is there")
        .why("who(1), w(1): they read utmp, which logins change"),
    tool(&["last"]).never_the_same("it tells who was there").why("last(1): it reads wtmp, which logins change"),
    tool(&["df"])
        .never_the_same("it tells how much room is left")
        .why("df(1): statfs(2) of file systems that everybody fills"),
    tool(&["du"])
        .never_the_same("it tells how much room files take")
        .why("du(1): blocks depend on how a file was written"),
    tool(&["free"]).never_the_same("it tells how much memory is left").why("free(1): it reads /proc/meminfo"),
    tool(&["vmstat", "dmesg"])
        .never_the_same("it tells what the machine does")
        .why("vmstat(8), dmesg(1): counters and messages of the kernel"),
    tool(&["mountpoint", "mount", "findmnt", "lsblk"])
        .never_the_same(MOUNTED)
        .why("mountpoint(1), mount(8), findmnt(8), lsblk(8): what is mounted is no file"),
    tool(&["uname"]).uname(names).minds_owners(|_| false).why("uname(1): what its options ask for"),
    tool(&["arch"]).uname(|_| Uname::SYSTEM).minds_owners(|_| false).why("arch(1): as `uname -m`"),
    tool(&["hostname"])
        .uname(|argv| if argv.len() == 1 || says(argv, &["-s"]) { Uname::HOST } else { Uname::ALL })
        .minds_owners(|_| false)
        .why("hostname(1): other options ask services"),
    tool(&["nproc"]).minds_owners(|_| false).why("nproc(1): it tells the number of processors"),
    tool(&["domainname", "nisdomainname"]).never_the_same(NAME).why("domainname(1): uname(2) is a fact without it"),
    tool(&["lsattr"]).never_the_same("it tells attributes that are not tracked").why("lsattr(1): FS_IOC_GETFLAGS"),
    tool(&["ss", "netstat", "lsof", "top", "ps", "pgrep"])
        .never_the_same(PROCESSES)
        .why("ss(8), netstat(8), lsof(8), top(1), ps(1), pgrep(1): they read /proc of others"),
    tool(&["pkill", "kill"])
        .never_the_same("it signals other processes")
        .why("pkill(1), kill(1): what they do to others is no file"),
    tool(&["nohup", "timeout", "stdbuf"])
        .class(Utility)
        .variables(&["PATH", "HOME"])
        .minds_terminal(|argv| base_name(&argv[0]) == b"nohup")
        .why("coreutils' manual, \"Modified command invocation\": what they start reads the rest; `nohup` asks for terminals"),
    tool(&["nice"])
        .class(Utility)
        .variables(&["PATH"])
        .asks_for_now(|argv| (argv.len() == 1).then_some("it tells its own priority"))
        .why("nice(1): without a command it prints the niceness"),
    tool(&["openssl"])
        .asks_for_now(|argv| {
            const MAKES: &[&str] = &["rand", "genrsa", "genpkey", "req", "ecparam", "dhparam", "dsaparam", "gendsa"];
            says(argv, MAKES).then_some(RANDOM_KEYS)
        })
        .why("openssl(1): the commands that make keys or random bytes"),
    tool(&["gpg", "gpg2"])
        .asks_for_now(|argv| {
            const SIGNS: &[&str] =
                &["-s", "-c", "-e", "--sign", "--clearsign", "--detach-sign", "--encrypt", "--symmetric", "-b", "-sb"];
            says(argv, SIGNS).then_some("it signs with the time, or encrypts with a random key")
        })
        .why("gpg(1), \"Commands\": a signature has its time, a session key is random"),
];

/// uname(1), but for what it does not know itself.
fn names(argv: &[Vec<u8>]) -> Uname {
    let letter = |c: u8| match c {
        b's' | b'm' | b'p' | b'i' => Uname::SYSTEM,
        b'n' => Uname::HOST,
        b'r' => Uname::RELEASE,
        b'v' => Uname::VERSION,
        b'o' => Uname::NONE,
        _ => Uname::ALL,
    };
    let word = |w: &[u8]| match w {
        b"--kernel-name" | b"--machine" | b"--processor" | b"--hardware-platform" => Uname::SYSTEM,
        b"--nodename" => Uname::HOST,
        b"--kernel-release" => Uname::RELEASE,
        b"--kernel-version" => Uname::VERSION,
        b"--operating-system" => Uname::NONE,
        [b'-', letters @ ..] if !letters.is_empty() && !w.starts_with(b"--") => {
            letters.iter().map(|c| letter(*c)).fold(Uname::NONE, Uname::and)
        }
        _ => Uname::ALL,
    };
    // Without options it tells the kind of the kernel.
    argv.iter().skip(1).map(|w| word(w)).reduce(Uname::and).unwrap_or(Uname::SYSTEM)
}
