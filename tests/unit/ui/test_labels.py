from pathlib import Path

from closedloop.core.settings import Settings
from closedloop.ui.app.labels import ServedLabels, known_labels


def test_what_was_shown_keeps_its_place() -> None:
    first = known_labels([], used=["b", "a"], served=["z", "c"], proposed=["b", "p", ""])
    assert first == ["b", "a", "c", "z", "p"]
    assert known_labels(first, used=["new", "a", "b"]) == [*first, "new"]


def test_looking_for_served_labels_creates_no_registry(tmp_path: Path) -> None:
    labels = ServedLabels(Settings(home=tmp_path, registry="", store=""))
    labels._refresh("demo.svm.intent")
    assert labels.of("demo.svm.intent") == ()
    assert list(tmp_path.iterdir()) == []
