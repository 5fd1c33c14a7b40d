//! `xl serve`: a directory as a server of the Remote Execution API, for `xl` and for whoever else speaks it.
//!
//! Capabilities, action cache, content store, byte streams and health. Contents are verified before they are kept; a
//! row is served only when everything that it names is there. Names from the wire are digests or refused: none becomes
//! a path. Files are read and written on threads of the runtime's own for what blocks.

use crate::directory::Directory;
use crate::name::Name;
use crate::proto::*;
use cache::Class;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status as Refusal, Streaming};

type Answer<T> = Result<Response<T>, Refusal>;
type Pieces<T> = Pin<Box<dyn Stream<Item = Result<T, Refusal>> + Send>>;

/// Bytes of contents in one message, as is advertised. gRPC's own default limit is a little more.
const BATCH: u64 = 4 << 20;
/// The longest message that is taken.
const LONGEST: usize = 8 << 20;
const CHUNK: usize = 256 << 10;
/// Directories in one answer about a tree.
const PAGE: usize = 1000;

#[derive(Clone)]
struct Service {
    store: Arc<Directory>,
}

/// What a failure of the store is called on the wire.
fn refusal(e: &cache::Error) -> Refusal {
    let code = match e.class() {
        Class::Absent => Code::NotFound,
        Class::Corrupt => Code::InvalidArgument,
        Class::Refused if e.is_full() => Code::ResourceExhausted,
        Class::Refused => Code::PermissionDenied,
        Class::Unavailable => Code::Unavailable,
    };
    Refusal::new(code, e.to_string())
}

fn status(r: &Result<(), Refusal>) -> Option<Status> {
    let (code, message) = match r {
        Ok(()) => (Code::Ok, String::new()),
        Err(s) => (s.code(), s.message().to_owned()),
    };
    Some(Status { code: code as i32, message, ..Status::default() })
}

/// Only SHA-256 names anything; who says nothing means that, too.
fn of_function(function: i32) -> Result<(), Refusal> {
    match DigestFunction::try_from(function) {
        Ok(DigestFunction::Unknown | DigestFunction::Sha256) => Ok(()),
        _ => Err(Refusal::invalid_argument("only SHA-256 is known here")),
    }
}

fn named(d: Option<&Digest>) -> Result<Name, Refusal> {
    d.and_then(Name::read).ok_or_else(|| Refusal::invalid_argument("that is no SHA-256 digest"))
}

fn is_plain(compressor: i32) -> bool {
    compressor == 0
}

impl Service {
    /// Does something that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Directory) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || f(&store)).await;
        done.unwrap_or_else(|e| Err(Refusal::internal(e.to_string())))
    }
}

/// A whole content.
fn content(store: &Directory, name: &Name) -> Result<Vec<u8>, Refusal> {
    let absent = || Refusal::not_found(format!("blobs/{}/{}", name.hash.hex(), name.size));
    let from = store.open(name).map_err(|e| refusal(&e))?.ok_or_else(absent)?;
    let mut bytes = Vec::with_capacity(usize::try_from(name.size.min(BATCH)).unwrap_or(0));
    from.take(name.size + 1).read_to_end(&mut bytes).map_err(|e| Refusal::unavailable(e.to_string()))?;
    match Name::of(&bytes) == *name {
        true => Ok(bytes),
        // Damaged: the next one to make it keeps it.
        false => {
            store.drop_content(name);
            Err(absent())
        }
    }
}

