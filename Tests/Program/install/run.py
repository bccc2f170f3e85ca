"""What `make install` puts where, with the program that is built: completions, manual pages, service, container file.

    python -m install.run
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "..", "scripts"))

import command_help  # noqa: E402
from support.checks import Checks, Skipped, expect  # noqa: E402
from support.server import ROOT, program  # noqa: E402


def need(tool):
    if shutil.which(tool) is None:
        raise Skipped(f"needs {tool}")


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, **options)


class World:
    def __init__(self, folder):
        self.root = os.path.join(folder, "root")
        environment = dict(os.environ, BIN=program(), DESTDIR=self.root, PREFIX="/opt/cairn")
        made = run(os.path.join(ROOT, "scripts", "install.sh"), env=environment)
        expect(made.returncode == 0, f"install.sh: {made.stderr}")
        self.commands = command_help.load(program())

    def path(self, name):
        return os.path.join(self.root, "opt/cairn", name)

    def read(self, name):
        with open(self.path(name)) as file:
            return file.read()

    def pages(self):
        folder = self.path("share/man/man1")
        return sorted(os.path.join(folder, name) for name in os.listdir(folder))


def layout(world):
    """Every file is in its place, readable by all, and only the program can be run."""
    found = set()
    for folder, _, names in os.walk(world.root):
        for name in names:
            path = os.path.join(folder, name)
            found.add(os.path.relpath(path, world.path("")))
            mode = os.stat(path).st_mode & 0o777
            expect(mode == (0o755 if path.endswith("bin/cairn") else 0o644), f"{path} has mode {mode:o}")
    needed = {
        "bin/cairn", "share/bash-completion/completions/cairn", "share/zsh/site-functions/_cairn",
        "share/fish/vendor_completions.d/cairn.fish", "share/man/man1/cairn.1", "lib/systemd/system/cairn.service",
    }
    expect(needed <= found, f"missing: {needed - found}")
    expect(all(name in needed or name.startswith("share/man/man1/cairn-") for name in found), f"odd files: {found}")
    shown = run(world.path("bin/cairn"), "--version")
    expect(shown.returncode == 0 and shown.stdout.strip(), "the installed program does not run")


def manual(world):
    """Each command has a page, each verb a section, each option a paragraph; groff has nothing to say about them."""
    names = {os.path.basename(path) for path in world.pages()}
    wanted = {"cairn.1"} | {f"cairn-{c['commandName']}.1" for c in command_help.children(world.commands)}
    expect(names == wanted, f"odd pages: {names ^ wanted}")
    need("groff")
    for path in world.pages():
        result = run("groff", "-man", "-ww", "-Tutf8", "-P-cbou", path)
        expect(result.returncode == 0 and not result.stderr, f"{os.path.basename(path)}: {result.stderr}")
        # Typographic hyphens would break what people copy.
        text = " ".join(result.stdout.split())
        for name, command in command_help.leaves(world.commands):
            if os.path.basename(path) != f"cairn-{name.split()[1]}.1":
                continue
            expect(name in text, f"{name} has no section")
            for argument in command_help.arguments(command):
                for option in argument.get("names", []):
                    if option["kind"] == "long":
                        expect(f"--{option['name']}" in text, f"{name}: --{option['name']} is not in the manual")


def completions(world):
    """The shells take them, and bash offers commands, verbs and words."""
    path = world.path("share/bash-completion/completions/cairn")
    expect(run("bash", "-n", path).returncode == 0, "bash does not take its completions")

    def offered(*words):
        line = " ".join(words)
        script = (
            f"source {path}; COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; "
            f"COMP_LINE='{line}'; COMP_POINT={len(line)}; "
            f"_cairn cairn {words[-1]!r} {words[-2]!r} 2>/dev/null; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
        return [word.strip() for word in run("bash", "-c", script).stdout.split("\n")]

    expect("garbage-collection" in offered("cairn", "ga"), f"commands: {offered('cairn', 'ga')}")
    expect({"list", "run"} <= set(offered("cairn", "sync-job", "")), f"verbs: {offered('cairn', 'sync-job', '')}")
    expect("json-pretty" in offered("cairn", "user", "list", "--output-format", "js"), "no words of an option")
    for name, words in (("share/zsh/site-functions/_cairn", "#compdef cairn"),
                        ("share/fish/vendor_completions.d/cairn.fish", "complete -c 'cairn'")):
        text = world.read(name)
        expect(words in text and "garbage-collection" in text, f"{name} is no completion of cairn")


def service(world):
    """The unit starts the installed program, and systemd finds no fault and little exposure in it."""
    unit = world.read("lib/systemd/system/cairn.service")
    expect("ExecStart=/opt/cairn/bin/cairn serve" in unit and "@" not in re.sub(r"=@\S+", "", unit), "odd paths in it")
    need("systemd-analyze")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "cairn.service")
        with open(path, "w") as file:
            # systemd wants to see the program, and its manual.
            file.write(unit.replace("/opt/cairn/bin/cairn", "/bin/true").replace("man:cairn-serve(1)", "man:true(1)"))
        checked = run("systemd-analyze", "verify", "--man=no", path)
        complaints = [line for line in checked.stderr.splitlines() if "cairn.service" in line]
        expect(not complaints, "\n".join(complaints))
        rated = run("systemd-analyze", "security", "--offline=yes", "--threshold=20", path)
        if "unrecognized option" in rated.stderr:
            raise Skipped("needs a newer systemd-analyze")
        expect(rated.returncode == 0, rated.stdout[-400:] + rated.stderr)


def container(world):
    """The container file copies what there is, in two stages, runs as nobody special and is asked for its health."""
    with open(os.path.join(ROOT, "packaging", "Containerfile")) as file:
        lines = file.read().replace("\\\n", " ").splitlines()
    stages = [line for line in lines if line.startswith("FROM ")]
    expect(len(stages) == 2, f"{len(stages)} stages")
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            for name in line.split()[1:-1]:
                expect(os.path.exists(os.path.join(ROOT, name)), f"{line}: {name} is not there")
    last = lines[lines.index(stages[-1]):]
    expect(any(line.startswith("USER ") and not line.startswith("USER root") for line in last), "runs as root")
    check = next(line for line in last if line.startswith("HEALTHCHECK"))
    words = re.findall(r'"([^"]*)"', check)[1:]
    asked = run(program(), *words, env=dict(os.environ, CAIRN_STATE="/nonexistent"))
    expect("No server runs with the state folder" in asked.stderr, f"the health check is no command: {asked.stderr}")


CHECKS = [layout, manual, completions, service, container]


def main():
    checks = Checks("installation")
    with tempfile.TemporaryDirectory(prefix="cairn-install-") as folder:
        checks.run_all(CHECKS, World(folder))
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
