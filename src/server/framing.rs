//! gRPC's framing of messages, by hand, for the sake of memory.
//!
//! A stream lives for hours and is idle nearly all the time. The framing that comes with tonic keeps a
//! buffer per stream and direction that is as large as the largest message ever, which is megabytes where a
//! client was sent a whole mesh. Here an idle stream has no buffer; responses are put together from shared
//! bytes as the client takes them, a piece at a time.
//!
//! Format: "gRPC over HTTP2", Length-Prefixed-Message: one byte 0 (not compressed), four bytes of length,
//! big-endian, the message.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::Stream;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame};
use pilot_envoy_api::discovery::{DeltaDiscoveryResponse, DiscoveryResponse};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::body::Body;
use tonic::{Code, Status};

use super::budget::{Budget, Share};
use super::silent::{FirstRequest, Known};
use crate::xds::stream::InHand;

/// The length of a message's header.
const HEADER: usize = 5;

/// How much is copied at once: about what one write to a socket takes.
const PIECE: usize = 32 << 10;

/// Resources larger than this are not copied: they are pieces of their own.
const LARGE: usize = PIECE / 2;

/// The field of both responses that holds the resources.
const RESOURCES: u32 = 2;

/// A response that consists mostly of bytes that are shared with other streams.
pub(super) trait Shared: Message {
    /// Takes the resources out.
    fn take_resources(&mut self) -> Vec<Bytes>;
}

impl Shared for DiscoveryResponse {
    fn take_resources(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.resources)
    }
}

impl Shared for DeltaDiscoveryResponse {
    fn take_resources(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.resources)
    }
}

type Responses<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// The body of a response: the messages of a stream, then its status.
pub(super) struct Outbound<M> {
    responses: Option<Responses<M>>,
    writing: Option<Writing>,
}

impl<M> Outbound<M> {
    /// Writes what the stream gives.
    pub(super) fn new(responses: impl Stream<Item = Result<M, Status>> + Send + 'static) -> Self {
        Self { responses: Some(Box::pin(responses)), writing: None }
    }
}

impl<M: Shared> HttpBody for Outbound<M> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(piece) = self.writing.as_mut().and_then(Writing::piece) {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            self.writing = None;
            let Some(responses) = &mut self.responses else { return Poll::Ready(None) };
            match ready!(responses.as_mut().poll_next(context)) {
                Some(Ok(message)) => self.writing = Some(Writing::new(message)),
                ended => {
                    self.responses = None;
                    let status = ended.and_then(Result::err).unwrap_or_else(|| Status::ok(""));
                    let mut trailers = HeaderMap::new();
                    return match status.add_header(&mut trailers) {
                        Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                        Err(error) => Poll::Ready(Some(Err(error))),
                    };
                }
            }
        }
    }
}

/// What is left to write of a message.
struct Writing {
    /// Written before the resources.
    head: Bytes,
    /// What is left of the resources, the next one last.
    resources: Vec<Bytes>,
    /// The bytes of all that is left.
    left: usize,
}

impl Writing {
    fn new<M: Shared>(mut message: M) -> Self {
        let mut resources = message.take_resources();
        resources.reverse();
        let fields: usize = resources.iter().map(field_len).sum();
        let length = message.encoded_len() + fields;
        let mut head = BytesMut::with_capacity(HEADER + message.encoded_len());
        head.put_u8(0);
        // No message comes near 4 GiB: it is made of what one client may ask for.
        head.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        message.encode_raw(&mut head);
        Self { head: head.freeze(), resources, left: HEADER + length }
    }

    /// The next piece; `None` when all is written.
    fn piece(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let large = self.head.len() > LARGE;
        let piece = if large { std::mem::take(&mut self.head) } else { self.copied() };
        self.left -= piece.len();
        Some(piece)
    }

    /// What comes next, as far as it is small, in one piece.
    fn copied(&mut self) -> Bytes {
        let mut piece = BytesMut::with_capacity(self.left.min(PIECE));
        piece.put(std::mem::take(&mut self.head));
        while let Some(next) = self.resources.pop_if(|next| fits(&piece, next)) {
            encode_key(RESOURCES, WireType::LengthDelimited, &mut piece);
            encode_varint(next.len() as u64, &mut piece);
            if next.len() > LARGE {
                self.head = next;
                break;
            }
            piece.put(next);
        }
        piece.freeze()
    }
}

fn fits(piece: &BytesMut, next: &Bytes) -> bool {
    next.len() > LARGE || piece.len() + field_len(next) <= PIECE
}

