# The versions of the tools that the tests run against.
ENVOY_VERSION=1.40.0
# The oldest Envoy that pilot promises to serve.
ENVOY_OLD_VERSION=1.36.2
GRPCIO_VERSION=1.85.1
CARGO_DENY_VERSION=0.20.2
