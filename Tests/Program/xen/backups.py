"""Chains of backups in both layouts, what becomes of them, and what others see of them."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import uuid

from support.checks import Skipped, expect, same
from support.cli import Client
from xenhost import vhd
from xenhost.disks import Disk

from . import classic
from .world import MIB, SOAK, Expected

SCALE = 4 if SOAK else 1
# How many backups of each remote are restored after each step, at normal count; the last step restores all.
SAMPLE = None if SOAK else 4


def chain(w):
    """Full, delta, and ten deltas in a row with random changes; a disk added, grown, removed: all of them restore."""
    pool = w.pool
    vm = w.vm = pool.add_machine(
        "chain", disks=[8 * SCALE * MIB, 5 * MIB + 4096], fill=0.5, running=True, networks=("LAN", "DMZ"), tags=["prod"])
    w.back_up(vm, "full", job="full-job", schedule="weekly")
    root, _ = w.back_up(vm)
    same({node.properties["isFull"] for node in root.all("export")}, {True}, "the first backup is full")
    added = None
    for number in range(30 if SOAK else 10):
        for disk in pool.disks_of(vm):
            pool.scribble(disk, 0.3, f"{w.seed} {number} {disk}")
        if number == 3:
            added = pool.add_disk(vm, 6 * MIB, fill=0.5)
        if number == 5:
            pool.grow(pool.disks_of(vm)[1], 8 * MIB)
        if number == 7:
            pool.remove_disk(added)
        start = len(pool.transfers)
        root, _ = w.back_up(vm)
        moved = [t for t in pool.transfers[start:] if t["path"] == "/export_raw_vdi"]
        same(len(moved), len(pool.disks_of(vm)), "each disk is read once for both remotes")
        if number not in (3, 5):
            same({node.properties["isFull"] for node in root.all("export")}, {False}, f"run {number} is a delta")
            expect(all("base" in t["query"] for t in moved), "each disk is sent as a difference")
    w.clean()
    w.check_all()


def files(w):
    """Every VHD of the classic remote is one for qemu-img, and chains to the bytes of the snapshot."""
    readable(w)
    accepted(w)


def readable(w):
    """The files hold the bytes, as somebody else's reader sees them."""
    for backup in w.backups:
        if backup.mode == "delta" and "classic" in backup.ids:
            check_files(w, backup)
    for path in classic.vhds(w.classic_folder):
        classic.opened(path).digest()
    for expected in w.backups:
        if expected.mode == "full" and "classic" in expected.ids:
            path = w.classic_folder + expected.ids["classic"][:-5] + ".xva"
            with open(path, "rb") as file:
                digest = hashlib.md5(file.read()).hexdigest()
            with open(path + ".checksum") as file:
                same(file.read().strip(), f"$1$${digest}", "checksum of the XVA")


def accepted(w):
    """What qemu-img says."""
    if not shutil.which("qemu-img"):
        raise Skipped("needs qemu-utils")
    for path in classic.vhds(w.classic_folder):
        ours = classic.opened(path)
        same(json.loads(qemu("info", "--output", "json", "-f", "vpc", path))["format"], "vpc", path)
        checked = subprocess.run(["qemu-img", "check", "-f", "vpc", path], capture_output=True, text=True)
        # This version of the tool has no check for the format; one that has must be content.
        expect(checked.returncode == 0 or "does not support checks" in checked.stderr, f"{path}: {checked.stdout}{checked.stderr}")
        # The tool reads one file, without its parents. It takes the size from the geometry where it does not know the
        # creator.
        raw = os.path.join(w.folder, "raw")
        with open(raw, "wb") as file:
            file.truncate(ours.size)
            for number in range((ours.size + classic.BLOCK - 1) // classic.BLOCK):
                file.seek(number * classic.BLOCK)
                file.write(ours.own(number)[:ours.size - number * classic.BLOCK])
        image = f"driver=vpc,force_size_calc=current_size,file.driver=file,file.filename={path}"
        qemu("compare", "--image-opts", image, f"driver=raw,file.driver=file,file.filename={raw}")
        os.remove(raw)


def qemu(*arguments):
    result = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True)
    same(result.returncode, 0, f"qemu-img {' '.join(arguments)}: {result.stdout}{result.stderr}")
    return result.stdout


