//! What services claim: names, listeners, virtual addresses.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use pilot_registry::{Hostname, Namespace, Port, Protocol, Resolution};

use super::entry::{Class, Rank, Sharing};
use crate::catalog::{CatalogService, Guess, visible};
use crate::mesh::MeshOptions;
use crate::translate::conflict::Claim;

/// One claim of one service, before it is asked who sees the service.
pub(super) struct WantedClaim {
    pub(super) claim: Claim,
    pub(super) rank: Rank,
    /// With whom it may be had together; `None` = with nobody.
    pub(super) sharing: Option<Sharing>,
    /// Only clients of that namespace call it so.
    pub(super) by: Option<Namespace>,
}

/// What stands in the table.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) claim: Claim,
    pub(super) rank: Rank,
    pub(super) sharing: Option<Sharing>,
    /// Whose clients it is about; `None` = everybody.
    pub(super) namespace: Option<Namespace>,
    /// Those clients do not see the service, which others see.
    pub(super) is_hidden: bool,
}

/// Everything that a service claims: its names first, then port by port. `http_listen`: whether that leads to HTTP
/// services, too.
pub(super) fn wanted(service: &CatalogService, options: &MeshOptions, http_listen: bool) -> Vec<WantedClaim> {
    let of_class = |class, port: Option<Port>| Rank {
        class,
        guess: port.map(|port| service.guess(port)).unwrap_or_default(),
        priority: service.parts()[0].priority,
        service: Some(service.id().clone()),
        port,
    };
    let alone = |claim, rank| WantedClaim { claim, rank, sharing: None, by: None };
    let name = |name: &Hostname| Claim::Name(name.clone());
    let mut wanted = vec![alone(name(service.host()), of_class(Class::Own, None))];
    let aliases = service.aliases().iter().filter(|alias| *alias != service.host());
    wanted.extend(aliases.map(|alias| alone(name(alias), of_class(Class::Alias, None))));
    wanted.extend(service.local_names().iter().map(|(of, local)| {
        let by = Some(of.clone());
        WantedClaim { by, ..alone(name(local), of_class(Class::Local, None)) }
    }));
    if service.lead().resolution == Resolution::Passthrough {
        return wanted;
    }
    for port in service.ports() {
        let number = port.number;
        let rank = || of_class(Class::Own, Some(number));
        let bind = SocketAddr::new(options.bind, number.get());
        if port.protocol.is_http() {
            if options.http_port_listeners || !http_listen {
                let sharing = Some(Sharing::Http);
                wanted.push(WantedClaim { sharing, ..alone(Claim::Listener(bind), rank()) });
            }
            let addresses = service.virtual_addresses().iter();
            wanted.extend(addresses.map(|ip| alone(Claim::VirtualAddress(*ip, number), rank())));
            continue;
        }
        let addresses = service.virtual_addresses().iter().map(|ip| SocketAddr::new(*ip, number.get()));
        let addresses: Vec<SocketAddr> = addresses.collect();
        let listener = if port.protocol == Protocol::Udp { Claim::UdpListener } else { Claim::Listener };
        let sharing = (port.protocol == Protocol::Tls).then_some(Sharing::Tls);
        let bound = |at, rank| WantedClaim { sharing, ..alone(listener(at), rank) };
        if !addresses.contains(&bind) {
            let class = if addresses.is_empty() { Class::Own } else { Class::Beside };
            wanted.push(bound(bind, of_class(class, Some(number))));
        }
        wanted.extend(addresses.into_iter().map(|at| bound(at, rank())));
    }
    wanted
}

/// What the services of one host claim, and from whom each is hidden. Which of them clients see decides
/// [`visible`]; one that they do not see claims nothing from them.
pub(super) fn rows(of_host: &[Arc<CatalogService>], options: &MeshOptions, http_listen: bool) -> Vec<Row> {
    let named = of_host.iter().filter_map(|service| service.visibility().namespaces());
    let named: BTreeSet<&Namespace> = named.flatten().collect();
    let mut rows = Vec::new();
    for service in of_host {
        let is_seen = |namespace: &Namespace| {
            visible(of_host, Some(namespace)).is_some_and(|seen| Arc::ptr_eq(seen, service))
        };
        let (seen, unseen): (Vec<&Namespace>, Vec<&Namespace>) =
            named.iter().copied().partition(|namespace| is_seen(namespace));
        for WantedClaim { claim, rank, sharing, by } in wanted(service, options, http_listen) {
            let row = |namespace: Option<&Namespace>, is_hidden| {
                let (claim, rank, namespace) = (claim.clone(), rank.clone(), namespace.cloned());
                Row { claim, rank, sharing, namespace, is_hidden }
            };
            match (service.visibility().is_everybody(), &by) {
                (true, None) => {
                    rows.push(row(None, false));
                    rows.extend(unseen.iter().map(|namespace| row(Some(namespace), true)));
                }
                (true, Some(by)) if unseen.contains(&by) => {}
                (true, Some(by)) => rows.push(row(Some(by), false)),
                (false, _) => {
                    let seen = seen.iter().filter(|namespace| by.as_ref().is_none_or(|by| by == **namespace));
                    rows.extend(seen.map(|namespace| row(Some(namespace), false)));
                }
            }
        }
        rows.extend(beaten(service, of_host, &unseen));
    }
    rows
}

/// The claim to its host of a service that names a namespace, which sees another one that names it. Without it,
/// nobody would hear of that.
fn beaten<'a>(
    service: &'a CatalogService,
    of_host: &'a [Arc<CatalogService>],
    unseen: &'a [&Namespace],
) -> impl Iterator<Item = Row> {
    let names = move |namespace: &Namespace| {
        service.visibility().namespaces().is_some_and(|namespaces| namespaces.contains(namespace))
    };
    let is_at_home = move |namespace: &Namespace| {
        let seen = visible(of_host, Some(namespace));
        seen.is_some_and(|seen| seen.id().owner.as_ref() == Some(namespace))
    };
    let beaten = unseen.iter().filter(move |namespace| names(namespace) && !is_at_home(namespace));
    beaten.map(|namespace| Row {
        claim: Claim::Name(service.host().clone()),
        rank: Rank {
            class: Class::Own,
            guess: Guess::default(),
            priority: service.parts()[0].priority,
            service: Some(service.id().clone()),
            port: None::<Port>,
        },
        sharing: None,
        namespace: Some((*namespace).clone()),
        is_hidden: false,
    })
}
