"""Compares answers with expectations; gives a list of complaints."""

import json
import re

from support import values


def pattern(expression, text):
    return re.fullmatch(expression, text, re.S) is not None


TYPES = {
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "str": lambda v: isinstance(v, str),
    "bool": lambda v: isinstance(v, bool),
    "list": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
}


def matches(wanted, got):
    return not mismatch(wanted, got)


def mismatch(wanted, got, where="$"):
    """Empty when `got` is like `wanted`, else the first difference as text."""
    if isinstance(wanted, dict) and any(key.startswith("$") for key in wanted):
        for key, argument in wanted.items():
            problem = test(key, argument, got, where)
            if problem:
                return problem
        return ""
    if isinstance(wanted, dict):
        if not isinstance(got, dict):
            return f"{where}: object expected, got {got!r}"
        for key, value in wanted.items():
            if isinstance(value, dict) and value.get("$absent"):
                if key in got:
                    return f"{where}.{key}: must be absent"
                continue
            if key not in got:
                return f"{where}.{key}: missing in {str(got)[:200]}"
            problem = mismatch(value, got[key], f"{where}.{key}")
            if problem:
                return problem
        return ""
    if isinstance(wanted, list):
        if not isinstance(got, list) or len(got) != len(wanted):
            return f"{where}: list of {len(wanted)} expected, got {str(got)[:200]}"
        for index, (a, b) in enumerate(zip(wanted, got)):
            problem = mismatch(a, b, f"{where}[{index}]")
            if problem:
                return problem
        return ""
    if type(wanted) is not type(got) or wanted != got:
        return f"{where}: {wanted!r} expected, got {str(got)[:200]!r}"
    return ""


def test(key, argument, got, where):
    if key == "$re":
        fine = isinstance(got, str) and pattern(argument, got)
    elif key == "$type":
        fine = TYPES[argument](got)
    elif key == "$min":
        fine = TYPES["number"](got) and got >= argument
    elif key == "$max":
        fine = TYPES["number"](got) and got <= argument
    elif key == "$len":
        fine = hasattr(got, "__len__") and len(got) == argument
    elif key == "$any":
        fine = True
    elif key == "$has":
        wanted = argument if isinstance(argument, list) else [argument]
        fine = isinstance(got, list) and all(any(matches(a, item) for item in got) for a in wanted)
    elif key == "$hasnot":
        unwanted = argument if isinstance(argument, list) else [argument]
        fine = isinstance(got, list) and not any(matches(a, item) for a in unwanted for item in got)
    elif key == "$all":
        fine = isinstance(got, list) and all(matches(argument, item) for item in got)
    elif key == "$set":
        fine = isinstance(got, list) and len(got) == len(argument) and all(
            any(matches(a, item) for item in got) for a in argument)
    elif key == "$keys":
        fine = isinstance(got, dict) and sorted(got) == sorted(argument)
    elif key == "$exact":
        fine = got == argument
    else:
        raise ValueError(f"unknown test {key}")
    return "" if fine else f"{where}: {key} {str(argument)[:200]} does not hold for {str(got)[:200]!r}"


def complaints(expect, response, session=None):
    """What is wrong with `response`, one sentence each."""
    found = []
    shown = response.body[:200]
    if "status" in expect and response.status != expect["status"]:
        found.append(f"status {expect['status']} expected, got {response.status}: {shown!r}")
        return found
    if "ctype" in expect and response.header("content-type") != expect["ctype"]:
        found.append(f"content-type {expect['ctype']} expected, got {response.header('content-type')}")
    if "text" in expect and not pattern(expect["text"], response.body.decode("utf-8", "replace")):
        found.append(f"text {expect['text']!r} expected, got {shown!r}")
    if "bytes" in expect and response.body != values.build(expect["bytes"]):
        found.append(f"other bytes: {shown!r}")
    if "size" in expect and len(response.body) != expect["size"]:
        found.append(f"size {expect['size']} expected, got {len(response.body)}")
    if "magic" in expect and response.body[:8].hex() != expect["magic"]:
        found.append(f"magic {expect['magic']} expected, got {response.body[:8].hex()}")
    if "json" in expect:
        try:
            problem = mismatch(expect["json"], json.loads(response.body))
        except ValueError:
            problem = f"not JSON: {shown!r}"
        if problem:
            found.append(problem)
    if "blob_json" in expect:
        try:
            problem = mismatch(expect["blob_json"], json.loads(decode_blob(response.body)))
        except ValueError as error:
            problem = f"not a JSON blob: {error}"
        if problem:
            found.append("blob " + problem)
    for name, wanted in expect.get("headers", {}).items():
        value = response.header(name)
        if (wanted is None) != (value is None) or (wanted is not None and not pattern(wanted, value)):
            found.append(f"header {name}: {wanted!r} expected, got {value!r}")
    if "settings" in expect:
        settings = session.wait_settings() if session else {}
        for number, value in expect["settings"].items():
            if settings.get(int(number)) != value:
                found.append(f"SETTINGS {number}: {value} expected, got {settings.get(int(number))}")
    if "min_s" in expect and response.seconds < expect["min_s"]:
        found.append(f"answered after {response.seconds:.2f} s, not before {expect['min_s']} expected")
    if "max_s" in expect and response.seconds > expect["max_s"]:
        found.append(f"answered after {response.seconds:.2f} s, at most {expect['max_s']} expected")
    return found


def decode_blob(data):
    """The content of a plain or zstd blob."""
    if data[:8] == values.MAGIC["plain"]:
        return data[12:]
    if data[:8] == values.MAGIC["zstd"]:
        return unzstd(data[12:])
    raise ValueError("not a readable blob")


def unzstd(frame):
    """zstd by the system library, so that no package is needed for it."""
    import ctypes
    import ctypes.util

    library = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    out = ctypes.create_string_buffer(16 << 20)
    count = library.ZSTD_decompress(out, len(out), frame, len(frame))
    if library.ZSTD_isError(count):
        raise ValueError("bad zstd frame")
    return out.raw[:count]
