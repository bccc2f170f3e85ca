"""The situations in which the original was watched (Tests/Fixtures/backrest/peer_behaviour.json), and what Cairn does
in each (behaviour.json): foreign members at a hub of ours, and a member of ours at foreign hubs.

Each situation has an address of its own below 127.0.0.0/8, since refusals of one address delay each other.

    python -m fleet.behaviour
"""

import concurrent.futures
import json
import os
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from fleet import snapshots  # noqa: E402
from fleet.world import Machine  # noqa: E402
from peers import connect, identity  # noqa: E402
from peers.messages import Item  # noqa: E402
from peers.session import Hub, Member  # noqa: E402
from support import http1  # noqa: E402
from support.checks import Checks, expect, same  # noqa: E402
from support.server import ROOT, wait_for  # noqa: E402

FIXTURE = os.path.join(ROOT, "Tests", "Fixtures", "backrest", "peer_behaviour.json")
PATIENCE = 120
UNKNOWN = 999_999
GUID = "a" * 64


def table():
    """Our reactions, after a look that no situation of the fixture is missing."""
    with open(os.path.join(os.path.dirname(__file__), "behaviour.json")) as file:
        ours = json.load(file)
    with open(FIXTURE) as file:
        theirs = json.load(file)
    for name, rows in (("hub", theirs["real_host_answers_to_a_foreign_client"]),
                       ("member", theirs["real_client_answers_to_a_foreign_host"])):
        same(sorted(ours[name]), sorted({row["scenario"] for row in rows}), f"situations of {name}")
    return ours


# MARK: - Foreign members

HUB = {}


def situation(name, slow=False):
    def add(body):
        body.slow = slow
        HUB[name] = body
        return body
    return add


class Foreign:
    """A member in one situation."""

    def __init__(self, hub, token, number):
        self.hub, self.token = hub, identity.Token.parse(token)
        self.source = f"127.0.{1 + number // 200}.{1 + number % 200}"
        self.mine = identity.Identity()
        self.name = f"foreign-{number}"
        self.connections = []
        self.stored = {}

    def stream(self, **options):
        connection = connect.connect(("127.0.0.1", self.hub.plain_port), source=self.source)
        self.connections.append(connection)
        return connection.open(**options)

    def session(self, mine=None, name=None, headers=(), **options):
        token = self.token
        return Member(self.stream(headers=headers), mine or self.mine, name or self.name,
                      (token.key_id, token.instance_id), **options)

    def paired(self, **options):
        """A session that is accepted; the hub keeps it open after pairing."""
        return self.session(**options).open(self.token.secret)

    def before_handshake(self, **options):
        session = self.session(**options)
        session.exchange()
        session.take_handshake()
        return session

    def end(self, session):
        """What the session ends with, or `open` where it answers."""
        result = session.end()[0]
        return "clean" if result is None else result

    def is_open(self, session, requests=()):
        """Proves that all before was taken: the hub asks for `requests`, and then only for what it does not know."""
        for ids in requests:
            same(list(session.expect("request_operation_data").op_ids), list(ids), "ids that the hub asks for")
        session.send(manifest({**self.stored, UNKNOWN: 1}))
        same(list(session.expect("request_operation_data").op_ids), [UNKNOWN], "ids that the hub asks for in the end")
        return "open"

    def create(self, session, *operations):
        session.send(event("created_operations", *operations))
        self.stored.update({operation.id: operation.modno for operation in operations})

    def close(self):
        for connection in self.connections:
            connection.close()


def item(action):
    result = Item()
    getattr(result, action).SetInParent()
    return result


def manifest(counters):
    result = item("operation_manifest")
    result.operation_manifest.op_ids.extend(counters)
    result.operation_manifest.modnos.extend(counters.values())
    return result


def event(kind, *operations):
    result = item("receive_operations")
    getattr(result.receive_operations.event, kind).operations.extend(operations)
    return result


