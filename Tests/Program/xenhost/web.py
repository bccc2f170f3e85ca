"""The listeners: plain HTTP and TLS on the same port, calls, handlers of transfers, and the tests' control."""

import datetime
import ipaddress
import json
import os
import socket
import ssl
import threading
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from . import control, transfers
from .values import Failure, from_xml_call, xml_response

MAX_CALL = 16 << 20


def certificate(folder):
    """A self-signed certificate for the loopback address; gives (file of the certificate, file of the key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "double")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=365))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .sign(key, hashes.SHA256()))
    files = os.path.join(folder, "double.crt"), os.path.join(folder, "double.key")
    with open(files[0], "wb") as file:
        file.write(made.public_bytes(serialization.Encoding.PEM))
    with open(files[1], "wb") as file:
        file.write(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return files


class Gone(Exception):
    """The other side ended the connection."""


class Request:
    def __init__(self, method, target, headers):
        self.method = method
        path, _, query = target.partition("?")
        self.target = target
        self.path = urllib.parse.unquote(path)
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.raw_query = query
        self.headers = headers

    @property
    def length(self):
        """Of the body; None where it is not declared."""
        value = self.headers.get("content-length")
        return int(value) if value is not None and value.isdigit() else None


class Connection:
    def __init__(self, listener, sock):
        self.listener = listener
        self.pool = listener.pool
        self.sock = sock
        self.buffer = bytearray()
        self.keep = True
        self.tls = False

    @property
    def scheme(self):
        return "https" if self.tls else "http"

    def serve(self):
        try:
            first = self.sock.recv(1, socket.MSG_PEEK)
            if first == b"\x16":
                self.sock = self.listener.context.wrap_socket(self.sock, server_side=True)
                self.tls = True
            while self.keep and not self.pool.closing:
                request = self.head()
                if request is None:
                    break
                self.route(request)
        except (Gone, OSError, ValueError):
            pass
        finally:
            self.close()

    def close(self):
        try:
            if self.tls:
                self.sock.settimeout(2)
                self.sock.unwrap()
        except (OSError, ValueError):
            pass
        try:
            self.sock.close()
        except OSError:
            pass

    # Reading -------------------------------------------------------------------------------------------------------

    def more(self, count=1 << 20):
        try:
            data = self.sock.recv(count)
        except OSError as problem:
            raise Gone(str(problem)) from problem
        if not data:
            raise Gone("end of connection")
        return data

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > 1 << 16:
                raise ValueError("a long head")
            try:
                self.buffer += self.more(65536)
            except Gone:
                return None
        end = self.buffer.index(b"\r\n\r\n")
        lines = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        del self.buffer[:end + 4]
        method, target, version = lines[0].split(" ")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        self.keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        return Request(method, target, headers)

    def some(self, limit):
        """The next bytes, at most `limit`."""
        if self.buffer:
            data = bytes(self.buffer[:limit])
            del self.buffer[:limit]
            return data
        return self.more(min(limit, 1 << 20))

    def exactly(self, count):
        parts = bytearray()
        if self.buffer:
            parts += self.buffer[:count]
            del self.buffer[:count]
        while len(parts) < count:
            parts += self.more(min(count - len(parts), 1 << 20))
        return parts

    # Answering -----------------------------------------------------------------------------------------------------

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as problem:
            raise Gone(str(problem)) from problem

    def answer(self, status, body=b"", kind="text/plain", headers=()):
        names = {200: "OK", 302: "Found", 400: "Bad Request", 401: "Unauthorised", 403: "Forbidden", 404: "Not Found",
                 405: "Method Not Allowed", 411: "Length Required", 413: "Too Large", 500: "Internal Server Error"}
        lines = [f"HTTP/1.1 {status} {names.get(status, 'Status')}", f"Content-Length: {len(body)}",
                 f"Connection: {'keep-alive' if self.keep else 'close'}"]
        if body:
            lines.append(f"Content-Type: {kind}")
        lines += [f"{name}: {value}" for name, value in headers]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    def route(self, request):
        path = request.path.rstrip("/") or "/"
        if path in ("/jsonrpc", "/", "/RPC2", "/xmlrpc", "/double"):
            if request.method != "POST":
                self.keep = False
                self.answer(405)
                return
            length = request.length
            if length is None or length > MAX_CALL:
                self.keep = False
                self.answer(411 if length is None else 413)
                return
            body = bytes(self.exactly(length))
            if path == "/double":
                self.answer(200, control.answer(self.pool, body), "application/json")
            elif path == "/jsonrpc" and self.pool.json_rpc:
                self.json_call(body)
            elif path == "/jsonrpc":
                self.answer(404, b"<html>there is nothing here</html>", "text/html")
            else:
                self.xml_call(body)
            return
        transfers.handle(self, request)

    def dropped(self, method, when):
        rule = self.pool.faults.strike("drop", method=method) if when == "before" else None
        if rule is None:
            return None
        if rule.options.get("when", "before") == "before":
            raise Gone("a fault on demand")
        return rule

    def json_call(self, body):
        try:
            call = json.loads(body)
            method, parameters, identity = call["method"], call.get("params", []), call.get("id")
            if not isinstance(parameters, list):
                raise ValueError("parameters are an array")
        except (ValueError, KeyError, TypeError):
            self.answer(400)
            return
        drop = self.dropped(method, "before")
        try:
            result = self.pool.dispatch(method, parameters, self.listener)
            reply = {"jsonrpc": "2.0", "result": "" if result is None else result, "id": identity}
        except Failure as failure:
            if self.pool.old_errors:
                reply = {"result": None, "error": failure.description, "id": identity}
            else:
                reply = {"jsonrpc": "2.0", "id": identity,
                         "error": {"code": 1, "message": failure.code, "data": failure.parameters}}
        if drop:
            raise Gone("a fault on demand")
        self.answer(200, json.dumps(reply).encode(), "application/json")

    def xml_call(self, body):
        try:
            parameters, method = from_xml_call(body)
        except Exception:  # noqa: BLE001: whatever the parser says, it is no call
            self.answer(400)
            return
        drop = self.dropped(method, "before")
        try:
            result = self.pool.dispatch(method, parameters, self.listener)
            reply = {"Status": "Success", "Value": "" if result is None else result}
        except Failure as failure:
            reply = {"Status": "Failure", "ErrorDescription": failure.description}
        if drop:
            raise Gone("a fault on demand")
        self.answer(200, xml_response(reply), "text/xml")


class Listener:
    def __init__(self, pool, address, is_slave):
        self.pool = pool
        self.is_slave = is_slave
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*pool.certificate)
        host, _, port = address.rpartition(":")
        self.sock = socket.create_server((host or "127.0.0.1", int(port)), backlog=128)
        self.port = self.sock.getsockname()[1]
        self.connections = set()
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.pool.closing:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        connection = Connection(self, sock)
        with self.lock:
            self.connections.add(connection)
        try:
            connection.serve()
        finally:
            with self.lock:
                self.connections.discard(connection)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        with self.lock:
            open_ones = list(self.connections)
        for connection in open_ones:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
