//! Requests to the API server: credentials, deadlines, and answers in lines or as a whole.

mod body;
mod kubeconfig;
mod refusal;

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, header};
use kube::client::Body;
use pilot_registry::RegistryError;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::Config;
pub(crate) use body::Content;
pub use kubeconfig::files_of_kubeconfig;
pub(crate) use refusal::{Refusal, Status};

/// How long files and plugins may take to say who we are.
const CREDENTIALS: Duration = Duration::from_secs(30);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the beginning of an answer may take. A page of a large list takes a second or two; a server in
/// trouble lets requests queue, and those of watches too. A partition is noticed sooner: what is asked for on
/// a new connection waits for its handshake, for as long as connecting may take.
const ANSWER: Duration = Duration::from_secs(15);

/// Makes clients, one at a time: what hangs while the credentials are read cannot be ended, and must not
/// become more with each attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connector {
    turn: Arc<Mutex<()>>,
}

impl Connector {
    /// Reads the credentials and what else leads to the server. Connects with the first request.
    pub(crate) async fn client(&self, config: &Config) -> Result<Client, RegistryError> {
        let late = |_| RegistryError::unavailable(format!("no credentials within {CREDENTIALS:?}"));
        let inner = timeout(CREDENTIALS, self.connect(config.clone())).await.map_err(late)??;
        Ok(Client { inner })
    }

    async fn connect(&self, config: Config) -> Result<kube::Client, RegistryError> {
        // Until the thread has ended, even if nobody waits for it any more.
        let turn = Arc::clone(&self.turn).lock_owned().await;
        // Files are read, and plugins run: in a thread of its own.
        let made = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            connect(&config)
        });
        let ended =
            |error| RegistryError::unavailable("reading the credentials was broken off").caused_by(error);
        made.await.map_err(ended)?
    }
}

/// A connection pool to one API server, with credentials. It ends when it is dropped.
#[derive(Clone)]
pub(crate) struct Client {
    inner: kube::Client,
}

impl Client {
    /// Asks for a path and its query. `what` is what errors call it: `list pods`.
    pub(crate) async fn get(&self, what: &str, path: &str, accept: &str) -> Result<Content, Refusal> {
        let request = Request::get(path).header(header::ACCEPT, accept).body(Body::empty());
        let malformed = |error| RegistryError::malformed(format!("{what} makes no request")).caused_by(error);
        let request = request.map_err(malformed)?;
        let late = |_| RegistryError::unavailable(format!("{what}: no answer within {ANSWER:?}"));
        let answer = timeout(ANSWER, self.inner.send(request)).await.map_err(late)?;
        let answer = answer.map_err(|error| Refusal::OutOfReach(refusal::failed(what, error)))?;
        let status = answer.status();
        let content = Content::new(what, answer.into_body());
        if status == StatusCode::OK {
            Ok(content)
        } else {
            Err(refusal::refused(what, status, content).await)
        }
    }
}

fn connect(config: &Config) -> Result<kube::Client, RegistryError> {
    let mut access = kubeconfig::access(config)?;
    // The supervisor decides when to try again.
    access.default_retry = false;
    access.connect_timeout = Some(CONNECT);
    kube::Client::try_from(access).map_err(refusal::unusable)
}
