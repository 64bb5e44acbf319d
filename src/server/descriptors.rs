//! Checks that the limit of open files allows as many connections as the configuration does.

/// Where Linux says what a process may use; other systems have no such file, and are not asked.
const LIMITS: &str = "/proc/self/limits";

/// Warns if there are fewer file descriptors than streams, each of which may have a connection of its own.
pub(super) async fn warn_if_few(max_streams: usize) {
    let Ok(limits) = tokio::task::spawn_blocking(|| std::fs::read_to_string(LIMITS)).await else { return };
    let Some(descriptors) = limits.ok().as_deref().and_then(soft_limit) else { return };
    if descriptors < max_streams {
        tracing::warn!(
            descriptors,
            max_streams,
            "this process may open fewer files than [xds] max_streams allows streams: raise the limit \
             (ulimit -n, LimitNOFILE) or lower the key"
        );
    }
}

/// The soft limit in a line like `Max open files  1024  524288  files`; `None` = unlimited or not there.
fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let of = |values: &str| {
            soft_limit(&format!(
                "Max processes  9  9  processes\nMax open files            {values}  files\n"
            ))
        };
        assert_eq!(of("1024                 524288"), Some(1024));
        assert_eq!(of("unlimited            unlimited"), None);
        assert_eq!(soft_limit(""), None);
    }
}
