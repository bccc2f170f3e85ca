"""What lies around the stream: statuses of requests that are none, the state service, pairing by the control plane."""

import base64
import json
import socket
import time

from support import http1
from support.checks import expect, same

from . import messages
from .connect import PATIENCE, SYNC, Cut, Cutter, Messages, connect, envelope
from .identity import Token
from .world import Who, item, manifest, resources, together

STATES = "/v1sync.BackrestSyncStateService/GetPeerSyncStatesStream"
SET_CONFIG = "/v1sync.BackrestSyncStateService/SetRemoteClientConfig"
USER, PASSWORD = "fleet@pbs", "fleet-pass-1"


def answer(site, secure=False, path=SYNC, method="POST", body=b"", **headers):
    """(status, headers, body) of a request over HTTP/2."""
    where = (site.address, site.fingerprint) if secure else (site.plain, None)
    connection = connect(*where, source=site.source.next())
    stream = connection.open(path, [(name.replace("_", "-"), value) for name, value in headers.items()], method)
    try:
        stream.send(body, end=True)
    except Cut:
        pass
    stream.wait(lambda: stream.ended)
    expect(stream.headers is not None, f"{method} {path}: no answer: {stream.why if stream.is_gone else 'silence'}")
    result = int(stream.headers[":status"]), stream.headers, stream.take()
    connection.close()
    return result


def last_word(body):
    """The code in the end of a stream."""
    found = Cutter().feed(body)
    same(len(found), 1, "messages in the answer")
    same(found[0][0], 2, "flags")
    return (json.loads(found[0][1]).get("error") or {}).get("code")


def statuses(site):
    """statuses of requests that are none: 405, 415, 404, and refusals in the stream"""
    for secure in (False, True):
        status, headers, _ = answer(site, secure, method="GET")
        same((status, headers.get("allow")), (405, "POST"), "GET")
        for kind in ("application/grpc", "application/json", "text/plain", "application/connect+json"):
            status, headers, _ = answer(site, secure, content_type=kind)
            same(status, 415, kind)
            expect("application/connect+proto" in headers.get("accept-post", ""), f"Accept-Post {headers}")
        status, headers, _ = answer(site, secure, path="/v1sync.BackrestSyncService/Other")
        same(status, 404, "another method")
        expect(headers.get("content-type", "").startswith("text/plain"), f"a 404 of {headers.get('content-type')}")
        status, _, body = answer(site, secure, connect_protocol_version="2")
        same((status, last_word(body)), (200, "invalid_argument"), "protocol version 2")
        status, _, body = answer(site, secure, connect_content_encoding="br")
        same((status, last_word(body)), (200, "unimplemented"), "encoding br")
        for value in ("abc", "-1", "12345678901", ""):
            status, _, body = answer(site, secure, connect_timeout_ms=value)
            same((status, last_word(body)), (200, "invalid_argument"), f"timeout '{value}'")


def no_version(site):
    """a request without a protocol version is taken; a timeout ends it"""
    who = Who("stranger-version")
    session = site.member(who, site.stream(**{"connect-protocol-version": None}))
    session.exchange()
    session.take_handshake()
    session.close()
    session = site.member(who, site.stream(**{"connect-timeout-ms": "300"}))
    code, _ = session.end()
    same(code, "deadline_exceeded", "the end after its timeout")


def old_http(site):
    """HTTP/1.1: 505 on Sync, and the connection is closed, on both listeners, also without a body"""
    request = (f"POST {SYNC} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/connect+proto\r\n"
               "Transfer-Encoding: chunked\r\n\r\n").encode()
    for sock in (socket.create_connection(site.plain, 90), http1.tls(site.address)):
        sock.sendall(request)
        data = b""
        while piece := sock.recv(65536):
            data += piece
        head = data.split(b"\r\n\r\n")[0].decode().lower()
        expect(head.startswith("http/1.1 505"), f"the answer is {head[:60]!r}")
        expect("\r\nconnection: close" in head, "no Connection: close")
        sock.close()


def plain_serves_only_sync(site):
    """the listener without TLS has nothing but Sync"""
    for path in ("/", "/api2/json/version", "/api2/json/peers", "/v1.Backrest/GeneratePairingToken", STATES):
        status, _, _ = answer(site, path=path, content_type="application/json", body=b"{}")
        same(status, 404, path)


def basic(user=USER, password=PASSWORD):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def unary(site, path, message, **headers):
    """A unary call with the binary codec over HTTP/1.1."""
    fields = [("Host", "localhost"), ("Content-Type", "application/proto"), ("Connect-Protocol-Version", "1"),
              ("Connection", "close"), *[(name.replace("_", "-"), value) for name, value in headers.items()]]
    body = message.SerializeToString()
    return http1.request(site.address, "POST", path, [*fields, ("Content-Length", str(len(body)))], body)


def by_json(site, path, value, *headers):
    body = json.dumps(value).encode()
    return http1.request(site.address, "POST", path, [
        ("Host", "localhost"), ("Content-Type", "application/json"), ("Connection", "close"), *headers,
        ("Content-Length", str(len(body)))], body)


