"""Backups while something breaks: one remote, the host, a transfer, the chain."""

import os
import shutil
import threading

from support.checks import expect, same
from xenhost.vhd import Shape

from . import classic
from .options import forget, machine_tasks
from .world import MIB, SOAK


def exports(root):
    return {node.properties["id"]: node for node in root.all("export")}


def one_remote(w):
    """A remote that fails neither stops nor spoils the other, whatever it fails at."""
    pool = w.pool
    vm = pool.add_machine("one remote", disks=[12 * MIB], fill=1)
    missing = {**w.remotes, "classic": {**w.remotes["classic"], "url": "file:///proc/cairn-no-such-place"}}
    parameters = w.job(vm, job="broken-1", remote_values=missing)
    root = w.run(parameters)
    failures = [node for node in root.all() if node.status == "failure"]
    same([node.name for node in failures][:1], ["get remote adapter"], root.text())
    same(len(w.listed("chunks", vm)), 1, "backups on the other")
    unknown = {**w.remotes, "chunks": {**w.remotes["chunks"], "url": "file:///chunkstore/nowhere"}}
    root = w.run(w.job(vm, job="broken-2", remote_values=unknown))
    same(len(w.listed("classic", vm)), 1, f"backups on the other\n{root.text()}")
    taken = 1
    if SOAK:
        # The lock is somebody else's: it is waited for a minute.
        with Beating(os.path.join(w.classic_folder, "xo-vm-backups", vm + ".lock")):
            root = w.run(w.job(vm, job="broken-3"))
            expect("Lock file is already being held" in root.text(), root.text())
            same(len(w.listed("chunks", vm)), 2, "backups on the other")
            same(len(w.listed("classic", vm)), 1, "backups on the locked one")
        taken = 2
    # The place of the files is taken by a file.
    w.run(w.job(vm, job="broken-4")).must()
    folder = os.path.join(w.classic_folder, "xo-vm-backups", vm, "vdis", "broken-5")
    with open(folder, "w"):
        pass
    root = w.run(w.job(vm, job="broken-5"))
    same({name: node.status for name, node in exports(root).items()}, {"classic": "failure", "chunks": "success"}, root.text())
    same(len(w.listed("chunks", vm)), taken + 2, "backups on the other")
    same(len(w.listed("classic", vm)), 2, "backups on the failing one")
    os.remove(folder)
    w.clean()
    forget(w, vm)


