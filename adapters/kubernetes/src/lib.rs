//! Services and endpoints of a Kubernetes cluster.