def operation(number=1, **fields):
    """A backup that went well."""
    result = type(event("created_operations").receive_operations.event.created_operations.operations.add())()
    values = {"id": number, "modno": 1, "flow_id": number, "repo_id": "repo", "repo_guid": GUID, "plan_id": "plan",
              "instance_id": "foreign", "status": 3, "unix_time_start_ms": 1_717_200_000_000,
              "unix_time_end_ms": 1_717_200_060_000}
    payload = fields.pop("payload", True)
    for name, value in {**values, **fields}.items():
        setattr(result, name, value)
    if payload:
        result.operation_backup.SetInParent()
    return result


def refuse_exchange(name, version=1, public=None):
    @situation(name)
    def run(foreign):
        session = foreign.session()
        session.offer(version, public)
        return foreign.end(session)


refuse_exchange("transport version 2", 2)
refuse_exchange("transport version 0", 0)
refuse_exchange("no KEM public key", public=b"")
refuse_exchange("KEM public key of 32 bytes", public=bytes(32))


@situation("first item is a heartbeat, not a key exchange")
def heartbeat_first(foreign):
    session = foreign.session()
    session.send_outer(item("heartbeat"))
    return foreign.end(session)


@situation("first item has no action")
def nothing_first(foreign):
    session = foreign.session()
    session.send_outer(Item())
    return foreign.end(session)


@situation("request stream closed before any item")
def closed_first(foreign):
    session = foreign.session()
    session.stream.send(b"", end=True)
    return foreign.end(session)


def refuse_handshake(name, secret="", change=lambda item: None, version=identity.VERSION):
    @situation(name)
    def run(foreign):
        session = foreign.before_handshake()
        text = secret(foreign) if callable(secret) else secret
        handshake = session.mine.handshake(session.instance_id, session.transcript, text, version)
        change(handshake.handshake)
        session.send(handshake)
        result = foreign.end(session)
        expect(foreign.name not in foreign.hub.peers(), "the hub knows the member")
        return result


def flip(handshake):
    handshake.signature = bytes([handshake.signature[0] ^ 1]) + handshake.signature[1:]


refuse_handshake("unknown client, no pairing secret")
refuse_handshake("unknown client, wrong pairing secret", "0" * 64)
refuse_handshake("handshake protocol version 2", lambda foreign: foreign.token.secret, version=2)
refuse_handshake("handshake signature flipped", lambda foreign: foreign.token.secret, flip)


@situation("handshake signed over another transcript")
def other_transcript(foreign):
    session = foreign.before_handshake()
    session.send(session.mine.handshake(session.instance_id, bytes(32), foreign.token.secret))
    return foreign.end(session)


@situation("first encrypted item is a heartbeat")
def heartbeat_in_place_of_handshake(foreign):
    session = foreign.before_handshake()
    session.send(item("heartbeat"))
    return foreign.end(session)


@situation("no handshake sent (15 s timeout)", slow=True)
def no_handshake(foreign):
    session = foreign.before_handshake()
    started = time.monotonic()
    result = foreign.end(session)
    expect(time.monotonic() - started > 8, "the hub did not wait for a handshake")
    return result


@situation("expired pairing secret")
def expired(foreign):
    token = identity.Token.parse(foreign.hub.token(lifetime=1))
    time.sleep(2.5)
    session = foreign.before_handshake()
    session.send_handshake(token.secret)
    return foreign.end(session)


@situation("instance id longer than 50 characters with a valid pairing secret")
def long_name(foreign):
    token = identity.Token.parse(foreign.hub.token())
    session = foreign.before_handshake(name="x" * 51)
    session.send_handshake(token.secret)
    result = foreign.end(session)
    # The token is still good.
    foreign.session().open(token.secret)
    return result


@situation("pairing: first session with the secret, stream kept open")
def pairing_session(foreign):
    return foreign.is_open(foreign.paired())


@situation("pairing: second session without the secret")
def second_session(foreign):
    foreign.paired().close()
    return foreign.is_open(foreign.session().open())


@situation("pairing: later session that still sends the spent secret")
def spent_by_member(foreign):
    token = identity.Token.parse(foreign.hub.token())
    foreign.session().open(token.secret).close()
    return foreign.is_open(foreign.session().open(token.secret))


