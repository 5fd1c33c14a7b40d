//! A server of the Remote Execution API, as a client sees it: its capabilities first, then batches up to the size that
//! it advertises, streams for what is longer.
//!
//! Each call has a time of its own, which grows with what it moves; a stream also ends when nothing has come for a
//! while. All runs on one thread of this connection's runtime; who asks waits on a thread of its own.

use crate::address::Address;
use crate::dial::dial;
use crate::name::Name;
use crate::peer::{Peer, Sending};
use crate::proto::*;
use cache::tier::{Failure, Sink, Source};
use cache::{Class, Digest as Ours, Error, Result};
use std::collections::HashMap;
use std::future::Future;
use std::io::{self, Read};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{AsciiMetadataKey, MetadataMap};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request};

/// For a call that moves little.
const SHORT: Duration = Duration::from_secs(2);
/// Whoever moves fewer bytes in a second is too slow.
const SLOWEST: u64 = 512 << 10;
/// What is taken for granted about a server that says nothing.
const USUAL_BATCH: u64 = 4 << 20;
/// Contents that are read at once. More would take too long to wait for.
const READ_BATCH: u64 = 1 << 20;
/// What a message holds besides contents.
const MARGIN: u64 = 64 << 10;
/// The longest message that is taken.
const LONGEST: usize = 64 << 20;
/// Digests in one question.
const QUESTION: usize = 500;
/// Calls at once.
const AT_ONCE: usize = 32;
const CHUNK: usize = 256 << 10;

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    pub low: String,
    pub high: String,
    pub functions: Vec<String>,
    pub batch: u64,
    /// It takes rows.
    pub updates: bool,
}

pub struct Grpc {
    runtime: Runtime,
    wire: Wire,
    facts: Facts,
}

/// What all calls need.
#[derive(Clone)]
struct Wire {
    channel: Channel,
    instance: String,
    headers: MetadataMap,
}

fn time_for(bytes: u64) -> Duration {
    SHORT + Duration::from_millis(bytes * 1000 / SLOWEST)
}

fn refused(message: impl Into<String>) -> Error {
    Error::Remote { class: Class::Refused, message: message.into() }
}

/// An answer that is none, as an error of the cache.
fn error(code: Code, message: &str) -> Error {
    let class = match code {
        Code::NotFound => Class::Absent,
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::Unimplemented
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::OutOfRange => Class::Refused,
        Code::DataLoss => Class::Corrupt,
        _ => Class::Unavailable,
    };
    Error::Remote { class, message: format!("{}: {message}", code.description()) }
}

fn status(s: &tonic::Status) -> Error {
    let mut why = s.message().to_owned();
    let mut source = std::error::Error::source(s);
    while let Some(e) = source {
        let text = e.to_string();
        if !why.contains(&text) {
            why = format!("{why}: {text}");
        }
        source = e.source();
    }
    error(s.code(), &why)
}

impl Wire {
    fn request<T>(&self, message: T, time: Duration) -> Request<T> {
        let mut r = Request::new(message);
        *r.metadata_mut() = self.headers.clone();
        r.set_timeout(time);
        r
    }

