//! A watch on the keys, from a revision on.
//!
//! A quiet watch looks like a dead one. So the adapter asks etcd for progress regularly, and gives up a watch
//! that does not answer.

mod heard;

use etcd_client::proto::{PbEvent, PbWatchResponse};
use etcd_client::{WatchOptions, WatchStream};
use futures_util::{FutureExt, TryStreamExt};
use pilot_registry::RegistryError;
use tokio::time::{Duration, Instant, sleep_until, timeout};

use crate::config::Config;
use crate::connection::Connection;
use crate::error;
use crate::keys::Keys;
use heard::Heard;

/// How often the right to read, the leader and the revision are looked at besides.
const RECHECK: Duration = Duration::from_secs(10);
/// How many questions may be open before the watch counts as dead. One is not enough: an etcd that is
/// catching up answers none.
const SILENT_QUESTIONS: u32 = 3;
/// How many responses that are there already are taken together.
const BATCH: usize = 256;

/// A watch that goes on until it fails.
pub(crate) struct Watch<'a> {
    connection: &'a Connection,
    keys: &'a Keys,
    /// What is being done, in errors.
    watching: &'static str,
    stream: WatchStream,
    heard: Heard,
    silence: Silence,
    ask: Instant,
    recheck: Instant,
}

/// How long the watch has said nothing.
struct Silence {
    /// Between two questions.
    interval: Duration,
    heard: Instant,
}

impl Silence {
    /// For that long nobody has listened: what came meanwhile waits in the stream.
    fn not_listened(&mut self, time: Duration) {
        self.heard += time;
    }

    /// How long it was, if the watch counts as dead.
    fn too_long(&self) -> Option<Duration> {
        Some(self.heard.elapsed()).filter(|silent| *silent >= self.interval * SILENT_QUESTIONS)
    }
}

/// What a watch brings.
#[derive(Debug)]
pub(crate) enum News {
    /// All events of one or several whole responses.
    Events(Vec<PbEvent>),
    /// Nothing has changed, says etcd.
    Nothing,
    /// The history was lost, and this is why: a new list is needed.
    Lost(RegistryError),
}

