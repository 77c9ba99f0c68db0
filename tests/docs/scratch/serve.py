"""Stands for a reader's application with metrics of its own, until there is a file `enough`."""

import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"# TYPE http_requests_total counter\nhttp_requests_total 1\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


server = HTTPServer(("127.0.0.1", 8000), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
while not os.path.exists("enough"):
    threading.Event().wait(0.1)
