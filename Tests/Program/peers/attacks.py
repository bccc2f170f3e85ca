"""The program as a hub under attack: what §6.3's N1 to N22 ask of the side that is dialled."""

import gzip
import os
import tempfile
import threading
import time

from support.checks import expect, same

from . import identity
from .channel import KEY_BYTES, MLKEM_BYTES, PrivateKey
from .connect import COMPRESSED, PATIENCE, Cut, Ended, connect, envelope
from .identity import Identity
from .messages import Item
from .world import (
    SOAK, Site, Who, another_clock, created, deleted, item, manifest, operation, resources, stored, together, updated)

DENIED = {"permission_denied"}
ARGUMENT = {"invalid_argument"}
CHANNEL = {"internal"}
LARGE = {"resource_exhausted"}


class Target:
    """The hub, and the members that it has taken: one is only there to see that others are still served."""

    def __init__(self, site):
        self.site = site
        token, _ = site.token(**{"max-uses": 0, "label": "members", "permissions": ["read-config"]})
        self.members = [Who(f"member-{index}") for index in range(6)]
        self.witness = Who("witness")
        self.count = 0

        def pair(who):
            site.session(who, token.secret).close()

        together([(who.name, lambda who=who: pair(who)) for who in [*self.members, self.witness]])

    def still_serves(self):
        """A member that does nothing wrong is served, and its operation is there."""
        self.count += 1
        session = self.site.session(self.witness)
        session.send(resources(), manifest([(number, 1) for number in range(1, self.count + 1)]))
        wanted = list(session.expect("request_operation_data").op_ids)
        same(wanted, [self.count], "what the hub asks the witness for")
        session.send(updated(operation(self.count)))
        stored(self.site, self.witness, range(1, self.count + 1))
        session.close()
        expect(self.site.process.poll() is None, "the server has ended")

    def fresh(self):
        """A member of its own, for what would displace the sessions of another."""
        token, _ = self.site.token()
        who = Who("fresh-" + os.urandom(4).hex())
        self.site.session(who, token.secret).close()
        return who


def ends(session, codes, what):
    """The last word is one of `codes`, and no item that only members see came before."""
    code, text = session.end()
    expect(code in codes, f"{what}: the end is '{code}' ({text}) in place of {sorted(map(str, codes))}")


def strangers(site):
    return {name for name in site.peers() if name.startswith("stranger")}


def refused_handshake(target, what, change, codes=DENIED, who=None, secret="", transcript=None):
    """A handshake that `change` has spoiled."""
    site = target.site
    who = who or target.members[0]
    session = site.member(who)
    session.exchange()
    session.take_handshake()
    made = who.identity.handshake(who.name, transcript or session.transcript, secret)
    made = change(made, session) or made
    session.send(made)
    ends(session, codes, what)


# MARK: N1, N2

def n2(target):
    """N2 the transcript of another session"""
    other = target.site.member(target.members[0])
    other.exchange()
    refused_handshake(target, "other leg", lambda made, session: None, transcript=other.transcript)
    other.close()
    same(target.site.peer(target.members[0].name)["state"] != "connected", True, "state")


# MARK: N3 to N5

def broken(target, what, break_it, codes, before=True):
    """In a session of a member that works, `break_it` sends what must end it; nothing it says afterwards counts."""
    who = target.fresh()
    session = target.site.session(who)
    if before:
        session.send(created(operation(1)))
        stored(target.site, who, [1])
    break_it(session)
    try:
        session.send(created(operation(2)))
    except Cut:
        pass
    ends(session, codes, what)
    same(sorted(target.site.operations(who.name)), [1] if before else [], f"{what}: operations")


def n3(target):
    """N3 items replayed, in another order, left out, reflected"""

    def replay(session):
        plain = created(operation(7)).SerializeToString()
        session.send_outer(session.sending.seal_bytes(plain, counter=session.sending.counter - 1))

    def again(session):
        outer = session.sending.seal(item("heartbeat"))
        session.send_outer(outer)
        session.send_outer(outer)

    def order(session):
        first, second = session.sending.seal(created(operation(7))), session.sending.seal(created(operation(8)))
        session.send_outer(second)
        session.send_outer(first)

    def drop(session):
        session.sending.seal(item("heartbeat"))
        session.send(created(operation(7)))

    def reflect(session):
        outer = session.receiving.seal_bytes(b"\x22\x00", counter=session.sending.counter)
        session.send_outer(outer)

    together([(name.__name__, lambda name=name: broken(target, name.__name__, name, CHANNEL))
              for name in (replay, again, order, drop, reflect)])


