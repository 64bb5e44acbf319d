//! The gRPC service `adapter.Adapter`, through which the harness says what there is.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pilot::resources::ResourceType;
use pilot_envoy_api::google::protobuf::Any;
use prost::Message;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::state::{Named, State};

/// The harness unsubscribes on its stream and changes a resource on another connection without waiting
/// in between. What came first is to be handled first, so changes are applied a little later.
const SETTLE: Duration = Duration::from_millis(100);

#[derive(Clone, PartialEq, Message)]
struct SetStateRequest {
    #[prost(string, tag = "2")]
    version: String,
    #[prost(message, repeated, tag = "3")]
    resources: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ClearStateRequest {}

#[derive(Clone, PartialEq, Message)]
struct ClearStateResponse {
    #[prost(string, tag = "1")]
    response: String,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceRequest {
    #[prost(string, tag = "2")]
    type_url: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Done {
    #[prost(bool, tag = "1")]
    success: bool,
}

/// The service.
#[derive(Clone)]
pub(crate) struct Adapter(State);

impl Adapter {
    /// Changes that state.
    pub(crate) fn new(state: State) -> Self {
        Self(state)
    }
}

impl NamedService for Adapter {
    const NAME: &'static str = "adapter.Adapter";
}

impl Service<http::Request<Body>> for Adapter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let state = self.0.clone();
        let path = request.uri().path().to_owned();
        let answer = async move {
            match path.rsplit('/').next() {
                Some("SetState") => unary(request, move |asked| set_state(&state, &asked)).await,
                Some("ClearState") => unary(request, move |asked| clear_state(&state, &asked)).await,
                Some("UpdateResource" | "AddResource") => {
                    tokio::time::sleep(SETTLE).await;
                    unary(request, move |asked| change(&asked, |kind, name, v| state.put(kind, name, v)))
                        .await
                }
                Some("RemoveResource") => {
                    tokio::time::sleep(SETTLE).await;
                    unary(request, move |asked| change(&asked, |kind, name, v| state.remove(kind, name, v)))
                        .await
                }
                _ => Status::unimplemented(path).into_http(),
            }
        };
        answer.map(Ok).boxed()
    }
}

/// One unary call, answered at once.
async fn unary<Q, A>(
    request: http::Request<Body>,
    answer: impl Fn(Q) -> Result<A, Status> + Send + 'static,
) -> http::Response<Body>
where
    Q: Message + Default + Send + 'static,
    A: Message + Send + Sync + Default + 'static,
{
    let service = tower::service_fn(move |request: Request<Q>| {
        std::future::ready(answer(request.into_inner()).map(Response::new))
    });
    Grpc::new(ProstCodec::<A, Q>::default()).unary(service, request).await
}

fn set_state(state: &State, asked: &SetStateRequest) -> Result<Done, Status> {
    let named = asked.resources.iter().map(|any| {
        let named =
            Named::decode(any.value.clone()).map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok((kind_of(&any.type_url)?, named.name))
    });
    state.set(&asked.version, named.collect::<Result<Vec<_>, Status>>()?);
    Ok(Done { success: true })
}

fn clear_state(state: &State, _asked: &ClearStateRequest) -> Result<ClearStateResponse, Status> {
    state.set("", []);
    Ok(ClearStateResponse { response: "cleared".to_owned() })
}

fn change(asked: &ResourceRequest, apply: impl FnOnce(ResourceType, &str, &str)) -> Result<Done, Status> {
    apply(kind_of(&asked.type_url)?, &asked.name, &asked.version);
    Ok(Done { success: true })
}

fn kind_of(type_url: &str) -> Result<ResourceType, Status> {
    ResourceType::from_type_url(type_url)
        .ok_or_else(|| Status::invalid_argument(format!("{type_url:?} is none of the four types")))
}
