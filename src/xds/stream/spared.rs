//! What a stream is spared, because proxies like its client refused it, and what it tells of such versions itself.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::Session;
use crate::proxies::{NAMES_MAX, WithheldStatus};
use crate::proxy::Scope;
use crate::resources::{ResourceType, View};
use crate::xds::builds::{Build, Stand};
use crate::xds::older::{self, Older};
use crate::xds::rejections::{Key, Rejection};
use crate::xds::shared::Shared;
use crate::xds::variant::Variant;

/// What one stream is spared.
pub(super) struct Spared {
    /// The client's name and version, and what is known of all of that kind.
    build: Option<(Arc<Build>, watch::Receiver<()>)>,
    /// The scope of the views that it is given.
    scope: Arc<Scope>,
    /// What the client gets instead of versions that were withheld when it came.
    older: Vec<Arc<Older>>,
    /// Those that the view has that it was given last.
    in_force: Vec<Arc<Older>>,
    /// What it refuses itself.
    own: Vec<Key>,
}

impl Spared {
    /// What a new client of that name and version, and of that scope, is spared.
    pub(super) fn new(shared: &Shared, build: &Arc<str>, scope: Arc<Scope>) -> Self {
        let build = shared.builds.of(build);
        let older = build.as_ref().map(|build| build.withheld(&scope)).unwrap_or_default();
        let build = build.map(|build| {
            let news = build.subscribe();
            (build, news)
        });
        Self { build, scope, older, in_force: Vec::new(), own: Vec::new() }
    }

    /// The client is of another scope now. What it is spared, it is spared there, too, if it is known what others of that
    /// scope had.
    pub(super) fn follow(&mut self, scope: Arc<Scope>) {
        self.scope = scope;
        let withheld = self.build.as_ref().map(|(build, _)| build.withheld(&self.scope)).unwrap_or_default();
        let before = std::mem::take(&mut self.older);
        let is_spared = |it: &Arc<Older>| before.iter().any(|older| older.refused() == it.refused());
        self.older = withheld.into_iter().filter(is_spared).collect();
        self.own.clear();
    }

    /// Waits until there may be something to tell, or less to be spared.
    pub(super) async fn changed(&mut self) {
        match &mut self.build {
            // Whoever tells lives as long as this.
            Some((_, news)) => _ = news.changed().await,
            None => std::future::pending().await,
        }
    }

    /// What there is, but for what this client is spared.
    fn over(&mut self, view: &Arc<View>, shared: &Shared) -> Arc<View> {
        if self.older.is_empty() && self.own.is_empty() {
            self.in_force.clear();
            return Arc::clone(view);
        }
        let is_there = |key: &Key| view.of(key.kind).get(&key.name).is_some_and(|now| key.is_version_of(now));
        if let Some((build, _)) = &self.build {
            let known = self.older.iter().map(|older| older.refused()).chain(&self.own);
            known.filter(|key| !is_there(key)).for_each(|key| build.forget(key, &self.scope));
        }
        self.own.retain(is_there);
        self.older.retain(|older| is_there(older.refused()));
        let (given, in_force) = older::over(view, &self.older, |it| shared.partial_routes.share(it));
        self.in_force = in_force;
        given
    }

    /// Forgets what is withheld no longer. Says whether that is something.
    fn refresh(&mut self) -> bool {
        let Some((build, _)) = &self.build else { return false };
        let before = self.older.len();
        self.older.retain(|older| build.withholds(older, &self.scope));
        before > self.older.len()
    }

    /// What it is spared now, of one type; the first of many.
    pub(super) fn shown(&self, kind: ResourceType) -> Vec<WithheldStatus> {
        let older = self.in_force.iter().filter(|older| older.refused().kind == kind);
        let known = older.filter_map(|older| self.build.as_ref()?.0.about(older));
        known.take(NAMES_MAX).map(|withheld| WithheldStatus::of(&withheld)).collect()
    }
}

impl<V: Variant, S> Session<V, S> {
    /// What this client is given of a view of its scope.
    pub(super) fn spare(&mut self, view: &Arc<View>) -> Arc<View> {
        let Some(client) = &mut self.client else { return Arc::clone(view) };
        let was_spared = !client.spared.in_force.is_empty();
        let given = client.spared.over(view, self.context.proxies.shared());
        if was_spared || !client.spared.in_force.is_empty() {
            for kind in self.asked.iter().copied() {
                let withheld = client.spared.shown(kind);
                client.connection.update(kind, |status| status.withheld = withheld);
            }
        }
        given
    }

    /// Tells of what the client was found to refuse.
    pub(super) fn note_culprits(&mut self, culprits: &[Arc<Rejection>]) {
        let address = self.address();
        let Some(client) = &mut self.client else { return };
        let (Some((build, _)), Some(address)) = (&client.spared.build, address) else { return };
        for culprit in culprits {
            let refused = self.machine.state(culprit.kind).refusals();
            let own = refused.map(|(_, own)| own).find(|own| Arc::ptr_eq(&own.rejection, culprit));
            let Some(own) = own else { continue };
            let (by, older) = ((address, &*client.spared.scope), self.machine.older(culprit));
            let (counts, key) = (build.refused(culprit, &own.words, by, older), culprit.key());
            if counts && !client.spared.own.contains(&key) {
                client.spared.own.push(key);
            }
        }
    }

    /// Tells what the client has of versions that others refused.
    pub(super) fn testify(&self) {
        let Some((build, _)) = self.client.as_ref().and_then(|client| client.spared.build.as_ref()) else {
            return;
        };
        build.testify(self.address(), |rejection| self.machine.stand(rejection));
    }

    /// Tells which versions that others refused the client is told of by now.
    pub(super) fn testify_told(&self) {
        let build = self.client.as_ref().and_then(|client| client.spared.build.as_ref());
        if let (Some((build, _)), Some(address)) = (build, self.address()) {
            build.told(address, |rejection| self.machine.stand(rejection) == Stand::Told);
        }
    }

    /// Others refused something, or accepted what this client is spared. Says whether it is spared less now.
    pub(super) fn hear_of_refusals(&mut self) -> bool {
        self.testify();
        self.client.as_mut().is_some_and(|client| client.spared.refresh())
    }

    fn address(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }
}
