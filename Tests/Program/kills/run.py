"""`kill -9` of the server at random moments of backup, garbage collection, prune and sync: nothing finished is lost.

    python -m kills.run [SEED]
"""

import json
import os
import random
import signal
import struct
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from faults.world import Writer  # noqa: E402
from support import http1  # noqa: E402
from support.server import Server  # noqa: E402
from support.session import upgrade  # noqa: E402

SOAK = os.environ.get("CAIRN_SOAK") == "1"
KILLS = 200 if SOAK else 10
GROUPS = ("alpha", "beta", "gamma")
KEPT = 2
FIRST_TIME = 1_717_200_000


class Life:
    """One run of the server and those who use it; ends where the server does."""

    def __init__(self, world, seed):
        self.world = world
        self.over = threading.Event()
        self.threads = [
            threading.Thread(target=self.run, args=(work, random.Random(f"{seed} {work.__name__} {number}")))
            for number, work in enumerate((world.back_up, world.back_up, world.collect, world.prune, world.pull))]
        for thread in self.threads:
            thread.start()

    def run(self, work, rng):
        while not self.over.is_set():
            try:
                work(rng, self.over)
            except (OSError, EOFError):
                self.over.wait(0.02)
            except Exception as error:  # noqa: BLE001 – what is no loss of connection is looked at in the end
                if not self.over.is_set():
                    self.world.complain(error)
                self.over.wait(0.02)

    def end(self):
        self.over.set()
        self.world.server.stop(signal.SIGKILL)
        for thread in self.threads:
            thread.join(120)


