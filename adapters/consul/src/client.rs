//! Requests to one agent, its answers, and its errors.
//!
//! It does not interpret answers: the source does.

mod answer;
mod connection;
mod query;
mod tls;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use pilot_registry::{RegistryError, Secret};
use tokio::time::timeout;

use crate::Config;
pub(crate) use answer::{Answer, Backend};
use connection::{Connection, Pool};
pub(crate) use query::{Query, SERVICE, Wait, encoded, key};

/// The way to one agent, for one attempt: credentials are read when it is made, and its connections end
/// with it.
pub(crate) struct Client {
    pool: Pool,
    host: HeaderValue,
    token: Option<Secret>,
    /// What every query says: consistency, namespace, partition.
    common: query::Common,
    max_body_bytes: usize,
    timeout: Duration,
    /// Whether anybody has answered in HTTP.
    is_http: AtomicBool,
}

/// A request that is no query: a write, or one about the agent itself.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

/// What came of a question about one service.
pub(crate) enum Polled {
    Answered(Answer),
    /// The agent's stream of that service has failed, which says nothing of the servers.
    StreamFailed(RegistryError),
    /// The agent or a server has no time for this question now.
    Limited(RegistryError),
}

impl Client {
    /// Reads token and certificates from where the configuration says they are. Opens no connection.
    pub(crate) async fn open(config: &Config) -> Result<Self, RegistryError> {
        let refused = |error: pilot_registry::ConfigError| RegistryError::malformed(error.to_string());
        let address = config.address().map_err(refused)?;
        let (tls, token) = (tls::client(config), token(config));
        let host = HeaderValue::try_from(address.authority())
            .map_err(|_| RegistryError::malformed("the address has a host that no request can name"))?;
        Ok(Self {
            pool: Pool::new(address, tls?, config.limits.timeout()),
            host,
            token: token?,
            common: query::common(config),
            max_body_bytes: config.limits.max_body_bytes,
            timeout: config.limits.timeout(),
            is_http: AtomicBool::new(false),
        })
    }

    /// Asks for what the catalog says, and takes the answer only if there is a leader behind it, or a view.
    pub(crate) async fn query(&self, query: &Query<'_>) -> Result<Answer, RegistryError> {
        match self.poll(query).await? {
            Polled::Answered(answer) => Ok(answer),
            Polled::StreamFailed(error) | Polled::Limited(error) => Err(error),
        }
    }

    /// The same of one service, where what goes wrong may say nothing of others.
    pub(crate) async fn poll(&self, query: &Query<'_>) -> Result<Polled, RegistryError> {
        let path = query.path(&self.common);
        let call = Call { method: Method::GET, path, body: Bytes::new() };
        let longest = self.timeout + query.wait.as_ref().map_or(Duration::ZERO, Wait::longest);
        let (head, body) = self.send(&call, longest).await?;
        if let Some(datacenter) = query.datacenter.filter(|_| is_no_path(head.status, &body)) {
            return Err(RegistryError::unavailable(format!(
                "consul has no path to datacenter {datacenter:?}: expected the name of one that is joined, as \
                 `consul catalog datacenters` shows them"
            )));
        }
        let may_be_of_a_view = query.may_be_of_a_view();
        // Consul's word for a list of keys without any.
        if query.recurse && head.status == StatusCode::NOT_FOUND {
            return Answer::read(query.what, &head.headers, Bytes::new(), false).map(Polled::Answered);
        }
        match self.succeeded(&call, head.status, &body) {
            Err(error) if may_be_of_a_view && answer::is_of_a_stream(head.status, &body) => {
                Ok(Polled::StreamFailed(error))
            }
            Err(error) if answer::is_of_a_limit(head.status) => Ok(Polled::Limited(error)),
            succeeded => {
                succeeded?;
                Answer::read(query.what, &head.headers, body, may_be_of_a_view).map(Polled::Answered)
            }
        }
    }

    /// Sends a request that is no query, and gives status and body whatever they are.
    pub(crate) async fn call(&self, call: &Call) -> Result<(StatusCode, Bytes), RegistryError> {
        let (head, body) = self.send(call, self.timeout).await?;
        Ok((head.status, body))
    }

