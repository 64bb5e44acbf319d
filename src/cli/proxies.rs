//! `pilot proxies`: who is connected to a running pilot, and whether it has what it should.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use super::client::{Question, Target};
use super::listing::{ListView, Listing, Style};
use super::output::plain;
use super::place::locality;
use super::{Global, Table};
use crate::admin::ProxyReport;
use crate::proxies::{NackReport, NotFound, RefusedStatus, SyncState, TypeReport, WithheldStatus};
use crate::resources::ResourceType;

/// Show the proxies that are connected to a running pilot
///
/// For each type: ACKED (it accepted what was sent last), STALE (it has not answered yet), NACKED (it
/// refused what was sent: its words stand below the table), NOT FOUND (it asks for names that do not exist: they
/// stand below the table), NOT SENT (nothing was sent yet), or - (it does not ask).
///
/// PEER is the address that it connects from, and CONNS the number of its connections. Proxies at two addresses
/// with one node id have a row each: give each its own (pilot bootstrap --node-id).
///
/// WORKLOAD is the services that have an endpoint at the address in the proxy's node id (role~ip~name~domain), as
/// registries say; - where none has, or the address is loopback, which every machine has. With -o json or yaml:
/// its ports, labels, identity, namespace and place. What a proxy does not say of itself, its workload does:
/// effective_locality, which counts where [mesh] locality is "prefer", effective_namespace and effective_labels.
///
/// With NAME: below the table, what the configuration of the proxy depends on (its role, its namespace, its labels that
/// rules ask for, its place), and from where pilot knows its namespace and its labels.
///
/// Example: pilot proxies -o json
///
/// One of them: pilot proxies sidecar~10.0.0.7~cart-1~shop
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only proxies whose node id, or one of its parts between ~, is this.
    name: Option<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    listing: Listing,
}

impl Args {
    /// Asks, and prints the answer.
    ///
    /// # Errors
    /// pilot does not answer.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { name, target, listing } = self;
        listing.show(global, &target, &Question::new("/debug/proxies"), |report: &Report, style| {
            let all = report.get("proxies").map(Vec::as_slice).unwrap_or_default();
            let Some(name) = &name else { return table(all, style) };
            let meant: Vec<ProxyReport> =
                all.iter().filter(|proxy| is_called(proxy, name)).cloned().collect();
            if meant.is_empty() && !all.is_empty() {
                let ids: Vec<&str> =
                    all.iter().take(NAMED_MAX).map(|proxy| proxy.status.id.as_str()).collect();
                let notes =
                    format!("\nno proxy is called {}: there are {}\n", plain(name), plain(&ids.join(", ")));
                return ListView { notes, ..table(&meant, style) };
            }
            let mut view = table(&meant, style);
            view.notes.insert_str(0, &meant.iter().map(told).collect::<String>());
            view
        })
    }
}

/// How many proxies are named where none is the one that is asked for.
const NAMED_MAX: usize = 5;

fn is_called(proxy: &ProxyReport, name: &str) -> bool {
    let id = proxy.status.id.as_str();
    id == name || id.split('~').any(|part| part == name)
}

/// What a proxy's configuration depends on, and from where that is known.
fn told(proxy: &ProxyReport) -> String {
    let scopes: BTreeSet<&str> = proxy.status.streams.iter().map(|stream| stream.scope.as_str()).collect();
    let own = proxy.status.namespace.is_some();
    let namespace = match &proxy.effective_namespace {
        Some(namespace) if own => format!("{namespace}, as it says itself"),
        Some(namespace) => format!("{namespace}, that of its workload"),
        None => "not known: it says none, and has no workload with one".to_owned(),
    };
    let of_workload = proxy.workload.as_ref().map(|workload| &workload.labels);
    let all = proxy.effective_labels.iter().map(|(key, value)| format!("{key}={value}"));
    let all = all.collect::<Vec<_>>().join(",");
    let labels = match (of_workload, proxy.status.labels.is_empty()) {
        (None, true) => {
            "none: it says none, and registries have no endpoint at the address in its node id".into()
        }
        (Some(labels), true) if labels.is_empty() => "none: neither it nor its workload has any".to_owned(),
        (Some(_), true) => format!("{all}, those of its workload"),
        (Some(labels), false) if !labels.is_empty() => {
            format!("{all}, those of its workload, and what it says itself of others")
        }
        (_, false) => format!("{all}, as it says itself"),
    };
    let lines = [
        format!("is told what is for: {}", scopes.into_iter().collect::<Vec<_>>().join("; ")),
        format!("namespace: {namespace}"),
        format!("labels: {labels}"),
    ];
    let lines: String = lines.iter().map(|line| format!("  {}\n", plain(line))).collect();
    format!("\n{}:\n{lines}", plain(&proxy.status.id))
}

