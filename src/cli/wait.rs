//! `pilot wait`: has a change reached every connected proxy?

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::client::{Question, authority, configured, send};
use super::output::plain;
use super::{EXIT_INVALID, Global, Output, Table, block_on, documents};
use crate::admin::{MissingReport, ReachReport};
use crate::config::Problems;

/// A running pilot is asked to answer after so long, at the latest.
const TURN: Duration = Duration::from_secs(10);
/// Between two questions to a pilot that answers at once.
const PAUSE: Duration = Duration::from_millis(200);
/// An answer takes so long beside what pilot was asked to wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// Wait until a change has reached every connected proxy
///
/// Says how many proxies have it, and of the others why they do not: not acknowledged yet, refused (with the proxy's
/// words), or not asked for. Counts the proxies that are connected to the pilots that are asked, and of these the ones that
/// are told something of what is waited for. Ends before the time is over when all others refuse it.
///
/// --for FILE: a file or a folder of documents. pilot has read just these, and proxies have acknowledged what it made of
/// them. The spec counts, however it is written. This is the safe way after a change: pilot may not have read it yet, and
/// only the file tells what to wait for.
///
/// --for DOCUMENT: kind/namespace/name, or a name. The newest version that pilot has read when it is asked: one that was
/// written a moment ago may not be that.
///
/// --for HOST: all that there is for a service, routes, clusters and endpoints. The same holds.
///
/// --gone DOCUMENT or HOST: it was removed. Ends when pilot no longer has it, and every connected proxy has let go of what there was
/// for it. A name that pilot never had is gone, too. Of a FILE: the documents in it, whatever they say.
///
/// Without --for and --gone: all that registries and stores of rules have told pilot when it is asked.
///
/// What is promised: Envoy has accepted the configuration. Its worker threads take it over a moment later, requests under
/// way go on as they began, and a listener that is replaced drains. It is not promised that a proxy that is not connected
/// has it, or that what is waited for has not been replaced since.
///
/// Exit codes: 0 reached, also where nobody is concerned; 1 not within the time, or refused; 2 when pilot does not answer, a
/// document is rejected, or the command line makes no sense.
///
/// Example: cp reviews.yaml rules/ && pilot wait --for reviews.yaml && ./test-reviews
///
/// A document by its name: pilot wait --for VirtualService/default/reviews --timeout 10s
///
/// After a removal: rm rules/reviews.yaml && pilot wait --gone VirtualService/default/reviews
///
/// Of two replicas: pilot wait --admin http://pilot-1:18080 --admin http://pilot-2:18080
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to wait for: a file or folder of documents, a document, or a host. May be given several times: all of them.
    #[arg(long = "for", value_name = "FILE|DOCUMENT|HOST", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    wanted: Vec<String>,
    /// What is to be gone: a document, a host, or the documents of a file. May be given several times, and beside --for.
    #[arg(long, value_name = "FILE|DOCUMENT|HOST", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    gone: Vec<String>,
    /// How long to wait at most. 0s looks once.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::config::parse_duration)]
    timeout: Duration,
    /// The admin server of a pilot to ask, for example http://127.0.0.1:18080. Of replicas: all of them, separated by commas or
    /// given one by one. Unless given, it is where the configuration says.
    #[arg(long, value_name = "URL", env = "PILOT_ADMIN", value_parser = authority, value_delimiter = ',')]
    admin: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// What all pilots say.
#[derive(Debug, Serialize)]
struct Report {
    reached: bool,
    concerned: usize,
    current: usize,
    connected: usize,
    pilots: Vec<OfPilot>,
}

/// What one pilot says.
#[derive(Debug, Serialize)]
struct OfPilot {
    admin: String,
    #[serde(flatten)]
    reach: ReachReport,
}

impl Args {
    /// Waits, and prints how far it has come.
    ///
    /// # Errors
    /// A file cannot be read; standard output cannot be written.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { wanted, gone, timeout, admin, output } = self;
        let all = |words: &[String], is_exact| -> Result<String, Problems> {
            let items = words.iter().map(|word| items(word, is_exact)).collect::<Result<Vec<_>, _>>()?;
            Ok(items.concat().join(","))
        };
        let items = Items { there: all(&wanted, true)?, gone: all(&gone, false)? };
        let admins = if admin.is_empty() { vec![configured(global)?] } else { admin };
        let answers = block_on(async {
            let deadline = Instant::now() + timeout;
            Ok(join_all(admins.iter().map(|admin| follow(admin, &items, deadline))).await)
        })?;
        let mut pilots = Vec::new();
        for (admin, answer) in admins.into_iter().zip(answers) {
            match answer {
                Ok(reach) => pilots.push(OfPilot { admin, reach }),
                Err(error) => {
                    eprintln!("error: {error:#}");
                    return Ok(ExitCode::from(EXIT_INVALID));
                }
            }
        }
        let report = Report::of(pilots);
        super::print(&output.format.render(&report, |report| report.table(&wanted, &gone))?)?;
        let is_rejected = report.pilots.iter().any(|pilot| !pilot.reach.rejected.is_empty());
        Ok(match (report.reached, is_rejected) {
            (true, _) => ExitCode::SUCCESS,
            (false, true) => ExitCode::from(EXIT_INVALID),
            (false, false) => ExitCode::FAILURE,
        })
    }
}

