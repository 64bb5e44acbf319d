# The versions of the tools that the tests run against.
ENVOY_VERSION=1.40.0
# The oldest Envoy that pilot promises to serve.
ENVOY_OLD_VERSION=1.36.2
GRPCIO_VERSION=1.85.1
# gRPC for Node.js, and its xDS.
GRPC_JS_VERSION=1.14.7
GRPC_JS_XDS_VERSION=1.14.1
CARGO_DENY_VERSION=0.20.2
# Debian's packages: the names of the suites that have these versions are with them.
ETCD_VERSION=3.4.23
ETCD_SUITE=bookworm
PROMTOOL_VERSION=2.42.0
PROMTOOL_SUITE=bookworm
CONSUL_VERSION=1.8.7
CONSUL_SUITE=bullseye