def n4(target):
    """N4 flipped bits, cut tags, nonces of other lengths"""

    def spoiled(change):
        def send(session):
            outer = session.sending.seal(created(operation(7)))
            change(outer.encrypted)
            session.send_outer(outer)
        return send

    def flip(sealed):
        data = bytearray(sealed.ciphertext)
        data[3] ^= 1
        sealed.ciphertext = bytes(data)

    def tag(sealed):
        sealed.ciphertext = sealed.ciphertext[:-1]

    def short(sealed):
        sealed.ciphertext = sealed.ciphertext[:15]

    def empty(sealed):
        sealed.ciphertext = b""

    def nonce_short(sealed):
        sealed.nonce = sealed.nonce[1:]

    def nonce_long(sealed):
        sealed.nonce = b"\0" + sealed.nonce

    def prefix(sealed):
        sealed.nonce = b"\1" + sealed.nonce[1:]

    together([(change.__name__, lambda change=change: broken(target, change.__name__, spoiled(change), CHANNEL))
              for change in (flip, tag, short, empty, nonce_short, nonce_long, prefix)])


def n5(target):
    """N5 plain items behind the key exchange, encrypted ones before it"""
    site = target.site

    def plain_later():
        broken(target, "plain", lambda session: session.send_outer(created(operation(7))), CHANNEL | DENIED)

    def plain_handshake():
        session = site.member(target.members[1])
        session.exchange()
        session.take_handshake()
        who = target.members[1]
        session.send_outer(who.identity.handshake(who.name, session.transcript))
        ends(session, CHANNEL | DENIED, "a plain handshake")

    def second_exchange():
        broken(target, "second key exchange", lambda session: session.offer(), CHANNEL | DENIED)

    def early():
        session = site.member(target.members[2])
        outer = Item()
        outer.encrypted.nonce, outer.encrypted.ciphertext = bytes(12), bytes(40)
        session.send_outer(outer)
        ends(session, ARGUMENT, "an encrypted item first")

    def nothing():
        session = site.member(target.members[2])
        session.messages.send(b"")
        ends(session, ARGUMENT, "an item without an action first")

    def heartbeat():
        session = site.member(target.members[2])
        session.send_outer(item("heartbeat"))
        ends(session, ARGUMENT, "a heartbeat first")

    together([(call.__name__, call) for call in (
        plain_later, plain_handshake, second_exchange, early, nothing, heartbeat)])


# MARK: N6 to N9

def n6(target):
    """N6 other versions of transport and handshake"""
    site = target.site
    token, token_id = site.token()

    def transport(version):
        session = site.member(Who("stranger-6"))
        session.offer(version=version)
        ends(session, ARGUMENT, f"transport version {version}")

    def handshake(version):
        who = Who("stranger-6")
        refused_handshake(
            target, f"handshake version {version}",
            lambda made, session: who.identity.handshake(who.name, session.transcript, token.secret, version), who=who)

    together([(str(version), lambda version=version: transport(version)) for version in (0, 2, 2 ** 32 - 1)]
             + [(str(version), lambda version=version: handshake(version)) for version in (2, 4, -1)])
    same((strangers(site), site.uses(token_id)), (set(), 0), "members and uses")


def n7(target):
    """N7 public keys that are none"""
    good = PrivateKey().public
    point = good[MLKEM_BYTES:]
    keys = {
        "none": b"", "short": good[:-1], "long": good + b"\0", "ML-KEM only": good[:MLKEM_BYTES],
        "off the curve": good[:-1] + bytes([good[-1] ^ 1]),
        "compressed": good[:MLKEM_BYTES] + bytes([2 + point[96] % 2]) + point[1:49],
        "compressed tag": good[:MLKEM_BYTES] + b"\2" + point[1:],
        "swapped": point + good[:MLKEM_BYTES],
        "infinity": good[:MLKEM_BYTES] + bytes(97),
        "out of range": b"\xff\xff" + good[2:],
        "all ones": b"\xff" * KEY_BYTES,
    }

    def offer(name):
        session = target.site.member(Who("stranger-7"))
        session.offer(public=keys[name])
        ends(session, ARGUMENT, name)

    together([(name, lambda name=name: offer(name)) for name in keys])


