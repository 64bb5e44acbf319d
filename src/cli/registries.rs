//! `pilot registries`: the state of a running pilot's registries, and releasing what the guard holds.

mod watches;

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::client::{Question, Target};
use super::listing::{ListView, Listing, Style};
use super::output::plain;
use super::{Global, Output, Table};
use crate::admin::{RegistryReport, Released};

/// Show the registries of a running pilot, or one with its watches
///
/// Health is connecting, live or degraded: then what is served stays, and why it may be old stands below the
/// table, with all that is wrong. Source is disk while a registry has not answered since the start and its last
/// known good is served. Held are endpoints that disappeared in a mass: they are kept until the registry
/// confirms that. Skipped are entries that make no sense: they are not served. Why stands below the table, with notes
/// on entries that are served, such as a port that was guessed. There is also what Kubernetes and etcd tell of
/// themselves: the server's version, how old the watches are, and how long the quietest has said nothing. The last
/// error stays when it is over.
///
/// Of one registry each watch is shown: listing, watching or stopped, and for how long (age); since when the
/// server has said nothing on it, not even that nothing has changed (quiet); how often it was opened, and how
/// often everything was listed, since pilot started; what went wrong last. Watches are renewed now and then:
/// what is opened often and listed rarely is in order.
///
/// Example: pilot registries cluster
///
/// For programs: pilot registries -o json
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    order: Option<Order>,
    /// One registry, by its name in pilot.toml: with its watches.
    name: Option<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, clap::Subcommand)]
enum Order {
    Release(Release),
}

/// Let go at once of the endpoints that are held of a registry
///
/// For when they are known to be gone. What the registry says now is what counts then.
///
/// Example: pilot registries release east
#[derive(Debug, clap::Args)]
struct Release {
    /// The registry's name in pilot.toml.
    name: String,
    #[command(flatten)]
    output: Output,
}

impl Args {
    /// Asks, and prints the answer.
    ///
    /// # Errors
    /// pilot does not answer, or has no registry of that name.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { order, name, target, listing } = self;
        if let Some(Order::Release(release)) = order {
            if name.is_some() || listing.is_said() {
                anyhow::bail!(
                    "what belongs to release stands after it: pilot registries release NAME -o json"
                );
            }
            return release.run(global, &target);
        }
        let question = Question::new("/debug/registries");
        match name {
            Some(name) => listing.show(global, &target, &question.with("name", &name), one),
            None => listing.show(global, &target, &question, |report: &Report, style| {
                table(report.get("registries").map(Vec::as_slice).unwrap_or_default(), style)
            }),
        }
    }
}

type Report = BTreeMap<String, Vec<RegistryReport>>;

impl Release {
    fn run(self, global: &Global, target: &Target) -> anyhow::Result<ExitCode> {
        let Self { name, output } = self;
        let path = format!("/registries/{}/release", crate::admin::encode(&name));
        let released: Released = target.tell(global, &Question::new(&path))?;
        super::print(&output.format.render(&released, words)?)
    }
}

fn one(registry: &RegistryReport, style: Style) -> ListView {
    let mut view = table(std::slice::from_ref(registry), style);
    view.notes.push_str(&watches::table(registry));
    view
}

fn table(registries: &[RegistryReport], style: Style) -> ListView {
    let mut table = Table::new([
        "registry",
        "kind",
        "priority",
        "health",
        "source",
        "revision",
        "age",
        "services",
        "endpoints",
        "held",
        "skipped",
    ]);
    if style.wide {
        table.extend(["optional", "server", "changed"]);
    }
    let mut notes = String::new();
    for registry in registries {
        let count = |number: usize| if number == 0 { String::new() } else { number.to_string() };
        table.row([
            registry.name.clone(),
            registry.kind.clone(),
            registry.priority.to_string(),
            registry.health.clone(),
            registry.origin.clone().unwrap_or_default(),
            registry.revision.map(|revision| revision.to_string()).unwrap_or_default(),
            registry.age_seconds.map(age).unwrap_or_default(),
            registry.services.to_string(),
            registry.endpoints.to_string(),
            count(registry.held.as_ref().map_or(0, |held| held.endpoints)),
            count(registry.skipped.len()),
        ]);
        if style.wide {
            let optional = if registry.optional { "yes" } else { "no" };
            let server = registry.facts.get("server_version").cloned().unwrap_or_default();
            table.extend_row([optional.into(), server, registry.changed_at.clone().unwrap_or_default()]);
        }
        for note in notes_on(registry) {
            notes.push_str(&plain(&format!("{}: {note}", registry.name)));
            notes.push('\n');
        }
    }
    let notes = if notes.is_empty() { notes } else { format!("\n{notes}") };
    // Ages grow without anything having changed.
    ListView { notes, passing: &["AGE"], ..ListView::from(table) }
}

/// What is worth a look, line by line.
fn notes_on(registry: &RegistryReport) -> Vec<String> {
    let mut notes = Vec::new();
    if registry.origin.is_none() && registry.optional {
        notes.push("nothing is known of it; it is optional: others are served without it".to_owned());
    }
    notes.extend(watches::in_short(registry));
    for trouble in registry.trouble.iter().chain(&registry.other_troubles) {
        notes.push(format!("{} since {}: {}", trouble.kind, trouble.since, trouble.error));
    }
    notes.extend(watches::last_error(registry));
    if let Some(held) = &registry.held {
        let services = held.services.iter().map(|(host, endpoints)| format!("{host} ({endpoints})"));
        let services: Vec<_> = services.collect();
        notes.push(format!(
            "held since {}, until {} at the latest if it is live: {}",
            held.since,
            held.until,
            services.join(", ")
        ));
    }
    if let Some(error) = registry.disk.as_ref().and_then(|disk| disk.error.as_ref()) {
        notes.push(format!("last known good: {error}"));
    }
    notes.extend(registry.skipped.iter().map(|(entry, why)| format!("{entry} is skipped: {why}")));
    notes.extend(registry.notes.iter().map(|(entry, note)| format!("{entry}: {note}")));
    notes
}

/// An age in the largest unit in which it is at least two, cut off: `119s`, `2m`.
fn age(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{}s", seconds.trunc()),
        120.0..7_200.0 => format!("{}m", (seconds / 60.0).trunc()),
        7_200.0..172_800.0 => format!("{}h", (seconds / 3_600.0).trunc()),
        _ => format!("{}d", (seconds / 86_400.0).trunc()),
    }
}

fn words(released: &Released) -> String {
    let Released { registry, endpoints, services } = released;
    if services.is_empty() {
        return format!("nothing was held of {registry}");
    }
    let mut table = Table::new(["service", "endpoints"]);
    for (host, endpoints) in services {
        table.row([host.clone(), endpoints.to_string()]);
    }
    format!("let go of {endpoints} endpoints of {registry}\n\n{table}")
}