class World:
    def __init__(self, server):
        self.server = server
        self.folders = {name: server.datastore(name) for name in ("main", "copy")}
        server.owner("user", "create", "keeper@pbs", "--password", "keeper-pass-1")
        made = server.owner("user", "generate-token", "keeper@pbs", "t", "--output-format", "json").stdout
        for who in ("keeper@pbs", "keeper@pbs!t"):
            server.owner("acl", "update", "/", "Admin", "--auth-id", who)
        self.authorization = f"PBSAPIToken=keeper@pbs!t:{json.loads(made)['value']}"
        self.lock = threading.Lock()
        self.clock = FIRST_TIME
        self.acknowledged = {group: [] for group in GROUPS}
        self.busy = set()
        self.shared = [random.Random(number).randbytes(20_000) for number in range(40)]
        self.complaints = {}
        self.counts = {"backups": 0, "collections": 0, "prunes": 0, "pulls": 0}

    def api(self, method, path, **body):
        return self.server.api(method, path, authorization=self.authorization, json_body=body or None)

    def complain(self, error):
        text = f"{type(error).__name__}: {error}"
        with self.lock:
            self.complaints.setdefault(text[:60], text)

    # What goes on ----------------------------------------------------------------------------------------------------

    def back_up(self, rng, over):
        with self.lock:
            free = [group for group in GROUPS if group not in self.busy]
            group = rng.choice(free)
            self.busy.add(group)
            self.clock += 1
            stamp = self.clock
        try:
            query = urllib.parse.urlencode(
                {"store": "main", "backup-type": "host", "backup-id": group, "backup-time": stamp})
            sock = http1.tls(self.server.address)
            response, session = upgrade(sock, http1.head("GET", f"/api2/json/backup?{query}", [
                ("Host", "localhost"), ("Connection", "Upgrade"), ("Authorization", self.authorization),
                ("Upgrade", "proxmox-backup-protocol-v1")]))
            if session is None:
                raise RuntimeError(f"{response.status} {response.body[:300]!r}")
            plains = rng.sample(self.shared, 8) + [rng.randbytes(rng.randrange(1, 60_000)) for _ in range(6)]
            Writer(session, group, stamp).whole("a.didx", plains)
            with self.lock:
                self.acknowledged[group].append(stamp)
                self.counts["backups"] += 1
            session.disconnect("close")
        finally:
            with self.lock:
                self.busy.discard(group)

    def finished(self, upid, over):
        path = f"/nodes/localhost/tasks/{urllib.parse.quote(upid, safe='')}/status"
        while not over.is_set():
            status = self.api("GET", path)
            if status["status"] == "stopped":
                return status["exitstatus"]
            over.wait(0.02)
        return None

    def task(self, kind, over, path, **body):
        end = self.finished(self.api("POST", path, **body), over)
        if end == "OK":
            with self.lock:
                self.counts[kind] += 1
        elif end is not None and not end.startswith("WARNINGS"):
            raise RuntimeError(f"{path}: {end}")
        over.wait(0.05)

    def collect(self, rng, over):
        store = rng.choice(("main", "main", "copy"))
        self.task("collections", over, f"/admin/datastore/{store}/gc")

    def prune(self, rng, over):
        self.task("prunes", over, "/admin/datastore/main/prune-datastore", **{"keep-last": KEPT})
        over.wait(0.2)

    def pull(self, rng, over):
        self.task("pulls", over, "/pull", **{"store": "copy", "remote-store": "main", "remove-vanished": True})
        over.wait(0.1)

    # What must hold --------------------------------------------------------------------------------------------------

    def check(self):
        """Lists and verifies both datastores; gives what is wrong."""
        wrong = []
        listed = {group: [] for group in GROUPS}
        for snapshot in self.api("GET", "/admin/datastore/main/snapshots"):
            listed[snapshot["backup-id"]].append(snapshot["backup-time"])
        for group in GROUPS:
            for stamp in sorted(self.acknowledged[group])[-KEPT:]:
                newer = sum(1 for other in listed[group] if other > stamp)
                if stamp not in listed[group] and newer < KEPT:
                    wrong.append(f"the finished snapshot host/{group}/{stamp} is gone; listed: {listed[group]}")
        for store in self.folders:
            upid = self.api("POST", f"/admin/datastore/{store}/verify", **{"ignore-verified": False})
            end = self.finished(upid, threading.Event())
            if end != "OK":
                path = f"/nodes/localhost/tasks/{urllib.parse.quote(upid, safe='')}/log?limit=0"
                response = http1.request(self.server.address, "GET", "/api2/json" + path, [
                    ("Host", "localhost"), ("Connection", "close"), ("Authorization", self.authorization)], b"")
                lines = [line["t"] for line in json.loads(response.body)["data"]]
                wrong.append(f"verify of {store}: {end}\n    " + "\n    ".join(lines[-30:]))
        return wrong

    def unreferenced(self, store):
        """Files of `.chunks` that no index names, after a garbage collection."""
        end = self.finished(self.api("POST", f"/admin/datastore/{store}/gc"), threading.Event())
        if end != "OK":
            return [f"garbage collection of {store}: {end}"]
        named = set()
        for folder, _, files in os.walk(self.folders[store]):
            if os.sep + "." in folder[len(self.folders[store]):]:
                continue
            for file in files:
                if file.endswith(".didx"):
                    with open(os.path.join(folder, file), "rb") as stream:
                        data = stream.read()[4096:]
                    named |= {data[at + 8:at + 40].hex() for at in range(0, len(data), struct.calcsize("<Q32s"))}
        found = set()
        for _, _, files in os.walk(os.path.join(self.folders[store], ".chunks")):
            # What a killed write left behind goes a day later.
            found |= {name for name in files if ".tmp_" not in name}
        return [f"{store}: chunk {name} is lost" for name in sorted(named - found)] + [
            f"{store}: {name} is in no index and stays" for name in sorted(found - named)]


def main():
    seed = sys.argv[1] if len(sys.argv) > 1 else str(random.SystemRandom().randrange(1 << 32))
    print(f"  seed {seed}, {KILLS} kills")
    rng = random.Random(seed)
    problems = []
    started = time.monotonic()
    with Server() as server:
        world = World(server)
        port = server.address[1]
        for kill in range(KILLS):
            life = Life(world, f"{seed} {kill}")
            time.sleep(rng.uniform(0.05, 2))
            life.end()
            server.start(f"127.0.0.1:{port}")
            problems += [f"after kill {kill}: {text}" for text in world.check()]
            if problems:
                break
        for store in world.folders:
            problems += world.unreferenced(store)
        print("  " + ", ".join(f"{count} {kind}" for kind, count in world.counts.items()))
        idle = [kind for kind, count in world.counts.items() if count == 0]
        if idle:
            problems.append(f"these never came to an end, so nothing was tried: {', '.join(idle)}")
    for text in list(world.complaints.values())[:10]:
        print("  refused on the way:", text[:200])
    for problem in problems:
        print("FAILED ", problem)
    print(f"kills: {KILLS} times in {time.monotonic() - started:.0f} s; seed {seed}")
    print(f"{0 if problems else 1} passed, {1 if problems else 0} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
