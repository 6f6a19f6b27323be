"""A text of many values is refused before it is read; what stands within texts does not count."""

from __future__ import annotations

import json

import pytest

from pandaserver.srvcore import json_size
from pandaserver.srvcore.errors import BadRequest
from pandaserver.srvcore.json_size import refuse_many_values


@pytest.mark.parametrize("text", ["[" * 11, "[]," * 6, "{}," * 6, "1," * 11, '{"a":1,"b":[1,2,3,4,5,6,7,8,9]}'])
def test_many_values_are_refused(text: str) -> None:
    for form in (text, text.encode()):
        with pytest.raises(BadRequest, match="JSON with more than 10 values is not read"):
            refuse_many_values(form, 10)


@pytest.mark.parametrize(
    "value",
    [{"jobs": "[1,2,3,4,5,6,7,8,9,10,11,12]"}, {'quote " [[[[[[[[[[[': "\\"}, ["\\\\,,,,,,,,,,,,\\"], [1, 2, 3]],
)
def test_texts_do_not_count(value: object) -> None:
    for form in (json.dumps(value), json.dumps(value).encode()):
        refuse_many_values(form, 10)


def test_structure_behind_a_text_counts() -> None:
    text = json.dumps({"a\\": '"', "b": [[], [], [], [], [], []]})
    with pytest.raises(BadRequest):
        refuse_many_values(text, 10)


def test_texts_across_blocks_do_not_count_either(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in range(1, 40):
        monkeypatch.setattr(json_size, "_BLOCK", size)
        refuse_many_values(json.dumps([',,,,"[[[', {"{{{{,,,": "\\"}, "x" * 50, 1, "[" * 20]), 10)
        with pytest.raises(BadRequest):
            refuse_many_values(json.dumps(["ab"] * 12), 10)


def test_a_long_text_of_quotes_takes_no_time_to_speak_of() -> None:
    text = '{"a": "' + '\\"' * 2_000_000 + ","
    refuse_many_values(text, 1_000_000)
    refuse_many_values('"' * 3_000_001, 10)