def check_files(w, backup):
    """The files of a delta backup hold the bytes, as somebody else's reader sees them."""
    identity = backup.ids["classic"]
    metadata = classic.backups(w.classic_folder, backup.machine)[os.path.basename(identity)]
    same((metadata["version"], metadata["mode"], metadata["scheduleId"]), ("2.0.0", "delta", "nightly"), "metadata")
    opened = classic.disks(w.classic_folder, backup.machine, metadata)
    same(sorted(disk.digest() for disk in opened.values()), sorted(backup.digests), f"files of {identity}")
    for ref, path in metadata["vhds"].items():
        record = metadata["vdis"][ref]
        disk = opened[record["$snapshot_of$uuid"]]
        same(disk.uuid, record["uuid"], "the footer's id is the snapshot's disk")
        same(disk.kind == 4, metadata["isVhdDifferencing"][ref], "isVhdDifferencing")
        same(os.path.dirname(path), f"vdis/{metadata['jobId']}/{record['$snapshot_of$uuid']}", "folder")


def merge(w):
    """Retention shortens the chains; what stays restores."""
    w.pool.scribble(w.pool.disks_of(w.vm)[0], 0.2, f"{w.seed} merge")
    root, _ = w.back_up(w.vm, retention=4)
    expect(root.all("merge") or any("merge" in json.dumps(node.infos) for node in root.all()), f"no merge in\n{root.text()}")
    kept = [b for b in w.backups if b.mode == "delta" and b.machine == w.vm][-4:]
    w.backups = [b for b in w.backups if b.mode != "delta" or b.machine != w.vm or b in kept]
    w.clean()
    w.check_all(SAMPLE, random.Random(f"{w.seed} merge"))
    for disk in w.pool.disks_of(w.vm):
        folder = os.path.join(w.classic_folder, "xo-vm-backups", w.vm, "vdis", "job-1", disk)
        same(len([name for name in os.listdir(folder) if name.endswith(".vhd")]), 4, f"files of {disk}")
    readable(w)
    accepted(w)


def deletion(w):
    """Any subset of the backups may be deleted, in any order: the others restore, now and after the next runs."""
    rng = random.Random(f"{w.seed} deletion")
    for round_number in range(4 if SOAK else 1):
        for _ in range(3):
            w.pool.scribble(w.pool.disks_of(w.vm)[0], 0.2, f"{w.seed} deletion {round_number} {len(w.backups)}")
            w.back_up(w.vm)
        for remote in w.remotes:
            there = [b for b in w.backups if remote in b.ids and b.machine == w.vm]
            gone = rng.sample(there, rng.randrange(1, len(there)))
            names = [b.ids.pop(remote) for b in gone]
            rng.shuffle(names)
            same(w.caller.scalar("backup.deleteVmBackups", filenames=names, remote=w.remotes[remote]), True, "deletion")
            # One that is gone is no error.
            w.caller.scalar("backup.deleteVmBackup", filename=names[0], remote=w.remotes[remote])
        w.check_all(SAMPLE, rng)
        w.pool.scribble(w.pool.disks_of(w.vm)[1], 0.2, f"{w.seed} after deletion {round_number}")
        w.back_up(w.vm)
        w.check_all(SAMPLE, rng)
        readable(w)
    w.clean()


def collection(w):
    """Garbage collection takes only what no backup needs."""
    w.collect()
    w.check_all()


