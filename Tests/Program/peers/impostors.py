"""The program as a member of hubs that are not what they should be: what §6.3 asks of the side that dials.

All hubs stand at one address, each at a path of its own, and the program joins all of them at once: each has a pairing
secret that it gave out, and must not get to see it before it has proved its key.
"""

import threading
import time

from support.checks import expect, same

from .channel import MLKEM_BYTES, PrivateKey, nonce
from .connect import PATIENCE, Cut, Ended, connect
from .identity import Identity
from .messages import Item
from .session import Member
from .world import created, item, left_alone, operation

APPLICATION = {"receive_config", "receive_resources", "operation_manifest", "receive_operations", "heartbeat"}


class Target:
    """The member, and the hubs that it was told of."""

    def __init__(self, site, impostor):
        self.site, self.impostor = site, impostor
        self.places = {}

    def add(self, name, *scripts, permissions=("read-operations",)):
        self.places[name] = self.impostor.place(name.replace(" ", "-"), *scripts)
        self.places[name].join(self.site, *permissions)

    def verdict(self, name):
        """Waits until the member has left; it has said nothing, since it waits with its secret for the hub's proof."""
        place = self.places[name]
        same(place.result(), [], f"{name}: what the member has said")
        secret = place.secret.encode()
        for session in place.sessions:
            expect(secret not in session.stream.everything, f"{name}: the secret was shown")
            for heard in session.seen:
                expect(secret not in heard.SerializeToString(), f"{name}: the secret was shown")
        self.blamed(name)

    def parted(self, name):
        """The state of a peer once it is neither connected nor about to be."""
        limit = time.monotonic() + PATIENCE
        while (peer := self.site.peer(self.places[name].name))["state"] in ("pending", "connected"):
            expect(time.monotonic() < limit, f"{name}: the state is {peer['state']}")
            time.sleep(0.1)
        return peer

    def blamed(self, name):
        """The peer is shown with an error, and with words on it."""
        place = self.places[name]
        if len(place.sessions) > 1 and self.site.peer(place.name)["state"] == "pending":
            return  # a minute has passed, and it tries again
        peer = self.parted(name)
        expect(peer["state"] in ("auth-error", "protocol-error") and peer["message"], f"{name}: {peer}")

    def poke(self, name):
        """Has the member dial again at once."""
        place = self.places[name]
        place.poked = not getattr(place, "poked", False)
        scopes = "=*,!plan:none" if place.poked else "=*"
        self.site.root("PUT", f"/peers/peer/{place.name}/permissions", permissions=["read-operations" + scopes])


def taking(hub):
    """Everything that still comes, once keys are exchanged."""
    return left_alone(hub)


def exchanged(then):
    """A script that exchanges keys, does `then`, and waits for the member to leave."""
    def script(hub):
        hub.exchange()
        then(hub)
        return taking(hub)
    return script


def proved(then):
    """A script that proves the hub, takes the member, does `then`, and gives what the member said from then on."""
    def script(hub):
        hub.open()
        hub.accept()
        hub.expect("operation_manifest")
        hub.mark = len(hub.seen)
        then(hub)
        return taking(hub)
    return script


# MARK: hubs that spoil the handshake

def sealed_handshake(change):
    def then(hub):
        outer = hub.sending.seal(hub.mine.handshake(hub.instance_id, hub.transcript))
        change(outer)
        hub.send_outer(outer)
    return exchanged(then)


def changed_handshake(change):
    def then(hub):
        made = hub.mine.handshake(hub.instance_id, hub.transcript)
        hub.send(change(made, hub) or made)
    return exchanged(then)


def flip(outer):
    data = bytearray(outer.encrypted.ciphertext)
    data[5] ^= 1
    outer.encrypted.ciphertext = bytes(data)


def tag(outer):
    outer.encrypted.ciphertext = outer.encrypted.ciphertext[:-1]


def nonce_short(outer):
    outer.encrypted.nonce = outer.encrypted.nonce[:-1]


def prefix(outer):
    outer.encrypted.nonce = b"\1" + outer.encrypted.nonce[1:]


def gap(outer):
    outer.encrypted.nonce = nonce(1)


SEALED = {"N4 flip": flip, "N4 tag": tag, "N4 nonce short": nonce_short, "N4 prefix": prefix, "N3 gap": gap}


