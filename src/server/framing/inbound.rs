//! Requests as they come: read from the transport's own buffer, within limits.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::Stream;
use hyper::body::Body as HttpBody;
use tonic::body::Body;
use tonic::{Code, Status};

use super::format::{HEADER, needed};
use crate::server::budget::{Budget, Share};
use crate::server::silent::{FirstRequest, IdentifiedStream};
use crate::xds::ReadMessage;
use crate::xds::stream::{Hold, InHand};

/// So many bytes of a message are made room for before they come.
const RESERVED: usize = 64 << 10;

/// What bounds the messages of a stream.
pub(in crate::server) struct RequestLimits {
    /// The longest message that is read, in bytes.
    pub(in crate::server) max: usize,
    /// Until the first message has come.
    pub(in crate::server) first: Option<FirstRequest>,
    /// Of the bytes of large messages, of all streams.
    pub(in crate::server) budget: Budget,
    /// Where a message's share of the budget goes with the message.
    pub(in crate::server) in_hand: InHand,
}

/// The messages of a request's body.
pub(in crate::server) struct Inbound<M> {
    body: Body,
    pub(super) limits: RequestLimits,
    /// The share of the message that is being read, if it is a large one.
    share: Option<Share>,
    /// With the share.
    hold: Option<Hold>,
    /// From the first message on.
    known: Option<IdentifiedStream>,
    /// What has come and has not been read, in the transport's own buffer.
    pub(super) whole: Bytes,
    /// The beginning of a message that has not come as a whole. Empty unless there is one.
    pub(super) partial: BytesMut,
    message: PhantomData<fn() -> M>,
}

impl<M: ReadMessage> Inbound<M> {
    /// Reads messages within these limits.
    pub(in crate::server) fn new(body: Body, limits: RequestLimits) -> Self {
        let (whole, partial) = (Bytes::new(), BytesMut::new());
        Self { body, limits, share: None, hold: None, known: None, whole, partial, message: PhantomData }
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

    /// How long the next message is, with its header, if it has come as a whole.
    fn whole(&mut self) -> Result<Option<usize>, Status> {
        let bytes: &[u8] = if self.partial.is_empty() { &self.whole } else { &self.partial };
        let needed = needed(bytes, self.limits.max)?;
        if bytes.len() >= needed {
            return Ok(Some(needed));
        }
        if self.share.is_none() {
            self.share = self.limits.budget.share(needed);
            self.hold = self.share.is_some().then(|| self.limits.in_hand.hold());
        }
        if !self.whole.is_empty() {
            self.partial.reserve(needed.min(RESERVED));
        }
        self.partial.put(std::mem::take(&mut self.whole));
        Ok(None)
    }

    /// The next message, which has come as a whole and is that long.
    fn take(&mut self, needed: usize) -> Result<M, Status> {
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
        self.limits.in_hand.take(self.share.take().map_or_else(Vec::new, Share::into_held));
        self.hold = None;
        M::read(message).map_err(|error| Status::internal(error.to_string()))
    }
}

impl<M: ReadMessage> Stream for Inbound<M> {
    type Item = Result<M, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(needed) = this.whole().transpose() {
                if let (Some(share), Ok(_)) = (&mut this.share, &needed) {
                    ready!(share.poll_whole(context));
                }
                return Poll::Ready(Some(needed.and_then(|needed| this.take(needed))));
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