    async fn row(self, name: Name) -> Result<Option<ActionResult>> {
        let ask = GetActionResultRequest {
            instance_name: self.instance.clone(),
            action_digest: Some(name.wire()),
            inline_stdout: true,
            digest_function: DigestFunction::Sha256 as i32,
            ..Default::default()
        };
        let ask = self.request(ask, SHORT);
        let mut client = ActionCacheClient::new(self.channel).max_decoding_message_size(LONGEST);
        match within(SHORT, client.get_action_result(ask)).await {
            Ok(row) => Ok(Some(row)),
            Err(e) if e.class() == Class::Absent => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn put_row(self, name: Name, row: ActionResult) -> Result<()> {
        let put = UpdateActionResultRequest {
            instance_name: self.instance.clone(),
            action_digest: Some(name.wire()),
            action_result: Some(row),
            digest_function: DigestFunction::Sha256 as i32,
            ..Default::default()
        };
        let put = self.request(put, SHORT);
        let mut client = ActionCacheClient::new(self.channel).max_encoding_message_size(LONGEST);
        within(SHORT, client.update_action_result(put)).await.map(drop)
    }

    fn contents(&self) -> ContentAddressableStorageClient<Channel> {
        ContentAddressableStorageClient::new(self.channel.clone())
            .max_decoding_message_size(LONGEST)
            .max_encoding_message_size(LONGEST)
    }

    async fn missing(self, names: Vec<Name>) -> Result<Vec<Name>> {
        let ask = FindMissingBlobsRequest {
            instance_name: self.instance.clone(),
            blob_digests: names.iter().map(Name::wire).collect(),
            digest_function: DigestFunction::Sha256 as i32,
        };
        let answer = within(SHORT, self.contents().find_missing_blobs(self.request(ask, SHORT))).await?;
        Ok(answer.missing_blob_digests.iter().filter_map(Name::read).collect())
    }

    async fn read_batch(self, names: Vec<Name>) -> Result<BatchReadBlobsResponse> {
        let time = time_for(names.iter().map(|n| n.size).sum());
        let ask = BatchReadBlobsRequest {
            instance_name: self.instance.clone(),
            digests: names.iter().map(Name::wire).collect(),
            digest_function: DigestFunction::Sha256 as i32,
            ..Default::default()
        };
        within(time, self.contents().batch_read_blobs(self.request(ask, time))).await
    }

    async fn write_batch(self, batch: Vec<(Name, Vec<u8>)>) -> Result<BatchUpdateBlobsResponse> {
        let time = time_for(batch.iter().map(|(n, _)| 2 * n.size).sum());
        let one = |(n, data): (Name, Vec<u8>)| batch_update_blobs_request::Request {
            digest: Some(n.wire()),
            data,
            ..Default::default()
        };
        let put = BatchUpdateBlobsRequest {
            instance_name: self.instance.clone(),
            requests: batch.into_iter().map(one).collect(),
            digest_function: DigestFunction::Sha256 as i32,
        };
        within(time, self.contents().batch_update_blobs(self.request(put, time))).await
    }

    fn resource(&self, middle: &str, name: &Name) -> String {
        let instance = if self.instance.is_empty() { String::new() } else { format!("{}/", self.instance) };
        format!("{instance}{middle}blobs/{}/{}", name.hash.hex(), name.size)
    }

    /// Passes the pieces of a content on as they come.
    async fn read_stream(self, name: Name, to: mpsc::Sender<io::Result<Vec<u8>>>) {
        let time = time_for(name.size);
        let ask = ReadRequest { resource_name: self.resource("", &name), ..Default::default() };
        let mut client = ByteStreamClient::new(self.channel.clone()).max_decoding_message_size(LONGEST);
        let all = async {
            let mut pieces = client.read(self.request(ask, time)).await?.into_inner();
            loop {
                match tokio::time::timeout(SHORT, pieces.message()).await {
                    Err(_) => return Err(tonic::Status::deadline_exceeded("nothing comes any more")),
                    Ok(piece) => match piece? {
                        None => return Ok(()),
                        Some(p) => {
                            if to.send(Ok(p.data)).await.is_err() {
                                return Ok(());
                            }
                        }
                    },
                }
            }
        };
        let done = tokio::time::timeout(time, all).await;
        let done = done.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("it took too long")));
        if let Err(s) = done {
            let kind = if s.code() == Code::NotFound { io::ErrorKind::NotFound } else { io::ErrorKind::TimedOut };
            let _ = to.send(Err(io::Error::new(kind, status(&s).to_string()))).await;
        }
    }

    async fn write_stream(self, name: Name, upload: String, pieces: mpsc::Receiver<WriteRequest>) -> Result<()> {
        let time = time_for(2 * name.size);
        let resource = self.resource(&format!("uploads/{upload}/"), &name);
        let mut first = Some(resource);
        let pieces = tokio_stream::StreamExt::map(ReceiverStream::new(pieces), move |mut p| {
            p.resource_name = first.take().unwrap_or_default();
            p
        });
        let mut client = ByteStreamClient::new(self.channel.clone());
        within(time, client.write(self.request(pieces, time))).await.map(drop)
    }
}