def n8(target):
    """N8 a changed ciphertext shows with the first encrypted item only"""
    session = target.site.member(target.members[3])
    session.offer()
    answer = session.receive_outer().establish_shared_secret.kem_encapsulation
    session.begin(bytes([answer[0] ^ 1]) + answer[1:])
    session.messages.receive()  # the hub's handshake, which does not open here
    session.send_handshake()
    ends(session, CHANNEL | DENIED, "the first encrypted item")


def n9(target):
    """N9 handshakes with one field changed, another's key id, the hub's own sent back"""
    other = Identity()

    def field(name, value):
        def change(made, _):
            setattr(made.handshake, name, value)
        return change

    def key(name, value):
        def change(made, _):
            setattr(made.handshake.public_key, name, value)
        return change

    def flip(made, _):
        data = bytearray(made.handshake.signature)
        data[40] ^= 1
        made.handshake.signature = bytes(data)

    def high(made, _):
        order = 2 ** 252 + 27742317777372353535851937790883648493
        data = made.handshake.signature
        scalar = int.from_bytes(data[32:], "little") + order
        made.handshake.signature = data[:32] + scalar.to_bytes(32, "little")

    def reflected(_, session):
        return session.seen[0]

    def whole(made, _):
        made.handshake.public_key.keyid = other.key_id
        made.handshake.public_key.ed25519pub = identity.public_text(other.public)

    def no_key(made, _):
        made.handshake.ClearField("public_key")

    def small_order(made, _):
        zero = bytes(32)
        made.handshake.public_key.keyid = identity.key_id(zero)
        made.handshake.public_key.ed25519pub = identity.public_text(zero)
        made.handshake.signature = bytes(64)

    text = identity.public_text(target.members[0].identity.public)
    changes = {
        "instance id": field("instance_id", "somebody"), "no instance id": field("instance_id", ""),
        "secret": field("pairing_secret", "0" * 64), "no signature": field("signature", b""),
        "short signature": field("signature", bytes(63)), "signature": flip, "S above the order": high,
        "version": field("protocol_version", 4), "another's key": whole, "another's key id": key("keyid", other.key_id),
        "no key id": key("keyid", ""), "no key": no_key, "empty key": key("ed25519pub", ""),
        "padded key": key("ed25519pub", text + "="), "key of 31 bytes": key("ed25519pub", text[:-2]),
        "reflected": reflected, "small order": small_order,
        "no handshake": lambda made, _: item("heartbeat"),
    }
    together([(name, lambda name=name: refused_handshake(target, name, changes[name])) for name in changes])


# MARK: N10 to N12

def n10(target):
    """N10 pairing secrets that are wrong, empty, expired, used up, or of another case"""
    site = target.site
    good, good_id = site.token(label="good")
    short, _ = site.token(label="short", lifetime=1)
    spent, _ = site.token(label="spent")
    site.session(Who("spender"), spent.secret).close()
    other = site.member(Who("stranger-10"))
    other.exchange()
    time.sleep(2.5)
    letters = next(index for index, letter in enumerate(good.secret) if letter.isalpha())
    secrets = {
        "wrong": "0" * 64, "empty": "", "expired": short.secret, "used up": spent.secret,
        "upper case": good.secret.upper(), "one letter of another case":
            good.secret[:letters] + good.secret[letters].upper() + good.secret[letters + 1:],
        "cut": good.secret[:-1], "longer": good.secret + "0", "blank behind": good.secret + " ",
    }
    texts = set()

    def pair(name):
        who = Who("stranger-" + name.replace(" ", "-"))
        session = site.member(who)
        session.exchange()
        session.take_handshake()
        session.send_handshake(secrets[name])
        code, text = session.end()
        same(code, "permission_denied", name)
        texts.add(text)

    def transcript():
        refused_handshake(target, "another transcript", lambda made, session: None, who=Who("stranger-leg"),
                          secret=good.secret, transcript=other.transcript)

    together([(name, lambda name=name: pair(name)) for name in secrets] + [("transcript", transcript)])
    other.close()
    same(len(texts), 1, f"texts of refusal {texts}")
    same((strangers(site), site.uses(good_id)), (set(), 0), "members and uses")
    site.session(Who("late"), good.secret).close()
    expect("late" in site.peers(), "the good secret is not taken")


