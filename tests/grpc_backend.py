"""A gRPC server that answers each call with its name: grpc_backend.py NAME. It prints the port that it listens on."""

import sys
from concurrent import futures

import grpc


def main():
    name = sys.argv[1].encode()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    who = grpc.unary_unary_rpc_method_handler(lambda request, context: name)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Who", {"Are": who})])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    # Ends when the one who started it closes the pipe.
    sys.stdin.read()
    server.stop(grace=None)


main()