class Beating:
    """A lock that another program holds: a folder that is touched all the time."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        os.makedirs(self.path)
        self.over = threading.Event()

        def beat():
            while not self.over.wait(0.5):
                os.utime(self.path)

        self.thread = threading.Thread(target=beat, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        os.rmdir(self.path)


def transfers(w):
    """Transfers that break leave no backup and nothing half; the next run is whole."""
    pool = w.pool
    vm = pool.add_machine("transfers", disks=[12 * MIB], fill=1)
    w.back_up(vm, job="breaks")
    kinds = [
        ("cut", {"after": 5 * MIB, "how": "close"}), ("cut", {"after": 5 * MIB, "how": "clean"}),
        ("cut", {"after": 1000, "how": "reset"}), ("in_body", {}), ("status", {"status": 500}),
        ("task_after", {"code": ["VDI_IO_ERROR", "late"]})]
    for mode, path in (("delta", "/export_raw_vdi"), ("full", "/export")):
        for kind, options in kinds if SOAK else kinds[::2] if mode == "full" else kinds[1:]:
            pool.change(pool.disks_of(vm)[0], 1, f"{w.seed} {mode} {kind} {options}")
            # A difference that fails is followed by a whole export: both have to break.
            pool.faults.add(kind, path=path, count=None, **options)
            before = {name: set(w.listed(name, vm)) for name in w.remotes}
            root = w.run(w.job(vm, mode, job="breaks"))
            same(machine_tasks(root)[0].status, "failure", f"{mode} {kind} {options}:\n{root.text()}")
            same({name: set(w.listed(name, vm)) for name in w.remotes}, before, f"{mode} {kind}: listing")
            pool.faults.clear()
            w.clean()
    pool.change(pool.disks_of(vm)[0], 0.5, w.seed)
    w.back_up(vm, job="breaks")
    w.back_up(vm, "full", job="breaks", schedule="weekly")
    # Once is made up for: a difference falls back to a whole export, with a word about it.
    pool.faults.add("status", path="/export_raw_vdi", status=500)
    pool.change(pool.disks_of(vm)[0], 0.5, f"{w.seed} again")
    before = {name: set(w.listed(name, vm)) for name in w.remotes}
    root = w.run(w.job(vm, job="breaks"))
    if machine_tasks(root)[0].status == "success":
        for name in w.remotes:
            made, _ = w.restore(name, (set(w.listed(name, vm)) - before[name]).pop())
            same(pool.digests(made), pool.digests(vm), name)
            pool.remove_machine(made)
    w.clean()
    for backup in [b for b in w.backups if b.machine == vm]:
        for name in w.remotes:
            w.check(backup, name)
    forget(w, vm)


def hosts(w):
    """The slave's address, expired sessions, lost events, lost connections, disks on the other host, no task is left."""
    pool = w.pool
    vm = pool.add_machine("hosts", disks=[8 * MIB], fill=1, storage="elsewhere")
    start = len(pool.transfers)
    w.back_up(vm, job="hosts")
    expect(all(t["listener"] == "slave" for t in pool.transfers[start:]), "the other host's disks come from there")
    w.back_up(vm, "full", job="hosts-full")
    for rule in (("expire", {"method": "VM.*", "skip": 4}), ("expire", {"method": "/export_raw_vdi"}),
                 ("events_lost", {}), ("drop", {"method": "VDI.get_*"}), ("drop", {"method": "event.from"}),
                 ("call", {"method": "VM.get_record", "code": ["TOO_MANY_PENDING_TASKS"]})):
        pool.scribble(pool.disks_of(vm)[0], 0.5, f"{w.seed} {rule}")
        pool.faults.add(rule[0], **rule[1])
        w.back_up(vm, job="hosts")
        pool.faults.clear()
    parameters = w.job(vm, job="hosts")
    parameters["xapis"] = {"pool-1": pool.xapi(slave=True)}
    w.run(parameters).must()
    pool.faults.add("redirect", path="/export_raw_vdi", to="loop", count=None)
    root = w.run(w.job(vm, job="hosts-loop"))
    same(machine_tasks(root)[0].status, "failure", root.text())
    pool.faults.clear()
    wrong = w.job(vm, job="hosts")
    wrong["xapis"]["pool-1"]["credentials"] = {"username": "root", "password": "no"}
    root = w.run(wrong)
    expect("SESSION_AUTHENTICATION_FAILED" in root.text() or "password" in root.text(), root.text())
    pool.faults.add("slow", path="/export_raw_vdi", rate=20 * MIB)
    pool.change(pool.disks_of(vm)[0], 1, f"{w.seed} slow")
    w.back_up(vm, job="hosts")
    w.clean()
    for backup in [b for b in w.backups if b.machine == vm]:
        for name in w.remotes:
            w.check(backup, name)
    forget(w, vm)


def shapes(w):
    """However a host lays out its streams, the bytes are the same."""
    pool = w.pool
    vm = pool.add_machine("shapes", disks=[13 * MIB + 512], fill=0.7)
    kinds = [Shape("descending", gaps=True), Shape("shuffled", True, False, True, seed=int(w.seed) % 1000),
             Shape("ascending", short_last=True, gaps=True), Shape("descending", short_last=True)]
    for number, shape in enumerate(kinds if SOAK else kinds[:3]):
        # A difference, and a whole disk.
        for job in ("shapes", f"shapes-{number}") if SOAK or number == 1 else ("shapes",):
            pool.shape, pool.declare_length = shape, number % 2 == 1
            pool.scribble(pool.disks_of(vm)[0], 0.6, f"{w.seed} shape {number} {job}")
            target = pool.disk(pool.disks_of(vm)[0])
            target.write(13 * MIB, b"end of the disk %d" % number)
            w.back_up(vm, job=job)
    pool.shape = Shape()
    pool.checksums = "sha1"
    w.back_up(vm, "full", job="shapes-full")
    for compression in ("native", "zstd"):
        w.back_up(vm, "full", job="shapes-full", more={"compression": compression})
    w.clean()
    for backup in [b for b in w.backups if b.machine == vm]:
        for name in w.remotes:
            w.check(backup, name)
    forget(w, vm)


