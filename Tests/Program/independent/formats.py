"""Keys, blobs, indexes, manifests and archives, written from the pages in docs/formats and from nothing else."""

import base64
import ctypes
import hashlib
import hmac
import json
import os
import struct
import zlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

LIMIT, IMAGE_CHUNK = 16 << 20, 4 << 20


# formats/encryption.md

class Key:
    def __init__(self, secret):
        self.secret = secret
        self.id = hashlib.pbkdf2_hmac("sha256", secret, b"_id_key", 10, 32)
        label = hashlib.sha256(b"Proxmox Backup Encryption Key Fingerprint").digest()
        self.fingerprint = hashlib.sha256(label + self.id).digest().hex(":")

    def file(self):
        when = "2024-05-01T10:00:00+00:00"
        return json.dumps({"kdf": None, "created": when, "modified": when,
                           "data": base64.b64encode(self.secret).decode(), "fingerprint": self.fingerprint})

    def encrypt(self, content):
        iv = os.urandom(16)
        cipher = Cipher(algorithms.AES(self.secret), modes.GCM(iv)).encryptor()
        sealed = cipher.update(content) + cipher.finalize()
        return iv + cipher.tag + sealed

    def decrypt(self, sealed):
        cipher = Cipher(algorithms.AES(self.secret), modes.GCM(sealed[:16], sealed[16:32])).decryptor()
        return cipher.update(sealed[32:]) + cipher.finalize()


# formats/blob.md

zstd = ctypes.CDLL("libzstd.so.1")
for name in ("ZSTD_compress", "ZSTD_decompress", "ZSTD_compressBound"):
    getattr(zstd, name).restype = ctypes.c_size_t
ZSTD_SIZE = ctypes.c_size_t


def compress(content):
    out = ctypes.create_string_buffer(zstd.ZSTD_compressBound(ZSTD_SIZE(len(content))))
    length = zstd.ZSTD_compress(out, ZSTD_SIZE(len(out)), content, ZSTD_SIZE(len(content)), 1)
    if zstd.ZSTD_isError(ZSTD_SIZE(length)):
        raise ValueError("zstd cannot compress")
    return out.raw[:length]


def decompress(data):
    out = ctypes.create_string_buffer(LIMIT)
    length = zstd.ZSTD_decompress(out, ZSTD_SIZE(LIMIT), data, ZSTD_SIZE(len(data)))
    if zstd.ZSTD_isError(ZSTD_SIZE(length)):
        raise ValueError("a frame that does not decode, or content above the limit")
    return ctypes.string_at(out, length)


def magic(label):
    return hashlib.sha256(f"Proxmox Backup {label} v1.0".encode()).digest()[:8]


# (encrypted, compressed) of each encoding
BLOBS = {magic("uncompressed blob"): (False, False), magic("zstd compressed blob"): (False, True),
         magic("encrypted blob"): (True, False), magic("zstd compressed encrypted blob"): (True, True)}
MAGICS = {kind: number for number, kind in BLOBS.items()}
FIXED, DYNAMIC = magic("fixed sized chunk index"), magic("dynamic sized chunk index")


def encode_blob(content, key=None):
    packed = compress(content)
    smaller = len(packed) <= len(content)
    payload = packed if smaller else content
    head = MAGICS[key is not None, smaller]
    if not key:
        return head + struct.pack("<I", zlib.crc32(payload)) + payload
    sealed = key.encrypt(payload)
    return head + struct.pack("<I", zlib.crc32(sealed[32:])) + sealed


def decode_blob(blob, key=None):
    encrypted, compressed = BLOBS[blob[:8]]
    payload = blob[12:]
    if zlib.crc32(payload[32:] if encrypted else payload) != struct.unpack("<I", blob[8:12])[0]:
        raise ValueError("the CRC of a blob is wrong")
    if encrypted != (key is not None):
        raise ValueError("a blob of the wrong kind for its archive")
    if key:
        payload = key.decrypt(payload)
    return decompress(payload) if compressed else payload


def digest_of(content, key=None):
    return hashlib.sha256(content + (key.id if key else b"")).digest()


