//! The operator's way to a Consul: requests over one connection that is opened anew when it breaks.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Talks to an agent without any of the code under test.
#[derive(Debug)]
pub struct Admin {
    server: SocketAddr,
    token: Option<String>,
    connection: Mutex<Connection>,
}

#[derive(Debug, Default)]
struct Connection {
    sender: Option<SendRequest<Full<Bytes>>>,
    /// Drives the connection; aborted when it is dropped.
    _driver: JoinSet<()>,
}

impl Admin {
    /// Requests to that agent, with that token.
    pub fn new(server: SocketAddr, token: Option<&str>) -> Self {
        Self { server, token: token.map(str::to_owned), connection: Mutex::default() }
    }

    /// Reads a path.
    ///
    /// # Errors
    /// The agent does not answer, or not with 200.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.succeeds(Method::GET, path, Bytes::new()).await
    }

    /// Writes to a path.
    ///
    /// # Errors
    /// The agent does not answer, or not with 200.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        self.succeeds(Method::PUT, path, body).await
    }

    /// Writes an entry of the catalog: `{"Node": …, "Address": …, "Service": {…}, "Checks": […]}`.
    ///
    /// # Errors
    /// The agent refuses.
    pub async fn register(&self, entry: &Value) -> Result<()> {
        self.put("/v1/catalog/register", entry).await.map(drop)
    }

    /// Removes one instance from the catalog, with its checks.
    ///
    /// # Errors
    /// The agent refuses.
    pub async fn deregister(&self, node: &str, service_id: &str) -> Result<()> {
        let entry = json!({ "Node": node, "ServiceID": service_id });
        self.put("/v1/catalog/deregister", &entry).await.map(drop)
    }

    /// Runs operations of `/v1/txn` in their order, 64 at a time: those of one time are seen at once.
    ///
    /// # Errors
    /// The agent refuses.
    pub async fn transact(&self, operations: &[Value]) -> Result<()> {
        for some in operations.chunks(64) {
            self.put("/v1/txn", &Value::Array(some.to_vec())).await?;
        }
        Ok(())
    }

    async fn succeeds(&self, method: Method, path: &str, body: Bytes) -> Result<Value> {
        let (status, body) = self.request(method.clone(), path, body).await?;
        if status != StatusCode::OK {
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&body));
        }
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        // What is read as text is given as text.
        Ok(serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
    }

    /// Sends one request, and gives status and body.
    ///
    /// # Errors
    /// The agent does not answer.
    pub async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        let answer = self.answer(method, path, body).await?;
        Ok((answer.status(), answer.into_body()))
    }

    /// Sends one request, and gives the whole answer. Those of one `Admin` are sent one after the other.
    ///
    /// # Errors
    /// The agent does not answer.
    pub async fn answer(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Bytes>> {
        let mut connection = self.connection.lock().await;
        let usable = connection.sender.as_ref().is_some_and(|sender| !sender.is_closed());
        if usable && let Ok(answer) = self.send(&mut connection, &method, path, body.clone()).await {
            return Ok(answer);
        }
        *connection = self.connect().await?;
        let answer = self.send(&mut connection, &method, path, body).await;
        answer.with_context(|| format!("{method} {path}"))
    }

    async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.server).await.context("connecting to consul")?;
        _ = stream.set_nodelay(true);
        let (sender, running) = handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { _ = running.await });
        Ok(Connection { sender: Some(sender), _driver: driver })
    }

    async fn send(
        &self,
        connection: &mut Connection,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Bytes>> {
        let sender = connection.sender.as_mut().context("there is no connection")?;
        let mut request = Request::builder().method(method).uri(path).header("Host", self.server.to_string());
        if let Some(token) = &self.token {
            request = request.header("X-Consul-Token", token);
        }
        sender.ready().await?;
        let (head, body) = sender.send_request(request.body(Full::new(body))?).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}
