//! Shows how a registry follows its platform: in short for a list, as a table for one registry.

use super::age;
use crate::admin::{LastErrorReport, RegistryReport, WatchReport};
use crate::cli::Table;

/// How many watches that do not watch are named in short.
const NAMED: usize = 5;

/// Whom it talks to, and how old its watches are, in one line; `None` = it says nothing of that.
pub(super) fn in_short(registry: &RegistryReport) -> Option<String> {
    let facts = registry.facts.iter().map(|(name, value)| format!("{} {value}", name.replace('_', " ")));
    let mut parts: Vec<String> = facts.collect();
    parts.extend(ages(registry));
    parts.extend(not_watched(registry));
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// `4 watches, 12s to 55s old, quiet for 3s at most`.
fn ages(registry: &RegistryReport) -> Option<String> {
    let open: Vec<_> = registry.watches.values().filter(|watch| is_open(watch)).collect();
    let longest = |seconds: &dyn Fn(&WatchReport) -> f64| {
        open.iter().map(|watch| seconds(watch)).reduce(f64::max).unwrap_or_default()
    };
    let youngest = open.iter().map(|watch| watch.age_seconds).reduce(f64::min)?;
    let (youngest, oldest) = (age(youngest), age(longest(&|watch| watch.age_seconds)));
    let ages = if youngest == oldest { oldest } else { format!("{youngest} to {oldest}") };
    let watches = if open.len() == 1 { "watch" } else { "watches" };
    let quiet = age(longest(&|watch| watch.quiet_seconds.unwrap_or(watch.age_seconds)));
    Some(format!("{} {watches}, {ages} old, quiet for {quiet} at most", open.len()))
}

/// `not watched: pods (stopped), nodes (listing)`.
fn not_watched(registry: &RegistryReport) -> Option<String> {
    let closed: Vec<_> = registry.watches.iter().filter(|(_, watch)| !is_open(watch)).collect();
    let named = closed.iter().take(NAMED).map(|(name, watch)| format!("{name} ({})", watch.state));
    let mut named: Vec<_> = named.collect();
    if closed.len() > NAMED {
        named.push(format!("{} more", closed.len() - NAMED));
    }
    (!named.is_empty()).then(|| format!("not watched: {}", named.join(", ")))
}

/// What went wrong last, unless it still does and is said already.
pub(super) fn last_error(registry: &RegistryReport) -> Option<String> {
    let last = registry.last_error.as_ref()?;
    let mut troubles = registry.trouble.iter().chain(&registry.other_troubles);
    let stands = troubles.any(|trouble| trouble.error == last.error);
    (!stands).then(|| format!("last failed {} ago: {}: {}", age(last.age_seconds), last.kind, last.error))
}

/// All watches; nothing where there are none.
pub(super) fn table(registry: &RegistryReport) -> String {
    if registry.watches.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["watch", "state", "age", "quiet", "opened", "lists", "last error"]);
    for (name, watch) in &registry.watches {
        table.row([
            name.clone(),
            watch.state.clone(),
            age(watch.age_seconds),
            watch.quiet_seconds.map(age).unwrap_or_default(),
            watch.opened.to_string(),
            watch.lists.to_string(),
            watch.last_error.as_ref().map(error).unwrap_or_default(),
        ]);
    }
    format!("\n{table}")
}

fn error(last: &LastErrorReport) -> String {
    format!("{} ago: {}: {}", age(last.age_seconds), last.kind, last.error)
}

fn is_open(watch: &WatchReport) -> bool {
    watch.state == pilot_registry::WatchState::Watching.as_str()
}
