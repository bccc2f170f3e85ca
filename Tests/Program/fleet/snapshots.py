"""Snapshots by the thousand: written into a datastore's folder in the store's format, or made by real backups."""

import hashlib
import json
import os
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from faults.world import Writer  # noqa: E402
from support import http1, values  # noqa: E402
from support.session import upgrade  # noqa: E402

CONTENT = b"key = value\n"


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def manifest(kind, group, seconds, files):
    return json.dumps({
        "backup-type": kind, "backup-id": group, "backup-time": seconds, "files": files, "signature": None,
        "unprotected": {"chunk_upload_stats": {"count": 0, "size": 0, "compressed_size": 0, "duplicates": 0}}}).encode()


def write(store, group, times, namespace=(), owner="root@pam", kind="host"):
    """Finished snapshots of one small file each."""
    base = store
    for name in namespace:
        base = os.path.join(base, "ns", name)
    base = os.path.join(base, kind, group)
    os.makedirs(base, exist_ok=True)
    with open(os.path.join(base, "owner"), "w") as file:
        file.write(owner + "\n")
    blob = values.blob(CONTENT)
    files = [{"filename": "page.conf.blob", "crypt-mode": "none", "size": len(blob),
              "csum": hashlib.sha256(blob).hexdigest()}]
    for seconds in times:
        folder = os.path.join(base, stamp(seconds))
        os.mkdir(folder)
        with open(os.path.join(folder, "page.conf.blob"), "wb") as file:
            file.write(blob)
        with open(os.path.join(folder, "index.json.blob"), "wb") as file:
            file.write(values.blob(manifest(kind, group, seconds, files)))
    return [(tuple(namespace), f"{kind}/{group}/{stamp(seconds)}") for seconds in times]


class Caller:
    """A user with a token who makes real backups, one session each."""

    def __init__(self, server, name="writer"):
        self.server = server
        user = f"{name}@pbs"
        server.owner("user", "create", user, "--password", "fleet-pass-1")
        made = server.owner("user", "generate-token", user, "t", "--output-format", "json").stdout
        for who in (user, f"{user}!t"):
            server.owner("acl", "update", "/", "Admin", "--auth-id", who)
        self.authorization = f"PBSAPIToken={user}!t:{json.loads(made)['value']}"

    def open(self, store, group, seconds, namespace=""):
        query = {"store": store, "backup-type": "host", "backup-id": group, "backup-time": seconds}
        if namespace:
            query["ns"] = namespace
        sock = http1.tls(self.server.address)
        response, session = upgrade(sock, http1.head("GET", "/api2/json/backup?" + urllib.parse.urlencode(query), [
            ("Host", "localhost"), ("Connection", "Upgrade"), ("Authorization", self.authorization),
            ("Upgrade", "proxmox-backup-protocol-v1")]))
        if session is None:
            sock.close()
            raise RuntimeError(f"{response.status} {response.body[:300]!r}")
        return session, Writer(session, group, seconds)

    def back_up(self, store, group, seconds, namespace=""):
        """A whole backup; gives (namespace folders, type/id/time)."""
        session, writer = self.open(store, group, seconds, namespace)
        blob = values.blob(CONTENT)
        writer.call("POST", "/blob", {"file-name": "page.conf.blob", "encoded-size": len(blob)}, blob)
        writer.files.append({"filename": "page.conf.blob", "crypt-mode": "none", "size": len(blob),
                             "csum": hashlib.sha256(blob).hexdigest()})
        writer.manifest()
        writer.finish()
        session.disconnect("tls-close")
        return tuple(namespace.split("/")) if namespace else (), f"host/{group}/{stamp(seconds)}"

    def fail(self, store, group, seconds):
        """A backup that is broken off."""
        session, _ = self.open(store, group, seconds)
        session.disconnect("reset")
