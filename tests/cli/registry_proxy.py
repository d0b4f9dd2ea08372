#!/usr/bin/env python3
"""A registry in front of a registry that does what a bad day does, and a token server that lets its user in.

registry_proxy.py UPSTREAM_PORT PORT_FILE [FAULT_FILE] [LOG_FILE]
    FAULT_FILE is read for each request: lines "METHOD PATH_PART ACTION [COUNT]"; COUNT times (1) the action is taken:
        500, 429, 503...   that status (429 with Retry-After: 0)
        drop BYTES         takes so much of the body, then closes
        slow SECONDS       as long for the body of the answer
        denied             401 with DENIED in the body
registry_proxy.py --token UPSTREAM_PORT PORT_FILE USER PASSWORD [LOG_FILE]
    the upstream behind a token server of its own: 401 with a Bearer challenge, /token with Basic credentials
"""
import base64
import http.client
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

lock = threading.Lock()


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream = 0
    faults = log_file = None
    user = password = None
    tokens = {}

    def log_message(self, *args):
        pass

    def note(self, text):
        if self.log_file:
            with lock, open(self.log_file, "a") as f:
                f.write(text + "\n")

    def fault(self):
        """The first line that fits, counted down."""
        if not self.faults or not os.path.exists(self.faults):
            return None
        with lock:
            with open(self.faults) as f:
                lines = [line.split() for line in f if line.strip()]
            for line in lines:
                if line[0] != self.command or line[1] not in self.path:
                    continue
                words = 2 if line[2] in ("drop", "slow") else 1
                count = int(line[2 + words]) if len(line) > 2 + words else 1
                if count <= 0:
                    continue
                line[2 + words:] = [str(count - 1)]
                with open(self.faults, "w") as f:
                    f.writelines(" ".join(w) + "\n" for w in lines)
                return line[2:]
        return None

    def say(self, status, body=b"", headers=()):
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def read_body(self, most=None):
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(length if most is None else min(most, length))

    def give_token(self, query):
        scopes = query.get("scope", [])
        self.note("TOKEN " + " ".join(scopes))
        want = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if self.headers.get("Authorization") not in (None, want):
            return self.say(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}')
        allowed = scopes if self.headers.get("Authorization") else []
        token = base64.urlsafe_b64encode(os.urandom(9)).decode()
        self.tokens[token] = allowed
        return self.say(200, json.dumps({"token": token}).encode())

    def may(self):
        """Whether the token is good for this request."""
        words = (self.headers.get("Authorization") or "").split()
        scopes = self.tokens.get(words[1]) if len(words) == 2 and words[0] == "Bearer" else None
        parts = urlsplit(self.path).path.split("/")
        if len(parts) < 4 or not parts[2]:
            return scopes is not None
        name = "/".join(parts[2:]).split("/blobs/")[0].split("/manifests/")[0].split("/tags/")[0]
        action = "pull" if self.command in ("GET", "HEAD") else "push"
        for scope in scopes or []:
            kind, repository, actions = scope.rsplit(":", 2)[0].split(":")[0], scope.split(":")[1], scope.rsplit(":", 1)[1]
            if kind == "repository" and repository == name and action in actions.split(","):
                return True
        return False

    def forward(self):
        url = urlsplit(self.path)
        if self.user is not None:
            if url.path == "/token":
                return self.give_token(parse_qs(url.query))
            if not self.may():
                self.read_body()
                realm = f'Bearer realm="http://{self.headers["Host"]}/token",service="test"'
                return self.say(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
                                [("WWW-Authenticate", realm)])
        self.note(f"{self.command} {url.path} {self.headers.get('Content-Length', 0)} {self.headers.get('Content-Range', '-')}")
        fault = self.fault()
        if fault and fault[0] == "drop":
            body = self.read_body(int(fault[1]))
            self.send_upstream(body, partial=True)
            self.close_connection = True
            return self.connection.close()
        if fault and fault[0] == "slow":
            return self.send_upstream(self.read_body(), seconds=float(fault[1]))
        if fault and fault[0] == "denied":
            self.read_body()
            return self.say(401, b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}')
        if fault:
            self.read_body()
            return self.say(int(fault[0]), b"", [("Retry-After", "0")] if fault[0] == "429" else [])
        return self.send_upstream(self.read_body())

    def send_upstream(self, body, partial=False, seconds=0.0):
        conn = http.client.HTTPConnection("127.0.0.1", self.upstream)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("content-length", "connection", "authorization")}
        if self.user is None and self.headers.get("Authorization"):
            headers["Authorization"] = self.headers["Authorization"]
        if self.command not in ("GET", "HEAD"):
            headers["Content-Length"] = str(len(body))
        if partial and "Content-Range" in headers:
            start = int(headers["Content-Range"].split("-")[0])
            headers["Content-Range"] = f"{start}-{start + len(body) - 1}"
        conn.request(self.command, self.path, body or None, headers)
        answer = conn.getresponse()
        data = answer.read()
        if partial:
            return
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("connection", "transfer-encoding", "content-length", "date"):
                self.send_header(key, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        piece = max(1, len(data) // 10)
        for start in range(0, len(data), piece if seconds else max(1, len(data))):
            self.wfile.write(data[start:start + piece] if seconds else data)
            time.sleep(seconds / 10)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = forward


def main():
    args = sys.argv[1:]
    if args[0] == "--token":
        Proxy.upstream, port_file, Proxy.user, Proxy.password = int(args[1]), args[2], args[3], args[4]
        Proxy.log_file = args[5] if len(args) > 5 else None
    else:
        Proxy.upstream, port_file = int(args[0]), args[1]
        Proxy.faults = args[2] if len(args) > 2 else None
        Proxy.log_file = args[3] if len(args) > 3 else None
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads = True
    with open(port_file + ".tmp", "w") as f:
        f.write(str(server.server_port))
    os.rename(port_file + ".tmp", port_file)
    server.serve_forever()


main()
