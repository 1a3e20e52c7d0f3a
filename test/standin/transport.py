"""Sending an answer, faithfully or badly: stalls, cut connections, broken chunks, gzip, garbage."""
import base64
import email.utils
import gzip
import socket
import struct

from errors import ApiError
from pages import Answer, RawAnswer, compact
from swelling import chunks, compressed, swollen


class Dropped(Exception):
    """The connection is to be cut now."""

    def __init__(self, reset=False):
        super().__init__("dropped")
        self.reset = reset


def spot(value):
    """Where a stall or a cut happens: (phase, bytes of the body before it or None for half of them)."""
    if isinstance(value, dict):
        phase = value.get("phase", "mid_body")
        return phase, value.get("after_bytes")
    if isinstance(value, int) and not isinstance(value, bool):
        return "mid_body", value
    return (value if isinstance(value, str) else "before_headers"), None


def fault_answer(action):
    """The answer that a rule gives instead of the real one, or None."""
    if "status" not in action and "reason" not in action:
        return None
    headers = dict(action.get("headers", {}))
    if "body" in action:
        body = action["body"]
        if isinstance(body, str):
            headers.setdefault("Content-Type", "text/html; charset=UTF-8")
            return RawAnswer(body.encode(), action.get("status", 200), headers)
        return Answer(body, action.get("status", 200), headers)
    message = action.get("message", "made to fail")
    problem = ApiError(action.get("reason", "backendError"), message, action.get("status"))
    return Answer(problem.body(), problem.status, headers)


def shape(answer, action):
    """What a rule does to the JSON of a good answer."""
    if isinstance(answer, RawAnswer) or answer.status != 200:
        return
    for key, value in action.get("envelope", {}).items():
        if value is None:
            answer.fields.pop(key, None)
        else:
            answer.fields[key] = value
    if action.get("extra_rows"):
        rows = [row if isinstance(row, dict) else {"f": [{"v": cell} for cell in row]} for row in action["extra_rows"]]
        extra = compact(rows)[1:-1]
        answer.rows = bytes(answer.rows) + b"," + extra if answer.rows else extra
        answer.fields.setdefault("rows", None)
    if action.get("no_rows_key"):
        answer.fields.pop("rows", None)
    if action.get("rows_first") and "rows" in answer.fields:
        answer.fields = {"rows": None, **answer.fields}


def slices(pieces, start, stop):
    """The bytes start…stop of a body that is a list of buffers."""
    at = 0
    for piece in pieces:
        low, high = max(start - at, 0), min(stop - at, len(piece))
        if low < high:
            yield memoryview(piece)[low:high]
        at += len(piece)


