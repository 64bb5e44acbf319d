//! What the log says of a registration: each transition, once.

use std::convert::Infallible;

use pilot_registry::{Health, Registrar, Registration};
use tokio::sync::watch;

use super::Farewell;

/// Says what the registry has confirmed.
pub(super) async fn follow(
    registration: &Registration,
    mut written: watch::Receiver<Option<Health>>,
) -> Infallible {
    let (service, id) = (registration.service.as_str(), registration.id.as_str());
    let (mut known, mut lost): (Option<Health>, bool) = (None, false);
    loop {
        let now = *written.borrow_and_update();
        match (known, now) {
            (None, Some(health)) => {
                tracing::info!(service, id, address = %registration.address, health = word(health), "registered");
            }
            (Some(_), Some(health)) if lost => {
                tracing::info!(service, id, health = word(health), "registered again");
            }
            (Some(before), Some(health)) if before != health => {
                tracing::info!(service, id, before = word(before), health = word(health), "health written");
            }
            _ => {}
        }
        lost = now.is_none();
        known = now.or(known);
        if written.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Says how it left.
pub(super) fn left(registrar: &dyn Registrar, registration: &Registration, farewell: &Farewell) {
    let (service, id) = (registration.service.as_str(), registration.id.as_str());
    match farewell {
        Farewell::Removed => tracing::info!(service, id, "removed"),
        Farewell::NotThere => tracing::info!(service, id, "the registry does not have it any more"),
        Farewell::Never(None) => tracing::info!(service, id, "nothing to remove: it was never registered"),
        Farewell::Never(Some(error)) => {
            let remains = registrar.left_behind(registration, Some(error));
            tracing::warn!(
                service,
                id,
                error = error.chain(),
                "the registry has never confirmed it. If it is there nevertheless: {remains}"
            );
        }
        Farewell::Left(error) => {
            let remains = registrar.left_behind(registration, Some(error));
            tracing::warn!(service, id, error = error.chain(), "not removed: {remains}");
        }
    }
}

pub(super) fn word(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Warning => "warning",
        Health::Unhealthy => "unhealthy",
        Health::Draining => "draining",
        Health::Unknown => "unknown",
    }
}
