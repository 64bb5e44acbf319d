//! The running demo: sends requests, counts the answers and shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::envoy::Envoy;
use super::scene::{Scene, Speaks, Target};
use super::screen::Screen;
use super::tally::Tally;
use super::traffic::{self, Entrance};
use super::{DemoError, Outcome, Shift};
use crate::config::{Admin, Config};
use crate::proxies::ProxyStatus;
use crate::shutdown::Shutdown;

/// Between two requests to one HTTP service.
const REQUEST_INTERVAL: Duration = Duration::from_millis(200);
/// Requests under way; while there are more, none is sent.
const CALLS_MAX: usize = 500;

/// The host that the shift is about.
const SHIFTED: &str = "reviews.local";

/// What the demo runs with.
pub(super) struct Stage {
    /// pilot's configuration, with the addresses that are in use.
    pub(super) config: Config,
    /// Where Envoy routes by Host header.
    pub(super) http: SocketAddr,
    /// The file to change.
    pub(super) services: PathBuf,
    /// A document that the reader may put among the rules.
    pub(super) shift: Option<Shift>,
    /// Envoy's version.
    pub(super) version: String,
    /// Envoy's own admin pages.
    pub(super) envoy_admin: SocketAddr,
    /// When it ends by itself.
    pub(super) duration: Option<Duration>,
}

impl Stage {
    /// Waits for Envoy, and plays until the time is over, shutdown has begun or nobody reads.
    pub(super) async fn play(
        &self,
        envoy: &mut Envoy,
        mut scene: watch::Receiver<Scene>,
        shutdown: &Shutdown,
    ) -> Result<Outcome, DemoError> {
        tokio::select! {
            ready = envoy.ready() => ready?,
            () = shutdown.begun() => return Ok(Outcome::default()),
        }
        let mut play = Play::new(self);
        play.follow(&scene.borrow_and_update());
        let introduction = self.introduction(envoy, &play.targets);
        if !read(play.screen.say(&introduction))? {
            return Ok(play.outcome());
        }
        let (mut requests, mut seconds) = (ticks(REQUEST_INTERVAL), ticks(Duration::from_secs(1)));
        seconds.reset();
        let over = async {
            match self.duration {
                Some(duration) => sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => break,
                () = shutdown.begun() => break,
                error = envoy.ended() => return Err(error),
                Ok(()) = scene.changed() => play.follow(&scene.borrow_and_update()),
                Some(Ok((target, answer))) = play.calls.join_next() => {
                    play.tally.count(&target.label(), answer, Instant::now());
                }
                Some(Ok(refusals)) = play.questions.join_next() => play.refusals = refusals,
                _ = requests.tick() => play.call(),
                _ = seconds.tick() => if !read(play.second())? { break },
            }
        }
        let silent = play.tally.end();
        let Outcome { answered, failed } = play.outcome();
        let mut end = format!("ended: {answered} requests answered, {failed} failed");
        if !silent.is_empty() {
            end.push_str(&format!("; never answered: {}", silent.join(", ")));
        }
        read(play.screen.end(&end))?;
        Ok(play.outcome())
    }

