//! Holds back mass disappearance and mass unhealthiness until they are confirmed.
//!
//! ```text
//!  what the registry says ──► Guard ──► what counts
//!                               ▲
//!      second read, time, people ┘   let go
//! ```
//!
//! Platforms answer with too little now and then: while they have no leader, after a restore, when a store was started
//! anew. And they call much unhealthy that is not: when their servers do not reach their agents, or all checks ask the
//! same thing. A mass is more than `share_percent` and at least `min_endpoints`.
//!
//! | the registry says | what counts |
//! |---|---|
//! | a mass of one service's endpoints is missing | they are kept, and the ports by which they were called |
//! | a mass of several services together is missing | the same, services that went among them |
//! | there is nothing at all | everything is kept, however little it was |
//! | one service was removed | it goes, also if others lose a few endpoints meanwhile |
//! | others came instead of what is missing | what is said: a deployment may replace everything |
//! | what was unhealthy or draining is missing | what is said |
//! | a mass of the registry's endpoints turned unhealthy | they keep their former health |
//! | anything that somebody meant ([`Snapshot::deliberate`]) | what is said, also of what was held |
//! | all else | what is said, at once |
//!
//! Pieces that are missing add up for a tenth of `hold`, those that turn unhealthy for `hold`: checks fail one after the
//! other. What is held is let go
//!
//! | when | what |
//! |---|---|
//! | it is back or well, or the service has others in its place | that |
//! | a second complete read says the same, a third of `hold` later | what was held when it began |
//! | `hold` is over, in which the registry was live throughout | what has been held for so long |
//! | a person says so | everything |
//!
//! Endpoints elsewhere do not replace a service that went with others. Once one of these services is back, the
//! trouble is over: those that are still gone no longer add to what goes later. What counts as missing is in
//! `diff.rs`.
//!
//! Time is a parameter. Nothing here has a clock or does IO.

mod baseline;
mod diff;
mod health;
mod held;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot_registry::{Content, Service, ServiceId, Snapshot};
use tokio::time::Instant;

use baseline::{Baseline, CountedSnapshot};
use diff::{ServiceDiff, SnapshotDiff};
use health::Turned;
use held::HeldService;

pub use held::Held;
pub use settings::GuardSettings;

/// What disappears within this part of the hold time disappears at once.
const WINDOW: u32 = 10;
/// A second read confirms when it comes after this part of the hold time: what is wrong for a moment is over
/// by then.
const PAUSE: u32 = 3;

/// One registry's guard.
#[derive(Debug)]
pub struct Guard {
    /// `None` = turned off.
    settings: Option<GuardSettings>,
    /// What it compares with. `None` = nothing was there before.
    baseline: Option<Baseline>,
    said: CountedSnapshot,
    held: BTreeMap<ServiceId, HeldService>,
    turned: Turned,
    /// Of the services that went together, one is back.
    returning: bool,
    counts: Arc<Snapshot>,
}

impl Guard {
    /// A guard of a registry of which nothing is known. `None` = it never holds anything.
    pub fn new(settings: Option<GuardSettings>) -> Self {
        Self {
            settings,
            baseline: None,
            said: CountedSnapshot::default(),
            held: BTreeMap::new(),
            turned: Turned::default(),
            returning: false,
            counts: Arc::default(),
        }
    }

    /// What counts.
    pub fn counts(&self) -> &Arc<Snapshot> {
        &self.counts
    }

    /// What is held, if anything is.
    pub fn held(&self) -> Option<Held> {
        let hold = self.turned.hold();
        let since = self.held.values().map(|held| held.since).chain(hold.map(|hold| hold.since)).min()?;
        let until = self.deadline()?;
        let services = self.held.iter().map(|(id, kept)| (id.clone(), Arc::clone(&kept.missing))).collect();
        Some(Held { since, until, services, unhealthy: self.turned.held() })
    }

