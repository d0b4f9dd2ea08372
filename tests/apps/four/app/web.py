"""GET /alive; GET /count: rows in the table; POST /work?WHAT: a piece of work for the queue."""
import http.server
import os
import urllib.parse

import psycopg2
import redis


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, text, status=200):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/alive":
            return self.answer("yes\n")
        if self.path != "/count":
            return self.answer("nothing here\n", 404)
        with psycopg2.connect("") as connection, connection.cursor() as cursor:
            cursor.execute("select count(*) from done")
            self.answer("%d\n" % cursor.fetchone())
        connection.close()

    def do_POST(self):
        what = urllib.parse.urlparse(self.path).query
        redis.Redis.from_url(os.environ["REDIS"]).lpush("work", what)
        self.answer("taken\n")

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


print("listening", flush=True)
Server(("", 8000), Handler).serve_forever()
