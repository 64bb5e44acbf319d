//! What listeners have whose clients may be anywhere: Envoy's "best practices for edge proxies", and what follows from them.
//!
//! | what | value | why |
//! |---|---|---|
//! | address of the client | that of the connection; `x-forwarded-for` is added to | services are told who called |
//! | nobody is internal | no address is | headers like `x-envoy-retry-on` of strangers are taken away |
//! | paths | `..`, `//` are resolved, `%2f` and `%5c` are redirected to what they mean | rules and services see one path |
//! | header names with `_` | 400 | some programs cannot tell them from those with `-` |
//! | headers | 60 KiB, 100 of them, within 10 s of the first byte | a client that is slow on purpose holds a connection only so long |
//! | HTTP/2 | 100 requests at a time, windows of 64 KiB and 1 MiB | what a client can make Envoy keep |
//! | access log | requests that fail (5xx), to the standard output, unless `[mesh.access_log]` says otherwise | who runs it sees failures |
//! | buffers | 32 KiB for each connection | the same |
//!
//! There is no limit for a whole request: one of gRPC may last for days. One that is quiet for long is ended, as everywhere.

use std::time::Duration;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::listener::v3::Listener;
use pilot_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as http;

use super::access_log;
use super::source::{boolean, duration, uint32};

/// The time from the first byte of a request to the last of its headers: who needs longer holds a connection
/// and sends nothing.
const HEADERS: Duration = Duration::from_secs(10);

/// How large the headers of a request may be, in KiB, and how many there may be.
const HEADERS_KIB: u32 = 60;
const HEADERS_MAX: u32 = 100;

/// How many requests a client may have under way on one connection.
const STREAMS: u32 = 100;

/// How many bytes of a request, and of all of a connection's, may be on their way.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// How many bytes of a connection may wait in each direction.
const BUFFER: u32 = 32 << 10;

/// For clients that are anywhere: services are told their addresses, and nobody is believed to be of this mesh.
pub(super) fn manager(manager: http::HttpConnectionManager) -> http::HttpConnectionManager {
    use core::http_protocol_options::HeadersWithUnderscoresAction;
    use http::http_connection_manager::{InternalAddressConfig, PathWithEscapedSlashesAction};
    // Some programs cannot tell `x_forwarded_for` from `x-forwarded-for`, which Envoy answers for.
    let common = core::HttpProtocolOptions {
        headers_with_underscores_action: HeadersWithUnderscoresAction::RejectRequest.into(),
        max_headers_count: uint32(HEADERS_MAX),
        ..Default::default()
    };
    let http2 = core::Http2ProtocolOptions {
        max_concurrent_streams: uint32(STREAMS),
        initial_stream_window_size: uint32(STREAM_WINDOW),
        initial_connection_window_size: uint32(CONNECTION_WINDOW),
        ..manager.http2_protocol_options.unwrap_or_default()
    };
    let access_log = match manager.access_log.is_empty() {
        true => vec![access_log::of_failures()],
        false => manager.access_log,
    };
    http::HttpConnectionManager {
        access_log,
        use_remote_address: boolean(true),
        internal_address_config: Some(InternalAddressConfig::default()),
        request_headers_timeout: duration(HEADERS),
        max_request_headers_kb: uint32(HEADERS_KIB),
        merge_slashes: true,
        path_with_escaped_slashes_action: PathWithEscapedSlashesAction::UnescapeAndRedirect.into(),
        common_http_protocol_options: Some(common),
        http2_protocol_options: Some(http2),
        ..manager
    }
}

/// The same, of a listener.
pub(super) fn listener(listener: Listener) -> Listener {
    Listener { per_connection_buffer_limit_bytes: uint32(BUFFER), ..listener }
}
