#!/bin/sh
# Registers two services in the Consul on this machine: reviews with two instances, ratings with one.
# Clients call both at port 9080 (service_port), wherever the instances listen.
# Consul asks each of them every second whether it still answers.
set -eu

# register SERVICE ID PORT
register() {
    curl --silent --show-error --fail --request PUT --data @- \
        http://127.0.0.1:8500/v1/agent/service/register <<JSON
{
  "Name": "$1",
  "ID": "$2",
  "Address": "127.0.0.1",
  "Port": $3,
  "Meta": { "protocol": "http", "service_port": "9080" },
  "Check": { "HTTP": "http://127.0.0.1:$3/", "Interval": "1s", "Timeout": "1s" }
}
JSON
    echo "registered $2"
}

register reviews reviews-1 9181
register reviews reviews-2 9182
register ratings ratings-1 9183