/// An answer, if it comes in time.
async fn within<T>(time: Duration, call: impl Future<Output = tonic::Result<tonic::Response<T>>>) -> Result<T> {
    match tokio::time::timeout(time, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(s)) => Err(status(&s)),
        Err(_) => Err(crate::peer::unavailable(format!("no answer in {:.0} s", time.as_secs_f64()))),
    }
}

/// All answers, in the order of the questions.
async fn all<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
    calls: impl Iterator<Item = F>,
) -> Result<Vec<T>> {
    let mut running = JoinSet::new();
    let mut found = Vec::new();
    let mut take = |done: Option<std::result::Result<(usize, Result<T>), tokio::task::JoinError>>| match done {
        Some(Ok((i, answer))) => {
            found.push((i, answer?));
            Ok(())
        }
        Some(Err(e)) => Err(crate::peer::unavailable(e.to_string())),
        None => Ok(()),
    };
    for (i, call) in calls.enumerate() {
        if running.len() >= AT_ONCE {
            take(running.join_next().await)?;
        }
        running.spawn(async move { (i, call.await) });
    }
    while !running.is_empty() {
        take(running.join_next().await)?;
    }
    found.sort_by_key(|(i, _)| *i);
    Ok(found.into_iter().map(|(_, t)| t).collect())
}

/// A content as its pieces come.
struct Pieces {
    from: mpsc::Receiver<io::Result<Vec<u8>>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Read for Pieces {
    fn read(&mut self, b: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.piece.read(b)?;
            if n > 0 || b.is_empty() {
                return Ok(n);
            }
            match self.from.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.piece = io::Cursor::new(piece?),
            }
        }
    }
}

impl Grpc {
    /// Connects, and asks what the server can do.
    pub fn connect(to: &Address, headers: &[(String, String)]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("xl-remote")
            .enable_all()
            .build()
            .map_err(|e| crate::peer::unavailable(e.to_string()))?;
        let (scheme, instance, authority) = match to {
            Address::Server { tls, host, port, instance } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                (if *tls { "https" } else { "http" }, instance.clone(), format!("{host}:{port}"))
            }
            _ => ("http", String::new(), "localhost".to_owned()),
        };
        let wrong = |e: tonic::transport::Error| refused(e.to_string());
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{authority}"))
            .map_err(wrong)?
            .connect_timeout(SHORT)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .user_agent("xl")
            .map_err(wrong)?;
        if scheme == "https" {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(wrong)?;
        }
        let mut all = MetadataMap::new();
        for (name, value) in headers {
            let key = AsciiMetadataKey::from_bytes(name.as_bytes());
            let (Ok(key), Ok(value)) = (key, value.parse()) else {
                return Err(refused(format!("`{name}` cannot be sent as a header")));
            };
            all.insert(key, value);
        }
        let to = to.clone();
        let connector = tower::service_fn(move |_: tonic::codegen::http::Uri| {
            let to = to.clone();
            async move { dial(&to).await.map(hyper_util::rt::TokioIo::new) }
        });
        let channel = {
            let _inside = runtime.enter();
            endpoint.connect_with_connector_lazy(connector)
        };
        let wire = Wire { channel, instance, headers: all };
        let facts = runtime.block_on(facts(&wire))?;
        if !facts.functions.iter().any(|f| f == "SHA256") {
            return Err(refused("it does not know SHA-256"));
        }
        Ok(Self { runtime, wire, facts })
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Contents of which as many go into one message as fit, and those that fit into none.
    fn batches<T>(&self, all: Vec<(u64, T)>, most: u64) -> (Vec<Vec<T>>, Vec<T>) {
        let most = self.facts.batch.min(most).saturating_sub(MARGIN.min(self.facts.batch / 8));
        let (mut batches, mut long): (Vec<Vec<T>>, Vec<T>) = (Vec::new(), Vec::new());
        let mut room = 0;
        for (size, one) in all {
            // What names a content takes some bytes, too.
            let size = size + 200;
            if size > most {
                long.push(one);
                continue;
            }
            match batches.last_mut() {
                Some(b) if size <= room && b.len() < QUESTION => b.push(one),
                _ => {
                    batches.push(vec![one]);
                    room = most;
                }
            }
            room -= size;
        }
        (batches, long)
    }

