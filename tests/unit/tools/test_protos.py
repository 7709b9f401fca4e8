"""How a stale generated/ is found."""

from pathlib import Path

from tools.protos import differences


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_equal_trees_do_not_differ_whatever_python_compiled_in_them(tmp_path: Path) -> None:
    fresh = tree(tmp_path / "fresh", {"moorage/a_pb2.py": "x"})
    committed = tree(tmp_path / "committed", {"moorage/a_pb2.py": "x", "moorage/__pycache__/a_pb2.pyc": "y"})
    assert differences(fresh, committed) == []


def test_a_changed_a_missing_and_a_left_over_file_are_all_named(tmp_path: Path) -> None:
    fresh = tree(tmp_path / "fresh", {"moorage/changed.py": "new", "moorage/missing.py": ""})
    committed = tree(tmp_path / "committed", {"moorage/changed.py": "old", "moorage/left_over.py": ""})
    assert differences(fresh, committed) == ["moorage/changed.py", "moorage/left_over.py", "moorage/missing.py"]
