"""The post-quantum channel: key exchange, key schedule, transcript, and the two sealed directions."""

import hashlib
import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, mlkem
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .messages import Item

VERSION = 1
MLKEM_BYTES = 1568
POINT_BYTES = 97
KEY_BYTES = MLKEM_BYTES + POINT_BYTES
SUITE = b"HPKE" + struct.pack(">HHH", 0x0051, 0x0001, 0x0002)
INFO = b"backrest-sync-transport-v1"
TO_RESPONDER = b"backrest-sync-session-key/v1/initiator-to-responder"
TO_INITIATOR = b"backrest-sync-session-key/v1/responder-to-initiator"


class Refused(Exception):
    """What one side of the protocol does not take from the other."""


def prefixed(data):
    return struct.pack(">I", len(data)) + data


# MARK: the key encapsulation

def point(key):
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def halves(data, what):
    """The two parts of a public key or an encapsulation, the point read."""
    if len(data) != KEY_BYTES:
        raise Refused(f"{what} of {len(data)} bytes")
    if data[MLKEM_BYTES] != 4:
        raise Refused(f"{what} with a compressed point")
    try:
        return data[:MLKEM_BYTES], ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), data[MLKEM_BYTES:])
    except ValueError:
        raise Refused(f"{what} with a point off the curve") from None


def combine(mlkem_secret, ecdh_secret, ephemeral, recipient):
    return hashlib.sha3_256(mlkem_secret + ecdh_secret + ephemeral + recipient + b"MLKEM1024-P384").digest()


class PrivateKey:
    """A member's key for one session; from seed and scalar for vectors."""

    def __init__(self, seed=None, scalar=None):
        self.mlkem = (mlkem.MLKEM1024PrivateKey.from_seed_bytes(seed) if seed
                      else mlkem.MLKEM1024PrivateKey.generate())
        self.ec = (ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP384R1()) if scalar
                   else ec.generate_private_key(ec.SECP384R1()))
        self.public = self.mlkem.public_key().public_bytes_raw() + point(self.ec.public_key())

    def open(self, encapsulation):
        ciphertext, ephemeral = halves(encapsulation, "an encapsulation")
        return combine(
            self.mlkem.decapsulate(ciphertext), self.ec.exchange(ec.ECDH(), ephemeral), point(ephemeral),
            self.public[MLKEM_BYTES:])


def encapsulate(public):
    """A hub's answer to a public key: (encapsulation, secret)."""
    encoded, static = halves(public, "a public key")
    try:
        recipient = mlkem.MLKEM1024PublicKey.from_public_bytes(encoded)
    except ValueError:
        raise Refused("a public key with a coefficient out of range") from None
    ephemeral = ec.generate_private_key(ec.SECP384R1())
    secret, ciphertext = recipient.encapsulate()
    if len(secret) == MLKEM_BYTES:
        secret, ciphertext = ciphertext, secret
    ours = point(ephemeral.public_key())
    return ciphertext + ours, combine(secret, ephemeral.exchange(ec.ECDH(), static), ours, point(static))


# MARK: the key schedule

def extract(salt, label, value):
    return hmac.new(salt or bytes(32), b"HPKE-v1" + SUITE + label + value, hashlib.sha256).digest()


def expand(key, label, info, count):
    info = struct.pack(">H", count) + b"HPKE-v1" + SUITE + label + info
    out = block = b""
    index = 1
    while len(out) < count:
        block = hmac.new(key, block + info + bytes([index]), hashlib.sha256).digest()
        out += block
        index += 1
    return out[:count]


def session_keys(shared_secret):
    """(member to hub, hub to member)"""
    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", INFO)
    secret = extract(shared_secret, b"secret", b"")
    exporter = expand(secret, b"exp", context, 32)
    return expand(exporter, b"sec", TO_RESPONDER, 32), expand(exporter, b"sec", TO_INITIATOR, 32)


def transcript(public, encapsulation):
    return hashlib.sha256(
        b"backrest-sync-transport-transcript/v1\0" + struct.pack(">I", VERSION)
        + prefixed(public) + prefixed(encapsulation)).digest()


# MARK: items

def nonce(counter):
    return bytes(4) + struct.pack(">Q", counter)


class Direction:
    """One direction of an open channel; the other end has one with the same key."""

    def __init__(self, key):
        self.cipher = AESGCM(key)
        self.counter = 0

    def seal_bytes(self, plain, counter=None):
        """An outer item; with `counter` given the direction's own stays as it is."""
        number = self.counter if counter is None else counter
        outer = Item()
        outer.encrypted.nonce = nonce(number)
        outer.encrypted.ciphertext = self.cipher.encrypt(nonce(number), plain, None)
        if counter is None:
            self.counter += 1
        return outer

    def seal(self, item):
        return self.seal_bytes(item.SerializeToString())

    def open(self, outer):
        if outer.WhichOneof("action") != "encrypted":
            raise Refused("a plain item after the key exchange")
        if outer.encrypted.nonce != nonce(self.counter):
            raise Refused("another nonce than the next")
        try:
            plain = self.cipher.decrypt(outer.encrypted.nonce, outer.encrypted.ciphertext, None)
        except InvalidTag:
            raise Refused("a tag that is wrong") from None
        self.counter += 1
        return Item.FromString(plain)
