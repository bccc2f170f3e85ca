"""Xen machines backed up and restored through the whole program: against the double of a pool, over TLS, into a classic
remote and a chunk store at once.

    python -m xen.run [SEED] [TEST…]

`CAIRN_SOAK=1`: larger disks, longer chains.
"""

import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from support.checks import Checks  # noqa: E402
from xen import backups, breaks, elsewhere, ends, large, options, restores  # noqa: E402
from xen.world import World  # noqa: E402

# Times, and failures in full.
VERBOSE = os.environ.get("XEN_VERBOSE") == "1"
TESTS = [
    backups.chain, backups.files, backups.merge, backups.deletion, backups.collection, backups.datastore,
    backups.written_elsewhere, options.left_out, options.offline, options.memory, options.rolling, options.refused,
    options.forced, options.retention, options.metadata, options.several_machines, breaks.one_remote, breaks.transfers,
    breaks.hosts, breaks.shapes, breaks.bases, breaks.retries, ends.cancelled, ends.cancelled_restore, ends.killed,
    restores.settings, restores.suspended, restores.networks, restores.broken, elsewhere.elsewhere, large.large,
]


def main():
    arguments = sys.argv[1:]
    seed = arguments.pop(0) if arguments and arguments[0].isdigit() else str(random.randrange(1 << 32))
    chosen = [test for test in TESTS if not arguments or test.__name__ in arguments]
    print(f"seed {seed}")
    checks = Checks("xen")
    with World() as world:
        for test in chosen:
            world.seed = seed
            began = time.monotonic()
            checks.run(test.__name__, isolated, world, test)
            if VERBOSE:
                print(f"  {test.__name__}: {time.monotonic() - began:.1f} s", flush=True)
        unexpected = world.pool.unexpected_calls()
        checks.run("no call beyond those that backups need", expect_none, unexpected)
        if checks.failed:
            print("\n".join(world.server.log[-60:]))
    sys.exit(checks.finish())


def isolated(world, test):
    """Whatever a test breaks on the hosts is whole again for the next."""
    before = set(world.pool.machines().values())
    try:
        test(world)
    except Exception as problem:
        if VERBOSE:
            print(problem, flush=True)
        for machine in set(world.pool.machines().values()) - before:
            world.pool.remove_machine(machine)
            world.backups = [backup for backup in world.backups if backup.machine != machine]
        raise
    finally:
        world.pool.faults.clear()
        world.pool.reset_switches()


def expect_none(values):
    if values:
        raise AssertionError(json.dumps(values))


if __name__ == "__main__":
    main()
