//! `pilot explain`: the way of one request through a proxy.

use std::process::ExitCode;

use super::client::{Question, Target};
use super::output::plain;
use super::{Global, Output, Table};
use crate::admin::{
    DestinationReport, EndpointStep, ExplainReport, LeftOutReport, ListenerStep, RouteStep, ShadowedReport,
};

/// Explain where a proxy sends a request, and why there
///
/// Shows the listener, the virtual host that has the request's host, the route that is for the request with the document and
/// the rule that made it, and for each earlier route why it is not. Then where the request goes: clusters, the
/// DestinationRules that say how they are used, endpoints with their health. And which documents about the same host do not count, and
/// why.
///
/// What is looked at is what pilot serves to that proxy now. Whether the proxy has it already: pilot wait, pilot proxies. What the
/// proxy finds out by itself is not known here: endpoints that it has ejected, names that it resolves. What is decided by chance is
/// shown with its share.
///
/// A target of gRPC, xds:///host:port/package.Service/Method: as a gRPC client that asks pilot by itself, without a proxy. --header is
/// then the call's metadata.
///
/// Without --proxy: as a proxy that says nothing of itself, a router. With --namespace: as one of that namespace.
///
/// Example: pilot explain http://reviews.local/api --header 'end-user: jason'
///
/// As a connected proxy sees it: pilot explain reviews.local:9080 --proxy sidecar~10.0.0.7 --method POST
///
/// As a gRPC client: pilot explain xds:///reviews.local:9080/reviews.Reviews/List
///
/// For programs: pilot explain reviews.local -o json
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The request: http://host:port/path?query. The host is that of the Host header.
    url: String,
    /// The proxy, by its node id or the beginning of one that no other has.
    #[arg(long, value_name = "ID")]
    proxy: Option<String>,
    /// The method.
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// A header, as name: value. May be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME:VALUE")]
    headers: Vec<String>,
    /// The listener by which the request enters. Unless given, that of [router] http_listen, else the one at the port.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// As a proxy of this namespace sees it.
    #[arg(long, short, value_name = "NAME", conflicts_with = "proxy")]
    namespace: Option<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

/// Who is meant where nobody is named.
const ANYBODY: &str = "router~127.0.0.1~anybody~local";

impl Args {
    /// Asks, and prints the answer.
    ///
    /// # Errors
    /// pilot does not answer, there is no such proxy, or the request makes no sense.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { url, proxy, method, headers, listener, namespace, target, output } = self;
        let mut question = Question::new("/debug/explain").with("url", &url).with("method", &method);
        question = match &proxy {
            Some(id) => question.with("proxy", id),
            None => question.with("node", ANYBODY),
        };
        for (key, value) in [("listener", listener), ("namespace", namespace)] {
            if let Some(value) = value {
                question = question.with(key, &value);
            }
        }
        if !headers.is_empty() {
            question = question.with("headers", &headers.join("\n"));
        }
        let report: ExplainReport = target.ask(global, &question)?;
        super::print(&output.format.render(&report, |report| text(report, proxy.is_none()))?)
    }
}

fn text(report: &ExplainReport, is_anybody: bool) -> String {
    let who = match is_anybody {
        true => format!("as a proxy that says nothing of itself ({})", report.scope),
        false => format!("as {} ({})", report.proxy, report.scope),
    };
    let mut table = Table::new(["step", "what", "why"]);
    if let Some(ListenerStep { name, address, origin }) = &report.listener {
        let at = address.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
        table.row(["listener".into(), format!("{name}{at}"), origin.clone()]);
    }
    if let Some(host) = &report.virtual_host {
        let why = format!("domain {}, of {}", host.domain, host.origin);
        table.row(["virtual host".into(), host.name.clone(), why]);
    }
    for LeftOutReport { rule, why } in &report.left_out {
        table.row(["no route".into(), rule.clone(), why.clone()]);
    }
    for step in &report.routes {
        table.row(["route".into(), named(step), why(step)]);
    }
    for line in &report.outcome {
        table.row(["then".into(), String::new(), line.clone()]);
    }
    for destination in &report.destinations {
        rows(&mut table, destination);
    }
    let origin = report.virtual_host.as_ref().map(|host| host.origin.as_str()).unwrap_or_default();
    let mut notes = shadowed(origin, &report.shadowed);
    for destination in &report.destinations {
        let of = destination.service.as_deref().unwrap_or(&destination.cluster);
        let lines = shadowed(of, &destination.shadowed);
        if !notes.contains(&lines) {
            notes.push_str(&lines);
        }
    }
    format!("{}\n{}\n\n{table}{notes}", plain(&report.request), plain(&who))
}

fn named(step: &RouteStep) -> String {
    let rule = step.rule.as_ref().map(|rule| format!(" {rule}")).unwrap_or_default();
    let name = if step.name.is_empty() { String::new() } else { format!(" ({})", step.name) };
    format!("{}{rule}{name}", step.number)
}

fn why(step: &RouteStep) -> String {
    match &step.why_not {
        Some(why) => format!("no: {why}"),
        None if step.open.is_empty() => "yes".to_owned(),
        None => format!("yes, {}", step.open.join(", ")),
    }
}

fn rows(table: &mut Table, destination: &DestinationReport) {
    let DestinationReport { share, cluster, policies, endpoints, trouble, .. } = destination;
    let share = share.as_ref().map(|share| format!("{share}: ")).unwrap_or_default();
    let why = match (trouble, policies.is_empty()) {
        (Some(trouble), _) => trouble.clone(),
        (None, true) => "no DestinationRule".to_owned(),
        (None, false) => policies.join(", "),
    };
    table.row(["cluster".into(), format!("{share}{cluster}"), why]);
    for EndpointStep { address, health, priority, weight, place_share, region, zone } in endpoints {
        let place = match (region.is_empty(), zone.is_empty()) {
            (true, true) => String::new(),
            (true, false) => format!(", zone {zone}"),
            (false, true) => format!(", region {region}"),
            (false, false) => format!(", at {region}/{zone}"),
        };
        let share = place_share.map(|share| format!(", place gets {share} %")).unwrap_or_default();
        let what = format!("priority {priority}, weight {weight}{place}{share}");
        table.row(["endpoint".into(), format!("{address} {health}"), what]);
    }
}

fn shadowed(what: &str, lost: &[ShadowedReport]) -> String {
    if lost.is_empty() {
        return String::new();
    }
    let lines = lost.iter().map(|it| format!("  {}\n", plain(&format!("{}: {}", it.document, it.why))));
    format!("\ndocuments that do not count beside {}:\n{}", plain(what), lines.collect::<String>())
}
