#!/usr/bin/env python3
"""Look at a page in Chromium, without a window: over a pipe, so that nothing else is needed.

    browser.py JOB.json

JOB is {"page": path, "views": [view...]}, and may have "bypass_csp": true.  A view is
{"width": pixels, "scheme": "light" or "dark"}, and may have

    "script"      JavaScript, whose value (JSON) is the view's "value"
    "hover"       selector of an element that the mouse is moved to, before the script
    "picture"     path of a PNG of the page, "height" of its pixels from the top

Prints a list: for each view its value, "requests" (what the browser wanted besides the
page, also what the page's policy forbids), "served" (what it got), "complaints" (errors,
and what the page wrote to the console), "loaded" (ms), and "busy" (ms that the
page's thread had a processor so far; a page usually has a process of its own).
The page is served on a loopback port, as a web server does.

    browser.py --find     prints the browser's program, or fails
"""

import base64
import contextlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"
).split()
TIMEOUT = 60


def find():
    """The browser's program; None: there is none."""
    return os.environ.get("CONTRATOS_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A process of the browser, with an empty profile, and one tab."""

    def __init__(self, profile):
        program = find()
        if program is None:
            sys.exit("no browser: there is none of " + ", ".join(NAMES))
        read, self.to = os.pipe()
        self.came_from, write = os.pipe()
        # the protocol's file descriptors are 3 and 4
        command = ["sh", "-c", f'exec "$@" 3<&{read} 4>&{write}', "-", program]
        command += [*OPTIONS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen(
            command, pass_fds=(read, write), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        os.close(read)
        os.close(write)
        # whoever waits for it waits no longer than this
        self.watchdog = threading.Timer(TIMEOUT, self.process.kill)
        self.watchdog.start()
        self.buffer, self.number, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Performance.enable", timeDomain="threadTicks")

    def receive(self):
        while b"\0" not in self.buffer:
            came = os.read(self.came_from, 1 << 20)
            if not came:
                self.log.seek(0)
                sys.exit("the browser has ended: " + self.log.read().decode(errors="replace")[-2000:])
            self.buffer += came
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, url):
        """Returns when the page is loaded."""
        self.events = []
        self.call("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())

    def evaluate(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in result:
            sys.exit(f"the script failed: {result['exceptionDetails']}")
        return result["result"].get("value")

    def busy(self):
        """Milliseconds of a processor that the page's thread has had so far."""
        metrics = {m["name"]: m["value"] for m in self.call("Performance.getMetrics")["metrics"]}
        return 1000 * metrics["TaskDuration"]

    def close(self):
        self.session = None
        self.call("Browser.close")
        self.process.wait()
        self.watchdog.cancel()


def complaint(event):
    """What an event complains of; None: of nothing."""
    method, params = event.get("method"), event.get("params", {})
    if method == "Runtime.exceptionThrown":
        return params["exceptionDetails"]["text"]
    if method == "Runtime.consoleAPICalled":
        return "console: " + json.dumps(params["args"])
    if method == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
        return params["entry"]["text"]
    return None


def look(browser, url, asked, bypassed, view):
    """One view of the page, as described above."""
    del asked[:]
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=view["width"], height=800, deviceScaleFactor=1, mobile=False
    )
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": view["scheme"]}])
    browser.open(url)
    busy = browser.busy()
    if "hover" in view:
        x, y = browser.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(view['hover'])}); e.scrollIntoView();"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    seen = {"value": browser.evaluate(view["script"]) if "script" in view else None, "busy": busy}
    seen["loaded"] = browser.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    if "picture" in view:
        height = browser.call("Page.getLayoutMetrics")["cssContentSize"]["height"]
        clip = {"x": 0, "y": 0, "width": view["width"], "height": min(height, view["height"]), "scale": 1}
        picture = browser.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        with open(view["picture"], "wb") as file:
            file.write(base64.b64decode(picture["data"]))
    wanted = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    # its icon is the browser's own wish, which the page's policy denies
    seen["requests"] = [u for u in wanted if u != url and not (bypassed and u.endswith("/favicon.ico"))]
    seen["served"] = [path for path in asked if path not in ("/page.html", "/favicon.ico")]
    seen["complaints"] = [c for c in map(complaint, browser.events) if c is not None]
    return seen


@contextlib.contextmanager
def served(page, asked):
    """The page's address; what is asked for is added to the list."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            if self.path == "/page.html":
                self.wfile.write(page)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/page.html"
    server.shutdown()


def main():
    if sys.argv[1] == "--find":
        sys.exit(print(find()) if find() else "no browser: there is none of " + ", ".join(NAMES))
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    with open(job["page"], "rb") as file:
        page = file.read()
    asked = []
    with served(page, asked) as url, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        if job.get("bypass_csp"):
            browser.call("Page.setBypassCSP", enabled=True)
        print(json.dumps([look(browser, url, asked, job.get("bypass_csp"), view) for view in job["views"]]))
        browser.close()


if __name__ == "__main__":
    main()
