//! One attempt: the loop that asks, takes answers, and publishes.

mod lists;
mod reads;
mod round;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use pilot_registry::{Fault, Lent, RegistryError, Snapshot, SnapshotSink};
use tokio::time::Instant;

use super::datacenter::Datacenter;
use super::memory::Remembered;
use super::reply::{Ask, Key, Reply, pulse};
use super::services::Services;
use super::streams::Streams;
use crate::Config;
use crate::client::Client;
use round::Round;

/// What has not changed is published no more often.
const CONFIRM: Duration = Duration::from_secs(1);

pub(super) struct Follower<'a> {
    config: &'a Config,
    client: &'a Client,
    sink: &'a SnapshotSink,
    datacenters: Vec<Datacenter>,
    services: Services,
    /// To be read next.
    urgent: VecDeque<Key>,
    round: Round,
    streams: Streams,
    /// Whether there are so many services that they are read in turn.
    in_turn: bool,
    /// How many reads and probes are open.
    reading: usize,
    /// Whether there is something to publish, be it that nothing has changed.
    news: bool,
    published: Option<Instant>,
    /// Held as long as what is published of some service is not what consul says.
    fault: Option<Fault<Snapshot>>,
    open: FuturesUnordered<BoxFuture<'a, Reply>>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(
        config: &'a Config,
        client: &'a Client,
        sink: &'a SnapshotSink,
        remembered: Lent<Remembered>,
    ) -> Self {
        let named = |name: &String| Datacenter { name: Some(name.clone()), ..Datacenter::default() };
        let mut datacenters: Vec<_> = config.datacenters.iter().map(named).collect();
        if datacenters.is_empty() {
            datacenters.push(Datacenter::default());
        }
        Self {
            config,
            client,
            sink,
            datacenters,
            services: Services::new(config, remembered),
            urgent: VecDeque::new(),
            round: Round::default(),
            streams: Streams::default(),
            in_turn: false,
            reading: 0,
            news: false,
            published: None,
            fault: None,
            open: FuturesUnordered::new(),
        }
    }

    pub(super) async fn follow(mut self) -> Result<Infallible, RegistryError> {
        self.open.push(pulse(self.client, true).boxed());
        self.recheck_later();
        (0..self.datacenters.len()).for_each(|datacenter| self.ask_names(datacenter));
        loop {
            self.ask_more();
            let reply = self.open.next().await.expect("the pulse is always open");
            self.take(reply)?;
            while let Some(Some(reply)) = self.open.next().now_or_never() {
                self.take(reply)?;
            }
            self.publish()?;
        }
    }

    fn publish(&mut self) -> Result<(), RegistryError> {
        if !(self.news && self.services.complete()) {
            return Ok(());
        }
        self.services.begin();
        if let Some(error) = self.services.all_refused() {
            return Err(error);
        }
        self.news = false;
        self.published = Some(Instant::now());
        let denied = self.services.denied();
        if self.fault.is_none() || denied.is_none() {
            self.fault = denied.map(|error| self.sink.fault(error));
        }
        for (name, why) in self.datacenters.iter().flat_map(|datacenter| &datacenter.no_hosts) {
            self.sink.skipped(name, why);
        }
        for datacenter in &self.datacenters {
            let Some((key, why)) = &datacenter.nothing else { continue };
            let place = datacenter.name.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
            self.sink.note(format!("{key}{place}"), why);
        }
        self.services.publish(self.sink);
        Ok(())
    }

    /// Whether it is time to say again how it is, although nothing has changed.
    fn news_due(&self) -> bool {
        self.published.is_none_or(|last| last.elapsed() >= CONFIRM)
    }

    fn take(&mut self, reply: Reply) -> Result<(), RegistryError> {
        match reply {
            Reply::Names { datacenter, sure, answer } => self.take_names(datacenter, sure, &answer?)?,
            Reply::Troubled { datacenter, trouble, sure, answer } => {
                self.take_troubled(datacenter, trouble, sure, &answer?)?;
            }
            Reply::Service { key, generation, asked, told } => {
                self.reading -= usize::from(asked.ask != Ask::Poll);
                self.take_service(&key, generation, asked, told?);
            }
            Reply::Pulse(answer) => {
                answer?;
                self.open.push(pulse(self.client, false).boxed());
            }
            Reply::Recheck => {
                self.recheck_later();
                self.recheck();
            }
            Reply::Rested => {
                self.round.resting = false;
                if std::mem::take(&mut self.round.again) {
                    self.probe_all();
                }
            }
        }
        Ok(())
    }
}
