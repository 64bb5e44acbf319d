//! The listeners that TLS services share, as an audience sees them.

use std::net::SocketAddr;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use pilot_registry::Hostname;

use crate::resources::Resource;
use crate::translate::base::Base;
use crate::translate::names;
use crate::translate::overlay::Overlay;
use crate::translate::shared_tls::TlsEntrances;

/// The listeners of which an audience sees something else than everybody, by address.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsListeners {
    at: OrdMap<SocketAddr, TlsListener>,
    /// What is said of a listener, by name; `None` = it is not there, whatever everybody has.
    said: OrdMap<Arc<str>, Option<Arc<Resource>>>,
}

/// What a listener is put together from.
#[derive(Clone, Debug, Default)]
struct TlsListener {
    /// What services have there for this audience.
    own: TlsEntrances,
    /// The services that everybody finds there, and nobody here.
    withheld: OrdSet<Hostname>,
    /// What everybody found there when it was put together last.
    over: TlsEntrances,
    is_touched: bool,
}

impl TlsListeners {
    pub(super) fn withdraw(&mut self, host: &Hostname, old: &Overlay) {
        old.tls.keys().for_each(|at| _ = self.touch(*at).own.remove(host));
        old.hidden.tls.iter().for_each(|at| _ = self.touch(*at).withheld.remove(host));
    }

    pub(super) fn enter(&mut self, host: &Hostname, new: &Overlay) {
        for (at, entrance) in &new.tls {
            self.touch(*at).own.insert(host.clone(), Arc::clone(entrance));
        }
        new.hidden.tls.iter().for_each(|at| _ = self.touch(*at).withheld.insert(host.clone()));
    }

    fn touch(&mut self, at: SocketAddr) -> &mut TlsListener {
        let listener = self.at.entry(at).or_default();
        listener.is_touched = true;
        listener
    }

    /// Whether everybody finds the same as when they were put together.
    pub(super) fn is_current(&self, base: &Base) -> bool {
        self.at.iter().all(|(at, listener)| is_same(&listener.over, &base.tls_at(*at)))
    }

    /// Puts those together that may be others. Gives their names.
    pub(super) fn update(&mut self, base: &Base) -> Vec<Arc<str>> {
        let is_due = |(at, listener): &(&SocketAddr, &TlsListener)| {
            listener.is_touched || !is_same(&listener.over, &base.tls_at(**at))
        };
        let due: Vec<SocketAddr> = self.at.iter().filter(is_due).map(|(at, _)| *at).collect();
        due.into_iter().map(|at| self.put_together(at, base)).collect()
    }

    fn put_together(&mut self, at: SocketAddr, base: &Base) -> Arc<str> {
        let name: Arc<str> = names::listener(at).into();
        let mut listener = self.at.remove(&at).unwrap_or_default();
        (listener.over, listener.is_touched) = (base.tls_at(at), false);
        let TlsListener { own, withheld, over, .. } = &listener;
        if own.is_empty() && withheld.is_empty() {
            self.said.remove(&name);
            return name;
        }
        let mut all = over.clone();
        withheld.iter().for_each(|host| _ = all.remove(host));
        all.extend(own.iter().map(|(host, entrance)| (host.clone(), Arc::clone(entrance))));
        let made = base.tls_listener(at, &all);
        let known = self.said.get(&name).cloned().flatten();
        let made = made.map(|made| known.filter(|known| **known == made).unwrap_or_else(|| Arc::new(made)));
        match made.is_some() || !over.is_empty() {
            true => _ = self.said.insert(Arc::clone(&name), made),
            false => _ = self.said.remove(&name),
        }
        self.at.insert(at, listener);
        name
    }

    /// What is said of the listener of that name, if something is.
    pub(super) fn said(&self, name: &Arc<str>) -> Option<Option<Arc<Resource>>> {
        self.said.get(name).cloned()
    }
}

fn is_same(one: &TlsEntrances, other: &TlsEntrances) -> bool {
    one.ptr_eq(other) || one.is_empty() && other.is_empty()
}
