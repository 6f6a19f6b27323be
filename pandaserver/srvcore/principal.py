"""Who is calling: names made from a DN, and roles made from VOMS attributes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

LIMITED: Final = "/CN=limited proxy"

_DIRECTORY_PARTS: Final = re.compile(r"/(?:DC|OU|O|C|L)=[^/]*")
_NICKNAME: Final = re.compile(r"/CN=nickname:([^/]*)")
_LABELLED_PARTS: Final = re.compile(r"/CN=(?:Robot|nickname):[^/]*")
_MAIL_WORD: Final = re.compile(r" [a-z][\w.+-]*@[\w-]+(?:\.[\w-]+)+")

_PRODUCTION: Final = re.compile(r"/(?:[^/]+|atlas/usatlas)/Role=production(?:/|$)")
_PILOT: Final = re.compile(r"/(?:[^/]+|atlas/usatlas|Engage/LBNE)/Role=pilot(?:/|$)")
_GROUP_PRODUCTION: Final = re.compile(r"/([^/]+)/([^/]+)/Role=production(?:/|$)")


@dataclass(frozen=True, slots=True)
class Principal:
    """One caller. Roles are decided when it is made, so nobody has to know the rules later."""

    dn: str = ""  # bare DN; "" for a caller without credentials
    name: str = ""  # clean name: the user name for ownership, quotas, bans and secrets
    fqans: tuple[str, ...] = ()
    vo: str = ""
    is_limited: bool = False
    has_production_role: bool = False
    has_pilot_role: bool = False
    in_pilot_vo: bool = False  # member of a VO all of whose members may run pilots here
    production_groups: tuple[str, ...] = ()  # working groups whose jobs the caller may kill
    working_group: str | None = None  # the first group in which the caller has the production role
    raw_dn: str = ""  # as the web server gave it
    email: str = ""  # address in the certificate or token, where to tell about jobs; proves nothing
    credentials: tuple[tuple[str, str], ...] = ()  # GRST_* variables, as far as they are known

    @property
    def is_anonymous(self) -> bool:
        """Whether no credential came with the request."""
        return not self.dn

    @property
    def may_run_pilots(self) -> bool:
        """Whether the caller may ask what pilots ask; making tokens for them takes the role itself."""
        return self.has_pilot_role or self.in_pilot_vo

    @classmethod
    def of(
        cls,
        raw_dn: str,
        fqans: Iterable[str] = (),
        *,
        vo: str = "",
        production_dns: Sequence[str] = (),
        email: str = "",
        credentials: Iterable[tuple[str, str]] = (),
    ) -> Principal:
        """Return the caller with that DN and those VOMS attributes."""
        dn, fqans = bare_dn(raw_dn), tuple(fqans)
        is_production_dn = bool(dn) and any(known and known in dn for known in production_dns)
        production = is_production_dn or any(_PRODUCTION.match(f) for f in fqans)
        return cls(
            dn=dn,
            name=clean_name(raw_dn),
            fqans=fqans,
            vo=vo or vo_of(fqans),
            is_limited=LIMITED in raw_dn,
            has_production_role=production,
            has_pilot_role=production or any(_PILOT.match(f) for f in fqans),
            production_groups=_killing_groups(fqans),
            working_group=_working_group(fqans),
            raw_dn=raw_dn,
            email=email,
            credentials=tuple(credentials),
        )


ANONYMOUS: Final = Principal()


def bare_dn(dn: str, *, keep_proxy: bool = True, strip_digits: bool = False) -> str:
    """Return a DN without the marks of proxies; handlers keep one ``/CN=proxy``, credential look-ups strip digits."""
    bare = dn.replace(LIMITED, "")
    bare = re.sub(r"(?:/CN=proxy)+", "/CN=proxy", bare) if keep_proxy else bare.replace("/CN=proxy", "")
    return re.sub(r"(?:/CN=\d+)+$", "", bare) if strip_digits else bare


def id_from_dn(dn: str) -> str:
    """Return the nickname in a DN, or the bare DN if it has none."""
    nickname = _NICKNAME.search(dn)
    return nickname.group(1) if nickname else bare_dn(dn)


def clean_name(dn: str) -> str:
    """Return the user name that a DN stands for. The rules are older than anyone here; the order matters."""
    text = _DIRECTORY_PARTS.sub("", dn)
    text = re.sub(r"/CN=\d+", "", text)
    text = re.sub(r" \d+", "", text)
    text = re.sub(r"_\d+", "", text)
    for mark in ("/CN=proxy", LIMITED, "limited proxy"):
        text = text.replace(mark, "")
    text = _LABELLED_PARTS.sub("", text)
    text = text.rpartition("/CN=")[2]
    mail = text.lower().find("/email")
    if mail > 0:
        text = text[:mail]
    limited = re.search(r"limited.*proxy", text)
    if limited:
        text = limited.group()
    text = re.sub(r"[()']", "", text)
    without_mail = _MAIL_WORD.sub("", text)
    # A DN of which nothing is left stands for itself: an empty name would own what has no owner, and escape every ban.
    name = without_mail if " " in without_mail else text
    return name if name.strip() else dn


def first_cn(dn: str) -> str:
    """Return the first common name in a DN without trailing digits: what job kill compares.

    One of digits only keeps them, because nothing at all would be the name of everybody who has such a number.
    """
    found = re.search(r"/?CN=([^/]*)", dn)
    return re.sub(r"\d+$", "", found.group(1)) or found.group(1) if found else dn


def vo_of(fqans: Sequence[str]) -> str:
    """Return the VO of the first attribute, "" if there is none."""
    return fqans[0].split("/")[1] if fqans and fqans[0].count("/") else ""


def voms_credentials(fqans: Iterable[str]) -> list[tuple[str, str]]:
    """Return the variables by which mod_gridsite tells of attributes, for those that did not come from it."""
    return [(f"GRST_CRED_AUTH_TOKEN_{number}", f"VOMS {fqan}") for number, fqan in enumerate(fqans)]


def _groups(fqans: Sequence[str]) -> list[tuple[str, str]]:
    found = (_GROUP_PRODUCTION.match(f) for f in fqans)
    return [(m.group(1), m.group(2)) for m in found if m and m.group(2) != "usatlas"]


def _working_group(fqans: Sequence[str]) -> str | None:
    return next((group.rpartition("-")[2].lower() for _, group in _groups(fqans)), None)


def _killing_groups(fqans: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for vo, group in _groups(fqans) if vo == "atlas" for name in (group, f"gr_{group}"))
