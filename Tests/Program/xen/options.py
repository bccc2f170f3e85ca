"""What settings of jobs do."""

import base64
import json
import os

from support.checks import expect, same

from .world import MIB, SOAK, RPCError, ids


def failed(node, text):
    """The task failed, and says so."""
    same(node.status, "failure", node.text())
    expect(text in json.dumps(node.result), f"{text!r} is not in {json.dumps(node.result)}")


def machine_tasks(root):
    return root.all("backup VM")


def left_out(w):
    """Disks named [NOBAK] are left out; a machine without any disk is backed up all the same."""
    pool = w.pool
    vm = pool.add_machine("mixed", disks=[4 * MIB, {"size": 4 * MIB, "name": "[NOBAK] cache"}], fill=1, running=True, cd=True)
    for mode in ("full", "delta"):
        for ignores in (True, False) if SOAK or mode == "delta" else (True,):
            pool.snapshot_ignores = ignores
            before = {name: set(w.listed(name, vm)) for name in w.remotes}
            w.run(w.job(vm, mode, job=f"nobak-{mode}")).must()
            for name in w.remotes:
                identity = (set(w.listed(name, vm)) - before[name]).pop()
                made, _ = w.restore(name, identity)
                same(pool.digests(made), pool.digests(vm)[:1], f"{mode} on {name}")
                pool.remove_machine(made)
    w.clean()
    pool.snapshot_ignores = True
    only = pool.add_machine("only [NOBAK]", disks=[{"size": 4 * MIB, "name": "[NOBAK]"}])
    none = pool.add_machine("diskless")
    for machine in (only, none):
        _, backup = w.back_up_metadata(machine)
        for name in w.remotes:
            made, _ = w.restore(name, backup[name])
            same(pool.digests(made), [], "disks")
            pool.remove_machine(made)
    w.clean()
    for machine in (vm, only, none):
        pool.remove_machine(machine)


def offline(w):
    """Machines are shut down for a backup and started again, also after a failure."""
    pool = w.pool
    vm = pool.add_machine("offline", disks=[4 * MIB], fill=1, running=True)
    for mode, setting in (("full", "offlineBackup"), ("delta", "offlineBackup"), ("delta", "offlineSnapshot")):
        start = len(pool.log)
        w.run(w.job(vm, mode, job=f"off-{mode}-{setting}", settings={setting: True})).must()
        methods = [entry["method"] for entry in pool.log[start:]]
        expect("Async.VM.clean_shutdown" in methods and "Async.VM.start" in methods, f"{setting}: {methods}")
        same(pool.record("VM", vm)["power_state"], "Running", f"{mode} {setting}")
    pool.faults.add("status", path="/export_raw_vdi", status=500, count=None)
    root = w.run(w.job(vm, job="off-failing", settings={"offlineBackup": True}))
    same(machine_tasks(root)[0].status, "failure", root.text())
    same(pool.record("VM", vm)["power_state"], "Running", "after a failure")
    pool.faults.clear()
    root = w.run(w.job(vm, job="off-3", settings={"offlineBackup": True, "snapshotRetention": 1}))
    same(machine_tasks(root)[0].status if machine_tasks(root) else root.status, "failure", "contradicting settings")
    w.clean()
    pool.remove_machine(vm)


def memory(w):
    """A checkpoint takes the memory along; the restored machine is suspended."""
    pool = w.pool
    vm = pool.add_machine("memory", disks=[4 * MIB], fill=1, running=True)
    before = {name: set(w.listed(name, vm)) for name in w.remotes}
    w.run(w.job(vm, job="memory", settings={"checkpointSnapshot": True})).must()
    for name in w.remotes:
        identity = (set(w.listed(name, vm)) - before[name]).pop()
        same(w.listed(name, vm)[identity]["withMemory"], True, "withMemory")
        made, _ = w.restore(name, identity)
        record = pool.record("VM", made)
        same(record["power_state"], "Suspended", f"{name}: power state")
        same(pool.digests(made), pool.digests(vm), "disks")
        same(pool.disk(record["suspend_VDI"]).size, 8 * MIB, "memory image")
        pool.remove_machine(made)
    w.clean()
    pool.remove_machine(vm)


