//! What makes a command uncacheable before it starts: what it was given, and where it stands.
//!
//! Looks at a held process only. What the user's rules say, and what the command does later, others judge.

use tracer::ExecRequest;
use tracer::{Credentials, Descriptors, FdKind, Inherited, Stdin};

/// The two ends of make's job server, where they are descriptors (GNU make's manual, "POSIX Jobserver Interaction").
fn job_server(env: &[Vec<u8>]) -> Option<[i32; 2]> {
    let flags =
        env.iter().filter_map(|v| v.strip_prefix(b"MAKEFLAGS=").or_else(|| v.strip_prefix(b"CARGO_MAKEFLAGS=")));
    let ends = |word: &str| {
        let (r, w) = word
            .strip_prefix("--jobserver-auth=")
            .or_else(|| word.strip_prefix("--jobserver-fds="))?
            .split_once(',')?;
        Some([r.parse().ok()?, w.parse().ok()?])
    };
    // Of several the last counts.
    flags.filter_map(|v| std::str::from_utf8(v).ok()?.split(' ').rev().find_map(ends)).next_back()
}

/// Why the command of a held process cannot be cached, if so. `born` are the descriptors that `xl` was started with.
pub(crate) fn obstacle(r: &ExecRequest, d: &Descriptors, c: &Credentials, born: &[(i32, Vec<u8>)]) -> Option<String> {
    if !r.shares_our_files() {
        return Some("it runs below another root or with other mounts than xl".into());
    }
    if Credentials::own().is_none_or(|own| own.rights != c.rights) {
        return Some(
            "it is of another user or group than xl, or has other capabilities: it may not be allowed the same".into(),
        );
    }
    if let (FdKind::Regular { dev, ino, .. }, FdKind::Regular { dev: d2, ino: i2, .. }) =
        (&d.stdout.kind, &d.stderr.kind)
        && (dev, ino) == (d2, i2)
        && !d.shared
    {
        return Some("its standard output and error are one file, opened twice".into());
    }
    if [&d.stdout, &d.stderr].iter().any(|o| matches!(o.kind, FdKind::Regular { inside: true, .. })) {
        return Some("its output goes into a file that has more behind the place".into());
    }
    for (name, o) in [("output", &d.stdout), ("error output", &d.stderr)] {
        if o.kind == FdKind::Device {
            return Some(format!("its standard {name} is a device"));
        }
    }
    if matches!(d.stdin, Stdin::Regular { writable: true, .. }) {
        return Some("it may write to the file that is its standard input".into());
    }
    let job_server = job_server(&r.env).filter(|fds| fds.iter().all(|fd| d.others.iter().any(|i| i.fd == *fd)));
    // ninja leaves a pipe open in its console jobs, to learn of their end.
    let console = || r.process.parent_name().is_some_and(|n| matches!(&n[..], b"ninja" | b"samu"));
    for Inherited { fd, link, file } in &d.others {
        let pipe = link.starts_with(b"pipe:") || link.starts_with(b"/dev/fd/");
        let null = link == b"/dev/null";
        // What `xl` itself was born with belongs to whoever called it, not to the build; using it is an escape.
        let ours = born.iter().any(|(n, l)| n == fd && l == link);
        let slots = job_server.is_some_and(|fds| fds.contains(fd));
        if !(null || ours || file.is_some() || pipe && (slots || console())) {
            return Some(format!("it inherits descriptor {fd} (`{}`)", cache::shown(link)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_job_server_counts() {
        let env = |v: &[&str]| v.iter().map(|s| s.as_bytes().to_vec()).collect::<Vec<_>>();
        for (given, want) in [
            (&["MAKEFLAGS= -j2 --jobserver-auth=3,4"][..], Some([3, 4])),
            (&["MAKEFLAGS=--jobserver-fds=5,6 -j"], Some([5, 6])),
            (&["MAKEFLAGS=--jobserver-auth=3,4 --jobserver-auth=7,8"], Some([7, 8])),
            (&["MAKEFLAGS=--jobserver-auth=3,4", "CARGO_MAKEFLAGS=--jobserver-auth=9,10"], Some([9, 10])),
            (&["MAKEFLAGS=--jobserver-auth=fifo:/tmp/x"], None),
            (&["PATH=/bin"], None),
        ] {
            assert_eq!(job_server(&env(given)), want, "{given:?}");
        }
    }
}
