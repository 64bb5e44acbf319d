//! Clients that speak something else than the xDS port does: what they are told, and what the log says of them.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;

use crate::metrics::Metrics;
use crate::opening::{self, Opening, WireProtocol};
use crate::said::Said;

/// What the port is.
const PORT: &str = "this is pilot's xDS port, which speaks gRPC over HTTP/2 without TLS";

/// Answers clients that came to the wrong port, or speak the wrong protocol.
pub(super) struct Strangers {
    admin: Option<SocketAddr>,
    metrics: Metrics,
    said: Said<(IpAddr, Mistake)>,
}

/// What such a client gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mistake {
    Tls,
    /// gRPC without HTTP/2.
    GrpcHttp1,
    /// A browser, curl, a probe.
    Http1,
    Unknown,
}

impl Strangers {
    /// `admin`: where the admin server is.
    pub(super) fn new(admin: Option<SocketAddr>, metrics: Metrics) -> Self {
        Self { admin, metrics, said: Said::default() }
    }

    /// Tells the client what the port speaks, and the log what to do about it, once for each address.
    pub(super) async fn refuse(&self, stream: TcpStream, peer: SocketAddr, opening: Opening) {
        self.metrics.refused("protocol");
        let (protocol, first) = (opening.protocol, opening.bytes.clone());
        opening::refuse(stream, opening, |head| {
            let mistake = Mistake::of(protocol, head);
            let cure = self.cure(mistake);
            if self.said.first((peer.ip(), mistake)) {
                let first = first.escape_ascii();
                tracing::warn!(peer = %peer.ip(), %first, "xDS port: {}: {cure}", mistake.words());
            }
            format!("{PORT}: {cure}")
        })
        .await;
    }

    fn cure(&self, mistake: Mistake) -> String {
        match mistake {
            Mistake::Tls => {
                "remove transport_socket from the cluster that leads to pilot in Envoy's bootstrap; \
                             gRPC clients use channel_creds \"insecure\""
                    .to_owned()
            }
            Mistake::GrpcHttp1 => {
                "add http2_protocol_options to the cluster that leads to pilot in Envoy's bootstrap \
                                   (`pilot bootstrap` prints one)"
                    .to_owned()
            }
            Mistake::Http1 => match self.admin {
                Some(admin) => format!("the admin server is at http://{admin}"),
                None => "the admin server has a port of its own ([admin] listen)".to_owned(),
            },
            Mistake::Unknown => {
                "expected the HTTP/2 connection preface; no PROXY protocol is read".to_owned()
            }
        }
    }
}

impl Mistake {
    fn of(protocol: WireProtocol, head: &[u8]) -> Self {
        match protocol {
            WireProtocol::Tls => Self::Tls,
            WireProtocol::Http1 if opening::is_grpc(head) => Self::GrpcHttp1,
            WireProtocol::Http1 => Self::Http1,
            WireProtocol::Http2 | WireProtocol::Unknown => Self::Unknown,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Tls => "a client speaks TLS",
            Self::GrpcHttp1 => "a client speaks gRPC over HTTP/1",
            Self::Http1 => "a client speaks HTTP/1",
            Self::Unknown => "a client does not speak HTTP/2",
        }
    }
}
