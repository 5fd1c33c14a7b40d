//! Connections: to a host and port, or to a socket. Names are looked up by `getent`, a program of the machine: `xl` may
//! be linked statically, and then cannot load what the name service needs.

use crate::address::Address;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

pub(crate) enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! of_both {
    ($self:ident, $s:ident, $call:expr) => {
        match $self.get_mut() {
            Wire::Tcp($s) => $call,
            Wire::Unix($s) => $call,
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, b: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        of_both!(self, s, Pin::new(s).poll_read(cx, b))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> {
        of_both!(self, s, Pin::new(s).poll_write(cx, b))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_both!(self, s, Pin::new(s).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_both!(self, s, Pin::new(s).poll_shutdown(cx))
    }
}

pub(crate) async fn dial(to: &Address) -> io::Result<Wire> {
    let (host, port) = match to {
        Address::Socket(path) => return UnixStream::connect(path).await.map(Wire::Unix),
        Address::Server { host, port, .. } => (host.clone(), *port),
        Address::Directory(_) => return Err(io::ErrorKind::Unsupported.into()),
    };
    let name = host.clone();
    let all = match tokio::task::spawn_blocking(move || look_up(&host)).await {
        Ok(all) => all?,
        Err(e) => return Err(io::Error::other(e)),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("no host is called `{name}`"));
    for ip in all {
        let socket = if ip.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let connected = match socket {
            Ok(s) => s.connect(SocketAddr::new(ip, port)).await,
            Err(e) => Err(e),
        };
        match connected {
            Ok(s) => {
                s.set_nodelay(true)?;
                return Ok(Wire::Tcp(s));
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    if host == "localhost" {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    // getent(1): an address, the kind of socket, a name.
    let answer = std::process::Command::new("getent").args(["ahosts", "--", host]).output()?;
    Ok(addresses(&String::from_utf8_lossy(&answer.stdout)))
}

fn addresses(answer: &str) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    for ip in answer.lines().filter_map(|l| l.split_whitespace().next()?.parse().ok()) {
        if !all.contains(&ip) {
            all.push(ip);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_getent_says() {
        let answer =
            "127.0.0.1       STREAM host\n127.0.0.1       DGRAM  \n::1             STREAM \nfe80::1%eth0 STREAM\n";
        assert_eq!(addresses(answer), ["127.0.0.1", "::1"].map(|a| a.parse::<IpAddr>().unwrap()));
        assert_eq!(look_up("::1").unwrap().len(), 1);
    }
}
