"""One small HTTP server of the bookstore: python3 service.py NAME PORT

  /        its name
  /slow    its name, after 2 seconds
  /flaky   its name, but for each second request, which is answered 503
  /seen/X  whether it was ever asked for /X
"""

import http.server
import itertools
import sys
import time

name, port = sys.argv[1], int(sys.argv[2])
turns = itertools.count()
seen = set()


class Service(http.server.BaseHTTPRequestHandler):
    # Envoy keeps its connections.
    protocol_version = "HTTP/1.1"
    # Head and body are written one after the other: the second would wait until the first is acknowledged.
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path.startswith("/seen/"):
            return self.answer(200, "yes" if self.path.removeprefix("/seen") in seen else "no")
        seen.add(self.path)
        if self.path == "/slow":
            time.sleep(2)
        elif self.path == "/flaky" and next(turns) % 2 == 0:
            return self.answer(503, f"{name} is not well")
        self.answer(200, name)

    def answer(self, status, text):
        body = f"{text}\n".encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            # Whoever has asked has hung up. That is their right.
            self.close_connection = True

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", port), Service).serve_forever()
