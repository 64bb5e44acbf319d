//! Checks that the limit of open files allows as many connections as the configuration does.

use rustix::process::{Resource, getrlimit};

/// Warns if there are fewer file descriptors than streams, each of which may have a connection of its own.
pub(super) fn warn_if_few(max_streams: usize) {
    let descriptors = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok());
    if let Some(descriptors) = descriptors.filter(|descriptors| *descriptors < max_streams) {
        tracing::warn!(
            descriptors,
            max_streams,
            "this process may open fewer files than [xds] max_streams allows streams: raise the limit \
             (ulimit -n, LimitNOFILE) or lower the key"
        );
    }
}
