//! Holds back a mass disappearance until it is confirmed.
//!
//! ```text
//!  what the registry says ──► Guard ──► what counts
//!                               ▲
//!      second read, time, people ┘   let go
//! ```
//!
//! Platforms answer with too little now and then: while they have no leader, after a restore, when a store is
//! empty because it was started anew. So when a snapshot lacks more than a share of the endpoints of a service
//! that is still there, or of several services together, or when it is empty, the endpoints that are missing
//! are kept beside what there is now, and so are the ports by which they were called. All else that the
//! snapshot says counts at once. What is kept is let go
//!
//! - when a second complete read, a while later, lacks the same;
//! - when it is back, or the service has others in its place;
//! - when it has been held for the configured time, in which the registry was live throughout;
//! - when a person says so.
//!
//! A snapshot that somebody meant ([`Snapshot::deliberate`]) is a person's word, too: all of it counts at once.
//!
//! A disappearance that comes in pieces is one: a snapshot is compared with what was there a short while
//! before, in which the endpoints that are still there are as they were said to be last. What counts as
//! lacking is in `diff.rs`: a deployment that replaces all endpoints lacks nothing. Removing one whole
//! service is never treated as a mass disappearance, even if other services lose a few endpoints at the same
//! time.
//!
//! A service that went with others is replaced by nothing else. Once one of them is back, the trouble is over,
//! and those that are still gone are no part of what goes from then on.
//!
//! Time is a parameter. Nothing here has a clock or does IO.

mod diff;
mod held;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{Content, Endpoint, Hostname, Service, Snapshot};
use tokio::time::Instant;

use diff::{Findings, ServiceDiff, SnapshotDiff};
use held::HeldService;

/// What disappears within this part of the hold time disappears at once.
const WINDOW: u32 = 10;
/// A second read confirms when it comes after this part of the hold time: what is wrong for a moment is over
/// by then.
const PAUSE: u32 = 3;

/// When the guard holds, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardSettings {
    /// It holds what lacks more than this share of the endpoints.
    pub share_percent: usize,
    /// ... and at least so many.
    pub min_endpoints: usize,
    /// For how long at most, on live data.
    pub hold: Duration,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self { share_percent: 50, min_endpoints: 10, hold: Duration::from_secs(30) }
    }
}

impl GuardSettings {
    /// Whether that many of that many are a mass.
    fn is_mass(&self, lack: usize, of: usize) -> bool {
        lack >= self.min_endpoints && self.is_over_share(lack, of)
    }

    /// Whether that many of that many are neither as many as a mass has at least, nor as large a share.
    fn are_few(&self, lack: usize, of: usize) -> bool {
        lack < self.min_endpoints && !self.is_over_share(lack, of)
    }

    fn is_over_share(&self, lack: usize, of: usize) -> bool {
        lack.saturating_mul(100) > of.saturating_mul(self.share_percent)
    }
}

/// What is held of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Since when.
    pub since: Instant,
    /// When the first of it is let go at the latest, if the registry is live then.
    pub until: Instant,
    /// The endpoints that are kept, by service, ordered by address.
    pub services: BTreeMap<Hostname, Arc<[Endpoint]>>,
}

impl Held {
    /// How many endpoints are kept.
    pub fn endpoints(&self) -> usize {
        self.services.values().map(|endpoints| endpoints.len()).sum()
    }
}

/// One registry's guard.
#[derive(Debug)]
pub struct Guard {
    /// `None` = turned off.
    settings: Option<GuardSettings>,
    /// What it compares with. `None` = nothing was there before.
    baseline: Option<Baseline>,
    said: Said,
    held: BTreeMap<Hostname, HeldService>,
    /// Of the services that went together, one is back.
    returning: bool,
    counts: Arc<Snapshot>,
}

/// What was there a short while ago, or before what is held began.
#[derive(Debug)]
struct Baseline {
    said: Said,
    since: Instant,
    /// What comparing with it has shown.
    findings: Findings,
}