/// What pilot is asked for.
struct Items {
    there: String,
    gone: String,
}

/// What pilot is asked for by a word of the command line: of a file, each of its documents. `is_exact`: with its content.
fn items(wanted: &str, is_exact: bool) -> Result<Vec<String>, Problems> {
    let path = Path::new(wanted);
    let is_file = [".yaml", ".yml", ".json"].iter().any(|end| wanted.ends_with(end)) || wanted.ends_with('/');
    if !is_file && !path.exists() {
        return Ok(vec![wanted.to_owned()]);
    }
    let read = documents::read(path)?;
    let item = |document: &crate::rules::Document| {
        let (id, hash) = (document.id.as_ref()?, document.hash?);
        Some(if is_exact { format!("{id}@{hash:016x}") } else { id.to_string() })
    };
    Ok(read.documents.iter().filter_map(item).collect())
}

/// Asks one pilot until it is over, or the time is.
async fn follow(admin: &str, items: &Items, deadline: Instant) -> anyhow::Result<ReachReport> {
    let mut at: Option<u64> = None;
    loop {
        // Whole seconds, so that the last answer comes at the deadline or after it.
        let left = deadline.saturating_duration_since(Instant::now());
        let turn = left.min(TURN).as_secs_f64().ceil();
        let mut question = Question::new("/debug/reach").with("wait", &turn.to_string());
        for (key, items) in [("for", &items.there), ("gone", &items.gone)] {
            if !items.is_empty() {
                question = question.with(key, items);
            }
        }
        if let Some(at) = at {
            question = question.with("at", &at.to_string());
        }
        let asked = Instant::now();
        let reach: ReachReport = send(admin, PATIENCE + TURN, Method::GET, &question).await?;
        if reach.is_over || Instant::now() >= deadline {
            return Ok(reach);
        }
        at = at.or(reach.at);
        sleep(PAUSE.saturating_sub(asked.elapsed()).min(deadline.saturating_duration_since(Instant::now())))
            .await;
    }
}

impl Report {
    fn of(pilots: Vec<OfPilot>) -> Self {
        let sum = |count: fn(&ReachReport) -> usize| pilots.iter().map(|pilot| count(&pilot.reach)).sum();
        Self {
            reached: pilots.iter().all(|pilot| pilot.reach.reached),
            concerned: sum(|reach| reach.concerned),
            current: sum(|reach| reach.current),
            connected: sum(|reach| reach.connected),
            pilots,
        }
    }

    fn table(&self, wanted: &[String], gone: &[String]) -> String {
        let there = (!wanted.is_empty()).then(|| wanted.join(", "));
        let gone = (!gone.is_empty()).then(|| format!("let go of {}", gone.join(", ")));
        let what: Vec<String> = there.into_iter().chain(gone).collect();
        let what = if what.is_empty() { "everything".to_owned() } else { what.join(", and ") };
        let Self { concerned, current, connected, .. } = self;
        let mut text = match (concerned, connected) {
            (0, 0) => format!("no proxy is connected: there is nobody to have {what}\n"),
            (0, _) => format!("none of {connected} connected proxies is told anything of {what}\n"),
            _ => format!("{current} of {concerned} proxies have {what} ({connected} connected)\n"),
        };
        let missing: Vec<&MissingReport> =
            self.pilots.iter().flat_map(|pilot| &pilot.reach.missing).collect();
        if !missing.is_empty() {
            let mut table = Table::new(["proxy", "peer", "why"]);
            for it in missing {
                table.row([it.proxy.clone(), it.peer.clone().unwrap_or_default(), it.message.clone()]);
            }
            text.push_str(&format!("\n{table}"));
        }
        let mut notes = BTreeSet::new();
        for OfPilot { admin, reach } in &self.pilots {
            let own = reach.pending.iter().chain(&reach.rejected).map(|why| format!("{admin}: {why}"));
            let documents = reach.documents.iter().flat_map(|it| {
                it.reasons.iter().map(move |why| format!("{} is {}: {why}", it.document, it.state.as_str()))
            });
            let is_told = reach.rejected.is_empty();
            notes.extend(own.chain(documents.filter(|_| is_told)));
        }
        notes.iter().for_each(|note| text.push_str(&format!("\n{}\n", plain(note))));
        text
    }
}