def n11(target):
    """N11 the right key under another name, the right name with another key"""
    site = target.site
    known = target.members[4]
    token, token_id = site.token()

    def attempt(who, secret, what):
        session = site.member(who)
        session.exchange()
        session.take_handshake()
        session.send_handshake(secret)
        ends(session, DENIED, what)

    together([
        ("name", lambda: attempt(Who("stranger-11", known.identity), "", "another name")),
        ("name and secret", lambda: attempt(Who("stranger-11", known.identity), token.secret, "name and secret")),
        ("key", lambda: attempt(Who(known.name), "", "another key")),
        ("key and secret", lambda: attempt(Who(known.name), token.secret, "another key, a secret")),
        ("hub's name", lambda: attempt(Who(site.name), token.secret, "the hub's name")),
    ])
    same(site.peer(known.name)["key-id"], known.identity.key_id, "the key that is kept")
    same((strangers(site), site.uses(token_id)), (set(), 0), "members and uses")


def n12(target):
    """N12 grants changed and membership taken away while connected"""
    site = target.site
    who = target.fresh()
    session = site.session(who)
    session.send(created(operation(1)))
    stored(site, who, [1])
    begun = time.monotonic()
    site.root("PUT", f"/peers/peer/{who.name}/permissions", permissions=["read-config=repo:other"])
    ends(session, {None}, "grants changed")
    changed = time.monotonic() - begun
    session = site.session(who)
    begun = time.monotonic()
    site.root("DELETE", f"/peers/peer/{who.name}")
    ends(session, {None}, "revoked")
    revoked = time.monotonic() - begun
    expect(who.name not in site.peers(), "it is still a member")
    again = site.member(who)
    again.exchange()
    again.take_handshake()
    again.send_handshake()
    ends(again, DENIED, "after it was revoked")
    return f"ended {changed:.2f} s after a change of grants, {revoked:.2f} s after removal"


# MARK: N14 to N16

def n14(target):
    """N14 lengths that are promised, gzip bombs, large items of strangers"""
    site = target.site

    def memory():  # the most that was ever resident, in MiB
        with open(f"/proc/{site.process.pid}/status") as file:
            return int(next(line for line in file if line.startswith("VmHWM")).split()[1]) // 1024

    def send(data, what, codes, **headers):
        session = site.member(Who("stranger-14"), site.stream(**headers))
        try:
            session.stream.send(data)
        except Cut:
            pass
        ends(session, codes, what)

    def promise():
        send(b"\0\xff\xff\xff\xff", "a length of 4 GiB", LARGE)

    def promise_and_some():
        send(b"\0\xff\xff\xff\xff" + bytes(1000), "a length of 4 GiB and a few bytes", LARGE)

    def one_more():
        send(envelope(bytes((64 << 10) + 1)), "64 KiB and one", LARGE)

    def bomb():
        data = gzip.compress(bytes(32 << 20), 1)
        send(envelope(data, COMPRESSED), "a gzip bomb", LARGE, **{"connect-content-encoding": "gzip"})

    def later_bomb():
        who = target.fresh()
        session = site.session(who, stream=site.stream(**{"connect-content-encoding": "gzip"}))
        try:
            session.messages.send(bomb_of_peers, COMPRESSED)
        except Cut:
            pass
        ends(session, LARGE, "a gzip bomb of a member")

    def later_promise():
        who = target.fresh()
        session = site.session(who)
        session.stream.send(b"\0\xff\xff\xff\xff")
        ends(session, LARGE, "a length of 4 GiB from a member")

    def no_encoding():
        send(envelope(gzip.compress(b"x"), COMPRESSED), "compressed without an encoding", CHANNEL | ARGUMENT)

    def no_gzip():
        send(envelope(b"nope", COMPRESSED), "no gzip", CHANNEL | ARGUMENT, **{"connect-content-encoding": "gzip"})

    def flags():
        send(b"\x80\0\0\0\0", "unknown flags", CHANNEL | ARGUMENT)

    def ending():
        send(envelope(b"{}", 2), "the end from a member", CHANNEL | ARGUMENT)

    def many():
        source = site.source.next()
        crowd = [site.member(Who("stranger-14"), connect(site.plain, source=source).open()) for _ in range(10)]
        for session in crowd:
            session.exchange()
        session = site.member(Who("stranger-14"), connect(site.plain, source=source).open())
        try:
            session.offer()
        except Cut:
            pass
        ends(session, LARGE, "an eleventh stranger")
        for session in crowd:
            session.stream.connection.close()

    def cut():
        session = site.member(Who("stranger-14"))
        session.stream.send(b"\0\0\0\6", end=True)
        session.end()

    compressor = gzip.zlib.compressobj(1, gzip.zlib.DEFLATED, 31)
    bomb_of_peers = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(160)) + compressor.flush()
    before = memory()
    together([(call.__name__, call) for call in (
        promise, promise_and_some, one_more, bomb, later_bomb, later_promise, no_encoding, no_gzip, flags, ending,
        many, cut)])
    grown = memory() - before
    expect(grown < 128, f"{grown} MiB were taken for nothing")
    return f"{grown} MiB more at the most"


