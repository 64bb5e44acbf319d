//! The discovery services: ADS and one per type, each SotW and delta, all the same stream.
//!
//! They are served here and not by generated servers, because of [`super::framing`]. All other requests go to
//! the next service.

use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use pilot_envoy_api::envoy::service::cluster::v3::cluster_discovery_service_server as cds;
use pilot_envoy_api::envoy::service::discovery::v3::aggregated_discovery_service_server as ads;
use pilot_envoy_api::envoy::service::endpoint::v3::endpoint_discovery_service_server as eds;
use pilot_envoy_api::envoy::service::listener::v3::listener_discovery_service_server as lds;
use pilot_envoy_api::envoy::service::route::v3::route_discovery_service_server as rds;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::budget::Budget;
use super::caller::Caller;
use super::framing::{Bodies, Inbound, Outbound, RequestLimits, SharesBytes};
use super::silent::SilentStreams;
use super::unread::Watch;
use crate::resources::ResourceType;
use crate::xds::stream::{self, Peer};
use crate::xds::{Delta, Sotw, Variant};

/// Serves discovery streams.
#[derive(Clone)]
pub(super) struct DiscoveryLayer {
    /// What all streams share.
    pub(super) context: stream::StreamContext,
    /// Where streams count until they have said who they are.
    pub(super) silent: SilentStreams,
    /// Of the bytes of large requests.
    pub(super) budget: Budget,
    /// What streams write.
    pub(super) bodies: Bodies,
}

impl<S> Layer<S> for DiscoveryLayer {
    type Service = Discovery<S>;

    fn layer(&self, inner: S) -> Discovery<S> {
        Discovery { inner, layer: self.clone() }
    }
}

/// The service that [`DiscoveryLayer`] makes.
#[derive(Clone)]
pub(super) struct Discovery<S> {
    inner: S,
    layer: DiscoveryLayer,
}

/// The services that are served, by their full names.
pub(super) const SERVICES: [&str; 5] =
    [ads::SERVICE_NAME, cds::SERVICE_NAME, eds::SERVICE_NAME, lds::SERVICE_NAME, rds::SERVICE_NAME];

/// A method of one of the services.
#[derive(Debug, PartialEq)]
enum Method {
    Sotw(Option<ResourceType>),
    Delta(Option<ResourceType>),
    /// One request, one answer, as REST clients poll.
    Fetch,
}

impl Method {
    /// The method that a path names: `/package.Service/Method`.
    fn of(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let (only, noun) = match service {
            ads::SERVICE_NAME => (None, "AggregatedResources"),
            cds::SERVICE_NAME => (Some(ResourceType::Cluster), "Clusters"),
            eds::SERVICE_NAME => (Some(ResourceType::Endpoint), "Endpoints"),
            lds::SERVICE_NAME => (Some(ResourceType::Listener), "Listeners"),
            rds::SERVICE_NAME => (Some(ResourceType::Route), "Routes"),
            _ => return None,
        };
        match method.strip_suffix(noun)? {
            "Stream" => Some(Self::Sotw(only)),
            "Delta" => Some(Self::Delta(only)),
            "Fetch" if only.is_some() => Some(Self::Fetch),
            _ => None,
        }
    }
}

impl<S> Discovery<S> {
    fn stream<V: Variant>(&self, request: Request<Body>, only: Option<ResourceType>) -> Response<Body>
    where
        V::Response: SharesBytes,
    {
        let (peer, context) = (peer(&request), &self.layer.context);
        let watch = Watch::current(peer.address);
        let peer = Peer { in_hand: watch.in_hand().clone(), ..peer };
        let limits = RequestLimits {
            max: context.max_request_bytes,
            first: Some(self.layer.silent.opened(peer.address)),
            budget: self.layer.budget.clone(),
            in_hand: peer.in_hand.clone(),
        };
        let inbound = Inbound::<V::Request>::new(request.into_body(), limits);
        let responses = stream::serve::<V, _>(context, inbound, only, peer);
        let body = Outbound::new(responses, self.layer.bodies.clone(), watch);
        let mut response = Response::new(Body::new(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}

impl<S> Discovery<S> {
    /// An Envoy whose bootstrap asks for version 2 is told which lines to change, and so is the log, once.
    fn refuse_v2(&self, request: &Request<Body>) -> Response<Body> {
        let text = "pilot serves xDS v3, and this is v2: set transport_api_version and resource_api_version to V3 in \
                    Envoy's bootstrap";
        let context = &self.layer.context;
        context.metrics.refused("version");
        if let Some(peer) = peer(request).address.map(|peer| peer.ip())
            && context.proxies.told().version.first(peer)
        {
            tracing::warn!(%peer, path = request.uri().path(), "stream refused: {text}");
        }
        Status::unimplemented(text).into_http()
    }
}

fn peer<B>(request: &Request<B>) -> Peer {
    request.extensions().get::<Caller>().map(|caller| caller.peer().clone()).unwrap_or_default()
}

/// Whether a path names a service of xDS v2.
fn is_v2(path: &str) -> bool {
    ["/envoy.api.v2.", "/envoy.service.discovery.v2."].iter().any(|service| path.starts_with(service))
}

impl<S> Service<Request<Body>> for Discovery<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response<Body>, S::Error>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let response = match Method::of(request.uri().path()) {
            Some(Method::Sotw(only)) => self.stream::<Sotw>(request, only),
            Some(Method::Delta(only)) => self.stream::<Delta>(request, only),
            Some(Method::Fetch) => {
                Status::unimplemented("polling is not served here: open a stream").into_http()
            }
            None if is_v2(request.uri().path()) => self.refuse_v2(&request),
            None => return Either::Right(self.inner.call(request)),
        };
        Either::Left(ready(Ok(response)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_those_of_envoys_services() {
        let of = |service: &str, method: &str| Method::of(&format!("/envoy.service.{service}/{method}"));
        let eds = Some(ResourceType::Endpoint);
        let ads = "discovery.v3.AggregatedDiscoveryService";
        assert_eq!(of(ads, "StreamAggregatedResources"), Some(Method::Sotw(None)));
        assert_eq!(of(ads, "DeltaAggregatedResources"), Some(Method::Delta(None)));
        assert_eq!(of(ads, "FetchAggregatedResources"), None);
        let service = "endpoint.v3.EndpointDiscoveryService";
        assert_eq!(of(service, "StreamEndpoints"), Some(Method::Sotw(eds)));
        assert_eq!(of(service, "DeltaEndpoints"), Some(Method::Delta(eds)));
        assert_eq!(of(service, "FetchEndpoints"), Some(Method::Fetch));
        assert_eq!(of(service, "StreamClusters"), None);
        assert_eq!(Method::of("/grpc.health.v1.Health/Check"), None);
        assert_eq!(Method::of("StreamEndpoints"), None);
    }
}
