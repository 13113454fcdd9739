"""Layers of a function as one folder, as Lambda mounts them under /opt."""

import os
from pathlib import Path

import pytest

from local.aws.pool import overlay


@pytest.fixture
def opt(tmp_path: Path) -> Path:
    """Three layers, one above the other."""
    layers = {
        "code": {"python/pullahead/a.py": "a", "python/yaml/b.py": "b", "python/shared/c.py": "c", "odd": "a file"},
        "signatures": {"python/sigstore/d.py": "d", "python/shared/e.py": "e"},
        "rules": {"rules.yaml": "mine", "python/shared/c.py": "of the last", "odd/f.py": "f"},
    }
    for layer, files in layers.items():
        for name, content in files.items():
            (tmp_path / layer / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / layer / name).write_text(content)
    (tmp_path / "opt").mkdir()
    overlay(tmp_path / "opt", [tmp_path / layer for layer in layers])
    return tmp_path / "opt"


def test_folders_of_several_layers_merge_and_the_last_file_counts(opt: Path) -> None:
    walked = os.walk(opt, followlinks=True)
    found = {str(Path(root, name).relative_to(opt)) for root, _, names in walked for name in names}
    assert found == {
        "rules.yaml",
        "odd/f.py",
        "python/pullahead/a.py",
        "python/yaml/b.py",
        "python/sigstore/d.py",
        "python/shared/c.py",
        "python/shared/e.py",
    }
    assert (opt / "python/shared/c.py").read_text() == "of the last"


def test_folder_of_one_layer_alone_is_linked_as_a_whole(opt: Path) -> None:
    assert (opt / "python/pullahead").is_symlink()
    assert not (opt / "python/shared").is_symlink()
