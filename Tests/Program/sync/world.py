"""Two servers that copy from each other, what lies between them, and how their stores are compared."""

import json
import os
import socket
import threading
import time
import urllib.parse

from support.server import Server


class Site(Server):
    """A server whose owner this test is."""

    def root(self, method, path, **body):
        with open(os.path.join(self.state, "local-admin.token")) as file:
            secret = file.read().strip()
        return self.api(method, path, authorization="CairnLocal " + secret, json_body=body or None)

    def refusal(self, method, path, **body):
        """The text of a call that must be refused."""
        try:
            self.root(method, path, **body)
        except RuntimeError as error:
            return str(error)
        raise AssertionError(f"{method} {path} was not refused")

    def tenant(self, name, role, path="/datastore"):
        """A user with a token that has a role; gives the token's id and secret."""
        self.owner("user", "create", f"{name}@pbs", "--password", "sync-pass-1")
        made = self.owner("user", "generate-token", f"{name}@pbs", "t", "--output-format", "json").stdout
        self.owner("acl", "update", path, role, "--auth-id", f"{name}@pbs")
        self.owner("acl", "update", path, role, "--auth-id", f"{name}@pbs!t")
        return f"{name}@pbs!t", json.loads(made)["value"]

    def remote(self, name, other, auth_id, secret, port=None, fingerprint=None):
        self.root("POST", "/config/remote", **{
            "name": name, "host": "127.0.0.1", "port": port or other.address[1], "auth-id": auth_id,
            "password": secret, "fingerprint": fingerprint or other.fingerprint})

    def start_task(self, path, **body):
        return self.root("POST", path, **body)

    def status(self, upid):
        return self.root("GET", f"/nodes/localhost/tasks/{urllib.parse.quote(upid, safe='')}/status")

    def task_log(self, upid):
        lines = self.root("GET", f"/nodes/localhost/tasks/{urllib.parse.quote(upid, safe='')}/log?limit=0")
        return [line["t"] for line in lines]

    def finish(self, upid, seconds=180):
        """Waits for a task; gives how it ended and its log."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            status = self.status(upid)
            if status["status"] == "stopped":
                return status["exitstatus"], self.task_log(upid)
            time.sleep(0.1)
        raise RuntimeError(f"{upid} did not end:\n" + "\n".join(self.task_log(upid)))

    def run(self, path, **body):
        return self.finish(self.start_task(path, **body))


def figures(log):
    """(chunks that were transferred, bytes, snapshots copied, repaired, unchanged, skipped, chunks already there)."""
    chunks = 0
    text = "\n".join(log)
    for line in log:
        if "Summary: sync pu" in line and " in " in line:
            chunks = int(line.split(" in ")[1].split(" ")[0])
    line = next(line for line in log if "snapshots: " in line and " copied" in line)
    words = line[line.index("snapshots: ") + len("snapshots: "):].replace(",", "").replace(";", "").split()
    return {
        "chunks": chunks, "copied": int(words[0]), "repaired": int(words[2]), "unchanged": int(words[4]),
        "skipped": int(words[6]), "present": int(words[-1]), "nothing": "found no new data" in text}


# MARK: stores on disk

def snapshots(store, owners=False):
    """(namespace folders, type/id/time) → the snapshot's folder."""
    found = {}

    def walk(folder, namespace):
        for kind in ("ct", "host", "vm"):
            base = os.path.join(folder, kind)
            for group in sorted(os.listdir(base)) if os.path.isdir(base) else []:
                for when in sorted(os.listdir(os.path.join(base, group))):
                    path = os.path.join(base, group, when)
                    if os.path.isdir(path) and os.path.exists(os.path.join(path, "index.json.blob")):
                        found[(namespace, f"{kind}/{group}/{when}")] = path
        inner = os.path.join(folder, "ns")
        for name in sorted(os.listdir(inner)) if os.path.isdir(inner) else []:
            walk(os.path.join(inner, name), f"{namespace}/{name}".strip("/"))

    walk(store, "")
    return found


def entries(path):
    """The checksummed part of an index: what stands behind its header."""
    with open(path, "rb") as file:
        data = file.read()
    return data[4096:]


def digests(path):
    table = entries(path)
    size, skip = (32, 0) if path.endswith(".fidx") else (40, 8)
    return {table[at + skip:at + size].hex() for at in range(0, len(table), size)}


def chunk_path(store, digest):
    return os.path.join(store, ".chunks", digest[:4], digest)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def differences(left, right, whole=True):
    """What two stores differ in: snapshots, files, index entries, chunks. `whole`: index files and manifests as well."""
    found = []
    ours, theirs = snapshots(left), snapshots(right)
    for key in sorted(set(ours) ^ set(theirs)):
        found.append(f"{key} is only in one of the stores")
    seen = set()
    for key in sorted(set(ours) & set(theirs)):
        names = set(os.listdir(ours[key])) - {".protected"}
        if names != set(os.listdir(theirs[key])) - {".protected"}:
            found.append(f"{key}: {sorted(names)} and {sorted(os.listdir(theirs[key]))}")
            continue
        for name in sorted(names):
            a, b = os.path.join(ours[key], name), os.path.join(theirs[key], name)
            if name == "index.json.blob" and not whole:
                continue
            if name.endswith("idx") and not whole:
                same = entries(a) == entries(b)
            else:
                same = read(a) == read(b)
            if not same:
                found.append(f"{key}: {name} differs")
            if name.endswith("idx"):
                seen |= digests(a)
    for digest in sorted(seen):
        if not os.path.exists(chunk_path(right, digest)):
            found.append(f"chunk {digest} is missing")
        elif read(chunk_path(left, digest)) != read(chunk_path(right, digest)):
            found.append(f"chunk {digest} differs")
    return found


# MARK: a network that breaks

class Cutter:
    """A TCP proxy that cuts everything once `limit` bytes have come from the server, and refuses from then on.

    With `heals` it lets all later connections through.
    """

    def __init__(self, target, limit, heals=False):
        self.target, self.limit, self.heals = target, limit, heals
        self.cuts = 0
        self.passed = 0
        self.is_cut = False
        self.lock = threading.Lock()
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                if self.is_cut:
                    client.close()
                    continue
                server = socket.create_connection(self.target)
                self.sockets += [client, server]
            threading.Thread(target=self.pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, True), daemon=True).start()

    def pump(self, source, sink, counts):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                if counts:
                    with self.lock:
                        self.passed += len(data)
                        cut = self.limit is not None and self.passed > self.limit
                    if cut:
                        self.cut()
                        return
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        with self.lock:
            self.cuts += 1
            self.is_cut = not self.heals
            self.limit = None
            for end in self.sockets:
                try:
                    # Shut down first: another thread may be reading from it.
                    end.shutdown(socket.SHUT_RDWR)
                    end.close()
                except OSError:
                    pass
            self.sockets = []

    def heal(self, limit=None):
        with self.lock:
            self.is_cut, self.limit, self.passed = False, limit, 0

    def close(self):
        self.listener.close()
        self.cut()
