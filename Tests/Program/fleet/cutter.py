"""A way between a member and a hub that ends after an item, or lets bytes through one by one.

It knows as much of HTTP/2 as is needed to see where envelopes end: the connection is not encrypted, the items are.
"""

import socket
import struct
import threading

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, PADDED = 0, 8


class Envelopes:
    """Finds where envelopes end in one direction of a connection."""

    def __init__(self, has_preface):
        self.skip = len(PREFACE) if has_preface else 0
        self.frame = b""
        self.left = 0
        self.is_data = False
        self.padding = 0
        self.envelope = {}
        self.stream = 0

    def ends(self, data):
        """Offsets in `data` behind the last byte of each envelope that ends there."""
        found, at = [], 0
        while at < len(data):
            if self.skip:
                step = min(self.skip, len(data) - at)
                self.skip -= step
                at += step
            elif self.left == 0:
                step = min(9 - len(self.frame), len(data) - at)
                self.frame += data[at:at + step]
                at += step
                if len(self.frame) == 9:
                    self.left = int.from_bytes(self.frame[:3], "big")
                    self.is_data = self.frame[3] == DATA
                    self.stream = int.from_bytes(self.frame[5:9], "big") & 0x7FFFFFFF
                    if self.is_data and self.frame[4] & PADDED:
                        raise ValueError("padded frames are not expected here")
                    self.frame = b""
            else:
                step = min(self.left, len(data) - at)
                if self.is_data:
                    found += [at + offset for offset in self.payload(data[at:at + step])]
                self.left -= step
                at += step
        return found

    def payload(self, data):
        """The same within the content of one stream."""
        head, left = self.envelope.get(self.stream, (b"", 0))
        found, at = [], 0
        while at < len(data):
            if left == 0:
                step = min(5 - len(head), len(data) - at)
                head += data[at:at + step]
                at += step
                if len(head) == 5:
                    left = struct.unpack(">BI", head)[1]
                    head = b""
                    if left == 0:
                        found.append(at)
            else:
                step = min(left, len(data) - at)
                left -= step
                at += step
                if left == 0:
                    found.append(at)
        self.envelope[self.stream] = (head, left)
        return found


class Way:
    """Takes connections at a port of its own and passes them on to `target`, while `flows` is set."""

    def __init__(self, target):
        self.target = target
        self.lock = threading.Lock()
        self.sockets = []
        self.after = None
        self.items = 0
        self.cuts = 0
        self.connections = 0
        self.piece = 65536
        self.refuses = False
        self.flows = threading.Event()
        self.flows.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def arm(self, after):
        """Cuts the next connection behind its item number `after`, whichever side it is of; None: never."""
        with self.lock:
            self.after, self.items, self.connections = after, 0, 0

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                with self.lock:
                    refuses = self.refuses
                if refuses:
                    near.close()
                    continue
                far = socket.create_connection(self.target)
            except OSError:
                if self.listener.fileno() < 0:
                    return
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.sockets += [near, far]
                self.items = 0
                self.connections += 1
            for source, sink, has_preface in ((near, far, True), (far, near, False)):
                threading.Thread(target=self.pump, args=(source, sink, Envelopes(has_preface)), daemon=True).start()

    def pump(self, source, sink, envelopes):
        try:
            while data := source.recv(65536):
                self.flows.wait()
                with self.lock:
                    for end in envelopes.ends(data):
                        self.items += 1
                        if self.items == self.after:
                            sink.sendall(data[:end])
                            self.close_all()
                            return
                for at in range(0, len(data), self.piece):
                    sink.sendall(data[at:at + self.piece])
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close_all(self):
        self.cuts += 1
        self.after = None
        for end in self.sockets:
            try:
                # Shut down first: another thread may be reading from it.
                end.shutdown(socket.SHUT_RDWR)
                end.close()
            except OSError:
                pass
        self.sockets = []

    def cut(self):
        with self.lock:
            self.close_all()

    def close(self):
        self.flows.set()
        self.listener.close()
        self.cut()
