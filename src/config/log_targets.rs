//! The names that a log filter can have: modules of pilot, and crates of the build (`build.rs` lists both).

use tracing_subscriber::filter::Targets;

use super::walk::nearest;

/// Each with its path: `pilot::xds::stream`.
const MODULES: &str = include_str!(concat!(env!("OUT_DIR"), "/modules.txt"));
const CRATES: &str = include_str!(concat!(env!("OUT_DIR"), "/crates.txt"));

/// A warning for each part of the filter that names nothing that could write to the log.
pub(super) fn unknown(filter: &str) -> Vec<String> {
    let targets: Targets = filter.parse().unwrap_or_default();
    let unknown = targets.into_iter().filter(|(name, _)| !is_known(name));
    let warning = |(name, level): (String, _)| {
        let hint = meant(&name).map_or_else(
            || {
                let own: Vec<_> = MODULES.lines().filter(|module| !module.contains("::")).collect();
                format!("pilot's own are {} and their modules, like pilot::xds", own.join(", "))
            },
            |meant| format!("did you mean {meant}?"),
        );
        format!(
            "{name}={level} has no effect, because no module of pilot or of a library is called {name:?}: {hint}"
        )
    };
    unknown.map(warning).collect()
}

/// Whether what the log names begins with that name: a filter takes the beginning of a name, too.
fn is_known(name: &str) -> bool {
    let begins = |known: &str| known.starts_with(name);
    match name.split_once("::") {
        None => CRATES.lines().any(begins),
        Some((own, _)) if MODULES.lines().any(|module| module == own) => MODULES.lines().any(begins),
        Some((library, _)) => CRATES.lines().any(|known| known == library),
    }
}

/// What the name may be meant for: the end of a name, like `xds` of `pilot::xds`, or a typo.
fn meant(name: &str) -> Option<&'static str> {
    let name = name.replace('-', "_");
    let is_end = |module: &&str| {
        let before = module.strip_suffix(&*name);
        before.is_some_and(|before| before.is_empty() || before.ends_with("::") || before.ends_with('_'))
    };
    let ends = MODULES.lines().filter(is_end).min_by_key(|module| module.matches("::").count());
    let typo = |names: &'static str| nearest(&name, names.lines());
    ends.or_else(|| typo(MODULES)).or_else(|| typo(CRATES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_write_to_the_log_is_known() {
        for filter in [
            "info",
            "info,pilot=debug",
            "pilot::xds=debug,pilot::xds::stream=trace,pilot_registry_file::source=off",
            "pilot_reg=debug,hyp=info",
            "hyper=info,h2::proto=debug,tonic=warn,rustls=info,tower=info,hyper_util::client=debug,tokio=info",
            "kube_client=debug,etcd_client=debug,pilot::cli[{address}]=debug",
        ] {
            assert_eq!(unknown(filter), [""; 0], "{filter}");
        }
    }

    #[test]
    fn what_nothing_is_called_is_told_with_what_was_meant() {
        for (filter, meant) in [
            (
                "nosuch=debug",
                "pilot's own are pilot, pilot_envoy_api, pilot_registry, pilot_registry_consul, ",
            ),
            ("pilot::nosuchmodule=debug", "pilot's own are pilot, "),
            ("pilot::xdss=debug", "did you mean pilot::xds?"),
            ("xds=debug", "did you mean pilot::xds?"),
            ("supervisor=debug", "did you mean pilot::supervisor?"),
            ("consul=debug", "did you mean pilot_registry_consul?"),
            ("pilot-registry-file=debug", "did you mean pilot_registry_file?"),
            ("hiper=debug", "did you mean hyper?"),
        ] {
            let name = filter.trim_end_matches("=debug");
            let beginning = format!(
                "{filter} has no effect, because no module of pilot or of a library is called {name:?}: "
            );
            let told = unknown(&format!("info,{filter},pilot=debug"));
            assert!(told.len() == 1 && told[0].starts_with(&format!("{beginning}{meant}")), "{told:#?}");
        }
    }
}