    /// The error of an answer that is none.
    pub(crate) fn succeeded(
        &self,
        call: &Call,
        status: StatusCode,
        body: &[u8],
    ) -> Result<(), RegistryError> {
        if status == StatusCode::OK {
            return Ok(());
        }
        let said = answer::excerpt(&self.without_secret(&String::from_utf8_lossy(body)));
        let message = format!("{} {} of consul answers {status}{said}", call.method, what(call));
        Err(match status {
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => RegistryError::denied(message),
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                RegistryError::unavailable(message)
            }
            _ => RegistryError::malformed(message),
        })
    }

    /// Whether the token may read that key. Whoever may not is told so of a single key, and is shown a list without it.
    ///
    /// # Errors
    /// The agent has no answer.
    pub(crate) async fn may_read(&self, query: &Query<'_>) -> Result<bool, RegistryError> {
        let query = Query { wait: None, consistent: true, recurse: false, ..query.clone() };
        let call = Call { method: Method::GET, path: query.path(&self.common), body: Bytes::new() };
        let (status, body) = self.call(&call).await?;
        match status {
            StatusCode::FORBIDDEN => Ok(false),
            StatusCode::NOT_FOUND => Ok(true),
            _ => self.succeeded(&call, status, &body).map(|()| true),
        }
    }

    /// Namespace and partition as parameters, for what is no query.
    pub(crate) fn place(&self) -> &str {
        &self.common.place
    }

    /// Where the agent is, as in a URL.
    pub(crate) fn authority(&self) -> String {
        self.pool.authority()
    }

    /// What to ask who has not been answered yet: Consul's other ports (DNS, gRPC, serf, servers) take connections,
    /// and answer nothing to HTTP.
    pub(crate) fn doubt(&self) -> &'static str {
        let is_known = self.is_http.load(Ordering::Relaxed) || self.pool.is_usual();
        if is_known {
            ""
        } else {
            " (is this Consul's HTTP port? That is 8500 unless its configuration says another)"
        }
    }

    /// Whether requests have a token.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    fn without_secret(&self, text: &str) -> String {
        match &self.token {
            Some(token) => text.replace(token.reveal(), "(secret)"),
            None => text.to_owned(),
        }
    }

    async fn send(
        &self,
        call: &Call,
        longest: Duration,
    ) -> Result<(http::response::Parts, Bytes), RegistryError> {
        let late = || {
            let (seconds, doubt) = (longest.as_secs_f64().round(), self.doubt());
            let why = format!("{} of consul did not answer in {seconds} s{doubt}", what(call));
            RegistryError::unavailable(why)
        };
        timeout(longest, self.exchange(call)).await.map_err(|_| late())?
    }

    /// Over a connection that is there, if it still works; else over a new one. A kept connection may have
    /// been closed by the agent at any moment, which says nothing about the agent.
    async fn exchange(&self, call: &Call) -> Result<(http::response::Parts, Bytes), RegistryError> {
        while let Some(mut connection) = self.pool.kept() {
            match connection.send(self.request(call)?).await {
                Ok(answer) => return self.whole(call, connection, answer).await,
                // The request was not sent, or may be sent twice.
                Err(error) if error.is_canceled() || call.method == Method::GET => {}
                Err(error) => return Err(self.broken_off(call, error)),
            }
        }
        let mut connection = self.pool.connect().await?;
        let answer = connection.send(self.request(call)?).await;
        let answer = answer.map_err(|error| self.broken_off(call, error))?;
        self.whole(call, connection, answer).await
    }

    async fn whole(
        &self,
        call: &Call,
        connection: Connection,
        answer: Response<Incoming>,
    ) -> Result<(http::response::Parts, Bytes), RegistryError> {
        self.is_http.store(true, Ordering::Relaxed);
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, self.max_body_bytes).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                let most = self.max_body_bytes;
                let why =
                    format!("{} of consul has more than limits.max_body_bytes = {most} bytes", what(call));
                return RegistryError::malformed(why);
            }
            let why = format!("{} of consul broke off: {error}", what(call));
            RegistryError::unavailable(why)
        })?;
        self.pool.keep(connection);
        Ok((head, body.to_bytes()))
    }

    fn broken_off(&self, call: &Call, error: hyper::Error) -> RegistryError {
        let why = format!("{} of consul broke off{}", what(call), self.doubt());
        RegistryError::unavailable(why).caused_by(error)
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, RegistryError> {
        let mut request =
            Request::builder().method(call.method.clone()).uri(&call.path).header(HOST, &self.host);
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(token.reveal())
                .map_err(|_| RegistryError::denied("the token has characters that no token has"))?;
            value.set_sensitive(true);
            request = request.header("x-consul-token", value);
        }
        let refused = |_| RegistryError::malformed(format!("{} is no path", what(call)));
        request.body(Full::new(call.body.clone())).map_err(refused)
    }
}

/// The path without what comes behind it.
fn what(call: &Call) -> &str {
    call.path.split('?').next().unwrap_or_default()
}

fn token(config: &Config) -> Result<Option<Secret>, RegistryError> {
    let (place, text) = match (&config.token, &config.token_file, &config.token_env) {
        (Some(token), _, _) => return Ok(Some(token.clone())),
        (_, Some(file), _) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                RegistryError::denied(format!("reading token_file {}", file.display())).caused_by(error)
            })?;
            (format!("token_file {}", file.display()), text)
        }
        (_, _, Some(name)) => {
            let text = std::env::var(name)
                .map_err(|_| RegistryError::denied(format!("token_env {name} is not set, or is no text")))?;
            (format!("token_env {name}"), text)
        }
        _ => return Ok(None),
    };
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(RegistryError::denied(format!("{place} holds no token: expected one word")));
    }
    Ok(Some(Secret::from(token.to_owned())))
}
/// Whether a server answers that it has never heard of the datacenter, or that nobody in it can be reached.
fn is_no_path(status: StatusCode, body: &[u8]) -> bool {
    status.is_server_error() && String::from_utf8_lossy(body).contains("No path to datacenter")
}
