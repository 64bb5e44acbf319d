//! Routes a path to its handler.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, HOST, ORIGIN};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use pilot_registry::Namespace;
use tokio::time::timeout;

use super::explain::{self, ExplainReport};
use super::plan::{self, PlanReport, PlanRequest};
use super::proxies::ProxyReport;
use super::query::Query;
use super::reach;
use super::readiness::Readiness;
use super::registries::{RegistryReport, Released};
use super::reply::{Failure, Reply};
use super::resources::Selection;
use super::rules::RulesReport;
use super::services::{ServiceReport, ServicesReport};
use super::version::VersionReport;
use super::{Admin, Server};
use crate::metrics::Format;

/// Every path and what it shows.
const PATHS: [(&str, &str); 11] = [
    ("/livez", "200 while the process runs"),
    (
        "/readyz",
        "200 once every registry has answered or need not be waited for, and until pilot ends, else 503; and what \
         is missing",
    ),
    ("/version", "which pilot this is"),
    ("/metrics", "metrics as Prometheus' text, or as OpenMetrics where Accept asks for it"),
    ("/debug/registries", "registries: health, age, watches, errors, what was skipped; ?name=<name>: one"),
    (
        "/debug/services",
        "services; ?host=<name>: one with its endpoints, ?namespace=<name>: as its clients see it",
    ),
    ("/debug/rules", "documents of rules: what became of each, and why; of one with ?name="),
    (
        "/debug/reach",
        "whether proxies have what pilot has; ?for=<documents or hosts, separated by commas>: of these, &wait=<seconds>: the \
         answer comes when they have it, or then",
    ),
    ("/debug/proxies", "connected proxies: who and where, their workloads; sent, accepted, refused by type"),
    (
        "/debug/resources",
        "?proxy=<id> or ?node=<id> (&region, &zone, &sub_zone: where it runs, &namespace), &type=cds|eds|lds|rds|vhds, \
         &name=<name>: what a proxy gets",
    ),
    (
        "/debug/explain",
        "?url=<url> (&method, &headers: one a line, &listener), and who as for /debug/resources: the way of a request through a proxy",
    ),
];

/// What is not only read: POST /registries/<name>/release lets go of what is held of a registry.
const RELEASE: (&str, &str) = ("/registries/", "/release");

/// What is sent documents, and says what they would change.
const PLAN: &str = "/plan";

/// What is sent has to be there by then.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

impl Server {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Reply, Failure> {
        if request.uri().path() == PLAN {
            return self.plan(request).await;
        }
        let request = &request;
        let path = request.uri().path();
        if let Some(name) = path.strip_prefix(RELEASE.0).and_then(|rest| rest.strip_suffix(RELEASE.1)) {
            return self.release(request, name).await;
        }
        if path != "/" && PATHS.iter().all(|(known, _)| *known != path) {
            let known = PATHS.iter().map(|(path, _)| *path);
            return Err(Failure::not_found(format!("no such path: {path}")).knowing(known));
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let error = format!("{} is not allowed: this path only answers", request.method());
            return Err(Failure::method_not_allowed(error, "GET, HEAD"));
        }
        let query = |known| Query::read(request.uri().query(), known);
        match path {
            "/" => query(&[]).map(|_| index()),
            "/livez" => Ok(Reply::text(StatusCode::OK, "alive\n")),
            "/readyz" => Ok(Readiness::of(&self.admin).reply(wants_json(request))),
            "/version" => query(&[]).map(|_| Reply::json(&VersionReport::own())),
            "/metrics" => {
                let format = Format::accepted(accept(request));
                let write = move |admin: &Admin| {
                    let text = admin.metrics.encode(format, &admin.world, &admin.proxies);
                    Ok(Reply::metrics(format, text))
                };
                self.large(write).await
            }
            "/debug/registries" => {
                let name = query(&["name"])?.get("name").map(str::to_owned);
                self.large(move |admin| registries(admin, name.as_deref())).await
            }
            "/debug/services" => self.services(&query(&["host", "namespace"])?).await,
            "/debug/rules" => {
                let name = query(&["name"])?.get("name").map(str::to_owned);
                self.large(move |admin| RulesReport::of(admin, name.as_deref()).map(|it| Reply::json(&it)))
                    .await
            }
            "/debug/explain" => self.explain(&query(&explain::parameters())?).await,
            "/debug/reach" => self.reach(&query(&reach::PARAMETERS)?).await,
            "/debug/proxies" => {
                query(&[])?;
                self.large(|admin| Ok(Reply::json(&BTreeMap::from([("proxies", ProxyReport::all(admin))]))))
                    .await
            }
            _ => self.resources(&query(&Selection::PARAMETERS)?).await,
        }
    }