    fn introduction(&self, envoy: &Envoy, targets: &BTreeSet<Target>) -> String {
        let Self { config, http, services, shift, version, envoy_admin, duration: _ } = self;
        let host = targets.iter().find(|target| target.speaks == Speaks::Http);
        let host = host.map_or("reviews.local", |target| target.host.as_str());
        // It is about this host.
        let is_there = targets.iter().any(|target| target.host.as_str() == SHIFTED);
        let shift = shift.as_ref().filter(|_| is_there).map_or_else(String::new, |Shift { document, folder }| {
            format!(
                "Shift nine of ten requests for {SHIFTED} to version 1 with a rule, and back by removing it:\n  \
                 cp {document} {folder}\n\n",
                document = document.display(),
                folder = folder.display(),
            )
        });
        let process = envoy.pid().map(|pid| pid.to_string()).unwrap_or_default();
        let (log, admin) = (envoy.log(), &config.admin.listen);
        format!(
            "pilot follows {services} and tells Envoy {version} of it. Change the file while this runs,\n\
             and the traffic follows. For example add an endpoint, for which a backend is started:\n  \
             {{ address = \"127.0.0.1:9185\", labels = {{ version = \"v3\" }} }},\n\n\
             {shift}  \
             through Envoy   curl -H 'Host: {host}' http://{http}/\n  \
             into pilot      pilot proxies{at}\n  \
             {nothing:15} pilot services{at}\n  \
             {nothing:15} http://{admin}/debug/proxies\n  \
             into Envoy      http://{envoy_admin}/clusters (process {process})\n  \
             Envoy's log     {log}\n\n\
             Ctrl-C ends all of it.\n",
            services = services.display(),
            at = if *admin == Admin::default().listen {
                String::new()
            } else {
                format!(" --admin http://{admin}")
            },
            nothing = "",
            log = log.display(),
        )
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Whether somebody still reads what is shown.
fn read(shown: std::io::Result<()>) -> Result<bool, DemoError> {
    match shown {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(DemoError::Output(error)),
    }
}

/// What changes while it plays.
struct Play {
    entrance: Entrance,
    admin: SocketAddr,
    targets: BTreeSet<Target>,
    /// What the registry and the backends have to say.
    notes: Vec<String>,
    /// What Envoy has refused.
    refusals: Vec<String>,
    tally: Tally,
    screen: Screen,
    calls: JoinSet<(Target, Result<String, String>)>,
    questions: JoinSet<Vec<String>>,
    rounds: u64,
}

impl Play {
    fn new(stage: &Stage) -> Self {
        Self {
            entrance: Entrance { http: stage.http, bind: stage.config.router.bind },
            admin: stage.config.admin.listen,
            targets: BTreeSet::new(),
            notes: Vec::new(),
            refusals: Vec::new(),
            tally: Tally::default(),
            screen: Screen::new(),
            calls: JoinSet::new(),
            questions: JoinSet::new(),
            rounds: 0,
        }
    }

    fn follow(&mut self, scene: &Scene) {
        self.targets.clone_from(&scene.targets);
        self.notes.clone_from(&scene.notes);
        self.tally.follow(&self.targets.iter().map(Target::label).collect(), Instant::now());
    }

    /// One request to each HTTP service. A TCP service gets a connection once a second.
    fn call(&mut self) {
        self.rounds += 1;
        let tcp_too = self.rounds.is_multiple_of(5);
        for target in self.targets.iter().filter(|target| tcp_too || target.speaks == Speaks::Http) {
            if self.calls.len() < CALLS_MAX {
                let (entrance, target) = (self.entrance, target.clone());
                self.tally.ask(&target.label());
                self.calls.spawn(async move {
                    let answer = traffic::call(entrance, &target).await;
                    (target, answer)
                });
            }
        }
    }

    fn second(&mut self) -> std::io::Result<()> {
        if self.questions.is_empty() {
            self.questions.spawn(refusals(self.admin));
        }
        let notes: Vec<String> = self.notes.iter().chain(&self.refusals).cloned().collect();
        self.screen.show(&self.tally, &notes)?;
        self.tally.second();
        Ok(())
    }

    fn outcome(&self) -> Outcome {
        Outcome { answered: self.tally.answered, failed: self.tally.failed }
    }
}

/// What the connected proxies have refused, in their own words. pilot's admin server knows.
async fn refusals(admin: SocketAddr) -> Vec<String> {
    let Ok((_, body)) = traffic::get(admin, &admin.to_string(), "/debug/proxies").await else {
        return Vec::new();
    };
    let report: BTreeMap<String, Vec<ProxyStatus>> = serde_json::from_slice(&body).unwrap_or_default();
    let streams = report.into_values().flatten().flat_map(|proxy| proxy.streams);
    let types = streams.flat_map(|stream| stream.types);
    let nacks = types.filter_map(|(kind, report)| Some((kind, report.nack?)));
    nacks.map(|(kind, nack)| format!("Envoy refused {kind}: {}", in_one_line(&nack.message))).collect()
}

/// Another program's words, which cannot move the cursor.
fn in_one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