impl<'a> Watch<'a> {
    /// Watches from the revision after that one.
    ///
    /// # Errors
    /// etcd refuses, or does not answer.
    pub(crate) async fn open(
        connection: &'a Connection,
        config: &Config,
        keys: &'a Keys,
        revision: i64,
        watching: &'static str,
    ) -> Result<Self, RegistryError> {
        let interval = config.progress_interval;
        let options = WatchOptions::new()
            .with_range(keys.end())
            .with_start_revision(revision + 1)
            .with_progress_notify()
            .with_fragment();
        let mut client = connection.client.watch_client().max_decoding_message_size(config.max_bytes);
        let watch = client.watch(keys.root(), Some(options));
        let stream = connection.answer(watching, watch).await?;
        let now = Instant::now();
        let (ask, recheck) = (now + interval, now + RECHECK);
        Ok(Self {
            connection,
            keys,
            watching,
            stream,
            heard: Heard::since(revision),
            silence: Silence { interval, heard: now },
            ask,
            recheck,
        })
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    /// The watch is dead, cancelled or makes no sense.
    pub(crate) async fn next(&mut self) -> Result<News, RegistryError> {
        loop {
            tokio::select! {
                // What has come already counts before what has not.
                biased;
                message = self.stream.try_next() => {
                    let response = self.response(message)?;
                    if let Some(news) = self.heard.take(&self.connection.endpoint, response)? {
                        return self.and_what_is_there(news);
                    }
                }
                () = sleep_until(self.ask) => self.ask().await?,
                () = sleep_until(self.recheck) => {
                    if let Some(lost) = self.recheck().await? {
                        return Ok(News::Lost(lost));
                    }
                }
            }
        }
    }

    /// Adds what needs no waiting, so that a storm is published in few pieces.
    fn and_what_is_there(&mut self, news: News) -> Result<News, RegistryError> {
        let News::Events(mut events) = news else { return Ok(news) };
        for _ in 0..BATCH {
            let Some(message) = self.stream.try_next().now_or_never() else { break };
            let response = self.response(message)?;
            match self.heard.take(&self.connection.endpoint, response)? {
                Some(News::Events(more)) => events.extend(more),
                // Whatever else it is comes back: from a list, what was taken here would come, too.
                Some(News::Lost(why)) => return Ok(News::Lost(why)),
                Some(News::Nothing) | None => {}
            }
        }
        Ok(News::Events(events))
    }

    fn response(
        &mut self,
        message: Result<Option<etcd_client::WatchResponse>, etcd_client::Error>,
    ) -> Result<PbWatchResponse, RegistryError> {
        let endpoint = &self.connection.endpoint;
        let message = message.map_err(|error| error::failed(self.watching, endpoint, &error))?;
        self.silence.heard = Instant::now();
        let ended = || RegistryError::unavailable(format!("etcd at {endpoint} ended the watch"));
        message.map(|response| response.0).ok_or_else(ended)
    }

    async fn ask(&mut self) -> Result<(), RegistryError> {
        let endpoint = &self.connection.endpoint;
        if let Some(silent) = self.silence.too_long() {
            let why = format!("etcd at {endpoint} has not answered on the watch for {silent:.1?}");
            return Err(RegistryError::unavailable(why));
        }
        let interval = self.silence.interval;
        self.ask = Instant::now() + interval;
        // A connection that takes nothing any more must not hold this up.
        match timeout(interval, self.stream.request_progress()).await {
            Ok(Err(error)) => Err(error::failed("asking for progress", endpoint, &error)),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// What a watch that goes on does not tell: that the right to read is gone, that there is no leader, and
    /// that etcd was set back to an older state.
    async fn recheck(&mut self) -> Result<Option<RegistryError>, RegistryError> {
        let began = Instant::now();
        let revision = self.connection.revision(self.keys).await?;
        self.recheck = Instant::now() + RECHECK;
        self.silence.not_listened(began.elapsed());
        let (endpoint, seen) = (&self.connection.endpoint, self.heard.revision());
        let back = format!("etcd at {endpoint} went back from revision {seen} to {revision}");
        Ok((revision < seen).then(|| RegistryError::unavailable(back)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use pilot_registry_testkit::server::etcd::EtcdCluster;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_besides_the_watch_does_not_keep_a_dead_one() {
        for seconds in [1, 4, 10, 60] {
            let interval = Duration::from_secs(seconds);
            let mut silence = Silence { interval, heard: Instant::now() };
            let mut rechecks = 0;
            // A recheck every 10 s that takes a tenth of a second, as long as the watch counts as alive.
            while silence.too_long().is_none() {
                advance(RECHECK.min(interval)).await;
                advance(Duration::from_millis(100)).await;
                silence.not_listened(Duration::from_millis(100));
                rechecks += 1;
                assert!(rechecks < 100, "{interval:?}: a silent watch stays");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_question_besides_the_watch_does_not_end_it() {
        let mut silence = Silence { interval: Duration::from_secs(1), heard: Instant::now() };
        advance(Duration::from_secs(3)).await;
        silence.not_listened(Duration::from_secs(3));
        assert_eq!(silence.too_long(), None);
    }

    /// Between a list and its watch, etcd may forget what happened in between.
    #[tokio::test]
    async fn a_watch_from_a_revision_that_is_compacted_asks_for_a_new_list() {
        let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
        let mut config = Config::new(etcd.endpoints());
        config.timeout = Duration::from_secs(10);
        let keys = Keys::new(&config.prefix);
        for value in ["1", "2", "3"] {
            etcd.etcdctl(&["put", "/pilot/v1/instances/a.local/1", value]).await.unwrap();
        }
        etcd.compact().await.unwrap();
        let connection = Connection::open(&config, &keys, &AtomicUsize::new(0)).await.unwrap();
        let mut watch = Watch::open(&connection, &config, &keys, 1, "watching").await.unwrap();
        // The watch is created before it is told.
        let told = async {
            loop {
                match watch.next().await.unwrap() {
                    News::Nothing => {}
                    news => return news,
                }
            }
        };
        let news = timeout(Duration::from_secs(10), told).await.unwrap();
        assert!(matches!(&news, News::Lost(why) if why.chain().contains("compacted")), "{news:?}");
    }
}
