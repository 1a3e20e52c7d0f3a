"""What a run prints and writes: Markdown tables, without secrets and without the names of project and account."""
import re
import sys

SECRET = re.compile(r"-----BEGIN[A-Z ]*|ya29\.[\w.-]+|eyJ[\w-]{8,}\.eyJ[\w-]{8,}[\w.-]*")
REMOVED = "[a secret, removed]"


class Report:
    """Rows as they come: to standard output, and at the end to a file."""

    def __init__(self, path=None, output=sys.stdout):
        self.path, self.output = path, output
        self.lines = []
        self.service = None
        self.counts = {}
        self.secrets_found = 0

    def clean(self, text):
        """The text without a secret; project and account become words."""
        before = text
        if self.service:
            for secret in self.service.key.secrets() + self.service.tokens:
                text = text.replace(secret, REMOVED)
        text = SECRET.sub(REMOVED, text)
        if text != before:
            self.secrets_found += 1
        if self.service:
            text = text.replace(self.service.key.email, "ACCOUNT")
            text = re.sub(rf"(?<![\w-]){re.escape(self.service.project)}(?![\w-])", "PROJECT", text)
        return text

    def say(self, text=""):
        line = self.clean(text)
        self.lines.append(line)
        print(line, file=self.output, flush=True)

    def heading(self, title, *columns):
        self.say()
        self.say(f"## {title}")
        self.say()
        self.say("| " + " | ".join(columns) + " |")
        self.say("|" + "---|" * len(columns))

    def row(self, status, *cells):
        """A row of the table, whose status is counted."""
        self.counts[status] = self.counts.get(status, 0) + 1
        self.say("| " + " | ".join(cell_of(cell) for cell in cells) + f" | {status} |")

    def write(self):
        if self.path:
            with open(self.path, "w", encoding="utf-8") as file:
                file.write("\n".join(self.lines) + "\n")


def cell_of(text):
    """One line that ends no cell of a table, and no more than 1,500 characters."""
    text = re.sub(r"\s+", " ", text).strip().replace("|", "\\|")
    return text if len(text) <= 1500 else text[:1500] + "…"
