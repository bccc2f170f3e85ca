"""Runs that are cancelled, and servers that are killed."""

import signal
import time

from support.checks import expect, same

from .options import forget
from .world import MIB, SOAK


def status(w, identity):
    return w.caller.scalar("task.get", taskId=identity)["status"]


def settled(w, **allowed):
    """`clean`, once what goes on in the background has come to its end."""
    limit = time.monotonic() + 120
    while True:
        try:
            w.clean(**allowed)
            return
        except AssertionError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.2)


def cancelled(w):
    """Cancelled at each step, a run ends as canceled and leaves nothing on the host or in the remotes."""
    pool = w.pool
    vm = pool.add_machine("cancelled", disks=[12 * MIB], fill=1, running=True)
    w.back_up(vm, job="cancel")
    points = [
        ("delta", {}, ("hold", {"method": "VM.snapshot"})),
        ("delta", {}, ("stall", {"path": "/export_raw_vdi", "after": 0})),
        ("delta", {}, ("stall", {"path": "/export_raw_vdi", "after": 5 * MIB})),
        ("full", {}, ("stall", {"path": "/export", "after": 5 * MIB})),
        ("delta", {"offlineBackup": True}, ("hold", {"method": "VM.clean_shutdown"})),
    ]
    for mode, settings, (kind, options) in points:
        pool.change(pool.disks_of(vm)[0], 1, f"{w.seed} cancelled {mode} {kind} {options}")
        before = {name: set(w.listed(name, vm)) for name in w.remotes}
        rule = pool.faults.add(kind, **options)
        stream = w.start(w.job(vm, mode, job="cancel", settings={**settings, "unconditionalSnapshot": True}))
        first = next(iter(stream))
        expect(rule.reached.wait(120), f"{mode} {kind} {options} was reached")
        same(w.caller.scalar("task.cancel", taskId=first["id"]), True, "task.cancel")
        root = stream.finish()
        what = f"{mode} {kind} {options}:\n{root.text()}"
        same((root.status, (root.result or {}).get("name")), ("failure", "CanceledError"), what)
        same(status(w, root.id), "canceled", what)
        pool.faults.clear()
        settled(w)
        same({name: set(w.listed(name, vm)) for name in w.remotes}, before, what)
        same(pool.record("VM", vm)["power_state"], "Running", what)
    # One machine's part is cancelled; the job goes on.
    rule = pool.faults.add("hold", method="VM.snapshot")
    other = pool.add_machine("goes on", disks=[4 * MIB], fill=1)
    stream = w.start(w.job([vm, other], job="cancel", settings={"concurrency": 1}))
    event = stream.until(lambda e: e["type"] == "start" and e["properties"]["name"] == "backup VM")
    expect(rule.reached.wait(120), "held")
    w.caller.scalar("task.cancel", taskId=event["id"])
    root = stream.finish()
    same(sorted(node.status for node in root.all("backup VM")), ["failure", "success"], root.text())
    settled(w)
    pool.change(pool.disks_of(vm)[0], 0.5, f"{w.seed} after")
    w.back_up(vm, job="cancel")
    for backup in [b for b in w.backups if b.machine == vm]:
        for name in w.remotes:
            w.check(backup, name)
    forget(w, vm)
    forget(w, other)


def cancelled_restore(w):
    """A restore that is cancelled takes back the machine and its disks."""
    pool = w.pool
    vm = pool.add_machine("restored", disks=[12 * MIB], fill=1)
    backups = [w.back_up(vm, job="r")[1], w.back_up(vm, "full", job="r-full")[1]]
    machines = set(pool.machines().values())
    for backup, path in zip(backups, ("/import_raw_vdi", "/import")):
        for name in w.remotes:
            rule = pool.faults.add("stall", path=path, after=3 * MIB)
            stream = w.caller.stream(
                "backup.importVmBackup", backupId=backup.ids[name], remote=w.remotes[name], xapi=pool.xapi(),
                srUuid=pool.record("SR", pool.storage["shared"])["uuid"], streamLogs=True)
            first = next(iter(stream))
            expect(rule.reached.wait(120), f"{path} was reached")
            w.caller.scalar("task.cancel", taskId=first["id"])
            root = stream.finish()
            same((root.status, status(w, root.id)), ("failure", "canceled"), root.text())
            pool.faults.clear()
            settled(w)
            same(set(pool.machines().values()), machines, f"machines after {path}")
    forget(w, vm)


def killed(w):
    """Killed in the middle, the server starts again with the task interrupted; the next run tidies up."""
    pool = w.pool
    vm = pool.add_machine("killed", disks=[12 * MIB], fill=1, running=True)
    w.back_up(vm, job="kill")
    points = [("delta", "stall", {"path": "/export_raw_vdi", "after": 5 * MIB}), ("delta", "hold", {"method": "VM.snapshot"}),
              ("full", "stall", {"path": "/export", "after": 5 * MIB})]
    for mode, kind, options in points if SOAK else points[:1]:
        pool.change(pool.disks_of(vm)[0], 1, f"{w.seed} killed {mode} {kind}")
        rule = pool.faults.add(kind, **options)
        stream = w.start(w.job(vm, mode, job="kill", settings={"unconditionalSnapshot": True}))
        first = next(iter(stream))
        expect(rule.reached.wait(120), f"{options} was reached")
        # What is known of a task is written every two seconds at most.
        time.sleep(2.5)
        w.server.stop(signal.SIGKILL)
        stream.leave()
        pool.faults.clear()
        w.server.start()
        task = w.caller.scalar("task.get", taskId=first["id"])
        same((task["status"], "end" in task), ("interrupted", True), "the task of the killed run")
        # The lock of the dead server is stale after ten seconds: the run waits for it.
        before = {name: set(w.listed(name, vm)) for name in w.remotes}
        w.run(w.job(vm, mode, job="kill")).must()
        for name in w.remotes:
            made, _ = w.restore(name, (set(w.listed(name, vm)) - before[name]).pop())
            same(pool.digests(made), pool.digests(vm), name)
            pool.remove_machine(made)
        # The host's own tasks of a dead client stay there.
        for ref in list(pool.store.tables["task"]):
            pool.store.remove("task", ref)
        settled(w)
    for backup in [b for b in w.backups if b.machine == vm]:
        for name in w.remotes:
            w.check(backup, name)
    forget(w, vm)
