"""Faults of the server's own state: killed in mid-write, damaged, of a newer version, lost and brought back.

    python -m state.run [NAME …]
"""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from support import http1  # noqa: E402
from support.checks import Checks, expect  # noqa: E402
from support.server import Server, program  # noqa: E402

SOAK = os.environ.get("CAIRN_SOAK") == "1"
SEED = int(os.environ.get("CAIRN_SEED", time.time_ns() % 1_000_000))


def administrator(server):
    """An API token that may do everything."""
    server.owner("user", "create", "adm@pbs", "--password", "adm-pass-1")
    line = server.owner("user", "generate-token", "adm@pbs", "t").stdout.split()
    for who in ("adm@pbs", line[0]):
        server.owner("acl", "update", "/", "Admin", "--auth-id", who)
    return f"PBSAPIToken={line[0]}:{line[1]}"


def refused_start(state, because):
    """A server does not start with that folder, and says why."""
    process = subprocess.run(
        [program(), "serve", "--state", state, "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=300)
    expect(process.returncode == 255, f"exit {process.returncode}")
    for text in because:
        expect(text in process.stderr, f"{process.stderr!r} does not say {text!r}")


def killed_in_mid_write():
    """Every change that the server acknowledged is there after `kill -9`, whatever it was doing."""
    rounds = 40 if SOAK else 3
    chance = random.Random(SEED)
    print(f"killed_in_mid_write: seed {SEED}")
    with Server() as server:
        token = administrator(server)
        there = set()
        for turn in range(rounds):
            unsure, stopped = set(), threading.Event()

            def change(writer, address):
                number = 0
                while not stopped.is_set():
                    name = f"u{turn}w{writer}n{number}@pbs"
                    number += 1
                    unsure.add(name)
                    try:
                        server.api("POST", "/access/users", token, json_body={"userid": name, "comment": "x" * 100})
                    except (OSError, RuntimeError, http1.Closed):
                        return
                    there.add(name)

            writers = [threading.Thread(target=change, args=(n, server.address)) for n in range(3)]
            goal = len(there) + chance.randrange(5, 40)
            for writer in writers:
                writer.start()
            limit = time.monotonic() + 120
            while len(there) < goal and time.monotonic() < limit:
                time.sleep(chance.random() / 100)
            server.stop(signal.SIGKILL)
            stopped.set()
            for writer in writers:
                writer.join()
            server.start()
            found = {user["userid"] for user in server.api("GET", "/access/users", token)}
            lost = there - found
            expect(not lost, f"round {turn}: {len(lost)} acknowledged users are gone: {sorted(lost)[:5]}")
            invented = {name for name in found if name.startswith("u")} - there - unsure
            expect(not invented, f"round {turn}: nobody made {sorted(invented)[:5]}")
            there |= found & unsure
        expect(len(there) >= 5 * rounds, f"only {len(there)} changes were made")


def newer_version():
    """A state of a newer version is not touched."""
    with Server() as server:
        server.stop()
        path = os.path.join(server.state, "state.sqlite")
        database = sqlite3.connect(path)
        database.execute("INSERT INTO grdb_migrations (identifier) VALUES ('from the future')")
        database.commit()
        database.close()
        refused_start(server.state, ["was written by a newer version of Cairn", "hint:"])
        database = sqlite3.connect(path)
        users = database.execute("SELECT count(*) FROM users").fetchone()[0]
        database.close()
        expect(users > 0, "the users are gone")


def damaged_and_brought_back():
    """A damaged database is told with the way out; an exported state brings everything back."""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        token = administrator(server)
        server.datastore("main")
        server.owner("remote", "create", "other", "--host", "127.0.0.1", "--auth-id", "u@pbs", "--password", "its-secret")
        server.owner("prune-job", "create", "kept", "--store", "main", "--schedule", "daily", "--keep-last", "3")
        server.owner("verify-job", "create", "kept", "--store", "main", "--schedule", "weekly")
        server.owner("sync-job", "create", "kept", "--store", "main", "--remote", "other", "--remote-store", "far")
        paths = ["/access/users", "/access/acl", "/config/datastore", "/config/remote", "/config/prune",
                 "/config/verify", "/config/sync"]

        def everything():
            return {path: server.api("GET", path, token) for path in paths}

        before = everything()
        file = os.path.join(folder, "state.json")
        server.owner("state", "export", file)
        expect(os.stat(file).st_mode & 0o777 == 0o600, "the export can be read by others")
        refused = subprocess.run(
            [program(), "state", "import", file, "--state", server.state], capture_output=True, text=True)
        expect(refused.returncode == 255 and "A server runs" in refused.stderr, f"import beside a server: {refused}")
        server.stop()
        for name in ("state.sqlite-wal", "state.sqlite-shm"):
            if os.path.exists(os.path.join(server.state, name)):
                os.remove(os.path.join(server.state, name))
        with open(os.path.join(server.state, "state.sqlite"), "r+b") as database:
            database.seek(0)
            database.write(b"no database any more" * 1000)
        refused_start(server.state, ["is damaged", f"cairn state import FILE --state {server.state}", "--reuse"])
        # What the hint says.
        for name in os.listdir(server.state):
            if name.startswith("state.sqlite"):
                os.remove(os.path.join(server.state, name))
        server.owner("state", "import", file)
        server.start()
        after = everything()
        for path in paths:
            expect(after[path] == before[path], f"{path}: {after[path]} instead of {before[path]}")
        # Into a folder that never saw this server too.
        fresh = os.path.join(folder, "fresh")
        imported = subprocess.run(
            [program(), "state", "import", file, "--state", fresh], capture_output=True, text=True)
        expect(imported.returncode == 0, imported.stderr)
        again = os.path.join(folder, "again.json")
        subprocess.run([program(), "state", "export", again, "--state", fresh], check=True)
        with open(file) as first, open(again) as second:
            text = first.read()
            expect(text == second.read(), "the second export differs from the first")
            expect("its-secret" in text or "aXRzLXNlY3JldA" in text, "the password of the remote is missing")
        shutil.rmtree(fresh)


CHECKS = [killed_in_mid_write, newer_version, damaged_and_brought_back]


def main():
    checks = Checks("state database")
    checks.run_all(CHECKS)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
