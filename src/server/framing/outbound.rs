//! Responses as they are written: put together from shared bytes, a piece at a time, as the client takes them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame};
use pilot_envoy_api::discovery::{DeltaDiscoveryResponse, DiscoveryResponse};
use prost::Message;
use tonic::Status;

use super::bodies::{Bodies, SharedBody};
use super::format::{HEADER, begin_field, begin_message, field_len};
use crate::server::unread::Watch;

/// How much is copied at once: about what one write to a socket takes.
pub(super) const PIECE: usize = 32 << 10;

/// Resources larger than this are not copied: they are pieces of their own.
pub(super) const LARGE: usize = PIECE / 2;

/// How much of what is shared is a piece. It is not copied.
const SLICE: usize = 64 << 10;

/// A response that consists mostly of bytes that are shared with other streams.
pub(in crate::server) trait SharesBytes: Message {
    /// Takes the resources out.
    fn take_resources(&mut self) -> Vec<Bytes>;
}

impl SharesBytes for DiscoveryResponse {
    fn take_resources(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.resources)
    }
}

impl SharesBytes for DeltaDiscoveryResponse {
    fn take_resources(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.resources)
    }
}

type Responses<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// The body of a response: the messages of a stream, then its status.
pub(in crate::server) struct Outbound<M> {
    responses: Option<Responses<M>>,
    bodies: Bodies,
    writing: Option<Writing>,
    watch: Watch,
}

impl<M> Outbound<M> {
    /// Writes what the stream gives. `bodies`: what all streams write. `watch` is told when the client takes more.
    pub(in crate::server) fn new(
        responses: impl Stream<Item = Result<M, Status>> + Send + 'static,
        bodies: Bodies,
        watch: Watch,
    ) -> Self {
        Self { responses: Some(Box::pin(responses)), bodies, writing: None, watch }
    }
}

impl<M: SharesBytes> HttpBody for Outbound<M> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.watch.asked();
        loop {
            if let Some(piece) = self.writing.as_mut().and_then(Writing::piece) {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            self.writing = None;
            let Some(responses) = &mut self.responses else { return Poll::Ready(None) };
            match ready!(responses.as_mut().poll_next(context)) {
                Some(Ok(message)) => self.writing = Some(Writing::new(message, &self.bodies)),
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
    resources: Resources,
    /// The bytes of all that is left.
    left: usize,
}

/// What is left of the resources of a message.
enum Resources {
    /// To be copied, the next one last.
    Own(Vec<Bytes>),
    /// In one piece, which other streams write, too. The body is found by them for as long as it is held.
    Shared { encoded: Bytes, _body: Arc<SharedBody> },
}

impl Writing {
    fn new<M: SharesBytes>(mut message: M, bodies: &Bodies) -> Self {
        let mut resources = message.take_resources();
        let fields: usize = resources.iter().map(field_len).sum();
        let length = message.encoded_len() + fields;
        let mut head = BytesMut::with_capacity(HEADER + message.encoded_len());
        begin_message(length, &mut head);
        message.encode_raw(&mut head);
        let resources = match bodies.share(&resources, fields) {
            Some(body) => Resources::Shared { encoded: body.encoded(fields).clone(), _body: body },
            None => {
                resources.reverse();
                Resources::Own(resources)
            }
        };
        Self { head: head.freeze(), resources, left: HEADER + length }
    }

    /// The next piece; `None` when all is written.
    fn piece(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let piece = match &mut self.resources {
            _ if self.head.len() > LARGE => std::mem::take(&mut self.head),
            Resources::Own(resources) => copied(&mut self.head, resources, self.left),
            Resources::Shared { encoded, .. } if self.head.is_empty() => {
                encoded.split_to(encoded.len().min(SLICE))
            }
            Resources::Shared { .. } => std::mem::take(&mut self.head),
        };
        self.left -= piece.len();
        Some(piece)
    }
}

/// What comes next, as far as it is small, in one piece. `left`: how many bytes are left at most.
fn copied(head: &mut Bytes, resources: &mut Vec<Bytes>, left: usize) -> Bytes {
    let mut piece = BytesMut::with_capacity(left.min(PIECE));
    piece.put(std::mem::take(head));
    while let Some(next) = resources.pop_if(|next| fits(&piece, next)) {
        begin_field(&next, &mut piece);
        if next.len() > LARGE {
            *head = next;
            break;
        }
        piece.put(next);
    }
    piece.freeze()
}

fn fits(piece: &BytesMut, next: &Bytes) -> bool {
    next.len() > LARGE || piece.len() + field_len(next) <= PIECE
}
