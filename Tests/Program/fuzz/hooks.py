"""The check that schemathesis makes of every answer; loaded by it through SCHEMATHESIS_HOOKS."""

import schemathesis


@schemathesis.check
def no_server_fault(ctx, response, case):
    """Nothing is answered with 5xx but the 501 of what is not built or not possible, which says so in words."""
    if response.status_code == 501:
        assert response.content, "a 501 without a text"
    else:
        assert response.status_code < 500, f"{response.status_code}: {response.content[:300]!r}"
