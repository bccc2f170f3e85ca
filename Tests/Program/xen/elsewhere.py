"""A datastore of another backup server as a remote, over the network."""

from support.checks import expect, same
from support.server import Server

from .world import MIB


def elsewhere(w):
    """Backups lie on another server as they do here, and come back from there."""
    with Server() as far:
        far.datastore("far")
        far.owner("user", "create", "xo@pbs", "--password", "far-password")
        far.owner("acl", "update", "/datastore/far", "DatastoreAdmin", "--auth-id", "xo@pbs")
        w.server.owner("remote", "create", "site2", "--host", "127.0.0.1", "--port", str(far.address[1]),
                       "--auth-id", "xo@pbs", "--password", "far-password", "--fingerprint", far.fingerprint)
        w.remotes["far"] = {"id": "far", "name": "Far", "url": "file:///chunkstore/@site2/far", "enabled": True}
        try:
            kept(w, far)
        finally:
            w.backups = [backup for backup in w.backups if "far" not in backup.ids]
            del w.remotes["far"]


def kept(w, far):
    pool, names = w.pool, ("far", "chunks")
    same(w.caller.scalar("remote.test", remote=w.remotes["far"])["success"], True, "test of the remote")
    vm = pool.add_machine("far", disks=[8 * MIB, 5 * MIB + 4096], fill=0.6)
    backups = [w.back_up(vm, remotes=names, job="far-job")[1]]
    for number in range(2):
        for disk in pool.disks_of(vm):
            pool.scribble(disk, 0.3, f"{w.seed} far {number} {disk}")
        if number == 1:
            pool.grow(pool.disks_of(vm)[1], 9 * MIB)
        root, backup = w.back_up(vm, remotes=names, job="far-job")
        backups.append(backup)
        if number == 0:
            same({node.properties["isFull"] for node in root.all("export")}, {False}, "a delta")
    backups.append(w.back_up(vm, "full", remotes=names, job="far-full")[1])
    for backup in backups:
        w.check(backup, "far")
    same(w.caller.scalar("backup.deleteVmBackups", filenames=[backups[0].ids["far"]], remote=w.remotes["far"]), True,
         "deletion")
    far.owner("garbage-collection", "start", "far")
    same(sorted(w.listed("far", vm)), sorted(backup.ids["far"] for backup in backups[1:]), "listing")
    for backup in backups[1:]:
        w.check(backup, "far")
    for url, words in (("@site2/far/none", "none"), ("@site9/far", "'site2'"), ("none", "'xen'")):
        answer = w.caller.scalar("remote.test", remote={"id": "x", "name": "x", "url": f"file:///chunkstore/{url}"})
        expect(answer["success"] is False and words in str(answer["error"]), f"{url}: {answer}")
