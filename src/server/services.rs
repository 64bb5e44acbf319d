//! The discovery services: one macro line each, all the same stream.

use std::pin::Pin;

use futures_util::Stream;
use pilot_envoy_api::discovery::{DeltaDiscoveryResponse, DiscoveryResponse};
use pilot_envoy_api::envoy::service::cluster::v3::cluster_discovery_service_server as cds;
use pilot_envoy_api::envoy::service::discovery::v3::aggregated_discovery_service_server as ads;
use pilot_envoy_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use pilot_envoy_api::envoy::service::endpoint::v3::endpoint_discovery_service_server as eds;
use pilot_envoy_api::envoy::service::listener::v3::listener_discovery_service_server as lds;
use pilot_envoy_api::envoy::service::route::v3::route_discovery_service_server as rds;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::resources::ResourceType;
use crate::xds::stream::{self, Context};
use crate::xds::{Delta, Sotw};

type ResponseStream<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// All discovery services.
pub(super) fn routes(context: &Context) -> Routes {
    let max = context.max_request_bytes;
    let service = Discovery(context.clone());
    let mut routes = Routes::builder();
    routes
        .add_service(
            ads::AggregatedDiscoveryServiceServer::new(service.clone()).max_decoding_message_size(max),
        )
        .add_service(cds::ClusterDiscoveryServiceServer::new(service.clone()).max_decoding_message_size(max))
        .add_service(eds::EndpointDiscoveryServiceServer::new(service.clone()).max_decoding_message_size(max))
        .add_service(lds::ListenerDiscoveryServiceServer::new(service.clone()).max_decoding_message_size(max))
        .add_service(rds::RouteDiscoveryServiceServer::new(service).max_decoding_message_size(max));
    routes.routes()
}

#[derive(Clone)]
struct Discovery(Context);

impl Discovery {
    fn sotw(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
        only: Option<ResourceType>,
    ) -> Response<ResponseStream<DiscoveryResponse>> {
        let peer = request.remote_addr();
        Response::new(Box::pin(stream::serve::<Sotw, _>(&self.0, request.into_inner(), only, peer)))
    }

    fn delta(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
        only: Option<ResourceType>,
    ) -> Response<ResponseStream<DeltaDiscoveryResponse>> {
        let peer = request.remote_addr();
        Response::new(Box::pin(stream::serve::<Delta, _>(&self.0, request.into_inner(), only, peer)))
    }
}

/// A service of one type or of all. `$fetch`, where there is one, is the unary method of REST clients.
macro_rules! discovery {
    ($service:path, $only:expr, $sotw:ident -> $sotw_stream:ident, $delta:ident -> $delta_stream:ident
     $(, $fetch:ident)?) => {
        #[tonic::async_trait]
        impl $service for Discovery {
            type $sotw_stream = ResponseStream<DiscoveryResponse>;
            type $delta_stream = ResponseStream<DeltaDiscoveryResponse>;

            async fn $sotw(
                &self,
                request: Request<Streaming<DiscoveryRequest>>,
            ) -> Result<Response<Self::$sotw_stream>, Status> {
                Ok(self.sotw(request, $only))
            }

            async fn $delta(
                &self,
                request: Request<Streaming<DeltaDiscoveryRequest>>,
            ) -> Result<Response<Self::$delta_stream>, Status> {
                Ok(self.delta(request, $only))
            }

            $(async fn $fetch(
                &self,
                _request: Request<DiscoveryRequest>,
            ) -> Result<Response<DiscoveryResponse>, Status> {
                Err(Status::unimplemented("polling is not served here: open a stream"))
            })?
        }
    };
}

discovery!(
    ads::AggregatedDiscoveryService, None,
    stream_aggregated_resources -> StreamAggregatedResourcesStream,
    delta_aggregated_resources -> DeltaAggregatedResourcesStream
);
discovery!(
    cds::ClusterDiscoveryService, Some(ResourceType::Cluster),
    stream_clusters -> StreamClustersStream, delta_clusters -> DeltaClustersStream, fetch_clusters
);
discovery!(
    eds::EndpointDiscoveryService, Some(ResourceType::Endpoint),
    stream_endpoints -> StreamEndpointsStream, delta_endpoints -> DeltaEndpointsStream, fetch_endpoints
);
discovery!(
    lds::ListenerDiscoveryService, Some(ResourceType::Listener),
    stream_listeners -> StreamListenersStream, delta_listeners -> DeltaListenersStream, fetch_listeners
);
discovery!(
    rds::RouteDiscoveryService, Some(ResourceType::Route),
    stream_routes -> StreamRoutesStream, delta_routes -> DeltaRoutesStream, fetch_routes
);