def rolling(w):
    """Snapshots alone: that many stay, of this schedule."""
    pool = w.pool
    vm = pool.add_machine("rolling", disks=[4 * MIB], fill=1)
    for number in range(4):
        parameters = w.job(vm, "full", remotes=(), job="rolling", settings={"exportRetention": 0, "snapshotRetention": 2})
        parameters["job"].pop("remotes")
        w.run(parameters).must()
        same(len(pool.record("VM", vm)["snapshots"]), min(number + 1, 2), f"snapshots after run {number}")
    snapshots = [pool.record("VM", ref) for ref in pool.record("VM", vm)["snapshots"]]
    for record in snapshots:
        marks = {key: value for key, value in record["other_config"].items() if key.startswith("xo:backup")}
        same((marks.get("xo:backup:job"), marks.get("xo:backup:schedule"), marks.get("xo:backup:vm")), ("rolling", "nightly", vm),
             "marks of a snapshot")
        same(record["name_label"], "[XO Backup rolling name] rolling", "name")
        same(record["is_a_template"], False, "template")
    w.clean(snapshots=2)
    pool.remove_machine(vm)


def refused(w):
    """What is not to be backed up is refused with a reason: replicas of the job, machines on the move, odd jobs."""
    pool, call = w.pool, w.caller
    vm = pool.add_machine("refused", disks=[4 * MIB], fill=1)
    ref = pool.ref("VM", vm)
    # The spec's own replica: marked with this job, and its start is blocked.
    pool.store.put("VM", ref, "other_config", {"xo:backup:job": "own"})
    pool.store.put("VM", ref, "blocked_operations", {"start": "replica"})
    failed(machine_tasks(w.run(w.job(vm, job="own")))[0], "cannot backup a VM created by this very job")
    pool.store.put("VM", ref, "other_config", {})
    pool.store.put("VM", ref, "blocked_operations", {})
    pool.store.put("VM", ref, "current_operations", {"OpaqueRef:t": "migrate_send"})
    failed(machine_tasks(w.run(w.job(vm, job="own")))[0], "cannot backup a VM currently being migrated")
    pool.store.put("VM", ref, "current_operations", {})
    same(w.listed("classic", vm), {}, "no backup")
    for change, text in (({"type": "odd"}, "No runner for the backup type odd"), ({"remotes": {"id": 5}}, "invalid pattern")):
        try:
            root = w.run(w.job(vm, job="odd", more=change))
            failed(root, text)
        except RPCError as error:
            expect(text in error.text, f"{error}")
    root = w.run(w.job(vm, job="odd", mode="sideways"))
    failed(machine_tasks(root)[0] if machine_tasks(root) else root, "Job mode sideways not implemented")
    parameters = w.job(vm, job="lost")
    parameters["recordToXapi"] = {}
    failed(machine_tasks(w.run(parameters))[0], f"no XAPI associated to {vm}")
    # An unhealthy chain.
    pool.coalesce = False
    for number in range(3):
        pool.remove_machine(pool.snapshot(ref, f"s{number}", set(), False))
    tree = w.run(w.job(vm, job="chained"))
    failed(machine_tasks(tree)[0], "unhealthy VDI chain")
    same(call.scalar("task.get", taskId=tree.id)["status"], "skipped", "status of the task")
    w.run(w.job(vm, job="chained", settings={"bypassVdiChainsCheck": True})).must()
    pool.coalesce = True
    pool.remove_machine(pool.snapshot(ref, "x", set(), False))
    w.clean()
    # A job runs once at a time; others run beside it.
    hold = pool.faults.add("hold", method="VM.snapshot")
    stream = w.start(w.job(vm, job="twice"))
    expect(hold.reached.wait(120), "the first run has begun")
    same(call.items("backup.listRunningJobs"), ["twice"], "running jobs")
    try:
        w.caller.stream("backup.run", **w.job(vm, job="twice")).finish()
        raise AssertionError("a job ran twice at once")
    except RPCError as error:
        same((error.text, error.data.get("jobId")), ("job is already running", "twice"), "error")
    hold.release()
    stream.finish().must()
    same(call.items("backup.listRunningJobs"), [], "running jobs afterwards")
    w.clean()
    pool.remove_machine(vm)


