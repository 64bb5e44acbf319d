//! A lease in etcd: its keys are deleted when it ends.

use etcd_client::{Error, LeaseKeepAliveStream, LeaseKeeper};
use pilot_registry::RegistryError;
use tokio::time::{Duration, MissedTickBehavior, interval};

use crate::connection::Connection;

/// gRPC's code for a lease that etcd does not have.
const NOT_FOUND: i32 = 5;

/// A lease, and the stream on which it is kept alive.
pub(super) struct Lease<'a> {
    pub(super) connection: &'a Connection,
    pub(super) id: i64,
    ticks: tokio::time::Interval,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

impl<'a> Lease<'a> {
    pub(super) async fn grant(connection: &'a Connection, ttl: Duration) -> Result<Self, RegistryError> {
        let mut client = connection.client.lease_client();
        // Whole seconds, rather more than less.
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let granted = connection.answer("asking etcd for a lease", client.grant(seconds, None)).await?;
        let keep = client.keep_alive(granted.id());
        let (keeper, answers) = connection.answer("keeping the lease in etcd alive", keep).await?;
        let mut ticks = interval(ttl / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { connection, id: granted.id(), ticks, keeper, answers })
    }

    /// Waits until it is time to keep it alive.
    pub(super) async fn tick(&mut self) {
        self.ticks.tick().await;
    }

    pub(super) async fn keep_alive(&mut self) -> Result<(), RegistryError> {
        const DOING: &str = "keeping the lease in etcd alive";
        let (keeper, answers) = (&mut self.keeper, &mut self.answers);
        let question = async {
            keeper.keep_alive().await?;
            answers.message().await
        };
        let answer = self.connection.answer(DOING, question).await?;
        // etcd answers a time of zero for a lease that it does not have.
        if answer.is_some_and(|answer| answer.ttl() > 0) {
            return Ok(());
        }
        let endpoint = &self.connection.endpoint;
        Err(RegistryError::unavailable(format!("{DOING} at {endpoint}: the lease is gone")))
    }
}

/// Ends a lease, and all that is under it. One that is gone already is as good.
pub(super) async fn revoke(connection: &Connection, lease: i64) -> Result<(), RegistryError> {
    let mut client = connection.client.lease_client();
    let revoked = async {
        match client.revoke(lease).await {
            Err(Error::GRpcStatus(status)) if status.code() as i32 == NOT_FOUND => Ok(()),
            outcome => outcome.map(drop),
        }
    };
    connection.answer("deregistering from etcd", revoked).await
}