/// A snapshot, and how many endpoints of it can serve.
#[derive(Clone, Debug, Default)]
struct Said {
    snapshot: Arc<Snapshot>,
    usable: usize,
}

impl Guard {
    /// A guard of a registry of which nothing is known. `None` = it never holds anything.
    pub fn new(settings: Option<GuardSettings>) -> Self {
        Self {
            settings,
            baseline: None,
            said: Said::default(),
            held: BTreeMap::new(),
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
        let since = self.held.values().map(|kept| kept.since).min()?;
        let until = self.held.values().map(|kept| kept.until).min()?;
        let services =
            self.held.iter().map(|(host, kept)| (host.clone(), Arc::clone(&kept.missing))).collect();
        Some(Held { since, until, services })
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
            self.said = Said { snapshot: Arc::clone(snapshot), usable };
            self.baseline = Some(Baseline::new(&self.said, now));
            self.counts = Arc::clone(snapshot);
            return;
        };
        let old = baseline.said.clone();
        let difference = SnapshotDiff::between(&old.snapshot, snapshot, &mut baseline.findings);
        self.said = Said { snapshot: Arc::clone(snapshot), usable: difference.usable(old.usable) };
        if snapshot.is_deliberate() {
            self.returning = false;
            self.held.clear();
            self.baseline = Some(Baseline::new(&self.said, now));
            self.count();
            return;
        }
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
        self.let_go(now, |held| held.seen + pause <= began && !held.is_partly_in(read))
    }

    /// Whether something is held that is in this read: the registry is about to say that it is back, or has been
    /// followed wrongly.
    pub fn lacks_some_of(&self, read: &Snapshot) -> bool {
        self.held.values().any(|held| held.is_partly_in(read))
    }

    /// Lets go of what has been held for long enough. Only for when the registry is live: what does not
    /// answer confirms nothing.
    pub fn lapse(&mut self, now: Instant) -> Option<Held> {
        self.let_go(now, |kept| kept.until <= now)
    }

    /// The registry is live again after trouble: the time that things are held begins anew.
    pub fn recover(&mut self, now: Instant) {
        let Some(settings) = self.settings else { return };
        self.held.values_mut().for_each(|kept| kept.until = now + settings.hold);
    }

    /// Lets go of everything.
    pub fn release(&mut self, now: Instant) -> Option<Held> {
        self.let_go(now, |_| true)
    }

    /// When the next of what is held may [lapse](Self::lapse).
    pub fn deadline(&self) -> Option<Instant> {
        self.held.values().map(|kept| kept.until).min()
    }

    /// When a complete read newer than `read` would confirm something.
    pub fn second_read_at(&self, read: u64) -> Option<Instant> {
        let pause = self.settings?.hold / PAUSE;
        self.held.values().filter(|kept| kept.read >= read).map(|kept| kept.seen + pause).min()
    }

