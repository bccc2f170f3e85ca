"""Peer sync from the outside: a client and a hub of our own, made from docs/protocols/peer-sync.md alone.

    python -m peers.run [NAME…]

First both against the vectors and each other, then against the program as a hub (`client`, `calls`, and N1 to N22 in
`attacks`) and as a member of hubs that are not what they should be (`impostors`). N24 is in `fleet`.
"""

import sys
import tempfile
import time

from support.checks import Checks

from . import attacks, calls, client, impostors, ourselves, vectors
from .world import Impostor, Site


def main():
    checks = Checks("peers")
    checks.run_all(vectors.ALL)
    checks.run_all(ourselves.ALL)
    wanted = sys.argv[1:]
    if wanted and not set(wanted) - {call.__name__ for call in (*vectors.ALL, *ourselves.ALL)}:
        return checks.finish()

    def run(call, *arguments, name=None):
        """One check, told in a line; `name` where several checks make up one."""
        title = (name or call.__name__).partition(" ")[0]
        if wanted and title.lower() not in [word.lower() for word in wanted] and call.__name__ not in wanted:
            return
        begun, failed = time.monotonic(), checks.failed
        told = checks.run(title, call, *arguments)
        word = "ok" if checks.failed == failed else "FAILED"
        words = name or (call.__doc__ or call.__name__).strip()
        print(f"{words}: {word}, {time.monotonic() - begun:.1f} s" + (f"; {told}" if told else ""), flush=True)

    with Site("hub") as hub, Site("member") as member, tempfile.TemporaryDirectory() as folder:
        path, fingerprint = ourselves.certificate(folder)
        plain, secure = Impostor(window=65535), Impostor(path, fingerprint)
        impostors.taught(member)
        ours, theirs = impostors.Target(member, plain), attacks.Target(hub)
        trusting = impostors.Target(member, secure)
        impostors.begin(ours)
        impostors.n21(ours)
        deaf = attacks.Background(attacks.n21, theirs)
        silent = attacks.Background(attacks.silence, theirs)
        for call in client.ALL:
            run(call, hub)
        for call in (impostors.good, impostors.like_the_original, impostors.another_certificate):
            run(call, trusting)
        for call in calls.ALL:
            run(call, hub)
        for call in attacks.ALL:
            run(call, theirs)
        run(attacks.Target.still_serves, theirs, name="a good member is still served")
        run(impostors.n1, ours, hub)
        for number in ("N2", "N3", "N4", "N5", "N6", "N7", "N8", "N9", "N13", "N16"):
            run(impostors.refusals(number), ours, name=f"{number} at a member")
        for call in (impostors.n17, impostors.n23):
            run(call, ours)
        run(impostors.n21_verdict, ours)
        run(deaf.result, name="N21 a member that reads nothing")
        run(silent.result, name="silence members that say nothing are let go")
        run(impostors.still_reports, trusting)
        run(client.again_after_restart, hub)
        plain.close()
        secure.close()
        secrets = hub.secrets + member.secrets
        for place in (*ours.places.values(), *trusting.places.values()):
            secrets.append(place.secret)
        for site in (hub, member):
            run(quiet, site, secrets, name=f"{site.name}: nothing crashed, no secret in its log")
    return checks.finish()


def quiet(site, secrets):
    """The server lives, and its log shows neither a crash nor a pairing secret."""
    if site.process.poll() is not None:
        raise AssertionError("the server has ended: " + "\n".join(site.log[-20:]))
    for line in site.log:
        if "Fatal error" in line or "Crash" in line or any(secret in line for secret in secrets):
            raise AssertionError(line)


if __name__ == "__main__":
    sys.exit(main())