def field(name, value):
    def change(made, _):
        setattr(made.handshake, name, value)
    return change


def other_key(made, hub):
    return Identity().handshake(hub.instance_id, hub.transcript)


def other_name(made, hub):
    return hub.mine.handshake("somebody", hub.transcript)


def forged(made, hub):
    """The configured key, with a signature by another."""
    signature = Identity().handshake(hub.instance_id, hub.transcript).handshake.signature
    made.handshake.signature = signature
    return made


def other_transcript(made, hub):
    return hub.mine.handshake(hub.instance_id, bytes(32))


def version(number):
    def change(made, hub):
        return hub.mine.handshake(hub.instance_id, hub.transcript, version=number)
    return change


def other_key_id(made, hub):
    made.handshake.public_key.keyid = Identity().key_id


def no_key(made, hub):
    made.handshake.ClearField("public_key")


def flipped(made, hub):
    data = bytearray(made.handshake.signature)
    data[0] ^= 1
    made.handshake.signature = bytes(data)


HANDSHAKES = {
    "N2 transcript": other_transcript, "N6 handshake 2": version(2), "N6 handshake 4": version(4),
    "N6 handshake -1": version(-1), "N9 key": other_key, "N9 name": other_name, "N9 forged": forged,
    "N9 no name": field("instance_id", ""), "N9 no signature": field("signature", b""), "N9 flipped": flipped,
    "N9 version": field("protocol_version", 2), "N9 key id": other_key_id, "N9 no key": no_key,
    "N9 secret": field("pairing_secret", "0" * 64), "N9 heartbeat": lambda made, hub: item("heartbeat"),
}


# MARK: hubs that spoil the key exchange

def answering(**options):
    def script(hub):
        hub.take_offer()
        hub.answer(**options)
        if "change" in options:
            try:
                hub.send_handshake()
            except Cut:
                pass
        return taking(hub)
    return script


def swapped(enc):
    return enc[MLKEM_BYTES:] + enc[:MLKEM_BYTES]


ENCAPSULATIONS = {
    "N7 none": lambda enc: b"", "N7 short": lambda enc: enc[:-1], "N7 long": lambda enc: enc + b"\0",
    "N7 off the curve": lambda enc: enc[:-1] + bytes([enc[-1] ^ 1]),
    "N7 compressed": lambda enc: enc[:MLKEM_BYTES] + bytes([2 + enc[-1] % 2]) + enc[MLKEM_BYTES + 1:MLKEM_BYTES + 49],
    "N7 compressed tag": lambda enc: enc[:MLKEM_BYTES] + b"\2" + enc[MLKEM_BYTES + 1:],
    "N7 swapped": swapped, "N7 infinity": lambda enc: enc[:MLKEM_BYTES] + bytes(97),
    "N8 flip": lambda enc: bytes([enc[0] ^ 1]) + enc[1:],
    "N8 other point": lambda enc: enc[:MLKEM_BYTES] + PrivateKey().public[MLKEM_BYTES:],
}


def plain_handshake(hub):
    hub.exchange()
    hub.send_outer(hub.mine.handshake(hub.instance_id, hub.transcript))
    return taking(hub)


def early(hub):
    hub.take_offer()
    outer = Item()
    outer.encrypted.nonce, outer.encrypted.ciphertext = bytes(12), bytes(40)
    hub.send_outer(outer)
    return raw_rest(hub)


def no_exchange(hub):
    hub.take_offer()
    hub.send_outer(item("heartbeat"))
    return raw_rest(hub)


def silent(hub):
    hub.exchange()
    return taking(hub)


def raw_rest(hub):
    """What a member says before there are keys."""
    said = []
    while True:
        try:
            said.append(hub.receive_outer().WhichOneof("action"))
        except (Cut, Ended):
            return said


def denied(hub):
    hub.exchange()
    hub.finish("permission_denied", "no")
    return taking(hub)


# MARK: hubs that are proved, and then do what they must not

def sent(*items):
    return lambda hub: hub.send(*items)


def sent_bytes(data):
    return lambda hub: hub.send_outer(hub.sending.seal_bytes(data))


def replayed(hub):
    outer = hub.sending.seal(item("heartbeat"))
    hub.send_outer(outer)
    hub.send_outer(outer)


def reordered(hub):
    first, second = hub.sending.seal(item("heartbeat")), hub.sending.seal(item("heartbeat"))
    hub.send_outer(second)
    hub.send_outer(first)