    fn read_long(&self, digest: &Ours, name: Name, sink: &dyn Sink) -> Result<()> {
        let (to, from) = mpsc::channel(4);
        let task = self.runtime.spawn(self.wire.clone().read_stream(name, to));
        let received = sink.receive(digest, &mut Pieces { from, piece: io::Cursor::default() });
        task.abort();
        received
    }

    fn write_long(&self, s: &Sending<'_>) -> Result<()> {
        let (to, pieces) = mpsc::channel(4);
        let id = upload_id(&s.name);
        let call = self.runtime.spawn(self.wire.clone().write_stream(s.name, id, pieces));
        let broken = |source| Error::Io { operation: "read", path: "a content".into(), source };
        let mut from = s.upload.source.open()?;
        let mut offset = 0;
        while offset < s.name.size {
            let mut data = vec![0; CHUNK.min(usize::try_from(s.name.size - offset).unwrap_or(CHUNK))];
            from.read_exact(&mut data).map_err(broken)?;
            let write_offset = i64::try_from(offset).unwrap_or(i64::MAX);
            offset += data.len() as u64;
            let piece = WriteRequest { write_offset, finish_write: offset == s.name.size, data, ..Default::default() };
            // A server that has it already wants no more, and neither does one that fails.
            if to.blocking_send(piece).is_err() {
                break;
            }
        }
        drop(to);
        self.runtime.block_on(call).unwrap_or_else(|e| Err(crate::peer::unavailable(e.to_string())))
    }
}

/// A name for an upload, as an UUID is written: nobody else has the same at the same time.
fn upload_id(name: &Name) -> String {
    let seed = format!("{} {} {:?}", name.hash.hex(), std::process::id(), std::time::SystemTime::now());
    let h = Ours::of(seed.as_bytes()).hex();
    format!("{}-{}-4{}-8{}-{}", &h[..8], &h[8..12], &h[13..16], &h[17..20], &h[20..32])
}

async fn facts(wire: &Wire) -> Result<Facts> {
    let ask = GetCapabilitiesRequest { instance_name: wire.instance.clone() };
    let answer =
        within(SHORT, CapabilitiesClient::new(wire.channel.clone()).get_capabilities(wire.request(ask, SHORT))).await?;
    let version = |v: Option<SemVer>| v.map_or_else(|| "?".to_owned(), |v| format!("{}.{}", v.major, v.minor));
    let of_cache = answer.cache_capabilities.unwrap_or_default();
    let function = |f: &i32| DigestFunction::try_from(*f).map_or_else(|_| f.to_string(), |f| f.as_str_name().into());
    Ok(Facts {
        low: version(answer.low_api_version),
        high: version(answer.high_api_version),
        functions: of_cache.digest_functions.iter().map(function).collect(),
        batch: u64::try_from(of_cache.max_batch_total_size_bytes).ok().filter(|n| *n > 0).unwrap_or(USUAL_BATCH),
        updates: of_cache.action_cache_update_capabilities.is_some_and(|u| u.update_enabled),
    })
}

impl Peer for Grpc {
    fn rows(&self, names: &[Name]) -> Result<Vec<Option<ActionResult>>> {
        self.runtime.block_on(all(names.iter().map(|n| self.wire.clone().row(*n))))
    }

    fn put_rows(&self, rows: &[(Name, ActionResult)]) -> Result<()> {
        let calls = rows.iter().map(|(n, row)| self.wire.clone().put_row(*n, row.clone()));
        self.runtime.block_on(all(calls)).map(drop)
    }

