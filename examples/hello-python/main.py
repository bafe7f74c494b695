"""A web server of the standard library that greets with a package's help."""
import json
import os
import signal
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from hello_words import greeting

NAME = json.loads(os.environ.get("VCAP_APPLICATION", "{}")).get("application_name", "hello-python")


def app(environ, start_response):
    body = "ok\n"
    if environ["PATH_INFO"] != "/healthz":
        body = greeting(NAME, os.environ.get("CF_INSTANCE_INDEX", "0")) + "\n"
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body.encode()]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args):
        pass  # the platform's router keeps an access log


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with make_server("", port, app, Server, QuietHandler) as server:
        print(f"listening at port {port}", flush=True)
        server.serve_forever()
