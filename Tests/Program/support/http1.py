"""HTTP/1.1 over a socket, written out by hand so that odd requests can be sent."""

import socket
import ssl
import time


class Closed(Exception):
    """The server ended the connection."""


class Response:
    def __init__(self, status, headers, body, seconds=0.0):
        self.status = status
        self.headers = headers  # list of (lower-case name, value)
        self.body = body
        self.seconds = seconds

    def header(self, name):
        for key, value in self.headers:
            if key == name.lower():
                return value
        return None


def tls(address, alpn=None, version=None, timeout=120):
    """A TLS connection that trusts whatever certificate the server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    if version:
        wanted = {
            "1.0": ssl.TLSVersion.TLSv1,
            "1.1": ssl.TLSVersion.TLSv1_1,
            "1.2": ssl.TLSVersion.TLSv1_2,
            "1.3": ssl.TLSVersion.TLSv1_3,
        }[version.replace("TLSv", "")]
        context.minimum_version = min(wanted, ssl.TLSVersion.TLSv1_2)
        context.maximum_version = wanted
    plain = socket.create_connection(address, timeout=timeout)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain, server_hostname="localhost")


class Reader:
    """Reads responses from a socket; keeps what came behind them."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def more(self):
        try:
            data = self.sock.recv(65536)
        except (ConnectionError, ssl.SSLError, OSError) as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed("end of connection")
        self.buffer += data

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers.append((name.strip().lower(), value.strip()))
        return status, headers

    def exactly(self, count):
        while len(self.buffer) < count:
            self.more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def response(self, method, started=None):
        status, headers = self.head()
        names = dict(headers)
        if method == "HEAD" or status in (101, 204, 304):
            body = b""
        elif "chunked" in names.get("transfer-encoding", ""):
            body = b""
            while True:
                while b"\r\n" not in self.buffer:
                    self.more()
                line, self.buffer = self.buffer.split(b"\r\n", 1)
                count = int(line.split(b";")[0], 16)
                piece = self.exactly(count + 2)[:-2]
                if count == 0:
                    break
                body += piece
        elif "content-length" in names:
            body = self.exactly(int(names["content-length"]))
        else:
            try:
                while True:
                    self.more()
            except Closed:
                body, self.buffer = self.buffer, b""
        seconds = time.monotonic() - started if started else 0.0
        return Response(status, headers, body, seconds)


def head(method, target, headers):
    """The bytes of a request head."""
    lines = [f"{method} {target} HTTP/1.1"] + [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "surrogateescape")


def request(address, method, target, headers, body=b""):
    """One request on a new connection."""
    started = time.monotonic()
    with tls(address) as sock:
        try:
            sock.sendall(head(method, target, headers) + body)
        except OSError:
            pass  # the server may answer and close before it has read a large body
        return Reader(sock).response(method, started)
