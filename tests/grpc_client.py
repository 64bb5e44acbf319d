"""A gRPC client that is driven line by line: grpc_client.py TARGET.

It keeps one channel to TARGET. Each line that it reads is the time limit of one call, in seconds, and its
metadata, `key=value` each; each line that it writes is the outcome: `ok NAME-OF-THE-BACKEND` or `error CODE DETAILS`.
"""

import sys

import grpc


def main():
    target = sys.argv[1]
    with grpc.insecure_channel(target) as channel:
        who = channel.unary_unary("/test.Who/Are")
        for line in sys.stdin:
            try:
                limit, *metadata = line.split()
                metadata = [tuple(one.split("=", 1)) for one in metadata]
                answer = who(b"", timeout=float(limit), wait_for_ready=False, metadata=metadata)
                outcome = "ok " + answer.decode()
            except grpc.RpcError as error:
                outcome = f"error {error.code().name} {error.details()}"
            print(" ".join(outcome.split()), flush=True)


main()
