"""Disks as maps of 2 MiB blocks; a snapshot is a copy of the map."""

import hashlib
import os
import random
import threading

BLOCK = 2 << 20
ZERO = bytes(BLOCK)
NOISE = 64 << 20


class Extent:
    """Content of one block, shared by all maps that hold it. Two maps hold equal content at a place exactly where they
    hold the same extent, or that is how a host sees it: what is written anew is another."""

    __slots__ = ("offset", "noise", "users")

    def __init__(self, offset, noise=False):
        self.offset = offset
        self.noise = noise
        self.users = 1


class Blocks:
    """The file that holds all written blocks, and 64 MiB of noise for blocks whose content nobody wrote."""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self.lock = threading.RLock()
        self.end = 0
        self.free = []
        self.noise = None

    def close(self):
        os.close(self.file)

    def store(self, content):
        with self.lock:
            if self.free:
                offset = self.free.pop()
            else:
                offset, self.end = self.end, self.end + BLOCK
        view = memoryview(content)
        while view:
            view = view[os.pwrite(self.file, view, offset + len(content) - len(view)):]
        return Extent(offset)

    def noisy(self, seed):
        """A block without cost: a slice of the noise at an odd place."""
        with self.lock:
            if self.noise is None:
                self.noise = memoryview(random.Random("noise").randbytes(NOISE))
        return Extent(random.Random(f"extent {seed}").randrange(NOISE - BLOCK), noise=True)

    def load(self, extent):
        if extent.noise:
            return self.noise[extent.offset:extent.offset + BLOCK]
        return os.pread(self.file, BLOCK, extent.offset)

    def keep(self, extent):
        with self.lock:
            extent.users += 1

    def drop(self, extent):
        with self.lock:
            extent.users -= 1
            if extent.users == 0 and not extent.noise:
                self.free.append(extent.offset)


class Disk:
    def __init__(self, blocks, size):
        self.pool = blocks
        self.size = size
        self.map = {}

    @property
    def count(self):
        return (self.size + BLOCK - 1) // BLOCK

    def load(self, number):
        """2 MiB, also of the last block."""
        with self.pool.lock:
            extent = self.map.get(number)
            if extent is None:
                return ZERO
            self.pool.keep(extent)
        try:
            return self.pool.load(extent)
        finally:
            self.pool.drop(extent)

    def store(self, number, content):
        assert len(content) == BLOCK
        self.set(number, self.pool.store(content))

    def set(self, number, extent):
        with self.pool.lock:
            old = self.map.get(number)
            if extent is None:
                self.map.pop(number, None)
            else:
                self.map[number] = extent
            if old is not None:
                self.pool.drop(old)

    def read(self, offset, count):
        parts = []
        while count > 0:
            number, inside = divmod(offset, BLOCK)
            piece = min(count, BLOCK - inside)
            parts.append(bytes(self.load(number)[inside:inside + piece]))
            offset, count = offset + piece, count - piece
        return b"".join(parts)

    def write(self, offset, data):
        assert offset + len(data) <= self.size, "a write beyond the disk's end"
        data = memoryview(data)
        while data:
            number, inside = divmod(offset, BLOCK)
            piece = data[:BLOCK - inside]
            if len(piece) == BLOCK:
                block = piece
            else:
                block = bytearray(self.load(number))
                block[inside:inside + len(piece)] = piece
            self.store(number, block)
            offset, data = offset + len(piece), data[len(piece):]

    def fill(self, number, seed):
        """Makes a block noise of that seed, at no cost in space or time. Beyond the disk's end the block is zero."""
        rest = self.size - number * BLOCK
        if rest >= BLOCK:
            self.set(number, self.pool.noisy(seed))
        else:
            content = bytearray(BLOCK)
            content[:rest] = random.Random(f"{seed}").randbytes(rest)
            self.store(number, content)

    def discard(self, number):
        self.set(number, None)

    def clone(self):
        twin = Disk(self.pool, self.size)
        with self.pool.lock:
            twin.map = dict(self.map)
            for extent in twin.map.values():
                extent.users += 1
        return twin

    def release(self):
        with self.pool.lock:
            for extent in self.map.values():
                self.pool.drop(extent)
            self.map = {}

    def resize(self, size):
        assert size >= self.size, "disks only grow"
        self.size = size

    def changed(self, base):
        """Numbers of blocks that differ from another disk's, ascending."""
        with self.pool.lock:
            numbers = set(self.map) | set(base.map)
            return sorted(n for n in numbers if self.map.get(n) is not base.map.get(n) and n < self.count)

    def present(self):
        with self.pool.lock:
            return sorted(n for n in self.map if n < self.count)

    def digest(self):
        """SHA-256 over the whole content."""
        state = hashlib.sha256()
        for number in range(self.count):
            state.update(self.load(number)[:min(BLOCK, self.size - number * BLOCK)])
        return state.hexdigest()

    def content(self):
        return self.read(0, self.size)