@situation("pairing: spent single-use secret from a second key")
def spent_by_another(foreign):
    token = identity.Token.parse(foreign.hub.token())
    foreign.session().open(token.secret).close()
    session = foreign.before_handshake(mine=identity.Identity(), name=foreign.name + "-b")
    session.send_handshake(token.secret)
    return foreign.end(session)


@situation("authorised key with a different instance id")
def other_name(foreign):
    foreign.paired().close()
    session = foreign.before_handshake(name="someone-else")
    session.send_handshake(foreign.token.secret)
    return foreign.end(session)


@situation("second handshake in an established session")
def second_handshake(foreign):
    session = foreign.paired()
    session.send_handshake()
    return foreign.end(session)


def established(name, make):
    @situation(name)
    def run(foreign):
        session = foreign.paired()
        session.send(make())
        return foreign.end(session)


def unknown_field(action=None):
    """Field 777, a text."""
    content = item(action).SerializeToString() if action else b""
    return Item.FromString(content + b"\xca\x30\x03abc")


def stranger():
    nested = Item()
    nested.encrypted.nonce = bytes(12)
    nested.encrypted.ciphertext = bytes(32)
    return nested


def unequal():
    result = item("operation_manifest")
    result.operation_manifest.op_ids.extend([1, 2])
    result.operation_manifest.modnos.append(1)
    return result


def no_kind():
    result = item("receive_operations")
    result.receive_operations.event.SetInParent()
    return result


established("item with no action", Item)
established("item with only an unknown field", unknown_field)
for action in ("request_log", "receive_log_data", "throttle", "set_config", "request_resources",
               "request_operation_data"):
    established(f"{action} to the host", lambda action=action: item(action))
established("signed_message (legacy action)", lambda: item("signed_message"))
established("nested encrypted item", stranger)
established("manifest with unequal list lengths", unequal)
established("operation event with no kind set", no_kind)
established("receive_operations without an event", lambda: item("receive_operations"))


@situation("heartbeat with an extra unknown field")
def heartbeat_with_more(foreign):
    session = foreign.paired()
    beat = item("heartbeat")
    beat.heartbeat.MergeFromString(b"\xca\x30\x03abc")
    session.send(beat)
    return foreign.is_open(session)


@situation("manifest: two unknown operations")
def two_unknown(foreign):
    session = foreign.paired()
    session.send(manifest({7: 1, 5: 1}))
    return foreign.is_open(session, [[7, 5]])


@situation("manifest with duplicate id")
def duplicate(foreign):
    session = foreign.paired()
    twice = item("operation_manifest")
    twice.operation_manifest.op_ids.extend([7, 7])
    twice.operation_manifest.modnos.extend([1, 2])
    session.send(twice)
    expect(set(session.expect("request_operation_data").op_ids) == {7}, "the hub does not ask for the duplicate")
    return foreign.is_open(session)


@situation("operation event keep_alive")
def keep_alive(foreign):
    session = foreign.paired()
    alive = item("receive_operations")
    alive.receive_operations.event.keep_alive.SetInParent()
    session.send(alive)
    return foreign.is_open(session)


def deletion(*numbers):
    result = item("receive_operations")
    result.receive_operations.event.deleted_operations.values.extend(numbers)
    return result


@situation("delete of an operation the host does not have")
def delete_unknown(foreign):
    session = foreign.paired()
    session.send(deletion(4711))
    return foreign.is_open(session)


@situation("create one valid operation, then the same again, then a manifest naming it")
def twice(foreign):
    session = foreign.paired()
    foreign.create(session, operation(3))
    foreign.create(session, operation(3))
    session.send(manifest({3: 1}))
    result = foreign.is_open(session)
    same(len(foreign.hub.operations(peer=foreign.name)), 1, "operations at the hub")
    return result


@situation("manifest with a newer modno for a known operation")
def newer(foreign):
    session = foreign.paired()
    foreign.create(session, operation(3))
    session.send(manifest({3: 2}))
    return foreign.is_open(session, [[3]])


