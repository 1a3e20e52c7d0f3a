"""The log of requests, and the rules by which single requests are made to go wrong.

A rule is a match (which request) and an action (what happens to it).  A stall ends when its rule is released; tests
order things by waiting for what the log says, never by the clock.
"""
import itertools
import select
import socket
import threading
import time

MATCH_KEYS = {"kind", "nth", "start_index", "job", "table", "account", "times"}
ACTION_KEYS = {
    "status", "reason", "message", "body", "headers", "work", "stall", "close", "truncate_rows", "page_bytes",
    "drop_chunk", "chunked", "delay_ms", "garbage", "garbage_base64", "no_rows_key", "rows_first", "envelope",
    "extra_rows", "lost_answer", "gzip", "redirect", "huge_header", "expire_token", "expires_in", "job_error",
    "job_pending", "insert_state", "no_end", "swell", "bill_failed", "hide_cost",
    "raw",
}


class Entry:
    """One request in the log.  states: seen, stalled, closed (by the client, while stalled), answered."""

    def __init__(self, seq, kind, facts):
        self.seq = seq
        self.kind = kind
        self.facts = facts
        self.states = {"seen"}
        self.rule = None

    def as_json(self):
        return dict(self.facts, seq=self.seq, kind=self.kind, rule=self.rule, states=sorted(self.states))


class Rule:
    """One rule: fires on the nth request that matches, `times` times (0: always)."""

    def __init__(self, number, match, action):
        self.number = number
        self.match = match
        self.action = dict(action, _rule=number)
        self.nth = match.get("nth", 1)
        self.times = match.get("times", 1)
        self.matched = self.fired = 0
        self.released = threading.Event()
        self.sleepers = []  # sockets that wake the stalled requests

    def fits(self, entry):
        wanted = self.match.get("kind", "any")
        return wanted in ("any", entry.kind) and all(
            self.match[name] == entry.facts.get(name) for name in ("start_index", "job", "table", "account")
            if name in self.match
        )

    def as_json(self):
        action = {key: value for key, value in self.action.items() if key != "_rule"}
        return {"id": self.number, "match": self.match, "action": action, "fired": self.fired,
                "released": self.released.is_set()}


class Board:
    """Log and rules together; `changed` is notified at every step of a request."""

    def __init__(self):
        self.changed = threading.Condition()
        self.seq = itertools.count(1)
        self.numbers = itertools.count(1)
        self.entries = []
        self.rules = []

    def reset(self):
        """Forget log and rules; whoever is stalled goes on."""
        self.release()
        with self.changed:
            self.entries, self.rules = [], []
            self.seq = itertools.count(1)
            self.changed.notify_all()

    # -- the log -------------------------------------------------------------------------------------------------

    def begin(self, kind, **facts):
        with self.changed:
            entry = Entry(next(self.seq), kind, facts)
            self.entries.append(entry)
            self.changed.notify_all()
        return entry

    def mark(self, entry, state, **facts):
        with self.changed:
            entry.states.add(state)
            entry.facts.update(facts)
            self.changed.notify_all()

    def log(self, kind=None):
        with self.changed:
            return [entry.as_json() for entry in self.entries if kind in (None, entry.kind)]

    def wait(self, wanted, timeout):
        """The log entry that a test waits for, or None when the deadline passes.

        wanted has "state" and either "rule" (any request it fired on) or "kind" and "nth" (the nth since reset).
        """
        state, nth = wanted.get("state", "seen"), wanted.get("nth", 1)

        def found():
            entries = [entry for entry in self.entries
                       if entry.rule == wanted["rule"]] if "rule" in wanted else [
                       entry for entry in self.entries if wanted.get("kind", "any") in ("any", entry.kind)]
            if "rule" not in wanted:
                entries = entries[nth - 1 : nth]
            return next((entry for entry in entries if state in entry.states), None)

        deadline = time.monotonic() + timeout
        with self.changed:
            entry = found()
            while entry is None and time.monotonic() < deadline:
                self.changed.wait(deadline - time.monotonic())
                entry = found()
            return entry.as_json() if entry else None

    # -- the rules -----------------------------------------------------------------------------------------------

    def add_rule(self, match, action):
        unknown = (set(match) - MATCH_KEYS) | (set(action) - ACTION_KEYS)
        if unknown:
            raise ValueError(f"unknown key in rule: {', '.join(sorted(unknown))}")
        with self.changed:
            rule = Rule(next(self.numbers), match, action)
            self.rules.append(rule)
            return rule

    def forget_rules(self):
        with self.changed:
            self.rules = []

    def fire(self, entry):
        """The rule that this request falls under, or None.  Every rule counts every request it matches."""
        with self.changed:
            chosen = None
            for rule in self.rules:
                if not rule.fits(entry):
                    continue
                rule.matched += 1
                if chosen is None and rule.matched >= rule.nth and (not rule.times or rule.fired < rule.times):
                    chosen = rule
            if chosen:
                chosen.fired += 1
                entry.rule = chosen.number
                self.changed.notify_all()
            return chosen

    def release(self, number=None):
        """Let the stalled requests of one rule, or of all, go on; later ones do not stall, nor later jobs wait."""
        with self.changed:
            for rule in self.rules:
                if number in (None, rule.number):
                    rule.released.set()
                    rule.action.pop("job_pending", None)
                    for sleeper in rule.sleepers:
                        sleeper.send(b"x")

    def stall(self, rule, entry, connection):
        """Sleep until released, noting when the client closes the connection.  True while it is still open."""
        near, far = socket.socketpair()
        with self.changed:
            if rule.released.is_set():
                near.close()
                far.close()
                return True
            rule.sleepers.append(near)
        self.mark(entry, "stalled")
        try:
            return self._sleep(far, entry, connection)
        finally:
            with self.changed:
                rule.sleepers.remove(near)
            near.close()
            far.close()

    def _sleep(self, wake, entry, connection):
        poll, is_open = select.poll(), True
        poll.register(wake, select.POLLIN)
        poll.register(connection, select.POLLIN)
        while True:
            ready = {number for number, _ in poll.poll()}
            if wake.fileno() in ready:
                return is_open
            if not still_open(connection):
                is_open = False
                self.mark(entry, "closed")
            # Closed, or bytes nobody reads now: in both cases there is nothing more to hear.
            poll.unregister(connection)


def still_open(connection):
    """False when the peer has closed (or reset) a connection that has something to read."""
    connection.setblocking(False)
    try:
        # A TLS client says goodbye in a record of its own, so a raw peek would not see the end.
        if hasattr(connection, "pending"):
            return bool(connection.recv(1))
        return bool(connection.recv(1, socket.MSG_PEEK))
    except (BlockingIOError, InterruptedError):
        return True
    except OSError as problem:
        return type(problem).__name__ in ("SSLWantReadError", "SSLWantWriteError")
    finally:
        connection.setblocking(True)
