//! Asks a running pilot, through its admin server.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http::header::{ACCEPT, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Global, block_on};
use crate::admin::{Failure, encode};
use crate::config::{self, Config};

/// Everything has to be there by then.
const TIMEOUT: Duration = Duration::from_secs(60);
/// More than any mesh's resources; what is larger does not come from pilot.
const ANSWER_MAX_BYTES: usize = 1 << 30;

/// Where the pilot is that is asked, for verbs to take with `#[command(flatten)]`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Target {
    /// The admin server of the pilot to ask, for example http://127.0.0.1:18080. Unless given, it is
    /// where the configuration says.
    #[arg(long, value_name = "URL", env = "PILOT_ADMIN", value_parser = authority, global = true)]
    admin: Option<String>,
}

/// A path with its parameters, and what is sent along.
pub(super) struct Question {
    path: String,
    body: Bytes,
}

impl Question {
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.to_owned(), body: Bytes::new() }
    }

    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(&format!("{key}={}", encode(value)));
        self
    }

    /// With that sent along, as JSON.
    pub(super) fn carrying(self, value: &impl Serialize) -> anyhow::Result<Self> {
        Ok(Self { body: serde_json::to_vec(value)?.into(), ..self })
    }
}

impl Target {
    /// The pilot whose admin server is there, as [`authority`] reads it.
    pub(super) fn at(admin: String) -> Self {
        Self { admin: Some(admin) }
    }

    /// What pilot answers.
    ///
    /// # Errors
    /// pilot does not answer, or answers that it has no answer.
    pub(super) fn ask<T: DeserializeOwned>(&self, global: &Global, question: &Question) -> anyhow::Result<T> {
        self.send(TIMEOUT, global, Method::GET, question)
    }

    /// The same of a question that is answered sooner.
    ///
    /// # Errors
    /// pilot does not answer in that time, or answers that it has no answer.
    pub(super) fn ask_within<T: DeserializeOwned>(
        &self,
        patience: Duration,
        global: &Global,
        question: &Question,
    ) -> anyhow::Result<T> {
        self.send(patience, global, Method::GET, question)
    }

    /// What pilot has done, told to do something.
    ///
    /// # Errors
    /// pilot does not answer, or has not done it.
    pub(super) fn tell<T: DeserializeOwned>(&self, global: &Global, order: &Question) -> anyhow::Result<T> {
        self.send(TIMEOUT, global, Method::POST, order)
    }

    fn send<T: DeserializeOwned>(
        &self,
        patience: Duration,
        global: &Global,
        method: Method,
        question: &Question,
    ) -> anyhow::Result<T> {
        let authority = self.admin.clone().map_or_else(|| configured(global), Ok)?;
        block_on(send(&authority, patience, method, question))
    }
}

/// Where the configuration says that the admin server is.
///
/// # Errors
/// It is not in order.
pub(super) fn configured(global: &Global) -> anyhow::Result<String> {
    Ok(reachable(configuration(global)?.admin.listen).to_string())
}

/// What the pilot whose admin server is there answers.
///
/// # Errors
/// It does not answer in that time, or answers that it has no answer.
pub(super) async fn send<T: DeserializeOwned>(
    authority: &str,
    patience: Duration,
    method: Method,
    question: &Question,
) -> anyhow::Result<T> {
    let answered = timeout(patience, exchange(authority, method, question)).await;
    let answered = answered.unwrap_or_else(|_| bail!("no answer from {authority} within {patience:?}"));
    let (status, body) = answered?;
    if status == StatusCode::OK {
        return parse(authority, &body);
    }
    let failure: Failure = parse(authority, &body)?;
    bail!(words(failure))
}

/// The configuration, or what the environment and flags alone say where there is no pilot.toml: to ask
/// a pilot one needs no file.
pub(super) fn configuration(global: &Global) -> anyhow::Result<Config> {
    /// Stands in for the registry that a pilot needs and those who ask it do not.
    const NO_FILE: &str = "registry.none.file.path = \"none\"";
    if global.config.as_os_str() != "pilot.toml" || global.config.exists() {
        return Ok(global.load()?.config);
    }
    let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment = std::env::vars_os().filter_map(unicode).collect();
    Ok(config::parse("pilot.toml", NO_FILE, &environment, &global.set)?.config)
}