@situation("empty manifest removes everything")
def empty(foreign):
    session = foreign.paired()
    foreign.create(session, operation(3), operation(4))
    session.send(manifest({}))
    foreign.stored.clear()
    result = foreign.is_open(session)
    same(foreign.hub.operations(peer=foreign.name), [], "operations at the hub")
    return result


@situation("cleanup manifest")
def cleanup(foreign):
    session = foreign.paired()
    foreign.create(session, operation(3), operation(4))
    session.send(manifest({4: 1}))
    del foreign.stored[3]
    result = foreign.is_open(session)
    same([row["original-id"] for row in foreign.hub.operations(peer=foreign.name)], [4], "operations at the hub")
    return result


def refuse_operation(name, **fields):
    @situation(name)
    def run(foreign):
        session = foreign.paired()
        session.send(event("created_operations", operation(3, **fields)))
        result = foreign.end(session)
        same(foreign.hub.operations(peer=foreign.name), [], "operations at the hub")
        return result


def take_operation(name, check=None, **fields):
    @situation(name)
    def run(foreign):
        session = foreign.paired()
        foreign.create(session, operation(3, **fields))
        result = foreign.is_open(session)
        rows = foreign.hub.operations(peer=foreign.name)
        same(len(rows), 1, "operations at the hub")
        if check:
            check(rows[0], foreign.hub.root("GET", f"/peers/operations/{rows[0]['id']}")["operation"])
        return result


def is_other(row, whole):
    same(row["kind"], "other", "kind")


def is_unknown(row, whole):
    same(row["status"], "unknown", "status")


def has_own_origin(row, whole):
    same(row["original-id"], 3, "original id")
    expect("ed25519.forged" not in json.dumps([row, whole]), "the origin that the member made up is shown")


refuse_operation("create operation with id 0", id=0)
take_operation("create operation with modno 0", modno=0)
refuse_operation("create operation with flow_id 0", flow_id=0)
refuse_operation("create operation with repo_id empty", repo_id="")
refuse_operation("create operation with repo_guid empty", repo_guid="")
take_operation("create operation with repo_guid of 3 characters", repo_guid="abc")
refuse_operation("create operation with plan_id empty", plan_id="")
refuse_operation("create operation with instance_id empty", instance_id="")
take_operation("create operation with instance_id of another instance", instance_id="another")
refuse_operation("create operation with unix_time_start_ms 0", unix_time_start_ms=0)
refuse_operation("create operation with snapshot_id of 8 characters", snapshot_id="12345678")
take_operation("create operation with no payload oneof", is_other, payload=False)
take_operation("create operation with unknown status 99", is_unknown, status=99)
take_operation("create operation with original_id preset", has_own_origin, original_id=77, original_flow_id=78,
               original_instance_keyid="ed25519.forged")
take_operation("operation of 8 MiB", display_message="m" * (8 << 20))


@situation("replayed ciphertext")
def replayed(foreign):
    session = foreign.paired()
    sealed = session.sending.seal(item("heartbeat"))
    session.send_outer(sealed)
    session.send_outer(sealed)
    return foreign.end(session)


@situation("tampered ciphertext")
def tampered(foreign):
    session = foreign.paired()
    sealed = session.sending.seal(item("heartbeat"))
    sealed.encrypted.ciphertext = bytes([sealed.encrypted.ciphertext[0] ^ 1]) + sealed.encrypted.ciphertext[1:]
    session.send_outer(sealed)
    return foreign.end(session)


@situation("plaintext item after the key exchange")
def plain(foreign):
    session = foreign.paired()
    session.send_outer(item("heartbeat"))
    return foreign.end(session)


@situation("two sessions with one key: what the first sees")
def displaced(foreign):
    first = foreign.paired()
    second = foreign.session().open()
    result = foreign.end(first)
    foreign.is_open(second)
    return result


@situation("client half-closes the request stream after the handshake")
def half_closed(foreign):
    session = foreign.paired()
    session.stream.send(b"", end=True)
    return foreign.end(session)


