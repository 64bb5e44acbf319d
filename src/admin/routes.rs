//! Routes a path to its handler.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{ACCEPT, HOST, ORIGIN};
use http::{Method, Request, StatusCode};
use pilot_registry::Namespace;

use super::proxies::ProxyReport;
use super::query::Query;
use super::readiness::Readiness;
use super::registries::{RegistryReport, Released};
use super::reply::{Failure, Reply};
use super::resources::Selection;
use super::services::{ServiceReport, ServicesReport};
use super::version::VersionReport;
use super::{Admin, Server};
use crate::metrics::Format;

/// Every path and what it shows.
const PATHS: [(&str, &str); 8] = [
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
    ("/debug/proxies", "connected proxies: who and where, their workloads; sent, accepted, refused by type"),
    (
        "/debug/resources",
        "?proxy=<id> or ?node=<id> (&region, &zone, &sub_zone: where it runs, &namespace), &type=cds|eds|lds|rds|vhds, \
         &name=<name>: what a proxy gets",
    ),
];

/// What is not only read: POST /registries/<name>/release lets go of what is held of a registry.
const RELEASE: (&str, &str) = ("/registries/", "/release");

impl Server {
    pub(super) async fn answer<B: Sync>(&self, request: &Request<B>) -> Result<Reply, Failure> {
        let path = request.uri().path();
        if let Some(name) = path.strip_prefix(RELEASE.0).and_then(|rest| rest.strip_suffix(RELEASE.1)) {
            return self.release(request, name);
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
            "/debug/proxies" => {
                query(&[])?;
                self.large(|admin| Ok(Reply::json(&BTreeMap::from([("proxies", ProxyReport::all(admin))]))))
                    .await
            }
            _ => self.resources(&query(&Selection::PARAMETERS)?).await,
        }
    }

    fn release<B>(&self, request: &Request<B>, name: &str) -> Result<Reply, Failure> {
        if request.method() != Method::POST {
            let error = format!("{} is not allowed: this path changes something", request.method());
            return Err(Failure::method_not_allowed(error, "POST"));
        }
        if !is_of_own_origin(request) {
            return Err(Failure::forbidden("a page of another origin changes nothing here"));
        }
        Query::read(request.uri().query(), &[])?;
        Ok(Reply::json(&Released::from(self.admin.world.registries(), name)?))
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

    /// An answer whose cost grows with the mesh: off the thread that answers probes, few at once. Also one whose client
    /// has left counts until it is written.
    async fn large(
        &self,
        write: impl FnOnce(&Admin) -> Result<Reply, Failure> + Send + 'static,
    ) -> Result<Reply, Failure> {
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
    let release = "POST /registries/<name>/release: lets go of what is held of a registry\n";
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
    use crate::proxies::Proxies;
    use crate::shutdown::shutdown;
    use crate::world::World;

    #[tokio::test]
    async fn a_large_answer_counts_until_it_is_written_though_its_client_has_left() {
        let (world, metrics, proxies) =
            (World::new(Vec::new(), MeshOptions::default(), 1), Metrics::new(), Proxies::default());
        let (_trigger, shutdown) = shutdown();
        let admin = Admin { world, metrics, proxies, xds: None, shutdown };
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
