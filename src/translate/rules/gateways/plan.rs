//! Which servers of which Gateways listen where, for one kind of proxies.
//!
//! Documents are placed one after the other, the oldest first. What is there already stays; a server that does not fit
//! beside it has no place, and neither has a host of TLS that another server of the port has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::super::lens::Viewer;
use crate::rules::kinds::Server;
use crate::rules::{DocumentId, Rules, Ruling};

/// Where a listener is opened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::translate) enum Bind {
    /// At an address.
    Ip(IpAddr),
    /// At a Unix socket.
    Unix(Arc<str>),
}

/// A listener's place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::translate) struct Place {
    pub(in crate::translate) bind: Bind,
    /// 0 = it is a socket.
    pub(in crate::translate) port: u16,
}

/// What may share a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::translate) enum Family {
    /// HTTP without TLS: by host.
    Http,
    /// TLS: by SNI.
    Tls,
    /// Bytes: nothing tells them apart.
    Tcp,
}

/// A host of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::translate) struct ServedHost {
    /// The namespace whose VirtualServices may serve it; `None` = any.
    pub(in crate::translate) namespace: Option<Arc<str>>,
    /// In lower case; `*` and `*.suffix`, too.
    pub(in crate::translate) name: Arc<str>,
}

/// A server with its place.
#[derive(Clone, Debug)]
pub(in crate::translate) struct Placed<'a> {
    pub(in crate::translate) gateway: &'a Ruling,
    /// Which one of the document's.
    pub(in crate::translate) number: usize,
    pub(in crate::translate) server: &'a Server,
    /// Those that no other server of the listener has, where only one can.
    pub(in crate::translate) hosts: Vec<ServedHost>,
}

/// What listens in one place.
#[derive(Clone, Debug)]
pub(in crate::translate) struct Listening<'a> {
    pub(in crate::translate) family: Family,
    pub(in crate::translate) servers: Vec<Placed<'a>>,
}

/// A server that has no place, or a host of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Unplaced {
    pub(in crate::translate) gateway: DocumentId,
    pub(in crate::translate) number: usize,
    /// The host; `None` = all of it.
    pub(in crate::translate) host: Option<String>,
    /// Who has it.
    pub(in crate::translate) winner: DocumentId,
    /// Which server of that.
    pub(in crate::translate) winning: usize,
    pub(in crate::translate) why: String,
}

/// All listeners of one kind of proxies.
#[derive(Clone, Debug, Default)]
pub(in crate::translate) struct Plan<'a> {
    pub(in crate::translate) listeners: BTreeMap<Place, Listening<'a>>,
    pub(in crate::translate) unplaced: Vec<Unplaced>,
}

impl<'a> Plan<'a> {
    /// Of the Gateways that select these proxies.
    pub(in crate::translate) fn of(rules: &'a Rules, viewer: Viewer<'_>) -> Self {
        let has = |(key, value): (&String, &String)| viewer.labels.get(key) == Some(value);
        let selects = |ruling: &&Ruling| ruling.gateway().is_some_and(|it| it.selector.iter().all(has));
        let mut selecting: Vec<&Ruling> = rules.gateways().filter(selects).collect();
        selecting.sort_by(|a, b| a.by_age(b));
        let mut plan = Self::default();
        for gateway in selecting {
            let servers = gateway.gateway().into_iter().flat_map(|it| &it.servers).enumerate();
            servers.for_each(|(number, server)| plan.place(gateway, number, server));
        }
        plan
    }

