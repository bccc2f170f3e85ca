"""Replays recorded sessions of the original client against our server, message by message.

The recordings (Tests/Fixtures/pbs/recordings) hold the decrypted bytes of whole connections. What the client sent is
sent again, at the same points of the conversation; what our server answers is compared with what the original server
answered: status, and body by meaning (index files but for uuid and creation time, manifests as JSON, the rest byte for
byte).
"""

import json
import os
import re
import struct
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from hpack import Decoder, Encoder  # noqa: E402
from hyperframe.frame import (  # noqa: E402
    ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame)

from conformance.match import decode_blob  # noqa: E402
from support import http1  # noqa: E402
from support.server import ROOT, Server  # noqa: E402

FOLDER = os.path.join(ROOT, "Tests", "Fixtures", "pbs", "recordings")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def records(name):
    """[(direction, bytes)] of a recording."""
    with open(os.path.join(FOLDER, name), "rb") as file:
        data = file.read()
    result, position = [], 0
    while position < len(data):
        direction = data[position:position + 1].decode()
        (length,) = struct.unpack(">I", data[position + 1:position + 5])
        result.append((direction, data[position + 5:position + 5 + length]))
        position += 5 + length
    return result


class Frames:
    """Takes a byte stream apart into HTTP/2 frames."""

    def __init__(self, skip):
        self.buffer, self.skip = b"", skip

    def feed(self, data):
        self.buffer += data
        if self.skip:
            taken = min(self.skip, len(self.buffer))
            self.buffer, self.skip = self.buffer[taken:], self.skip - taken
        while len(self.buffer) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
            if len(self.buffer) < 9 + length:
                return
            frame.parse_body(memoryview(self.buffer[9:9 + length]))
            self.buffer = self.buffer[9 + length:]
            yield frame


class Messages:
    """Puts HTTP/2 frames of one direction together to messages by stream."""

    def __init__(self, skip=0):
        self.frames = Frames(skip)
        self.decoder = Decoder()
        self.decoder.max_header_list_size = 1 << 20
        self.headers = {}
        self.bodies = {}
        self.block = {}
        self.ended = []
        self.ending = set()
        self.over = None

    def feed(self, data):
        for frame in self.frames.feed(data):
            self.take(frame)

    def take(self, frame):
        stream = frame.stream_id
        if isinstance(frame, (HeadersFrame, ContinuationFrame)):
            self.block[stream] = self.block.get(stream, b"") + bytes(frame.data)
            if isinstance(frame, HeadersFrame) and "END_STREAM" in frame.flags:
                self.ending.add(stream)
            if "END_HEADERS" in frame.flags:
                fields = self.decoder.decode(self.block.pop(stream))
                self.headers.setdefault(stream, []).extend(fields)
                if stream in self.ending:
                    self.ended.append(stream)
        elif isinstance(frame, DataFrame):
            self.bodies[stream] = self.bodies.get(stream, b"") + bytes(frame.data)
            if "END_STREAM" in frame.flags:
                self.ended.append(stream)
        elif isinstance(frame, RstStreamFrame):
            if frame.error_code != 0:
                self.headers.setdefault(stream, []).append((":status", f"reset {frame.error_code}"))
                self.ended.append(stream)
        elif isinstance(frame, GoAwayFrame) and frame.error_code != 0:
            self.over = f"GOAWAY {frame.error_code}: {frame.additional_data!r}"

    def field(self, stream, name):
        for key, value in self.headers.get(stream, []):
            if key == name:
                return value
        return None


def plan(name):
    """The recorded conversation: head, client frames with the answers to await before each, and both sides' messages."""
    head, pieces = b"", []
    client, server, frames = Messages(len(PREFACE)), Messages(), Frames(len(PREFACE))
    server_head, in_head = b"", True
    for direction, data in records(name):
        if direction == "s":
            if in_head:
                server_head += data
                if b"\r\n\r\n" in server_head:
                    server.feed(server_head.split(b"\r\n\r\n", 1)[1])
                    in_head = False
            else:
                server.feed(data)
        elif data:
            if b"\r\n\r\n" not in head:
                head += data
                if b"\r\n\r\n" not in head:
                    continue
                head, data = head.split(b"\r\n\r\n", 1)
                head += b"\r\n\r\n"
                if not data:
                    continue
            client.feed(data)
            pieces += [(len(server.ended), frame) for frame in frames.feed(data)]
    order_writers(client, server)
    return head, pieces, client, server


def order_writers(client, server):
    """The original gave writer ids to concurrent calls in no fixed order; we give them in order of arrival, and the
    recorded client names them later. So the calls that open indexes are put in the order of their recorded ids."""
    streams = [
        stream for stream in client.headers
        if client.field(stream, ":method") == "POST" and client.field(stream, ":path").split("?")[0].endswith("_index")]
    by_id = sorted(streams, key=lambda stream: json.loads(server.bodies[stream])["data"])
    headers = {stream: client.headers[stream] for stream in streams}
    bodies = {stream: server.bodies[stream] for stream in streams}
    for place, source in zip(streams, by_id):
        client.headers[place], server.bodies[place] = headers[source], bodies[source]


def rewritten(frame, client, encoder):
    """The bytes of a client frame; heads are encoded anew."""
    if isinstance(frame, HeadersFrame):
        frame.data = encoder.encode(client.headers[frame.stream_id])
    return frame.serialize()


