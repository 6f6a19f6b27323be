"""Write every generated file, or with ``--check`` tell which ones are not what the code says now."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

#: File -> function that returns its text.
GENERATED: Final[Mapping[str, str]] = {
    "docs/openapi.json": "pandaserver.server.request_pages:openapi_page",
    "docs/requests.md": "pandaserver.server.request_pages:requests_page",
    "docs/schema.md": "pandaserver.taskbuffer.schema.page:schema_page",
    "docs/settings.md": "pandaserver.config.generate:settings_page",
    "docs/states.md": "pandaserver.taskbuffer.states_page:states_page",
    "templates/panda_common.cfg.rpmnew": "pandaserver.config.generate:common_template",
    "templates/panda_server.cfg.rpmnew": "pandaserver.config.generate:server_template",
}

#: File of which a part is generated -> function that returns that part. The rest is written by hand.
PARTS: Final[Mapping[str, str]] = {"docs/identity.md": "pandaserver.server.access_page:access_table"}

BEGIN, END = "<!-- generated from here on: run make docs -->\n", "<!-- written by hand from here on -->\n"


def generated(file: str) -> str:
    """Return what the code says that the file contains."""
    if file not in PARTS:
        return _made(GENERATED[file])
    head, begin, rest = (ROOT / file).read_text("utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file} lost the marks between which its generated part stands")
    return f"{head}{BEGIN}\n{_made(PARTS[file])}\n{END}{tail}"


def _made(source: str) -> str:
    module, _, function = source.partition(":")
    text = getattr(importlib.import_module(module), function)()
    if not isinstance(text, str):
        raise TypeError(f"{source} does not return text")
    return text.rstrip("\n") + "\n"


def outdated() -> list[str]:
    """Return the files that differ from what the code says."""
    return [file for file in (*GENERATED, *PARTS) if not _is_current(ROOT / file, generated(file))]


def main(argv: Sequence[str]) -> int:
    """Write the files, or check them; exit code 1 if one is outdated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, and name the outdated files")
    check = parser.parse_args(argv).check
    old = outdated()
    for file in old:
        print(f"{file} is outdated: run make docs" if check else f"write {file}")
        if not check:
            (ROOT / file).write_text(generated(file), "utf-8")
    return 1 if check and old else 0


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
