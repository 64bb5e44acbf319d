//! What a step touches of the layers that are made: found by index, however many there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Layers;
use crate::proxy::{ConfigSource, Viewpoint};
use crate::translate::audience::Audience;
use crate::translate::base::Base;
use crate::translate::job::{Made, Results};
use crate::translate::key::LayerKey;
use crate::translate::step::Step;
use pilot_registry::{Locality, Namespace};

impl Layers {
    /// What a step touches of what is made from the mesh alone.
    pub(super) fn touched<'a>(&'a self, step: &'a Step) -> Vec<(&'a LayerKey, &'a Made)> {
        if !step.continues() {
            return self.made.iter().filter(|(key, _)| key.base().is_none()).collect();
        }
        let first = LayerKey::Gateways(ConfigSource::Ads, Viewpoint::default());
        let gateways = self.made_from(first, |key| matches!(key, LayerKey::Gateways(..)));
        let gateways = gateways.filter(|_| !step.touched_gateways().is_empty());
        if step.changes().is_empty() {
            // Hosts of rules that no service has are in bases.
            let bases = self.made.iter().filter(|(key, _)| matches!(key, LayerKey::Base(..)));
            return bases.filter(|_| !step.touched_hosts().is_empty()).chain(gateways).collect();
        }
        let of_all = self.made.iter().take_while(|(key, _)| key.is_whole());
        let place = |is_router, region: &str| {
            let locality = Locality { region: region.to_owned(), ..Locality::default() };
            LayerKey::Place { is_router, locality, affinity: Arc::default() }
        };
        // From a place, only what is in its region is near, if no rule says more of places.
        let is_ruled = step.asks_for_places();
        let regions = if is_ruled { BTreeSet::new() } else { regions(step) };
        let near = regions.into_iter().flat_map(|region| {
            let is_there = move |key: &LayerKey| {
                matches!(key, LayerKey::Place { locality, .. } if locality.region == region)
            };
            self.made_from(place(false, region), is_there).chain(self.made_from(place(true, region), is_there))
        });
        let is_place = |key: &LayerKey| matches!(key, LayerKey::Place { .. });
        let all = self.made_from(place(false, ""), is_place).filter(|_| is_ruled);
        let places = near.chain(all);
        let namespaces: BTreeSet<&Namespace> = step.scoped_changes().values().flatten().collect();
        let scoped = namespaces.into_iter().flat_map(|own| {
            let first = |is_router| {
                let (namespace, locality) = (own.clone(), Locality::default());
                LayerKey::Scoped { is_router, namespace, locality, affinity: Arc::default() }
            };
            let is_own =
                move |key: &LayerKey| matches!(key, LayerKey::Scoped { namespace, .. } if namespace == own);
            self.made_from(first(false), is_own).chain(self.made_from(first(true), is_own))
        });
        of_all.chain(places).chain(scoped).chain(gateways).collect()
    }

    /// The layers from that key on, for as long as it is one of these.
    fn made_from<'a>(
        &'a self,
        first: LayerKey,
        is_one: impl Fn(&LayerKey) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a LayerKey, &'a Made)> {
        self.made.range(first..).take_while(move |(key, _)| is_one(key))
    }

    /// What a step touches of what is made from a base, if that is made anew.
    pub(super) fn touched_above_base<'a>(
        &'a self,
        key: &LayerKey,
        step: &Step,
        done: &Results,
    ) -> Vec<(&'a LayerKey, &'a Made)> {
        let (LayerKey::Base(role, source), Some(base)) = (key, self.base(key, done)) else {
            return Vec::new();
        };
        let nothing = Results::new();
        let before = self.base(key, &nothing).filter(|_| step.continues());
        let Some(namespaces) = before.and_then(|before| base.seen_otherwise_since(before)) else {
            return self.above(key).collect();
        };
        let in_namespace = |namespace: &Namespace| {
            let viewpoint = Viewpoint { namespace: Some(namespace.clone()), ..Viewpoint::default() };
            let first = LayerKey::Audience(*role, source.clone(), viewpoint);
            let is_there = |key: &LayerKey| match key {
                LayerKey::Audience(of_role, of_source, own) => {
                    (of_role, of_source) == (role, source) && own.namespace.as_ref() == Some(namespace)
                }
                _ => false,
            };
            self.made_from(first, is_there).map(|(key, _)| key.clone()).collect::<Vec<_>>()
        };
        let mut audiences: BTreeSet<LayerKey> = namespaces.iter().flat_map(in_namespace).collect();
        if before.is_some_and(|before| base.labelled_differ_since(before)) {
            let has_labels = |key: &LayerKey| matches!(key, LayerKey::Audience(_, _, viewpoint) if !viewpoint.labels.is_empty());
            audiences.extend(self.above(key).map(|(key, _)| key.clone()).filter(has_labels));
        }
        let keys = audiences.into_iter().chain([LayerKey::Parts(*role, source.clone())]);
        let made = keys.filter_map(|key| self.made.get_key_value(&key));
        made.filter(|(key, made)| !self.is_current(key, made, done)).collect()
    }

    /// What a step touches of what is made from an audience, if that is made anew.
    pub(super) fn touched_above_audience<'a>(
        &'a self,
        key: &LayerKey,
        step: &Step,
        done: &Results,
    ) -> Vec<(&'a LayerKey, &'a Made)> {
        if !matches!(key, LayerKey::Audience(..)) {
            return Vec::new();
        }
        let is_touched = |key: &LayerKey, made: &Made| !step.continues() || !self.is_current(key, made, done);
        self.above(key).filter(|(key, made)| is_touched(key, made)).collect()
    }

    /// What is made from that layer.
    fn above<'a>(&'a self, key: &LayerKey) -> impl Iterator<Item = (&'a LayerKey, &'a Made)> {
        self.above.get(key).into_iter().flatten().filter_map(|key| self.made.get_key_value(key))
    }

    /// Whether it is made from the layers below as they are now, if it is made from any.
    pub(super) fn is_current(&self, key: &LayerKey, made: &Made, done: &Results) -> bool {
        let base = key.base().and_then(|base| self.base(&base, done));
        let audience = key.audience().and_then(|audience| self.audience(&audience, done));
        match (key, made) {
            (LayerKey::Parts(..), Made::Parts(parts)) => {
                base.is_none_or(|base| parts.is_current(base.layer()))
            }
            (LayerKey::AudienceParts(..), Made::Parts(parts)) => {
                audience.is_none_or(|audience| parts.is_current(audience.layer()))
            }
            (LayerKey::Audience(_, _, viewpoint), Made::Audience(audience)) => {
                base.is_none_or(|base| audience.is_current(viewpoint, base))
            }
            _ => true,
        }
    }

    pub(super) fn base<'a>(&'a self, key: &LayerKey, done: &'a Results) -> Option<&'a Arc<Base>> {
        match self.latest(key, done) {
            Some(Made::Base(base)) => Some(base),
            _ => None,
        }
    }

    pub(super) fn audience<'a>(&'a self, key: &LayerKey, done: &'a Results) -> Option<&'a Arc<Audience>> {
        match self.latest(key, done) {
            Some(Made::Audience(audience)) => Some(audience),
            _ => None,
        }
    }

    /// The layer as it was made for a step, or else before it.
    fn latest<'a>(&'a self, key: &LayerKey, done: &'a Results) -> Option<&'a Made> {
        done.get(key).and_then(|outcome| outcome.as_ref().ok()).or_else(|| self.made.get(key))
    }
}

/// The regions in which services that changed have, or had, endpoints.
fn regions(step: &Step) -> BTreeSet<&str> {
    let services = step.changes().iter().flat_map(|change| change.old.iter().chain(&change.new));
    let endpoints = services.flat_map(|service| service.endpoints());
    endpoints.map(|(_, endpoint)| endpoint.locality.region.as_str()).collect()
}
