"""What a restored machine is like."""

import base64

from support.checks import expect, same

from .options import forget
from .world import MIB, RPCError


def vifs(pool, machine):
    records = [pool.store.copy("VIF", ref) for ref in pool.record("VM", machine)["VIFs"]]
    return sorted(records, key=lambda record: int(record["device"]))


def settings(w):
    """New MAC addresses, other storage for a disk, disks that are not wanted, a tag, vTPM, description."""
    pool = w.pool
    secret = base64.b64encode(b"vtpm of the test" * 9).decode()
    vm = pool.add_machine("web", disks=[4 * MIB, 6 * MIB, 2 * MIB], fill=1, networks=("LAN", "DMZ"), vtpm=secret, tags=["t"],
                          description="a machine", cd=True)
    sizes = [pool.disk(disk).size for disk in pool.disks_of(vm)]
    macs = [vif["MAC"] for vif in vifs(pool, vm)]
    backup, full = w.back_up(vm, job="s")[1], w.back_up(vm, "full", job="s-full")[1]
    listed = w.listed("classic", vm)[backup.ids["classic"]]
    disks = {disk["name"]: disk["uuid"] for disk in listed["disks"]}
    same(sorted(disks), ["web 0", "web 1", "web 2"] if not any(d["name"] == "web 3" for d in listed["disks"]) else sorted(disks), "disks")
    for name in w.remotes:
        made, root = w.restore(name, backup.ids[name])
        record = pool.record("VM", made)
        same((root.properties["backupId"], len(root.all("transfer"))), (backup.ids[name], 1), root.text())
        same([vif["MAC"] for vif in vifs(pool, made)], macs, "MAC addresses stay")
        expect(record["name_label"].startswith("web (") and "restored from backup" in record["tags"], record["name_label"])
        expect(record["name_description"].startswith("Restored on ") and record["name_description"].endswith("a machine"),
               record["name_description"])
        same({"t"} <= set(record["tags"]), True, "tags")
        same(pool.vtpm_contents[record["VTPMs"][0]], secret, "vTPM")
        same([pool.disk(disk).size for disk in pool.disks_of(made)], sizes, "sizes")
        expect(all("[Importing" not in pool.record("VDI", disk)["name_label"] for disk in pool.disks_of(made)), "names of disks")
        expect(made != vm, "a new machine")
        pool.remove_machine(made)

        elsewhere = pool.record("SR", pool.storage["elsewhere"])["uuid"]
        chosen = sorted(disks.items())
        made, _ = w.restore(name, backup.ids[name], {
            "newMacAddresses": True, "mapVdisSrs": {chosen[1][1]: elsewhere, chosen[2][1]: None}, "additionalVmTag": "extra"},
            storage="local")
        record = pool.record("VM", made)
        expect(not set(vif["MAC"] for vif in vifs(pool, made)) & set(macs), "new MAC addresses")
        expect("extra" in record["tags"], f"tags {record['tags']}")
        same(pool.digests(made), pool.digests(vm)[:2], "disks")
        same([pool.record("VDI", disk)["SR"] for disk in pool.disks_of(made)],
             [pool.storage["local"], pool.storage["elsewhere"]], "storage")
        pool.remove_machine(made)

        made, _ = w.restore(name, full.ids[name], storage="elsewhere")
        record = pool.record("VM", made)
        expect(record["name_label"].startswith("web (") and "restored from backup" in record["tags"], record["name_label"])
        same({pool.record("VDI", disk)["SR"] for disk in pool.disks_of(made)}, {pool.storage["elsewhere"]}, "storage")
        same(pool.digests(made), pool.digests(vm), "disks of the full backup")
        pool.remove_machine(made)
    # Without the log the answer is the new machine's uuid.
    made = w.caller.scalar(
        "backup.importVmBackup", backupId=backup.ids["chunks"], remote=w.remotes["chunks"], xapi=pool.xapi(slave=True),
        srUuid=pool.record("SR", pool.storage["shared"])["uuid"])
    same(pool.digests(made), pool.digests(vm), "without the log")
    pool.remove_machine(made)
    w.clean()
    forget(w, vm)


