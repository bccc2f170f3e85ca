"""VHD streams as a host sends and takes them. From Microsoft's "Virtual Hard Disk Image Format Specification"."""

import random
import struct
import uuid as uuids

from .disks import BLOCK

SECTOR = 512
ABSENT = 0xFFFFFFFF
BITMAP = b"\xff" * SECTOR


class Broken(Exception):
    """The stream is no VHD that a host takes."""


def checksum(structure, place):
    total = sum(structure) - sum(structure[place:place + 4])
    return ~total & 0xFFFFFFFF


def geometry(size):
    sectors = min(size // SECTOR, 65535 * 16 * 255)
    if sectors >= 65535 * 16 * 63:
        per_track, heads, cylinders = 255, 16, sectors // 255
    else:
        per_track, cylinders = 17, sectors // 17
        heads = max((cylinders + 1023) // 1024, 4)
        if cylinders >= heads * 1024 or heads > 16:
            per_track, heads, cylinders = 31, 16, sectors // 31
        if cylinders >= heads * 1024:
            per_track, heads, cylinders = 63, 16, sectors // 63
    return cylinders // heads, heads, per_track


def footer(size, kind, identity):
    block = bytearray(SECTOR)
    struct.pack_into(
        ">8sIIQI4sI4sQQHBBI", block, 0, b"conectix", 2, 0x10000, 512, 0x2B000000, b"tap\0", 0x10003, b"Wi2k", size, size,
        *geometry(size), kind)
    block[68:84] = identity
    struct.pack_into(">I", block, 64, checksum(block, 64))
    return bytes(block)


def header(entries, table_offset, parent=bytes(16), parent_name="", locators=()):
    block = bytearray(1024)
    struct.pack_into(">8sQQIII", block, 0, b"cxsparse", (1 << 64) - 1, table_offset, 0x10000, entries, BLOCK)
    block[40:56] = parent
    name = parent_name.encode("utf-16-be")[:510]
    block[64:64 + len(name)] = name
    for index, (code, sectors, length, offset) in enumerate(locators):
        struct.pack_into(">4sIIIQ", block, 576 + 24 * index, code, sectors, length, 0, offset)
    struct.pack_into(">I", block, 36, checksum(block, 36))
    return bytes(block)


class Shape:
    """How a stream is laid out. What the format leaves free, a host may do."""

    def __init__(self, order="ascending", gaps=False, short_last=False, locators_first=False, bitmaps="full", seed=1):
        self.order = order  # ascending, descending, shuffled
        self.gaps = gaps
        self.short_last = short_last
        self.locators_first = locators_first
        self.bitmaps = bitmaps  # full, or changed: only the sectors that differ, garbage in the others
        self.seed = seed


class Export:
    """A VHD of a disk: whole, or what differs from a base."""

    def __init__(self, disk, identity, base=None, base_identity=None, shape=None):
        self.disk = disk
        self.base = base
        self.shape = shape or Shape()
        rng = random.Random(self.shape.seed)
        # A host's export has a footer id of its own making, not the disk's uuid.
        own = uuids.uuid5(uuids.NAMESPACE_OID, identity).bytes
        self.numbers = disk.present() if base is None else disk.changed(base)
        if self.shape.order == "descending":
            self.numbers.reverse()
        elif self.shape.order == "shuffled":
            rng.shuffle(self.numbers)

        entries = disk.count
        table_bytes = (entries * 4 + SECTOR - 1) // SECTOR * SECTOR
        position = 1536
        locators, self.before_table = [], b""
        locator = None
        if base is not None:
            text = f"{base_identity}.vhd".encode("utf-16-le")
            locator = text.ljust(SECTOR, b"\0")
            if self.shape.locators_first:
                locators.append((b"W2ku", SECTOR, len(text), position))
                self.before_table = locator
                position += SECTOR
        if self.shape.gaps:
            self.before_table += bytes(SECTOR * 3)
            position += SECTOR * 3
        table_offset = position
        position += table_bytes
        self.after_table = b""
        if locator and not locators:
            locators.append((b"W2ku", SECTOR, len(text), position))
            self.after_table = locator
            position += SECTOR
        if self.shape.gaps:
            self.after_table += bytes(SECTOR * 5)
            position += SECTOR * 5

        table = [ABSENT] * entries
        self.places = []  # (number, blanks in front, length of the data)
        for number in self.numbers:
            blank = SECTOR * rng.randrange(9) if self.shape.gaps else 0
            position += blank
            table[number] = position // SECTOR
            length = BLOCK
            if self.shape.short_last and number == disk.count - 1:
                length = (disk.size - number * BLOCK + SECTOR - 1) // SECTOR * SECTOR
            self.places.append((number, blank, length))
            position += SECTOR + length
        self.final_blank = SECTOR * 4 if self.shape.gaps else 0
        position += self.final_blank
        self.length = position + SECTOR
        self.foot = footer(disk.size, 3 if base is None else 4, own)
        parent = bytes(16) if base is None else uuids.uuid5(uuids.NAMESPACE_OID, base_identity).bytes
        name = "" if base is None else f"{base_identity}.vhd"
        self.head = header(entries, table_offset, parent, name, locators)
        self.table = struct.pack(f">{entries}I", *table).ljust(table_bytes, b"\xff")

    def stream(self):
        yield self.foot + self.head + self.before_table + self.table + self.after_table
        for number, blank, length in self.places:
            bitmap, data = BITMAP, self.disk.load(number)
            if self.shape.bitmaps == "changed":
                bitmap, data = self.sparse(number, data)
            yield bytes(blank) + bitmap
            yield memoryview(data)[:length]
        yield bytes(self.final_blank) + self.foot

    def sparse(self, number, data):
        """Only what differs from the base (or from zero) is marked; the rest is garbage that nobody may read."""
        old = self.base.load(number) if self.base is not None else bytes(BLOCK)
        bitmap, mixed = bytearray(SECTOR), bytearray(data)
        for sector in range(BLOCK // SECTOR):
            place = slice(sector * SECTOR, (sector + 1) * SECTOR)
            if data[place] == old[place]:
                mixed[place] = b"\xa5" * SECTOR
            else:
                bitmap[sector // 8] |= 0x80 >> sector % 8
        return bytes(bitmap), bytes(mixed)


def check_footer(block):
    if len(block) != SECTOR or block[:8] != b"conectix":
        raise Broken("no footer")
    if struct.unpack_from(">I", block, 64)[0] != checksum(block, 64):
        raise Broken("wrong checksum of the footer")
    features, version, offset = struct.unpack_from(">IIQ", block, 8)
    original, size = struct.unpack_from(">QQ", block, 40)
    kind = struct.unpack_from(">I", block, 60)[0]
    if version != 0x10000 or offset != 512 or not features & 2:
        raise Broken(f"footer of version {version:#x}, header at {offset}, features {features}")
    if kind not in (3, 4):
        raise Broken(f"disk type {kind}")
    if original > size:
        raise Broken(f"original size {original} above current size {size}")
    if block[68:84] == bytes(16):
        raise Broken("a footer without an id")
    if any(block[85:]):
        raise Broken("reserved bytes of the footer are in use")
    return size, kind


def check_header(block, size, kind):
    cookie, following, table_offset, version, entries, block_size = struct.unpack_from(">8sQQIII", block, 0)
    if cookie != b"cxsparse":
        raise Broken("no header")
    if struct.unpack_from(">I", block, 36)[0] != checksum(block, 36):
        raise Broken("wrong checksum of the header")
    if following != (1 << 64) - 1 or version != 0x10000 or block_size != BLOCK or table_offset % SECTOR:
        raise Broken(f"header: next {following:#x}, version {version:#x}, blocks of {block_size}, table at {table_offset}")
    if entries < (size + BLOCK - 1) // BLOCK or entries > (size + BLOCK - 1) // BLOCK + 512:
        raise Broken(f"{entries} table entries for {size} bytes")
    if kind == 3 and any(block[40:56]):
        raise Broken("a dynamic disk with a parent")
    if kind == 4 and not any(block[40:56]):
        raise Broken("a differencing disk without a parent")
    return table_offset, entries


def take(read, disk):
    """Reads a stream of `read(count)` (exactly count bytes or an error) into a disk, forward only."""
    foot = bytes(read(SECTOR))
    size, kind = check_footer(foot)
    if size != disk.size:
        raise Broken(f"a VHD of {size} bytes for a disk of {disk.size}")
    table_offset, entries = check_header(bytes(read(1024)), size, kind)
    position = 1536
    if table_offset < position:
        raise Broken("the table lies in the header")
    read(table_offset - position)
    table_bytes = (entries * 4 + SECTOR - 1) // SECTOR * SECTOR
    table = struct.unpack(f">{entries}I", bytes(read(table_bytes))[:entries * 4])
    position = table_offset + table_bytes
    places = sorted((sector * SECTOR, number) for number, sector in enumerate(table) if sector != ABSENT)
    for place, number in places:
        if number >= disk.count:
            raise Broken(f"block {number} of {disk.count}")
        if place < position:
            raise Broken(f"block {number} overlaps what lies before it")
        read(place - position)
        bitmap = bytes(read(SECTOR))
        data = read(BLOCK)
        if bitmap == BITMAP:
            block = data
        else:
            block = bytearray(disk.load(number))
            for sector in range(BLOCK // SECTOR):
                if bitmap[sector // 8] & 0x80 >> sector % 8:
                    span = slice(sector * SECTOR, (sector + 1) * SECTOR)
                    block[span] = data[span]
        rest = disk.size - number * BLOCK
        if rest < BLOCK and any(block[rest:]):
            raise Broken("content behind the disk's end")
        disk.store(number, bytes(block))
        position = place + SECTOR + BLOCK
    while True:
        last = bytes(read(SECTOR))
        if any(last):
            break
    if last != foot:
        raise Broken("the last footer differs from the first")