def n15(target):
    """N15 unknown fields in known actions"""
    who = target.fresh()
    session = target.site.session(who)
    beat = bytes.fromhex("2200ca3006") + b"future"
    session.send_outer(session.sending.seal_bytes(beat))
    inside = created(operation(1)).SerializeToString()
    session.send_outer(session.sending.seal_bytes(inside + bytes.fromhex("ca3006") + b"future"))
    stored(target.site, who, [1])
    strange = Item.FromString(created(operation(2)).SerializeToString())
    body = strange.receive_operations.event.created_operations.operations[0].SerializeToString()
    body += bytes.fromhex("ca3006") + b"future"
    session.send_outer(session.sending.seal_bytes(nested(body)))
    # Numbers one by one in place of packed ones.
    session.send_outer(session.sending.seal_bytes(bytes.fromhex("a201080801080210011001")))
    stored(target.site, who, [1, 2])
    session.send(item("heartbeat"), created(operation(3)))
    stored(target.site, who, [1, 2, 3])
    session.close()


def nested(operation_bytes):
    """A `receive_operations` with one created operation that is given as bytes."""
    def part(number, data):
        head = number << 3 | 2
        lengths = b""
        for value in (head, len(data)):
            while value > 127:
                lengths += bytes([value & 127 | 128])
                value >>= 7
            lengths += bytes([value])
        return lengths + data

    return part(21, part(1, part(2, part(1, operation_bytes))))


def n16(target):
    """N16 actions that are unknown, missing, of the other role, or out of turn"""
    sealed = Item()
    sealed.encrypted.nonce, sealed.encrypted.ciphertext = bytes(12), bytes(20)
    establish = Item()
    establish.establish_shared_secret.protocol_version = 1
    cases = {
        "unknown action": bytes.fromhex("9a0600"), "no action": b"",
        "no protobuf": bytes.fromhex("ffffff"),
        "set_config": item("set_config", plans_to_delete=["plan"]),
        "request_resources": item("request_resources"),
        "request_operation_data": item("request_operation_data", op_ids=[1]),
        "encrypted": sealed, "establish_shared_secret": establish,
        "signed_message": item("signed_message", keyid="x"), "throttle": item("throttle", delay_ms=1),
        "request_log": item("request_log", log_id="x"), "receive_log_data": item("receive_log_data", log_id="x"),
        "config view without a config": item("receive_config"),
        "unequal lists": item("operation_manifest", op_ids=[1, 2], modnos=[1]),
        "operations without an event": item("receive_operations"),
        "an event of no kind": item("receive_operations", event={}),
    }

    def send(name):
        value = cases[name]
        data = value if isinstance(value, bytes) else value.SerializeToString()
        broken(target, name, lambda session: session.send_outer(session.sending.seal_bytes(data)), ARGUMENT)

    def again():
        broken(target, "second handshake", lambda session: session.send_handshake(), ARGUMENT)

    together([(name, lambda name=name: send(name)) for name in cases] + [("second handshake", again)])


