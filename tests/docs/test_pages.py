"""The pages written by hand: links lead somewhere, commands exist, lists are complete."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pandaserver.admin.main import COMMANDS, main
from pandaserver.config.shipped_daemons import SHIPPED_DAEMONS
from pandaserver.config.values import DaemonSpec

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
EVERYTHING = "\n".join(page.read_text("utf-8") for page in PAGES)

LINK = re.compile(r"\[[^\]]*\]\(([^)]+)\)")
CODE = re.compile(r"^```\w*[^\n]*\n(.*?)^```|^((?:    [^\n]*\n)+)|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
SUBSTITUTION = re.compile(r"\$\((panda-admin [^)]*)\)")


def code_of(text: str) -> Iterator[str]:
    """The lines of code blocks, and what stands between backticks."""
    for block, indented, inline in CODE.findall(text):
        for line in (block or indented or inline).splitlines():
            yield line.strip()


def commands(program: str) -> Iterator[tuple[str, str]]:
    """The command lines of a program, each with the page it is on; placeholders like NAME stay."""
    for page in PAGES:
        for line in code_of(page.read_text("utf-8")):
            found = SUBSTITUTION.findall(line) or [line]
            for command in found:
                command = command.partition("  #")[0].partition(" > ")[0].strip()
                start = command.find(f"{program} ")
                if start == 0 or (start > 0 and command[start - 1] == "/"):
                    yield str(page.relative_to(ROOT)), command[start:].rstrip(",")


ADMIN = sorted(set(commands("panda-admin")))
MAKE = sorted(set(commands("make")))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def variables() -> set[str]:
    return set(re.findall(r"^([A-Z_]+)\s*\?=", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def subcommands(command: click.Command, context: click.Context, name: str) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield name
        return
    for part in command.list_commands(context):
        inner = command.get_command(context, part)
        assert inner is not None
        yield from subcommands(inner, context, f"{name} {part}".strip())


def parsed(command: click.Command, arguments: list[str], context: click.Context | None = None) -> None:
    """Let click read a command line, down to the last subcommand, without running it."""
    with command.make_context(command.name or "", list(arguments), parent=context) as made:
        if isinstance(command, click.Group) and not (command.invoke_without_command and arguments[0].startswith("-")):
            name, inner, _ = command.resolve_command(made, [arguments[0]])
            assert inner is not None, name
            parsed(inner, arguments[1:], made)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            linked = page.parent / file if file else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs/README.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text("utf-8"))}
    assert {page for page in index.parent.rglob("*.md") if page != index} <= linked


@pytest.mark.parametrize(("page", "line"), ADMIN, ids=[line for _, line in ADMIN])
def test_a_command_of_an_administrator_can_be_given(
    page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("queue.json", "shares.json", "types.json"):
        (tmp_path / name).touch()
    words = [word.strip("[]") for word in shlex.split(line)[1:]]
    context = click.Context(main)
    if " ".join(words) in known_prefixes(context):  # a group is named, or a command whose arguments are left out
        return
    parsed(main, words)


def known_prefixes(context: click.Context) -> set[str]:
    names = list(subcommands(main, context, ""))
    return {" ".join(name.split()[:n]) for name in names for n in (1, 2)}


def test_the_commands_of_an_administrator_are_on_some_page() -> None:
    context = click.Context(main)
    missing = [name for name in subcommands(main, context, "") if f"panda-admin {name}" not in EVERYTHING]
    assert set(COMMANDS) == set(main.list_commands(context))
    assert missing == []


@pytest.mark.parametrize(("page", "line"), MAKE, ids=[line for _, line in MAKE])
def test_a_make_target_exists(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    assert words[0] in targets(), page
    assert {word.partition("=")[0] for word in words[1:]} <= variables(), page


def test_make_lists_the_targets_that_the_readme_explains() -> None:
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^make (\S+)", done.stdout, re.MULTILINE))
    explained = set(re.findall(r"^\| `make (\S+)`", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert listed == explained | {"help"}


def test_every_script_has_its_paragraph() -> None:
    page = (ROOT / "docs/daemon.md").read_text("utf-8")
    assert sorted(re.findall(r"^### (\w+)$", page, re.MULTILINE)) == sorted(SHIPPED_DAEMONS)
    for name, daemon in SHIPPED_DAEMONS.items():
        paragraph = page.partition(f"### {name}\n")[2].partition("\n#")[0]
        assert f"{daemon['period']} s" in paragraph
        assert ("on one machine" in paragraph) is daemon.get("sync", False), name
        assert ("`loop`" in paragraph) is daemon.get("loop", False), name


def test_every_attribute_of_a_daemon_is_explained() -> None:
    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    explained = set(re.findall(r"^\| `(\w+)` \|", page.partition("## Daemons")[2], re.MULTILINE))
    assert explained == set(DaemonSpec.__dataclass_fields__) - {"name"} | {"enable"}
