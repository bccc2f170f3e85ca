#!/usr/bin/env python3
"""Writes the manual pages from the program's own help: scripts/manual-pages.py CAIRN FOLDER

`cairn.1` is the overview; each command has `cairn-COMMAND.1` with its verbs.
"""
import pathlib
import re
import subprocess
import sys

import command_help as help


def escaped(text):
    """Text that groff prints as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "\\&...").replace("’", "'")
    text = re.sub(r",(?=\S)", r",\\:", text)
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.split("\n"))


def prose(text):
    """Text with `code` in bold; the lines that people wrote become one paragraph."""
    parts = re.split(r"`([^`]*)`", " ".join(text.split()))
    return "".join(f"\\fB{escaped(p)}\\fR" if i % 2 else escaped(p) for i, p in enumerate(parts)).removeprefix("\\&")


def spelled(argument):
    text = escaped(help.spelled(argument))
    return re.sub(r"<([^<>]*)>", r"\\fI\1\\fR", re.sub(r"(?<![\w<])(\\-(?:\\-)?\w[\w\\-]*)", r"\\fB\1\\fR", text))


def details(name, command, heading):
    usage = re.sub(r"<([^<>]*)>", r"\\fI\1\\fR", escaped(help.usage(name, command).removeprefix(name)))
    lines = [f".{heading} {escaped(name)}", prose(command.get("abstract", "")), ".PP", f"\\fB{escaped(name)}\\fR{usage}"]
    if command.get("discussion"):
        lines += [".PP", prose(command["discussion"])]
    for argument in help.arguments(command):
        lines += [".TP", spelled(argument), prose(help.meaning(argument)) or "\\&"]
    return lines


def page(name, summary, version, body):
    title = f'.TH "{escaped(name.replace(" ", "-").upper())}" 1 "" "cairn {version}" "Cairn"'
    see = ", ".join(f"\\fB{escaped(other)}\\fR(1)" for other in SEE if other != name.replace(" ", "-"))
    lines = [title, ".nh", ".ad l", ".SH NAME", f"{escaped(name.replace(' ', '-'))} \\- {prose(summary).rstrip('.')}", *body]
    lines += [".SH EXIT STATUS", prose(help.STATUS_NOTE)]
    return "\n".join(lines + ([".SH SEE ALSO", see] if see else [])) + "\n"


SEE = ["cairn"]


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    root = help.load(program)
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    overview = [".SH SYNOPSIS", "\\fBcairn\\fR \\fIcommand\\fR [\\fIoptions\\fR]", ".SH DESCRIPTION",
                prose(root.get("abstract", "")), ".SH COMMANDS"]
    for command in help.children(root):
        name = f"cairn {command['commandName']}"
        overview += [".TP", f"\\fB{escaped(name.replace(' ', '-'))}\\fR(1)", prose(command.get("abstract", ""))]
        verbs = list(help.leaves(command, ("cairn",)))
        body = [".SH COMMANDS" if len(verbs) > 1 else ".SH SYNOPSIS"]
        for verb, description in verbs:
            body += details(verb, description, "SS")
        text = page(name, command.get("abstract", ""), version, body)
        (folder / f"{name.replace(' ', '-')}.1").write_text(text)
    overview += [".SH ENVIRONMENT", prose(help.ENVIRONMENT_NOTE)]
    for name, meaning in help.ENVIRONMENT:
        overview += [".TP", f"\\fB{escaped(name)}\\fR", prose(meaning)]
    overview.append(".SH FILES")
    for name, meaning in help.FILES:
        overview += [".TP", f"\\fI{escaped(name)}\\fR", prose(meaning)]
    (folder / "cairn.1").write_text(page("cairn", root.get("abstract", ""), version, overview))


main()
