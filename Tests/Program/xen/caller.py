"""The caller of a backup proxy, as Xen Orchestra's server is one: by the transport's rules, and nothing else.

(Specification of the proxy, §1: three kinds of response, each piece between line ends a JSON value, log items as a tree.)
"""

import http.client
import json
import re
import ssl

from support.checks import expect, same


class RPCError(Exception):
    def __init__(self, error):
        super().__init__(json.dumps(error))
        self.code = error.get("code")
        self.text = error.get("message")
        self.data = error.get("data")


class Node:
    """A task as the log tells it."""

    def __init__(self, event):
        self.id = event["id"]
        self.parent = event.get("parentId")
        self.properties = event["properties"]
        self.name = self.properties["name"]
        self.start = event["timestamp"]
        self.children, self.infos, self.warnings = [], [], []
        self.status = self.result = None

    def all(self, name=None, **properties):
        """This task and all below, of that name and with those properties."""
        found = []
        if (name is None or self.name == name) and all(self.properties.get(k) == v for k, v in properties.items()):
            found.append(self)
        for child in self.children:
            found.extend(child.all(name, **properties))
        return found

    def one(self, name=None, **properties):
        found = self.all(name, **properties)
        same(len(found), 1, f"tasks {name} {properties} in\n{self.text()}")
        return found[0]

    def text(self, depth=0):
        rest = {k: v for k, v in self.properties.items() if k != "name"}
        lines = [f"{'  ' * depth}{self.name} {json.dumps(rest)[:200]}: {self.status} {json.dumps(self.result)[:300]}"]
        lines += [f"{'  ' * depth}  ! {json.dumps(warning)[:300]}" for warning in self.warnings]
        lines += [child.text(depth + 1) for child in self.children]
        return "\n".join(lines)

    def must(self):
        """Fails unless this task and all below succeeded."""
        wrong = [node for node in self.all() if node.status != "success"]
        expect(not wrong, f"not all went well:\n{self.text()}")
        return self


class Fold:
    """Reads events one after the other and holds them to the rules."""

    def __init__(self):
        self.root = None
        self.nodes = {}
        self.ended = set()
        self.last_id = ""

    def take(self, event):
        expect(self.root is None or self.root.status is None, f"an event after the root's end: {event}")
        kind, identity = event["type"], event["id"]
        expect(isinstance(event["timestamp"], int), f"time of {event}")
        if kind == "start":
            node = Node(event)
            expect(identity not in self.nodes, f"{identity} started twice")
            expect(identity[:9] >= self.last_id[:9], f"ids do not grow: {identity} after {self.last_id}")
            self.last_id = identity
            if self.root is None:
                expect(node.parent is None, "the first event is a root's start")
                self.root = node
            else:
                expect(node.parent in self.nodes, f"unknown parent in {event}")
                expect(node.parent not in self.ended, f"a child of an ended task: {event}")
                self.nodes[node.parent].children.append(node)
            self.nodes[identity] = node
            same((event.get("event"), event.get("taskId"), event.get("message")), ("start", identity, node.name),
                 "both generations")
            return
        expect(identity in self.nodes, f"unknown task in {event}")
        expect(identity not in self.ended, f"an event of an ended task: {event}")
        node = self.nodes[identity]
        if kind == "end":
            expect(all(child.status for child in node.children), f"{node.name} ends before its children")
            expect(event["status"] in ("success", "failure"), f"status of {event}")
            node.status, node.result = event["status"], event.get("result")
            self.ended.add(identity)
            if node.name == "transfer":
                expect(isinstance(node.result, dict), f"a transfer's result is an object: {event}")
        elif kind == "info":
            node.infos.append(event)
        elif kind == "warning":
            node.warnings.append(event)
        elif kind == "property":
            expect("event" not in event, "a property event has no form of the first generation")
            node.properties = {**node.properties, event["name"]: event["value"]}
        else:
            same(kind, "abortionRequested", "kind of event")

    def finish(self):
        expect(self.root is not None and self.root.status is not None, "the stream ended without the root's end")
        return self.root


class Stream:
    """A log under way; iterate over its events, or `finish()` it."""

    def __init__(self, connection, pieces):
        self.connection = connection
        self.pieces = pieces
        self.fold = Fold()

    def __iter__(self):
        for piece in self.pieces:
            event = json.loads(piece)
            self.fold.take(event)
            yield event
        self.connection.close()

    def until(self, test):
        """Reads on until an event passes the test; gives it."""
        for piece in self.pieces:
            event = json.loads(piece)
            self.fold.take(event)
            if test(event):
                return event
        raise AssertionError(f"the stream ended:\n{self.fold.finish().text()}")

    def finish(self):
        for _ in self:
            pass
        return self.fold.finish()

    def leave(self):
        self.connection.close()


def started(name):
    return lambda event: event["type"] == "start" and event["properties"]["name"] == name


class Caller:
    def __init__(self, address, token):
        self.address = address
        self.token = token
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.number = 0

    def pieces(self, answer):
        """What lies between line ends."""
        buffer = b""
        while True:
            try:
                data = answer.read1(1 << 16)
            except http.client.IncompleteRead as problem:
                raise ConnectionError("the answer was cut") from problem
            if not data:
                break
            buffer += data
            *lines, buffer = re.split(b"\r?\n", buffer)
            for line in lines:
                expect(line.strip() != b"", "an empty line")
                yield line
        if buffer:
            expect(buffer.strip() != b"", "blanks after the last item")
            yield buffer

    def send(self, method, params, timeout=600):
        connection = http.client.HTTPSConnection(*self.address, context=self.context, timeout=timeout)
        self.number += 1
        call = {"id": self.number, "jsonrpc": "2.0", "method": method, "params": params}
        connection.request("POST", "/api/v1", json.dumps(call), {
            "Content-Type": "application/json", "Cookie": f"authenticationToken={self.token}"})
        answer = connection.getresponse()
        same(answer.status, 200, f"status of {method}")
        same(answer.getheader("Content-Type").split(";")[0].strip(), "application/json", "content type")
        pieces = self.pieces(answer)
        first = json.loads(next(pieces))
        same((first.get("jsonrpc"), first.get("id")), ("2.0", self.number), "framing")
        if "error" in first:
            connection.close()
            raise RPCError(first["error"])
        return connection, first["result"], pieces

    def scalar(self, method, **params):
        connection, result, pieces = self.send(method, params)
        expect(not (isinstance(result, dict) and "$responseType" in result), "expect the result to be a scalar")
        expect(result is not None, "a null result")
        same(list(pieces), [], "nothing comes after a scalar")
        connection.close()
        return result

    def items(self, method, **params):
        connection, result, pieces = self.send(method, params)
        same(result, {"$responseType": "ndjson"}, "expect the result to be an iterator")
        values = [json.loads(piece) for piece in pieces]
        connection.close()
        return values

    def stream(self, method, **params):
        connection, result, pieces = self.send(method, params)
        same(result, {"$responseType": "ndjson"}, "expect the result to be a stream")
        return Stream(connection, pieces)
