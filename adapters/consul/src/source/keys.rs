//! Following the documents of rules in Consul's keys: one long poll for all keys below a prefix.
//!
//! Agents have no views of keys: a server answers. What the [source](super) says of indexes, of the leader and of
//! failure counts here, too. The first list of an attempt, and one whose index went backwards, is asked of a leader that
//! makes sure that it leads.
//!
//! Consul leaves out of a list what the token may not read, and says so only since 1.12. So an empty list is believed
//! where the token may read the prefix itself. Where a server says that it left out some, those that could be read before
//! stay beside the others, and the store is degraded.

use std::convert::Infallible;

use pilot_registry::{Following, Memory, RegistryError, RuleStore, TextSink, async_trait};
use tokio::time::{Instant, sleep};

use super::index::Index;
use super::question::patiently;
use super::reply::{SPACING, spacing, until_lost};
use super::texts::KeyTexts;
use crate::RulesConfig;
use crate::client::{Answer, Client, Polled, Query, Wait, key};

/// A store of the documents of rules in Consul's keys. Made by [`crate::rules`].
#[derive(Clone, Debug)]
pub struct ConsulRules {
    config: RulesConfig,
    /// What was in force when the last attempt ended: of a value that is no text now, its last text is there.
    last: Memory<KeyTexts>,
}

impl ConsulRules {
    pub(crate) fn new(config: RulesConfig) -> Self {
        Self { config, last: Memory::default() }
    }

    /// Asks, takes answers and publishes, until something fails.
    async fn follow(
        &self,
        client: &Client,
        sink: &TextSink,
        following: &Following,
    ) -> Result<Infallible, RegistryError> {
        let (keys, wait) = (self.config.keys(), self.config.agent().limits.wait());
        let path = key(&keys);
        let mut last = self.last.lend();
        let (mut index, mut asked, mut fault) = (Index::default(), None, None);
        following.listing();
        loop {
            sleep(spacing(asked.replace(Instant::now()), SPACING)).await;
            let sure = index.held().is_none();
            let query = Query {
                wait: index.held().map(|held| Wait::new(held, wait)),
                consistent: sure,
                recurse: true,
                ..Query::new(&path, self.config.datacenter.as_deref())
            };
            let answer = ask(client, &query).await?;
            following.heard();
            if !index.advance(answer.index, sure) {
                continue;
            }
            let is_denied = self.is_denied(client, &query, &answer).await?;
            last.take(&answer.body, is_denied)?;
            following.watching();
            if is_denied && fault.is_none() {
                fault = Some(sink.fault(self.denied()));
            }
            last.publish(sink);
            // A fault that is over ends after the value that cures it.
            fault = fault.filter(|_| is_denied);
        }
    }

    /// Whether the answer lacks keys that the token may not read: those that it could read before stay.
    ///
    /// # Errors
    /// It lacks all of them.
    async fn is_denied(
        &self,
        client: &Client,
        query: &Query<'_>,
        answer: &Answer,
    ) -> Result<bool, RegistryError> {
        let is_empty = answer.body.is_empty();
        let is_denied = answer.filtered || is_empty && !client.may_read(query).await?;
        match is_denied && is_empty {
            true => Err(self.denied()),
            false => Ok(is_denied),
        }
    }

    fn denied(&self) -> RegistryError {
        let keys = self.config.keys();
        RegistryError::denied(format!(
            "consul shows not all keys below {keys}: the token may not read them; expected key_prefix {keys:?} with \
             the policy \"read\""
        ))
    }
}

async fn ask(client: &Client, query: &Query<'_>) -> Result<Answer, RegistryError> {
    match patiently(client, query).await? {
        Polled::Answered(answer) => Ok(answer),
        Polled::StreamFailed(error) | Polled::Limited(error) => Err(error),
    }
}

#[async_trait]
impl RuleStore for ConsulRules {
    fn name(&self) -> &'static str {
        "consul"
    }

    async fn run(&self, sink: &TextSink) -> Result<Infallible, RegistryError> {
        let following = sink.following("rules");
        let ended = async {
            let client = Client::open(&self.config.agent()).await?;
            tokio::select! {
                ended = self.follow(&client, sink, &following) => ended,
                error = until_lost(&client) => Err(error),
            }
        };
        ended.await.inspect_err(|error| following.failed(error))
    }
}
