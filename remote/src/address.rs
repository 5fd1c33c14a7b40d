//! Where a remote cache is: `file:///dir`, `grpc://host:port/instance`, `grpcs://…`, `unix:/path`.

use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Directory(PathBuf),
    Server { tls: bool, host: String, port: u16, instance: String },
    Socket(PathBuf),
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAddress(pub String);

impl std::fmt::Display for NoAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoAddress {}

const FORMS: &str = "write file:///directory, grpc://host:port, grpcs://host or unix:/socket";

impl std::str::FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let wrong = |why: &str| NoAddress(format!("{why}: {FORMS}"));
        if let Some(path) = text.strip_prefix("file:") {
            // RFC 8089: `file:///a`, `file://localhost/a`, `file:/a`.
            let path = path.strip_prefix("//localhost").or_else(|| path.strip_prefix("//")).unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(Self::Directory(path.into())),
                false => Err(wrong("the directory of a file: address begins with a slash")),
            };
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Socket(path.strip_prefix("//").unwrap_or(path).into()));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("no address"))?;
        let tls = match scheme {
            "grpc" | "http" => false,
            "grpcs" | "https" => true,
            _ => return Err(wrong("unknown kind of address")),
        };
        let (place, instance) = rest.split_once('/').unwrap_or((rest, ""));
        if place.contains('@') {
            return Err(NoAddress("no password in an address, please: use `headers`".into()));
        }
        let (host, port) =
            match place.rsplit_once(':').filter(|(host, _)| !host.ends_with(':') && !place.ends_with(']')) {
                Some((host, port)) => (host, port.parse().map_err(|_| wrong("that is no port"))?),
                None => (place, if tls { 443 } else { 80 }),
            };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("there is no host in it"));
        }
        Ok(Self::Server { tls, host: host.to_owned(), port, instance: instance.trim_matches('/').to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let server = |tls, host: &str, port, instance: &str| {
            Ok(Address::Server { tls, host: host.into(), port, instance: instance.into() })
        };
        for (text, expected) in [
            ("file:///mnt/share/xl", Ok(Address::Directory("/mnt/share/xl".into()))),
            ("file:/a", Ok(Address::Directory("/a".into()))),
            ("unix:/run/xl.sock", Ok(Address::Socket("/run/xl.sock".into()))),
            ("unix:///run/xl.sock", Ok(Address::Socket("/run/xl.sock".into()))),
            ("grpc://localhost:8980", server(false, "localhost", 8980, "")),
            ("grpc://localhost:8980/team/a/", server(false, "localhost", 8980, "team/a")),
            ("grpcs://cache.example.com", server(true, "cache.example.com", 443, "")),
            ("grpc://[::1]:80/i", server(false, "::1", 80, "i")),
            ("grpc://[::1]", server(false, "::1", 80, "")),
        ] {
            assert_eq!(text.parse::<Address>(), expected, "{text}");
        }
        for bad in ["", "/dir", "file:dir", "ftp://x", "grpc://", "grpc://h:x", "grpc://me:secret@host:1"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