# MARK: N18 to N22

def n18(target):
    """N18 operations without a payload, with what is another's, with fields that hubs set"""
    site = target.site
    mine, other = target.fresh(), target.fresh()
    theirs = site.session(other)
    theirs.send(created(operation(1, plan_id="theirs"), operation(2)))
    before = stored(site, other, [1, 2])
    session = site.session(mine)
    session.send(created(operation(1, operation_backup=None)))
    session.send(created(operation(
        2, original_id=77, original_flow_id=78, original_instance_keyid=other.identity.key_id, plan_id="mine")))
    session.send(created(operation(3, status=99)), created(operation(4, instance_id="somebody-else")))
    found = stored(site, mine, [1, 2, 3, 4])
    whole = site.root("GET", f"/peers/operations/{found[2]['id']}")
    same(whole["key-id"], mine.identity.key_id, "whose it is")
    expect(whole["operation"].get("originalInstanceKeyid") != other.identity.key_id, "a key that the member has set")
    same(whole["operation"].get("originalId"), "2", "original_id")
    same(whole["operation"].get("originalFlowId"), "2", "original_flow_id")
    session.send(deleted(2, 3, 4, 99))
    stored(site, mine, [1])
    session.send(manifest([]))
    stored(site, mine, [])
    same(stored(site, other, [1, 2]), before, "operations of the other member")
    theirs.send(item("heartbeat"), updated(operation(2, 2)))
    theirs.close()
    session.close()

    def lacking(name, **fields):
        spoiled = created(operation(5), operation(7, **fields))
        broken(target, name, lambda session: session.send(spoiled), ARGUMENT)

    cases = {
        "no flow": {"flow_id": 0}, "no repo": {"repo_id": ""}, "no guid": {"repo_guid": ""}, "no plan": {"plan_id": ""},
        "no instance": {"instance_id": ""}, "no start": {"unix_time_start_ms": 0},
        "a short snapshot id": {"snapshot_id": "12345678"}, "no id": {"id": 0},
    }
    together([(name, lambda name=name: lacking(name, **cases[name])) for name in cases])


def n19(target):
    """N19 manifests that are long, of duplicates, of negative numbers"""
    site = target.site
    count = 1_000_000
    who = target.fresh()
    session = site.session(who)
    session.send(created(operation(5)))
    stored(site, who, [5])
    begun = time.monotonic()
    session.send(item("operation_manifest", op_ids=range(1, count + 1), modnos=[1] * count))
    asked = []
    while len(asked) < count - 1:
        asked += session.expect("request_operation_data", 600).op_ids
    took = time.monotonic() - begun
    same(asked, [number for number in range(1, count + 1) if number != 5], "what the hub asks for")
    session.send(manifest([(5, 1), (5, 2), (5, 2), (6, 1), (6, 1)]))
    again = list(session.expect("request_operation_data").op_ids)
    same((set(again) <= {5, 6}, 6 in again), (True, True), f"what it asks for of duplicates, {again}")
    session.send(updated(operation(5, 2), operation(6)))
    stored(site, who, [5, 6])
    session.send(manifest([(5, 2), (6, 1)]), manifest([(-1, 1), (-2 ** 63, -1), (0, 0), (2 ** 63 - 1, 2 ** 63 - 1)]))
    try:
        session.expect("request_operation_data")
    except Ended:
        pass
    session.close()
    return f"{count} ids compared and asked for in {took:.1f} s"


def n20(target):
    """N20 a session that a newer one has displaced"""
    site = target.site
    who = target.fresh()
    for turn in range(5):
        old = site.session(who)
        old.send(manifest([]))
        new = site.session(who)
        try:
            old.send(created(operation(100 + turn)), manifest([(1, 1)]))
        except Cut:
            pass
        new.send(created(operation(1)))
        ends(old, CHANNEL, "the older one")
        stored(site, who, [1])
        new.send(manifest([]))
        stored(site, who, [])
        new.close()

    racers = []

    def race():
        try:
            racers.append(site.session(who))
        except Ended as ended:
            same(ended.code, "internal", "a displaced session")

    together([(str(index), race) for index in range(8)])
    left = racers
    limit = time.monotonic() + PATIENCE
    while len(left) > 1:
        expect(time.monotonic() < limit, f"{len(left)} sessions are left")
        left = [session for session in left if goes_on(session)]
    same(len(left), 1, "sessions that are left")
    left[0].send(created(operation(1)))
    stored(site, who, [1])
    left[0].close()