class Sender:
    """Puts one answer on one connection, as the rule wants it."""

    def __init__(self, request, rule, entry, board):
        self.request = request
        self.connection = request.connection
        self.rule, self.entry, self.board = rule, entry, board
        self.action = rule.action if rule else {}
        self.stall_at = spot(self.action["stall"]) if "stall" in self.action else (None, None)
        self.close_at = spot(self.action["close"]) if "close" in self.action else (None, None)
        if self.action.get("lost_answer"):
            self.close_at = ("before_headers", None)

    def phase(self, name):
        """Stall or cut here, if the rule says so; a client that left during a stall ends the request."""
        if self.stall_at[0] == name:
            self.stall_here()
        if self.close_at[0] == name:
            self.drop()

    def drop(self):
        close = self.action.get("close")
        raise Dropped(reset=isinstance(close, dict) and bool(close.get("reset")))

    def send(self, answer):
        """Send everything, or raise Dropped."""
        if "raw" in self.action:
            self.phase("before_headers")
            self.connection.sendall(self.action["raw"].encode("latin-1"))
            self.drop()
        pieces = self.pieces(answer)
        headers = self.headers(answer)
        if "swell" in self.action:
            self.send_swollen(answer, b"".join(pieces), headers)
            return
        total = sum(len(piece) for piece in pieces)
        if "gzip" in self.action and self.accepts_gzip():
            pieces = [gzip.compress(b"".join(pieces), 1)]
            headers["Content-Encoding"] = "gzip"
            total = len(pieces[0])
        chunked = "chunked" in self.action or "drop_chunk" in self.action
        missing = 1 if self.action.get("no_end") else 0
        headers["Transfer-Encoding" if chunked else "Content-Length"] = "chunked" if chunked else str(total + missing)
        self.phase("before_headers")
        head = self.head(answer.status, headers)
        if chunked:
            self.connection.sendall(head)
            self.phase("after_headers")
            self.send_chunks(pieces, total)
        elif total < 65536 and not {"stall", "close", "no_end"} & set(self.action):
            self.connection.sendall(head + b"".join(pieces))
        else:
            self.connection.sendall(head)
            self.phase("after_headers")
            self.send_plain(pieces, total)
        if missing:
            self.drop()

    def send_swollen(self, answer, body, headers):
        """A body that is never held as a whole."""
        blocks = swollen(body, self.action["swell"])
        if "gzip" in self.action and self.accepts_gzip():
            blocks = compressed(blocks)
            headers["Content-Encoding"] = "gzip"
        headers["Transfer-Encoding"] = "chunked"
        self.connection.sendall(self.head(answer.status, headers))
        for chunk in chunks(blocks):
            self.connection.sendall(chunk)
        self.connection.sendall(b"0\r\n\r\n")

    def send_plain(self, pieces, total):
        at = 0
        for phase, after in sorted(self.interruptions(total), key=lambda each: each[1]):
            self.send_range(pieces, at, after)
            at = after
            phase()
        self.send_range(pieces, at, total)

    def send_range(self, pieces, start, stop):
        for piece in slices(pieces, start, stop):
            self.connection.sendall(piece)

    def interruptions(self, total):
        """(what to do, after how many bytes of the body)."""
        for (phase, after), act in ((self.stall_at, self.stall_here), (self.close_at, self.drop)):
            if phase == "mid_body":
                yield act, min(total // 2 if after is None else after, total)

    def stall_here(self):
        if not self.board.stall(self.rule, self.entry, self.connection):
            raise Dropped

    def send_chunks(self, pieces, total):
        size = self.action.get("chunked") or 65536
        size = size if not isinstance(size, bool) else 65536
        broken = self.action.get("drop_chunk")
        stop = total if broken is None else min(broken if not isinstance(broken, bool) else total // 2, total)
        interruptions = sorted(self.interruptions(total), key=lambda each: each[1])
        for start in range(0, stop, size):
            end = min(start + size, stop)
            while interruptions and interruptions[0][1] <= start:
                interruptions.pop(0)[0]()
            body = b"".join(slices(pieces, start, end))
            self.connection.sendall(b"%x\r\n%b\r\n" % (len(body), body))
        for act, _ in interruptions:
            act()
        if broken is not None:
            self.connection.sendall(b"ffff\r\nonly the beginning of a chunk")
            self.drop()
        if not self.action.get("no_end"):
            self.connection.sendall(b"0\r\n\r\n")

    def pieces(self, answer):
        if "garbage_base64" in self.action:
            return [base64.b64decode(self.action["garbage_base64"])]
        if "garbage" in self.action:
            return [self.action["garbage"].encode("utf-8", "surrogatepass")]
        shape(answer, self.action)
        pretty = self.request.query_lower.get("prettyprint", "true").lower() != "false" and self.entry.kind != "token"
        return answer.pieces(pretty)

    def headers(self, answer):
        headers = {"Content-Type": "application/json; charset=UTF-8", "Vary": "Origin", "Server": "ESF",
                   "Cache-Control": "private", "Date": email.utils.formatdate(usegmt=True)}
        headers.update(answer.headers)
        headers.update(self.action.get("headers", {}))
        if "redirect" in self.action:
            answer.status, headers["Location"] = 302, self.action["redirect"]
        if "huge_header" in self.action:
            headers["X-Huge"] = "h" * int(self.action["huge_header"])
        return headers

    def accepts_gzip(self):
        """The service compresses only for a User-Agent that says gzip as well."""
        wanted = self.request.headers
        says = "gzip" in wanted.get("Accept-Encoding", "") and "gzip" in wanted.get("User-Agent", "")
        return says or self.action["gzip"] == "force"

    def head(self, status, headers):
        reason = {200: "OK", 302: "Found"}.get(status, "Error")
        lines = [f"HTTP/1.1 {status} {reason}"] + [f"{name}: {value}" for name, value in headers.items()]
        self.entry.facts["status"] = status
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def cut(connection, reset):
    """End a connection without another byte; with reset as an RST instead of a FIN."""
    try:
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # close() alone waits for the other references to the socket; this one is the last that counts.
            socket.socket(fileno=connection.detach()).close()
        else:
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