def dropped(hub):
    hub.sending.seal(item("heartbeat"))
    hub.send(item("heartbeat"))


def reflected(hub):
    """The member's own kind of item, sealed as the member seals."""
    hub.send_outer(hub.receiving.seal_bytes(b"\x22\x00", counter=hub.sending.counter))


def plain(hub):
    hub.send_outer(item("heartbeat"))


LATER = {
    "N3 replayed": replayed, "N3 reordered": reordered, "N3 dropped": dropped, "N3 reflected": reflected,
    "N5 plain": plain,
    "N16 unknown": sent_bytes(bytes.fromhex("9a0600")), "N16 none": sent_bytes(b""),
    "N16 no protobuf": sent_bytes(b"\xff\xff\xff"),
    "N16 second handshake": lambda hub: hub.send_handshake(),
    "N16 operations": sent(created(operation(1))), "N16 throttle": sent(item("throttle", delay_ms=1)),
    "N16 signed": sent(item("signed_message", keyid="x")), "N16 log": sent(item("request_log", log_id="x")),
    "N16 log data": sent(item("receive_log_data", log_id="x")), "N16 no config": sent(item("receive_config")),
    "N16 key exchange": sent(item("establish_shared_secret", protocol_version=1)),
}


def begin(target):
    """Joins every hub that spoils something, so that all of it happens while other checks run."""
    for name, change in SEALED.items():
        target.add(name, sealed_handshake(change))
    for name, change in HANDSHAKES.items():
        target.add(name, changed_handshake(change))
    for name, change in ENCAPSULATIONS.items():
        target.add(name, answering(change=change))
    for number in (0, 2, 2 ** 32 - 1):
        target.add(f"N6 transport {number}", answering(version=number))
    target.add("N5 plain handshake", plain_handshake)
    target.add("N5 encrypted first", early)
    target.add("N5 no exchange", no_exchange)
    target.add("N13 silent", silent)
    target.add("N13 denied", denied)
    for name, then in LATER.items():
        target.add(name, proved(then))


def refusals(number):
    """The check of all hubs of a number: those that never proved themselves, and those that went wrong later."""
    def check(target):
        for name in target.places:
            if name.split()[0] != number:
                continue
            if name not in LATER:
                target.verdict(name)
                continue
            place = target.places[name]
            same([text for text in place.result() if text not in APPLICATION], [], f"{name}: what came at the end")
            same(place.sessions[0].peer.pairing_secret, place.secret, f"{name}: the secret, which this hub may see")
            target.blamed(name)
    return check


# MARK: hubs that are good at first

def good(target):
    """a hub of our own that does nothing wrong gets what a member has to say, in its order"""
    def script(hub):
        hub.open()
        hub.accept()
        hub.expect("operation_manifest")
        order = [heard.WhichOneof("action") for heard in hub.seen]
        hub.send(item("request_resources"))
        hub.expect("receive_resources")
        hub.send(item("operation_manifest"))
        hub.expect("operation_manifest")
        return order

    target.add("good", script)
    place = target.places["good"]
    order = [action for action in place.result() if action != "heartbeat"]
    same(order, ["handshake", "receive_config", "receive_resources", "operation_manifest"], "what the member says")
    hub = place.sessions[0]
    same(hub.peer.instance_id, target.site.name, "its name")
    same(hub.peer.public_key.keyid, target.site.key_id, "its key")
    same(hub.peer.pairing_secret, place.secret, "its secret")
    same(hub.stream.headers["content-type"], "application/connect+proto", "content type")
    same(hub.stream.headers["connect-protocol-version"], "1", "version")
    wait_peer(target.site, "good", "connected")

    # It was taken: it does not show the secret again. And what it says of itself is no proof of this hub.
    target.places["good"].scripts = (reflecting,)
    target.poke("good")
    same([text for text in place.result(1) if text in APPLICATION], [], "what it says to its own reflection")
    same(place.sessions[1].seen[0].handshake.pairing_secret, "", "the secret once it is taken")
    target.parted("good")


