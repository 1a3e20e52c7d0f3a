#!/usr/bin/env python3
"""A stand-in for BigQuery on loopback: token endpoint, query jobs, pages, over http and https.  See README.md.

One thread per connection.  When everything listens, one line of JSON with the ports goes to standard output and, with
--ready-file, to that file.
"""
import argparse
import http.server
import itertools
import json
import os
import signal
import socket
import socketserver
import ssl
import sys
import tempfile
import threading
from urllib.parse import parse_qsl, unquote, urlsplit

import certs
import handshakes
from accounts import Accounts
from api import Api, facts_of, route
from auth import AUDIENCE, Auth
from chain import add_chain
from control import Control
from identity import Identity
from jobs import Jobs
from listing import Listing
from pages import compact
from rules import Board
from tables import TOKENS_NAME, Catalog, load_csv
from transport import Dropped, Sender, cut, fault_answer

SAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "tokens_sample.csv")
connections = itertools.count(1)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection; the request that is being answered is the handler itself."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        self.connection_number = next(connections)
        self.tls = self.server.tls is not None
        if self.tls:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self):
        try:
            super().finish()
        except OSError:
            pass
        if self.tls:
            # The server only knows the socket inside, which the TLS one took over.
            self.connection.close()

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True

    def do_any(self):
        standin = self.server.standin
        parts = urlsplit(self.path)
        self.method, self.path = self.command, parts.path
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.query_lower = {name.lower(): value for name, value in self.query.items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/_control/"):
            return self.control(standin)
        kind, path_parts = route(self.method, self.path)
        path_parts = tuple(unquote(part) for part in path_parts)
        entry = standin.board.begin(kind, **facts_of(self, kind, path_parts, standin.auth))
        rule = standin.board.fire(entry)
        try:
            self.respond(standin, kind, path_parts, entry, rule)
        except Dropped as drop:
            self.close_connection = True
            cut(self.connection, drop.reset)
        except OSError:
            self.close_connection = True
            standin.board.mark(entry, "closed")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_any

    def respond(self, standin, kind, path_parts, entry, rule):
        action = rule.action if rule else {}
        sender = Sender(self, rule, entry, standin.board)
        if "delay_ms" in action:
            rule.released.wait(action["delay_ms"] / 1000)
        sender.phase("before_work")
        answer = fault_answer(action)
        if answer is None or action.get("work"):
            real = standin.api.answer(self, kind, path_parts, action)
            answer = answer or real
        sender.send(answer)
        standin.board.mark(entry, "answered")

    def control(self, standin):
        status, answer = standin.control.handle(self.method, self.path, self.query, self.body)
        body = compact(answer)
        head = f"HTTP/1.1 {status} Control\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.connection.sendall(head.encode() + body)

    def log_message(self, format, *arguments):
        if self.server.standin.verbose:
            super().log_message(format, *arguments)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A listening port whose connections speak HTTP, perhaps inside TLS."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port, standin, tls=None):
        self.standin = standin
        self.tls = tls
        super().__init__((standin.address, port), Handler)

    def server_bind(self):
        # HTTPServer would look up a host name here, which can take seconds.
        socketserver.TCPServer.server_bind(self)

    @property
    def port(self):
        return self.server_address[1]

    def handle_error(self, request, client_address):
        if self.standin.verbose or not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class MuteHandler(socketserver.BaseRequestHandler):
    """Accepts, reads and never says a word: to a TLS client a handshake that does not end."""

    def handle(self):
        board, kind = self.server.standin.board, self.server.kind
        entry = board.begin(kind)
        try:
            while self.request.recv(65536):
                board.mark(entry, "stalled")
        except OSError:
            pass
        board.mark(entry, "closed")


class MuteServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, port, standin, kind):
        self.standin = standin
        self.kind = kind
        super().__init__((standin.address, port), MuteHandler)

    @property
    def port(self):
        return self.server_address[1]


