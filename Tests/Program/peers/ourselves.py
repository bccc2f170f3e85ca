"""The independent member against the independent hub over sockets, so that a failure later on is not theirs."""

import datetime
import ipaddress
import os
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from support.checks import expect, same

from .connect import SYNC, Listener, connect
from .identity import Identity
from .messages import Item
from .session import Hub, Member


def certificate(folder):
    """A file with key and certificate for 127.0.0.1; and the fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=10))
        .add_extension(x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256()))
    path = os.path.join(folder, "hub.pem")
    with open(path, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.write(made.public_bytes(Encoding.PEM))
    return path, made.fingerprint(hashes.SHA256()).hex(":")


def both_roles():
    with tempfile.TemporaryDirectory() as folder:
        path, fingerprint = certificate(folder)
        for certified in (None, path):
            for ways in ({}, {"prefix_apart": True}, {"one_by_one": True}, {"compresses": True}):
                meet(certified, fingerprint, ways)


def meet(path, fingerprint, ways):
    hub_key, member_key = Identity(), Identity()
    heard = []

    def serve(stream):
        same(stream.headers[":path"], SYNC, "path")
        hub = Hub(stream, hub_key, "hub")
        who = hub.open()
        heard.append((who.public_key.keyid, who.instance_id, who.pairing_secret))
        hub.accept()
        heard.append(list(hub.expect("operation_manifest").op_ids))
        hub.finish("internal", "over")

    listener = Listener(serve, path)
    try:
        connection = connect(("127.0.0.1", listener.port), fingerprint if path else None)
        headers = [("connect-content-encoding", "gzip")] if ways.get("compresses") else []
        member = Member(
            connection.open(headers=headers), member_key, "member", (hub_key.key_id, "hub"), **ways)
        member.open("secret")
        same(member.config.version, 6, "the hub's view")
        manifest = Item()
        manifest.operation_manifest.op_ids[:] = [1, 2]
        manifest.operation_manifest.modnos[:] = [3, 4]
        member.send(manifest)
        code, _ = member.end()
        same(code, "internal", "the end")
        expect(heard == [(member_key.key_id, "member", "secret"), [1, 2]], f"the hub heard {heard}")
        connection.close()
    finally:
        listener.close()


ALL = (both_roles,)
