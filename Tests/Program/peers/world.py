"""A server of the program as these tests see it, and the hubs of our own that it may be told to join."""

import os
import re
import secrets
import shutil
import subprocess
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from support.checks import Skipped
from support.server import Server, wait_for

from .connect import PATIENCE, Cut, Ended, Listener, Malformed, connect
from .channel import Refused
from .identity import Identity, Token
from .messages import Item, Operation
from .session import Hub, Member

SOAK = os.environ.get("CAIRN_SOAK") == "1"
GUID = "5f" * 32


class Site(Server):
    """`cairn serve` with a plain listener for peers beside that with TLS."""

    def __init__(self, name, environment=None):
        self.secrets = []
        super().__init__(["--peer-listen", "127.0.0.1:0", "--instance", name], environment=environment)
        me = self.root("GET", "/peers/self")
        self.name, self.key_id = me["instance"], me["key-id"]
        self.source = Sources()

    def restart(self):
        self.stop()
        self.log.clear()
        self.start()

    @property
    def plain(self):
        """Where the listener without TLS is."""
        pattern = re.compile(r"peers listening on http://\S+:(\d+)")

        def found():
            return next((match for match in map(pattern.search, list(self.log)) if match), None)

        if not wait_for(found, 60):
            raise RuntimeError("no listener for peers:\n" + "\n".join(self.log[-30:]))
        return "127.0.0.1", int(found().group(1))

    def root(self, method, path, **body):
        with open(os.path.join(self.state, "local-admin.token")) as file:
            secret = file.read().strip()
        if method == "GET" and body:
            path, body = path + "?" + urllib.parse.urlencode(body), None
        return self.api(method, path, authorization="CairnLocal " + secret, json_body=body or None)

    def token(self, **options):
        """(token, its id)"""
        made = self.root("POST", "/peers/tokens", **options)
        token = Token.parse(made["token"])
        self.secrets.append(token.secret)
        return token, made["id"]

    def uses(self, token_id):
        """How often a token was used; None where it is gone."""
        return next((token["uses"] for token in self.root("GET", "/peers/tokens") if token["id"] == token_id), None)

    def peers(self):
        return {peer["instance"]: peer for peer in self.root("GET", "/peers")}

    def peer(self, name):
        return self.root("GET", "/peers/peer/" + urllib.parse.quote(name, safe=""))

    def operations(self, name, **filters):
        """Operations of a member by the id that it gave them."""
        found = self.root("GET", "/peers/operations", peer=name, limit=10000, **filters)
        return {operation["original-id"]: operation for operation in found}

    def stream(self, secure=False, **headers):
        """A Sync stream, from an address of its own: limits and delays count by it."""
        where = (self.address, self.fingerprint) if secure else (self.plain, None)
        connection = connect(*where, source=self.source.next())
        return connection.open(headers=list(headers.items()))

    def member(self, who, stream=None, **options):
        """A session that is not opened yet."""
        return Member(stream or self.stream(), who.identity, who.name, (self.key_id, self.name), **options)

    def session(self, who, secret="", **options):
        return self.member(who, **options).open(secret)


def another_clock(folder, seconds):
    """The environment of a program whose clock is off."""
    compiler = shutil.which("cc") or shutil.which("clang")
    if not compiler:
        raise Skipped("needs a C compiler")
    library = os.path.join(folder, "clock.so")
    source = os.path.join(os.path.dirname(__file__), "clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": library, "CLOCK_SHIFT": str(seconds)}


class Sources:
    """Loopback addresses, each used once."""

    def __init__(self):
        self.count = 0
        self.lock = threading.Lock()

    def next(self):
        with self.lock:
            self.count += 1
            return f"127.{10 + self.count // 60000}.{self.count // 250 % 240 + 1}.{self.count % 250 + 1}"


class Who:
    """A member: a key and a name."""

    def __init__(self, name, identity=None):
        self.name, self.identity = name, identity or Identity()


def stored(site, who, numbers, patience=PATIENCE):
    """Waits until these operations of a member are kept, and no others; gives them."""
    limit, wait = time.monotonic() + patience, 0.02
    while sorted(found := site.operations(who.name)) != sorted(numbers):
        if time.monotonic() > limit:
            raise AssertionError(f"operations {sorted(found)} of {who.name} in place of {sorted(numbers)}")
        time.sleep(wait)
        wait = min(0.5, wait * 2)
    return found


def together(calls, width=24):
    """Runs calls at the same time; the first failure is raised once all are done."""
    with ThreadPoolExecutor(width) as pool:
        futures = [(name, pool.submit(call)) for name, call in calls]
        problems = []
        for name, future in futures:
            try:
                future.result()
            except Exception as problem:  # noqa: BLE001: whatever it is, it is reported
                problems.append(f"{name}: {type(problem).__name__}: {problem}")
    if problems:
        raise AssertionError("; ".join(problems))


