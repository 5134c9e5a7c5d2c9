import pytest

from closedloop.core.errors import Conflict, InputError, NotFound
from closedloop.core.store import Store
from closedloop.data.cube.filters import EVERYTHING, And, In, IsNull, Not, Or
from closedloop.samples.slices import Slices

ZH_REFUNDS = And(
    all_of=(
        In(field="language", values=("zh",)),
        Or(any_of=(In(field="intent", values=("退款",)), Not(part=IsNull(field="merchant")))),
    )
)


@pytest.fixture
def slices(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/store.db")
    now = iter(range(100, 1000))
    yield Slices(store, clock=lambda: float(next(now)))
    store.close()


def test_a_slice_comes_back_as_it_was_saved(slices):
    slices.save("中文 退款", ZH_REFUNDS, description=" who wants money back ", saved_by="eve")
    found = slices.get("中文 退款")
    assert found.where == ZH_REFUNDS
    assert found.description == "who wants money back"
    assert found.saved_by == "eve"
    assert found.created_at == found.changed_at


def test_a_taken_name_is_refused_and_replacing_keeps_when_it_began(slices):
    first = slices.save("refunds", EVERYTHING)
    with pytest.raises(Conflict, match="already"):
        slices.save(" refunds ", ZH_REFUNDS)
    second = slices.save("refunds", ZH_REFUNDS, replace=True, saved_by="eve")
    assert second.where == ZH_REFUNDS
    assert second.created_at == first.created_at < second.changed_at
    assert len(slices.all()) == 1


def test_replacing_what_is_not_there_saves_it(slices):
    slices.save("refunds", EVERYTHING, replace=True)
    assert [found.name for found in slices.all()] == ["refunds"]


def test_a_name_composed_otherwise_is_the_same_name(slices):
    slices.save("café orders", EVERYTHING)
    assert slices.get("cafe\u0301  orders").name == "café orders"


@pytest.mark.parametrize("name", ["", "   ", "x" * 121])
def test_a_name_that_is_none_is_refused(slices, name):
    with pytest.raises(InputError, match="characters"):
        slices.save(name, EVERYTHING)


def test_renaming_keeps_everything_else(slices):
    before = slices.save("refunds", ZH_REFUNDS, description="d", saved_by="eve")
    after = slices.rename("refunds", "money back")
    assert (after.where, after.description, after.saved_by) == (ZH_REFUNDS, "d", "eve")
    assert (after.created_at, after.changed_at) == (before.created_at, before.changed_at)
    with pytest.raises(NotFound):
        slices.get("refunds")


def test_renaming_to_a_taken_or_from_an_unknown_name_changes_nothing(slices):
    slices.save("a", EVERYTHING)
    slices.save("b", ZH_REFUNDS)
    with pytest.raises(Conflict):
        slices.rename("a", "b")
    with pytest.raises(NotFound):
        slices.rename("c", "d")
    assert [found.name for found in slices.all()] == ["a", "b"]


def test_deleting_forgets_one_and_an_unknown_one_is_an_error(slices):
    slices.save("a", EVERYTHING)
    slices.save("b", EVERYTHING)
    slices.delete("a")
    assert [found.name for found in slices.all()] == ["b"]
    with pytest.raises(NotFound, match="'a'"):
        slices.delete("a")
