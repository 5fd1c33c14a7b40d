//! The messages of the Remote Execution API that are used here, all behind this one module.

pub use bazel_remote_apis::build::bazel::remote::execution::v2::{
    Action, ActionCacheUpdateCapabilities, ActionResult, BatchReadBlobsRequest, BatchReadBlobsResponse,
    BatchUpdateBlobsRequest, BatchUpdateBlobsResponse, CacheCapabilities, Command, Digest, Directory,
    FindMissingBlobsRequest, FindMissingBlobsResponse, GetActionResultRequest, GetCapabilitiesRequest,
    GetChunkMappingRequest, GetChunkMappingResponse, GetTreeRequest, GetTreeResponse, OutputFile,
    RegisterChunkMappingRequest, RegisterChunkMappingResponse, ServerCapabilities, SpliceBlobRequest,
    SpliceBlobResponse, SplitBlobRequest, SplitBlobResponse, Tree, UpdateActionResultRequest,
    batch_read_blobs_response, batch_update_blobs_request, batch_update_blobs_response,
    digest_function::Value as DigestFunction, symlink_absolute_path_strategy,
};
pub use bazel_remote_apis::build::bazel::remote::execution::v2::{
    action_cache_client::ActionCacheClient, action_cache_server, capabilities_client::CapabilitiesClient,
    capabilities_server, content_addressable_storage_client::ContentAddressableStorageClient,
    content_addressable_storage_server,
};
pub use bazel_remote_apis::build::bazel::semver::SemVer;
pub use bazel_remote_apis::google::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest, WriteResponse,
    byte_stream_client::ByteStreamClient, byte_stream_server,
};
pub use bazel_remote_apis::google::rpc::Status;
pub use prost::Message;
