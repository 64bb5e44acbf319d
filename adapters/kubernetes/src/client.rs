//! Asking the API server: who we are, requests with deadlines, answers in lines or as a whole.

mod body;
mod refusal;

use std::time::Duration;

use http::{Request, StatusCode, header};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use pilot_registry::RegistryError;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::Config;
pub(crate) use body::Content;
pub(crate) use refusal::{Refusal, Status};

/// How long files and plugins may take to say who we are.
const CREDENTIALS: Duration = Duration::from_secs(30);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the beginning of an answer may take. A page of a large list takes a second or two.
const ANSWER: Duration = Duration::from_secs(15);

/// A connection pool to one API server, with credentials. It ends when it is dropped.
#[derive(Clone)]
pub(crate) struct Client {
    inner: kube::Client,
}

impl Client {
    /// Reads the credentials and what else leads to the server. Connects with the first request.
    pub(crate) async fn new(config: &Config) -> Result<Self, RegistryError> {
        let config = config.clone();
        // Files are read, and plugins run: in a thread of its own.
        let made = tokio::task::spawn_blocking(move || connect(&config));
        let late = |_| RegistryError::unavailable(format!("no credentials within {CREDENTIALS:?}"));
        let ended =
            |error| RegistryError::unavailable("reading the credentials was broken off").caused_by(error);
        let inner = timeout(CREDENTIALS, made).await.map_err(late)?.map_err(ended)??;
        Ok(Self { inner })
    }

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
    let mut access = access(config)?;
    // The supervisor decides when to try again.
    access.default_retry = false;
    access.connect_timeout = Some(CONNECT);
    kube::Client::try_from(access).map_err(refusal::unusable)
}

fn access(config: &Config) -> Result<kube::Config, RegistryError> {
    let Some(path) = &config.kubeconfig else {
        return kube::Config::incluster().map_err(|error| {
            let message = "no service account: pilot is not in a cluster, and no kubeconfig is given";
            RegistryError::unavailable(message).caused_by(error)
        });
    };
    let context = Some(config.context.clone()).filter(|context| !context.is_empty());
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| unreadable(&error))?;
    // It is asynchronous in name only.
    let access = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    Handle::current().block_on(access).map_err(|error| unreadable(&error))
}

/// The parser's own words quote the file, and with it credentials.
fn unreadable(error: &KubeconfigError) -> RegistryError {
    match error {
        KubeconfigError::Parse(error) => {
            let at = error.location().map(|at| format!(", line {}, column {}", at.line(), at.column()));
            let at = at.unwrap_or_default();
            RegistryError::malformed(format!("the kubeconfig cannot be parsed{at}: expected YAML"))
        }
        KubeconfigError::ReadConfig(..) => RegistryError::unavailable(error.to_string()),
        _ => RegistryError::malformed(format!("the kubeconfig cannot be used: {error}")),
    }
}