def with_type(name, kind):
    @situation(name)
    def run(foreign):
        stream = foreign.stream(headers=[("content-type", kind)])
        return status(stream)


def status(stream):
    expect(stream.wait(lambda: stream.headers is not None, PATIENCE), "no answer")
    return stream.headers[":status"]


with_type("gRPC protocol", "application/grpc+proto")
with_type("gRPC-Web protocol over HTTP/2", "application/grpc-web+proto")
with_type("Connect protocol with the JSON codec", "application/connect+json")


@situation("HTTP/2 POST with application/proto")
def unary_type(foreign):
    stream = foreign.stream(headers=[("content-type", "application/proto")])
    result = status(stream)
    expect("application/connect+proto" in stream.headers.get("accept-post", ""), f"headers {stream.headers}")
    return result


@situation("Connect protocol, requests compressed with gzip")
def compressed(foreign):
    return foreign.is_open(foreign.paired(headers=[("connect-content-encoding", "gzip")], compresses=True))


@situation("HTTP/1.1 request")
def old_http(foreign):
    response = http1.request(foreign.hub.address, "POST", connect.SYNC, [
        ("Host", "localhost"), ("Content-Type", "application/connect+proto"), ("Content-Length", "0")])
    same(response.header("connection"), "close", "connection")
    return str(response.status)


@situation("HTTP/2 GET")
def get(foreign):
    stream = foreign.stream(method="GET", end=True)
    result = status(stream)
    same(stream.headers.get("allow"), "POST", "allow")
    return result


@situation("HTTP/2 unknown method path")
def unknown_path(foreign):
    return status(foreign.stream(path="/v1sync.BackrestSyncService/Sink", end=True))


def refused_head(name, data=b"", end=False, **headers):
    @situation(name)
    def run(foreign):
        fields = [(key.replace("_", "-"), value) for key, value in headers.items()]
        messages = connect.Messages(foreign.stream(headers=fields))
        if data or end:
            messages.stream.send(data, end=end)
        result = messages.end()[0]
        return "clean" if result is None else result


refused_head("HTTP/2 without connect-protocol-version header", connect.envelope(b""), connect_protocol_version=None)
refused_head("HTTP/2 connect-protocol-version 2", connect_protocol_version="2")
refused_head("HTTP/2 unknown request compression br", connect_content_encoding="br")
refused_head("HTTP/2 connect-timeout-ms 300", connect_timeout_ms="300")
refused_head("HTTP/2 connect-timeout-ms not a number", connect_timeout_ms="abc")
refused_head("envelope that promises more bytes than follow", struct.pack(">BI", 0, 1673) + bytes(95), end=True)
refused_head("envelope length 0xffffffff then end of body", struct.pack(">BI", 0, 0xFFFFFFFF) + b"x", end=True)
refused_head("envelope with end-of-stream flag from the client", connect.envelope(b"{}", 2))
refused_head("envelope with unknown flag 0x80", connect.envelope(b"", 0x80))


@situation("operation without a payload stored, then the host runs its garbage collection after the client is removed")
def removed(foreign):
    session = foreign.paired()
    foreign.create(session, operation(3, payload=False))
    foreign.is_open(session)
    foreign.hub.forget(foreign.name)
    result = foreign.end(session)
    same(foreign.hub.operations(text="foreign-never"), [], "operations by a text that is nowhere")
    return result


def check_end(name, ended, row):
    wanted = row["end"] if isinstance(row["end"], list) else [row["end"]]
    expect(ended in wanted, f"{name}: ends with {ended}, not with {' or '.join(wanted)}")


def at_hub(hub, rows):
    """Starts all situations of foreign members; gives (name, future)."""
    same(sorted(HUB), sorted(rows), "situations that are written")
    token = hub.token(**{"max-uses": 0, "lifetime": 0})
    pool = concurrent.futures.ThreadPoolExecutor(6)

    def run(number, name):
        foreign = Foreign(hub, token, number)
        try:
            check_end(name, HUB[name](foreign), rows[name])
        finally:
            foreign.close()

    order = sorted(enumerate(HUB), key=lambda pair: not HUB[pair[1]].slow)
    return [(f"hub: {name}", pool.submit(run, number, name)) for number, name in order]


