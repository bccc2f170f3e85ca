"""Reads a datastore by the rules of the original's format alone, as the server that gets it back would; nothing is forgiven.

What Cairn adds is one folder, `.cairn`, which the original passes over.
"""

import ctypes
import hashlib
import json
import os
import re
import stat
import struct
import zlib


class Broken(Exception):
    pass


def demand(condition, text):
    if not condition:
        raise Broken(text)


def magic(label):
    return hashlib.sha256(f"Proxmox Backup {label} v1.0".encode()).digest()[:8]


# (encrypted, compressed)
BLOBS = {magic("uncompressed blob"): (False, False), magic("zstd compressed blob"): (False, True),
         magic("encrypted blob"): (True, False), magic("zstd compressed encrypted blob"): (True, True)}
FIXED, DYNAMIC = magic("fixed sized chunk index"), magic("dynamic sized chunk index")
LARGEST_CHUNK, LARGEST_BLOB = 16 << 20, 128 << 20
ID = r"[A-Za-z0-9_][A-Za-z0-9._\-]*"
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
OWNER = rf"[^\s:/@]+@{ID}(!{ID})?\n?"
CHUNK = r"[0-9a-f]{64}"
UPID = r"UPID:[^:]+:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8,16}:[0-9A-F]{8}:[a-z_]+:[^:]*:[^:]+:"

zstd = ctypes.CDLL("libzstd.so.1")
zstd.ZSTD_createDStream.restype = ctypes.c_void_p
zstd.ZSTD_decompressStream.restype = ctypes.c_size_t


class Buffer(ctypes.Structure):
    _fields_ = [("memory", ctypes.c_void_p), ("size", ctypes.c_size_t), ("at", ctypes.c_size_t)]


def decompress(data, limit):
    """Frames may lack their size, and several may follow each other."""
    stream = ctypes.c_void_p(zstd.ZSTD_createDStream())
    source, room = ctypes.create_string_buffer(data, len(data)), ctypes.create_string_buffer(limit)
    before = Buffer(ctypes.cast(source, ctypes.c_void_p), len(data), 0)
    after = Buffer(ctypes.cast(room, ctypes.c_void_p), limit, 0)
    result = 1
    while before.at < before.size:
        taken = before.at
        result = zstd.ZSTD_decompressStream(stream, ctypes.byref(after), ctypes.byref(before))
        demand(not zstd.ZSTD_isError(ctypes.c_size_t(result)), "a frame does not decode")
        demand(before.at > taken or after.at < after.size, "more content than there may be")
    zstd.ZSTD_freeDStream(stream)
    demand(result == 0, "a frame is cut off")
    return ctypes.string_at(room, after.at)


def decode(blob, limit):
    """The content of a blob, nil of an encrypted one."""
    demand(len(blob) >= 12 and blob[:8] in BLOBS, "no blob")
    encrypted, compressed = BLOBS[blob[:8]]
    head = 44 if encrypted else 12
    demand(len(blob) >= head, "an encrypted blob that is too short")
    demand(zlib.crc32(blob[head:]) == struct.unpack("<I", blob[8:12])[0], "a wrong CRC")
    if encrypted:
        return None
    return decompress(blob[12:], limit) if compressed else blob[12:]