def like_the_original(target):
    """a hub that refuses the session in which a member pairs, and compresses what it says, as Backrest does"""
    def compressing(hub):
        hub.messages.compresses = True
        hub.messages.answer_headers += (("connect-content-encoding", "gzip"), ("connect-accept-encoding", "gzip"))
        return hub.open().pairing_secret

    def refusing(hub):
        secret = compressing(hub)
        hub.finish("permission_denied", "client is not an authorized peer")
        return secret

    def taking_it(hub):
        secret = compressing(hub)
        hub.accept()
        hub.expect("operation_manifest")
        return secret

    target.add("original", refusing, taking_it)
    place = target.places["original"]
    same([place.result(0), place.result(1)], [place.secret] * 2, "the secret in both sessions")
    wait_peer(target.site, "original", "connected")


def another_certificate(target):
    """a hub with another certificate than the one that was named gets no stream at all"""
    place = target.impostor.place("uncertain", taking_nothing)
    target.places["uncertain"] = place
    target.site.root(
        "POST", "/peers", token=str(place.token), url=place.url, permissions=[], fingerprint=":".join(["00"] * 32))
    limit = time.monotonic() + PATIENCE
    while target.impostor.fingerprint not in (peer := target.site.peer("uncertain"))["message"].lower():
        expect(time.monotonic() < limit, f"the certificate is not told: {peer}")
        time.sleep(0.1)
    same(place.sessions, [], "sessions")


def taking_nothing(hub):
    return None


def reflecting(hub):
    hub.exchange()
    hub.send(hub.receive())
    return taking(hub)


def n17(target):
    """N17 operations that the grant does not cover"""
    def listing(hub):
        hub.open()
        hub.accept()
        hub.listed = list(hub.expect("operation_manifest").op_ids)
        hub.resources = {repo.id for heard in hub.seen for repo in heard.receive_resources.repos}
        return hub.listed

    site = target.site
    limit = time.monotonic() + PATIENCE
    while True:  # until the tasks of both datastores are told
        target.add("all", listing)
        ids = set(target.places["all"].result())
        target.add("one", listing, permissions=("read-operations=repo:one",))
        granted = set(target.places["one"].result())
        if len(granted) >= 1 and len(ids - granted) >= 1:
            break
        expect(time.monotonic() < limit, f"the member lists {sorted(ids)} to all and {sorted(granted)} to one")
        for name in ("all", "one"):
            site.root("DELETE", f"/peers/peer/{name}")
        time.sleep(1)
    expect(granted < ids, f"{granted} is no part of {ids}")
    hub = target.places["one"].sessions[0]
    same(hub.resources, {"one"}, "repos that are told")
    hub.send(item("request_operation_data", op_ids=sorted(ids) + [10 ** 9, -1, 0]))
    got = {}
    while set(got) != granted:
        event = hub.expect("receive_operations").event
        for found in (*event.created_operations.operations, *event.updated_operations.operations):
            got[found.id] = found
            same(found.repo_id, "one", "repo of an operation")
    hub.send(item("request_operation_data", op_ids=sorted(ids - granted)), item("request_resources"))
    hub.expect("receive_resources")
    for heard in hub.seen:
        event = heard.receive_operations.event
        for found in (*event.created_operations.operations, *event.updated_operations.operations):
            same((found.id in granted, found.repo_id), (True, "one"), f"operation {found.id}")
    return f"{len(granted)} of {len(ids)} operations granted"


def n21(target):
    """N21 a hub that reads nothing"""
    def deaf(hub):
        hub.open()
        hub.accept()
        hub.expect("operation_manifest")
        hub.stream.reads = False
        count = 0
        try:
            while not hub.stream.is_gone and count < 200_000:
                hub.send(*[item("request_resources")] * 200)
                count += 200
        except Cut:
            pass
        gone = hub.stream.wait(lambda: hub.stream.is_gone, PATIENCE * 2)
        expect(gone, "the session goes on")
        return count

    def again(hub):
        hub.open()
        hub.accept()
        hub.expect("operation_manifest")

    target.add("N21 deaf", deaf, again)


def n21_verdict(target):
    """N21 a hub that reads nothing"""
    place = target.places["N21 deaf"]
    count = place.result(0, PATIENCE * 3)
    target.poke("N21 deaf")
    place.result(1)
    return f"{count} requests were sent before the member left"


