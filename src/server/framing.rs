//! gRPC's framing of messages, by hand, for the sake of memory.
//!
//! A stream lives for hours and is idle nearly all the time. The framing that comes with tonic keeps a
//! buffer per stream and direction that is as large as the largest message ever, which is megabytes where a
//! client was sent a whole mesh. Here an idle stream has no buffer.
//!
//! ```text
//!  frames ─► inbound: whole messages, within limits ─► the stream ─► outbound: pieces, as the client takes them
//!                                                                       └ bodies: what many are sent, encoded once
//! ```
//!
//! Format: "gRPC over HTTP2", Length-Prefixed-Message: one byte 0 (not compressed), four bytes of length,
//! big-endian, the message.

mod bodies;
mod format;
mod inbound;
mod outbound;

pub(super) use bodies::Bodies;
pub(super) use inbound::{Inbound, RequestLimits};
pub(super) use outbound::{Outbound, SharesBytes};

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::format::{HEADER, needed};
    use super::outbound::{LARGE, PIECE};
    use super::*;
    use crate::metrics::Metrics;
    use crate::server::budget::Budget;
    use crate::server::silent::SilentStreams;
    use crate::server::unread::Watch;
    use crate::xds::stream::InHand;
    use bytes::{BufMut, Bytes};
    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::Frame;
    use pilot_envoy_api::discovery::{DeltaDiscoveryResponse, DiscoveryResponse};
    use pilot_envoy_api::envoy::service::discovery::v3::DiscoveryRequest;
    use prost::Message;
    use tonic::body::Body;
    use tonic::{Code, Status};

    fn response(sizes: &[usize]) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse {
            system_version_info: "1".into(),
            resources: sizes.iter().map(|size| vec![7; *size].into()).collect(),
            nonce: "2".into(),
            removed_resources: vec!["gone".into()],
            ..Default::default()
        }
    }

    fn inbound(pieces: impl IntoIterator<Item = Bytes>, max: usize) -> Inbound<DiscoveryRequest> {
        let frames: Vec<_> = pieces.into_iter().map(|piece| Ok::<_, Status>(Frame::data(piece))).collect();
        let silent = SilentStreams::new(Duration::from_secs(10), 100, Metrics::new());
        let (first, budget) = (Some(silent.opened(None)), Budget::new(max, Duration::from_secs(10)));
        let limits = RequestLimits { max, first, budget, in_hand: InHand::default() };
        Inbound::new(Body::new(StreamBody::new(stream::iter(frames))), limits)
    }

    fn framed(message: &impl Message) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut bytes).unwrap();
        bytes
    }

    fn request(name: &str) -> DiscoveryRequest {
        DiscoveryRequest { resource_names: vec![name.into()], ..Default::default() }
    }

    #[tokio::test]
    async fn responses_of_any_size_are_written_whole_and_in_pieces() {
        let sizes: [&[usize]; 5] =
            [&[], &[0, 1], &[1_000; 100], &[LARGE, LARGE + 1, 3 * PIECE, 1], &[PIECE - 6, 200]];
        let messages: Vec<_> = sizes.iter().map(|sizes| response(sizes)).collect();
        let mut body = Outbound::new(
            stream::iter(messages.clone().into_iter().map(Ok)),
            Bodies::default(),
            Watch::default(),
        );
        let mut bytes = Vec::new();
        let trailers = loop {
            match body.frame().await.unwrap().unwrap().into_data() {
                Ok(piece) => {
                    assert!(!piece.is_empty());
                    bytes.extend_from_slice(&piece);
                }
                Err(frame) => break frame.into_trailers().unwrap(),
            }
        };
        assert_eq!(trailers["grpc-status"], "0");
        let mut rest = Bytes::from(bytes);
        for message in messages {
            let length = needed(&rest, usize::MAX).unwrap();
            let read = DeltaDiscoveryResponse::decode(rest.split_to(length).slice(HEADER..)).unwrap();
            assert_eq!(read, message);
        }
        assert!(rest.is_empty());
    }

    #[tokio::test]
    async fn what_many_streams_write_is_encoded_once_for_as_long_as_one_writes_it() {
        let (bodies, message) = (Bodies::default(), response(&[1_000; 200]));
        let write = async || {
            let mut body =
                Outbound::new(stream::iter([Ok(message.clone())]), bodies.clone(), Watch::default());
            let (mut pieces, mut left) = (Vec::<Bytes>::new(), HEADER + message.encoded_len());
            // It is not asked for more, so it has not heard that there is no more.
            while left > 0 {
                let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
                left -= piece.len();
                pieces.push(piece);
            }
            let bytes = Bytes::from(pieces.concat());
            assert_eq!(DeltaDiscoveryResponse::decode(bytes.slice(HEADER..)).unwrap(), message);
            (pieces, body)
        };
        let is_one = |a: &[Bytes], b: &[Bytes]| {
            let parts = |pieces: &[Bytes]| pieces.iter().map(|it| it.as_ptr()).skip(1).collect::<Vec<_>>();
            parts(a) == parts(b)
        };
        let [(first, _), (second, writes), (third, _)] = [write().await, write().await, write().await];
        assert!(!is_one(&first, &second), "it is not known that there will be a second");
        assert!(is_one(&second, &third));
        assert_eq!(bodies.live(), 1);
        drop(writes);
        assert_eq!(bodies.live(), 0, "nobody writes it any more");
    }

    #[tokio::test]
    async fn a_failed_stream_ends_with_its_status() {
        let failed = stream::iter([Err(Status::unavailable("later"))]);
        let mut body = Outbound::<DiscoveryResponse>::new(failed, Bodies::default(), Watch::default());
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(
            (&trailers["grpc-status"], &trailers["grpc-message"]),
            (&"14".parse().unwrap(), &"later".parse().unwrap())
        );
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn requests_are_read_however_they_are_cut() {
        let messages = [request("a"), DiscoveryRequest::default(), request(&"b".repeat(300)), request("c")];
        let bytes = Bytes::from(messages.iter().flat_map(framed).collect::<Vec<_>>());
        for size in [1, 2, 5, 7, 64, 1_000] {
            let pieces = bytes.chunks(size).map(Bytes::copy_from_slice);
            let mut inbound = inbound(pieces, 1_000);
            for message in &messages {
                assert_eq!(inbound.next().await.unwrap().unwrap(), *message, "pieces of {size}");
            }
            assert!(inbound.next().await.is_none());
            assert_eq!((inbound.whole.len(), inbound.partial.capacity()), (0, 0), "nothing is kept");
        }
    }

    #[tokio::test]
    async fn a_large_request_keeps_its_share_until_it_was_dealt_with() {
        let budget = Budget::new(2 * LARGE, Duration::from_secs(10));
        let bytes = Bytes::from(framed(&request(&"a".repeat(3 * LARGE / 2))));
        let mut streams = [(); 2].map(|()| {
            let mut stream = inbound(bytes.chunks(1_000).map(Bytes::copy_from_slice), 2 * LARGE);
            stream.limits.budget = budget.clone();
            stream
        });
        let [first, second] = &mut streams;
        first.next().await.unwrap().unwrap();
        assert_eq!((first.whole.len(), first.partial.capacity()), (0, 0), "its bytes are let go");
        assert!(second.next().now_or_never().is_none(), "the first is being dealt with");
        first.limits.in_hand.release();
        second.next().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused() {
        async fn code(bytes: Vec<u8>) -> Code {
            inbound([bytes.into()], 100).next().await.unwrap().unwrap_err().code()
        }
        assert_eq!(code(framed(&request(&"a".repeat(200)))).await, Code::OutOfRange);
        assert_eq!(code(vec![1, 0, 0, 0, 0]).await, Code::Unimplemented);
        assert_eq!(code(vec![0, 0, 0, 0, 1, 0xff]).await, Code::Internal);
        assert_eq!(code(vec![0, 0, 0, 0, 9, 1]).await, Code::Internal);
    }
}
