#!/bin/sh
# Starts the servers of the bookstore, and ends them when it is ended.
trap 'kill $(jobs -p)' EXIT
trap 'exit' INT TERM
python3 service.py books 9181 &
python3 service.py reviews-v1 9182 &
python3 service.py reviews-v2 9183 &
python3 service.py reviews-v3 9184 &
python3 service.py ratings 9185 &
python3 service.py stock 9186 &
wait
