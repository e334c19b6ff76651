import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from utils.errors import UserError
from utils.tensor_file import check_tensors, read_tensor_file


def flipped(content: bytes, place: int, bit: int = 4) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    torch.save({"first": torch.ones(500), "second": torch.arange(64.0), "epoch": 3}, path)
    return path


def test_a_flipped_bit_of_any_record_is_named(file: Path) -> None:
    """Each byte that a record of the archive holds, a few of each."""
    whole = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
    for record in records:
        header = whole[record.header_offset : record.header_offset + 30]
        name_and_extra = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        start = record.header_offset + 30 + name_and_extra
        for place in {0, record.file_size // 2, record.file_size - 1}:
            file.write_bytes(flipped(whole, start + place))
            with pytest.raises(UserError, match=r"weights\.pt: damaged: the checksum of its record") as error:
                read_tensor_file(file, "a checkpoint")
            assert record.filename in str(error.value)


def test_any_flipped_bit_is_refused_or_changes_nothing(file: Path) -> None:
    whole, expected = file.read_bytes(), torch.load(file)
    for place in range(0, len(whole), 97):
        file.write_bytes(flipped(whole, place, place % 8))
        try:
            found = read_tensor_file(file, "a checkpoint")
        except UserError as error:
            assert "weights.pt" in str(error) and len(str(error).splitlines()) == 1
        else:
            assert found.keys() == expected.keys() and found["epoch"] == 3
            assert all(torch.equal(found[key], expected[key]) for key in ("first", "second"))


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"\x80\x02}q\x00.", b"\x1f\x8b" + bytes(50)])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pt: "):
        read_tensor_file(tmp_path / "a.pt", "a checkpoint")


def test_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"a": Evil()}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="holds more than tensors and plain values"):
        read_tensor_file(tmp_path / "a.pt", "a checkpoint")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_nan_and_infinite_weights_are_counted(dtype: torch.dtype) -> None:
    good = torch.ones(2, 3)
    check_tensors({"a": good.to(dtype), "count": torch.tensor(3), "name": "x"}, "w.pt")
    bad = good.clone()
    bad[0, 1] = bad[1, 1] = float("nan")
    with pytest.raises(UserError, match=r"w\.pt: b has 2 NaN or infinite of 6 values"):
        check_tensors({"a": good, "b": bad.to(dtype)}, "w.pt")


def test_the_largest_finite_values_are_fine() -> None:
    """Their sum is infinite."""
    check_tensors({"a": torch.full((4,), torch.finfo(torch.float32).max)}, "w.pt")


@pytest.mark.parametrize(
    "odd", [torch.eye(2).to_sparse(), torch.empty(2, device="meta"), torch.zeros(1).expand(10**6, 10**6)]
)
def test_tensors_of_other_kinds(odd: Any) -> None:
    with pytest.raises(UserError, match=r"w\.pt: a is not an ordinary dense tensor"):
        check_tensors({"a": odd}, "w.pt")
