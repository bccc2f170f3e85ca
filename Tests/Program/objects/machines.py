"""A bucket as a remote of the built server: what Xen Orchestra does with it, against the double of a pool."""

import json

from support.checks import expect, same
from xen import options
from xen.caller import RPCError
from xen.world import MIB, World


def refused(w, method, text, **parameters):
    try:
        w.caller.scalar(method, **parameters)
    except RPCError as problem:
        expect(text in problem.text, f"{method}: {problem.text!r} does not say {text!r}")
        return
    raise AssertionError(f"{method} was not refused: {text}")


def through_the_server(store):
    """Full backups and metadata go into a bucket, are listed, restored and deleted; nothing of them stays."""
    prefix = "through/the server"
    with World() as w:
        address = store.address.replace("http://", "s3+http://") + "/" + prefix.replace(" ", "%20")
        w.remotes = {"s3": {"id": "s3", "name": "Bucket", "url": address}, "classic": w.remotes["classic"]}
        tested(w)
        vm = w.pool.add_machine("web", disks=[12 * MIB, 3 * MIB], fill=0.7)
        for _ in range(2):
            w.back_up(vm, "full", remotes=("s3", "classic"))
        keys = [key for key in store.keys(prefix) if key.endswith(".xva")]
        same(len(keys), 2, "machines in the bucket")
        w.check_all()
        same(w.caller.scalar("remote.getTotalBackupSize", remote=w.remotes["s3"]),
             w.caller.scalar("remote.getTotalBackupSize", remote=w.remotes["classic"]), "sizes")
        # A disk of a delta cannot lie there yet; the other remote gets its backup.
        root = w.run(w.job(vm, "delta", remotes=("s3", "classic"), job="deltas"))
        same(root.status, "success", "the root of a job of machines")
        expect("Delta backups to object stores are not supported yet" in root.text(), root.text())
        same(len(w.listed("classic", vm)), 3, "backups on the other remote")
        w.remotes["blocks"] = {"id": "blocks", "url": f"file://{w.folder}/blocks?useVhdDirectory=true"}
        root = w.run(w.job(vm, "delta", remotes=("blocks",), job="blocks"))
        expect("VHD directories (useVhdDirectory) are not supported yet" in root.text(), root.text())
        del w.remotes["blocks"]
        options.metadata(w)
        # Retention keeps two, of which the older goes by hand.
        w.back_up(vm, "full", remotes=("s3",), retention=2)
        listed = w.listed("s3", vm)
        same(len(listed), 2, "after retention")
        first = min(listed, key=lambda identity: listed[identity]["timestamp"])
        w.caller.scalar("backup.deleteVmBackups", filenames=[first], remote=w.remotes["s3"])
        last, = w.listed("s3", vm)
        made, _ = w.restore("s3", last)
        same(w.pool.digests(made), w.pool.digests(vm), "what is left")
        w.caller.scalar("backup.deleteVmBackup", filename=last, remote=w.remotes["s3"])
        same(w.listing("s3"), {}, "listing")
        w.clean()
    left = store.keys(prefix)
    machines = [key for key in left if "/xo-vm-backups/" in key and not key.endswith("/cache.json.gz")]
    same(machines, [], "objects of machines")
    for key in left:
        store.client.delete_object(Bucket=store.bucket, Key=key)


def tested(w):
    """`remote.test` in both of its forms, what is open, and what cannot be opened."""
    remote = w.remotes["s3"]
    for parameters in ({"remote": remote}, {"url": remote["url"]}):
        result = w.caller.scalar("remote.test", **parameters)
        expect(result["success"] and result["writeRate"] > 0 and result["readRate"] > 0, f"{result}")
    same(w.caller.scalar("remote.ping", remote=remote), {"success": True}, "ping")
    same(w.caller.scalar("remote.getInfo", remote=remote), {}, "information")
    unreachable = {"url": "s3+http://key:hush@127.0.0.1:1/bucket"}
    result = w.caller.scalar("remote.test", remote=unreachable)
    same(result["success"], False, "an unreachable store")
    text = json.dumps(result) + "\n".join(w.server.log)
    expect("127.0.0.1:1" in text and "hush" not in text, "the place is named, the secret is not")
    refused(w, "remote.ping", "cannot be reached", remote=unreachable)
    refused(w, "remote.ping", "not supported yet", remote={"url": "azure://account:hush@host/container"})
    refused(w, "remote.ping", "encrypted remotes are not supported yet",
            remote={"url": remote["url"] + "?useVhdDirectory=true&encryptionKey=%22" + "k" * 32 + "%22"})
