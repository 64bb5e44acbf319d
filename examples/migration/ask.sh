#!/bin/sh
# Sends a hundred requests to web.mesh, and counts who answers: machines, or pods of the Deployment web.
set -eu

for _ in $(seq 100); do
    curl --silent --show-error --fail -H 'Host: web.mesh' http://127.0.0.1:15080/
done | cut -d- -f1 | sort | uniq -c
