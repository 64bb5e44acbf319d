//! From a path to its answer.

use std::collections::BTreeMap;

use http::header::ACCEPT;
use http::{Method, Request, StatusCode};

use super::query::Query;
use super::readiness::Readiness;
use super::registries::RegistryReport;
use super::reply::{Failure, Reply};
use super::resources::Selection;
use super::services::{ServiceReport, ServicesReport};
use super::{Admin, Server};

/// Every path and what it shows.
const PATHS: [(&str, &str); 7] = [
    ("/livez", "200 while the process runs"),
    ("/readyz", "200 once every registry has said what it has, else 503 and why"),
    ("/metrics", "OpenMetrics text for Prometheus"),
    ("/debug/registries", "registries: health, age, what was left out and why"),
    ("/debug/services", "services; ?host=<name>: one with its endpoints"),
    ("/debug/proxies", "connected proxies: sent, accepted, refused by type"),
    ("/debug/resources", "?proxy=<id> or ?node=<id>, &type=cds|eds|lds|rds, &name=<name>: what a proxy gets"),
];

impl Server {
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Result<Reply, Failure> {
        let path = request.uri().path();
        if path != "/" && PATHS.iter().all(|(known, _)| *known != path) {
            let known = PATHS.iter().map(|(path, _)| *path);
            return Err(Failure::not_found(format!("no such path: {path}")).knowing(known));
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let error = format!("{} is not allowed: this server only answers", request.method());
            return Err(Failure::method_not_allowed(error).knowing(["GET", "HEAD"]));
        }
        let query = |known| Query::read(request.uri().query(), known);
        match path {
            "/" => query(&[]).map(|_| index()),
            "/livez" => Ok(Reply::text(StatusCode::OK, "alive\n")),
            "/readyz" => Ok(Readiness::of(&self.admin.world).reply(wants_json(request))),
            "/metrics" => {
                self.large(|admin| Ok(Reply::metrics(admin.metrics.encode(&admin.world, &admin.proxies))))
                    .await
            }
            "/debug/registries" => query(&[]).map(|_| registries(&self.admin)),
            "/debug/services" => self.services(&query(&["host"])?).await,
            "/debug/proxies" => {
                query(&[])?;
                self.large(|admin| Ok(Reply::json(&BTreeMap::from([("proxies", admin.proxies.list())]))))
                    .await
            }
            _ => self.resources(&query(&Selection::PARAMETERS)?).await,
        }
    }

    async fn services(&self, query: &Query<'_>) -> Result<Reply, Failure> {
        let Some(mesh) = self.admin.world.mesh() else {
            let waiting = Readiness::of(&self.admin.world).lines();
            return Err(Failure::unavailable("the services are not known yet").because(waiting));
        };
        let host = query.get("host").map(str::to_owned);
        self.large(move |admin| match host {
            Some(host) => Ok(Reply::json(&ServiceReport::of(&mesh, &host)?)),
            None => Ok(Reply::json(&ServicesReport::of(admin, &mesh))),
        })
        .await
    }

    async fn resources(&self, query: &Query<'_>) -> Result<Reply, Failure> {
        let selection = Selection::read(query, &self.admin)?;
        let set = selection.set(&self.admin).await?;
        self.large(move |_| Ok(Reply::json(&selection.report(&set)?))).await
    }

    /// An answer whose cost grows with the mesh: off the threads that serve proxies, few at once.
    async fn large(
        &self,
        write: impl FnOnce(&Admin) -> Result<Reply, Failure> + Send + 'static,
    ) -> Result<Reply, Failure> {
        let _turn = self.large_answers.acquire().await.expect("the semaphore is never closed");
        let admin = self.admin.clone();
        let written = tokio::task::spawn_blocking(move || write(&admin)).await;
        written.unwrap_or_else(|error| {
            tracing::error!(%error, "admin: writing an answer failed: this is a bug");
            Err(Failure::internal("writing the answer failed: see pilot's log"))
        })
    }
}

fn index() -> Reply {
    let lines = PATHS.iter().map(|(path, what)| format!("{path:<20} {what}\n"));
    Reply::text(StatusCode::OK, lines.collect::<String>())
}

fn registries(admin: &Admin) -> Reply {
    let reports: Vec<_> = admin.world.registries().iter().map(RegistryReport::of).collect();
    Reply::json(&BTreeMap::from([("registries", reports)]))
}

fn wants_json<B>(request: &Request<B>) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/json"))
}
