"""Archives of whole machines: a tar of `ova.xml` and of 1 MiB pieces of disks with a checksum each."""

import hashlib
import tarfile
import zlib

import xxhash
import zstandard

from .disks import BLOCK
from .schema import CLASSES
from .values import NULL, Date, from_xml_value, to_xml

PIECE = 1 << 20
VERSION = {
    "hostname": "double", "date": "2026-01-01", "product_version": "8.3.0", "product_brand": "XCP-ng",
    "build_number": "double", "xapi_major": "1", "xapi_minor": "20", "export_vsn": "2"}


class Broken(Exception):
    """The stream is no archive that a host takes."""


def entry(name, content):
    head = tarfile.TarInfo(name)
    head.size = len(content)
    head.mode = 0o644
    pad = -len(content) % 512
    return head.tobuf(tarfile.USTAR_FORMAT), content, bytes(pad)


def digest(kind, content):
    if kind == "xxhash":
        return "xxhash", xxhash.xxh64(content, seed=0).hexdigest().upper().encode()
    return "checksum", hashlib.sha1(content).hexdigest().encode()


def description(store, machine):
    """`ova.xml` of a machine, and its disks: [(id in the archive, reference)]."""
    vm = store.copy("VM", machine)
    found = [("VM", machine)]
    disks = []
    for vbd in vm["VBDs"]:
        found.append(("VBD", vbd))
        record = store.copy("VBD", vbd)
        if record["type"] == "Disk" and record["VDI"] != NULL:
            disks.append(record["VDI"])
    if vm["suspend_VDI"] != NULL:
        disks.append(vm["suspend_VDI"])
    for disk in disks:
        found.append(("VDI", disk))
        storage = ("SR", store.copy("VDI", disk)["SR"])
        if storage not in found:
            found.append(storage)
    for vif in vm["VIFs"]:
        found.append(("VIF", vif))
        network = ("network", store.copy("VIF", vif)["network"])
        if network not in found:
            found.append(network)
    found.extend(("VTPM", vtpm) for vtpm in vm["VTPMs"])
    names = {ref: f"Ref:{number}" for number, (_, ref) in enumerate(found)}

    def rewrite(field, value):
        if field.type == "r":
            return names.get(value, NULL)
        if field.type == "S":
            return [names.get(item, item) if item.startswith("OpaqueRef:") else item for item in value]
        return value

    objects = []
    for table, ref in found:
        record = store.copy(table, ref)
        snapshot = {name: rewrite(field, record[name]) for name, field in CLASSES[table].items()}
        objects.append({"class": table, "id": names[ref], "snapshot": snapshot})
    body = '<?xml version="1.0"?>' + to_xml({"version": VERSION, "objects": objects})
    return body.encode(), [(names[disk], disk) for disk in disks]


def export(ova, disks, checksums="xxhash"):
    """The archive's bytes. `disks`: [(id, Disk)], which nobody else writes meanwhile."""
    yield b"".join(entry("ova.xml", ova))
    for name, disk in disks:
        count = (disk.size + PIECE - 1) // PIECE
        block_number, block = None, None
        since = 0
        for number in range(count):
            if number * PIECE // BLOCK != block_number:
                block_number = number * PIECE // BLOCK
                block = disk.load(block_number)
            inside = number * PIECE % BLOCK
            content = block[inside:inside + min(PIECE, disk.size - number * PIECE)]
            since += 1
            # Zeros are left out, but for the first and the last piece, and now and then one against time-outs.
            if number not in (0, count - 1) and since < 500 and content == bytes(len(content)):
                continue
            since = 0
            head, body, pad = entry(f"{name}/{number:08d}", content)
            kind, text = digest(checksums, content)
            yield head
            yield body
            yield pad + b"".join(entry(f"{name}/{number:08d}.{kind}", text))
    yield bytes(1024)


def compressed(stream, kind):
    if kind == "zstd":
        packer = zstandard.ZstdCompressor(level=1).compressobj()
    else:
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    for piece in stream:
        data = packer.compress(piece)
        if data:
            yield data
    yield packer.flush()