type Report = BTreeMap<String, Vec<ProxyReport>>;

fn table(proxies: &[ProxyReport], style: Style) -> ListView {
    let mut table = Table::new([
        "proxy", "role", "client", "peer", "conns", "cds", "eds", "lds", "rds", "vhds", "workload",
    ]);
    if style.wide {
        table.extend(["cluster", "namespace", "locality"]);
    }
    let mut refusals = String::new();
    for proxy in proxies {
        let [cds, eds, lds, rds, vhds] = ResourceType::ALL.map(|kind| state(proxy, kind).to_owned());
        let (id, role) = (proxy.status.id.clone(), proxy.status.role.clone());
        let peer = proxy.status.peer.map(|peer| peer.to_string()).unwrap_or_default();
        let conns = proxy.status.connections.to_string();
        table.row([id.clone(), role, client(proxy), peer, conns, cds, eds, lds, rds, vhds, workload(proxy)]);
        if style.wide {
            let namespace = proxy.effective_namespace.as_ref().map(ToString::to_string).unwrap_or_default();
            table.extend_row([proxy.status.cluster.clone(), namespace, locality(&proxy.effective_locality)]);
        }
        refusals.push_str(&shared_id(proxy));
        refusals.push_str(&same_address(proxy));
        for (kind, report) in reports(proxy) {
            refusals.push_str(&not_found(&id, kind, &report.not_found));
            if let Some(nack) = &report.nack {
                refusals.push_str(&refusal(&id, kind, nack));
            }
            refusals.extend(report.withheld.iter().map(|it| withheld(&id, kind, it)));
        }
    }
    if proxies.is_empty() {
        refusals.push_str(NONE);
    }
    ListView { notes: refusals, ..ListView::from(table) }
}

/// What to do where there is none.
const NONE: &str =
    "\nno proxy is connected: `pilot bootstrap` prints what an Envoy or a gRPC client is started with\n";

/// Its name and version, and whether that is too old.
fn client(proxy: &ProxyReport) -> String {
    let client = &proxy.status.user_agent;
    match &proxy.status.unsupported {
        Some(why) => format!("{client} ({why})"),
        None => client.clone(),
    }
}

/// Says who else has its node id. Said once, by the first of them.
fn shared_id(proxy: &ProxyReport) -> String {
    let (peers, id) = (&proxy.status.peers, &proxy.status.id);
    if peers.len() < 2 || proxy.status.peer.as_ref() != peers.first() {
        return String::new();
    }
    let named = peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let words = format!(
        "{} proxies have node id {id} ({named}): give each its own (pilot bootstrap --node-id)",
        peers.len()
    );
    format!("\n{}\n", plain(&words))
}

/// Says that several connections from one address ask for the same, as two proxies with one node id would.
fn same_address(proxy: &ProxyReport) -> String {
    let mut asking: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for stream in &proxy.status.streams {
        for kind in stream.types.keys() {
            asking.entry(kind).or_default().extend(stream.peer.as_deref());
        }
    }
    let connections = asking.values().map(BTreeSet::len).max().unwrap_or_default();
    let (id, Some(peer)) = (&proxy.status.id, proxy.status.peer) else { return String::new() };
    if connections < 2 {
        return String::new();
    }
    let words = format!(
        "{connections} connections from {peer} ask for the same with node id {id}: give each proxy its own (pilot \
         bootstrap --node-id). A proxy that has just connected again is shown so until its old connection ends"
    );
    format!("\n{}\n", plain(&words))
}