def logins(site):
    """no call beside the stream without a login, or with one that may not"""
    site.owner("user", "create", USER, "--password", PASSWORD)
    site.owner("acl", "update", "/", "Admin", "--auth-id", USER)
    site.owner("user", "create", "nobody@pbs", "--password", PASSWORD)
    request = messages.message("v1sync.SetRemoteClientConfigRequest")(peer_keyid="x")

    def stream(code, **headers):
        status, _, body = answer(site, True, STATES, body=envelope(b""), **headers)
        same((status, last_word(body)), (200, code), "the state service")

    def one(status, code, **headers):
        response = unary(site, SET_CONFIG, request, **headers)
        same((response.status, json.loads(response.body)["code"]), (status, code), "SetRemoteClientConfig")

    def token(status, *headers):
        same(by_json(site, "/v1.Backrest/GeneratePairingToken", {}, *headers).status, status, "GeneratePairingToken")

    def login():
        response = by_json(site, "/v1.Authentication/Login", {"username": USER, "password": "wrong"})
        same(response.status, 401, "Login with a wrong password")

    wrong, nobody = basic(password="wrong"), basic("nobody@pbs")
    together([
        ("none", lambda: stream("unauthenticated")),
        ("wrong", lambda: stream("unauthenticated", authorization=wrong)),
        ("nobody", lambda: stream("permission_denied", authorization=nobody)),
        ("none, unary", lambda: one(401, "unauthenticated")),
        ("wrong, unary", lambda: one(401, "unauthenticated", authorization=wrong)),
        ("nobody, unary", lambda: one(403, "permission_denied", authorization=nobody)),
        ("token", lambda: token(401)), ("token, wrong", lambda: token(401, ("Authorization", wrong))),
        ("token, nobody", lambda: token(403, ("Authorization", nobody))), ("login", login),
    ])


def states(site):
    """the state service: one state for each peer, then each change"""
    subscribe = messages.message("v1sync.SyncStateStreamRequest")
    state = messages.message("v1sync.PeerState")
    status, _, body = answer(site, True, STATES, body=envelope(b""), authorization=basic())
    same(status, 200, "with a login")
    found = Cutter().feed(body)
    same((found[-1][0], json.loads(found[-1][1])), (2, {}), "the end")
    names = {state.FromString(payload).peer_instance_id for _, payload in found[:-1]}
    same(names, set(site.peers()), "peers")

    token, _ = site.token()
    connection = connect(site.address, site.fingerprint, site.source.next())
    stream = connection.open(STATES, [("authorization", basic())])
    follow = Messages(stream)
    follow.send(subscribe(subscribe=True).SerializeToString())
    stream.send(b"", end=True)
    for _ in names:
        follow.receive()
    who = Who("watched")
    session = site.session(who, token.secret)
    wanted = []
    while not wanted or wanted[-1].state != 2:
        wanted = [*wanted, *(one for one in [state.FromString(follow.receive())] if one.peer_instance_id == who.name)]
    same(wanted[-1].peer_keyid, who.identity.key_id, "key id in the state")
    session.send(resources())
    session.close()
    while wanted[-1].state != 3:
        one = state.FromString(follow.receive())
        wanted += [one] if one.peer_instance_id == who.name else []
    connection.close()


def set_remote_config(site):
    """SetRemoteClientConfig: refused for nobody and for who is not there; else it reaches the member"""
    request = messages.message("v1sync.SetRemoteClientConfigRequest")

    def call(message, **headers):
        response = unary(site, SET_CONFIG, message, **headers)
        return response.status, json.loads(response.body).get("code") if response.status != 200 else None

    same(call(request(), authorization=basic()), (400, "invalid_argument"), "without a key id")
    same(call(request(peer_keyid="ed25519.nobody"), authorization=basic()), (404, "not_found"), "nobody")
    token, _ = site.token(permissions=["read-config"])
    who = Who("configured")
    session = site.session(who, token.secret)
    session.send(item("receive_config", config={"version": 6, "plans": [{"id": "plan", "repo": "repo"}]}),
                 resources(), manifest([]), item("heartbeat"))
    plan = {"id": "plan", "repo": "repo", "paths": ["/new"]}
    limit = time.monotonic() + PATIENCE
    while True:  # until the hub has seen its settings
        status, code = call(request(peer_keyid=who.identity.key_id, plans=[plan]), authorization=basic())
        if status == 200:
            break
        expect(time.monotonic() < limit, f"for a member that is connected: {status} {code}")
        time.sleep(0.1)
    same([list(pushed.paths) for pushed in session.expect("set_config").plans], [["/new"]], "what is pushed")
    session.close()


def control_plane(site):
    """GeneratePairingToken and Login as JSON; a token made so is good for pairing"""
    def call(path, value, *headers):
        return by_json(site, path, value, *headers)

    path = "/v1.Backrest/GeneratePairingToken"
    wanted = {"label": "by call", "ttlSeconds": "600", "maxUses": 1,
              "permissions": [{"type": "PERMISSION_READ_CONFIG", "scopes": ["*"]}]}
    response = call(path, wanted, ("Authorization", basic()))
    same(response.status, 200, "with a login")
    token = Token.parse(json.loads(response.body)["token"])
    site.session(Who("by-call"), token.secret).close()
    same(site.peer("by-call")["permissions"], ["read-config"], "what the token grants")
    login = call("/v1.Authentication/Login", {"username": USER, "password": PASSWORD})
    same(login.status, 200, "login")
    bearer = json.loads(login.body)["token"]
    same(call(path, wanted, ("Authorization", "Bearer " + bearer)).status, 200, "with what login gave")


ALL = (statuses, no_version, old_http, plain_serves_only_sync, logins, states, set_remote_config, control_plane)
