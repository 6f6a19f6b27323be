"""Operations are known by their names, callable like functions, and cross the bridge as names."""

from __future__ import annotations

import pickle

import pytest

from pandaserver.taskbuffer.operation import OPERATIONS, Operation, find_operation, load_all_operations, operation
from pandaserver.taskbuffer.transaction import Transaction


@operation(timeout=7, repeatable=True)
def add_for_test(_tx: Transaction, a: int, b: int = 2) -> int:
    """Add."""
    return a + b


def test_an_operation_is_registered_under_the_name_of_its_function() -> None:
    assert OPERATIONS["add_for_test"] is add_for_test
    assert (add_for_test.name, add_for_test.timeout, add_for_test.repeatable) == ("add_for_test", 7, True)
    assert add_for_test.__doc__ == "Add."


def test_an_operation_can_be_called_by_another_one() -> None:
    assert add_for_test(None, 1) == 3  # type: ignore[arg-type]
    assert add_for_test(None, 1, b=5) == 6  # type: ignore[arg-type]


def test_two_operations_with_one_name_are_refused() -> None:
    def add_for_test(_tx: Transaction) -> None: ...

    with pytest.raises(TypeError, match=r"add_for_test is declared in .* and in "):
        operation()(add_for_test)


def test_an_operation_is_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(add_for_test)) is add_for_test


def test_all_operations_are_found_by_importing_their_modules() -> None:
    found = load_all_operations()
    assert len(found) > 20
    assert all(isinstance(o, Operation) and name == o.name for name, o in found.items())


def test_an_unknown_name_is_a_lookup_error() -> None:
    with pytest.raises(LookupError):
        find_operation("nothing_for_test")
