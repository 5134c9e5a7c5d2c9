import hashlib

import pytest

from closedloop.core.errors import Conflict, EngineError, InputError, NotFound
from closedloop.models.model_version import LeanFile
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Registry


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """One store for the module: MLflow takes seconds to migrate a new one."""
    folder = tmp_path_factory.mktemp("registry")
    return f"sqlite:///{folder / 'registry.db'}", str(folder / "artifacts")


@pytest.fixture(scope="module")
def registry(places):
    return Registry(*places)


@pytest.fixture
def ref(request):
    return ModelRef(tenant="零售", algorithm="intent", name=request.node.name.split("[")[0][:60])


@pytest.fixture
def register(registry, ref, tmp_path):
    def make(content, **more):
        file = tmp_path / "trained.skops"
        file.write_bytes(content)
        return registry.register(
            ref, file, hashlib.sha256(content).hexdigest(), {"accuracy": 0.5}, **more
        )

    return make


def test_a_version_keeps_what_it_was_registered_with(registry, ref, register):
    version = register(b"one", tags={"lake_version": "7"}, labels=("退款", "greeting"))
    found = registry.get(ref, version)
    assert (version, found.version, found.metrics) == (1, 1, {"accuracy": 0.5})
    assert found.labels == ("退款", "greeting")
    assert found.tags == {"lake_version": "7"}
    with open(found.path, "rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == found.sha256


def test_registering_moves_no_alias(registry, ref, register):
    register(b"one")
    with pytest.raises(NotFound):
        registry.resolve(ref)
    assert ref not in [champion.ref for champion in registry.champions()]


def test_versions_count_up_and_share_equal_files(registry, ref, register):
    assert [register(b"one"), register(b"two"), register(b"one")] == [1, 2, 3]
    first, second, third = registry.versions(ref)
    assert first.path == third.path != second.path


def test_each_lean_form_of_one_model_keeps_its_own_file(registry, ref, register, tmp_path):
    """A later form of the same model must not take the place of the one a version names."""
    leans = []
    for content in (b"lean form", b"lean form of a later release"):
        file = tmp_path / "trained.lean"
        file.write_bytes(content)
        leans.append(LeanFile(file, hashlib.sha256(content).hexdigest()))
        register(b"one", lean=leans[-1])
    for version, given in zip(registry.versions(ref), leans, strict=True):
        kept = version.lean
        assert kept.sha256 == given.sha256
        assert hashlib.sha256(kept.path.read_bytes()).hexdigest() == given.sha256


def test_a_file_with_another_hash_is_refused_and_makes_no_version(registry, ref, tmp_path):
    file = tmp_path / "trained.skops"
    file.write_bytes(b"changed")
    with pytest.raises(InputError, match="hashes to"):
        registry.register(ref, file, "0" * 64, {})
    assert registry.versions(ref) == []


def test_a_missing_file_is_refused(registry, ref, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        registry.register(ref, tmp_path / "none.skops", "0" * 64, {})


def test_promotion_is_seen_through_every_door(registry, ref, register):
    register(b"one"), register(b"two")
    assert registry.promote(ref, 1) is None
    assert registry.promote(ref, 2) == 1
    assert registry.resolve(ref).version == 2
    (champion,) = [c for c in registry.champions() if c.ref == ref]
    assert champion.version == 2
    assert champion.sha256 == hashlib.sha256(b"two").hexdigest()
    (summary,) = [m for m in registry.models() if m.ref == ref]
    assert (summary.latest, summary.champion, summary.challenger) == (2, 2, None)


def test_an_alias_moved_by_another_mlflow_client_is_followed(registry, places, ref, register):
    from mlflow import MlflowClient

    register(b"one"), register(b"two")
    registry.promote(ref, 1)
    other = MlflowClient(tracking_uri=places[0], registry_uri=places[0])
    before = registry.change_token()
    other.set_registered_model_alias(str(ref), "champion", "2")
    assert registry.change_token() != before
    assert [c.version for c in registry.champions() if c.ref == ref] == [2]


def test_a_model_made_again_under_its_old_name_is_not_mistaken(registry, places, ref, register):
    from mlflow import MlflowClient

    register(b"one")
    registry.promote(ref, 1)
    (old,) = [c for c in registry.champions() if c.ref == ref]
    MlflowClient(tracking_uri=places[0], registry_uri=places[0]).delete_registered_model(str(ref))
    register(b"another")
    registry.promote(ref, 1)
    (new,) = [c for c in registry.champions() if c.ref == ref]
    assert new.version == old.version == 1
    assert new.sha256 != old.sha256


def test_models_of_other_makers_are_left_alone(registry, places, ref):
    from mlflow import MlflowClient

    other = MlflowClient(tracking_uri=places[0], registry_uri=places[0])
    for name in (str(ref), "somebody's model"):
        other.create_registered_model(name)
        other.create_model_version(name, source="/nowhere")
        other.set_registered_model_alias(name, "champion", "1")
    assert ref not in [champion.ref for champion in registry.champions()]
    with pytest.raises(NotFound, match="has no hash"):
        registry.resolve(ref)


def test_former_champions_come_back_in_reverse_order(registry, ref, register):
    for content in (b"one", b"two", b"three"):
        registry.promote(ref, register(content))
    registry.promote(ref, 3)  # again: changes nothing
    assert registry.restore_champion(ref) == (3, 2)
    assert registry.restore_champion(ref) == (2, 1)
    with pytest.raises(NotFound, match="no former champion"):
        registry.restore_champion(ref)
    assert registry.resolve(ref).version == 1


def test_challenger_comes_and_goes(registry, ref, register):
    registry.set_challenger(ref, register(b"one"))
    assert registry.resolve(ref, "challenger").version == 1
    registry.clear_challenger(ref)
    registry.clear_challenger(ref)
    with pytest.raises(NotFound):
        registry.resolve(ref, "challenger")


@pytest.mark.parametrize("version", [2, 99])
def test_what_does_not_exist_cannot_be_promoted(registry, ref, register, version):
    register(b"one")
    with pytest.raises(NotFound):
        registry.promote(ref, version)
    with pytest.raises(NotFound):
        registry.promote(ModelRef(tenant="no", algorithm="such", name="model"), 1)


@pytest.mark.parametrize("url", ["./registry", "http://127.0.0.1:5000", "file:///tmp/registry"])
def test_only_a_database_is_taken_as_registry(url, tmp_path):
    with pytest.raises(InputError, match="CLOSEDLOOP_REGISTRY"):
        Registry(url, str(tmp_path))


def test_an_object_store_for_files_is_refused_with_a_remedy(places):
    with pytest.raises(InputError, match="CLOSEDLOOP_ARTIFACTS"):
        Registry(places[0], "s3://bucket/models")


def test_a_store_that_cannot_be_opened_says_so(tmp_path):
    (tmp_path / "taken").write_text("a file, no folder")
    with pytest.raises(EngineError, match="cannot be opened"):
        Registry(f"sqlite:///{tmp_path / 'taken' / 'registry.db'}", str(tmp_path))


def stages_of(registry, ref):
    found = registry.stages()
    (champion,) = [c for c in found.champions if c.ref == ref]
    trials = [(t.version, str(t.stage), t.percent) for t in found.trials if t.ref == ref]
    return champion.version, trials


def test_a_trial_goes_from_shadow_to_canary_to_champion(registry, ref, register):
    register(b"one"), register(b"two")
    registry.promote(ref, 1)
    assert stages_of(registry, ref) == (1, [])
    registry.start_shadow(ref, 2)
    assert stages_of(registry, ref) == (1, [(2, "shadow", 0.0)])
    registry.start_canary(ref, 2, 5)
    assert stages_of(registry, ref) == (1, [(2, "canary", 5.0)])
    registry.start_canary(ref, 2, 12.5)
    assert stages_of(registry, ref) == (1, [(2, "canary", 12.5)])
    registry.promote(ref, 2)
    assert stages_of(registry, ref) == (2, [])
    (ended,) = [e for e in registry.ended_trials() if e.ref == ref]
    assert (ended.version, ended.stage, ended.percent) == (2, "canary", 12.5)
    assert ended.reason == "became champion"


def test_a_version_is_on_one_stage_and_a_model_has_one_trial(registry, places, ref, register):
    from mlflow import MlflowClient

    for content in (b"one", b"two", b"three"):
        register(content)
    registry.promote(ref, 1)
    client = MlflowClient(tracking_uri=places[0], registry_uri=places[0])
    seen = []
    for start in (
        lambda: registry.start_canary(ref, 2, 50),
        lambda: registry.start_canary(ref, 3, 5),
        lambda: registry.start_shadow(ref, 3),
        lambda: registry.start_shadow(ref, 2),
        lambda: registry.start_canary(ref, 3, 20),
    ):
        start()
        aliases = client.get_registered_model(str(ref)).aliases
        seen.append({name: int(v) for name, v in aliases.items() if name != "champion"})
    assert seen == [{"canary": 2}, {"canary": 3}, {"shadow": 3}, {"shadow": 2}, {"canary": 3}]


def test_a_trial_that_ends_leaves_its_reason_with_the_version(registry, ref, register):
    register(b"one"), register(b"two")
    registry.promote(ref, 1)
    registry.start_canary(ref, 2, 5)
    assert registry.end_trial(ref, "too slow", version=1) is None  # another one was meant
    ended = registry.end_trial(ref, "too slow", version=2)
    assert (ended.version, ended.stage, ended.reason) == (2, "canary", "too slow")
    assert registry.end_trial(ref, "again") is None
    assert stages_of(registry, ref) == (1, [])
    assert registry.get(ref, 2).tags == {"closedloop.trial_ended": "too slow"}
    assert ended in registry.ended_trials()
    registry.start_shadow(ref, 2)  # a second try begins clean
    assert registry.get(ref, 2).tags == {}
    assert ref not in [e.ref for e in registry.ended_trials()]


def test_a_rollback_and_another_promotion_end_the_trial(registry, ref, register):
    for content in (b"one", b"two", b"three"):
        register(content)
    registry.promote(ref, 1)
    registry.start_shadow(ref, 3)
    registry.promote(ref, 2)
    assert stages_of(registry, ref) == (2, [])
    assert registry.get(ref, 3).tags["closedloop.trial_ended"] == "version 2 became champion"
    registry.start_shadow(ref, 3)
    registry.promote(ref, 2)  # again: changes nothing
    assert stages_of(registry, ref) == (2, [(3, "shadow", 0.0)])
    registry.restore_champion(ref)
    assert stages_of(registry, ref) == (1, [])


@pytest.mark.parametrize("percent", [0, -1, 100.1, float("nan"), float("inf")])
def test_a_wrong_percentage_is_refused(registry, ref, register, percent):
    register(b"one"), register(b"two")
    registry.promote(ref, 1)
    with pytest.raises(InputError, match="percentage"):
        registry.start_canary(ref, 2, percent)
    assert stages_of(registry, ref) == (1, [])


def test_what_cannot_be_on_trial_is_refused(registry, ref, register):
    register(b"one"), register(b"two")
    with pytest.raises(Conflict, match="no champion"):
        registry.start_shadow(ref, 2)
    registry.promote(ref, 1)
    with pytest.raises(Conflict, match="is the champion"):
        registry.start_canary(ref, 1, 5)
    with pytest.raises(NotFound, match="version 9"):
        registry.start_shadow(ref, 9)
    with pytest.raises(NotFound):
        registry.end_trial(ModelRef(tenant="no", algorithm="such", name="model"), "")


def test_aliases_set_by_another_client_are_read_with_care(registry, places, ref, register):
    from mlflow import MlflowClient

    register(b"one"), register(b"two")
    registry.promote(ref, 1)
    other = MlflowClient(tracking_uri=places[0], registry_uri=places[0])
    other.set_registered_model_alias(str(ref), "canary", "2")
    assert stages_of(registry, ref) == (1, [(2, "canary", 0.0)])  # no percentage: nobody
    other.set_registered_model_tag(str(ref), "closedloop.canary_percent", "lots")
    assert stages_of(registry, ref) == (1, [(2, "canary", 0.0)])
    other.set_registered_model_alias(str(ref), "shadow", "1")
    assert stages_of(registry, ref) == (1, [(2, "canary", 0.0)])
    other.set_registered_model_alias(str(ref), "canary", "1")
    assert stages_of(registry, ref) == (1, [])  # the champion is not on trial
