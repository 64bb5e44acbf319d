//! Whether what pilot has reached the proxies: of everything, or of some documents and hosts.
//!
//! ```text
//!  for=…, gone=… ─► Wanted ─► Resolved: whose resources, by origin ┐
//!  layers in place ─► served: the number of the mesh ─────────────┼─► each proxy: has it acknowledged that mesh, or a later one?
//!  streams ─► settled: the number of the mesh that they have ─────┘
//! ```
//!
//! Who asks may wait for it. It is looked at again when a stream has come further or other layers are in place, and not more often
//! than a short pause allows: nothing is done for who waits while nothing changes.

mod judge;
mod wanted;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use super::query::Query;
use super::readiness::Readiness;
use super::reply::{Failure, Reply};
use super::{Admin, Server};
use crate::translate::rules::Standing;
use judge::Judge;
use wanted::{Resolved, Wanted};

/// What may be asked.
pub(super) const PARAMETERS: [&str; 4] = ["for", "gone", "at", "wait"];
/// An answer waits no longer.
const WAIT_MAX: u64 = 60;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// It is looked again though nothing was told: a store of rules may have said something that is not looked at yet.
const LOOK: Duration = Duration::from_secs(1);
/// So many proxies are named.
const MISSING_MAX: usize = 100;

/// How far what was asked for has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachReport {
    /// All proxies that it concerns have acknowledged it.
    pub reached: bool,
    /// Nothing more happens by itself: it has reached all, or those that are missing refuse it, or it is rejected.
    pub is_over: bool,
    /// The number of the mesh that proxies are to have, to be asked for again (`at`); `None` = pilot itself does not serve it yet.
    pub at: Option<u64>,
    /// How many proxies it concerns.
    pub concerned: usize,
    /// How many of them have it.
    pub current: usize,
    /// How many proxies are connected.
    pub connected: usize,
    /// What pilot itself still waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,
    /// Why it never counts as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<String>,
    /// The documents that were asked for, and what became of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<WaitedReport>,
    /// The proxies that do not have it; the first of many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingReport>,
}

/// A document that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitedReport {
    /// Its kind, namespace and name.
    pub document: String,
    /// The worst that there is to say of it.
    pub state: Standing,
    /// Why it is in that state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// A proxy that does not have what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingReport {
    /// Its node id.
    pub proxy: String,
    /// The address that it comes from.
    pub peer: Option<String>,
    /// Why, in a word.
    pub why: Why,
    /// Why, in words.
    pub message: String,
}

/// Why a proxy does not have something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It was not told yet, or has not answered.
    NotAcknowledged,
    /// It has not asked for it.
    NotAsked,
    /// It refuses it.
    Refused,
    /// It is not told, because proxies like it refuse it.
    Spared,
}

impl Why {
    /// Whether this stays so as long as nothing else changes.
    fn is_final(self) -> bool {
        matches!(self, Self::Refused | Self::Spared)
    }
}

impl Server {
    /// Answers at once, or when it has reached all, or when the time to wait is over.
    pub(super) async fn reach(&self, query: &Query<'_>) -> Result<Reply, Failure> {
        let of = |key| query.get(key).unwrap_or_default();
        let wanted = Wanted::read(of("for"), of("gone"))?;
        let mut at = number(query, "at")?;
        let wait = number(query, "wait")?.unwrap_or_default().min(WAIT_MAX);
        let turn = self.waits.try_acquire().ok();
        let deadline = Instant::now() + Duration::from_secs(if turn.is_some() { wait } else { 0 });
        let waiting = self.admin.proxies.progress().wait();
        let mut served = self.admin.world.served();
        loop {
            // Before the look: what happens during it is looked at again.
            let progress = waiting.changed();
            served.mark_unchanged();
            let (asked, began) = (wanted.clone(), Instant::now());
            let report = self.large(move |admin| Ok(ReachReport::of(admin, &asked, at))).await?;
            let took = began.elapsed();
            at = at.or(report.at);
            if report.is_over || Instant::now() >= deadline {
                return Ok(Reply::json(&report));
            }
            tokio::select! {
                () = progress => {}
                _ = served.changed() => {}
                () = sleep_until(deadline.min(Instant::now() + LOOK)) => {}
                () = self.ending.cancelled() => return Ok(Reply::json(&report)),
            }
            // Looking takes a small part of the time, however large the mesh is.
            let pause = PAUSE.max(took.min(PAUSE * 5) * 4);
            sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
        }
    }
}

impl ReachReport {
    /// As of now. `at`: the number of the mesh that proxies are to have; `None` = the one that is served.
    fn of(admin: &Admin, wanted: &Wanted, at: Option<u64>) -> Self {
        // First, so that nothing counts as served that came in between.
        let served = *admin.world.served().borrow();
        let Some(mesh) = admin.world.mesh().filter(|_| served.mesh > 0) else {
            let pending = [vec!["pilot is not ready".to_owned()], Readiness::of(admin).lines()].concat();
            return Self { pending, connected: admin.proxies.len(), ..Self::default() };
        };
        let Resolved { mut pending, rejected, documents, scent, .. } = Resolved::of(admin, &mesh, wanted);
        let is_behind = match wanted.is_everything() || wanted.has_gone() {
            true => at.is_none() && admin.world.is_behind(),
            false => admin.world.rules_generation() > served.rules,
        };
        if is_behind {
            pending.push("a change is being taken in".to_owned());
        }
        let own = pending.is_empty().then_some(served.mesh);
        let at = at.map(|at| at.min(served.mesh)).or(own);
        let mut judge = Judge::new(admin, &mesh, scent.as_ref(), at.unwrap_or(served.mesh));
        admin.proxies.each(|stream| judge.hear(&stream));
        let judged = judge.verdicts();
        let (concerned, connected) = (judged.concerned, admin.proxies.len());
        let current = concerned - judged.missing.len();
        let is_whole = pending.is_empty() && rejected.is_empty();
        let reached = is_whole && judged.missing.is_empty();
        let is_final = judged.missing.iter().all(|it| it.why.is_final());
        let is_over = !rejected.is_empty() || (pending.is_empty() && is_final);
        let mut missing = judged.missing;
        missing.truncate(MISSING_MAX);
        Self { reached, is_over, at, concerned, current, connected, pending, rejected, documents, missing }
    }
}

fn number(query: &Query<'_>, key: &str) -> Result<Option<u64>, Failure> {
    let number = |text: &str| {
        text.parse()
            .map_err(|_| Failure::bad_request(format!("{key}: {text:?} is no number: expected one from 0")))
    };
    query.get(key).map(number).transpose()
}