# MARK: - Foreign hubs

class ForeignHub:
    """A hub that does what its situation says, in each session alike."""

    def __init__(self, name, act):
        self.name, self.act = name, act
        self.mine, self.other = identity.Identity(), identity.Identity()
        self.secret = "5" * 64
        self.received = []
        self.sessions = 0
        self.problem = None
        self.done = False
        self.ended = threading.Event()
        self.listener = connect.Listener(self.serve)

    @property
    def token(self):
        return str(identity.Token(self.mine.key_id, self.secret, self.name))

    def serve(self, stream):
        self.sessions += 1
        session = Hub(stream, self.mine, self.name)
        try:
            self.act(self, session)
            while True:
                self.take(session)
        except (connect.Cut, connect.Ended):
            self.ended.set()
        except Exception as problem:  # noqa: BLE001: told by the check
            self.problem = problem

    def take(self, session, until=None):
        """Receives items, and writes down what they are, to the first `until`."""
        while True:
            received = session.receive(PATIENCE)
            self.received.append(received)
            if until is None or received.WhichOneof("action") == until:
                return received

    def actions(self):
        return [received.WhichOneof("action") for received in self.received]

    def accept(self, session):
        """Takes the member, to the end of its manifest."""
        session.exchange()
        session.send_handshake()
        self.take(session, "handshake")
        session.accept()
        return self.take(session, "operation_manifest")


def say(action, change=lambda item: None):
    def act(hub, session):
        hub.accept(session)
        said = item(action) if action else Item()
        change(said)
        session.send(said)
    return act


def push(change):
    """Settings that are refused; afterwards the session goes on."""
    def act(hub, session):
        say("set_config", change)(hub, session)
        session.send(item("request_resources"))
        hub.take(session, "receive_resources")
        hub.done = True
    return act


def normal(hub, session):
    """Asks for more than it may see."""
    listed = list(hub.accept(session).operation_manifest.op_ids)
    while len(listed) < 12:  # eleven snapshots and a backup; the member may still be looking for them
        time.sleep(0.5)
        session.send(item("operation_manifest"))
        listed = list(hub.take(session, "operation_manifest").operation_manifest.op_ids)
    hub.listed = listed
    ask = item("request_operation_data")
    ask.request_operation_data.op_ids.extend([*range(1, 60), *range(min(listed) - 30, max(listed) + 30)])
    session.send(ask)
    hub.answer = []
    while {operation.id for operation in hub.answer} < set(listed):
        got = hub.take(session, "receive_operations").receive_operations.event
        hub.answer += [*got.updated_operations.operations, *got.created_operations.operations]
    session.send(item("request_resources"))
    hub.resources = hub.take(session, "receive_resources").receive_resources
    session.send(item("operation_manifest"))
    again = hub.take(session, "operation_manifest").operation_manifest
    same(sorted(again.op_ids), sorted(listed), "the second manifest")
    session.send(item("heartbeat"))
    hub.done = True


def delete_plan(said):
    said.set_config.plans_to_delete.append("main")


def push_repo(said):
    said.set_config.repos.add(id="pushed", guid=GUID, uri="/tmp/pushed", origin_instance_id="shared_denied")


def exchange(version=1, change=lambda encapsulation: encapsulation):
    def act(hub, session):
        session.take_offer()
        session.answer(version, change)
        session.send_handshake()
    return act


def prove(alter=lambda handshake: None, transcript=None, key=None, name=None):
    def act(hub, session):
        session.exchange()
        mine = hub.other if key else hub.mine
        proof = mine.handshake(name or hub.name, transcript or session.transcript)
        alter(proof.handshake)
        session.send(proof)
    return act


def deny(hub, session):
    session.take_offer()
    session.finish("permission_denied", "no")
    raise connect.Cut("denied")


def end_cleanly(hub, session):
    session.exchange()
    session.send_handshake()
    hub.take(session, "handshake")
    session.finish()


