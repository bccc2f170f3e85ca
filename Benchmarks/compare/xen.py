"""Machines of a pool into a chunk store, beside `cairn backup` of the same disk: rates of one run, bytes, memory.

    python -m compare.xen [--gib N] [--delta-gib N] [--tls]

The pool is the test double, which is Python and shares the machine: with `--tls` its encryption costs more than all else.
"""

import argparse
import os
import random
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Tests", "Program"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from compare import measure  # noqa: E402
from support.server import program  # noqa: E402
from xen.world import World  # noqa: E402

MIB = 1 << 20
BLOCK = 2 * MIB


class Bench:
    def __init__(self, world, folder):
        self.world, self.folder = world, folder
        self.pid = world.server.process.pid
        world.server.owner("user", "create", "bench@pbs", "--password", "bench-password")
        world.server.datastore("plain")
        world.server.owner("acl", "update", "/datastore/plain", "DatastoreAdmin", "--auth-id", "bench@pbs")

    def plain(self, path):
        """`cairn backup` of an image: seconds, peak memory of the server."""
        environment = {
            "PBS_REPOSITORY": f"bench@pbs@127.0.0.1:{self.world.server.address[1]}:plain",
            "PBS_PASSWORD": "bench-password", "PBS_FINGERPRINT": self.world.server.fingerprint,
            "XDG_CACHE_HOME": self.folder, "XDG_CONFIG_HOME": self.folder, "XDG_RUNTIME_DIR": self.folder,
        }
        cost = measure.run([program(), "backup", f"disk.img:{path}", "--backup-id", "bench"], environment, server=self.pid)
        return cost.wall, cost.memory["server"]

    def job(self, machine, mode):
        """One run into the chunk store: seconds, peak memory of the server, bytes that came from the host."""
        measure.reset_peak(self.pid)
        start = len(self.world.pool.transfers)
        began = time.monotonic()
        self.world.run(self.world.job(machine, mode, remotes=["chunks"], job=f"{mode}-{machine}")).must()
        wall = time.monotonic() - began
        moved = sum(transfer["bytes"] for transfer in self.world.pool.transfers[start:])
        return wall, measure.server_peak(self.pid), moved


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gib", type=float, default=4.0)
    parser.add_argument("--delta-gib", type=float, default=20.0)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="cairn-bench-xen-")
    try:
        with World(tls=options.tls) as world:
            bench = Bench(world, folder)
            whole(bench, options.gib)
            delta(bench, options.delta_gib)
    finally:
        os.system(f"rm -rf {folder}")


def whole(bench, gib):
    pool, path = bench.world.pool, os.path.join(bench.folder, "disk.img")
    size = int(gib * 1024) * MIB
    machine = pool.add_machine("whole", disks=[size], fill=1.0)
    pool.write_raw(pool.disks_of(machine)[0], path)
    seconds, memory = bench.plain(path)
    os.remove(path)
    print(f"cairn backup of {gib:g} GiB:        {size / seconds / MIB:7.0f} MiB/s, server's peak {memory / MIB:.0f} MiB",
          flush=True)
    for mode, words in (("delta", "disk into a chunk store"), ("full", "machine into a chunk store")):
        wall, memory, moved = bench.job(machine, mode)
        print(f"{words:29}: {moved / wall / MIB:7.0f} MiB/s, server's peak {memory / MIB:.0f} MiB, "
              f"{seconds / wall:.2f} of the rate of cairn backup{' (goal 0.5)' if mode == 'delta' else ', nothing new'}",
              flush=True)


def delta(bench, gib):
    pool = bench.world.pool
    size = int(gib * 1024) * MIB
    machine = pool.add_machine("delta", disks=[size], fill=0.1)
    bench.job(machine, "delta")
    changed = pool.change(pool.disks_of(machine)[0], 0.01, random.random()) * BLOCK
    wall, memory, moved = bench.job(machine, "delta")
    print(f"1 % of {gib:g} GiB changed:         {moved / changed:.4f} of the changed blocks transferred (goal 1.05), "
          f"{wall:.1f} s, server's peak {memory / MIB:.0f} MiB (goal 200)", flush=True)


if __name__ == "__main__":
    main()
