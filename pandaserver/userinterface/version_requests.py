"""Which client users should have."""

from __future__ import annotations

from pandaserver.api.answering import Text, plain_answer
from pandaserver.api.registry import Auth, Call, request


@request(v1=None, legacy="getPandaClientVer", method="GET", auth=Auth.ANYONE, answer=plain_answer, needs_database=False)
def get_client_version(call: Call) -> Text:
    """Return the version of the client that users should have; older clients tell their users so."""
    return Text(call.settings.client_version)
