"""Twenty clients at once into twenty groups while others restore; then nothing has grown.

    python -m crowd.run
"""

import filecmp
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from support.cli import Client  # noqa: E402
from support.server import Server, wait_for  # noqa: E402

SOAK = os.environ.get("CAIRN_SOAK") == "1"
CLIENTS = 20
TIME = 1_717_200_000


def tree(folder, seed, size):
    """Files of shared and of own content."""
    rng, shared = random.Random(seed), random.Random(1)
    for number in range(12):
        os.makedirs(os.path.join(folder, f"d{number % 3}"), exist_ok=True)
        source = shared if number % 2 else rng
        with open(os.path.join(folder, f"d{number % 3}", f"f{number}"), "wb") as file:
            file.write(source.randbytes(source.randrange(size)))


def identical(left, right):
    compared = filecmp.dircmp(left, right)

    def walk(pair):
        if pair.left_only or pair.right_only or pair.funny_files:
            return False
        _, other, errors = filecmp.cmpfiles(pair.left, pair.right, pair.common_files, shallow=False)
        return not other and not errors and all(walk(sub) for sub in pair.subdirs.values())

    return walk(compared)


def usage(pid):
    with open(f"/proc/{pid}/status") as file:
        memory = next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmRSS"))
    return len(os.listdir(f"/proc/{pid}/fd")), memory


def main():
    started = time.monotonic()
    rounds = 5 if SOAK else 2
    problems = []
    with Server() as server:
        server.datastore("crowd")
        server.owner("user", "create", "crowd@pbs", "--password", "crowd-pass")
        server.owner("acl", "update", "/datastore/crowd", "DatastoreAdmin", "--auth-id", "crowd@pbs")
        client = Client(server, "crowd@pbs", "crowd", "crowd-pass", server.folder)
        sources = []
        for number in range(CLIENTS):
            folder = os.path.join(server.folder, f"source{number}")
            tree(folder, number + 2, (8 if SOAK else 2) << 20)
            sources.append(folder)
        client.run("backup", f"t.pxar:{sources[0]}", "--backup-id", "first", "--backup-time", str(TIME))
        descriptors, memory = usage(server.process.pid)
        history = []
        for turn in range(rounds):
            stamp = TIME + turn
            text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stamp))
            running = [
                (f"backup {n}", client.start("backup", f"t.pxar:{source}", "--backup-id", f"g{n}", "--backup-time",
                                             str(stamp)))
                for n, source in enumerate(sources)]
            for n in range(4):
                target = os.path.join(server.folder, f"beside{turn}-{n}")
                running.append((f"restore {n}", client.start(
                    "restore", "host/first/2024-06-01T00:00:00Z", "t.pxar", target)))
            for name, process in running:
                output = process.communicate(timeout=600)[0]
                if process.returncode != 0:
                    problems.append(f"{name}: exit {process.returncode}: {output[-300:]}")
            for n in range(4):
                if not identical(sources[0], os.path.join(server.folder, f"beside{turn}-{n}")):
                    problems.append(f"restore beside the backups {n}: differs")
            for n, source in enumerate(sources):
                if turn == rounds - 1:
                    target = os.path.join(server.folder, f"restored{n}")
                    client.run("restore", f"host/g{n}/{text}", "t.pxar", target)
                    if not identical(source, target):
                        problems.append(f"group {n}: the restored tree differs")
            wait_for(lambda: usage(server.process.pid)[0] <= descriptors + 5, 15)
            history.append(usage(server.process.pid))
        if history[-1][0] > descriptors + 5:
            problems.append(f"descriptors grew from {descriptors} to {history}")
        if history[-1][1] > history[0][1] + 64:
            problems.append(f"memory (MiB) grew: {memory}, then {[h[1] for h in history]}")
        print(f"  descriptors {descriptors} → {history[-1][0]}, memory {memory} → {history[-1][1]} MiB")
    for problem in problems:
        print("FAILED ", problem)
    print(f"crowd: {CLIENTS} clients × {rounds}, {len(problems)} problems, in {time.monotonic() - started:.0f} s")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
