"""Starts and stops the built program for a test."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from . import http1

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))


def program():
    """The built program: CAIRN, or the newest of the debug and release builds."""
    given = os.environ.get("CAIRN")
    if given:
        return given
    found = [os.path.join(ROOT, ".build", kind, "cairn") for kind in ("debug", "release")]
    found = [path for path in found if os.path.exists(path)]
    if not found:
        raise SystemExit("build the program first: make build")
    return max(found, key=os.path.getmtime)


class Server:
    """`cairn serve` on a free loopback port, with a state folder of its own."""

    def __init__(self, arguments=(), folder=None, environment=None):
        self.environment = environment or {}
        self.folder = folder or tempfile.mkdtemp(prefix="cairn-test-")
        self.owns_folder = folder is None
        self.state = os.path.join(self.folder, "state")
        self.arguments = list(arguments)
        self.process = None
        self.log = []
        self.start()

    def start(self, address="127.0.0.1:0"):
        environment = dict(os.environ, TZ="UTC", **self.environment)
        self.process = subprocess.Popen(
            [program(), "serve", "--state", self.state, "--listen", address] + self.arguments,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
        ready = threading.Event()

        def read():
            for line in self.process.stdout:
                self.log.append(line.rstrip("\n"))
                match = re.search(r"listening on https://(\S+):(\d+) fingerprint (\S+)", line)
                if match:
                    self.address = ("127.0.0.1", int(match.group(2)))
                    self.fingerprint = match.group(3)
                    ready.set()
            ready.set()

        self.reader = threading.Thread(target=read, daemon=True)
        self.reader.start()
        if not ready.wait(60) or self.process.poll() is not None:
            raise RuntimeError("the server did not start:\n" + "\n".join(self.log[-30:]))

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        if self.owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def owner(self, *arguments, check=True, **options):
        """Runs an owner's command against this server."""
        result = subprocess.run(
            [program(), *arguments, "--state", self.state], capture_output=True, text=True, **options)
        if check and result.returncode != 0:
            raise RuntimeError(f"cairn {' '.join(arguments)}: {result.stderr}{result.stdout}")
        return result

    def datastore(self, name):
        """Makes an empty datastore and gives its folder.

        Without the 65,536 folders for chunks, which `datastore create` makes for the sake of a real PBS: that takes
        seconds, and Cairn makes what is missing.
        """
        path = os.path.join(self.folder, "stores", name)
        os.makedirs(os.path.join(path, ".chunks"))
        os.chmod(path, 0o755)
        os.chmod(os.path.join(path, ".chunks"), 0o750)
        with open(os.path.join(path, ".lock"), "w"):
            pass
        self.owner("datastore", "create", name, path, "--reuse")
        return path

    def api(self, method, path, authorization=None, cookie=None, csrf=None, json_body=None):
        """A REST call; gives `data` of the answer or raises with its text."""
        headers = [("Host", "localhost"), ("Connection", "close")]
        if authorization:
            headers.append(("Authorization", authorization))
        if cookie:
            headers.append(("Cookie", "PBSAuthCookie=" + cookie))
        if csrf:
            headers.append(("CSRFPreventionToken", csrf))
        body = b""
        if json_body is not None:
            body = json.dumps(json_body).encode()
            headers.append(("Content-Type", "application/json"))
        headers.append(("Content-Length", str(len(body))))
        response = http1.request(self.address, method, "/api2/json" + path, headers, body)
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {response.body[:300]!r}")
        return json.loads(response.body).get("data")


def wait_for(condition, seconds=10):
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if condition():
            return True
        time.sleep(0.05)
    return False
