import itertools

from hypothesis import given
from hypothesis import strategies as st

from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Stages
from closedloop.models.trial import Stage, Trial
from closedloop.serve.catalog import Catalog, CatalogPoller, difference

CHAMPIONS = st.builds(
    lambda name, version: Champion(
        ref=ModelRef(tenant="retail", algorithm="intent", name=name),
        version=version,
        path=f"/models/{name}/{version}",
        sha256=f"{version:064x}",
    ),
    st.sampled_from("abcdef"),
    st.integers(1, 4),
)
CATALOGS = st.lists(CHAMPIONS, unique_by=lambda champion: champion.ref)


@given(CATALOGS, st.randoms())
def test_the_digest_follows_from_the_content_alone(champions, random):
    shuffled = champions.copy()
    random.shuffle(shuffled)
    assert Catalog.of(shuffled) == Catalog.of(champions)


TRIALS = st.lists(
    st.builds(
        lambda champion, stage, percent: Trial(candidate=champion, stage=stage, percent=percent),
        CHAMPIONS,
        st.sampled_from(Stage),
        st.sampled_from([0.0, 5.0, 50.0]),
    ),
    unique_by=lambda trial: trial.ref,
)


@given(CATALOGS, TRIALS, TRIALS, st.randoms())
def test_the_digest_tells_every_change_of_a_trial(champions, first, second, random):
    shuffled = first.copy()
    random.shuffle(shuffled)
    assert Catalog.of(champions, shuffled) == Catalog.of(champions, first)
    digests = Catalog.of(champions, first).digest, Catalog.of(champions, second).digest
    assert (digests[0] == digests[1]) is (set(first) == set(second))


@given(CATALOGS, CATALOGS)
def test_different_content_has_another_digest(first, second):
    same = set(first) == set(second)
    assert (Catalog.of(first).digest == Catalog.of(second).digest) is same


@given(CATALOGS, CATALOGS)
def test_doing_the_difference_gives_the_catalog(before, after):
    held = {str(champion.ref): champion for champion in before}
    todo = difference(held, Catalog.of(after))
    for name in todo.unload:
        del held[name]
    held |= {str(champion.ref): champion for champion in todo.load}
    assert set(held.values()) == set(after)
    assert not set(todo.load) & set(before)  # nothing is loaded twice
    assert not difference(held, Catalog.of(after)).load


def test_models_in_use_are_renewed_before_new_ones_are_loaded():
    def champion(name, version):
        ref = ModelRef(tenant="retail", algorithm="intent", name=name)
        return Champion(ref=ref, version=version, path="", sha256="")

    old = champion("z", 1)
    wanted = Catalog.of([champion("a", 1), champion("z", 2)])
    names = [c.ref.name for c in difference({str(old.ref): old}, wanted).load]
    assert names == ["z", "a"]


class CountingRegistry:
    """A registry that tells how often it was really read."""

    def __init__(self, *, token):
        self.token = token
        self.reads = 0

    def stages(self):
        self.reads += 1
        return Stages()

    def change_token(self):
        return self.token


def test_an_unchanged_store_is_asked_only_now_and_then():
    now = [0.0]
    registry = CountingRegistry(token=(1,))
    poller = CatalogPoller(registry, full_every_s=2.0, clock=lambda: now[0])
    reads = []
    for now[0], registry.token in [(0, (1,)), (1, (1,)), (1.5, (2,)), (1.9, (2,)), (3.6, (2,))]:
        poller.poll()
        reads.append(registry.reads)
    assert reads == [1, 1, 2, 2, 3]


def test_a_store_without_a_token_is_always_asked():
    registry = CountingRegistry(token=None)
    poller = CatalogPoller(registry, clock=itertools.repeat(0.0).__next__)
    poller.poll(), poller.poll()
    assert registry.reads == 2