def suspended(w):
    """A suspended machine is backed up and restored with its memory."""
    pool = w.pool
    vm = pool.add_machine("asleep", disks=[4 * MIB], fill=1, running=True)
    pool.suspend(vm)
    image = pool.disk(pool.record("VM", vm)["suspend_VDI"]).digest()
    before = {name: set(w.listed(name, vm)) for name in w.remotes}
    w.run(w.job(vm, job="asleep")).must()
    for name in w.remotes:
        made, _ = w.restore(name, (set(w.listed(name, vm)) - before[name]).pop())
        record = pool.record("VM", made)
        same((record["power_state"], pool.disk(record["suspend_VDI"]).digest()), ("Suspended", image), f"{name}: memory")
        same(pool.digests(made), pool.digests(vm), "disks")
        pool.remove_machine(made)
    w.clean()
    forget(w, vm)


def networks(w):
    """A network that is gone is replaced by one of the same name or VLAN."""
    pool = w.pool
    extra = pool.store.add("network", name_label="Lab", bridge="xapi9")
    pool.networks["Lab"] = extra
    pif = pool.store.add("PIF", network=extra, host=pool.master, device="eth1", VLAN=42, MAC=pool.new_mac())
    vm = pool.add_machine("connected", disks=[2 * MIB], fill=1, networks=("Lab", "LAN"))
    _, backup = w.back_up(vm, job="n")
    pool.remove_machine(vm)
    pool.store.remove("PIF", pif)
    pool.store.remove("network", extra)
    del pool.networks["Lab"]
    for name in w.remotes:
        made, _ = w.restore(name, backup.ids[name])
        same([vif["network"] for vif in vifs(pool, made)], [pool.networks["DMZ"], pool.networks["LAN"]], "networks")
        pool.remove_machine(made)
        w.caller.scalar("backup.deleteVmBackups", filenames=[backup.ids[name]], remote=w.remotes[name])
    w.backups.remove(backup)


def broken(w):
    """A restore that fails in the middle leaves nothing; one of what is not there says so."""
    pool = w.pool
    vm = pool.add_machine("unlucky", disks=[6 * MIB, 4 * MIB], fill=1)
    backup, full = w.back_up(vm, job="u")[1], w.back_up(vm, "full", job="u-full")[1]
    machines = set(pool.machines().values())

    def restore(name, identity):
        return w.caller.stream(
            "backup.importVmBackup", backupId=identity, remote=w.remotes[name], xapi=pool.xapi(),
            srUuid=pool.record("SR", pool.storage["shared"])["uuid"], streamLogs=True).finish()

    for name in w.remotes:
        for which, kind, rule in (
                (backup, "cut", {"path": "/import_raw_vdi", "after": 3 * MIB, "how": "reset", "count": None}),
                (backup, "task_after", {"path": "/import_raw_vdi", "code": ["VDI_IO_ERROR", "late"], "count": None}),
                (backup, "call", {"method": "VIF.create", "code": ["NETWORK_ALREADY_CONNECTED"]}),
                (backup, "call", {"method": "VDI.create", "code": ["SR_FULL"], "skip": 1}),
                (full, "cut", {"path": "/import", "after": 3 * MIB, "how": "close", "count": None}),
                (full, "task_after", {"path": "/import", "code": ["IMPORT_ERROR", "late"], "count": None})):
            pool.faults.add(kind, **rule)
            root = restore(name, which.ids[name])
            same(root.status, "failure", f"{name} {kind} {rule}\n{root.text()}")
            pool.faults.clear()
            if not (kind == "task_after" and which is full):  # a host that made the machine and says that it did not
                same(set(pool.machines().values()), machines, f"machines after {kind} {rule}")
                same(pool.leftovers(), [], f"left over after {kind} {rule}")
            else:
                for machine in set(pool.machines().values()) - machines:
                    pool.remove_machine(machine)
        try:
            root = restore(name, f"/xo-vm-backups/{vm}/20010101T000000Z.json")
            raise AssertionError(f"a backup that is not there was restored\n{root.text()}")
        except RPCError as error:
            expect("no such" in str(error).lower() or "ENOENT" in str(error) or "not" in error.text, f"{error}")
    w.clean()
    forget(w, vm)
