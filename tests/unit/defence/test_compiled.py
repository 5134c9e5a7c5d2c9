from closedloop.defence import micro_search
from closedloop.defence.compiled import compiled, sources_digest


def test_a_change_of_any_module_changes_the_digest(tmp_path):
    (tmp_path / "one.py").write_text("A = 1\n")
    (tmp_path / "two.py").write_text("B = 2\n")
    before = sources_digest(tmp_path)
    assert sources_digest(tmp_path) == before
    (tmp_path / "two.py").write_text("B = 3\n")
    assert sources_digest(tmp_path) != before


def test_compiled_code_is_kept_by_the_digest_of_the_sources():
    @compiled
    def double(value):
        return 2 * value

    assert double(4) == 8
    digest = double.py_func.__qualname__.rsplit("_", 1)[1]
    assert micro_search.place.py_func.__qualname__ == f"place_{digest}"