def n23(target):
    """N23 settings that are pushed, in part allowed"""
    def pushing(hub):
        hub.open()
        hub.accept()
        hub.expect("operation_manifest")
        before = hub.seen[1]
        hub.send(item(
            "set_config",
            plans=[{"id": "one", "repo": "one", "paths": ["/"],
                    "hooks": [{"action_command": {"command": "touch /tmp/pushed"}}]}, {"id": "evil", "repo": "one"}],
            repos=[{"id": "one", "uri": "/srv/evil", "guid": "1" * 64, "env": ["LD_PRELOAD=/tmp/evil.so"]}],
            repos_to_delete=["two"], plans_to_delete=["two"]))
        hub.send(item("request_resources"))
        hub.expect("receive_resources")
        hub.send(item("heartbeat"), item("operation_manifest"))
        hub.expect("operation_manifest")
        views = [heard.receive_config.config for heard in hub.seen if heard.WhichOneof("action") == "receive_config"]
        return before.receive_config.config, views

    target.add("N23", pushing, permissions=(
        "read-config", "read-write-config=plan:one,repo:one", "receive-shared-repos", "read-operations"))
    before, views = target.places["N23"].result()
    for view in views:
        same(sorted(repo.id for repo in view.repos), sorted(repo.id for repo in before.repos), "repos")
        same(list(view.plans), list(before.plans), "plans")
        for repo in view.repos:
            same((repo.password, list(repo.env), list(repo.hooks)), ("", [], []), "secrets of a repo")
    same(sorted(store["store"] for store in target.site.root("GET", "/admin/datastore")), ["one", "two"], "datastores")


# MARK: relays

def n1(target, hub):
    """N1 a relay with a leg to each side, which forwards both handshakes"""
    token, _ = hub.token(label="relayed")
    name = hub.name
    record = {}

    def through(session):
        """Between one hub and one member: nobody notices."""
        onward = Member(connect(hub.plain, source=hub.source.next()).open(), Identity(), "relay")

        def back():
            try:
                while True:
                    session.messages.send(onward.messages.receive(PATIENCE * 4))
            except (Cut, Ended, TimeoutError):
                session.stream.cancel()

        threading.Thread(target=back, daemon=True).start()
        try:
            while True:
                onward.messages.send(session.messages.receive(PATIENCE * 4))
        except (Cut, TimeoutError):
            onward.stream.cancel()

    def legs(session):
        """Keys of its own with each."""
        onward = Member(connect(hub.plain, source=hub.source.next()).open(), Identity(), "relay")
        onward.exchange()
        session.exchange()
        session.send(onward.receive())          # the hub's handshake, to the member
        onward.send(session.receive())          # the member's, to the hub
        record["hub"] = onward.end()
        record["member"] = left_alone(session)

    place = target.impostor.place("N1", through, legs)
    target.places["N1"] = place
    site = target.site
    site.root("POST", "/peers", token=str(token), url=place.url, permissions=["read-operations=repo:one"])
    wait_peer(site, name, "connected")
    limit = time.monotonic() + PATIENCE
    while hub.peers().get(site.name, {}).get("state") != "connected":
        expect(time.monotonic() < limit, "the hub has no session with the member")
        time.sleep(0.1)
    before = hub.operations(site.name)
    site.root("PUT", f"/peers/peer/{name}/permissions", permissions=["read-operations=repo:two"])
    place.result(1)
    same(record["hub"][0], "permission_denied", "the hub's end of it")
    same([text for text in record["member"] if text in APPLICATION], [], "what the member says to the relay")
    limit = time.monotonic() + PATIENCE
    while (state := site.peer(name)["state"]) in ("pending", "connected"):
        expect(time.monotonic() < limit, f"the member's state is {state}")
        time.sleep(0.1)
    same(hub.operations(site.name), before, "operations at the hub")
    return f"the member: {site.peer(name)['state']}: {site.peer(name)['message'][:80]}"


def wait_peer(site, name, state):
    limit = time.monotonic() + PATIENCE
    while (found := site.peer(name)["state"]) != state:
        expect(time.monotonic() < limit, f"{name}: the state is {found}, not {state}")
        time.sleep(0.1)


def taught(site):
    """Two datastores with a task each, so that there is something to tell."""
    for name in ("one", "two"):
        site.datastore(name)
        site.root("POST", f"/admin/datastore/{name}/gc")


def still_reports(target):
    """after all of it the member reports to a hub that is good"""
    def script(hub):
        hub.open()
        hub.accept()
        return list(hub.expect("operation_manifest").op_ids)

    target.add("last", script)
    target.places["last"].result()