def same(request_path, wanted, got):
    """Whether two bodies mean the same; gives a complaint or ''."""
    path, _, query = request_path.partition("?")
    parameters = urllib.parse.parse_qs(query)
    file = (parameters.get("archive-name") or parameters.get("file-name") or [""])[0]
    if path in ("/previous", "/download") and file.endswith(("idx",)):
        wanted, got = wanted[:8] + wanted[32:], got[:8] + got[32:]
    elif path in ("/previous", "/download") and file == "index.json.blob":
        wanted, got = json.loads(decode_blob(wanted)), json.loads(decode_blob(got))
    if wanted == got:
        return ""
    return f"{str(wanted)[:300]} expected, got {str(got)[:300]}"


def replay(server, name, token):
    """Complaints about one recorded HTTP/2 session."""
    head, pieces, client, recorded = plan(name)
    head = re.sub(rb"(?i)\r\n(authorization|cookie|csrfpreventiontoken):[^\r]*", b"", head)
    head = head[:-2] + f"Authorization: PBSAPIToken {token}\r\n\r\n".encode()
    sock = http1.tls(server.address, timeout=30)
    sock.sendall(head)
    reader = http1.Reader(sock)
    response = reader.response("GET")
    if response.status != 101:
        return [f"upgrade: {response.status} {response.body[:300]!r}"]
    ours, encoder = Messages(), Encoder()
    ours.feed(reader.buffer)

    def receive_until(count):
        while len(ours.ended) < count:
            data = sock.recv(1 << 20)
            if not data:
                raise http1.Closed(ours.over or "end of connection")
            ours.feed(data)
            if ours.over:
                raise http1.Closed(ours.over)

    found = []
    try:
        sock.sendall(PREFACE)
        for awaited, frame in pieces:
            receive_until(awaited)
            sock.sendall(rewritten(frame, client, encoder))
        receive_until(len(recorded.ended))
    except (http1.Closed, OSError) as error:
        found.append(f"after {len(ours.ended)} of {len(recorded.ended)} answers: {error}")
    sock.close()
    for stream in sorted(recorded.ended):
        request = f"{client.field(stream, ':method')} {client.field(stream, ':path')}"
        if stream not in ours.ended:
            found.append(f"{request}: no answer")
            continue
        wanted, got = recorded.field(stream, ":status"), ours.field(stream, ":status")
        if wanted != got:
            found.append(f"{request}: status {wanted} expected, got {got} {ours.bodies.get(stream, b'')[:200]!r}")
            continue
        if wanted == "200":
            for header in ("content-type",):
                if recorded.field(stream, header) != ours.field(stream, header):
                    found.append(f"{request}: {header} {ours.field(stream, header)}")
            problem = same(client.field(stream, ":path"), recorded.bodies.get(stream, b""), ours.bodies.get(stream, b""))
            if problem:
                found.append(f"{request}: {problem}")
    if not recorded.ended:
        found.append("the recording holds no answer")
    return found


class Answers:
    """Recorded bytes in the place of a socket."""

    def __init__(self, data):
        self.data = data

    def recv(self, count):
        piece, self.data = self.data[:count], self.data[count:]
        return piece


def replay_listing(server, name, token):
    """Complaints about the plain HTTP/1.1 recording of a snapshot list."""
    requests = b"".join(data for direction, data in records(name) if direction == "c")
    answers = b"".join(data for direction, data in records(name) if direction == "s")
    head = requests.split(b"\r\n\r\n", 1)[0].decode()
    target = head.split(" ")[1]
    body = http1.Reader(Answers(answers)).response("GET").body
    response = http1.request(
        server.address, "GET", target,
        [("Host", "localhost"), ("Connection", "close"), ("Authorization", f"PBSAPIToken {token}")])
    if response.status != 200:
        return [f"status {response.status} {response.body[:200]!r}"]

    def key(item):
        return item["backup-id"], item["backup-time"]

    wanted = sorted(json.loads(body)["data"], key=key)
    got = sorted(json.loads(response.body)["data"], key=key)
    found = []
    for a, b in zip(wanted, got):
        for snapshot in (a, b):
            snapshot["files"].sort(key=lambda file: file["filename"])
            for file in snapshot["files"]:
                if file["filename"] == "index.json.blob":
                    file.pop("size", None)  # compressed by another encoder
            snapshot.pop("size", None)
        if a != b:
            found.append(f"{a} expected, got {b}")
    if len(wanted) != len(got):
        found.append(f"{len(wanted)} snapshots expected, got {len(got)}")
    return found


def main():
    failed = 0
    started = time.monotonic()
    with Server() as server:
        server.datastore("rec")
        server.owner("user", "create", "tester@pbs", "--password", "test-password-1")
        made = server.owner("user", "generate-token", "tester@pbs", "tok1", "--output-format", "json").stdout
        token = "tester@pbs!tok1:" + json.loads(made)["value"]
        for who in ("tester@pbs", "tester@pbs!tok1"):
            server.owner("acl", "update", "/datastore/rec", "DatastoreBackup", "--auth-id", who)
        names = sorted(name for name in os.listdir(FOLDER) if name.endswith(".rec"))
        for name in names:
            try:
                found = (replay_listing if "list" in name else replay)(server, name, token)
            except Exception as error:  # an answer that cannot be read at all
                found = [f"{type(error).__name__}: {error}"]
            for problem in found:
                print(f"FAILED  {name}: {problem}")
            failed += bool(found)
    print(f"recordings: {len(names) - failed} replayed, {failed} failed, in {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