    /// The registry says this. `read` counts its complete reads: it is the same for all that follows from one
    /// list of everything.
    pub fn publish(&mut self, now: Instant, snapshot: &Arc<Snapshot>, read: u64) {
        let Some(settings) = self.settings else {
            self.counts = Arc::clone(snapshot);
            return;
        };
        let Some(baseline) = self.baseline_at(now, settings) else {
            let usable = snapshot.services().iter().map(|service| diff::usable(service)).sum();
            self.said = CountedSnapshot { snapshot: Arc::clone(snapshot), usable };
            self.baseline = Some(Baseline::new(&self.said, now));
            self.counts = Arc::clone(snapshot);
            return;
        };
        let old = baseline.said.clone();
        let difference = SnapshotDiff::between(&old.snapshot, snapshot, &mut baseline.findings);
        let before = Arc::clone(&self.said.snapshot);
        self.said = CountedSnapshot { snapshot: Arc::clone(snapshot), usable: difference.usable(old.usable) };
        if snapshot.is_deliberate() {
            self.returning = false;
            self.held.clear();
            self.turned.let_go();
            self.baseline = Some(Baseline::new(&self.said, now));
            self.count();
            return;
        }
        if self.turned.hold().is_some_and(|hold| hold.read < read && hold.seen + settings.hold / PAUSE <= now)
        {
            self.turned.let_go();
        }
        self.turned.follow(settings, (now, read), &before, snapshot, self.said.usable);
        let confirmed = self.judge(settings, now, read, &difference, &old);
        if let Some(baseline) = self.baseline.as_mut() {
            baseline.said.update(difference.updated());
            if difference.reallocated {
                let known = &mut baseline.said.snapshot;
                *known = Arc::new(Snapshot::clone(known).reusing(snapshot));
            }
        }
        self.accept(now, &confirmed);
        self.count();
    }

    /// A second complete read, which began then, says this: lets go of what it lacks, too.
    pub fn confirm(&mut self, now: Instant, began: Instant, read: &Snapshot) -> Option<Held> {
        let pause = self.settings?.hold / PAUSE;
        let is_ready = |seen: Instant| seen + pause <= began;
        let well = self.turned.is_partly_well_in(read);
        let turned = self.turned.hold().is_some_and(|hold| is_ready(hold.seen)) && !well;
        self.let_go(now, turned, |held| is_ready(held.seen) && !held.is_partly_in(read))
    }

    /// Whether something is held that is in this read: the registry is about to say that it is back, or has been
    /// followed wrongly.
    pub fn lacks_some_of(&self, read: &Snapshot) -> bool {
        self.turned.is_partly_well_in(read) || self.held.values().any(|held| held.is_partly_in(read))
    }

    /// Lets go of what has been held for long enough. Only for when the registry is live: what does not
    /// answer confirms nothing.
    pub fn lapse(&mut self, now: Instant) -> Option<Held> {
        let turned = self.turned.hold().is_some_and(|hold| hold.until <= now);
        self.let_go(now, turned, |held| held.until <= now)
    }

    /// The registry is live again after trouble: the time that things are held begins anew.
    pub fn recover(&mut self, now: Instant) {
        let Some(settings) = self.settings else { return };
        self.held.values_mut().for_each(|held| held.until = now + settings.hold);
        self.turned.recover(now + settings.hold);
    }

    /// Lets go of everything.
    pub fn release(&mut self, now: Instant) -> Option<Held> {
        self.let_go(now, true, |_| true)
    }

    /// When the next of what is held may [lapse](Self::lapse).
    pub fn deadline(&self) -> Option<Instant> {
        self.held.values().map(|held| held.until).chain(self.turned.hold().map(|hold| hold.until)).min()
    }

    /// When a complete read newer than `read` would confirm something.
    pub fn second_read_at(&self, read: u64) -> Option<Instant> {
        let pause = self.settings?.hold / PAUSE;
        let services = self.held.values().map(|held| (held.read, held.seen));
        let all = services.chain(self.turned.hold().map(|hold| (hold.read, hold.seen)));
        all.filter(|(said, _)| *said >= read).map(|(_, seen)| seen + pause).min()
    }

    /// The baseline, after it has been moved on when it is old. Of the services that are held it stays: what
    /// went before is not brought back by what goes later.
    fn baseline_at(&mut self, now: Instant, settings: GuardSettings) -> Option<&mut Baseline> {
        let baseline = self.baseline.as_ref()?;
        if baseline.since + settings.hold / WINDOW <= now {
            let is_free = |id: &ServiceId| !self.held.contains_key(id);
            self.baseline = Some(match self.held.is_empty() {
                true => Baseline::new(&self.said, now),
                false => baseline.moved_on(&self.said, now, is_free),
            });
        }
        self.baseline.as_mut()
    }

