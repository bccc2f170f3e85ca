"""A server without hosts: what a caller of the proxy needs to try the transport, the tasks and the events."""

import json
import os
import shutil
import socket
import tempfile
import threading

from support import http1
from support.checks import expect, same
from support.server import Server
from xen.caller import Caller

# `file` remotes are refused unless the administrator allows them.
ARGUMENTS = ["--xo-allow-file-remotes"]


SCHEDULE = "0a1b2c3d-0000-4000-8000-00000000abcd"


class SilentHost:
    """A host that takes connections and never says a word: jobs that need it wait."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.taken = []
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        while True:
            try:
                self.taken.append(self.socket.accept()[0])
            except OSError:
                return

    def close(self):
        self.socket.close()
        for connection in self.taken:
            connection.close()

    @property
    def xapi(self):
        return {"url": "https://127.0.0.1:%d" % self.socket.getsockname()[1], "allowUnauthorized": True,
                "credentials": {"username": "root", "password": "secret"}}


class World:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="cairn-orchestra-")
        self.server = Server(ARGUMENTS, folder=os.path.join(self.folder, "server"))
        self.remote_folder = os.path.join(self.folder, "remote")
        os.makedirs(self.remote_folder)
        self.remote = {"id": "remote-1", "name": "One", "url": "file://" + self.remote_folder}
        self.host = SilentHost()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.host.close()
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def token_path(self):
        return os.path.join(self.server.state, "xo-token")

    @property
    def token(self):
        with open(self.token_path) as file:
            return file.read().strip()

    @property
    def caller(self):
        return Caller(self.server.address, self.token)

    def waiting_job(self, job, **more):
        """Parameters of a job that waits for the silent host."""
        return {
            "job": {"id": job, "type": "backup", "name": job, "mode": "full", "vms": {"id": "vm-1"},
                    "remotes": {"id": "remote-1"}, "settings": {"": {"exportRetention": 1}}},
            "remotes": {"remote-1": self.remote}, "schedule": {"id": "sch-1"}, "xapis": {"pool-1": self.host.xapi},
            "recordToXapi": {"vm-1": "pool-1"}, "streamLogs": True, **more}

    def configuration_job(self, job, text='{"xo":1}', **more):
        """Parameters of a job that needs no host: a backup of Xen Orchestra's own configuration."""
        return {
            "job": {"id": job, "type": "metadataBackup", "name": job, "remotes": {"id": "remote-1"}, "xoMetadata": text,
                    "settings": {SCHEDULE: {"retentionXoMetadata": 2}}},
            "remotes": {"remote-1": self.remote}, "schedule": {"id": SCHEDULE, "name": "nightly"}, "streamLogs": True,
            **more}

    # The wire ------------------------------------------------------------------------------------------------------

    def raw(self, body, method="POST", target="/api/v1", cookie=None, headers=()):
        """One request as it is; gives the response."""
        if isinstance(body, str):
            body = body.encode()
        return http1.request(self.server.address, method, target, self.fields(body, cookie, headers), body)

    def fields(self, body, cookie=None, headers=()):
        fields = [("Host", "localhost"), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        cookie = f"authenticationToken={self.token}" if cookie is None else cookie
        return fields + ([("Cookie", cookie)] if cookie else []) + list(headers)

    def call(self, method, params=None, identity=0):
        """A call over the raw wire; gives the parsed lines."""
        request = {"id": identity, "jsonrpc": "2.0", "method": method}
        if params is not None:
            request["params"] = params
        response = self.raw(json.dumps(request))
        same(response.status, 200, f"status of {method}")
        same(response.header("content-type"), "application/json", "content type")
        expect(response.header("content-encoding") is None, "the answer is compressed")
        pieces = response.body.split(b"\n")
        if len(pieces) > 1:
            same(pieces.pop(), b"", "what follows the last line")
        return [json.loads(piece) for piece in pieces]

    def error(self, method, params=None):
        lines = self.call(method, params)
        same(len(lines), 1, f"lines of an error of {method}")
        expect("error" in lines[0] and "result" not in lines[0], f"{method} {params} is no error: {lines[0]}")
        return lines[0]["error"]

    def scalar(self, method, params=None):
        lines = self.call(method, params)
        same(len(lines), 1, f"lines of {method}")
        expect("error" not in lines[0], f"{method}: {lines[0]}")
        expect(lines[0].get("result") is not None, f"{method} answers null")
        return lines[0]["result"]

    def items(self, method, params=None):
        lines = self.call(method, params)
        same(lines[0].get("result"), {"$responseType": "ndjson"}, f"header of {method}: {lines[0]}")
        return lines[1:]


class OpenAnswer:
    """An answer that is read while it comes."""

    def __init__(self, world, method, params, headers=()):
        body = json.dumps({"id": 1, "jsonrpc": "2.0", "method": method, "params": params}).encode()
        self.socket = http1.tls(world.server.address)
        self.socket.sendall(http1.head("POST", "/api/v1", world.fields(body, headers=headers)) + body)
        self.reader = http1.Reader(self.socket)
        self.status, fields = self.reader.head()
        self.headers = dict(fields)

    def piece(self):
        """The next piece of the body as the server framed it; empty at the end."""
        while b"\r\n" not in self.reader.buffer:
            self.reader.more()
        line, self.reader.buffer = self.reader.buffer.split(b"\r\n", 1)
        return self.reader.exactly(int(line, 16) + 2)[:-2]

    def close(self):
        self.socket.close()
