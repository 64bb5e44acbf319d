//! After any sequence of platform events, the registry reports exactly what is there.
#![allow(clippy::future_not_send, reason = "proptest's trees of values stay on their thread")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use pilot_registry::{Hostname, Service};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::contract::Bench;
use crate::{Made, Operation, Runner, effort, service, strategies};

/// How many lists of operations are drawn in the short and in the long form, unless `PROPTEST_CASES` says
/// otherwise.
const CASES: (u32, u32) = (8, 24);

/// How many lists are tried to find a shorter one that fails too.
const SHRINKS: u32 = 24;

/// A wait is shorter than elsewhere: each of the lists that are tried in search of a shorter one waits as
/// long as this.
const PATIENCE: Duration = Duration::from_secs(15);

/// Draws lists of operations on the platform, runs each on a new one, and requires that the registry then
/// says what is there and is live.
///
/// The seed is printed and part of the error; the environment's `PILOT_SEED` sets it.
///
/// # Errors
/// A list after which the registry says something else: as short as could be found, with the seed.
pub async fn operations_converge<M, F>(make: impl Fn() -> F) -> Result<()>
where
    M: Made,
    F: Future<Output = Result<M>>,
{
    let seed = number_from_environment("PILOT_SEED")?.unwrap_or_else(|| fastrand::u64(..));
    let cases = number_from_environment("PROPTEST_CASES")?.unwrap_or(effort(CASES.0, CASES.1).into());
    eprintln!("PILOT_SEED={seed} draws the same operations again");
    let mut runner = runner(seed);
    for case in 1..=cases {
        let mut tree =
            vec(step(), 1..24).new_tree(&mut runner).map_err(|why| anyhow!("drawing operations: {why}"))?;
        let outcome = converges(&make, &tree.current()).await;
        if let Ok(Outcome::NotMade) = outcome {
            return Ok(());
        }
        if let Err(error) = outcome {
            let (steps, error) = shorten(&make, &mut tree, error).await;
            return Err(error.context(format!("PILOT_SEED={seed}, case {case}: {steps:#?}")));
        }
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Step {
    Put(Arc<Service>),
    Delete(Hostname),
    Rewrite,
    PutMalformed(u8),
    DeleteMalformed(u8),
    Disconnect,
    Reconnect,
    LoseHistory,
    Revoke,
    Restore,
    /// Lets the registry see what there is before going on, if it can.
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => strategies::service().prop_map(Step::Put),
        4 => strategies::host().prop_map(Step::Delete),
        1 => Just(Step::Rewrite),
        1 => (0..2u8).prop_map(Step::PutMalformed),
        1 => (0..2u8).prop_map(Step::DeleteMalformed),
        2 => Just(Step::Disconnect),
        2 => Just(Step::Reconnect),
        1 => Just(Step::LoseHistory),
        1 => Just(Step::Revoke),
        1 => Just(Step::Restore),
        4 => Just(Step::Settle),
    ]
}

/// A platform, its registry, and what is wrong with the platform at the moment.
struct World<'a> {
    bench: Bench<'a>,
    runner: Runner,
    malformed: BTreeSet<u8>,
    disconnected: bool,
    revoked: bool,
}

/// What a list of operations led to, if not to an error.
enum Outcome {
    Agreed,
    /// The platform cannot be had.
    NotMade,
}

async fn converges<M, F>(make: &impl Fn() -> F, steps: &[Step]) -> Result<Outcome>
where
    M: Made,
    F: Future<Output = Result<M>>,
{
    let Some(mut backend) = make().await.context("making a platform")?.made() else {
        return Ok(Outcome::NotMade);
    };
    let bench = Bench::new(&mut backend);
    let runner = bench.run().with_patience(PATIENCE);
    let mut world = World { bench, runner, malformed: BTreeSet::new(), disconnected: false, revoked: false };
    for step in steps {
        world.take(step).await.with_context(|| format!("at {step:?}"))?;
        tokio::task::yield_now().await;
    }
    world.take(&Step::Reconnect).await?;
    world.take(&Step::Restore).await?;
    world.take(&Step::Settle).await.context("in the end")?;
    // Not only by chance: it still follows.
    world.bench.put(service("last.local").http(80).endpoint("10.0.0.9", 8080).build()).await?;
    world.take(&Step::Settle).await.context("after one more change")?;
    Ok(Outcome::Agreed)
}

impl World<'_> {
    async fn take(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Put(service) => self.bench.put(Arc::clone(service)).await,
            Step::Delete(host) if self.bench.has(host.as_str()) => self.bench.delete(host.as_str()).await,
            Step::Rewrite if self.can(Operation::Rewrite) => self.bench.backend.rewrite().await,
            Step::PutMalformed(n) if self.can(Operation::PutMalformed) => {
                self.malformed.insert(*n);
                self.bench.backend.put_malformed(&format!("broken-{n}")).await
            }
            Step::DeleteMalformed(n) if self.malformed.remove(n) => {
                self.bench.backend.delete_malformed(&format!("broken-{n}")).await
            }
            Step::Disconnect if !self.disconnected && self.can(Operation::Disconnect) => {
                self.disconnected = true;
                self.bench.backend.disconnect().await
            }
            Step::Reconnect if std::mem::take(&mut self.disconnected) => self.bench.backend.reconnect().await,
            Step::LoseHistory if self.can(Operation::LoseHistory) => self.bench.backend.lose_history().await,
            Step::Revoke if !self.revoked && self.can(Operation::Revoke) => {
                self.revoked = true;
                self.bench.backend.revoke().await
            }
            Step::Restore if std::mem::take(&mut self.revoked) => self.bench.backend.restore().await,
            Step::Settle if !self.disconnected && !self.revoked => self.bench.agrees(&mut self.runner).await,
            // What makes no sense at the moment is left out.
            _ => Ok(()),
        }
    }

    fn can(&self, operation: Operation) -> bool {
        self.bench.backend.lacks(operation).is_none()
    }
}

/// Looks for a shorter list that fails too.
async fn shorten<M, F>(
    make: &impl Fn() -> F,
    tree: &mut impl ValueTree<Value = Vec<Step>>,
    mut error: anyhow::Error,
) -> (Vec<Step>, anyhow::Error)
where
    M: Made,
    F: Future<Output = Result<M>>,
{
    let mut shortest = tree.current();
    let mut going = tree.simplify();
    for _ in 0..SHRINKS {
        if !going {
            break;
        }
        let steps = tree.current();
        going = match converges(make, &steps).await {
            Ok(_) => tree.complicate(),
            Err(other) => {
                (shortest, error) = (steps, other);
                tree.simplify()
            }
        };
    }
    (shortest, error)
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn number_from_environment(key: &str) -> Result<Option<u64>> {
    let Ok(text) = std::env::var(key) else { return Ok(None) };
    text.parse().map(Some).with_context(|| format!("{key}={text:?} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_operations_again() {
        let draw = |seed| {
            let mut runner = runner(seed);
            let mut one = || vec(step(), 1..24).new_tree(&mut runner).unwrap().current();
            format!("{:?}", [one(), one()])
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
