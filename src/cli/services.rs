//! `pilot services`: the services that a running pilot knows.

use std::process::ExitCode;

use pilot_registry::{ServicePort, Visibility};

use super::client::{Question, Target};
use super::listing::{ListView, Listing, Style};
use super::place::locality;
use super::{Global, Table};
use crate::admin::{ServiceReport, ServiceSummary, ServicesReport};

/// Show the services that a running pilot knows, or one with its endpoints
///
/// Example: pilot services reviews.local
///
/// As they change: pilot services --watch
///
/// For programs: pilot services -o json
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One service, by its host name, an alias, or the beginning of one that no other service has:
    /// `reviews` for reviews.service.consul.
    host: Option<String>,
    /// The service as clients of this namespace see it: several namespaces may have one of that host
    #[arg(long, short, value_name = "NAME", requires = "host")]
    namespace: Option<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    listing: Listing,
}

impl Args {
    /// Asks, and prints the answer.
    ///
    /// # Errors
    /// pilot does not answer, or does not know the service.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { host, namespace, target, listing } = self;
        let question = Question::new("/debug/services");
        let question = match namespace {
            Some(namespace) => question.with("namespace", &namespace),
            None => question,
        };
        match host {
            None => listing.show(global, &target, &question, services),
            Some(host) => listing.show(global, &target, &question.with("host", &host), service),
        }
    }
}

fn services(report: &ServicesReport, style: Style) -> ListView {
    let mut table = Table::new(["host", "ports", "endpoints", "registries"]);
    if style.wide {
        table.extend(["aliases"]);
    }
    for service in &report.services {
        table.row([named(service), ports(&service.ports), endpoints(service), registries(service)]);
        if style.wide {
            table.extend_row([service.aliases.join(",")]);
        }
    }
    let mut text = String::new();
    if report.services.is_empty() {
        text.push_str("\nno service is known: `pilot registries` says what each registry has\n");
    }
    let disputed = report.services.iter().flat_map(|service| {
        service.disagreements.iter().map(move |it| format!("{}: {}", named(service), it.message))
    });
    text.push_str(&listed("what registries disagree about", disputed));
    let doubts = report.services.iter().flat_map(|service| {
        doubts(service).into_iter().map(move |doubt| format!("{}: {doubt}", named(service)))
    });
    text.push_str(&listed("what registries do not say now", doubts));
    if style.wide {
        let all = report
            .services
            .iter()
            .flat_map(|service| guessed(service).map(move |note| format!("{}: {note}", named(service))));
        text.push_str(&listed("what was guessed", all));
    }
    for (host, why) in &report.not_translated {
        text.push_str(&format!(
            "\n{host} is served as it was before: a bug of pilot keeps it from being translated ({why})\n"
        ));
    }
    for (layer, why) in &report.not_made {
        text.push_str(&format!(
            "\n{layer}: served as before, because a bug of pilot keeps it from being made anew ({why})\n"
        ));
    }
    for (scope, conflicts) in &report.conflicts {
        text.push_str(&format!("\nconflicts for {scope}:\n"));
        conflicts.iter().for_each(|conflict| text.push_str(&format!("  {conflict}\n")));
    }
    ListView { notes: text, ..ListView::from(table) }
}

fn service(report: &ServiceReport, style: Style) -> ListView {
    let mut table = Table::new(["address", "ports", "health", "weight", "locality", "registry"]);
    if style.wide {
        table.extend(["priority", "labels"]);
    }
    for endpoint in &report.instances {
        table.row([
            endpoint.address.clone(),
            endpoint.ports.iter().map(|(port, own)| format!("{port}->{own}")).collect::<Vec<_>>().join(","),
            word(&endpoint.health),
            endpoint.weight.to_string(),
            locality(&endpoint.locality),
            match &endpoint.shadowed_by {
                Some(preferred) => format!("{} (not used: {preferred} has it)", endpoint.registry),
                None => endpoint.registry.clone(),
            },
        ]);
        if style.wide {
            let labels = endpoint.labels.iter().map(|(key, value)| format!("{key}={value}"));
            table.extend_row([endpoint.priority.to_string(), labels.collect::<Vec<_>>().join(",")]);
        }
    }
    let summary = &report.summary;
    let disputed = summary.disagreements.iter().map(|it| it.message.clone());
    let disputed = listed("what registries disagree about", disputed);
    let head = format!("{} ({}), {}", named(summary), word(&report.resolution), ports(&summary.ports));
    let local = summary.local_names.iter();
    let local = local.map(|(namespace, names)| format!("\n{} in namespace {namespace}", names.join(", ")));
    let head = local.fold(head, |head, line| head + &line);
    let head = summary
        .seen_by
        .iter()
        .fold(head, |head, seen_by| head + &format!("\nseen by {}", Visibility::Only(seen_by.clone())));
    let doubts = listed("what registries do not say now", doubts(summary).into_iter());
    let conflicts = listed("conflicts", summary.conflicts.iter().cloned());
    let guessed = if style.wide { listed("what was guessed", guessed(summary)) } else { String::new() };
    ListView {
        head: format!("{head}\n\n"),
        notes: format!("{disputed}{conflicts}{doubts}{guessed}"),
        ..ListView::from(table)
    }
}

/// Its host, and whose it is if not everybody sees it.
fn named(service: &ServiceSummary) -> String {
    match &service.owner {
        Some(owner) => format!("{} (of {owner})", service.host),
        None => service.host.clone(),
    }
}

/// Ports whose numbers no registry says.
fn guessed(service: &ServiceSummary) -> impl Iterator<Item = String> {
    let note = |port: &pilot_registry::Port| {
        format!("served at port {port}, which was guessed: say in its registry which port clients call")
    };
    service.guessed_ports.iter().map(note)
}

/// What is served though no registry says it now.
fn doubts(service: &ServiceSummary) -> Vec<String> {
    let stale = service.stale_seconds.iter();
    let stale = stale.map(|(registry, age)| format!("{registry} is stale: from disk, {age} s ago"));
    let held = service.held.iter();
    let held = held.map(|(registry, endpoints)| format!("{endpoints} held of {registry}"));
    stale.chain(held).collect()
}

/// `east,west`, or `east,west (1 disagreement)`.
fn registries(service: &ServiceSummary) -> String {
    let names = service.registries.join(",");
    match service.disagreements.len() {
        0 => names,
        1 => format!("{names} (1 disagreement)"),
        several => format!("{names} ({several} disagreements)"),
    }
}

/// A heading and lines below it; nothing without lines.
fn listed(heading: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: String = lines.map(|line| format!("  {line}\n")).collect();
    if lines.is_empty() { lines } else { format!("\n{heading}:\n{lines}") }
}

fn ports(ports: &[ServicePort]) -> String {
    let ports: Vec<_> = ports.iter().map(|port| format!("{}/{}", port.number, port.protocol)).collect();
    ports.join(",")
}

/// `3`, or `3 (1 unhealthy)`: what the platform says, where it says something worth a look.
fn endpoints(service: &ServiceSummary) -> String {
    use pilot_registry::Health::{Draining, Unhealthy, Warning};
    let notable = [Warning, Unhealthy, Draining]
        .into_iter()
        .filter_map(|health| service.health.get(&health).map(|count| format!("{count} {}", word(&health))));
    let notable: Vec<_> = notable.collect();
    match notable.as_slice() {
        [] => service.endpoints.to_string(),
        notable => format!("{} ({})", service.endpoints, notable.join(", ")),
    }
}

/// A value as its word in configuration.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
