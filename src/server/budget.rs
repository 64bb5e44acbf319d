//! How much of large requests is in memory at one time.
//!
//! When a mesh comes back after an outage, each client names all that it has in one request, which is megabytes for a
//! large mesh. So the bytes of all large requests have a budget, and who finds it spent is not read from meanwhile. It
//! is served in order of arrival.
//!
//! ```text
//!  first frame ─► how long is it? ─► share of the budget ─► read ─► its turn ─► decoded ─► dealt with: all is free
//!                                     └ waits its turn       └ 10 s without a byte, or 60 s in all: closed     again
//! ```
//!
//! A decoded request is several times as large as its bytes, and made of thousands of small parts, which leave holes in
//! the memory of the process when they go. So few are decoded at one time; the others wait as bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;

/// Requests up to this size need no share: a frame's worth, which the transport has read anyway.
const SMALL: usize = 16 << 10;

/// So many requests for each core are decoded at one time: enough to keep all cores busy.
const PER_CORE: usize = 2;

/// What is counted, in bytes.
const UNIT: usize = 1024;

/// The budget of all streams.
#[derive(Clone)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
    decoding: Arc<Semaphore>,
    timeout: Duration,
}

impl Budget {
    /// Of that many bytes. A client that has its share may send nothing for `timeout`.
    pub(super) fn new(bytes: usize, timeout: Duration) -> Self {
        let decoded = std::thread::available_parallelism().map_or(1, usize::from) * PER_CORE;
        let [units, decoding] = [units(bytes), decoded].map(|permits| Arc::new(Semaphore::new(permits)));
        Self { units, decoding, timeout }
    }

    /// The share of a request of that many bytes; `None` = it needs none.
    pub(super) fn share(&self, bytes: usize) -> Option<Share> {
        if bytes <= SMALL {
            return None;
        }
        let units = u32::try_from(units(bytes)).unwrap_or(u32::MAX);
        let asked = Arc::clone(&self.units).acquire_many_owned(units).map(Result::ok).boxed();
        Some(Share { budget: self.clone(), state: State::Waiting(asked) })
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS)
}

/// A request's share of the budget, or the wait for it.
pub(super) struct Share {
    budget: Budget,
    state: State,
}

enum State {
    Waiting(Asked),
    Reading {
        units: Option<OwnedSemaphorePermit>,
        alarm: Pin<Box<Sleep>>,
        end: Instant,
    },
    /// It has come as a whole.
    Whole {
        units: Option<OwnedSemaphorePermit>,
        turn: Asked,
    },
    Decoded(Vec<OwnedSemaphorePermit>),
}

type Asked = BoxFuture<'static, Option<OwnedSemaphorePermit>>;

impl Share {
    /// Ready once the request may be read.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let State::Waiting(asked) = &mut self.state {
            let units = ready!(asked.as_mut().poll(context));
            let timeout = self.budget.timeout;
            let alarm = Box::pin(sleep(timeout));
            self.state = State::Reading { units, alarm, end: Instant::now() + timeout * 6 };
        }
        Poll::Ready(())
    }

    /// Ready once the request, which has come as a whole, may be decoded.
    pub(super) fn poll_whole(&mut self, context: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll(context));
        if let State::Reading { units, .. } = &mut self.state {
            let turn = Arc::clone(&self.budget.decoding).acquire_owned().map(Result::ok).boxed();
            self.state = State::Whole { units: units.take(), turn };
        }
        if let State::Whole { units, turn } = &mut self.state {
            let turn = ready!(turn.as_mut().poll(context));
            self.state = State::Decoded(units.take().into_iter().chain(turn).collect());
        }
        Poll::Ready(())
    }

    /// A part of the request came: the rest has its time, too.
    pub(super) fn progress(&mut self) {
        if let State::Reading { alarm, end, .. } = &mut self.state {
            alarm.as_mut().reset((Instant::now() + self.budget.timeout).min(*end));
        }
    }

    /// Why the stream is closed, once it is.
    pub(super) fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        let State::Reading { alarm, .. } = &mut self.state else { return Poll::Pending };
        ready!(alarm.as_mut().poll(context));
        Poll::Ready(Status::deadline_exceeded("the rest of a large request does not come"))
    }

    /// What it holds, once it may be decoded.
    pub(super) fn into_held(self) -> Vec<OwnedSemaphorePermit> {
        match self.state {
            State::Decoded(held) => held,
            State::Waiting(_) | State::Reading { .. } | State::Whole { .. } => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    const KIB: usize = 1 << 10;
    const SHORT: Duration = Duration::from_millis(1);

    async fn ready(share: &mut Share) {
        poll_fn(|context| share.poll(context)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn shares_are_given_in_order_of_arrival_and_come_back() {
        let budget = Budget::new(64 * KIB, SHORT);
        assert!(budget.share(16 * KIB).is_none(), "small ones need none");
        let [mut first, mut second, mut third] = [40, 60, 20].map(|kib| budget.share(kib * KIB).unwrap());
        ready(&mut first).await;
        assert!(timeout(SHORT, ready(&mut second)).await.is_err());
        assert!(
            timeout(SHORT, ready(&mut third)).await.is_err(),
            "it would fit, and the second is before it"
        );
        poll_fn(|context| first.poll_whole(context)).await;
        let in_hand = first.into_held();
        assert!(timeout(SHORT, ready(&mut second)).await.is_err(), "the first is still being dealt with");
        drop(in_hand);
        ready(&mut second).await;
        drop(second);
        ready(&mut third).await;
    }

    #[tokio::test(start_paused = true)]
    async fn few_requests_are_decoded_at_one_time() {
        let budget = Budget::new(1 << 20, SHORT);
        let whole = async |share: &mut Share| poll_fn(|context| share.poll_whole(context)).await;
        let mut held = Vec::new();
        for _ in 0..budget.decoding.available_permits() {
            let mut share = budget.share(20 * KIB).unwrap();
            whole(&mut share).await;
            held.push(share.into_held());
        }
        let mut next = budget.share(20 * KIB).unwrap();
        assert!(timeout(SHORT, whole(&mut next)).await.is_err(), "it waits as bytes");
        held.pop();
        whole(&mut next).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_a_request_has_its_time_while_it_comes_and_not_for_ever() {
        let time = Duration::from_secs(10);
        let budget = Budget::new(64 * KIB, time);
        let mut share = budget.share(20 * KIB).unwrap();
        ready(&mut share).await;
        let begun = Instant::now();
        let late = async |share: &mut Share| poll_fn(|context| share.poll_late(context)).await;
        for _ in 0..6 {
            assert!(timeout(time * 9 / 10, late(&mut share)).await.is_err());
            share.progress();
        }
        let status = late(&mut share).await;
        assert_eq!((status.code(), begun.elapsed()), (tonic::Code::DeadlineExceeded, time * 6));
    }
}