def forced(w):
    """fullInterval forces whole backups; another job's chain is another chain."""
    pool = w.pool
    vm = pool.add_machine("forced", disks=[6 * MIB], fill=1)
    full = []
    for number in range(5):
        pool.scribble(pool.disks_of(vm)[0], 0.4, f"{w.seed} forced {number}")
        root, _ = w.back_up(vm, job="interval", settings={"fullInterval": 3})
        full.append(root.all("export")[0].properties["isFull"])
    same(full, [True, False, False, True, False], "fullInterval 3")
    root, _ = w.back_up(vm, job="interval", settings={"fullInterval": 1})
    same(root.all("export")[0].properties["isFull"], True, "fullInterval 1")
    for backup in [b for b in w.backups if b.machine == vm]:
        for name in w.remotes:
            w.check(backup, name)
    forget(w, vm)


def forget(w, vm):
    """A machine and its backups go."""
    for name in w.remotes:
        listed = list(w.listed(name, vm))
        if listed:
            w.caller.scalar("backup.deleteVmBackups", filenames=listed, remote=w.remotes[name])
    w.backups = [b for b in w.backups if b.machine != vm]
    w.pool.remove_machine(vm)


def retention(w):
    """Schedules are counted apart; deleteFirst makes room before; each remote may have its own number."""
    pool = w.pool
    vm = pool.add_machine("kept", disks=[4 * MIB], fill=1)
    for number in range(3 + SOAK):
        pool.scribble(pool.disks_of(vm)[0], 0.5, f"{w.seed} kept {number}")
        w.run(w.job(vm, "delta", schedule="a", job="kept", retention=2, per={"chunks": {"exportRetention": 3}})).must()
        w.run(w.job(vm, "full", schedule="b", job="kept-full", retention=1, settings={"deleteFirst": number % 2 == 0})).must()
    for name, count in (("classic", 2), ("chunks", 3)):
        listed = w.listed(name, vm).values()
        same(len([b for b in listed if b["scheduleId"] == "a"]), count, f"deltas on {name}")
        same(len([b for b in listed if b["scheduleId"] == "b"]), 1, f"full backups on {name}")
        same([b["timestamp"] for b in listed], sorted(b["timestamp"] for b in listed), "order")
    off = w.job(vm, "delta", schedule="a", job="kept", retention=2, per={"chunks": {"exportRetention": 0}})
    before = set(w.listed("chunks", vm))
    w.run(off).must()
    same(set(w.listed("chunks", vm)), before, "a remote with retention 0 is not used")
    w.clean()
    forget(w, vm)