/// Is everything there that a row names?
fn is_whole(store: &Directory, row: &ActionResult) -> Result<bool, Refusal> {
    let files = row.output_files.iter().map(|f| f.digest.as_ref());
    let texts = [&row.stdout_digest, &row.stderr_digest].into_iter().filter(|d| d.is_some()).map(|d| d.as_ref());
    for d in files.chain(texts) {
        if !d.and_then(Name::read).is_some_and(|n| store.contains(&n)) {
            return Ok(false);
        }
    }
    for d in &row.output_directories {
        let Some(name) = d.tree_digest.as_ref().and_then(Name::read).filter(|n| store.contains(n)) else {
            return Ok(false);
        };
        let bytes = match content(store, &name) {
            Err(s) if s.code() == Code::NotFound => return Ok(false),
            bytes => bytes?,
        };
        let Ok(tree) = Tree::decode(&*bytes) else { return Ok(false) };
        let files = tree.root.iter().chain(&tree.children).flat_map(|d| &d.files);
        for f in files {
            if !f.digest.as_ref().and_then(Name::read).is_some_and(|n| store.contains(&n)) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[tonic::async_trait]
impl capabilities_server::Capabilities for Service {
    async fn get_capabilities(&self, _: Request<GetCapabilitiesRequest>) -> Answer<ServerCapabilities> {
        let version = |minor| Some(SemVer { major: 2, minor, ..SemVer::default() });
        let of_cache = CacheCapabilities {
            digest_functions: vec![DigestFunction::Sha256 as i32],
            action_cache_update_capabilities: Some(ActionCacheUpdateCapabilities { update_enabled: true }),
            max_batch_total_size_bytes: i64::try_from(BATCH).unwrap_or_default(),
            symlink_absolute_path_strategy: symlink_absolute_path_strategy::Value::Allowed as i32,
            ..CacheCapabilities::default()
        };
        Ok(Response::new(ServerCapabilities {
            cache_capabilities: Some(of_cache),
            low_api_version: version(0),
            high_api_version: version(12),
            ..ServerCapabilities::default()
        }))
    }
}

#[tonic::async_trait]
impl action_cache_server::ActionCache for Service {
    async fn get_action_result(&self, r: Request<GetActionResultRequest>) -> Answer<ActionResult> {
        let r = r.into_inner();
        of_function(r.digest_function)?;
        let name = named(r.action_digest.as_ref())?;
        let found = self.blocking(move |store| {
            let Some(row) = store.row(&name).map_err(|e| refusal(&e))? else { return Ok(None) };
            Ok(is_whole(store, &row)?.then_some(row))
        });
        let row = found.await?.ok_or_else(|| Refusal::not_found("no result of that action"))?;
        Ok(Response::new(row))
    }

    async fn update_action_result(&self, r: Request<UpdateActionResultRequest>) -> Answer<ActionResult> {
        let r = r.into_inner();
        of_function(r.digest_function)?;
        let name = named(r.action_digest.as_ref())?;
        let row = r.action_result.ok_or_else(|| Refusal::invalid_argument("there is no result in it"))?;
        let kept = self.blocking(move |store| store.put_row(&name, &row).map(|()| row).map_err(|e| refusal(&e)));
        Ok(Response::new(kept.await?))
    }
}

#[tonic::async_trait]
impl content_addressable_storage_server::ContentAddressableStorage for Service {
    async fn find_missing_blobs(&self, r: Request<FindMissingBlobsRequest>) -> Answer<FindMissingBlobsResponse> {
        let r = r.into_inner();
        of_function(r.digest_function)?;
        let names = r.blob_digests.iter().map(|d| named(Some(d))).collect::<Result<Vec<_>, _>>()?;
        let missing = move |store: &Directory| {
            Ok(names.iter().filter(|n| !store.contains(n)).map(Name::wire).collect::<Vec<_>>())
        };
        Ok(Response::new(FindMissingBlobsResponse { missing_blob_digests: self.blocking(missing).await? }))
    }

    async fn batch_update_blobs(&self, r: Request<BatchUpdateBlobsRequest>) -> Answer<BatchUpdateBlobsResponse> {
        let r = r.into_inner();
        of_function(r.digest_function)?;
        let keep = move |store: &Directory| {
            let one = |b: batch_update_blobs_request::Request| {
                let kept = named(b.digest.as_ref()).and_then(|name| match is_plain(b.compressor) {
                    false => Err(Refusal::invalid_argument("nothing compressed, please")),
                    true if store.contains(&name) => Ok(()),
                    true => store.receive(&name, &mut &*b.data).map_err(|e| refusal(&e)),
                });
                batch_update_blobs_response::Response { digest: b.digest, status: status(&kept) }
            };
            Ok(r.requests.into_iter().map(one).collect::<Vec<_>>())
        };
        Ok(Response::new(BatchUpdateBlobsResponse { responses: self.blocking(keep).await? }))
    }

    async fn batch_read_blobs(&self, r: Request<BatchReadBlobsRequest>) -> Answer<BatchReadBlobsResponse> {
        let r = r.into_inner();
        of_function(r.digest_function)?;
        let sizes = r.digests.iter().map(|d| u64::try_from(d.size_bytes).unwrap_or(0));
        if sizes.fold(0u64, u64::saturating_add) > BATCH {
            return Err(Refusal::invalid_argument("more than one message may hold"));
        }
        let read = move |store: &Directory| {
            let one = |d: Digest| {
                let found = named(Some(&d)).and_then(|n| content(store, &n));
                let (data, done) = match found {
                    Ok(data) => (data, Ok(())),
                    Err(s) => (Vec::new(), Err(s)),
                };
                batch_read_blobs_response::Response {
                    digest: Some(d),
                    data,
                    status: status(&done),
                    ..Default::default()
                }
            };
            Ok(r.digests.into_iter().map(one).collect::<Vec<_>>())
        };
        Ok(Response::new(BatchReadBlobsResponse { responses: self.blocking(read).await? }))
    }

    type GetTreeStream = Pieces<GetTreeResponse>;

    async fn get_tree(&self, r: Request<GetTreeRequest>) -> Answer<Self::GetTreeStream> {
        let r = r.into_inner();
        of_function(r.digest_function)?;
        let root = named(r.root_digest.as_ref())?;
        let (to, pages) = mpsc::channel(2);
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || {
            let (mut seen, mut ahead) = (std::collections::HashSet::from([root]), vec![root]);
            while !ahead.is_empty() {
                let now = ahead.split_off(ahead.len().saturating_sub(PAGE));
                let mut directories = Vec::new();
                for name in now {
                    let found = content(&store, &name).and_then(|b| {
                        crate::proto::Directory::decode(&*b).map_err(|e| Refusal::invalid_argument(e.to_string()))
                    });
                    match found {
                        Ok(d) => {
                            let below = d.directories.iter().filter_map(|n| Name::read(n.digest.as_ref()?));
                            ahead.extend(below.filter(|n| seen.insert(*n)));
                            directories.push(d);
                        }
                        // The root has to be there.
                        Err(s) if name == root => return drop(to.blocking_send(Err(s))),
                        Err(_) => {}
                    }
                }
                if to.blocking_send(Ok(GetTreeResponse { directories, ..Default::default() })).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(pages))))
    }

    async fn split_blob(&self, _: Request<SplitBlobRequest>) -> Answer<SplitBlobResponse> {
        Err(Refusal::unimplemented("contents are kept whole"))
    }

    type GetChunkMappingStream = Pieces<GetChunkMappingResponse>;

    async fn get_chunk_mapping(&self, _: Request<GetChunkMappingRequest>) -> Answer<Self::GetChunkMappingStream> {
        Err(Refusal::unimplemented("contents are kept whole"))
    }

    async fn splice_blob(&self, _: Request<SpliceBlobRequest>) -> Answer<SpliceBlobResponse> {
        Err(Refusal::unimplemented("contents are kept whole"))
    }

    async fn register_chunk_mapping(
        &self,
        _: Request<Streaming<RegisterChunkMappingRequest>>,
    ) -> Answer<RegisterChunkMappingResponse> {
        Err(Refusal::unimplemented("contents are kept whole"))
    }
}

/// `[instance/][uploads/UUID/]blobs/[sha256/]HASH/SIZE[/anything]`.
fn resource(text: &str, upload: bool) -> Result<Name, Refusal> {
    let wrong = || Refusal::invalid_argument("that names no content");
    let parts: Vec<&str> = text.split('/').collect();
    let at = match upload {
        true => 2 + parts.iter().position(|p| *p == "uploads").ok_or_else(wrong)?,
        false => parts.iter().position(|p| *p == "blobs").ok_or_else(wrong)?,
    };
    let rest = parts.get(at..).filter(|r| r.first() == Some(&"blobs")).ok_or_else(wrong)?;
    let rest = if rest.get(1) == Some(&"sha256") { &rest[2..] } else { &rest[1..] };
    let (hash, size) = (rest.first().ok_or_else(wrong)?, rest.get(1).ok_or_else(wrong)?);
    named(Some(&Digest { hash: (*hash).to_owned(), size_bytes: size.parse().map_err(|_| wrong())? }))
}

/// An upload as its pieces come.
struct Incoming {
    from: mpsc::Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Read for Incoming {
    fn read(&mut self, b: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.piece.read(b)?;
            if n > 0 || b.is_empty() {
                return Ok(n);
            }
            match self.from.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.piece = io::Cursor::new(piece),
            }
        }
    }
}

#[tonic::async_trait]
impl byte_stream_server::ByteStream for Service {
    type ReadStream = Pieces<ReadResponse>;

    async fn read(&self, r: Request<ReadRequest>) -> Answer<Self::ReadStream> {
        let r = r.into_inner();
        let name = resource(&r.resource_name, false)?;
        let out = || Refusal::out_of_range("it is not that long");
        let offset = u64::try_from(r.read_offset).ok().filter(|o| *o <= name.size).ok_or_else(out)?;
        let limit = u64::try_from(r.read_limit).map_err(|_| Refusal::invalid_argument("a limit below nothing"))?;
        let open = move |store: &Directory| {
            let absent = || Refusal::not_found(format!("blobs/{}/{}", name.hash.hex(), name.size));
            if !store.contains(&name) {
                return Err(absent());
            }
            store.open(&name).map_err(|e| refusal(&e))?.ok_or_else(absent)
        };
        let mut from = self.blocking(open).await?;
        let (to, pieces) = mpsc::channel(4);
        tokio::task::spawn_blocking(move || {
            let mut left = if limit == 0 { name.size - offset } else { limit.min(name.size - offset) };
            let skipped = io::copy(&mut (&mut from).take(offset), &mut io::sink());
            if let Err(e) = skipped {
                return drop(to.blocking_send(Err(Refusal::unavailable(e.to_string()))));
            }
            while left > 0 {
                let mut data = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
                if let Err(e) = from.read_exact(&mut data) {
                    return drop(to.blocking_send(Err(Refusal::data_loss(e.to_string()))));
                }
                left -= data.len() as u64;
                if to.blocking_send(Ok(ReadResponse { data })).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(pieces))))
    }

    async fn write(&self, r: Request<Streaming<WriteRequest>>) -> Answer<WriteResponse> {
        let mut r = r.into_inner();
        let first = r.message().await?.ok_or_else(|| Refusal::invalid_argument("nothing was sent"))?;
        let name = resource(&first.resource_name, true)?;
        let committed_size = i64::try_from(name.size).unwrap_or(i64::MAX);
        if self.blocking(move |store| Ok(store.contains(&name))).await? {
            return Ok(Response::new(WriteResponse { committed_size }));
        }
        let (to, from) = mpsc::channel(4);
        let store = self.store.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let mut from = Incoming { from, piece: io::Cursor::default() };
            store.receive(&name, &mut from).map_err(|e| refusal(&e))
        });
        let mut piece = Some(first);
        let mut come = 0;
        while let Some(p) = piece {
            if u64::try_from(p.write_offset) != Ok(come) {
                return Err(Refusal::invalid_argument(format!("{come} bytes have come so far")));
            }
            come += p.data.len() as u64;
            if come > name.size {
                return Err(Refusal::invalid_argument("longer than its name says"));
            }
            let is_last = p.finish_write;
            if to.send(p.data).await.is_err() || is_last {
                break;
            }
            piece = r.message().await?;
        }
        drop(to);
        kept.await.map_err(|e| Refusal::internal(e.to_string()))??;
        Ok(Response::new(WriteResponse { committed_size }))
    }

    async fn query_write_status(&self, r: Request<QueryWriteStatusRequest>) -> Answer<QueryWriteStatusResponse> {
        let name = resource(&r.into_inner().resource_name, true)?;
        let complete = self.blocking(move |store| Ok(store.contains(&name))).await?;
        let committed_size = if complete { i64::try_from(name.size).unwrap_or(i64::MAX) } else { 0 };
        Ok(Response::new(QueryWriteStatusResponse { committed_size, complete }))
    }
}

