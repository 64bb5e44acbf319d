//! Following a cluster: which questions are open at a time, and what their answers change.
//!
//! ```text
//!  per datacenter   catalog/services ────────── which services there are           1 long poll
//!  few services     health/service/NAME ─────── the instances of each              1 long poll each
//!  many services    health/state/critical ┐
//!                   health/state/warning  ┴──── whose health has changed           2 long polls
//!                   health/service/NAME ─────── read where something has changed   at most 32 at once
//!  always           status/leader ───────────── is anybody there?                  each 2 s
//! ```
//!
//! # Few services
//! Up to `limits.max_polls` services have a blocking query each: whatever changes about one is known as
//! soon as Consul knows it.
//!
//! # Many services
//! One long poll each would take one connection each, and an agent allows 200 of one client. So beyond
//! `limits.max_polls` three long polls for each datacenter say *that* something has changed, and short
//! reads say what:
//! - A check that becomes critical or warning, or no longer is, changes one of two short lists. What differs
//!   from the list before names the services (and for checks of a node, the services with an instance on
//!   it), which are read at once.
//! - An instance that comes, goes or moves wakes `catalog/services`. That list names a service that is new,
//!   gone or tagged anew, which is read at once. Else every service is *probed*: a read with a tag that
//!   nobody has has an empty body and the index of the service. Those whose index is another are read. Those
//!   that changed last are probed first: who changes is likely to change again.
//! - Each `limits.wait_seconds` all are probed in any case, so no service waits for ever.
//!
//! After a round of probes, pilot rests for as long as the round took, so that Consul has half of the time for
//! others. A round that began only because it was time may be followed at once by one that has a reason.
//!
//! # Indexes
//! As Consul's documentation of blocking queries wants them: an index that goes backwards begins from the
//! start, and none is below 1. An answer with an index that went backwards is itself not believed: the same
//! is asked once more of a leader that makes sure that it leads (`consistent`). So is the first list of an
//! attempt, and where stale answers are taken the first answer about each service: a server that has just
//! been started may answer before it has read its own log.
//!
//! # Views
//! An agent of today answers the long polls of single services from views of its own, filled by a stream
//! from any server, and knows of no leader there. What such an answer adds or changes is believed at once. Where it
//! takes instances away, or its index goes backwards or is 1, the service is read once plainly (`consistent`), and
//! what that says counts: the view may be cold, lag, or hide what the token may no longer read. The same holds where
//! servers have said that they left something out: views say nothing of that. And as no view tells that it is stuck,
//! each service is read plainly within ten waits, and within five minutes at the latest. Whether there is a leader,
//! only the pulse and the list of services tell. A view that lacks for long what the servers have may have an index
//! above theirs: pilot waits at the view's, so the servers are asked once for each wait.
//!
//! A stream that fails (any 5xx) says nothing of the servers: the service is read plainly, and only if that fails too does
//! the attempt end. After three failures in a minute, long polls go past the views for ten minutes; those of one
//! moment count once.
//!
//! # Failure
//! An answer about one service that makes no sense is reported, and what was known of that service stays.
//! The same holds where Consul lists a service and shows none of its instances, because the token may not read their
//! nodes. Then the registry is degraded; if that is so of every service, the attempt ends. Where consul shows some
//! instances and says that it left out others, those that could be read before are kept beside them, and the
//! registry is degraded, too.
//!
//! A question about one service that a limit refuses (429, 503) is asked again for half a minute.
//!
//! Hosts are made once everything has been read for the first time. What is settled of a host (its port, its
//! protocol) so depends on all that there is and on the attempts before, not on the order of answers. It stays for
//! the last 1,000 hosts that have vanished.
//!
//! Whatever else fails ends the attempt, and what was published stays. With several datacenters, one that cannot
//! be reached holds up the others; who does not want that makes a registry of each.

mod datacenter;
mod follower;
mod index;
mod keys;
mod members;
mod memory;
mod names;
mod question;
mod reply;
mod services;
mod streams;
mod texts;
mod view;

use std::convert::Infallible;

use pilot_registry::{Memory, RegistryError, ServiceRegistry, SnapshotSink, async_trait};

use crate::Config;
use crate::client::Client;
use follower::Follower;
pub use keys::ConsulRules;
use memory::Remembered;

/// A registry of the services that a Consul cluster knows. Made by [`crate::registry`].
#[derive(Clone, Debug)]
pub struct ConsulRegistry {
    config: Config,
    memory: Memory<Remembered>,
}

impl ConsulRegistry {
    pub(crate) fn new(config: Config) -> Self {
        Self { config, memory: Memory::default() }
    }
}

#[async_trait]
impl ServiceRegistry for ConsulRegistry {
    fn name(&self) -> &'static str {
        "consul"
    }

    async fn run(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
        let client = Client::open(&self.config).await?;
        Follower::new(&self.config, &client, sink, self.memory.lend()).follow().await
    }
}
