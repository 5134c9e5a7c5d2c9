import pytest

from closedloop.ui.app.data_grid import GridAct, read_act

SENT = {"kind": "cell", "row": 2, "column": 1, "token": "now"}


def read(value):
    return read_act(value, token="now", columns=2, rows=3)


def test_an_opened_cell_and_an_order():
    assert read(SENT) == GridAct(row=2, column=1)
    assert read({"kind": "order", "order": "-turns", "token": "now"}) == GridAct(order="-turns")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "cell",
        {},
        SENT | {"token": "before"},
        SENT | {"row": 3},
        SENT | {"row": -1},
        SENT | {"column": 2},
        SENT | {"row": "1"},
        SENT | {"column": None},
    ],
)
def test_what_no_table_here_can_have_sent_does_nothing(value):
    assert read(value) is None
