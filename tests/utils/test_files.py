from pathlib import Path

import pytest

from utils.files import atomic_path, atomic_write


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "李" * 83 + ".png"])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name  # of 255 and 253 bytes
    with atomic_write(path) as file:
        file.write(b"1")
    assert path.read_bytes() == b"1"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"2")
    assert path.read_bytes() == b"2"
    assert list(tmp_path.iterdir()) == [path]