def goes_on(session):
    """Whether nothing has ended a session yet."""
    try:
        while True:
            session.receive(0.1)
    except TimeoutError:
        return True
    except (Ended, Cut):
        return False


def n21(target, patience=PATIENCE * 2):
    """N21 a member that reads nothing"""
    site = target.site
    who = target.fresh()
    connection = connect(site.plain, source=site.source.next(), window=65535)
    session = site.session(who, stream=connection.open())
    session.stream.reads = False
    ids, count = range(10 ** 12, 10 ** 12 + 5000), 0
    try:
        while not session.stream.is_gone and count < 1000:
            session.send(item("operation_manifest", op_ids=ids, modnos=[1] * len(ids)), patience=15)
            count += 1
    except Cut:
        pass
    limit = time.monotonic() + patience
    while site.peer(who.name)["state"] == "connected":
        expect(time.monotonic() < limit, f"the session goes on after {count} manifests")
        time.sleep(0.1)
    if SOAK:  # a minute after the last byte that was taken
        gone = session.stream.wait(lambda: session.stream.is_gone or session.stream.ended, patience)
        expect(gone, "the stream is not cut")
    expect(count < 1000, "the hub reads on though nobody takes its answers")
    connection.close()
    session = site.session(who)
    session.send(manifest([(1, 1)]))
    same(list(session.expect("request_operation_data").op_ids), [1], "what it asks for")
    session.close()


def n22(target):
    """N22 a hub whose clock is a year ahead, and a member whose clock is a year behind it"""
    year = 366 * 86400
    with tempfile.TemporaryDirectory() as folder, Site("ahead", another_clock(folder, year)) as ahead:
        token, _ = ahead.token(lifetime=900)
        expect(ahead.root("GET", "/peers/tokens")[0]["created"] > time.time() + year - 3600, "its clock is right")
        late, _ = target.site.token(lifetime=900)
        now = int(time.time() * 1000)
        who = Who("behind")
        session = ahead.session(who, token.secret)
        session.send(created(
            operation(1, unix_time_start_ms=now, unix_time_end_ms=now + 1),
            operation(2, unix_time_start_ms=now + 2000 * year, unix_time_end_ms=now + 2000 * year + 1)))
        found = stored(ahead, who, [1, 2])
        same(found[2]["starttime"] - found[1]["starttime"], 2 * year, "time between them")
        ahead.root("GET", "/peers/results")
        session.close()
        # And the program itself as the member that is ahead.
        ahead.root("POST", "/peers", token=str(late), permissions=["read-operations"],
                   url="http://{}:{}".format(*target.site.plain))
        limit = time.monotonic() + PATIENCE
        while target.site.peers().get("ahead", {}).get("state") != "connected":
            expect(time.monotonic() < limit, "a member that is ahead is not connected")
            time.sleep(0.1)


def silence(target):
    """nothing said: no key, no handshake"""
    site = target.site

    def no_key():
        session = site.member(Who("stranger-silent"))
        code, text = session.end()
        expect(code in ARGUMENT | DENIED, f"no key exchange: the end is '{code}' ({text})")

    def no_handshake():
        session = site.member(Who("stranger-silent"))
        session.exchange()
        ends(session, DENIED, "no handshake")

    together([("no key", no_key), ("no handshake", no_handshake)])


class Background:
    """A check that waits for a time limit, begun early and asked for late."""

    def __init__(self, call, *arguments):
        self.problem = None

        def run():
            try:
                call(*arguments)
            except Exception as problem:  # noqa: BLE001: raised by result()
                self.problem = problem

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def result(self):
        self.thread.join()
        if self.problem:
            raise self.problem


ALL = (n2, n3, n4, n5, n6, n7, n8, n9, n10, n11, n12, n14, n15, n16, n18, n19, n20, n22)
