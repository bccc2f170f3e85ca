"""The independent client against the vectors in Tests/Fixtures/backrest: needs no server."""

import gzip
import json
import os

from google.protobuf import json_format

from support.checks import expect, same

from . import channel, identity, messages
from .channel import Direction, PrivateKey, Refused
from .connect import Cutter, Malformed

FOLDER = os.path.join(os.path.dirname(__file__), "..", "..", "Fixtures", "backrest")


def load(name):
    with open(os.path.join(FOLDER, name + ".json")) as file:
        return json.load(file)


def is_taken(call, *arguments):
    try:
        call(*arguments)
        return True
    except Refused:
        return False


def private_key(vector):
    return PrivateKey(bytes.fromhex(vector["mlkem1024_seed_d_z"]), bytes.fromhex(vector["p384_private_scalar"]))


def key_exchange():
    file = load("hpke_mlkem1024_p384")
    for vector in file["vectors"]:
        key = private_key(vector)
        same(key.public.hex(), vector["public_key"], "public key")
        enc = bytes.fromhex(vector["enc"])
        secret = key.open(enc)
        same(secret.hex(), vector["kem_shared_secret"], "secret")
        schedule = vector["key_schedule"]
        same([part.hex() for part in channel.session_keys(secret)],
             [schedule["export_i2r_key"], schedule["export_r2i_key"]], "session keys")
        same(channel.transcript(key.public, enc).hex(), vector["transcript"], "transcript")
        answer, ours = channel.encapsulate(key.public)
        same(key.open(answer), ours, "a secret of our own")
    first = private_key(file["vectors"][0])
    keys = channel.session_keys(bytes.fromhex(file["vectors"][0]["kem_shared_secret"]))
    for case in file["negative"]:
        data = bytes.fromhex(case["bytes"])
        if case["kind"] == "public_key":
            same(is_taken(channel.encapsulate, data), case["accepted"], case["name"])
        else:
            same(is_taken(first.open, data), case["decapsulation_accepted"], case["name"])
            if case["decapsulation_accepted"]:
                same(channel.session_keys(first.open(data)) == keys, case["same_session_key"], case["name"])
                same(channel.transcript(first.public, data).hex(), case["transcript"], case["name"])


def identities():
    file = load("identity")
    for case in file["keys"]:
        mine = identity.Identity(bytes.fromhex(case["seed"]))
        same(mine.public.hex(), case["public_key"], "public key")
        same(mine.key_id, case["keyid"], "key id")
        same(identity.public_text(mine.public), case["ed25519pub_b64_nopad"], "text of the key")
    for case in file["public_key_negative"]:
        key = json_format.ParseDict(case["public_key"], messages.PublicKey())
        same(is_taken(identity.check_key, key), case["accepted"], case["name"])
    for case in file["pairing_token_parse"]:
        same(is_taken(identity.Token.parse, case["token"]), case["accepted"], case["token"])
        if case["accepted"]:
            token = identity.Token.parse(case["token"])
            same((token.key_id, token.secret, token.instance_id),
                 (case["keyid"], case["secret"], case["instance_id"]), case["token"])


def handshakes():
    file = load("handshake")
    for case in file["vectors"]:
        mine = identity.Identity(bytes.fromhex(case["ed25519_seed"]))
        transcript = bytes.fromhex(case["transcript"])
        same(identity.binding(case["instance_id"], case["pairing_secret"], transcript).hex(), case["bind_sha256"],
             case["name"])
        item = mine.handshake(case["instance_id"], transcript, case["pairing_secret"])
        same(item.SerializeToString().hex(), case["sync_stream_item"], case["name"])
    for case in file["negative"]:
        item = messages.Item.FromString(bytes.fromhex(case["sync_stream_item"]))
        taken = is_taken(identity.check_handshake, item, bytes.fromhex(case["local_transcript"]))
        same(taken, case["accepted"], case["name"])


def encrypted_items():
    file = load("encrypted_items")
    for case in file["items_in_sending_order"]:
        direction = Direction(bytes.fromhex(case["key"]))
        direction.counter = case["counter"]
        outer = direction.seal_bytes(bytes.fromhex(case["plaintext_item"]))
        same(outer.SerializeToString().hex(), case["outer_item"], "outer item")
    for case in file["negative"]:
        direction = Direction(bytes.fromhex(file["session"]["i2r_key"]))
        accepted = 0
        for data in case["outer_items"]:
            try:
                direction.open(messages.Item.FromString(bytes.fromhex(data)))
            except (Refused, messages.DecodeError):
                break
            accepted += 1
        same(accepted, case["items_accepted_before_failure"], case["name"])


def samples():
    cases = load("proto_samples")["samples"]
    for case in cases:
        kind = messages.message(case["message"])
        value = kind.FromString(bytes.fromhex(case["hex"]))
        same(kind.FromString(value.SerializeToString()), value, case["name"])
        if "json" in case:
            same(json_format.MessageToDict(value), case["json"], case["name"])
            same(json_format.ParseDict(case["json"], kind()), value, case["name"])


def envelopes():
    for case in load("connect_envelopes")["samples"]:
        cutter = Cutter(limit=64 << 10, encoding="gzip")
        data = bytes.fromhex(case["hex"])
        try:
            found = []
            for index in range(len(data)):
                found += cutter.feed(data[index:index + 1])
            cutter.finish()
            same(len(found), 1, case["name"])
            good = True
        except Malformed:
            good = False
        same(good, case.get("valid", True), case["name"])


def trace():
    """Both roles of the recorded sessions: keys from the members' seeds, every item opened and sealed again."""
    file = load("session_trace")
    keys = {key["initiator_seed"]: key for key in load("trace_keys")["keys"]}
    items = 0
    for stream in file["streams"]:
        session = stream["session"]
        key = private_key(keys[session["initiator_seed"]])
        same(key.public.hex(), session["kem_public_key"], "public key")
        enc = bytes.fromhex(session["enc"])
        transcript = channel.transcript(key.public, enc)
        same(transcript.hex(), session["transcript"], "transcript")
        ways = dict(zip(("client-to-host", "host-to-client"), channel.session_keys(key.open(enc))))
        opened = {way: Direction(secret) for way, secret in ways.items()}
        sealed = {way: Direction(secret) for way, secret in ways.items()}
        for event in stream["events"]:
            if event.get("outer") != "encrypted":
                continue
            way = event["direction"]
            data = bytes.fromhex(event["envelope"])[5:]
            outer = messages.Item.FromString(gzip.decompress(data) if event["connect_flags"] & 1 else data)
            item = opened[way].open(outer)
            same(item, messages.Item.FromString(bytes.fromhex(event["plaintext"])), event["inner"])
            same(item.WhichOneof("action"), event["inner"], "action")
            same(sealed[way].seal_bytes(bytes.fromhex(event["plaintext"])), outer, "sealed again")
            if event["inner"] == "handshake":
                peer = "client_identity" if way == "client-to-host" else "host_identity"
                part = identity.check_handshake(item, transcript)
                same(part.public_key.keyid, file[peer]["keyId"], "key id")
            items += 1
    expect(items > 40, f"only {items} items in the trace")


ALL = (key_exchange, identities, handshakes, encrypted_items, samples, envelopes, trace)