class Reader:
    """Exact reads of an archive, unpacked if need be. `more()` gives the next bytes, empty at the end."""

    def __init__(self, more):
        self.more = more
        self.buffer = bytearray()
        self.ended = False
        self.unpacker = None
        while len(self.buffer) < 4 and not self.ended:
            self.pull()
        if self.buffer[:2] == b"\x1f\x8b":
            self.unpacker = zlib.decompressobj(31)
        elif self.buffer[:4] == b"\x28\xb5\x2f\xfd":
            self.unpacker = zstandard.ZstdDecompressor().decompressobj()
        if self.unpacker:
            self.buffer = bytearray(self.unpacker.decompress(bytes(self.buffer)))

    def pull(self):
        data = self.more()
        if not data:
            self.ended = True
            return
        self.buffer += self.unpacker.decompress(data) if self.unpacker else data

    def read(self, count):
        while len(self.buffer) < count:
            if self.ended:
                raise Broken("the archive ends in the middle")
            self.pull()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data


def entries(reader):
    """(name, content) until the two empty blocks of the end."""
    empty = 0
    while True:
        head = reader.read(512)
        if not any(head):
            empty += 1
            if empty == 2:
                return
            continue
        if empty:
            raise Broken("an empty block in the middle")
        try:
            info = tarfile.TarInfo.frombuf(head, "utf-8", "strict")
        except tarfile.HeaderError as problem:
            raise Broken(f"no entry: {problem}") from problem
        if info.size > 16 << 20:
            raise Broken(f"an entry of {info.size} bytes")
        content = reader.read(info.size)
        if any(reader.read(-info.size % 512)):
            raise Broken(f"{info.name}: padding that is not zero")
        yield info.name, content


def describe(content):
    """The objects of `ova.xml`: [(class, id, fields)]."""
    text = content[content.index(b"?>") + 2:] if content.startswith(b"<?xml") else content
    tree = from_xml_value(text)
    return [(item["class"], item["id"], item["snapshot"]) for item in tree["objects"]]


def typed(table, snapshot):
    """Fields as the database keeps them, without those that this version does not know."""
    values = {}
    for name, field in CLASSES[table].items():
        if name in snapshot:
            value = snapshot[name]
            if field.type == "i":
                value = int(value)
            if field.type == "d":
                value = Date(value)
            values[name] = value
    return values


def take(reader, make_machine, disk_of):
    """Reads an archive. `make_machine(objects)` makes the machine; `disk_of(id)` gives the Disk of an id."""
    stream = entries(reader)
    name, content = next(stream, (None, None))
    if name != "ova.xml":
        raise Broken(f"the first entry is {name}, not ova.xml")
    make_machine(describe(content))
    waiting = None  # (name, content) whose checksum has to come next
    seen = {}
    for name, content in stream:
        if waiting:
            kind, text = digest("xxhash" if name.endswith(".xxhash") else "sha1", waiting[1])
            if name != f"{waiting[0]}.{kind}":
                raise Broken(f"{name} in place of the checksum of {waiting[0]}")
            if content != text:
                raise Broken(f"{name}: {content!r}, but the piece has {text!r}")
            waiting = None
            continue
        identity, _, number = name.partition("/")
        if len(number) != 8 or not number.isdigit():
            raise Broken(f"an entry called {name}")
        disk, index = disk_of(identity), int(number)
        count = (disk.size + PIECE - 1) // PIECE
        last = seen.get(identity, -1)
        if index <= last or index >= count or (last < 0 and index != 0):
            raise Broken(f"{name} comes after piece {last} of {count}")
        if len(content) != min(PIECE, disk.size - index * PIECE):
            raise Broken(f"{name} has {len(content)} bytes")
        seen[identity] = index
        if any(content):
            disk.write(index * PIECE, content)
        waiting = (name, content)
    if waiting:
        raise Broken(f"no checksum of {waiting[0]}")
    return seen