/// How often is looked whether there is too much.
const TIDY: std::time::Duration = std::time::Duration::from_secs(60);

/// Serves a directory until the process ends, and keeps it below `most` bytes; `ready` is told where.
pub fn serve(
    listen: SocketAddr,
    store: Directory,
    most: Option<u64>,
    ready: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("xl-serve").enable_all().build()?;
    runtime.block_on(async {
        let socket = tokio::net::TcpListener::bind(listen).await?;
        ready(socket.local_addr()?);
        let store = Arc::new(store);
        if let Some(most) = most {
            let store = store.clone();
            tokio::spawn(async move {
                loop {
                    let store = store.clone();
                    let _ = tokio::task::spawn_blocking(move || crate::evict::evict(&store, most)).await;
                    tokio::time::sleep(TIDY).await;
                }
            });
        }
        run(socket, store).await
    })
}

async fn run(socket: tokio::net::TcpListener, store: Arc<Directory>) -> io::Result<()> {
    let service = Service { store };
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let incoming = tonic::transport::server::TcpIncoming::from(socket).with_nodelay(Some(true));
    let contents = content_addressable_storage_server::ContentAddressableStorageServer::new(service.clone());
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(std::time::Duration::from_secs(30)))
        .add_service(health)
        .add_service(capabilities_server::CapabilitiesServer::new(service.clone()))
        .add_service(
            action_cache_server::ActionCacheServer::new(service.clone())
                .max_decoding_message_size(LONGEST)
                .max_encoding_message_size(LONGEST),
        )
        .add_service(contents.max_decoding_message_size(LONGEST).max_encoding_message_size(LONGEST))
        .add_service(byte_stream_server::ByteStreamServer::new(service).max_decoding_message_size(LONGEST))
        .serve_with_incoming(incoming)
        .await
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_resources() {
        let name = Name::of(b"x");
        let hash = name.hash.hex();
        for (text, upload) in [
            (format!("blobs/{hash}/1"), false),
            (format!("a/b/blobs/{hash}/1"), false),
            (format!("blobs/sha256/{hash}/1"), false),
            (format!("uploads/id/blobs/{hash}/1"), true),
            (format!("i/uploads/id/blobs/{hash}/1/file.o"), true),
        ] {
            assert_eq!(resource(&text, upload).ok(), Some(name), "{text}");
        }
        for (text, upload) in [
            (format!("compressed-blobs/zstd/{hash}/1"), false),
            (format!("blobs/{hash}"), false),
            (format!("blobs/../{hash}/1"), false),
            (format!("blobs/blake3/{hash}/1"), false),
            ("blobs/../../../etc/passwd/1".to_owned(), false),
            (format!("blobs/{hash}/-1"), false),
            (format!("blobs/{hash}/1"), true),
            ("uploads".to_owned(), true),
            (String::new(), false),
        ] {
            assert_eq!(resource(&text, upload).unwrap_err().code(), Code::InvalidArgument, "{text}");
        }
    }
}
