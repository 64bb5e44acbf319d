#!/bin/sh
# Registers two services in the etcd on this machine: reviews.mesh with two instances, ratings.mesh with one.
set -eu
# etcdctl of etcd 3.3 and older speaks another language without it.
export ETCDCTL_API=3

put() {
    etcdctl --endpoints http://127.0.0.1:2379 put "$1" "$2" >/dev/null
    echo "wrote $1"
}

# What clients call: one key for each service.
put /pilot/v1/services/reviews.mesh '{ "ports": [{ "number": 9080, "protocol": "http" }] }'
put /pilot/v1/services/ratings.mesh '{ "ports": [{ "number": 9080, "protocol": "http" }] }'

# Who serves it: one key for each instance.
put /pilot/v1/instances/reviews.mesh/1 '{ "address": "127.0.0.1", "port": 9181 }'
put /pilot/v1/instances/reviews.mesh/2 '{ "address": "127.0.0.1", "port": 9182 }'
put /pilot/v1/instances/ratings.mesh/1 '{ "address": "127.0.0.1", "port": 9183 }'
