"""Who may use this server: what other servers ask about users."""

from __future__ import annotations

from pandaserver.api.answering import Envelope, json_answer
from pandaserver.api.registry import Auth, Call, refuse_anonymous_readers, request


@request(
    v1="metaconfig/get_banned_users",
    legacy="get_ban_users",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=json_answer,
)
def get_banned_users(call: Call) -> Envelope:
    """Return the names of banned users, each with the value false. Front nodes without a database ask for them.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    banned = dict.fromkeys(sorted(call.task_buffer.within(call.remaining()).getBannedUsers()), False)
    return Envelope(banned, legacy=[True, banned])
