"""Reading a pilot's output report: which files it made, how large they are and how they can be verified.

Two formats exist: a JSON map from LFN to attributes (pilots of today) and an XML catalogue (old ones).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree

_MD5: Final = re.compile(r"[0-9a-fA-F]{32}")


class UnreadableReport(ValueError):
    """The report is in neither format, or a file in it lacks what is needed; the message says which."""


@dataclass(frozen=True, slots=True)
class ReportedFile:
    """One entry of a report. ``checksum`` is in the form in which the database keeps it."""

    lfn: str
    guid: str | None = None
    fsize: int | None = None
    md5sum: str | None = None
    checksum: str | None = None
    surl: str | None = None
    full_lfn: str | None = None
    endpoint: tuple[str, ...] = ()
    nevents: int | None = None


def read_report(text: str) -> dict[str, ReportedFile]:
    """Return the entries of a report by LFN; an empty report has none."""
    if not text or not text.strip():
        return {}
    entries = _xml_entries(text) if text.lstrip().startswith("<") else _json_entries(text)
    return {lfn: _entry(lfn, attributes) for lfn, attributes in entries.items()}


def _json_entries(text: str) -> dict[str, Mapping[str, Any]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UnreadableReport(f"the output report is neither JSON nor XML: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise UnreadableReport("the output report is not a map from file name to attributes")
    return content


def _xml_entries(text: str) -> dict[str, Mapping[str, Any]]:
    if "<!ENTITY" in text:
        raise UnreadableReport("the XML output report declares entities")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UnreadableReport(f"the XML output report cannot be parsed: {error}") from error
    entries: dict[str, Mapping[str, Any]] = {}
    for element in root.iter("File"):
        logical = element.find("logical/lfn")
        if logical is None or not logical.get("name"):
            raise UnreadableReport("a File element of the XML output report has no logical name")
        attributes: dict[str, Any] = {
            item.get("att_name", ""): item.get("att_value") for item in element.iter("metadata")
        }
        attributes["guid"] = element.get("ID")
        attributes["endpoint"] = [e.text for e in element.iter("endpoint") if e.text]
        entries[str(logical.get("name"))] = attributes
    return entries


def _entry(lfn: str, attributes: Mapping[str, Any]) -> ReportedFile:
    md5sum = _text(attributes.get("md5sum"))
    if md5sum is not None and not _MD5.fullmatch(md5sum):
        md5sum = None
    adler32 = _text(attributes.get("adler32"))
    checksum = f"ad:{adler32}" if adler32 else f"md5:{md5sum}" if md5sum else None
    endpoint = attributes.get("endpoint") or ()
    return ReportedFile(
        lfn=lfn,
        guid=_text(attributes.get("guid")),
        fsize=_whole(lfn, "fsize", attributes.get("fsize")),
        md5sum=md5sum,
        checksum=checksum,
        surl=_text(attributes.get("surl")),
        full_lfn=_text(attributes.get("full_lfn")),
        endpoint=(endpoint,) if isinstance(endpoint, str) else tuple(str(e) for e in endpoint),
        nevents=_whole(lfn, "nevents", attributes.get("nevents")),
    )


def _text(value: Any) -> str | None:
    return None if value in (None, "", "NULL") else str(value)


def _whole(lfn: str, name: str, value: Any) -> int | None:
    if value in (None, "", "NULL"):
        return None
    try:
        number = int(value)
    except (TypeError, ValueError) as error:
        raise UnreadableReport(f"{name} of {lfn} is {value!r}, not a number") from error
    if number < 0:
        raise UnreadableReport(f"{name} of {lfn} is negative")
    return number
