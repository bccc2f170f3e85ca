"""A client of its own, written from the pages in docs/protocols and from nothing else."""

import hashlib
import json
import socket
import ssl
import urllib.parse

import h2.config
import h2.connection
import h2.events
import h2.settings

from .formats import decode_blob, digest_of, encode_blob, index_checksum, parse_index, signature

WRITE, READ = "proxmox-backup-protocol-v1", "proxmox-backup-reader-protocol-v1"
API = "/api2/json"
WINDOW = 32 << 20


class Refused(Exception):
    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


# protocols/backup.md, Connection

class Server:
    """Where the server is, and who asks."""

    def __init__(self, address, fingerprint):
        self.address, self.fingerprint = address, bytes.fromhex(fingerprint.replace(":", ""))
        self.credentials = []

    def connect(self, protocol):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([protocol])
        stream = context.wrap_socket(socket.create_connection(self.address, timeout=120))
        if hashlib.sha256(stream.getpeercert(binary_form=True)).digest() != self.fingerprint:
            stream.close()
            raise ConnectionError("the certificate has another fingerprint")
        return stream

    def use_token(self, token, secret):
        self.credentials = [("authorization", f"PBSAPIToken={token}:{secret}")]

    def login(self, user, password):
        body = json.dumps({"username": user, "password": password}).encode()
        with self.connect("http/1.1") as stream:
            status, text = http1(stream, "POST", API + "/access/ticket", [("content-type", "application/json")], body)
        if status != 200:
            raise Refused(status, text)
        data = json.loads(text)["data"]
        cookie = "PBSAuthCookie=" + urllib.parse.quote(data["ticket"], safe="")
        self.credentials = [("cookie", cookie), ("csrfpreventiontoken", data["CSRFPreventionToken"])]


def http1(stream, method, path, headers, body=b""):
    """One HTTP/1.1 exchange; reads no byte beyond its answer."""
    lines = [f"{method} {path} HTTP/1.1", "Host: cairn", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    stream.sendall("\r\n".join(lines + ["", ""]).encode() + body)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = stream.recv(1)
        if not byte:
            raise ConnectionError(f"the server closed after {head!r}")
        head += byte
    first, *rest = head.decode().strip().split("\r\n")
    length = dict(line.lower().split(": ", 1) for line in rest).get("content-length", "0")
    text = b""
    while len(text) < int(length):
        part = stream.recv(int(length) - len(text))
        if not part:
            raise ConnectionError("the server closed inside an answer")
        text += part
    return int(first.split()[1]), text.decode()


class Session:
    """A backup or reader session: calls over HTTP/2."""

    def __init__(self, server, kind, parameters, native=False):
        self.prefix, self.headers, self.answers = "", [], {}
        if native:
            self.stream = server.connect("h2")
            self.start()
            self.headers = server.credentials
            self.prefix = f"{API}/{kind}"
            self.call("POST", "", body=json.dumps(parameters).encode(), content_type="application/json")
            return
        self.stream = server.connect("http/1.1")
        protocol = WRITE if kind == "backup" else READ
        upgrade = server.credentials + [("connection", "upgrade"), ("upgrade", protocol)]
        status, text = http1(self.stream, "GET", f"{API}/{kind}?{urllib.parse.urlencode(parameters)}", upgrade)
        if status != 101:
            self.stream.close()
            raise Refused(status, text)
        self.start()

    def start(self):
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
        self.h2.increment_flow_control_window(WINDOW)

    def submit(self, method, call, parameters=None, body=b"", content_type="application/octet-stream"):
        """Sends a call and gives its stream; `result` waits for the answer."""
        path = self.prefix + call + ("?" + urllib.parse.urlencode(parameters, doseq=True) if parameters else "")
        headers = [(":method", method), (":scheme", "https"), (":authority", "cairn"), (":path", path)] + self.headers
        if body:
            headers += [("content-type", content_type)]
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = {"status": None, "body": bytearray(), "ended": False}
        self.h2.send_headers(stream, headers, end_stream=not body)
        rest = memoryview(body)
        while rest and not self.answers[stream]["ended"]:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(rest))
            if room:
                self.h2.send_data(stream, bytes(rest[:room]), end_stream=room == len(rest))
                rest = rest[room:]
            else:
                self.receive()
        self.stream.sendall(self.h2.data_to_send())
        return stream

    def receive(self):
        self.stream.sendall(self.h2.data_to_send())
        data = self.stream.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed the connection")
        for event in self.h2.receive_data(data):
            answer = self.answers.get(getattr(event, "stream_id", None))
            if isinstance(event, h2.events.ResponseReceived):
                answer["status"] = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                answer["body"] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                answer["ended"] = True
            elif isinstance(event, h2.events.ConnectionTerminated):
                raise ConnectionError(f"the server ended the connection: {event.error_code}")
        self.stream.sendall(self.h2.data_to_send())

    def result(self, stream):
        while not self.answers[stream]["ended"]:
            self.receive()
        answer = self.answers.pop(stream)
        if answer["status"] != 200:
            raise Refused(answer["status"], bytes(answer["body"]).decode())
        return bytes(answer["body"])

    def call(self, *arguments, **options):
        """A call with a JSON answer: gives its data."""
        return json.loads(self.result(self.submit(*arguments, **options)))["data"]

    def file(self, call, **parameters):
        return self.result(self.submit("GET", call, {name.replace("_", "-"): value for name, value in parameters.items()}))

    def close(self):
        self.stream.close()


