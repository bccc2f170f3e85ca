"""HTTP/2 with prior knowledge on a TLS connection, on top of the h2 package."""

import socket
import ssl
import struct
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from .http1 import Closed, Reader, Response


class Stream:
    def __init__(self, body):
        self.left = body
        self.status = None
        self.headers = []
        self.body = bytearray()
        self.done = False
        self.reset = None
        self.started = time.monotonic()
        self.seconds = 0.0
        self.sent_end = False


class Session:
    """One HTTP/2 connection; requests may be sent together and awaited later."""

    WINDOW = 16 * 1024 * 1024

    def __init__(self, sock, leftover=b"", authority="localhost:8007"):
        self.sock = sock
        self.authority = authority
        self.streams = {}
        self.remote_settings = None
        self.closed = None
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config=config)
        self.h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: self.WINDOW,
                h2.settings.SettingCodes.MAX_FRAME_SIZE: 4 * 1024 * 1024,
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
            },
        )
        self.h2.max_inbound_frame_size = 4 * 1024 * 1024
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(self.WINDOW)
        self.flush()
        if leftover:
            self.feed(leftover)

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            try:
                self.sock.sendall(data)
            except (OSError, ssl.SSLError) as error:
                self.end(str(error))

    def end(self, reason):
        if self.closed is None:
            self.closed = reason
        for stream in self.streams.values():
            if not stream.done:
                stream.done = True
                stream.reset = "closed"

    def feed(self, data):
        for event in self.h2.receive_data(data):
            stream = self.streams.get(getattr(event, "stream_id", None))
            if isinstance(event, h2.events.RemoteSettingsChanged):
                if self.remote_settings is None:
                    self.remote_settings = {
                        int(code): change.new_value for code, change in event.changed_settings.items()
                    }
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.end(f"GOAWAY {event.error_code}")
            elif stream is None:
                continue
            elif isinstance(event, h2.events.ResponseReceived):
                for name, value in event.headers:
                    if name == ":status":
                        stream.status = int(value)
                    else:
                        stream.headers.append((name, value))
            elif isinstance(event, h2.events.DataReceived):
                stream.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                if isinstance(event, h2.events.StreamReset):
                    if stream.status is None or not stream.done:
                        stream.reset = "reset" if event.error_code != h2.errors.ErrorCodes.NO_ERROR else None
                        if stream.reset is None and stream.status is None:
                            stream.reset = "reset"
                stream.done = True
                stream.seconds = time.monotonic() - stream.started
        self.flush()

    def receive(self, timeout=None):
        """Reads once from the socket."""
        self.sock.settimeout(timeout)
        try:
            data = self.sock.recv(1 << 20)
        except (socket.timeout, TimeoutError):
            raise
        except (OSError, ssl.SSLError) as error:
            self.end(str(error))
            return
        if not data:
            self.end("end of connection")
            return
        try:
            self.feed(data)
        except h2.exceptions.ProtocolError as error:
            self.end(f"protocol error: {error}")

    def start(self, method, path, headers=(), body=b"", end=True):
        """Sends a request's head, once the server takes one more; its body goes out as windows allow."""
        while self.closed is None and self.h2.open_outbound_streams >= self.h2.remote_settings.max_concurrent_streams:
            self.push_bodies()
            self.receive(120)
        stream_id = self.h2.get_next_available_stream_id()
        fields = [
            (":method", method),
            (":scheme", "https"),
            (":authority", self.authority),
            (":path", path),
        ] + [(name.lower(), value) for name, value in headers]
        stream = Stream(memoryview(bytes(body)))
        self.streams[stream_id] = stream
        no_body = end and not body
        self.h2.send_headers(stream_id, fields, end_stream=no_body)
        stream.sent_end = no_body or not end
        self.flush()
        return stream_id

    def push_bodies(self):
        moved = False
        for stream_id, stream in self.streams.items():
            if stream.sent_end or stream.done:
                continue
            try:
                window = self.h2.local_flow_control_window(stream_id)
                while len(stream.left) and window > 0:
                    piece = stream.left[: min(window, self.h2.max_outbound_frame_size)]
                    self.h2.send_data(stream_id, bytes(piece))
                    stream.left = stream.left[len(piece):]
                    window = self.h2.local_flow_control_window(stream_id)
                    moved = True
                    self.flush()
                if not len(stream.left):
                    self.h2.end_stream(stream_id)
                    stream.sent_end = True
                    moved = True
            except h2.exceptions.ProtocolError:
                stream.sent_end = True
        self.flush()
        return moved

    def wait(self, stream_ids, timeout=120):
        """Until each of the streams has ended; gives their responses."""
        limit = time.monotonic() + timeout
        while self.closed is None:
            self.push_bodies()
            if all(self.streams[s].done for s in stream_ids):
                break
            left = limit - time.monotonic()
            if left <= 0:
                raise TimeoutError("no answer in time")
            self.receive(left)
        results = []
        for stream_id in stream_ids:
            stream = self.streams.pop(stream_id)
            status = stream.status if stream.status is not None else (stream.reset or "closed")
            results.append(Response(status, stream.headers, bytes(stream.body), stream.seconds))
        return results

    def call(self, method, path, headers=(), body=b""):
        if self.closed is not None:
            return Response("closed", [], b"")
        return self.wait([self.start(method, path, headers, body)])[0]

    def wait_settings(self, timeout=10):
        limit = time.monotonic() + timeout
        while self.remote_settings is None and self.closed is None:
            self.receive(max(0.01, limit - time.monotonic()))
        return self.remote_settings or {}

    def wait_closed(self, timeout):
        limit = time.monotonic() + timeout
        while self.closed is None:
            left = limit - time.monotonic()
            if left <= 0:
                return False
            try:
                self.receive(left)
            except (socket.timeout, TimeoutError):
                return False
        return True

    def disconnect(self, how):
        try:
            if how == "goaway":
                self.h2.close_connection()
                self.flush()
            if how == "tls-close":
                self.sock.settimeout(2)
                try:
                    self.sock.unwrap()
                except (OSError, ssl.SSLError, ValueError):
                    pass
            if how == "reset":
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()
        except OSError:
            pass
        self.end("disconnected here")


def upgrade(sock, head_bytes, split=None):
    """Sends an upgrade request; gives (response, session or None)."""
    if split:
        for start in range(0, len(head_bytes), split):
            sock.sendall(head_bytes[start:start + split])
            time.sleep(0.002)
    else:
        sock.sendall(head_bytes)
    reader = Reader(sock)
    try:
        response = reader.response("GET", time.monotonic())
    except Closed:
        return Response("closed", [], b""), None
    if response.status != 101:
        return response, None
    return response, Session(sock, reader.buffer)
