import pickle

import pytest

from closedloop.core import errors
from closedloop.core.errors import ClosedLoopError, InputError, Overloaded


def every_error() -> list[type[ClosedLoopError]]:
    found, waiting = [], [ClosedLoopError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_message_and_remedy_travel_between_processes(kind: type[ClosedLoopError]) -> None:
    moved = pickle.loads(pickle.dumps(kind("The file is empty.", remedy="Give another.")))
    assert type(moved) is kind
    assert (moved.message, moved.remedy) == ("The file is empty.", "Give another.")
    assert str(moved) == "The file is empty. Give another."


def test_without_a_remedy_only_the_message_is_said() -> None:
    assert str(InputError("No.")) == "No."


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_the_tree_in_the_docstring_is_the_tree_in_the_code(kind: type[ClosedLoopError]) -> None:
    [line] = [
        line for line in (errors.__doc__ or "").splitlines() if f" {kind.__name__} " in f" {line} "
    ]
    if kind is not ClosedLoopError:
        words = line.split()
        numbers = words[words.index(kind.__name__) + 1 :]
        assert numbers[:2] == [str(kind.exit_code), str(kind.http_status)]
        assert ("; retryable" in line) == kind.retryable


def test_scripts_can_tell_kinds_apart_by_exit_code() -> None:
    direct = ClosedLoopError.__subclasses__()
    assert len({kind.exit_code for kind in direct}) == len(direct)
    assert Overloaded.retryable
    assert not InputError.retryable