class Backup(Session):
    """Writes one snapshot: archives, then `finish`."""

    def __init__(self, server, parameters, native=False, key=None):
        super().__init__(server, "backup", parameters, native)
        self.key, self.known, self.files, self.uploaded = key, set(), [], 0
        self.manifest = {name: parameters[name] for name in ("backup-type", "backup-id", "backup-time")}

    def previous(self, name):
        """The entries of an index of the previous snapshot, checked; its chunks are known from now on."""
        manifest = json.loads(decode_blob(self.file("/previous", archive_name="index.json.blob")))
        listed = next(file for file in manifest["files"] if file["filename"] == name)
        entries = parse_index(self.file("/previous", archive_name=name))
        if index_checksum(entries, name.endswith(".didx")) != listed["csum"]:
            raise ValueError(f"the previous {name} does not have its checksum")
        self.known |= {digest for _, _, digest in entries}
        return entries

    def archive(self, name, pieces, base=None):
        """Writes an index of `pieces`. With `base`, the previous entries of an image, only what changed is appended."""
        dynamic = name.endswith(".didx")
        kind = "dynamic" if dynamic else "fixed"
        opening = {"archive-name": name}
        if not dynamic:
            opening["size"] = sum(map(len, pieces))
        if base:
            opening["reuse-csum"] = index_checksum(base, dynamic)
        wid = self.call("POST", f"/{kind}_index", opening)
        entries, end = [], 0
        for piece in pieces:
            entries.append((end, end + len(piece), digest_of(piece, self.key)))
            end += len(piece)
        uploads = []
        for (_, _, digest), piece in zip(entries, pieces):
            if digest not in self.known:
                self.known.add(digest)
                body = encode_blob(piece, self.key)
                uploads.append((digest, self.submit("POST", f"/{kind}_chunk", {
                    "wid": wid, "digest": digest.hex(), "size": len(piece), "encoded-size": len(body)}, body)))
        for digest, stream in uploads:
            answer = json.loads(self.result(stream))["data"]
            if answer != digest.hex():
                raise ValueError(f"{answer} in answer to a chunk {digest.hex()}")
        self.uploaded += len(uploads)
        changed = [entry for entry in entries if not base or entry not in base]
        lists = {"wid": wid, "digest-list": [entry[2].hex() for entry in changed],
                 "offset-list": [entry[0] for entry in changed]}
        self.call("PUT", f"/{kind}_index", body=json.dumps(lists).encode(), content_type="application/json")
        checksum = index_checksum(entries, dynamic)
        self.call("POST", f"/{kind}_close", {"wid": wid, "chunk-count": len(changed), "size": end, "csum": checksum})
        self.list(name, end, checksum)

    def blob(self, name, content):
        data = encode_blob(content, self.key)
        self.put(name, data)
        self.list(name, len(data), hashlib.sha256(data).hexdigest())

    def put(self, name, data):
        self.call("POST", "/blob", {"file-name": name, "encoded-size": len(data)}, data)

    def list(self, name, size, checksum):
        mode = "encrypt" if self.key else "none"
        self.files.append({"filename": name, "crypt-mode": mode, "size": size, "csum": checksum})

    def finish(self):
        manifest = dict(self.manifest, files=self.files, unprotected={}, signature=None)
        if self.key:
            manifest["signature"] = signature(manifest, self.key)
            manifest["unprotected"] = {"key-fingerprint": self.key.fingerprint}
        self.put("index.json.blob", encode_blob(json.dumps(manifest).encode()))
        self.call("POST", "/finish")
        self.close()


class Reader(Session):
    """Reads one snapshot and checks everything that can be checked."""

    def __init__(self, server, parameters, native=False, key=None):
        super().__init__(server, "reader", parameters, native)
        self.key = key
        self.manifest = json.loads(decode_blob(self.file("/download", file_name="index.json.blob")))
        if key and self.manifest["signature"] != signature(self.manifest, key):
            raise ValueError("the signature of the manifest is wrong")

    def content(self, name):
        listed = next(file for file in self.manifest["files"] if file["filename"] == name)
        key = self.key if listed["crypt-mode"] == "encrypt" else None
        data = self.file("/download", file_name=name)
        if name.endswith(".blob"):
            if (len(data), hashlib.sha256(data).hexdigest()) != (listed["size"], listed["csum"]):
                raise ValueError(f"{name} is not what the manifest lists")
            return decode_blob(data, key)
        entries = parse_index(data)
        if (entries[-1][1], index_checksum(entries, name.endswith(".didx"))) != (listed["size"], listed["csum"]):
            raise ValueError(f"{name} is not what the manifest lists")
        streams = [self.submit("GET", "/chunk", {"digest": digest.hex()}) for _, _, digest in entries]
        whole = []
        for (start, end, digest), stream in zip(entries, streams):
            piece = decode_blob(self.result(stream), key)
            if len(piece) != end - start or digest_of(piece, key) != digest:
                raise ValueError(f"a chunk of {name} is not what the index names")
            whole.append(piece)
        return b"".join(whole)