fn field_len(resource: &Bytes) -> usize {
    key_len(RESOURCES) + encoded_len_varint(resource.len() as u64) + resource.len()
}

/// What bounds the messages of a stream.
pub(super) struct RequestLimits {
    /// The longest message that is read, in bytes.
    pub(super) max: usize,
    /// Until the first message has come.
    pub(super) first: Option<FirstRequest>,
    /// Of the bytes of large messages, of all streams.
    pub(super) budget: Budget,
    /// Where a message's share of the budget goes with the message.
    pub(super) in_hand: InHand,
}

/// The messages of a request's body.
pub(super) struct Inbound<M> {
    body: Body,
    limits: RequestLimits,
    /// The share of the message that is being read, if it is a large one.
    share: Option<Share>,
    /// From the first message on.
    known: Option<Known>,
    /// What has come and has not been read, in the transport's own buffer.
    whole: Bytes,
    /// The beginning of a message that has not come as a whole. Empty unless there is one.
    partial: BytesMut,
    message: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Inbound<M> {
    /// Reads messages within these limits.
    pub(super) fn new(body: Body, limits: RequestLimits) -> Self {
        let (whole, partial) = (Bytes::new(), BytesMut::new());
        Self { body, limits, share: None, known: None, whole, partial, message: PhantomData }
    }

    fn came(&mut self, data: Bytes) {
        match (&mut self.share, &mut self.limits.first) {
            (Some(share), _) => share.progress(),
            (None, Some(first)) => first.progress(),
            (None, None) => {}
        }
        if self.whole.is_empty() && self.partial.is_empty() {
            self.whole = data;
        } else {
            self.partial.put(data);
        }
    }

    /// The next message, if it has come as a whole.
    fn take(&mut self) -> Result<Option<M>, Status> {
        let bytes: &[u8] = if self.partial.is_empty() { &self.whole } else { &self.partial };
        let needed = needed(bytes, self.limits.max)?;
        if bytes.len() < needed {
            if self.share.is_none() {
                self.share = self.limits.budget.share(needed);
            }
            self.partial.put(std::mem::take(&mut self.whole));
            return Ok(None);
        }
        if !self.partial.is_empty() {
            self.whole = std::mem::take(&mut self.partial).freeze();
        }
        let mut message = self.whole.split_to(needed);
        if self.whole.is_empty() {
            self.whole = Bytes::new();
        }
        message.advance(HEADER);
        if let Some(first) = self.limits.first.take() {
            self.known = Some(first.came());
        }
        self.limits.in_hand.take(self.share.take().and_then(Share::into_units));
        M::decode(message).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// How long the first message is, with its header, as far as that can be told.
fn needed(bytes: &[u8], max: usize) -> Result<usize, Status> {
    let Some(([compressed, length @ ..], _)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(HEADER);
    };
    if *compressed != 0 {
        return Err(Status::unimplemented("compressed messages are not read: expected flag 0"));
    }
    let length = u32::from_be_bytes(*length) as usize;
    if length > max {
        return Err(Status::out_of_range(format!("a message of {length} bytes: at most {max} are read")));
    }
    Ok(HEADER + length)
}

impl<M: Message + Default> Stream for Inbound<M> {
    type Item = Result<M, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(message) = this.take().transpose() {
                return Poll::Ready(Some(message));
            }
            if let Some(share) = &mut this.share {
                ready!(share.poll(context));
            }
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
                let late = match (&mut this.share, &mut this.limits.first) {
                    (Some(share), _) => share.poll_late(context),
                    (None, Some(first)) => first.poll(context),
                    (None, None) => return Poll::Pending,
                };
                return late.map(|status| Some(Err(status)));
            };
            match frame {
                Some(Ok(frame)) => frame.into_data().into_iter().for_each(|data| this.came(data)),
                Some(Err(status)) if status.code() == Code::Cancelled => return Poll::Ready(None),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None if this.partial.is_empty() => return Poll::Ready(None),
                None => {
                    this.partial = BytesMut::new();
                    return Poll::Ready(Some(Err(Status::internal("the stream ended within a message"))));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Metrics;
    use crate::server::silent::SilentStreams;
    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use pilot_envoy_api::envoy::service::discovery::v3::DiscoveryRequest;

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
        let silent = SilentStreams::new(Duration::from_secs(10), Metrics::new());
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
        let mut body = Outbound::new(stream::iter(messages.clone().into_iter().map(Ok)));
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
    async fn a_failed_stream_ends_with_its_status() {
        let failed = stream::iter([Err(Status::unavailable("later"))]);
        let mut body = Outbound::<DiscoveryResponse>::new(failed);
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