    fn place(&mut self, gateway: &'a Ruling, number: usize, server: &'a Server) {
        let place = Place::of(server);
        let family = Family::of(server);
        let own = &gateway.version.id;
        let mut hosts: Vec<ServedHost> =
            server.hosts.iter().map(|host| ServedHost::of(host, &own.namespace)).collect();
        let Some(listening) = self.listeners.get_mut(&place) else {
            let servers = vec![Placed { gateway, number, server, hosts }];
            self.listeners.insert(place, Listening { family, servers });
            return;
        };
        let lost = |host: Option<String>, winner: &Placed<'_>, why: String| Unplaced {
            gateway: own.clone(),
            number,
            host,
            winner: winner.gateway.version.id.clone(),
            winning: winner.number,
            why,
        };
        let first = &listening.servers[0];
        if listening.family != family {
            let [theirs, ours] = [first.server, server].map(|server| server.port.protocol.as_str());
            let why = format!("{theirs} and {ours} cannot share {place}");
            return self.unplaced.push(lost(None, first, why));
        }
        match family {
            Family::Http => {}
            Family::Tcp => {
                let why = format!(
                    "nothing tells connections to {place} apart: give one of them another port or bind"
                );
                return self.unplaced.push(lost(None, first, why));
            }
            Family::Tls => {
                let taken = |host: &ServedHost| {
                    let mut others = listening.servers.iter();
                    others.find(|other| other.hosts.iter().any(|it| it.name == host.name))
                };
                let gone: Vec<Unplaced> = hosts
                    .iter()
                    .filter_map(|host| {
                        let why = format!("at {place}, connections with that SNI go to the older one");
                        Some(lost(Some(host.name.to_string()), taken(host)?, why))
                    })
                    .collect();
                hosts.retain(|host| taken(host).is_none());
                self.unplaced.extend(gone);
                if hosts.is_empty() {
                    return;
                }
            }
        }
        listening.servers.push(Placed { gateway, number, server, hosts });
    }
}

impl Place {
    /// Where a server listens.
    pub(in crate::translate) fn of(server: &Server) -> Self {
        let port = server.port.number;
        let bind = server.bind.as_deref().unwrap_or("0.0.0.0");
        match bind.strip_prefix("unix://") {
            Some(path) => Self { bind: Bind::Unix(path.into()), port: 0 },
            None => Self { bind: Bind::Ip(bind.parse().unwrap_or(Ipv4Addr::UNSPECIFIED.into())), port },
        }
    }

    /// The address; `None` = it is a socket.
    pub(in crate::translate) fn address(&self) -> Option<SocketAddr> {
        match &self.bind {
            Bind::Ip(ip) => Some(SocketAddr::new(*ip, self.port)),
            Bind::Unix(_) => None,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.bind {
            Bind::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Bind::Unix(path) => f.write_str(path),
        }
    }
}

impl Family {
    fn of(server: &Server) -> Self {
        match server.port.protocol {
            protocol if protocol.is_http() => Self::Http,
            protocol if protocol.is_tls() => Self::Tls,
            _ => Self::Tcp,
        }
    }
}

impl ServedHost {
    /// As a document of that namespace writes it.
    pub(in crate::translate) fn of(written: &str, own: &str) -> Self {
        let (namespace, name) = match written.split_once('/') {
            Some((".", name)) => (Some(own.into()), name),
            Some(("*", name)) => (None, name),
            Some((namespace, name)) => (Some(namespace.into()), name),
            None => (None, written),
        };
        Self { namespace, name: name.to_ascii_lowercase().into() }
    }
}

impl Placed<'_> {
    /// How VirtualServices name its document.
    pub(in crate::translate) fn gateway_name(&self) -> String {
        self.gateway.gateway_name()
    }

    /// Its name, unlike that of any other server.
    pub(in crate::translate) fn name(&self) -> String {
        let DocumentId { namespace, name, .. } = &self.gateway.version.id;
        let port = &self.server.port;
        format!("{}.{}.{name}.{namespace}", port.number, port.name)
    }
}

impl Listening<'_> {
    /// All hosts, of all servers.
    pub(in crate::translate) fn names(&self) -> BTreeSet<&str> {
        self.servers.iter().flat_map(|it| &it.hosts).map(|host| &*host.name).collect()
    }
}
