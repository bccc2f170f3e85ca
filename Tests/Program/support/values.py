"""The byte values, blobs and index checksums in which the cases are written (see conformance/README.md)."""

import base64
import hashlib
import json
import struct
import zlib

MAGIC = {
    "plain": bytes.fromhex("42ab3807be8370a1"),
    "zstd": bytes.fromhex("31b958426fb6a37f"),
    "enc": bytes.fromhex("7b6785be222d4cf0"),
    "enczstd": bytes.fromhex("e6591bbf0bbfd80b"),
}


def shactr(seed, count):
    out = bytearray()
    index = 0
    while len(out) < count:
        out += hashlib.sha256(seed.encode() + struct.pack("<Q", index)).digest()
        index += 1
    return bytes(out[:count])


def blob(payload, kind="plain", crc=None):
    if crc is None:
        crc = zlib.crc32(payload[32:] if kind.startswith("enc") else payload)
    return MAGIC[kind] + struct.pack("<I", crc & 0xFFFFFFFF) + payload


def build(value, substitute=lambda text: text):
    """The bytes that a byte value describes."""
    if value is None:
        return b""
    if isinstance(value, list):
        return b"".join(build(item, substitute) for item in value)
    if "hex" in value:
        return bytes.fromhex(value["hex"])
    if "text" in value:
        return substitute(value["text"]).encode()
    if "base64" in value:
        return base64.b64decode(value["base64"])
    if "repeat" in value:
        return bytes.fromhex(value["repeat"]) * value["count"]
    if "shactr" in value:
        return shactr(value["shactr"], value["count"])
    if "json" in value:
        return json.dumps(value["json"]).encode()
    if "blob" in value:
        return blob(build(value["blob"], substitute), value.get("kind", "plain"), value.get("crc"))
    raise ValueError(f"unknown byte value {value}")


def dynamic_checksum(entries):
    """entries: (end offset, digest as hex)."""
    return hashlib.sha256(b"".join(struct.pack("<Q", end) + bytes.fromhex(d) for end, d in entries)).hexdigest()


def fixed_checksum(digests):
    return hashlib.sha256(b"".join(bytes.fromhex(d) for d in digests)).hexdigest()