    /// The baseline, after it has been moved on when it is old. Of the services that are held it stays: what
    /// went before is not brought back by what goes later.
    fn baseline_at(&mut self, now: Instant, settings: GuardSettings) -> Option<&mut Baseline> {
        let baseline = self.baseline.as_ref()?;
        if baseline.since + settings.hold / WINDOW <= now {
            let is_free = |host: &Hostname| !self.held.contains_key(host.as_str());
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
        baseline: &Said,
    ) -> Vec<Hostname> {
        self.returning = !self.held.is_empty() && (self.returning || self.is_one_back());
        let all = self.lacks_all(settings, difference, baseline.usable);
        let mut before = std::mem::take(&mut self.held);
        let mut confirmed = Vec::new();
        for change in difference.changes.iter().filter(|change| change.is_lacking()) {
            let Some(old) = change.old else { continue };
            let kept = before.remove(old.host.as_str());
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
                    confirmed.push(old.host.clone());
                    continue;
                }
                kept.read = read;
            }
            self.held.insert(old.host.clone(), kept);
        }
        confirmed
    }

    /// Whether a mass is lacking of the registry as a whole: all there was, however little, or much of more
    /// than one service. One service that is taken away is no trouble of the registry's, and neither are the
    /// few endpoints that others lose meanwhile.
    fn lacks_all(&self, settings: GuardSettings, difference: &SnapshotDiff<'_>, of: usize) -> bool {
        let is_held = |host: &Hostname| self.held.get(host.as_str()).is_some_and(HeldService::is_gone);
        let is_old = |change: &ServiceDiff<'_>| {
            self.returning && change.new.is_none() && change.old.is_some_and(|old| is_held(&old.host))
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
        let is_there = |host: &Hostname| self.said.snapshot.get(host.as_str()).is_some();
        self.held.iter().any(|(host, kept)| kept.is_gone() && is_there(host))
    }

    fn let_go(&mut self, now: Instant, which: impl Fn(&HeldService) -> bool) -> Option<Held> {
        let held = self.held()?;
        let (gone, stay) = std::mem::take(&mut self.held).into_iter().partition(|(_, kept)| which(kept));
        self.held = stay;
        let gone: BTreeMap<Hostname, HeldService> = gone;
        if gone.is_empty() {
            return None;
        }
        let services = gone.iter().map(|(host, kept)| (host.clone(), Arc::clone(&kept.missing))).collect();
        self.accept(now, &gone.into_keys().collect::<Vec<_>>());
        self.count();
        Some(Held { services, ..held })
    }

    /// From now on, what the registry says of these services is what it is compared with.
    fn accept(&mut self, now: Instant, hosts: &[Hostname]) {
        let Some(baseline) = self.baseline.as_ref().filter(|_| !hosts.is_empty()) else { return };
        if self.held.is_empty() {
            self.baseline = Some(Baseline::new(&self.said, now));
        } else {
            let accepted = |host: &Hostname| hosts.binary_search(host).is_ok();
            self.baseline = Some(baseline.moved_on(&self.said, baseline.since, accepted));
        }
    }

    /// What counts, after a change. What did not change stays the same allocation.
    fn count(&mut self) {
        let next = if self.held.is_empty() {
            Arc::clone(&self.said.snapshot)
        } else {
            let said = self.said.snapshot.services().iter();
            let free = said.filter(|service| !self.held.contains_key(service.host.as_str()));
            let kept = self.held.values().map(|kept| &kept.whole);
            Said::of(free.chain(kept).cloned().collect()).snapshot
        };
        if !next.same(&self.counts) {
            self.counts = next;
        }
    }
}

impl Baseline {
    fn new(said: &Said, since: Instant) -> Self {
        Self { said: said.clone(), since, findings: Findings::default() }
    }

    /// With what is said now of these services, and as it is in all others.
    fn moved_on(&self, said: &Said, since: Instant, which: impl Fn(&Hostname) -> bool) -> Self {
        let old = self.said.snapshot.services().iter().filter(|service| !which(&service.host));
        let new = said.snapshot.services().iter().filter(|service| which(&service.host));
        Self::new(&Said::of(old.chain(new).cloned().collect()), since)
    }
}

impl Said {
    /// These services have become those, with the same hosts.
    fn update(&mut self, mut updated: BTreeMap<&Hostname, Arc<Service>>) {
        if updated.is_empty() {
            return;
        }
        let mut services = self.snapshot.services().to_vec();
        for service in &mut services {
            if let Some(updated) = updated.remove(&service.host) {
                self.usable = (self.usable + diff::usable(&updated)).saturating_sub(diff::usable(service));
                *service = updated;
            }
        }
        let snapshot = Snapshot::new(services).expect("hosts do not change");
        self.snapshot = Arc::new(snapshot);
    }

    fn of(services: Vec<Arc<Service>>) -> Self {
        let usable = services.iter().map(|service| diff::usable(service)).sum();
        let snapshot = Snapshot::new(services).expect("of each host one service was taken");
        Self { snapshot: Arc::new(snapshot), usable }
    }
}