def flip_first(data):
    return bytes([data[0] ^ 1]) + data[1:]


MEMBER = {
    "normal": normal,
    "request_log": say("request_log"),
    "receive_operations": say("receive_operations"),
    "throttle": say("throttle"),
    "noaction": say(None),
    "nilconfig": say("receive_config"),
    "setconfig_denied": push(delete_plan),
    "shared_denied": push(push_repo),
    "version": exchange(version=2),
    "badenc": exchange(change=flip_first),
    "badsig": prove(flip),
    "mitm": prove(transcript=bytes(32)),
    "otherkey": prove(key=True),
    "otherinstance": prove(name="not-the-hub"),
    "authdenied": deny,
    "cleanend": end_cleanly,
    "nohandshake": lambda hub, session: session.exchange(),
}
#: Before the hub has proved itself nothing may be sent: the member has a secret.
UNPROVED = {"version", "badenc", "badsig", "mitm", "otherkey", "otherinstance", "authdenied", "nohandshake"}


def at_member(member, rows):
    """One member reports to all the foreign hubs at once; gives (name, future)."""
    same(sorted(MEMBER), sorted(rows), "situations that are written")
    pool = concurrent.futures.ThreadPoolExecutor(len(MEMBER))
    return [(f"member: {name}", pool.submit(join, member, name, rows[name])) for name in MEMBER]


def join(member, name, row):
    hub = ForeignHub(name, MEMBER[name])
    wanted = row["state"] if isinstance(row["state"], list) else [row["state"]]
    try:
        member.root("POST", "/peers", token=hub.token, url=f"http://127.0.0.1:{hub.listener.port}",
                    permissions=["read-operations=repo:main,plan:main"])
        seen = []

        def reached():
            now = member.standing(name)
            if not seen or seen[-1] != now:
                seen.append(now)
            return hub.problem is not None or now[0] in wanted and (wanted != ["connected"] or hub.done)

        expect(wait_for(reached, PATIENCE), f"never {wanted}, but {seen[-6:]}; the hub got {hub.actions()}")
        if "connected" in wanted:
            same(hub.sessions, 1, "sessions")
        same(hub.problem, None, "at the hub")
        if name in UNPROVED:
            same(hub.actions(), [], "items before the hub has proved itself")
            expect(hub.secret not in str(seen), "the secret is shown")
        if name == "normal":
            strangers = [operation for operation in hub.answer if operation.repo_id != "main"]
            same(strangers, [], "operations outside of the permission")
            same({operation.id for operation in hub.answer} - set(hub.listed), set(), "operations that were not listed")
            expect(hub.answer, "no operations at all")
            same([repo.id for repo in hub.resources.repos], ["main"], "repos")
    finally:
        hub.listener.close()
        member.forget(name)


def machine():
    """A server of ours that is both: a hub for foreign members and a member of foreign hubs."""
    ours = Machine("ours", plain=True)
    for name in ("main", "other"):
        snapshots.write(ours.datastore(name), "g", range(1_717_200_000, 1_717_200_010))
    caller = snapshots.Caller(ours)
    for name in ("main", "other"):
        caller.back_up(name, "h", 1_717_300_000)
    return ours


def start(ours):
    """Starts all situations; they end while other things are done."""
    rows = table()
    return at_hub(ours, rows["hub"]) + at_member(ours, rows["member"])


def collect(checks, ours, futures):
    """Counts how the situations went, and whether the server still serves."""
    for name, future in futures:
        checks.run(name, lambda future=future: future.result(PATIENCE * 2))
    checks.run("the server lives after all situations", lambda: lives(ours))


def lives(ours):
    expect(ours.process.poll() is None, "the server has died:\n" + "\n".join(ours.log[-40:]))
    foreign = Foreign(ours, ours.token(), 390)
    try:
        foreign.is_open(foreign.paired())
    finally:
        foreign.close()


def main():
    checks = Checks("behaviour")
    with machine() as ours:
        collect(checks, ours, start(ours))
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
