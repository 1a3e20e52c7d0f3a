"""Results as bytes: every row is encoded once, and a page is a slice of one buffer.

That keeps the stand-in from being the bottleneck of a load: serving a page costs a small JSON head and a memoryview.
"""
import json
import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict

from values import Wire
from wire import encoder

CACHE_BYTES = 600_000_000


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


class Result:
    """The encoded rows of one finished query."""

    def __init__(self, plan, timestamps):
        self.buffer, self.ends = bytearray(), array("Q")
        encoders = [encoder(field, timestamps) for field in plan.fields]
        for row in plan.rows():
            cells = ",".join(
                [
                    '{"v":null}' if value is None else '{"v":' + encode(value) + "}"
                    if type(value) is not Wire else '{"v":' + value.json + "}"
                    for encode, value in zip(encoders, row)
                ]
            )
            self.buffer += ('{"f":[' + cells + "]},").encode("utf-8", "surrogatepass")
            self.ends.append(len(self.buffer))

    @property
    def total(self):
        return len(self.ends)

    def slice(self, start, count, max_bytes):
        """Rows from start, at most count and at most max_bytes (but at least one): how many, and their JSON."""
        first = self.ends[start - 1] if start else 0
        stop = min(start + count, bisect_right(self.ends, first + max_bytes))
        stop = max(stop, min(start + min(count, 1), self.total))
        if stop <= start:
            return 0, memoryview(b"")
        # The last byte is the comma between this row and the next.
        return stop - start, memoryview(self.buffer)[first : self.ends[stop - 1] - 1]


class ResultCache:
    """Encoded results, kept until their bytes exceed a bound; the least recently used goes first."""

    def __init__(self):
        self.lock = threading.Lock()
        self.results = OrderedDict()

    def get(self, key, plan, timestamps):
        # One at a time: a second request for the same pages must wait for the first, not encode them again.
        with self.lock:
            key = (*key, timestamps)
            if key not in self.results:
                self.results[key] = Result(plan, timestamps)
            self.results.move_to_end(key)
            while len(self.results) > 1 and sum(len(each.buffer) for each in self.results.values()) > CACHE_BYTES:
                self.results.popitem(last=False)
            return self.results[key]


class Answer:
    """An HTTP answer whose JSON is a dict, in which the value of "rows" may be a slice of encoded rows."""

    def __init__(self, fields, status=200, headers=None, rows=None):
        self.fields = fields
        self.status = status
        self.headers = headers or {}
        self.rows = rows  # JSON of the rows without the brackets; placed where fields has the key "rows"

    def mask(self, names):
        """Keep the top-level fields that the query parameter `fields` asks for."""
        wanted = {name.strip().split("(")[0].split("/")[0] for name in names.split(",")}
        if "*" not in wanted:
            self.fields = {key: value for key, value in self.fields.items() if key in wanted}

    def pieces(self, pretty=False):
        """The body as a list of buffers, big ones uncopied."""
        out = [b"{"]
        for number, (key, value) in enumerate(self.fields.items()):
            name = (b"," if number else b"") + compact(key) + b":"
            if key == "rows" and self.rows is not None:
                out += [name + b"[", self.rows, b"]"]
            else:
                out.append(name + compact(value))
        out.append(b"}")
        if pretty:
            text = json.dumps(json.loads(b"".join(out)), indent=2, ensure_ascii=False)
            return [text.encode("utf-8", "surrogatepass") + b"\n"]
        return out if self.rows is not None and len(self.rows) > 65536 else [b"".join(out)]


class RawAnswer:
    """An answer that is not JSON, or not well-formed."""

    def __init__(self, body, status=200, headers=None):
        self.body = body
        self.status = status
        self.headers = headers or {}

    def pieces(self, pretty=False):
        return [self.body]
