"""Large disks cost what changed in them, and the server's memory does not grow with them."""

from support.checks import expect, same

from .world import MIB, SOAK, World

SIZE = (20 if SOAK else 1) << 30
MEMORY = 200 * MIB


def peak(server):
    """The server's largest resident memory so far, in bytes."""
    with open(f"/proc/{server.process.pid}/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def large(w):
    """One percent of the blocks changed: that is what is transferred, within 5 %."""
    with World() as world:
        pool = world.pool
        vm = pool.add_machine("large", disks=[SIZE], fill=0.02)
        disk = pool.disks_of(vm)[0]
        world.back_up(vm, job="large")
        changed = pool.change(disk, 0.01, w.seed) * 2 * MIB
        start = len(pool.transfers)
        root, backup = world.back_up(vm, job="large")
        moved = sum(t["bytes"] for t in pool.transfers[start:])
        expect(changed <= moved <= changed * 1.05, f"{moved} bytes for {changed} that changed")
        for node in root.all("transfer"):
            expect(changed <= node.result["size"] <= changed * 1.05, f"{node.result} for {changed}")
        used = peak(world.server)
        for name in world.remotes:
            world.check(backup, name)
        world.clean()
        print(f"{SIZE >> 30} GiB, 1 % changed: {moved / changed - 1:.2%} more than the blocks; server's memory at most "
              f"{used / MIB:.0f} MiB, {peak(world.server) / MIB:.0f} MiB with restores")
        if SOAK:
            expect(used < MEMORY, f"{used / MIB:.0f} MiB of memory")
        same(pool.unexpected_calls(), [], "calls")
