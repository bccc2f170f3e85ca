"""A small world for the fault tests: one datastore, two tenants, and calls for the steps of a session."""

import hashlib
import json
import urllib.parse

from support import http1, values
from support.session import Session, upgrade


class Tenant:
    def __init__(self, server, name):
        self.server = server
        self.user = f"{name}@pbs"
        server.owner("user", "create", self.user, "--password", "fault-pass-1")
        server.owner("acl", "update", "/datastore/main", "DatastoreBackup", "--auth-id", self.user)
        made = server.owner("user", "generate-token", self.user, "t", "--output-format", "json").stdout
        self.token = f"{self.user}!t"
        server.owner("acl", "update", "/datastore/main", "DatastoreBackup", "--auth-id", self.token)
        self.authorization = f"PBSAPIToken={self.token}:{json.loads(made)['value']}"

    def open(self, group, time, protocol="backup"):
        """An upgraded session; raises with the answer where it is refused."""
        query = urllib.parse.urlencode({"store": "main", "backup-type": "host", "backup-id": group, "backup-time": time})
        head = http1.head("GET", f"/api2/json/{protocol}?{query}", [
            ("Host", "localhost"), ("Connection", "Upgrade"), ("Authorization", self.authorization),
            ("Upgrade", "proxmox-backup-protocol-v1" if protocol == "backup" else "proxmox-backup-reader-protocol-v1")])
        sock = http1.tls(self.server.address)
        response, session = upgrade(sock, head)
        if session is None:
            sock.close()
            raise RuntimeError(f"{response.status} {response.body[:300]!r}")
        return session

    def native(self, group, time):
        """A native HTTP/2 session, opened by POST."""
        session = Session(http1.tls(self.server.address, alpn=["h2"]))
        body = json.dumps({"store": "main", "backup-type": "host", "backup-id": group, "backup-time": time}).encode()
        response = session.call(
            "POST", "/api2/json/backup",
            [("authorization", self.authorization), ("content-type", "application/json")], body)
        if response.status != 200:
            raise RuntimeError(f"{response.status} {response.body[:300]!r}")
        return session

    def snapshots(self, group):
        return self.server.api(
            "GET", f"/admin/datastore/main/snapshots?backup-type=host&backup-id={group}",
            authorization=self.authorization)


class Writer:
    """The steps of a backup on a session. `prefix` and `headers` are those of a native session."""

    def __init__(self, session, group, time, prefix="", headers=()):
        self.session, self.group, self.time = session, group, time
        self.prefix, self.headers = prefix, list(headers)
        self.files = []

    def raw(self, method, path, parameters=None, body=b"", json_body=None):
        target = self.prefix + path + ("?" + urllib.parse.urlencode(parameters) if parameters else "")
        headers = list(self.headers)
        if json_body is not None:
            headers.append(("content-type", "application/json"))
            body = json.dumps(json_body).encode()
        return self.session.call(method, target, headers, body)

    def call(self, *arguments, **options):
        response = self.raw(*arguments, **options)
        if response.status != 200:
            raise RuntimeError(f"{arguments[:2]}: {response.status} {response.body[:300]!r}")
        return json.loads(response.body)["data"]

    def index(self, name):
        return self.call("POST", "/dynamic_index", {"archive-name": name})

    def chunk(self, wid, plain):
        digest = hashlib.sha256(plain).hexdigest()
        data = values.blob(plain)
        self.call("POST", "/dynamic_chunk", {
            "wid": wid, "digest": digest, "size": len(plain), "encoded-size": len(data)}, data)
        return digest

    def append(self, wid, chunks):
        """chunks: [(digest, length)]; gives the end offset."""
        offsets, end = [], 0
        for _, length in chunks:
            offsets.append(end)
            end += length
        self.call("PUT", "/dynamic_index", json_body={
            "wid": wid, "digest-list": [digest for digest, _ in chunks], "offset-list": offsets})
        return end

    def close(self, wid, name, chunks):
        entries, end = [], 0
        for digest, length in chunks:
            end += length
            entries.append((end, digest))
        csum = values.dynamic_checksum(entries)
        self.call("POST", "/dynamic_close", {"wid": wid, "chunk-count": len(chunks), "size": end, "csum": csum})
        self.files.append({"filename": name, "crypt-mode": "none", "size": end, "csum": csum})

    def manifest(self):
        text = json.dumps({
            "backup-type": "host", "backup-id": self.group, "backup-time": self.time, "files": self.files,
            "unprotected": {}, "signature": None})
        data = values.blob(text.encode())
        self.call("POST", "/blob", {"file-name": "index.json.blob", "encoded-size": len(data)}, data)

    def finish(self):
        self.call("POST", "/finish")

    def whole(self, name, plains):
        """A complete backup of one archive."""
        wid = self.index(name)
        chunks = [(self.chunk(wid, plain), len(plain)) for plain in plains]
        self.append(wid, chunks)
        self.close(wid, name, chunks)
        self.manifest()
        self.finish()
        return chunks
