"""Whether results agree: what must be so at any speed."""
import sys


class Checks:
    """As TAP lines in the quick variant; else a difference ends the run, since what follows would be worth nothing."""

    def __init__(self, tap):
        self.tap = tap
        self.count = self.failed = 0

    def that(self, good, what):
        self.count += 1
        self.failed += not good
        if self.tap:
            print(f"{'ok' if good else 'not ok'} {self.count} - {what}", flush=True)
        elif not good:
            sys.exit(f"bench: not so: {what}")

    def equal(self, found, wanted, what):
        self.that(found == wanted, what if found == wanted else f"{what}: {found!r} and not {wanted!r}")

    def finish(self):
        if self.tap:
            print(f"1..{self.count}")
            sys.exit(1 if self.failed else 0)
