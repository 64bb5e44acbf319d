//! Where a client or an instance runs, on the command line.

use pilot_registry::Locality;

/// The parts of a locality.
#[derive(Debug, clap::Args)]
pub(super) struct PlaceArgs {
    /// Where it runs, for [mesh] locality = "prefer": its region, for example a datacenter.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    region: String,
    /// ... its zone, by the names that registries give to the zones of endpoints.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    zone: String,
    /// ... its place in the zone, for example a rack.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    sub_zone: String,
}

impl From<PlaceArgs> for Locality {
    fn from(PlaceArgs { region, zone, sub_zone }: PlaceArgs) -> Self {
        Self { region, zone, sub_zone }
    }
}

/// `eu/a/rack-1`, as far as it is known.
pub(super) fn locality(locality: &Locality) -> String {
    let parts = [&locality.region, &locality.zone, &locality.sub_zone];
    let known = parts.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
    parts[..known].iter().map(|part| part.as_str()).collect::<Vec<_>>().join("/")
}