/// The address by which a server that listens there is reached from the same machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        _ => listen.ip(),
    };
    SocketAddr::new(ip, listen.port())
}

/// `http://host:port` or `host:port` -> `host:port`.
pub(super) fn authority(text: &str) -> Result<String, String> {
    let expected = "expected http://host:port, for example http://127.0.0.1:18080";
    if text.starts_with("https://") {
        return Err(format!("pilot's admin server has no TLS: {expected}"));
    }
    let bare = text.strip_prefix("http://").unwrap_or(text);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    let authority: http::uri::Authority = bare.parse().map_err(|_| expected.to_owned())?;
    match (authority.host(), authority.port_u16()) {
        ("", _) | (_, None) => Err(expected.to_owned()),
        _ if authority.as_str().contains('@') => Err(expected.to_owned()),
        _ => Ok(authority.to_string()),
    }
}

/// A failure in one line.
fn words(failure: Failure) -> String {
    let mut words = failure.error;
    if !failure.reasons.is_empty() {
        words.push_str(&format!(": {}", failure.reasons.join("; ")));
    }
    if !failure.known.is_empty() {
        words.push_str(&format!(" (known: {})", failure.known.join(", ")));
    }
    words
}

async fn exchange(
    authority: &str,
    method: Method,
    question: &Question,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(authority).await.map_err(|error| {
        anyhow!(
            "pilot does not answer at {authority} ({error}): is `pilot serve` running? --admin names another address"
        )
    })?;
    let broken = || format!("what answers at {authority} is no admin server of pilot");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(broken)?;
    let request = Request::builder().method(method).uri(&question.path);
    let request = request.header(HOST, authority).header(ACCEPT, "application/json");
    let request = request.body(Full::new(question.body.clone())).context("the question is not a URL")?;
    let answer = async {
        let response = sender.send_request(request).await.with_context(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect().await;
        let body = body.map_err(|error| anyhow!("reading the answer of {authority}: {error}"))?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(connection, answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may end before the last of the answer is taken up.
        _ = &mut connection => answer.await,
    }
}

fn parse<'a, T: Deserialize<'a>>(authority: &str, body: &'a [u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        let text = String::from_utf8_lossy(body);
        let said = match text.trim_start().chars().next() {
            // JSON that is not as expected.
            None | Some('{' | '[') => error.to_string(),
            Some(_) => format!(
                "it says {:?}",
                text.lines().next().unwrap_or_default().chars().take(200).collect::<String>()
            ),
        };
        anyhow!("what answers at {authority} is no admin server of pilot, or one of another version: {said}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_server_says_is_shown() {
        let said = |body: &str| parse::<serde_json::Value>("a:1", body.as_bytes()).unwrap_err().to_string();
        let port = "this is pilot's xDS port: the admin server is at http://127.0.0.1:18080\nmore";
        assert!(said(port).ends_with(
            "it says \"this is pilot's xDS port: the admin server is at http://127.0.0.1:18080\""
        ));
        assert!(said("{").contains("EOF"), "{}", said("{"));
    }

    #[test]
    fn an_admin_server_is_named_by_url_or_by_host_and_port() {
        for text in ["http://127.0.0.1:1", "http://127.0.0.1:1/", "127.0.0.1:1"] {
            assert_eq!(authority(text).as_deref(), Ok("127.0.0.1:1"));
        }
        assert_eq!(authority("http://[::1]:1").as_deref(), Ok("[::1]:1"));
        for text in ["", "127.0.0.1", "http://", ":1", "https://a:1", "http://a:1/b", "a b:1", "http://u@a:1"]
        {
            let error = authority(text).unwrap_err();
            assert!(error.contains("expected http://host:port"), "{text:?}: {error}");
        }
    }

    #[test]
    fn parameters_are_encoded() {
        let question = Question::new("/debug/resources").with("proxy", "a b").with("name", "x|80");
        assert_eq!(question.path, "/debug/resources?proxy=a%20b&name=x%7C80");
    }
}