    fn put_first(&self, name: &Name, row: ActionResult) -> Result<ActionResult> {
        self.put_rows(&[(*name, row.clone())])?;
        Ok(self.rows(&[*name])?.pop().flatten().unwrap_or(row))
    }

    fn missing(&self, names: &[Name]) -> Result<Vec<Name>> {
        let calls = names.chunks(QUESTION).map(|part| self.wire.clone().missing(part.to_vec()));
        Ok(self.runtime.block_on(all(calls))?.concat())
    }

    fn read(&self, wanted: &[(Ours, Name)], sink: &dyn Sink) -> Result<Vec<Failure>> {
        let mut failed = Vec::new();
        let mut digests: HashMap<Name, Vec<Ours>> = HashMap::new();
        for (d, n) in wanted {
            digests.entry(*n).or_default().push(*d);
        }
        let mut fail = |digest: Ours, error: Error| failed.push(Failure { digest, error });
        let once: Vec<(u64, Name)> = digests.keys().map(|n| (n.size, *n)).collect();
        let (batches, long) = self.batches(once, READ_BATCH);
        for answer in self.runtime.block_on(all(batches.into_iter().map(|b| self.wire.clone().read_batch(b))))? {
            for one in answer.responses {
                let Some(name) = one.digest.as_ref().and_then(Name::read) else { continue };
                let of = one.status.unwrap_or_default();
                for digest in digests.remove(&name).unwrap_or_default() {
                    let received = match Code::from(of.code) {
                        Code::Ok => sink.receive(&digest, &mut &*one.data),
                        Code::NotFound => Err(Error::Absent { digest }),
                        code => Err(error(code, &of.message)),
                    };
                    received.err().into_iter().for_each(|e| fail(digest, e));
                }
            }
        }
        for name in long {
            for digest in digests.remove(&name).unwrap_or_default() {
                self.read_long(&digest, name, sink).err().into_iter().for_each(|e| fail(digest, e));
            }
        }
        // What nobody said anything about.
        digests.into_values().flatten().for_each(|digest| fail(digest, Error::Absent { digest }));
        Ok(failed)
    }

    fn write(&self, batch: &[Sending<'_>]) -> Result<Vec<Failure>> {
        let mut failed = Vec::new();
        let (batches, long) = self.batches(batch.iter().map(|s| (s.name.size, s)).collect(), USUAL_BATCH);
        for part in batches {
            let mut contents = Vec::new();
            for s in &part {
                let mut bytes = Vec::new();
                let read = match &s.upload.source {
                    Source::Bytes(b) => {
                        bytes.extend_from_slice(b);
                        Ok(())
                    }
                    source => source.open().and_then(|mut f| {
                        let broken = |source| Error::Io { operation: "read", path: "a content".into(), source };
                        f.read_to_end(&mut bytes).map(drop).map_err(broken)
                    }),
                };
                match read {
                    Ok(()) if bytes.len() as u64 == s.name.size => contents.push((s.name, bytes)),
                    Ok(()) => failed
                        .push(Failure { digest: s.upload.digest, error: Error::Corrupt { digest: s.upload.digest } }),
                    Err(error) => failed.push(Failure { digest: s.upload.digest, error }),
                }
            }
            if contents.is_empty() {
                continue;
            }
            let answer = self.runtime.block_on(self.wire.clone().write_batch(contents))?;
            let codes: HashMap<Name, Status> = answer
                .responses
                .into_iter()
                .filter_map(|r| Some((Name::read(&r.digest?)?, r.status.unwrap_or_default())))
                .collect();
            for s in part {
                if let Some(of) = codes.get(&s.name).filter(|of| Code::from(of.code) != Code::Ok) {
                    let error = error(Code::from(of.code), &of.message);
                    failed.push(Failure { digest: s.upload.digest, error });
                }
            }
        }
        for s in long {
            failed.extend(self.write_long(s).err().map(|error| Failure { digest: s.upload.digest, error }));
        }
        Ok(failed)
    }

    fn ping(&self) -> Result<()> {
        self.runtime.block_on(facts(&self.wire)).map(drop)
    }
}
