"""Makes the data that is backed up: mixed text, random, repeated and zero content, from a fixed seed."""

import hashlib
import os
import random

WORDS = [hashlib.md5(str(i).encode()).hexdigest()[: 3 + i % 7] for i in range(4000)]


def text(rng, count):
    """About `count` bytes that compress like prose."""
    line = " ".join(rng.choices(WORDS, k=200)).encode()
    parts, size = [], 0
    while size < count:
        piece = line if rng.random() < 0.3 else " ".join(rng.choices(WORDS, k=100)).encode()
        parts.append(piece)
        size += len(piece)
    return b"".join(parts)[:count]


def mixed(rng, count, shared):
    """`count` bytes of cells of four kinds."""
    out = bytearray()
    while len(out) < count:
        size = min(count - len(out), rng.choice([65536, 262144, 1048576]))
        kind = rng.randrange(8)
        if kind < 3:
            out += shared["text"][rng.randrange(16)][:size]
            out[-16:] = rng.randbytes(16)
        elif kind < 5:
            out += rng.randbytes(size)
        elif kind < 7:
            start = rng.randrange(len(shared["repeated"]) - size)
            out += shared["repeated"][start:start + size]
        else:
            out += bytes(size)
    return bytes(out[:count])


def make(folder, total, files=5000):
    """A tree of `files` files and one image, together about `total` bytes. Gives (tree, image)."""
    rng = random.Random(20240601)
    shared = {
        "text": [text(rng, 1 << 20) for _ in range(16)],
        "repeated": rng.randbytes(8 << 20),
    }
    tree, image = os.path.join(folder, "tree"), os.path.join(folder, "disk.img")
    half = total // 2
    sizes = [int(rng.paretovariate(1.1) * 2048) for _ in range(files)]
    scale = half / sum(min(size, 64 << 20) for size in sizes)
    for number, size in enumerate(sizes):
        place = os.path.join(tree, f"d{number % 50:02}", f"e{number % 7}")
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, f"file{number:05}"), "wb") as file:
            left = int(min(size, 64 << 20) * scale)
            while left > 0:
                piece = mixed(rng, min(left, 4 << 20), shared) if left > 65536 else text(rng, left)
                file.write(piece)
                left -= len(piece)
    with open(image, "wb") as file:
        left = half
        while left > 0:
            piece = mixed(rng, min(left, 4 << 20), shared)
            file.write(piece)
            left -= len(piece)
    return tree, image