# MARK: items

def item(action, **fields):
    """An item with an action; fields of messages are set from dictionaries by protobuf itself."""
    made = Item()
    getattr(made, action).SetInParent()
    if fields:
        getattr(made, action).MergeFrom(type(getattr(made, action))(**fields))
    return made


def operation(number, counter=1, **fields):
    """A backup that went well, with whatever is to be otherwise."""
    values = dict(
        id=number, modno=counter, flow_id=number, repo_id="repo", repo_guid=GUID, plan_id="plan", instance_id="machine",
        unix_time_start_ms=1_790_000_000_000 + number, unix_time_end_ms=1_790_000_001_000 + number, status=3,
        operation_backup={})
    values.update(fields)
    return Operation(**{name: value for name, value in values.items() if value is not None})


def created(*operations):
    return item("receive_operations", event={"created_operations": {"operations": operations}})


def updated(*operations):
    return item("receive_operations", event={"updated_operations": {"operations": operations}})


def deleted(*numbers):
    return item("receive_operations", event={"deleted_operations": {"values": numbers}})


def manifest(pairs):
    pairs = list(pairs)
    return item("operation_manifest", op_ids=[number for number, _ in pairs], modnos=[counter for _, counter in pairs])


def resources(repos=("repo",), plans=("plan",)):
    return item(
        "receive_resources", repos=[{"id": name, "guid": GUID} for name in repos],
        plans=[{"id": name} for name in plans])


# MARK: hubs of our own

class Impostor:
    """Many hubs at one address: each has a path, a key and a name of its own."""

    def __init__(self, certificate=None, fingerprint=None, window=1 << 20):
        self.fingerprint = fingerprint
        self.places = {}
        self.listener = Listener(self.serve, certificate, window)
        self.scheme = "https" if certificate else "http"

    def place(self, name, *scripts):
        """A hub whose n-th session `scripts[n]` leads, the last one all that follow."""
        self.places[name] = place = Place(self, name, scripts)
        return place

    def serve(self, stream):
        name = stream.headers[":path"].split("/")[1]
        if name in self.places:
            self.places[name].serve(stream)
        else:
            stream.respond(404, end=True)

    def close(self):
        self.listener.close()


class Place:
    def __init__(self, impostor, name, scripts):
        self.impostor, self.name, self.scripts = impostor, name, scripts
        self.identity = Identity()
        self.secret = secrets.token_hex(32)
        self.sessions = []
        self.results = []
        self.changed = threading.Condition()

    @property
    def url(self):
        return f"{self.impostor.scheme}://127.0.0.1:{self.impostor.listener.port}/{self.name}"

    @property
    def token(self):
        return Token(self.identity.key_id, self.secret, self.name)

    def join(self, site, *permissions):
        """Tells the program to report here."""
        body = {"token": str(self.token), "url": self.url, "permissions": list(permissions)}
        if self.impostor.fingerprint:
            body["fingerprint"] = self.impostor.fingerprint
        return site.root("POST", "/peers", **body)

    def serve(self, stream):
        hub = Hub(stream, self.identity, self.name)
        hub.spoken = bytearray()
        with self.changed:
            number = len(self.sessions)
            self.sessions.append(hub)
            self.results.append(None)
            self.changed.notify_all()
        try:
            result = (self.scripts[min(number, len(self.scripts) - 1)](hub), None)
        except Exception as problem:  # noqa: BLE001: it is given to who asks
            result = (None, problem)
        with self.changed:
            self.results[number] = result
            self.changed.notify_all()

    def result(self, number=0, patience=PATIENCE):
        """What the script of a session gave; raises what it raised."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.results) > number and self.results[number], patience):
                raise TimeoutError(f"{self.name}: session {number} is not over")
            value, problem = self.results[number]
        if problem:
            raise problem
        return value

    def begun(self, number=0, patience=PATIENCE):
        """The n-th session, once there is one."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.sessions) > number, patience):
                raise TimeoutError(f"{self.name}: there is no session {number}")
            return self.sessions[number]


def left_alone(hub, patience=PATIENCE):
    """Takes what a member still says until it leaves; gives the actions."""
    said = []
    limit = time.monotonic() + patience
    while True:
        try:
            said.append(hub.receive(max(0.01, limit - time.monotonic())).WhichOneof("action"))
        except TimeoutError:
            raise AssertionError(f"the member is still there, and said {said}") from None
        except (Cut, Ended, Malformed):
            return said
        except Refused as refused:
            said.append(f"refused: {refused}")
