"""Runs one case: its preconditions, then its steps, until the first unmet expectation."""

import base64
import hashlib
import hmac
import json
import re
import struct
import time
import urllib.parse

from support import http1, values
from support.session import Session, upgrade

from . import match
from .world import quote


class Failed(Exception):
    pass


def totp(secret, steps):
    key = base64.b32decode(secret)
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30 + steps), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return "%06d" % ((struct.unpack(">I", digest[offset:offset + 4])[0] & 0x7FFFFFFF) % 1000000)


class Case:
    def __init__(self, world, description):
        self.world = world
        self.case = description
        self.saved = {}
        self.sessions = {}

    # Text

    def fill(self, text):
        if not isinstance(text, str):
            return text
        return re.sub(r"\$\{([^}]*)\}", lambda m: self.variable(m.group(1)), text)

    def variable(self, name):
        kind, _, rest = name.partition(":")
        if kind == "enc":
            return quote(self.variable(rest))
        if kind == "ticket":
            return self.world.login(rest)[0]
        if kind == "csrf":
            return self.world.login(rest)[1]
        if kind == "secret":
            return self.world.secrets[rest]
        if kind == "id":
            return self.world.id(rest)
        if kind == "totp":
            secret, _, steps = rest.partition(":")
            return totp(self.variable(secret) if secret in self.saved else secret, int(steps or 0))
        if kind.startswith("now"):
            return str(int(time.time()) + int(kind[3:] or 0))
        if kind in self.saved:
            return str(self.saved[kind])
        raise Failed(f"unknown variable {name}")

    def deep(self, value):
        if isinstance(value, dict):
            return {key: self.deep(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.deep(item) for item in value]
        return self.fill(value)

    # Requests

    def query(self, step):
        pairs = step.get("query") or {}
        pairs = list(pairs.items()) if isinstance(pairs, dict) else pairs
        parts = []
        for name, value in pairs:
            for item in value if isinstance(value, list) else [value]:
                text = str(item).lower() if isinstance(item, bool) else self.fill(str(item))
                parts.append(f"{quote(name)}={quote(text)}")
        text = "&".join(parts)
        if step.get("raw_query"):
            raw = self.fill(step["raw_query"])
            text = f"{text}&{raw}" if text else raw
        return text

    def target(self, step, default=None):
        path = self.fill(step.get("path", default))
        query = self.query(step)
        return f"{path}?{query}" if query else path

    def payload(self, step):
        """(body, content-type or None)."""
        if "json" in step:
            return json.dumps(self.deep(step["json"])).encode(), "application/json"
        if "form" in step:
            pairs = step["form"].items() if isinstance(step["form"], dict) else step["form"]
            text = "&".join(f"{quote(k)}={quote(self.fill(str(v)))}" for k, v in pairs)
            return text.encode(), "application/x-www-form-urlencoded"
        return values.build(step.get("body"), self.fill), None

    def merged(self, defaults, step):
        given = {name.lower(): value for name, value in step.get("headers", {}).items()}
        headers = [(n, v) for n, v in defaults if n.lower() not in given]
        headers += [(n, self.fill(v)) for n, v in step.get("headers", {}).items() if v is not None]
        return headers

    def send_http(self, step):
        body, content_type = self.payload(step)
        method = step["method"]
        defaults = [("Host", "localhost"), ("Connection", "close"), ("Content-Length", str(len(body)))]
        defaults += self.world.credentials(step.get("as"), method, step.get("csrf", True))
        if content_type:
            defaults.append(("Content-Type", content_type))
        return http1.request(self.world.server.address, method, self.target(step), self.merged(defaults, step), body)

    def open_once(self, step):
        protocol = {"backup": "proxmox-backup-protocol-v1", "reader": "proxmox-backup-reader-protocol-v1"}[
            step["protocol"]]
        wanted = step.get("upgrade", protocol)
        defaults = [("Host", "localhost"), ("Connection", "upgrade")]
        if wanted is not None:
            defaults.append(("Upgrade", wanted))
        defaults += self.world.credentials(step.get("as"), "GET")
        target = self.target(step, "/api2/json/" + step["protocol"])
        sock = http1.tls(self.world.server.address)
        response, session = upgrade(sock, http1.head("GET", target, self.merged(defaults, step)), step.get("split"))
        if session is None:
            sock.close()
        elif "session" in step:
            self.sessions[step["session"]] = session
        return response, session

    def call_start(self, session, step):
        body, content_type = self.payload(step)
        defaults = self.world.credentials(step.get("as"), step["method"])
        if content_type:
            defaults.append(("content-type", content_type))
        return session.start(step["method"], self.target(step), self.merged(defaults, step), body)

    # Steps

    def check(self, step, response, session=None):
        found = match.complaints(self.deep(step.get("expect", {})), response, session)
        if found:
            raise Failed("; ".join(found))

    def save(self, step, response):
        for name, path in step.get("save", {}).items():
            value = json.loads(response.body)
            for element in path:
                if isinstance(element, dict):
                    fitting = [item for item in value if match.matches(self.deep(element), item)]
                    if not fitting:
                        raise Failed(f"nothing like {element} to save as {name}")
                    value = fitting[0]
                else:
                    value = value[element]
            self.saved[name] = value

    def repeated(self, seconds, action):
        limit = time.monotonic() + seconds
        while True:
            try:
                return action()
            except Failed:
                if time.monotonic() >= limit:
                    raise
                time.sleep(0.1)

    def do_http(self, step):
        def once():
            response = self.send_http(step)
            self.check(step, response)
            self.save(step, response)

        self.repeated(step.get("until_s", 0), once)

    def do_open(self, step):
        def once():
            response, session = self.open_once(step)
            try:
                self.check(step, response, session)
            except Failed:
                if session:
                    session.disconnect("close")
                raise

        self.repeated(step.get("retry_s", 0), once)

    def do_h2(self, step):
        self.sessions[step["session"]] = Session(http1.tls(self.world.server.address, alpn=step.get("alpn")))

    def do_call(self, step):
        session = self.sessions[step["session"]]
        if session.closed is not None:
            self.check(step, http1.Response("closed", [], b""))
            return
        response = session.wait([self.call_start(session, step)])[0]
        self.check(step, response)
        self.save(step, response)

    def do_calls(self, step):
        session = self.sessions[step["session"]]
        session.wait_settings()
        streams = []
        for call in step["calls"]:
            streams.append(self.call_start(session, call))
            session.push_bodies()
        for call, response in zip(step["calls"], session.wait(streams)):
            self.check(call, response)

    def do_disconnect(self, step):
        self.sessions[step["session"]].disconnect(step["how"])

    def do_closed(self, step):
        if not self.sessions[step["session"]].wait_closed(step["within_s"]):
            raise Failed(f"connection still open after {step['within_s']} s")

    def do_task(self, step):
        limit = time.monotonic() + step.get("within_s", 60)
        path = f"/api2/json/nodes/localhost/tasks/{quote(self.fill(step['upid']))}/status"
        while True:
            response = self.send_http({"method": "GET", "path": path, "as": "admin"})
            data = json.loads(response.body)["data"] if response.status == 200 else {}
            if data.get("status") == "stopped":
                break
            if time.monotonic() > limit:
                raise Failed(f"task still running: {response.body[:200]!r}")
            time.sleep(0.1)
        wanted = step.get("expect", {}).get("exitstatus", ".*")
        if not match.pattern(wanted, data.get("exitstatus", "")):
            raise Failed(f"exit status {wanted!r} expected, got {data.get('exitstatus')!r}")

    def do_sleep(self, step):
        time.sleep(step["seconds"])

    def do_forge(self, step):
        key = self.world.ticket_key()
        text = f"PBS:{step['userid']}:{int(time.time()) + step['age']:08X}"
        signature = base64.b64encode(key.sign(text.encode())).decode().rstrip("=")
        self.saved[step["save_as"]] = f"{text}::{signature}"

    def do_raw(self, step):
        import socket
        import ssl

        address = self.world.server.address
        expect = step.get("expect", {})
        try:
            if step.get("tls", True):
                sock = http1.tls(address, step.get("alpn"), step.get("tls_version"))
            else:
                sock = socket.create_connection(address, timeout=60)
        except (ssl.SSLError, ConnectionError) as error:
            if expect.get("handshake") == "refused":
                return
            raise Failed(f"handshake failed: {error}") from error
        with sock:
            if expect.get("handshake") == "refused":
                raise Failed("handshake was accepted")
            if "alpn_selected" in expect and sock.selected_alpn_protocol() != expect["alpn_selected"]:
                raise Failed(f"ALPN selected {sock.selected_alpn_protocol()}, {expect['alpn_selected']} expected")
            for piece in step.get("send", []):
                sock.sendall(values.build(piece, self.fill))
            reader = http1.Reader(sock)
            for answer in step.get("answers", []):
                try:
                    response = reader.response(answer["method"], time.monotonic())
                except http1.Closed:
                    response = http1.Response("closed", [], b"")
                self.check(answer, response)

    # Preconditions

    def prepare(self, entry):
        if "namespace" in entry:
            self.admin("POST", entry["namespace"]["store"], "namespace", {"name": entry["namespace"]["ns"]})
        else:
            self.snapshot(entry["snapshot"])

    def admin(self, method, store, endpoint, parameters):
        step = {"method": method, "path": f"/api2/json/admin/datastore/{store}/{endpoint}", "as": "admin",
                "json": parameters}

        def once():
            response = self.send_http(step)
            if response.status != 200:
                raise Failed(f"precondition {endpoint}: {response.status} {response.body[:200]!r}")

        self.repeated(4, once)

    def snapshot(self, wanted):
        kind = wanted.get("type", "host")
        query = {"store": wanted["store"], "backup-type": kind, "backup-id": wanted["id"],
                 "backup-time": wanted["time"]}
        if wanted.get("ns"):
            query["ns"] = wanted["ns"]

        def open_session():
            response, session = self.open_once({"protocol": "backup", "query": query, "as": wanted["as"]})
            if session is None:
                raise Failed(f"precondition snapshot: {response.status} {response.body[:200]!r}")
            return session

        session = self.repeated(4, open_session)

        def call(method, path, parameters=None, body=b"", json_body=None):
            target = path + ("?" + urllib.parse.urlencode(parameters) if parameters else "")
            headers = [("content-type", "application/json")] if json_body is not None else []
            data = json.dumps(json_body).encode() if json_body is not None else body
            response = session.call(method, target, headers, data)
            if response.status != 200:
                raise Failed(f"precondition {path}: {response.status} {response.body[:200]!r}")
            return json.loads(response.body)["data"]

        files = []
        for file in wanted["files"]:
            files.append(self.upload(call, file))
        manifest = {"backup-type": kind, "backup-id": wanted["id"], "backup-time": wanted["time"], "files": files,
                    "unprotected": {}, "signature": None}
        data = values.blob(json.dumps(manifest).encode())
        call("POST", "/blob", {"file-name": "index.json.blob", "encoded-size": len(data)}, data)
        call("POST", "/finish")
        session.disconnect("tls-close")
        place = {"backup-type": kind, "backup-id": wanted["id"]}
        if wanted.get("ns"):
            place["ns"] = wanted["ns"]
        if wanted.get("owner"):
            owner = self.world.id(wanted["owner"])
            self.admin("POST", wanted["store"], "change-owner", dict(place, **{"new-owner": owner}))
        place["backup-time"] = wanted["time"]
        if wanted.get("protected"):
            self.admin("PUT", wanted["store"], "protected", dict(place, protected=True))
        if wanted.get("notes"):
            self.admin("PUT", wanted["store"], "notes", dict(place, notes=wanted["notes"]))

    @staticmethod
    def upload(call, file):
        name = file["name"]
        if name.endswith(".blob"):
            data = values.build(file["body"])
            call("POST", "/blob", {"file-name": name, "encoded-size": len(data)}, data)
            checksum, size = hashlib.sha256(data).hexdigest(), len(data)
        else:
            kind = "dynamic" if name.endswith(".didx") else "fixed"
            parameters = {"archive-name": name}
            if kind == "fixed":
                parameters["size"] = file["size"]
            wid = call("POST", f"/{kind}_index", parameters)
            digests, offsets, position = [], [], 0
            for chunk in file["chunks"]:
                plain = values.build(chunk)
                data = values.blob(plain)
                digest = hashlib.sha256(plain).hexdigest()
                call("POST", f"/{kind}_chunk", {"wid": wid, "digest": digest, "size": len(plain),
                                                "encoded-size": len(data)}, data)
                digests.append(digest)
                offsets.append(position)
                position += len(plain)
            call("PUT", f"/{kind}_index", json_body={"wid": wid, "digest-list": digests, "offset-list": offsets})
            if kind == "dynamic":
                checksum = values.dynamic_checksum(list(zip(offsets[1:] + [position], digests)))
            else:
                checksum = values.fixed_checksum(digests)
            size = file.get("size", position)
            call("POST", f"/{kind}_close", {"wid": wid, "chunk-count": len(digests), "size": size, "csum": checksum})
        return {"filename": name, "crypt-mode": "none", "size": size, "csum": file.get("manifest_csum", checksum)}

    def run(self):
        """Raises `Failed` with the step and what was wrong."""
        try:
            for entry in self.case.get("pre", []):
                self.prepare(entry)
            for index, step in enumerate(self.case["steps"]):
                try:
                    getattr(self, "do_" + step["do"])(step)
                except Failed as error:
                    label = f"{step.get('method', '')} {step.get('path', '')}".strip()
                    raise Failed(f"step {index + 1} ({step['do']} {label}): {error}") from error
        finally:
            for session in self.sessions.values():
                session.disconnect("close")
