//! A tower layer that bounds the number of open discovery streams, and tells a connection what is open on it.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use futures_util::{FutureExt, TryFutureExt};
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::caller::Caller;
use crate::metrics::Metrics;

/// Admits a bounded number of streams; each holds its place until its response body is dropped.
#[derive(Clone)]
pub(super) struct AdmissionLayer {
    max: usize,
    places: Arc<Semaphore>,
    metrics: Metrics,
}

impl AdmissionLayer {
    /// Admits at most `max` streams at once.
    pub(super) fn new(max: usize, metrics: Metrics) -> Self {
        Self { max, places: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))), metrics }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission { inner, layer: self.clone() }
    }
}

/// The service that [`AdmissionLayer`] makes.
#[derive(Clone)]
pub(super) struct Admission<S> {
    inner: S,
    layer: AdmissionLayer,
}

impl<S, B> Service<Request<B>> for Admission<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<
        Ready<Result<Response<Body>, S::Error>>,
        futures_util::future::BoxFuture<'static, Result<Response<Body>, S::Error>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let caller = request.extensions().get::<Caller>();
        let open = caller.map(Caller::request);
        // Health and reflection answer also when all places are taken: they have a few of their own.
        let is_discovery = request.uri().path().starts_with("/envoy.service.");
        let other = caller.filter(|_| !is_discovery).map(Caller::other);
        if matches!(other, Some(None)) {
            self.layer.metrics.refused("streams");
            let why = "this connection has too many requests to health and reflection open";
            return Either::Left(ready(Ok(Status::resource_exhausted(why).into_http())));
        }
        let place = is_discovery.then(|| Arc::clone(&self.layer.places).try_acquire_owned());
        let Ok(place) = place.transpose() else {
            self.layer.metrics.refused("streams");
            let max = self.layer.max;
            let status = Status::resource_exhausted(format!("{max} streams are open: [xds] max_streams"));
            return Either::Left(ready(Ok(status.into_http())));
        };
        let place = place.map(|place| (place, self.layer.metrics.place_taken()));
        let holding = move |response: Response<Body>| {
            response.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    let _held = (&place, &open, &other);
                    frame
                }))
            })
        };
        Either::Right(self.inner.call(request).map_ok(holding).boxed())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use http_body_util::Full;
    use tokio::time::timeout;

    use super::*;

    /// Else the connection of a quiet client would be closed.
    #[tokio::test(start_paused = true)]
    async fn a_connection_is_not_idle_while_something_is_being_answered() {
        let time = Duration::from_secs(60);
        let inner =
            async |_: Request<()>| Ok::<_, Infallible>(Response::new(Body::new(Full::from("answer"))));
        let mut service = AdmissionLayer::new(1, Metrics::new()).layer(tower::service_fn(inner));
        for path in
            ["/envoy.service.discovery.v3.AggregatedDiscoveryService/X", "/grpc.health.v1.Health/Watch"]
        {
            let caller = Caller::default();
            let mut request = Request::builder().uri(path).body(()).unwrap();
            request.extensions_mut().insert(caller.clone());
            let response = service.call(request).await.unwrap();
            assert!(timeout(time * 10, caller.idle(time)).await.is_err(), "{path}");
            drop(response);
            assert!(timeout(time * 2, caller.idle(time)).await.is_ok(), "{path}");
        }
    }
}