def datastore(w):
    """A machine in the chunk store is a group of snapshots with disks for Cairn's own commands, and shares chunks."""
    vm = w.pool.add_machine("shared", disks=[24 * MIB], fill=1)
    _, expected = w.back_up(vm, remotes=("chunks",))
    server = w.server
    server.owner("user", "create", "reader@pbs", "--password", "reader-pass-1")
    server.owner("acl", "update", "/", "Admin", "--auth-id", "reader@pbs")
    client = Client(server, "reader@pbs", "xen", "reader-pass-1", w.folder)
    listed = json.loads(client.run("snapshot", "list", f"vm/{vm}", "--output-format", "json").stdout)
    same(len(listed), 1, "snapshots")
    names = [file["filename"] if isinstance(file, dict) else file for file in listed[0]["files"]]
    live = w.pool.disks_of(vm)[0]
    expect(any(name.startswith(f"disk-{live}.img") for name in names), f"files {names}")
    from datetime import datetime, timezone
    moment = datetime.fromtimestamp(listed[0]["backup-time"], timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    target = os.path.join(w.folder, "restored.img")
    client.run("restore", f"vm/{vm}/{moment}", f"disk-{live}.img", target)
    with open(target, "rb") as file:
        same(hashlib.sha256(file.read()).hexdigest(), expected.digests[0], "restored by the command")
    before = chunks(w)
    result = client.run("backup", f"disk.img:{target}", "--backup-id", "same-disk")
    same(chunks(w), before, f"chunks after the same disk was backed up by the command: {result.stdout[-300:]}{result.stderr[-300:]}")
    os.remove(target)
    # The same machine once more, unchanged: no new chunk.
    w.back_up(vm, remotes=("chunks",))
    same(chunks(w), before, "chunks after an unchanged run")


def chunks(w):
    folder = os.path.join(w.store_folder, ".chunks")
    return sum(len(names) for path, _, names in os.walk(folder) if path != folder)


def written_elsewhere(w):
    """Disks that qemu-img wrote, in a backup that another program left in the remote, restore."""
    if not shutil.which("qemu-img"):
        raise Skipped("needs qemu-utils")
    machine, live, snap = (str(uuid.UUID(int=random.Random(f"{w.seed} {n}").getrandbits(128))) for n in "abc")
    rng = random.Random(w.seed)
    content = b"".join(rng.randbytes(MIB) if rng.random() < 0.5 else bytes(MIB) for _ in range(12))
    raw, folder = os.path.join(w.folder, "raw"), os.path.join(w.classic_folder, "xo-vm-backups", machine)
    with open(raw, "wb") as file:
        file.write(content)
    os.makedirs(os.path.join(folder, "vdis", "old", live))
    name = "20240102T030405Z"
    path = f"vdis/old/{live}/{name}.vhd"
    qemu("convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size=on", raw, os.path.join(folder, path))
    vm = w.pool.add_machine("template", networks=("LAN",))
    record = w.pool.record("VM", vm)
    vif = w.pool.store.copy("VIF", record["VIFs"][0])
    network = w.pool.store.copy("network", vif["network"])
    disk = Disk(w.pool.blocks, len(content))
    disk.write(0, content)
    vdi = {"uuid": snap, "name_label": "from qemu", "name_description": "", "virtual_size": len(content), "type": "user",
           "sharable": False, "read_only": False, "other_config": {}, "tags": [], "$snapshot_of$uuid": live,
           "$SR$uuid": w.pool.record("SR", w.pool.storage["shared"])["uuid"], "SR": "OpaqueRef:gone", "xenstore_data": {},
           "sm_config": {}}
    record.update(uuid=machine, name_label="old machine")
    metadata = {
        "version": "2.0.0", "mode": "delta", "jobId": "old", "scheduleId": "old", "timestamp": 1704164645000, "size": 1,
        "vm": record, "vmSnapshot": {**record, "suspend_VDI": "OpaqueRef:NULL"}, "vdis": {"OpaqueRef:v": vdi},
        "vbds": {"OpaqueRef:b": {"type": "Disk", "VDI": "OpaqueRef:v", "userdevice": "0", "bootable": True, "mode": "RW",
                                 "empty": False, "device": "xvda", "unpluggable": True, "other_config": {},
                                 "qos_algorithm_type": "", "qos_algorithm_params": {}}},
        "vifs": {"OpaqueRef:n": {**vif, "$network$uuid": network["uuid"], "$network$name_label": network["name_label"],
                                 "$network$VLAN": -1}},
        "vhds": {"OpaqueRef:v": path}}
    with open(os.path.join(folder, name + ".json"), "w") as file:
        json.dump(metadata, file)
    backup = Expected(machine, [disk.digest()], "delta", [len(content)])
    backup.ids["classic"] = f"/xo-vm-backups/{machine}/{name}.json"
    listed = w.listed("classic", machine)[backup.ids["classic"]]
    same((listed["mode"], listed["timestamp"], listed["vm"]["name_label"]), ("delta", 1704164645000, "old machine"), "listing")
    w.check(backup, "classic")
    # A child, written here by another writer than Cairn's.
    newer = disk.clone()
    newer.write(5 * MIB, b"changed")
    second, child = "20240103T030405Z", str(uuid.uuid4())
    write_child(os.path.join(folder, "vdis", "old", live, second + ".vhd"), newer, disk, child,
                classic.VHD(os.path.join(folder, path)).uuid, name + ".vhd")
    metadata["vhds"]["OpaqueRef:v"] = f"vdis/old/{live}/{second}.vhd"
    metadata["timestamp"] += 86_400_000
    vdi["uuid"] = child
    with open(os.path.join(folder, second + ".json"), "w") as file:
        json.dump(metadata, file)
    grown = Expected(machine, [newer.digest()], "delta", [len(content)])
    grown.ids["classic"] = f"/xo-vm-backups/{machine}/{second}.json"
    w.check(grown, "classic")
    w.caller.scalar("backup.deleteVmBackups", filenames=[backup.ids["classic"], grown.ids["classic"]], remote=w.remotes["classic"])
    w.pool.remove_machine(vm)
    os.remove(raw)


def write_child(path, disk, base, identity, parent, parent_name):
    made = vhd.Export(disk, identity, base, "unused")
    foot = vhd.footer(disk.size, 4, uuid.UUID(identity).bytes)
    head = vhd.header(disk.count, int.from_bytes(made.head[16:24], "big"), uuid.UUID(parent).bytes, parent_name)
    data = b"".join(bytes(piece) for piece in made.stream())
    with open(path, "wb") as file:
        file.write(foot + head + data[1536:-512] + foot)
