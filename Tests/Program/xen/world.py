"""A server, a pool of hosts, two remotes, and what was backed up."""

import json
import os
import random
import shutil
import tempfile
import time

from support.checks import expect, same
from support.server import Server
from xenhost import Pool

from . import classic
from .caller import Caller, RPCError

MIB = 1 << 20
SOAK = os.environ.get("CAIRN_SOAK") == "1"
# `file` remotes are refused unless the administrator allows them.
ARGUMENTS = ["--xo-allow-file-remotes"]


class Expected:
    """A backup and what it has to give back."""

    def __init__(self, machine, digests, mode, sizes):
        self.machine = machine
        self.digests = digests
        self.mode = mode
        self.sizes = sizes
        self.ids = {}


class World:
    def __init__(self, arguments=(), tls=True):
        self.folder = tempfile.mkdtemp(prefix="cairn-xen-")
        self.pool = Pool(os.path.join(self.folder, "pool"), tls=tls)
        self.server = Server([*ARGUMENTS, *arguments], folder=os.path.join(self.folder, "server"))
        self.store_folder = self.server.datastore("xen")
        self.classic_folder = os.path.join(self.folder, "classic")
        os.makedirs(self.classic_folder)
        self.remotes = {
            "classic": {"id": "classic", "name": "Classic", "url": "file://" + self.classic_folder, "enabled": True},
            "chunks": {"id": "chunks", "name": "Chunks", "url": "file:///chunkstore/xen", "enabled": True}}
        self.backups = []
        self.clock = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stop()
        self.pool.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def caller(self):
        with open(os.path.join(self.server.state, "xo-token")) as file:
            return Caller(self.server.address, file.read().strip())

    # Jobs ----------------------------------------------------------------------------------------------------------

    def job(self, machines, mode="delta", remotes=("classic", "chunks"), schedule="nightly", job="job-1", retention=99,
            settings=None, more=None, per=None, remote_values=None, pool=None):
        """Parameters of `backup.run`."""
        machines = [machines] if isinstance(machines, str) else list(machines)
        pool = pool or self.pool
        own = {"exportRetention": retention, **(settings or {})}
        return {
            "job": {
                "id": job, "type": "backup", "name": f"{job} name", "mode": mode, "vms": ids(machines), "remotes": ids(remotes),
                "settings": {"": {"reportWhen": "always"}, schedule: own, **(per or {})}, "compression": "", "userId": "u",
                **(more or {})},
            "remotes": {name: (remote_values or self.remotes)[name] for name in remotes},
            "schedule": {"id": schedule, "name": "a schedule", "cron": "0 0 * * *"},
            "xapis": {"pool-1": pool.xapi()},
            "recordToXapi": {machine: "pool-1" for machine in machines},
            "streamLogs": True,
        }

    def start(self, parameters):
        # Two backups of a machine in one second would have one name.
        now = int(time.time())
        if now <= self.clock:
            time.sleep(self.clock + 1 - time.time())
        self.clock = int(time.time())
        return self.caller.stream("backup.run", **parameters)

    def run(self, parameters):
        return self.start(parameters).finish()

    def back_up(self, machine, mode="delta", remotes=("classic", "chunks"), **options):
        """One backup that has to succeed everywhere; remembers what it has to give back."""
        before = {name: set(self.listed(name, machine)) for name in remotes}
        expected = Expected(machine, self.pool.digests(machine), mode, [self.pool.disk(d).size for d in self.pool.disks_of(machine)])
        root = self.run(self.job(machine, mode, remotes, **options)).must()
        for name in remotes:
            new = set(self.listed(name, machine)) - before[name]
            same(len(new), 1, f"new backups on {name} after\n{root.text()}")
            expected.ids[name] = new.pop()
        self.backups.append(expected)
        return root, expected

    def back_up_metadata(self, machine, **options):
        """One backup of a machine without disks that count; gives (tree, id by remote)."""
        before = {name: set(self.listed(name, machine)) for name in self.remotes}
        root = self.run(self.job(machine, **options)).must()
        return root, {name: (set(self.listed(name, machine)) - before[name]).pop() for name in self.remotes}

    # Looking -------------------------------------------------------------------------------------------------------

    def listing(self, remote):
        answer = self.caller.scalar("backup.listVmBackups", remotes={remote: self.remotes[remote]})
        expect(remote in answer, f"{remote} is missing in {json.dumps(answer)[:300]}")
        return answer[remote]

    def listed(self, remote, machine):
        """Backups of a machine on a remote, by id."""
        return {backup["id"]: backup for backup in self.listing(remote).get(machine, [])}

    def restore(self, remote, identity, settings=None, storage="shared"):
        """Restores a backup; gives (uuid of the new machine, tree)."""
        root = self.caller.stream(
            "backup.importVmBackup", backupId=identity, remote=self.remotes[remote], xapi=self.pool.xapi(),
            srUuid=self.pool.record("SR", self.pool.storage[storage])["uuid"], settings=settings or {}, streamLogs=True).finish()
        root.must()
        same(root.name, "restore", "root")
        expect(isinstance(root.result, dict) and set(root.result) >= {"id", "size"}, f"result {root.result}")
        return root.result["id"], root

    def check(self, expected, remote, keep=False):
        """A backup gives back the bytes of its snapshot."""
        machine, root = self.restore(remote, expected.ids[remote])
        try:
            same(self.pool.digests(machine), expected.digests, f"{remote}: disks of {expected.ids[remote]}")
            record = self.pool.record("VM", machine)
            expect("restored from backup" in record["tags"], f"tags {record['tags']}")
            expect(not record["blocked_operations"] and not record["is_a_template"], f"{record['name_label']}: marks are left")
            expect(not any(key.startswith("xo:backup") for key in record["other_config"]), f"marks {record['other_config']}")
        finally:
            if not keep:
                self.pool.remove_machine(machine)
        return machine

    def check_all(self, sample=None, rng=None):
        """All remembered backups (or that many of each remote) give back their bytes, and nothing more is listed."""
        count = 0
        for remote in self.remotes:
            there = [backup for backup in self.backups if remote in backup.ids]
            for machine in {backup.machine for backup in self.backups}:
                same(sorted(self.listed(remote, machine)), sorted(b.ids[remote] for b in there if b.machine == machine),
                     f"listing of {remote}")
            for backup in rng.sample(there, sample) if sample and len(there) > sample else there:
                self.check(backup, remote)
                count += 1
        return count

    def clean(self, **allowed):
        """Nothing is left over on the hosts, and no half things in the remotes."""
        left = self.pool.leftovers(**allowed)
        same(left, [], "left over on the host")
        strays = [name for name in classic.files(self.classic_folder)
                  if os.path.basename(name).startswith(".") or "/." in name or ".lock" in name]
        same(strays, [], "left over in the remote")
        staged = os.path.join(self.store_folder, ".cairn", "sessions")
        same(os.listdir(staged) if os.path.isdir(staged) else [], [], "sessions in the datastore")

    def collect(self):
        self.server.owner("garbage-collection", "start", "xen")


def ids(names):
    names = list(names)
    return {"id": names[0] if len(names) == 1 else {"__or": names}}


__all__ = ["World", "Expected", "RPCError", "MIB", "SOAK", "ids", "random"]