/// Who asks for which names that do not exist.
fn not_found(id: &str, kind: &str, missing: &[NotFound]) -> String {
    let line = |missing: &NotFound| {
        let NotFound { name, hint } = missing;
        let hint = if hint.is_empty() { String::new() } else { format!(" ({hint})") };
        format!("\n{}\n", plain(&format!("{id} asks for {kind} {name}, which does not exist{hint}")))
    };
    missing.iter().map(line).collect()
}

/// The services of its workload: the first, and how many more.
fn workload(proxy: &ProxyReport) -> String {
    match proxy.workload.as_ref().map(|workload| workload.services.as_slice()) {
        None | Some([]) => String::new(),
        Some([only]) => only.host.clone(),
        Some([first, more @ ..]) => format!("{} +{}", first.host, more.len()),
    }
}

/// What to do about a port that Envoy cannot have.
const BIND_CURE: &str = "  Envoy is offered it again each minute, for when the port is free.\n";

/// What to do about a port that Envoy may not open.
const PERMISSION_CURE: &str =
    "  Ports below 1024 need root, or CAP_NET_BIND_SERVICE. Envoy is offered it again each minute.\n";

/// Who refuses what, and the proxy's words of it below, line by line as it wrote them.
fn refusal(id: &str, kind: &str, nack: &NackReport) -> String {
    if nack.refused.is_empty() {
        let what = if nack.searching { ": finding out which resource is the reason" } else { "" };
        return in_words(&format!("{id} refused {kind} {}{what}", nack.version), &nack.message);
    }
    let one = |refused: &RefusedStatus| {
        let RefusedStatus { name, virtual_host, origin, message, .. } = refused;
        let host = virtual_host.as_ref().map(|host| format!(", virtual host {host}")).unwrap_or_default();
        in_words(&format!("{id} refuses {kind} {name}{host} ({origin})"), message)
    };
    nack.refused.iter().map(one).collect()
}

/// What a proxy does not get, because others like it refused it.
fn withheld(id: &str, kind: &str, withheld: &WithheldStatus) -> String {
    let WithheldStatus { name, virtual_host, origin, refused_by, message, .. } = withheld;
    let host = virtual_host.as_ref().map(|host| format!(", virtual host {host}")).unwrap_or_default();
    let why = format!("because {refused_by} proxies of its client and version refused the newest");
    in_words(&format!("{id} has an older version of {kind} {name}{host} ({origin}), {why}"), message)
}

fn in_words(head: &str, message: &str) -> String {
    let words: String = message.lines().map(|line| format!("  {}\n", plain(line))).collect();
    let cure = match message.contains("cannot bind") {
        true if message.contains("Permission denied") => PERMISSION_CURE,
        true => BIND_CURE,
        false => "",
    };
    format!("\n{}:\n{words}{cure}", plain(head))
}

fn reports(proxy: &ProxyReport) -> impl Iterator<Item = (&String, &TypeReport)> {
    proxy.status.streams.iter().flat_map(|stream| &stream.types)
}

/// The worst over all streams of the type.
fn state(proxy: &ProxyReport, kind: ResourceType) -> &'static str {
    let states = reports(proxy).filter(|(name, _)| *name == kind.as_str()).map(|(_, report)| report.state);
    match states.max() {
        None => "-",
        Some(SyncState::Acked) => "ACKED",
        Some(SyncState::NotSent) => "NOT SENT",
        Some(SyncState::NotFound) => "NOT FOUND",
        Some(SyncState::Stale) => "STALE",
        Some(SyncState::Nacked) => "NACKED",
    }
}