def parse_index(name, data):
    """[(digest, length)], logical size, checksum."""
    demand(len(data) > 4096, "an index without an entry")
    created, stored = struct.unpack("<q", data[24:32])[0], data[32:64]
    demand(created > 0 and data[8:24] != bytes(16), "an index without time or uuid")
    table = data[4096:]
    demand(hashlib.sha256(table).digest() == stored, "the checksum of an index is wrong")
    if name.endswith(".fidx"):
        demand(data[:8] == FIXED, "not a fixed index")
        size, step = struct.unpack("<QQ", data[64:80])
        demand(step & (step - 1) == 0 and data[80:4096] == bytes(4016), "an odd header")
        count = -(-size // step)
        demand(len(table) == 32 * count, "the length of an index does not fit its size")
        entries = [(table[32 * at:32 * at + 32].hex(), min(step, size - step * at)) for at in range(count)]
    else:
        demand(data[:8] == DYNAMIC and data[64:4096] == bytes(4032), "not a dynamic index, or an odd header")
        demand(len(table) % 40 == 0, "half an entry")
        entries, size = [], 0
        for end, digest in struct.iter_unpack("<Q32s", table):
            demand(end > size, "ends that do not increase")
            entries.append((digest.hex(), end - size))
            size = end
    return entries, size, stored.hex()


class Datastore:
    """All of a store, checked while it is read."""

    def __init__(self, path, user=None, group=None):
        self.path, self.user, self.group = path, user, group
        self.snapshots, self.chunks, self.bad = {}, {}, []
        self.references = {}
        self.check(path, stat.S_IFDIR, 0o755)
        self.own = os.path.isdir(os.path.join(path, ".cairn"))
        self.read_chunks()
        self.read_namespace(path, "", {".lock", ".chunks", ".gc-status", ".cairn", "lost+found"})
        self.check(os.path.join(path, ".lock"), stat.S_IFREG, 0o644)
        demand(os.path.getsize(os.path.join(path, ".lock")) == 0, "the lock is not empty")
        self.collection = None
        if os.path.exists(os.path.join(path, ".gc-status")):
            self.check(os.path.join(path, ".gc-status"), stat.S_IFREG, 0o644)
            self.collection = json.loads(self.bytes(os.path.join(path, ".gc-status")))
        for digest, (length, encrypted, where) in self.references.items():
            demand(digest in self.chunks, f"chunk {digest} of {where} is missing")
            content = decode(self.bytes(self.chunks[digest]), LARGEST_CHUNK)
            demand((content is None) == encrypted, f"chunk {digest} of {where} is of the other kind")
            if content is not None:
                demand(len(content) == length, f"chunk {digest} of {where} has another length")
                demand(hashlib.sha256(content).hexdigest() == digest, f"chunk {digest} of {where} has another digest")

    def check(self, path, kind, mode):
        status = os.lstat(path)
        demand(stat.S_IFMT(status.st_mode) == kind, f"{path} is of another type")
        demand(stat.S_IMODE(status.st_mode) == mode, f"{path} has mode {stat.S_IMODE(status.st_mode):o}")
        if self.user is not None:
            demand((status.st_uid, status.st_gid) == (self.user, self.group),
                   f"{path} belongs to {status.st_uid}:{status.st_gid}")

    def bytes(self, path):
        with open(path, "rb") as file:
            return file.read()

    def read_chunks(self):
        top = os.path.join(self.path, ".chunks")
        self.check(top, stat.S_IFDIR, 0o750)
        for prefix in os.listdir(top):
            demand(re.fullmatch(r"[0-9a-f]{4}", prefix), f"{prefix} in .chunks")
            folder = os.path.join(top, prefix)
            self.check(folder, stat.S_IFDIR, 0o750)
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                self.check(path, stat.S_IFREG, 0o644)
                if re.fullmatch(CHUNK + r"\.[0-9]\.bad", name):
                    self.bad.append(name)
                else:
                    demand(re.fullmatch(CHUNK, name) and name.startswith(prefix), f"{name} in .chunks/{prefix}")
                    self.chunks[name] = path

    def read_namespace(self, folder, namespace, others):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if name == "ns":
                self.check(path, stat.S_IFDIR, 0o755)
                for inner in os.listdir(path):
                    demand(re.fullmatch(ID, inner), f"{inner} in {path}")
                    self.check(os.path.join(path, inner), stat.S_IFDIR, 0o755)
                    self.read_namespace(os.path.join(path, inner), f"{namespace}/{inner}".strip("/"), set())
            elif name in ("vm", "ct", "host"):
                self.check(path, stat.S_IFDIR, 0o755)
                for group in os.listdir(path):
                    demand(re.fullmatch(ID, group), f"{group} in {path}")
                    self.read_group(os.path.join(path, group), namespace, name, group)
            else:
                demand(name in others, f"{name} in {folder}")

    def read_group(self, folder, namespace, kind, identity):
        self.check(folder, stat.S_IFDIR, 0o755)
        names = set(os.listdir(folder))
        demand("owner" in names, f"{folder} has no owner")
        demand(re.fullmatch(OWNER, self.bytes(os.path.join(folder, "owner")).decode()), f"the owner of {folder}")
        for name in names - {"owner", "notes"}:
            demand(re.fullmatch(TIME, name), f"{name} in {folder}")
            self.read_snapshot(os.path.join(folder, name), namespace, f"{kind}/{identity}/{name}")

    def read_snapshot(self, folder, namespace, name):
        self.check(folder, stat.S_IFDIR, 0o755)
        files = set(os.listdir(folder))
        for file in files:
            self.check(os.path.join(folder, file), stat.S_IFREG, 0o644)
            demand(file == ".protected" or re.fullmatch(ID + r"\.(fidx|didx|blob)", file), f"{file} in {folder}")
        demand("index.json.blob" in files, f"{folder} is not finished")
        content = decode(self.bytes(os.path.join(folder, "index.json.blob")), LARGEST_BLOB)
        demand(content is not None, f"the manifest of {folder} is encrypted")
        manifest = json.loads(content)
        stamp = f"{manifest['backup-type']}/{manifest['backup-id']}/"
        demand(name.startswith(stamp) and isinstance(manifest["backup-time"], int), f"the manifest of {folder}")
        demand(manifest.get("signature") is None or re.fullmatch(CHUNK, manifest["signature"]), "an odd signature")
        state = manifest.get("unprotected", {}).get("verify_state")
        if state:
            demand(state["state"] in ("ok", "failed") and re.fullmatch(UPID, state["upid"]), f"odd state {state}")
        listed = {file["filename"]: file for file in manifest["files"]}
        demand(files - {"index.json.blob", "client.log.blob", ".protected"} == set(listed), f"the files of {folder}")
        for file, entry in listed.items():
            self.read_archive(os.path.join(folder, file), file, entry)
        self.snapshots[f"{namespace}|{name}" if namespace else name] = manifest

    def read_archive(self, path, name, entry):
        data = self.bytes(path)
        mode = entry.get("crypt-mode", "none")
        demand(mode in ("none", "encrypt", "sign-only"), f"{path} has mode {mode}")
        if name.endswith(".blob"):
            demand(len(data) == entry["size"] and hashlib.sha256(data).hexdigest() == entry["csum"], f"{path} differs")
            decode(data, LARGEST_BLOB)
            return
        entries, size, checksum = parse_index(name, data)
        demand(size == entry["size"] and checksum == entry["csum"], f"{path} differs from its manifest")
        for digest, length in entries:
            self.references[digest] = (length, mode == "encrypt", path)

    def content(self, snapshot, archive):
        """The whole of a plain archive."""
        namespace, _, name = snapshot.rpartition("|")
        folder = os.path.join(self.path, *(f"ns/{part}" for part in namespace.split("/") if part), name)
        data = self.bytes(os.path.join(folder, archive))
        if archive.endswith(".blob"):
            return decode(data, LARGEST_BLOB)
        return b"".join(
            decode(self.bytes(self.chunks[digest]), LARGEST_CHUNK) for digest, _ in parse_index(archive, data)[0])