    /// Decides for each service that changed whether what it lacks is held. What stays held is what still
    /// lacks; the services whose lack is confirmed are returned.
    fn judge(
        &mut self,
        settings: GuardSettings,
        now: Instant,
        read: u64,
        difference: &SnapshotDiff<'_>,
        baseline: &CountedSnapshot,
    ) -> Vec<ServiceId> {
        self.returning = !self.held.is_empty() && (self.returning || self.is_one_back());
        let all = self.lacks_all(settings, difference, baseline.usable);
        let mut before = std::mem::take(&mut self.held);
        let mut confirmed = Vec::new();
        for change in difference.changes.iter().filter(|change| change.is_lacking()) {
            let Some(old) = change.old else { continue };
            let id = old.id();
            let kept = before.remove(&id);
            let alone = change.new.is_some() && settings.is_mass(change.lack(), diff::usable(old));
            // A service that is taken away goes at once, also when it was emptied first. One that is held because
            // it went with others stays, whatever becomes of those.
            let begun = kept.as_ref().is_some_and(|kept| change.new.is_some() || kept.is_gone());
            if !begun && !all && !alone {
                continue;
            }
            let Some(mut kept) = HeldService::of(change, kept, settings.hold, now, read) else { continue };
            if kept.read < read {
                if kept.seen + settings.hold / PAUSE <= now {
                    confirmed.push(id);
                    continue;
                }
                kept.read = read;
            }
            self.held.insert(id, kept);
        }
        confirmed
    }

    /// Whether a mass is lacking of the registry as a whole: all there was, however little, or much of more
    /// than one service. One service that is taken away is no trouble of the registry's, and neither are the
    /// few endpoints that others lose meanwhile.
    fn lacks_all(&self, settings: GuardSettings, difference: &SnapshotDiff<'_>, of: usize) -> bool {
        let is_held = |service: &Service| self.held.get(&service.id()).is_some_and(HeldService::is_gone);
        let is_old = |change: &ServiceDiff<'_>| {
            self.returning && change.new.is_none() && change.old.is_some_and(|old| is_held(old))
        };
        let total = difference.total(is_old);
        let of = of.saturating_sub(total.left_out);
        let is_empty = of > 0 && self.said.snapshot.services().is_empty();
        let is_wide = || match total.removed {
            Some(one) => !settings.are_few(total.lack.saturating_sub(one), of.saturating_sub(one)),
            None => total.services > 1,
        };
        is_empty || settings.is_mass(total.lack, of) && (self.said.usable == 0 || is_wide())
    }

    /// Whether a service that is held because it was gone is there.
    fn is_one_back(&self) -> bool {
        let is_there = |id: &ServiceId| self.said.snapshot.find(id).is_some();
        self.held.iter().any(|(id, kept)| kept.is_gone() && is_there(id))
    }

    /// Lets go of these services, and of former health if `turned`.
    fn let_go(&mut self, now: Instant, turned: bool, which: impl Fn(&HeldService) -> bool) -> Option<Held> {
        let held = self.held()?;
        let unhealthy = if turned { self.turned.held() } else { BTreeMap::new() };
        if turned {
            self.turned.let_go();
        }
        let (gone, stay) = std::mem::take(&mut self.held).into_iter().partition(|(_, kept)| which(kept));
        self.held = stay;
        let gone: BTreeMap<ServiceId, HeldService> = gone;
        if gone.is_empty() && unhealthy.is_empty() {
            return None;
        }
        let services = gone.iter().map(|(id, kept)| (id.clone(), Arc::clone(&kept.missing))).collect();
        self.accept(now, &gone.into_keys().collect::<Vec<_>>());
        self.count();
        Some(Held { services, unhealthy, ..held })
    }

    /// From now on, what the registry says of these services is what it is compared with.
    fn accept(&mut self, now: Instant, ids: &[ServiceId]) {
        let Some(baseline) = self.baseline.as_ref().filter(|_| !ids.is_empty()) else { return };
        if self.held.is_empty() {
            self.baseline = Some(Baseline::new(&self.said, now));
        } else {
            let accepted = |id: &ServiceId| ids.binary_search(id).is_ok();
            self.baseline = Some(baseline.moved_on(&self.said, baseline.since, accepted));
        }
    }

    /// What counts, after a change. What did not change stays the same allocation.
    fn count(&mut self) {
        let next = if self.held.is_empty() {
            Arc::clone(&self.said.snapshot)
        } else {
            let said = self.said.snapshot.services().iter();
            let free = said.filter(|service| !self.held.contains_key(&service.id()));
            let kept = self.held.values().map(|kept| &kept.whole);
            CountedSnapshot::of(free.chain(kept).cloned().collect()).snapshot
        };
        let next = self.turned.applied(next);
        if !next.same(&self.counts) {
            self.counts = next;
        }
    }
}