    /// Says what documents would change. Nothing that is in force is touched.
    async fn plan(&self, request: Request<Incoming>) -> Result<Reply, Failure> {
        check_post(&request, "this path is sent documents")?;
        let turn = self.plans.acquire().await;
        let _turn = turn.expect("the semaphore is never closed");
        let body = Limited::new(request.into_body(), plan::MAX_BYTES).collect();
        let body = timeout(BODY_TIMEOUT, body).await;
        let body = body.map_err(|_| {
            Failure::timed_out(format!("the documents were not there within {BODY_TIMEOUT:?}"))
        })?;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => Failure::too_large(format!(
                "the documents are too large: expected at most {} bytes",
                plan::MAX_BYTES
            )),
            false => Failure::bad_request(format!("reading the documents: {error}")),
        })?;
        let request: PlanRequest = serde_json::from_slice(&body.to_bytes()).map_err(|error| {
            Failure::bad_request(format!(
                "{error}: expected {{\"files\": [{{\"place\": ..., \"text\": ...}}]}}"
            ))
        })?;
        let plan = move |admin: &Admin| PlanReport::of(admin, &request);
        Ok(Reply::json(&self.large(plan).await?))
    }

    async fn release(&self, request: &Request<Incoming>, name: &str) -> Result<Reply, Failure> {
        check_post(request, "this path changes something")?;
        let name = name.to_owned();
        self.large(move |admin| Ok(Reply::json(&Released::from(admin.world.registries(), &name)?))).await
    }

    async fn services(&self, query: &Query<'_>) -> Result<Reply, Failure> {
        let Some(mesh) = self.admin.world.mesh() else {
            let waiting = Readiness::of(&self.admin).lines();
            return Err(Failure::unavailable("the services are not known yet").because(waiting));
        };
        let host = query.get("host").map(str::to_owned);
        let namespace = query.get("namespace").map(|name| Namespace::try_from(name.to_owned())).transpose();
        let namespace = namespace.map_err(|error| Failure::bad_request(error.to_string()))?;
        if host.is_none() && namespace.is_some() {
            return Err(Failure::bad_request("namespace goes with host".to_owned()));
        }
        self.large(move |admin| match host {
            Some(host) => Ok(Reply::json(&ServiceReport::of(admin, &mesh, &host, namespace.as_ref())?)),
            None => Ok(Reply::json(&ServicesReport::of(admin, &mesh))),
        })
        .await
    }

    async fn resources(&self, query: &Query<'_>) -> Result<Reply, Failure> {
        let selection = Selection::read(query, &self.admin)?;
        let set = selection.set(&self.admin).await?;
        self.large(move |_| Ok(Reply::json(&selection.report(&set)?))).await
    }

    async fn explain(&self, query: &Query<'_>) -> Result<Reply, Failure> {
        let url =
            query.get("url").ok_or_else(|| Failure::bad_request("expected url=<the URL of a request>"))?;
        let (method, headers) =
            (query.get("method").unwrap_or("GET"), query.get("headers").unwrap_or_default());
        let question = explain::Question::read(url, method, headers, query.get("listener"))?;
        let selection = Selection::read(query, &self.admin)?;
        let view = selection.set(&self.admin).await?;
        let explain = move |admin: &Admin| ExplainReport::of(admin, &selection, &view, &question);
        Ok(Reply::json(&self.large(explain).await?))
    }

    /// An answer whose cost grows with the mesh: off the thread that answers probes, few at once. Also one whose client
    /// has left counts until it is written.
    pub(super) async fn large<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Admin) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = Arc::clone(&self.large_answers).acquire_owned().await;
        let turn = turn.expect("the semaphore is never closed");
        let admin = self.admin.clone();
        let written = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            write(&admin)
        });
        let written = written.await;
        written.unwrap_or_else(|error| {
            tracing::error!(%error, "admin: writing an answer failed: this is a bug");
            Err(Failure::internal("writing the answer failed: see pilot's log"))
        })
    }
}