def metadata(w):
    """Pools and the configuration of Xen Orchestra itself: backed up, kept in number, listed, restored, deleted."""
    pool, call = w.pool, w.caller
    identity = pool.record("pool", pool.pool)["uuid"]
    schedule = "11111111-1111-4111-8111-111111111111"

    def job(xo=None, pools=(identity,), remotes=tuple(w.remotes), settings=None):
        made = {"id": "meta", "type": "metadataBackup", "name": "meta", "settings": {schedule: (
            {"retentionPoolMetadata": 2, "retentionXoMetadata": 2} if settings is None else settings)}}
        if remotes:
            made["remotes"] = ids(remotes)
        if pools:
            made["pools"] = ids(pools)
        if xo is not None:
            made["xoMetadata"] = xo
        return {"job": made, "remotes": {name: w.remotes[name] for name in remotes}, "schedule": {"id": schedule, "name": "s"},
                "xapis": {"pool-1": pool.xapi()}, "recordToXapi": {pool: "pool-1" for pool in pools}, "streamLogs": True}

    contents = ['{"users":["one"]}', {"encoding": "base64", "data": base64.b64encode(os.urandom(5000)).decode()},
                '{"users":["three"]}']
    dumps = []
    for content in contents:
        w.start(job(content)).finish().must()
        dumps.append(pool.last_dump)
    for name in w.remotes:
        remote = {name: w.remotes[name]}
        xo = call.scalar("backup.listXoMetadataBackups", remotes=remote)[name]
        same((len(xo), xo[0]["jobId"], xo[0]["scheduleId"]), (2, "meta", schedule), f"configurations on {name}")
        expect(all(entry["id"].startswith(f"/xo-config-backups/{schedule}/") for entry in xo), f"ids {xo}")
        dump = call.scalar("backup.listPoolMetadataBackups", remotes=remote)[name][identity]
        same((len(dump), dump[0]["pool"]["uuid"], dump[0]["poolMaster"]["hostname"]), (2, identity, "host-a"), "pools")
        for entry, content in zip(xo, contents[1:]):
            root = call.stream("backup.restoreMetadataBackup", backupId=entry["id"].lstrip("/"), remote=w.remotes[name]).finish()
            same((root.must().name, root.result), ("metadataRestore", content), f"{name}: configuration")
        for entry, content in zip(dump, dumps[1:]):
            call.stream("backup.restoreMetadataBackup", backupId=entry["id"].lstrip("/"), remote=w.remotes[name],
                        xapi=pool.xapi()).finish().must()
            same(pool.database, content, f"{name}: dump")
        call.scalar("backup.deleteMetadataBackup", backupId=xo[0]["id"], remote=w.remotes[name])
        call.scalar("backup.deleteMetadataBackup", backupId=dump[0]["id"], remote=w.remotes[name])
        same(len(call.scalar("backup.listXoMetadataBackups", remotes=remote)[name]), 1, "after deletion")
        same(len(call.scalar("backup.listPoolMetadataBackups", remotes=remote)[name][identity]), 1, "after deletion")
        try:
            call.scalar("backup.deleteMetadataBackup", backupId="/xo-vm-backups/x", remote=w.remotes[name])
            raise AssertionError("an odd id was deleted")
        except RPCError:
            pass
    for parameters, text in ((job("x", remotes=()), "metadata backup job cannot run without remotes"),
                             (job(None, pools=()), "no metadata mode found"),
                             (job("x", settings={}), "no retentions corresponding to the metadata modes found")):
        try:
            failed(w.start(parameters).finish(), text)
        except RPCError as error:
            expect(text in error.text, f"{error}")
    # The pool is away: the configuration is backed up all the same.
    pool.faults.add("status", path="/pool/xmldbdump", status=500, count=None)
    root = w.start(job(contents[0])).finish()
    kinds = {node.properties["type"]: node.status for node in root.all() if node.properties.get("type") in ("pool", "xo")}
    same(kinds, {"pool": "failure", "xo": "success"}, root.text())
    pool.faults.clear()
    w.clean()


def several_machines(w):
    """Many machines in one job, two at a time; one that fails is the only one."""
    pool = w.pool
    machines = [pool.add_machine(f"many-{n}", disks=[4 * MIB], fill=1) for n in range(5)]
    parameters = w.job(machines, job="many", settings={"concurrency": 2})
    pool.task_delay = 0.1
    pool.faults.add("task", method="VM.snapshot", code=["SR_BACKEND_FAILURE_44", "", "no space"], skip=2)
    root = w.run(parameters)
    same((root.status, len(machine_tasks(root))), ("success", 5), "root")
    same(sorted(node.status for node in machine_tasks(root)), ["failure"] + ["success"] * 4, root.text())
    same(w.caller.scalar("task.get", taskId=root.id)["status"], "failure", "the task's status counts its children")
    same(sorted(node.properties["id"] for node in machine_tasks(root)), sorted(machines), "machines")
    w.clean()
    for machine in machines:
        forget(w, machine)
