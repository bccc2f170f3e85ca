"""Who a peer is: its key, its handshake, and the token by which it pairs."""

import base64
import binascii
import hashlib
import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from .channel import Refused, prefixed
from .messages import Item

VERSION = 3


def key_id(public):
    return "ed25519." + base64.urlsafe_b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")


def public_text(public):
    return base64.b64encode(public).decode().rstrip("=")


def public_bytes(text):
    """The key in the text form, which has the standard alphabet and no padding."""
    if "=" in text or len(text) % 4 == 1:
        raise Refused("a key that is no base64 without padding")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise Refused("a key that is no base64") from None
    if len(data) != 32:
        raise Refused(f"a key of {len(data)} bytes")
    return data


def binding(instance_id, secret, transcript, version=VERSION):
    return hashlib.sha256(
        b"backrest-sync-handshake/v1\0" + struct.pack(">q", version) + prefixed(instance_id.encode())
        + prefixed(secret.encode()) + prefixed(transcript)).digest()


class Identity:
    def __init__(self, seed=None):
        self.key = (ed25519.Ed25519PrivateKey.from_private_bytes(seed) if seed
                    else ed25519.Ed25519PrivateKey.generate())
        self.public = self.key.public_key().public_bytes_raw()
        self.key_id = key_id(self.public)

    def handshake(self, instance_id, transcript, secret="", version=VERSION):
        item = Item()
        part = item.handshake
        part.protocol_version = version
        part.public_key.keyid = self.key_id
        part.public_key.ed25519pub = public_text(self.public)
        part.instance_id = instance_id
        part.pairing_secret = secret
        part.signature = self.key.sign(binding(instance_id, secret, transcript, version))
        return item


def check_key(key):
    """The bytes of a `v1.PublicKey`."""
    if not key.keyid or not key.ed25519pub:
        raise Refused("a handshake without a key")
    public = public_bytes(key.ed25519pub)
    if key.keyid != key_id(public):
        raise Refused("a key id that is not of the key")
    return public


def check_handshake(item, transcript, own_key_id=None):
    """The handshake in an item, once all is right with it."""
    if item.WhichOneof("action") != "handshake":
        raise Refused("no handshake")
    part = item.handshake
    if part.protocol_version != VERSION:
        raise Refused(f"handshake version {part.protocol_version}")
    if not part.HasField("public_key") or not part.public_key.keyid:
        raise Refused("a handshake without a key")
    if not part.instance_id:
        raise Refused("a handshake without an instance id")
    public = check_key(part.public_key)
    if part.public_key.keyid == own_key_id:
        raise Refused("a reflected handshake")
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(
            part.signature, binding(part.instance_id, part.pairing_secret, transcript))
    except InvalidSignature:
        raise Refused("a signature that is wrong") from None
    return part


class Token:
    """`<key id>:<secret>#<instance id>`, all of the hub."""

    def __init__(self, key_id, secret, instance_id):
        self.key_id, self.secret, self.instance_id = key_id, secret, instance_id

    @classmethod
    def parse(cls, text):
        left, mark, instance_id = text.rpartition("#")
        key, colon, secret = left.partition(":")
        if not (mark and colon and key and secret and instance_id):
            raise Refused("no pairing token")
        return cls(key, secret, instance_id)

    def __str__(self):
        return f"{self.key_id}:{self.secret}#{self.instance_id}"
