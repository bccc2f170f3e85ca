"""Machines that tell each other what they did, and what lies between them."""

import collections
import hashlib
import itertools
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from support import http1  # noqa: E402
from support.checks import expect, same  # noqa: E402
from support.server import program, wait_for  # noqa: E402
from sync.world import Site  # noqa: E402

# A busy machine is slow; nothing here is fast on purpose.
PATIENCE = 120
EVERYTHING = ["read-operations"]


class Machine(Site):
    """A server with a name, that can be stopped and started again where it was.

    `plain`: it has a second listener, without TLS.
    """

    def __init__(self, name, plain=False):
        self.name = name
        self.plain_port = 0
        self.has_plain = plain
        self.connection = None
        self.messages = {}
        folder = tempfile.mkdtemp(prefix=f"cairn-{name}-")
        super().__init__(["--instance", name, "--stop-timeout", "5"], folder)
        self.owns_folder = True

    def start(self, address="127.0.0.1:0"):
        self.log.clear()
        base = self.arguments
        if self.has_plain:
            self.arguments = base + ["--peer-listen", f"127.0.0.1:{self.plain_port}"]
        try:
            super().start(address)
        finally:
            self.arguments = base
        if self.has_plain:
            found = []

            def told():
                found[:] = [match for match in (re.search(r"peers listening on http://\S+:(\d+)", line)
                                                for line in self.log) if match]
                return bool(found)

            expect(wait_for(told, PATIENCE), "the server does not say where peers are served:\n" + "\n".join(self.log))
            self.plain_port = int(found[0].group(1))

    def again(self):
        """Starts at the same addresses."""
        self.start(f"127.0.0.1:{self.address[1]}")

    def restart(self, how):
        self.stop(how)
        self.again()

    # Peers

    def peer_command(self, *arguments, check=True):
        return self.owner("peer", *arguments, check=check)

    def peer_json(self, *arguments):
        return json.loads(self.peer_command(*arguments, "--output-format", "json").stdout)

    def token(self, permissions=(), **fields):
        """A pairing token of this hub; gives its text."""
        return self.root("POST", "/peers/tokens", label="fleet", permissions=list(permissions), **fields)["token"]

    def url(self, plain=False, port=None):
        if plain:
            return f"http://127.0.0.1:{port or self.plain_port}"
        return f"https://127.0.0.1:{port or self.address[1]}"

    def join(self, hub, token, permissions=EVERYTHING, plain=False, port=None):
        body = {"token": token, "url": hub.url(plain, port), "permissions": list(permissions)}
        if not plain:
            body["fingerprint"] = hub.fingerprint
        return self.root("POST", "/peers", **body)

    def peers(self):
        return {peer["instance"]: peer for peer in self.root("GET", "/peers")}

    def peer(self, name):
        return self.root("GET", f"/peers/peer/{name}")

    def standing(self, name):
        """(state, message) of a peer, or (None, "") where there is no such peer."""
        peer = self.peers().get(name)
        return (peer["state"], peer.get("message", "")) if peer else (None, "")

    def await_state(self, name, *wanted):
        seen = []

        def reached():
            now = self.standing(name)
            if not seen or seen[-1] != now:
                seen.append(now)
            return now[0] in wanted

        expect(wait_for(reached, PATIENCE), f"{self.name}: {name} is never {wanted}, but {seen[-8:]}")
        return seen[-1]

    def forget(self, name):
        self.root("DELETE", f"/peers/peer/{name}")

    def allow(self, name, permissions):
        self.root("PUT", f"/peers/peer/{name}/permissions", permissions=list(permissions))

    def poke(self, name):
        """Lets a member dial at once, not after its pause: its permissions change, and mean the same as before."""
        mark = ",!repo:none"
        present = self.peers()[name]["permissions"]
        text = next(entry for entry in present if entry.startswith("read-operations"))
        if mark in text:
            other = text.replace(mark, "")
        else:
            other = (text if "=" in text else text + "=*") + mark
        self.allow(name, [other if entry == text else entry for entry in present])

    def operations(self, **query):
        query.setdefault("limit", 10_000)
        return self.root("GET", "/peers/operations?" + urllib.parse.urlencode(query))

    def message(self, operation):
        """The whole operation as its member sent it, read once."""
        known = self.messages.get(operation["id"])
        if known is None:
            known = self.messages[operation["id"]] = self.kept(f"/peers/operations/{operation['id']}")["operation"]
        return known

    def kept(self, path):
        """GET by root on a connection that stays: for thousands of them."""
        with open(os.path.join(self.state, "local-admin.token")) as file:
            secret = file.read().strip()
        for _ in range(2):
            try:
                if self.connection is None:
                    sock = http1.tls(self.address)
                    self.connection = sock, http1.Reader(sock)
                sock, reader = self.connection
                sock.sendall(http1.head("GET", "/api2/json" + path, [
                    ("Host", "localhost"), ("Authorization", "CairnLocal " + secret)]))
                response = reader.response("GET")
                break
            except (OSError, http1.Closed):
                self.connection = None
        else:
            raise RuntimeError(f"GET {path}: no answer")
        same(response.status, 200, f"GET {path}: {response.body[:300]!r}: status")
        return json.loads(response.body)["data"]

    def follow(self, operation):
        """`cairn peer log ID --follow`, running."""
        return subprocess.Popen(
            [program(), "peer", "log", str(operation["id"]), "--follow", "--state", self.state],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    # What it did itself

    def tasks(self, **query):
        query.setdefault("limit", 0)
        return self.root("GET", "/nodes/localhost/tasks?" + urllib.parse.urlencode(query))

    def snapshots(self, store, namespace=""):
        query = "?ns=" + urllib.parse.quote(namespace, safe="") if namespace else ""
        return self.root("GET", f"/admin/datastore/{store}/snapshots{query}")


def pair(hub, member, permissions=EVERYTHING, plain=False, port=None):
    member.join(hub, hub.token(), permissions, plain, port)
    member.await_state(hub.name, "connected")
    hub.await_state(member.name, "connected")


def part(hub, member):
    """Both forget each other."""
    for one, other in ((member, hub), (hub, member)):
        if other.name in one.peers():
            one.forget(other.name)


# What a hub must show

def status_of(task):
    """The status of an operation for the end of a task."""
    text = task.get("status")
    if text is None:
        return "running"
    if text == "OK":
        return "success"
    if text.startswith("WARNINGS"):
        return "warning"
    if "abort" in text:
        return "user-cancelled"
    if text == "unknown" or "interrupted" in text:
        return "system-cancelled"
    return "error"


def plan_of(store, namespace):
    return "_".join([store, *namespace.split("/")]) if namespace else store


def expected(member, places):
    """What a hub must show of the snapshots and backup tasks of `places`, (datastore, namespace), of a member: (plan,
    type, id, time) of each snapshot, status by task, and the tasks that need not be there: with a snapshot its backup
    goes as well, once the member has told anew what there is."""
    snapshots, groups = set(), collections.Counter()
    for store, namespace in places:
        for snapshot in member.snapshots(store, namespace):
            snapshots.add((plan_of(store, namespace), snapshot["backup-type"], snapshot["backup-id"],
                           snapshot["backup-time"]))
            groups[store, snapshot["backup-id"]] += 1
    stores = {store for store, _ in places}
    tasks, made = {}, collections.defaultdict(set)
    for task in member.tasks(typefilter="backup"):
        store = task["worker_id"].split(":")[0]
        if task["worker_type"] == "backup" and store in stores:
            tasks[task["upid"]] = status_of(task)
            if tasks[task["upid"]] == "success":
                made[store, task["worker_id"].rsplit("/", 1)[-1]].add(task["upid"])
    optional = set().union(*(upids for group, upids in made.items() if len(upids) > groups[group]))
    return snapshots, tasks, optional


def shown(hub, member):
    """What the hub shows: the same two, and a text for whatever is there twice or is not well-formed."""
    snapshots, tasks, problems, ids = set(), {}, [], set()
    for operation in hub.operations(peer=member.name):
        if operation["id"] in ids:
            problems.append(f"{operation['id']} is there twice")
        ids.add(operation["id"])
        if operation["instance"] != member.name:
            problems.append(f"{operation} is not of {member.name}")
        if operation["kind"] == "backup":
            if operation["logref"] in tasks:
                problems.append(f"{operation['logref']} is there twice")
            tasks[operation["logref"]] = operation["status"]
        elif operation["kind"] == "index-snapshot" and not operation.get("forgotten"):
            key = key_of(operation, hub.message(operation)["operationIndexSnapshot"]["snapshot"])
            if key in snapshots:
                problems.append(f"{key} is there twice")
            snapshots.add(key)
    return snapshots, tasks, problems


def key_of(operation, snapshot):
    kind = next((tag.removeprefix("type:") for tag in snapshot["tags"] if tag.startswith("type:")), "?")
    return operation["plan"], kind, snapshot["hostname"], int(snapshot["unixTimeMs"]) // 1000


def converge(hub, member, places, what):
    """Waits until the hub shows exactly what the member has, and gives how many operations these are."""
    limit = time.monotonic() + PATIENCE
    wanted = expected(member, places)
    for turn in itertools.count(1):
        found = differences(wanted, shown(hub, member))
        if not found:
            return len(wanted[0]) + len(wanted[1])
        expect(time.monotonic() < limit, f"{what}: {found}")
        time.sleep(0.2)
        if turn % 8 == 0:
            wanted = expected(member, places)


def differences(wanted, ours):
    found = list(ours[2])
    required = {pair for pair in wanted[1].items() if pair[0] not in wanted[2] or pair[0] in ours[1]}
    for name, left, right in (("snapshots", wanted[0], ours[0]), ("tasks", required, set(ours[1].items()))):
        if left != right:
            found.append(f"{name}: {len(left)} there, {len(right)} shown; missing {sorted(left - right)[:2]}, "
                         f"too many {sorted(right - left)[:2]}")
    return found


# The names of things that stay, whatever happens to the server that has them.

def length_prefixed(text):
    return struct.pack(">I", len(text.encode())) + text.encode()


def store_guid(identity):
    return hashlib.sha256(b"pbs-datastore/1\0" + identity).hexdigest()


def snapshot_id(identity, namespace, kind, group, seconds):
    return hashlib.sha256(
        b"pbs-snapshot/1\0" + identity + length_prefixed(namespace) + length_prefixed(kind) + length_prefixed(group)
        + struct.pack(">Q", seconds)).hexdigest()