class Standin:
    """Everything that one process serves."""

    def __init__(self, options):
        self.options = options
        self.verbose = options.verbose
        self.address = "0.0.0.0" if options.as_google else "127.0.0.1"
        self.catalog = Catalog()
        self.auth = Auth(options.anonymous)
        self.accounts = Accounts(certs.EMAIL, options.project)
        self.jobs = Jobs(self.catalog, self.accounts)
        self.board = Board()
        self.identity = Identity(self.auth, options.project)
        self.api = Api(self.jobs, Listing(self.catalog, self.accounts), self.auth, self.identity)
        self.control = Control(self)
        self.stopping = threading.Event()
        certs.make(options.certs, certs.GOOGLE_NAMES if options.as_google else ())
        self.auth.add_key(certs.EMAIL, certs.KEY_ID, certs.modulus(options.certs))
        self.load_tables()

    def load_tables(self):
        """The tables as they are at the start."""
        self.catalog.clear()
        table = self.catalog.create(TOKENS_NAME)
        if self.options.csv:
            last = load_csv(table, self.options.csv, self.options.shift_days, self.options.dense_ends)
            add_chain(self.catalog, table, last)
        if self.options.generate:
            day, count = self.options.generate.split(":")
            table.add_generated(day, int(count))

    def reset(self, tables=True, tokens=True):
        self.board.reset()
        self.jobs.release()
        self.jobs.reset()
        if tokens:
            self.auth.reset()
        self.identity.reset()
        if tables:
            self.accounts.reset()
            self.load_tables()

    def add_account(self, name, project):
        """Know one more account, whose key file names this project; its email and the path of the file."""
        email, key_id, modulus, path = certs.add_account(self.options.certs, name, self.token_uri, project)
        self.auth.add_key(email, key_id, modulus)
        return email, path

    def start(self):
        """Listen; what tests need to know comes back."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(self.options.certs, "server.pem"),
                                os.path.join(self.options.certs, "server.key"))
        options = self.options
        self.servers = {
            "http_port": Server(options.http_port, self),
            "https_port": Server(options.https_port, self, context),
            "stall_tls_port": MuteServer(options.stall_tls_port, self, "stall_tls"),
            "mute_port": MuteServer(options.mute_port, self, "mute"),
        }
        if options.bad_tls:
            certs.make_bad(options.certs)
            for name in handshakes.NAMES:
                port = getattr(options, name + "_port")
                self.servers[name + "_port"] = (
                    handshakes.BadServer(port, self, name) if name in ("cut_tls", "not_tls")
                    else Server(port, self, handshakes.context(options.certs, name)))
        for server in self.servers.values():
            threading.Thread(target=server.serve_forever, daemon=True).start()
        ready = {name: server.port for name, server in self.servers.items()}
        scheme, port = ("https", ready["https_port"]) if options.token_tls else ("http", ready["http_port"])
        self.token_uri = AUDIENCE if options.as_google else f"{scheme}://127.0.0.1:{port}/token"
        certs.write_key_files(options.certs, self.token_uri, options.project)
        ready.update(pid=os.getpid(), certs=os.path.abspath(options.certs), project=options.project, table=TOKENS_NAME)
        return ready

    def stop(self):
        self.stopping.set()

    def run_until_stopped(self):
        """Return when told to stop, or when the process that started this one is gone."""
        parent = os.getppid()
        while not self.stopping.wait(1.0):
            if self.options.with_parent and os.getppid() != parent:
                break
        for server in self.servers.values():
            server.server_close()


def arguments():
    parser = argparse.ArgumentParser(description="A stand-in for BigQuery on loopback, for tests and demos.")
    parser.add_argument("--certs", help="directory for keys and certificates (made when missing)")
    parser.add_argument("--http-port", type=int, default=0)
    parser.add_argument("--https-port", type=int, default=0)
    parser.add_argument("--stall-tls-port", type=int, default=0, help="TLS handshakes here never end")
    parser.add_argument("--mute-port", type=int, default=0, help="accepts and never answers")
    parser.add_argument("--bad-tls", action="store_true", help="more ports, at which TLS is not as it should be")
    for name in handshakes.NAMES:
        parser.add_argument(f"--{name.replace('_', '-')}-port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--ready-file", help="written, whole, when everything listens")
    parser.add_argument("--project", default="test-project", help="the project that is billed")
    parser.add_argument("--csv", default=SAMPLE, help="rows of the tokens table; '' for none")
    parser.add_argument("--shift-days", type=int, default=0, help="move every timestamp of the CSV by whole days")
    parser.add_argument("--dense-ends", metavar="YYYY-MM-DD", help="shift so that the sample's dense days end here")
    parser.add_argument("--generate", metavar="YYYY-MM-DD:ROWS", help="add generated rows for a day")
    parser.add_argument("--token-tls", action="store_true", help="the key's token_uri is the https port")
    parser.add_argument("--as-google", action="store_true", help="listen on every address; the certificate has Google's "
                        "names, and keys name Google's token endpoint: for who finds this server under these names")
    parser.add_argument("--anonymous", action="store_true", help="a request without a token is good too")
    parser.add_argument("--with-parent", action="store_true", help="stop when the parent process ends")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


def announce(ready, path):
    line = json.dumps(ready)
    if path:
        descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)))
        with os.fdopen(descriptor, "w") as file:
            file.write(line + "\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    print(line, flush=True)


def main():
    options = arguments()
    options.certs = options.certs or tempfile.mkdtemp(prefix="standin-")
    socket.setdefaulttimeout(None)
    standin = Standin(options)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: standin.stop())
    announce(standin.start(), options.ready_file)
    standin.run_until_stopped()


if __name__ == "__main__":
    main()