fn index() -> Reply {
    let lines = PATHS.iter().map(|(path, what)| format!("{path:<20} {what}\n"));
    let release = "POST /registries/<name>/release: lets go of what is held of a registry\nPOST /plan: what documents would \
                   change, without taking them in\n";
    Reply::text(StatusCode::OK, lines.collect::<String>() + release)
}

fn registries(admin: &Admin, name: Option<&str>) -> Result<Reply, Failure> {
    let registries = admin.world.registries();
    if let Some(name) = name {
        return Ok(Reply::json(&RegistryReport::of_name(registries, name)?));
    }
    let reports: Vec<_> = registries.iter().map(RegistryReport::of).collect();
    Ok(Reply::json(&BTreeMap::from([("registries", reports)])))
}

/// Whether a request may be one that is no mere question. `why`: what it is instead.
fn check_post<B>(request: &Request<B>, why: &str) -> Result<(), Failure> {
    if request.method() != Method::POST {
        let error = format!("{} is not allowed: {why}", request.method());
        return Err(Failure::method_not_allowed(error, "POST"));
    }
    if !is_of_own_origin(request) {
        return Err(Failure::forbidden("a page of another origin changes nothing here"));
    }
    Query::read(request.uri().query(), &[]).map(|_| ())
}

/// Whether a request is not from a page of another origin: browsers say where a POST is from, and programs say
/// nothing (RFC 6454 §7).
fn is_of_own_origin<B>(request: &Request<B>) -> bool {
    let header = |name| request.headers().get(name).map(|value| value.as_bytes());
    match (header(ORIGIN), header(HOST)) {
        (None, _) => true,
        (Some(origin), host) => origin.strip_prefix(b"http://") == host,
    }
}

fn wants_json<B>(request: &Request<B>) -> bool {
    accept(request).contains("application/json")
}

/// Empty where it is not given.
fn accept<B>(request: &Request<B>) -> &str {
    request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::admin::LARGE_ANSWERS_MAX;
    use crate::mesh::MeshOptions;
    use crate::metrics::Metrics;
    use crate::own_ports::OwnPorts;
    use crate::proxies::Proxies;
    use crate::shutdown::shutdown;
    use crate::world::World;

    #[tokio::test]
    async fn a_large_answer_counts_until_it_is_written_though_its_client_has_left() {
        let (world, metrics, proxies) =
            (World::new(Vec::new(), MeshOptions::default(), 1), Metrics::new(), Proxies::default());
        let (_trigger, shutdown) = shutdown();
        let admin = Admin { world, metrics, proxies, own: OwnPorts::default(), shutdown };
        let server = Server::new(admin, true, CancellationToken::new());
        let mut writing = Vec::new();
        for _ in 0..LARGE_ANSWERS_MAX {
            let (go_on, told) = mpsc::sync_channel::<()>(1);
            let write = move |_: &Admin| {
                _ = told.recv();
                Ok(index())
            };
            assert!(server.large(write).now_or_never().is_none(), "and its client leaves");
            writing.push(go_on);
        }
        let mut next = Box::pin(server.large(|_| Ok(index())));
        assert!((&mut next).now_or_never().is_none());
        assert_eq!(server.large_answers.available_permits(), 0, "both are still being written");
        drop(writing);
        assert!(next.await.is_ok());
    }
}