def bases(w):
    """A base that is gone, on the host or in a remote, makes the next backup whole where it has to be."""
    pool = w.pool
    vm = pool.add_machine("bases", disks=[8 * MIB, 4 * MIB], fill=1)
    w.back_up(vm, job="bases")

    def again(expected, what):
        for disk in pool.disks_of(vm):
            pool.scribble(disk, 0.5, f"{w.seed} {what} {disk}")
        root, _ = w.back_up(vm, job="bases")
        if expected is not None:
            same({name: node.properties["isFull"] for name, node in exports(root).items()}, expected, f"{what}:\n{root.text()}")
        return root

    again({"classic": False, "chunks": False}, "a normal run")
    for snapshot in list(pool.record("VM", vm)["snapshots"]):
        pool.remove_machine(snapshot)
    again({"classic": True, "chunks": True}, "the snapshot is gone")
    newest = max(w.listed("classic", vm))
    w.caller.scalar("backup.deleteVmBackups", filenames=[newest], remote=w.remotes["classic"])
    next(b for b in w.backups if b.ids.get("classic") == newest).ids.pop("classic")
    again(None, "the newest backup of one remote is gone")
    # A broken file of the chain: the backup that needs it is gone from the listing, the others are not.
    folder = os.path.join(w.classic_folder, "xo-vm-backups", vm, "vdis", "bases", pool.disks_of(vm)[0])
    path = os.path.join(folder, max(name for name in os.listdir(folder) if name.endswith(".vhd")))
    with open(path, "r+b") as file:
        file.write(b"broken")
        file.seek(-512, 2)
        file.write(b"broken")
    again(None, "a disk's newest file is broken")
    lost = [b for b in w.backups if b.machine == vm and b.ids.get("classic") and b.ids["classic"] not in w.listed("classic", vm)]
    expect(len(lost) <= 1, f"{len(lost)} backups vanished with one file")
    for backup in lost:
        backup.ids.pop("classic")
    again({"classic": False, "chunks": False}, "a normal run again")
    # A folder of one remote vanishes.
    shutil.rmtree(os.path.join(w.classic_folder, "xo-vm-backups", vm))
    for backup in w.backups:
        if backup.machine == vm:
            backup.ids.pop("classic", None)
    again(None, "one remote is empty")
    w.clean()
    for backup in [b for b in w.backups if b.machine == vm]:
        for name in backup.ids:
            w.check(backup, name)
    for path in classic.vhds(os.path.join(w.classic_folder, "xo-vm-backups", vm)):
        classic.opened(path).digest()
    forget(w, vm)


def retries(w):
    """A machine that fails is tried again after the others, in the same task."""
    pool = w.pool
    machines = [pool.add_machine(f"retry-{n}", disks=[4 * MIB], fill=1) for n in range(2)]
    pool.faults.add("task", method="VM.snapshot", code=["SR_BACKEND_FAILURE_44", "", "no space"])
    root = w.run(w.job(machines, job="retries", settings={"nRetriesVmBackupFailures": 1, "concurrency": 1}))
    same([node.status for node in machine_tasks(root)], ["success", "success"], root.text())
    warnings = [warning for node in machine_tasks(root) for warning in node.warnings if (warning.get("data") or {}).get("isRetry")]
    same(len(warnings), 1, root.text())
    same(w.caller.scalar("task.get", taskId=root.id)["status"], "success", "a failed child that was retried is forgiven")
    for machine in machines:
        same({name: len(w.listed(name, machine)) for name in w.remotes}, {"classic": 1, "chunks": 1}, "backups")
    w.clean()
    for machine in machines:
        forget(w, machine)
