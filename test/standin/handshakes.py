"""TLS as it should not be: ports whose certificate or handshake no client may take.

expired: the certificate's time is over. wrong_name: it is for another host. old_tls: nothing newer than TLS 1.1.
cut_tls: the connection is cut after the client's first words. not_tls: they are answered in plain text.
"""
import os
import socketserver
import ssl
import warnings

from transport import cut

NAMES = ("expired", "wrong_name", "old_tls", "cut_tls", "not_tls")


def context(directory, name):
    """The TLS side of a port that gets as far as that."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stem = name if name in ("expired", "wrong_name") else "server"
    made.load_cert_chain(os.path.join(directory, stem + ".pem"), os.path.join(directory, "server.key"))
    if name == "old_tls":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            made.minimum_version, made.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        made.set_ciphers("ALL:@SECLEVEL=0")
    return made


class BadHandler(socketserver.BaseRequestHandler):
    """What has no handshake at all."""

    def handle(self):
        try:
            self.request.recv(65536)
            if self.server.name == "not_tls":
                self.request.sendall(b"220 mail.example ESMTP ready\r\n")
            cut(self.request, self.server.name == "cut_tls")
        except OSError:
            pass


class BadServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, port, standin, name):
        self.name = name
        super().__init__((standin.address, port), BadHandler)

    @property
    def port(self):
        return self.server_address[1]
