"""Connect streams over HTTP/2, at either end: TLS with ALPN or plain text with prior knowledge."""

import gzip
import hashlib
import json
import os
import select
import socket
import ssl
import struct
import threading
import time
import zlib

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

SYNC = "/v1sync.BackrestSyncService/Sync"
#: Long enough for a machine that is busy with other things.
PATIENCE = 90
COMPRESSED, END = 1, 2
#: Bytes of a stream that are remembered, to look for secrets in.
KEPT = 1 << 20


class Malformed(Exception):
    """Bytes that are no envelope, or one that is too large."""


class Ended(Exception):
    """The hub's last word: `code` is None where all is well."""

    def __init__(self, code, message=""):
        super().__init__(f"{code or 'the end'}: {message}")
        self.code = code


class Cut(Exception):
    """The stream or its connection is gone without a last word."""


class Answered(Exception):
    """A status other than 200."""

    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


def envelope(payload, flags=0):
    return struct.pack(">BI", flags, len(payload)) + payload


class Cutter:
    """Cuts bytes into envelopes: (flags, payload), the payload as it was before compression."""

    def __init__(self, limit=32 << 20, encoding=None):
        self.limit, self.encoding = limit, encoding
        self.rest = bytearray()

    def feed(self, data):
        self.rest += data
        found = []
        while len(self.rest) >= 5:
            flags, length = struct.unpack(">BI", self.rest[:5])
            if flags & ~(COMPRESSED | END):
                raise Malformed(f"flags {flags}")
            if length > self.limit:
                raise Malformed(f"a message of {length} bytes")
            if len(self.rest) < 5 + length:
                break
            payload = bytes(self.rest[5:5 + length])
            del self.rest[:5 + length]
            if flags & COMPRESSED:
                payload = self.inflate(payload)
            found.append((flags, payload))
        return found

    def inflate(self, payload):
        if self.encoding != "gzip":
            raise Malformed("a compressed message without an encoding")
        try:
            reader = zlib.decompressobj(31)
            plain = reader.decompress(payload, self.limit + 1)
        except zlib.error as error:
            raise Malformed(str(error)) from None
        if len(plain) > self.limit or not reader.eof:
            raise Malformed("a compressed message that is too large or cut")
        return plain

    def finish(self):
        if self.rest:
            raise Malformed("the stream ends within a message")


