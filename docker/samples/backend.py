#!/usr/bin/env python3
"""A backend to point a bridge at: prints what it gets, fails on demand.

POST /payments   503 to the first two attempts of each message whose body has "flaky", 500 to every
                 attempt of one that has "doomed", else 200
*    /down       500, always
*    /invoices/* JSON that says which request arrived
GET  /received   what has arrived so far, as JSON; not itself counted
*    elsewhere   200
"""

import argparse
import collections
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEPT = 1000


class Backend(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address):
        super().__init__(address, Handler)
        self.lock = threading.Lock()
        self.received = collections.deque(maxlen=KEPT)
        self.attempts = collections.Counter()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "sample-backend"
    sys_version = ""

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        if path == "/received":
            with self.server.lock:
                self.answer(200, list(self.server.received))
            return
        message_id = self.headers.get("Message-Id", "")
        with self.server.lock:
            self.server.attempts[message_id] += 1
            attempt = self.server.attempts[message_id]
        status, answer = self.decide(path, body, attempt)
        with self.server.lock:
            self.server.received.append(
                {"method": self.command, "path": self.path, "id": message_id, "status": status}
            )
        attempts = self.headers.get("Hareway-Attempt", "1")
        text = body.decode("utf-8", "replace")
        print(f"backend: {self.command} {self.path} attempt {attempts} -> {status}  {text}", flush=True)
        self.answer(status, answer)

    def decide(self, path, body, attempt):
        if path == "/down" or (path == "/payments" and b"doomed" in body):
            return 500, {"error": "this backend is broken"}
        if path == "/payments" and b"flaky" in body and attempt <= 2:
            return 503, {"error": "try again"}
        if path.startswith("/invoices"):
            return 200, {"method": self.command, "request": self.path, "bytes": len(body), "total": "99.50"}
        return 200, {"ok": True}

    def answer(self, status, value):
        data = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

    def log_message(self, *_):
        """Requests are printed where they are decided."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1:9000", metavar="HOST:PORT")
    host, _, port = parser.parse_args().listen.rpartition(":")
    server = Backend((host, int(port)))
    print(f"backend: listening on {server.server_address[0]}:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


main()
