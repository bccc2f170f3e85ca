"""Reads backups of the classic layout, without any of Cairn's code: chains of VHD files by their parents' names."""

import functools
import hashlib
import json
import os
import struct
import uuid

BLOCK = 2 << 20


def checksum(structure, place):
    return ~(sum(structure) - sum(structure[place:place + 4])) & 0xFFFFFFFF


class VHD:
    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            self.data = file.read()
        data = self.data
        assert len(data) % 512 == 0, f"{path}: {len(data)} bytes"
        foot = data[:512]
        assert foot[:8] == b"conectix" and foot == data[-512:], f"{path}: footers"
        assert struct.unpack_from(">I", foot, 64)[0] == checksum(foot, 64), f"{path}: footer's checksum"
        self.size = struct.unpack_from(">Q", foot, 48)[0]
        assert struct.unpack_from(">Q", foot, 40)[0] <= self.size, f"{path}: original size"
        self.kind = struct.unpack_from(">I", foot, 60)[0]
        assert self.kind in (3, 4), f"{path}: type {self.kind}"
        self.uuid = str(uuid.UUID(bytes=foot[68:84]))
        head = data[512:1536]
        assert head[:8] == b"cxsparse" and struct.unpack_from(">I", head, 36)[0] == checksum(head, 36), f"{path}: header"
        place, _, entries, block = struct.unpack_from(">QIII", head, 16)
        assert block == BLOCK and entries >= (self.size + BLOCK - 1) // BLOCK, f"{path}: {entries} entries of {block}"
        self.table = struct.unpack_from(f">{entries}I", data, place)
        ends = [place + entries * 4]
        for sector in sorted(s for s in self.table if s != 0xFFFFFFFF):
            assert sector * 512 >= ends[-1], f"{path}: blocks overlap"
            ends.append(sector * 512 + 512 + BLOCK)
        assert ends[-1] <= len(data) - 512, f"{path}: a block reaches behind the end"
        self.parent_path = None
        if self.kind == 4:
            name = head[64:576].decode("utf-16-be").rstrip("\0")
            self.parent_uuid = str(uuid.UUID(bytes=head[40:56]))
            self.parent_path = os.path.normpath(os.path.join(os.path.dirname(path), name))
            assert os.path.basename(self.parent_path) < os.path.basename(path), f"{path}: a parent that is younger"

    @property
    def parent(self):
        """The parent as it is now."""
        if self.parent_path is None:
            return None
        parent = opened(self.parent_path)
        assert parent.uuid == self.parent_uuid, f"{self.path}: the parent is another disk"
        return parent

    def block(self, number):
        sector = self.table[number] if number < len(self.table) else 0xFFFFFFFF
        parent = self.parent
        below = parent.block(number) if parent else bytes(BLOCK)
        if sector == 0xFFFFFFFF:
            return below
        bitmap = self.data[sector * 512:sector * 512 + 512]
        content = self.data[sector * 512 + 512:sector * 512 + 512 + BLOCK]
        if bitmap == b"\xff" * 512:
            return content
        mixed = bytearray(below)
        for index in range(BLOCK // 512):
            if bitmap[index // 8] & 0x80 >> index % 8:
                mixed[index * 512:index * 512 + 512] = content[index * 512:index * 512 + 512]
        return bytes(mixed)

    def own(self, number):
        """A block as this file alone has it; zeros where it has none."""
        sector = self.table[number] if number < len(self.table) else 0xFFFFFFFF
        return bytes(BLOCK) if sector == 0xFFFFFFFF else self.data[sector * 512 + 512:sector * 512 + 512 + BLOCK]

    def digest(self):
        state = hashlib.sha256()
        for number in range((self.size + BLOCK - 1) // BLOCK):
            state.update(self.block(number)[:min(BLOCK, self.size - number * BLOCK)])
        return state.hexdigest()


def opened(path):
    """The disk of a file, read once as long as it stays as it is."""
    state = os.stat(path)
    return cached(path, state.st_mtime_ns, state.st_size, state.st_ino)


@functools.lru_cache(64)
def cached(path, *_):
    return VHD(path)


def backups(root, machine):
    """Metadata of all backups of a machine, by the name of the file."""
    folder = os.path.join(root, "xo-vm-backups", machine)
    found = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if name.endswith(".json") and not name.startswith("."):
            with open(os.path.join(folder, name)) as file:
                found[name] = json.load(file)
    return found


def disks(root, machine, metadata):
    """The disks of a delta backup, opened: by the live disk's uuid."""
    folder = os.path.join(root, "xo-vm-backups", machine)
    found = {}
    for ref, path in metadata["vhds"].items():
        found[metadata["vdis"][ref]["$snapshot_of$uuid"]] = opened(os.path.join(folder, path))
    return found


def files(root):
    """All files below, relative."""
    found = []
    for folder, _, names in os.walk(root):
        found.extend(os.path.relpath(os.path.join(folder, name), root) for name in names)
    return sorted(found)


def vhds(root):
    return [os.path.join(root, name) for name in files(root) if name.endswith(".vhd") and "/." not in name]
