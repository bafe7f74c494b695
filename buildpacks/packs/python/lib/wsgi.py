"""Serves a WSGI app at $PORT with the standard library: weir-wsgi MODULE:NAME."""
import importlib
import os
import signal
import socketserver
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

sys.path.insert(0, os.getcwd())


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):  # without asking the DNS for the machine's name
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]
        self.setup_environ()


class Handler(WSGIRequestHandler):
    def address_string(self):
        return self.client_address[0]


module, _, name = sys.argv[1].partition(":")
app = getattr(importlib.import_module(module), name or "application")
server = Server(("0.0.0.0", int(os.environ["PORT"])), Handler)
server.set_app(app)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(f"serving {sys.argv[1]} at port {os.environ['PORT']}", flush=True)
server.serve_forever()