# formats/indexes.md: an index is its kind and a list of (start, end, digest).

def parse_index(data):
    if data[:8] == DYNAMIC:
        entries, start = [], 0
        for at in range(4096, len(data), 40):
            end, digest = struct.unpack("<Q32s", data[at:at + 40])
            if not start < end <= start + LIMIT:
                raise ValueError("the ends of an index do not increase")
            entries.append((start, end, digest))
            start = end
        return entries
    if data[:8] != FIXED:
        raise ValueError("not an index")
    size, step = struct.unpack("<QQ", data[64:80])
    if len(data) != 4096 + 32 * -(-size // step):
        raise ValueError("the length of a fixed index does not fit its size")
    return [(step * i, min(step * i + step, size), data[4096 + 32 * i:4128 + 32 * i]) for i in range(-(-size // step))]


def index_checksum(entries, dynamic):
    return hashlib.sha256(
        b"".join((struct.pack("<Q", end) if dynamic else b"") + digest for _, end, digest in entries)).hexdigest()


# formats/manifest.md

def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signature(manifest, key):
    signed = {name: manifest[name] for name in ("backup-type", "backup-id", "backup-time")}
    signed["files"] = [{name: file.get(name, "none") for name in ("filename", "crypt-mode", "size", "csum")}
                       for file in manifest["files"]]
    return hmac.new(key.id, canonical(signed), hashlib.sha256).hexdigest()


# formats/pxar.md

FORMAT_ENTRY, FORMAT_NAME, FORMAT_PAYLOAD = 0xd5956474e588acef, 0x16701121063917b3, 0x28147a1b0b7c1a25
FORMAT_GOODBYE, TAIL = 0x2fec4fa642d5731d, 0xef5eed5b753e1555
WORD = 2 ** 64 - 1


def siphash(data, k0=0x83ac3f1cfbb450db, k1=0xaa4f1b6879369fbd):
    def turn(word, bits):
        return (word << bits | word >> 64 - bits) & WORD

    def rounds(a, b, c, d, count):
        for _ in range(count):
            a, c = (a + b) & WORD, (c + d) & WORD
            b, d = turn(b, 13) ^ a, turn(d, 16) ^ c
            a, c = (turn(a, 32) + d) & WORD, (c + b) & WORD
            d, b = turn(d, 21) ^ a, turn(b, 17) ^ c
            c = turn(c, 32)
        return a, b, c, d

    a, b, c, d = k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", padded):
        a, b, c, d = rounds(a, b, c, d ^ word, 2)
        a ^= word
    a, b, c, d = rounds(a, b, c ^ 255, d, 4)
    return a ^ b ^ c ^ d


def balanced(lines):
    """Sorted lines as a binary search tree, breadth first."""
    placed, rest = [None] * len(lines), iter(lines)

    def walk(at):
        if at < len(lines):
            walk(2 * at + 1)
            placed[at] = next(rest)
            walk(2 * at + 2)

    walk(0)
    return placed


def pxar(tree, when):
    """The archive of a tree: folders are dictionaries, files are bytes."""
    def item(kind, content):
        return struct.pack("<QQ", kind, 16 + len(content)) + content

    def entry(mode):
        return item(FORMAT_ENTRY, struct.pack("<QQIIqII", mode, 0, os.getuid(), os.getgid(), when, 0, 0))

    def folder(children):
        out, places = bytearray(entry(0o40755)), []
        for name in sorted(children):
            start, child = len(out), children[name]
            out += item(FORMAT_NAME, name.encode() + b"\0")
            if isinstance(child, dict):
                out += folder(child)
            else:
                out += entry(0o100644) + item(FORMAT_PAYLOAD, child)
            places.append((siphash(name.encode()), start, len(out) - start))
        end, size = len(out), 16 + 24 * (len(places) + 1)
        lines = balanced([(hashed, end - start, length) for hashed, start, length in sorted(places)])
        return bytes(out) + item(FORMAT_GOODBYE, b"".join(
            struct.pack("<QQQ", *line) for line in lines + [(TAIL, end, size)]))

    return folder(tree)
