"""An HTTP server that answers every GET with its name: python3 backend.py NAME PORT [ADDRESS], 127.0.0.1 if not said"""

import http.server
import sys

name, port = sys.argv[1], int(sys.argv[2])
address = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"


class Backend(http.server.BaseHTTPRequestHandler):
    # Envoy keeps its connections.
    protocol_version = "HTTP/1.1"
    # Head and body are written one after the other: the second would wait until the first is acknowledged.
    disable_nagle_algorithm = True

    def do_GET(self):
        body = f"{name}\n".encode()
        try:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            # Whoever has asked has hung up. That is their right.
            self.close_connection = True

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer((address, port), Backend).serve_forever()
