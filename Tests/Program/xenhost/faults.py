"""Faults on demand. Each rule strikes `count` times (None: always), after it was passed over `skip` times."""

import fnmatch
import itertools
import threading

# kind: what it does, with its options
KINDS = {
    "call": "a call fails at once: method, code",
    "task": "an asynchronous call is taken and its task fails: method, code",
    "delay": "an asynchronous call takes that long: method, seconds",
    "hold": "an asynchronous call does not go on before it is released or cancelled: method",
    "drop": "the connection of a call is reset: method, when (before, after)",
    "expire": "the session of a call is no longer valid: method",
    "events_lost": "event.from answers EVENTS_LOST",
    "status": "a handler answers with that status: path, status",
    "in_body": "an export answers 200 and has an HTTP error in its body: path",
    "cut": "a transfer ends after that many bytes: path, after, how (close, clean, reset)",
    "stall": "a transfer waits after that many bytes until released or closed: path, after",
    "slow": "a transfer takes that many bytes per second: path, rate",
    "task_after": "a transfer is whole, and its task fails: path, code",
    "redirect": "a handler answers 302: path, to (slave, master, loop)",
}


class Rule:
    def __init__(self, identity, kind, method, path, count, skip, options):
        self.identity = identity
        self.kind = kind
        self.method = method
        self.path = path
        self.count = count
        self.skip = skip
        self.options = options
        self.reached = threading.Event()
        self.released = threading.Event()
        self.struck = 0

    def __getattr__(self, name):
        try:
            return self.__dict__["options"][name]
        except KeyError:
            raise AttributeError(name) from None

    def release(self):
        self.released.set()


class Faults:
    def __init__(self):
        self.lock = threading.Lock()
        self.rules = {}
        self.numbers = itertools.count(1)

    def add(self, kind, method="*", path="*", count=1, skip=0, **options):
        assert kind in KINDS, f"no fault called {kind}"
        with self.lock:
            rule = Rule(next(self.numbers), kind, method, path, count, skip, options)
            self.rules[rule.identity] = rule
            return rule

    def strike(self, kind, method=None, path=None, reached=True):
        """The rule that strikes now, or None. It counts as reached, unless that comes later."""
        with self.lock:
            for rule in self.rules.values():
                if rule.kind != kind or rule.count == 0:
                    continue
                if method is not None and not fnmatch.fnmatchcase(method, rule.method):
                    continue
                if path is not None and not fnmatch.fnmatchcase(path, rule.path):
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                if rule.count is not None:
                    rule.count -= 1
                rule.struck += 1
                if reached:
                    rule.reached.set()
                return rule
        return None

    def clear(self):
        """Forgets all rules, and lets go what they hold."""
        with self.lock:
            for rule in self.rules.values():
                rule.count = 0
                rule.released.set()
            self.rules = {}