class Connection:
    """One HTTP/2 connection and the thread that reads it."""

    def __init__(self, sock, is_client, on_stream=None, window=1 << 20):
        self.sock, self.is_client, self.on_stream = sock, is_client, on_stream
        self.changed = threading.Condition(threading.RLock())
        self.streams = {}
        self.out = bytearray()
        self.closed = None
        self.goes = True
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=is_client, header_encoding="utf-8"))
        self.h2.local_settings = h2.settings.Settings(
            client=is_client, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        sock.setblocking(False)
        self.wake_out, self.wake_in = os.pipe()
        with self.changed:
            self.h2.initiate_connection()
            if window > 65535:
                self.h2.increment_flow_control_window(window - 65535)
            self.flush()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    # Called with the lock held.

    def flush(self):
        self.out += self.h2.data_to_send()
        while self.out and self.closed is None:
            try:
                sent = self.sock.send(self.out[:1 << 16])
                del self.out[:sent]
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                os.write(self.wake_in, b"w")
                return
            except OSError as error:
                self.end(str(error))

    def end(self, reason):
        if self.closed is None:
            self.closed = reason
        self.changed.notify_all()

    def take(self, data):
        for event in self.h2.receive_data(data):
            stream = self.streams.get(getattr(event, "stream_id", None))
            if isinstance(event, h2.events.RequestReceived):
                stream = self.streams[event.stream_id] = Stream(self, event.stream_id)
                stream.headers = dict(event.headers)
                if self.on_stream:
                    threading.Thread(target=self.on_stream, args=(stream,), daemon=True).start()
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.end(f"GOAWAY {event.error_code}")
            elif stream is None:
                continue
            elif isinstance(event, h2.events.ResponseReceived):
                stream.headers = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                stream.received += event.data
                stream.everything += event.data[:max(0, KEPT - len(stream.everything))]
                if stream.reads:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                else:
                    stream.unacknowledged += event.flow_controlled_length
            elif isinstance(event, h2.events.StreamEnded):
                stream.ended = True
            elif isinstance(event, h2.events.StreamReset):
                stream.reset = event.error_code
        self.changed.notify_all()

    def read(self):
        try:
            self.read_all()
        finally:
            with self.changed:
                self.end("nobody reads any more")
                self.sock.close()
                os.close(self.wake_out)
                os.close(self.wake_in)

    def read_all(self):
        while True:
            with self.changed:
                if self.closed is not None:
                    break
                pending = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0
                waits = bool(self.out)
            if not pending:
                poll = select.poll()  # select() knows no descriptor above 1023
                poll.register(self.wake_out, select.POLLIN)
                try:
                    poll.register(self.sock, select.POLLIN | (select.POLLOUT if waits else 0))
                    ready = [number for number, _ in poll.poll(5000)]
                except (OSError, ValueError):
                    break
                if self.wake_out in ready:
                    os.read(self.wake_out, 4096)
            with self.changed:
                try:
                    while self.closed is None:
                        data = self.sock.recv(1 << 16)
                        if not data:
                            self.end("the connection is closed")
                            break
                        self.take(data)
                        self.flush()
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    self.flush()
                except h2.exceptions.ProtocolError as error:
                    self.end(f"HTTP/2: {error}")
                except OSError as error:
                    self.end(str(error))

    # Called by anybody.

    def open(self, path=SYNC, headers=(), method="POST", end=False, usual=True):
        fields = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
        if usual:
            fields += [("content-type", "application/connect+proto"), ("connect-protocol-version", "1"),
                       ("connect-accept-encoding", "gzip"), ("accept-encoding", "identity")]
            fields = [field for field in fields if field[0] not in dict(headers)]
        fields += [(name, value) for name, value in headers if value is not None]
        with self.changed:
            number = self.h2.get_next_available_stream_id()
            stream = self.streams[number] = Stream(self, number)
            self.h2.send_headers(number, fields, end_stream=end)
            self.flush()
            return stream

    def close(self):
        """The thread that reads closes the socket."""
        with self.changed:
            if self.closed is None:
                self.end("closed here")
                os.write(self.wake_in, b"w")


class Stream:
    """A stream of bytes both ways."""

    def __init__(self, connection, number):
        self.connection, self.number = connection, number
        self.headers = None
        self.received = bytearray()
        self.everything = bytearray()
        self.ended = False
        self.reset = None
        self.reads = True
        self.unacknowledged = 0

    def wait(self, condition, patience=PATIENCE):
        """Whether `condition` came true before the stream was gone or the time was over."""
        changed = self.connection.changed
        with changed:
            changed.wait_for(
                lambda: condition() or self.is_gone, patience)
            return bool(condition())

    @property
    def is_gone(self):
        return self.reset is not None or self.connection.closed is not None

    def send(self, data, end=False, patience=PATIENCE):
        limit = time.monotonic() + patience
        data = memoryview(bytes(data))
        connection = self.connection
        while True:
            with connection.changed:
                if self.is_gone:
                    raise Cut(self.why)
                if not len(data) and not end:
                    return
                try:
                    room = min(connection.h2.local_flow_control_window(self.number),
                               connection.h2.max_outbound_frame_size)
                    if len(data) and room > 0:
                        piece, data = data[:room], data[room:]
                        connection.h2.send_data(self.number, bytes(piece))
                        connection.flush()
                        if not len(data) and not end:
                            return
                    elif not len(data):
                        connection.h2.end_stream(self.number)
                        connection.flush()
                        return
                    else:
                        connection.changed.wait(1)
                except h2.exceptions.ProtocolError as error:
                    raise Cut(str(error)) from None
            if time.monotonic() > limit:
                raise Cut("the other side takes nothing")

    def respond(self, status=200, headers=(), end=False):
        with self.connection.changed:
            self.connection.h2.send_headers(self.number, [(":status", str(status)), *headers], end_stream=end)
            self.connection.flush()

    def cancel(self, code=h2.errors.ErrorCodes.CANCEL):
        with self.connection.changed:
            try:
                self.connection.h2.reset_stream(self.number, code)
                self.connection.flush()
            except h2.exceptions.ProtocolError:
                pass
            self.reset = code
            self.connection.changed.notify_all()

    def resume(self):
        """Reads again after `reads` was false."""
        with self.connection.changed:
            self.reads = True
            if self.unacknowledged:
                self.connection.h2.acknowledge_received_data(self.unacknowledged, self.number)
                self.unacknowledged = 0
                self.connection.flush()

    @property
    def why(self):
        return self.connection.closed or f"reset with {self.reset}"

    def take(self):
        with self.connection.changed:
            data = bytes(self.received)
            self.received.clear()
            return data


class Messages:
    """A stream of envelopes over a stream of bytes."""

    def __init__(self, stream, is_client=True, compresses=False, prefix_apart=False, one_by_one=False):
        self.stream, self.is_client = stream, is_client
        self.compresses, self.prefix_apart, self.one_by_one = compresses, prefix_apart, one_by_one
        self.cutter = None
        self.waiting = []
        self.has_answered = is_client
        self.answer_headers = (("content-type", "application/connect+proto"),)

    def send(self, payload, flags=0, patience=PATIENCE):
        if not self.has_answered:
            self.has_answered = True
            self.stream.respond(headers=self.answer_headers)
        if self.compresses and not flags:
            payload, flags = gzip.compress(payload), COMPRESSED
        data = envelope(payload, flags)
        if self.one_by_one:
            for index in range(len(data)):
                self.stream.send(data[index:index + 1], patience=patience)
        elif self.prefix_apart:
            self.stream.send(data[:5], patience=patience)
            self.stream.send(data[5:], patience=patience)
        else:
            self.stream.send(data, patience=patience)

    def finish(self, code=None, message=""):
        """The hub's last word."""
        error = {"error": {"code": code, "message": message}} if code else {}
        try:
            self.send(json.dumps(error).encode(), END)
            self.stream.send(b"", end=True)
        except Cut:
            pass

    def receive(self, patience=PATIENCE):
        """The next payload. Raises Ended, Cut, Answered, or TimeoutError."""
        limit = time.monotonic() + patience
        stream = self.stream
        while not self.waiting:
            stream.wait(lambda: stream.received or stream.ended, max(0, limit - time.monotonic()))
            if self.is_client and stream.headers and stream.headers[":status"] != "200":
                raise Answered(int(stream.headers[":status"]))
            data = stream.take()
            if data:
                if self.cutter is None:
                    name = "connect-content-encoding"
                    self.cutter = Cutter(encoding=stream.headers.get(name))
                self.waiting += self.cutter.feed(data)
            elif stream.ended:
                raise Cut("the stream ends without a last word")
            elif stream.is_gone:
                raise Cut(stream.why)
            elif time.monotonic() >= limit:
                raise TimeoutError("nothing came")
        flags, payload = self.waiting.pop(0)
        if flags & END:
            error = json.loads(payload).get("error") or {}
            raise Ended(error.get("code"), error.get("message", ""))
        return payload

    def end(self, patience=PATIENCE):
        """Takes whatever still comes and gives what the stream ended with: (code, message), code None where it is
        well, "cut" where there was no last word."""
        limit = time.monotonic() + patience
        while True:
            try:
                self.receive(max(0.01, limit - time.monotonic()))
            except Ended as ended:
                return ended.code, str(ended)
            except Answered as answered:
                return str(answered.status), str(answered)
            except Cut as cut:
                return "cut", str(cut)


def connect(address, fingerprint=None, source=None, window=1 << 20):
    """A connection to a hub: by TLS where a fingerprint is given. `source`: the loopback address to come from."""
    sock = socket.create_connection(address, PATIENCE, (source, 0) if source else None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if fingerprint:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        sock = context.wrap_socket(sock, server_hostname="localhost")
        shown = hashlib.sha256(sock.getpeercert(True)).hexdigest()
        if shown != fingerprint.replace(":", "").lower():
            raise Cut(f"the certificate is {shown}")
        if sock.selected_alpn_protocol() != "h2":
            raise Cut("the server does not speak HTTP/2")
    return Connection(sock, is_client=True, window=window)


class Listener:
    """Takes connections on a free loopback port and gives their streams to `on_stream`, each in a thread."""

    def __init__(self, on_stream, certificate=None, window=1 << 20):
        self.on_stream, self.window = on_stream, window
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
            self.context.set_alpn_protocols(["h2"])
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.connections = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.take, args=(sock,), daemon=True).start()

    def take(self, sock):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            self.connections.append(Connection(sock, is_client=False, on_stream=self.on_stream, window=self.window))
        except OSError:
            sock.close()

    def close(self):
        self.sock.close()
        for connection in self.connections:
            connection.close()
