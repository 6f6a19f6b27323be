"""Multipart bodies: fields into text, files onto disk. Werkzeug parses; imported when the first upload arrives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, BinaryIO, Final

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from pandaserver.api.casting import Upload
from pandaserver.srvcore.errors import BadRequest
from pandaserver.srvcore.file_cache import spool, storing

_MAX_PARTS: Final = 1000
_MAX_FILES: Final = 10  # requests have one
_MAX_TEXT: Final = 16 * 2**20  # bytes of all text fields


def read_multipart(chunks: Iterable[bytes], options: str, spool_dir: str | None) -> list[tuple[str, Any]]:
    """Return the fields and uploads of a multipart body in their order.

    Memory is bounded whatever the length of the body is. A full disk raises ``StorageError``.
    """
    boundary = parse_options_header(f"multipart/form-data;{options}")[1].get("boundary", "")
    if not boundary or not boundary.isascii():
        raise BadRequest("the multipart body has no boundary")
    decoder = MultipartDecoder(boundary.encode(), max_form_memory_size=_MAX_TEXT, max_parts=_MAX_PARTS)
    parts = _Parts(spool_dir)
    try:
        for chunk in chunks:
            decoder.receive_data(chunk)
            _drain(decoder, parts)
        decoder.receive_data(None)
        _drain(decoder, parts)
    except RequestEntityTooLarge as problem:
        raise BadRequest(f"the multipart body has too many parts, or {parts.where} is too long") from problem
    except ValueError as problem:
        raise BadRequest(f"the multipart body cannot be read at {parts.where}: {problem}") from problem
    return parts.done


def _drain(decoder: MultipartDecoder, parts: _Parts) -> None:
    while not isinstance(event := decoder.next_event(), NeedData):
        parts.take(event)
        if isinstance(event, Epilogue):
            return


class _Parts:
    """The parts read so far and the one being read."""

    def __init__(self, spool_dir: str | None) -> None:
        self.done: list[tuple[str, Any]] = []
        self._spool_dir = spool_dir
        self._begun: Field | File | None = None
        self._text = bytearray()
        self._texts = 0  # bytes of all of them
        self._files = 0
        self._file: BinaryIO | None = None

    @property
    def where(self) -> str:
        """The part being read, for errors."""
        return f"'{self._begun.name[:100]}'" if self._begun else "its beginning"

    def take(self, event: Event) -> None:
        """Take one event of the parser."""
        match event:
            case Field() | File():
                if not event.name:  # the parser lets parts without one pass, as None
                    raise BadRequest("a part of the multipart body has no name")
                self._begun, self._text = event, bytearray()
                self._file = self._spool() if isinstance(event, File) else None
            case Data(data=data, more_data=more):
                self._add(data)
                if not more:
                    self._end()

    def _spool(self) -> BinaryIO:
        self._files += 1
        if self._files > _MAX_FILES:
            raise BadRequest(f"the multipart body has more than {_MAX_FILES} files")
        # It is closed with the request, and so is gone.
        with storing(f"the upload {self.where}"):
            return spool(self._spool_dir)

    def _add(self, data: bytes) -> None:
        if self._file is not None:
            with storing(f"the upload {self.where}"):
                self._file.write(data)
            return
        self._text += data
        self._texts += len(data)
        if self._texts > _MAX_TEXT:
            raise BadRequest(f"{self.where} is too long: all text may have {_MAX_TEXT} bytes")

    def _end(self) -> None:
        assert self._begun is not None
        if self._file is None:
            try:
                self.done.append((self._begun.name, self._text.decode()))
            except UnicodeDecodeError as problem:
                raise BadRequest(f"{self.where} is not valid UTF-8") from problem
            return
        assert isinstance(self._begun, File)
        with storing(f"the upload {self.where}"):  # what is still in a buffer goes to the disk
            size = self._file.tell()
            self._file.seek(0)
        self.done.append((self._begun.name, Upload(self._begun.filename, self._file, size)))
