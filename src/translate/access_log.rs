//! What proxies write of requests and connections.

use std::collections::BTreeMap;

use pilot_envoy_api::envoy::config::accesslog::v3::access_log::ConfigType;
use pilot_envoy_api::envoy::config::accesslog::v3::access_log_filter::FilterSpecifier;
use pilot_envoy_api::envoy::config::accesslog::v3::{
    AccessLog, AccessLogFilter, ComparisonFilter, StatusCodeFilter, comparison_filter,
};
use pilot_envoy_api::envoy::config::core::v3::data_source::Specifier;
use pilot_envoy_api::envoy::config::core::v3::substitution_format_string::Format;
use pilot_envoy_api::envoy::config::core::v3::{DataSource, RuntimeUInt32, SubstitutionFormatString};
use pilot_envoy_api::envoy::extensions::access_loggers::file::v3::{FileAccessLog, file_access_log};
use pilot_envoy_api::google::protobuf::{Struct, Value, value::Kind};
use pilot_envoy_api::to_any;

use crate::mesh::{self, AccessLogFormat};

/// A value, its name, and Envoy's command for it.
type Fields = [(&'static str, &'static str)];

const STDOUT: &str = "/dev/stdout";

/// What is known of connections and of requests alike.
const COMMON: &Fields = &[
    ("start", "%START_TIME%"),
    ("client", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("listener", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("sni", "%REQUESTED_SERVER_NAME%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("endpoint", "%UPSTREAM_HOST%"),
    ("upstream_failure", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("termination", "%CONNECTION_TERMINATION_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration_ms", "%DURATION%"),
];

const OF_REQUESTS: &Fields = &[
    ("method", "%REQ(:METHOD)%"),
    ("host", "%REQ(:AUTHORITY)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("status", "%RESPONSE_CODE%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("grpc_status", "%GRPC_STATUS%"),
    ("route", "%ROUTE_NAME%"),
    ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
];

/// Of requests, a line for people.
const REQUEST_LINE: &str = "%START_TIME% %DOWNSTREAM_REMOTE_ADDRESS% \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% \
    %PROTOCOL%\" host=%REQ(:AUTHORITY)% status=%RESPONSE_CODE% flags=%RESPONSE_FLAGS% details=%RESPONSE_CODE_DETAILS% \
    route=\"%ROUTE_NAME%\" cluster=%UPSTREAM_CLUSTER_RAW% endpoint=%UPSTREAM_HOST% \
    failure=\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" received=%BYTES_RECEIVED% sent=%BYTES_SENT% ms=%DURATION% \
    id=%REQ(X-REQUEST-ID)% agent=\"%REQ(USER-AGENT)%\"\n";

/// Of connections, a line for people.
const CONNECTION_LINE: &str = "%START_TIME% %DOWNSTREAM_REMOTE_ADDRESS% connection at=%DOWNSTREAM_LOCAL_ADDRESS% \
    sni=%REQUESTED_SERVER_NAME% flags=%RESPONSE_FLAGS% cluster=%UPSTREAM_CLUSTER_RAW% endpoint=%UPSTREAM_HOST% \
    failure=\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" termination=\"%CONNECTION_TERMINATION_DETAILS%\" \
    received=%BYTES_RECEIVED% sent=%BYTES_SENT% ms=%DURATION%\n";

/// The logs of requests.
pub(super) fn of_requests(log: &mesh::AccessLog) -> Vec<AccessLog> {
    of(log, REQUEST_LINE, &[COMMON, OF_REQUESTS])
}

/// The logs of connections that are not HTTP.
pub(super) fn of_connections(log: &mesh::AccessLog) -> Vec<AccessLog> {
    of(log, CONNECTION_LINE, &[COMMON])
}

/// The log of requests that failed (5xx), for proxies at the edge where pilot.toml says nothing of logs: who runs them hears
/// of no failure by their callers.
pub(super) fn of_failures() -> AccessLog {
    let all = mesh::AccessLog { path: Some(STDOUT.to_owned()), ..mesh::AccessLog::default() };
    let status = ComparisonFilter {
        op: comparison_filter::Op::Ge.into(),
        value: Some(RuntimeUInt32 { default_value: 500, runtime_key: "pilot.access_log.least".to_owned() }),
    };
    let filter = FilterSpecifier::StatusCodeFilter(StatusCodeFilter { comparison: Some(status) });
    let filter = Some(AccessLogFilter { filter_specifier: Some(filter) });
    let [log] = <[AccessLog; 1]>::try_from(of_requests(&all)).unwrap_or_default();
    AccessLog { filter, ..log }
}

fn of(log: &mesh::AccessLog, line: &str, fields: &[&Fields]) -> Vec<AccessLog> {
    let file = |path: &String| {
        let format = match log.format {
            AccessLogFormat::Text => text(line),
            AccessLogFormat::Json => json(fields.iter().copied().flatten()),
        };
        let format = file_access_log::AccessLogFormat::LogFormat(format);
        let file = FileAccessLog { path: path.clone(), access_log_format: Some(format) };
        let config_type = Some(ConfigType::TypedConfig(to_any(&file)));
        AccessLog { name: "envoy.access_loggers.file".to_owned(), config_type, ..Default::default() }
    };
    log.path.iter().map(file).collect()
}

fn text(line: &str) -> SubstitutionFormatString {
    let line = DataSource { specifier: Some(Specifier::InlineString(line.to_owned())), ..Default::default() };
    SubstitutionFormatString { format: Some(Format::TextFormatSource(line)), ..Default::default() }
}

/// What there is nothing of is left out.
fn json<'a>(fields: impl Iterator<Item = &'a (&'static str, &'static str)>) -> SubstitutionFormatString {
    let value = |command: &str| Value { kind: Some(Kind::StringValue(command.to_owned())) };
    let fields: BTreeMap<String, Value> =
        fields.map(|(name, command)| ((*name).to_owned(), value(command))).collect();
    SubstitutionFormatString {
        format: Some(Format::JsonFormat(Struct { fields })),
        omit_empty_values: true,
        ..Default::default()
    }
}
