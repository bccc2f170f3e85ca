"""Counts what went well and what did not."""

import sys
import traceback


class Skipped(Exception):
    """What a check raises that cannot be made here; the text begins with "needs"."""


class Checks:
    def __init__(self, name):
        self.name = name
        self.passed = self.failed = self.skipped = 0

    def run_all(self, checks, *arguments, between=lambda: True):
        """Runs the functions `checks`, or those of them that the command line names; ends where `between` is false."""
        wanted = sys.argv[1:]
        for check in checks:
            if not wanted or check.__name__ in wanted:
                self.run(check.__name__, check, *arguments)
                if not between():
                    break

    def run(self, name, check, *arguments):
        """Calls `check`; whatever it raises is a failure with that text. Gives what it returns, or None."""
        try:
            result = check(*arguments)
            self.passed += 1
            return result
        except Skipped as reason:
            self.skipped += 1
            print(f"skipped: {name}: {reason}", flush=True)
            return None
        except Exception as problem:  # noqa: BLE001: whatever it is, it is reported
            self.failed += 1
            place = traceback.extract_tb(problem.__traceback__)[-1]
            print(f"FAILED  {name}: {type(problem).__name__}: {str(problem)[:600]} "
                  f"({place.filename.rsplit('/', 1)[-1]}:{place.lineno})", flush=True)
            return None

    def finish(self):
        print(f"{self.name}: {self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed else 0


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def same(ours, expected, what):
    if ours != expected:
        raise AssertionError(f"{what}: {str(ours)[:300]} in place of {str(expected)[:300]}")


def shape(value, form, where="data"):
    """Whether a value has a form: a type, a tuple of types, a list with the form of each item, or a dictionary of
    members, those with `?` at the end optional, no others unless there is a member `...`."""
    if isinstance(form, list):
        expect(isinstance(value, list), f"{where} is {value!r}, not a list")
        for index, item in enumerate(value):
            shape(item, form[0], f"{where}[{index}]")
    elif isinstance(form, dict):
        expect(isinstance(value, dict), f"{where} is {value!r}, not an object")
        names = {name.rstrip("?") for name in form}
        for name in value:
            expect(name in names or "..." in form, f"{where} has an unexpected member {name}")
        for name, member in form.items():
            if name == "...":
                continue
            if name.endswith("?") and name[:-1] not in value:
                continue
            expect(name.rstrip("?") in value, f"{where} has no member {name}")
            shape(value[name.rstrip("?")], member, f"{where}.{name.rstrip('?')}")
    elif isinstance(form, (type, tuple)):
        kinds = form if isinstance(form, tuple) else (form,)
        good = isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)
        expect(good, f"{where} is {value!r}, not {form}")
    else:
        same(value, form, where)
