"""Where configuration comes from: directories, environment, JSON map."""

from __future__ import annotations

from pathlib import Path

import pytest

from pandacommon.liveconfigparser.LiveConfigParser import LiveConfigParser, search_path


def write(directory: Path, text: str, name: str = "x.cfg") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(text)
    return directory


def test_later_directories_override() -> None:
    places = search_path({"HOME": "/home/me", "PANDA_HOME": "/opt/panda"})
    assert [str(place) for place in places] == [
        "/etc/panda",
        "/usr/etc/panda",
        "/home/me/etc/panda",
        "/opt/panda/etc/panda",
        "/opt/panda/usr/etc/panda",
    ]


def test_files_are_merged_key_by_key(tmp_path: Path) -> None:
    first = write(tmp_path / "1", "[a]\nx = 1\ny = 1\n")
    second = write(tmp_path / "2", "\n[a]\ny = 2\n")
    parser = LiveConfigParser({}, [first, tmp_path / "absent", second])
    parser.read("x.cfg")
    found = {key: (value.content, value.line) for key, value in parser.sections()["a"].items()}
    assert found == {"x": ("1", 2), "y": ("2", 3)}
    assert parser.files == [str(first / "x.cfg"), str(second / "x.cfg")]


def test_a_linked_file_is_read_once(tmp_path: Path) -> None:
    real = write(tmp_path / "real", "[a]\nx = 1\n")
    (tmp_path / "link").symlink_to(real)
    parser = LiveConfigParser({}, [real, tmp_path / "link"])
    parser.read("x.cfg")
    assert parser.files == [str(real / "x.cfg")]


def test_a_reference_sees_the_value_of_the_last_file(tmp_path: Path) -> None:
    first = write(tmp_path / "1", "[a]\ndir = /a\nfile = %(dir)s/f\n")
    second = write(tmp_path / "2", "[a]\ndir = /b\n")
    parser = LiveConfigParser({}, [first, second])
    parser.read("x.cfg")
    assert parser.sections()["a"]["file"].content == "/b/f"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("$NAME", "value"),
        ("${NAME}", "value"),
        ("${{NAME}}", "value"),
        ("$NAME/x", "$NAME/x"),
        ("$UNSET", "$UNSET"),
        ("${NAME", "${NAME"),
    ],
)
def test_a_variable_is_replaced_if_it_is_the_whole_value(tmp_path: Path, written: str, meant: str) -> None:
    parser = LiveConfigParser({"NAME": "value"}, [write(tmp_path, f"[a]\nx = {written}\n")])
    parser.read("x.cfg")
    assert parser.sections()["a"]["x"].content == meant


def test_raw_sections_keep_their_dollar_signs(tmp_path: Path) -> None:
    parser = LiveConfigParser({"NAME": "value"}, [write(tmp_path, "[a]\nx = $NAME\n")])
    parser.read("x.cfg")
    assert parser.sections(raw=["a"])["a"]["x"].content == "$NAME"


def test_a_value_from_the_environment_names_its_variable(tmp_path: Path) -> None:
    parser = LiveConfigParser({"NAME": "value"}, [write(tmp_path, "[a]\nx = $NAME\n")])
    parser.read("x.cfg")
    assert parser.sections()["a"]["x"].file == f"$NAME in {tmp_path}/x.cfg"


def test_the_map_overrides_and_knows_its_lines(tmp_path: Path) -> None:
    parser = LiveConfigParser({"PW": "50%"}, [write(tmp_path, "[a]\nx = 1\ny = 1\n")])
    parser.read("x.cfg")
    write(tmp_path, '{"b": {"x": 5},\n "a": {\n  "x": true, "z": "$PW"}}', "map.json")
    parser.read_map(tmp_path / "map.json")
    found = {key: (value.content, value.line) for key, value in parser.sections()["a"].items()}
    assert found == {"x": (True, 3), "y": ("1", 3), "z": ("50%", 3)}


@pytest.mark.parametrize(("text", "line"), [('{"a":\n oops}', 2), ('{"a": 1}', 1), ("[]", 1)])
def test_a_bad_map_is_one_problem(tmp_path: Path, text: str, line: int) -> None:
    write(tmp_path, text, "map.json")
    parser = LiveConfigParser({}, [])
    parser.read_map(tmp_path / "map.json")
    assert [problem.line for problem in parser.problems] == [line]


def test_defaults_of_a_file_serve_all_its_sections(tmp_path: Path) -> None:
    parser = LiveConfigParser({}, [write(tmp_path, "[DEFAULT]\nroot = /r\n[a]\nx = %(root)s/x\n")])
    parser.read("x.cfg")
    assert parser.sections()["a"]["x"].content == "/r/x"


def test_a_file_that_is_no_text_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "x.cfg").write_bytes(b"[a]\nx = \xff\n")
    parser = LiveConfigParser({}, [tmp_path])
    parser.read("x.cfg")
    assert len(parser.problems) == 1


def test_a_home_that_cannot_be_entered_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, other = tmp_path / "closed", tmp_path / "other"
    other.mkdir()
    (other / "x.cfg").write_text("[server]\na = 1\n")
    really = Path.is_file

    def is_file(path: Path) -> bool:  # root, who runs tests, may enter everything
        if path.parent == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return really(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    parser = LiveConfigParser({"HOME": str(closed)}, [closed, other])
    parser.read("x.cfg")
    assert (parser.files, parser.problems) == ([str(other / "x.cfg")], [])
    with pytest.raises(PermissionError):  # any other directory is one that somebody means
        LiveConfigParser({"HOME": str(other)}, [closed, other]).read("x.cfg")


def test_an_account_without_a_home_has_no_files_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    assert search_path({}) == [Path("/etc/panda"), Path("/usr/etc/panda")]
