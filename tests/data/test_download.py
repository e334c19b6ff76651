from __future__ import annotations

import errno
import io
import random
import shutil
import socket
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import pytest

import data.download
from data.download import ATTEMPTS, download, extract
from tests.data.archive_server import Server, files_below, md5
from utils.errors import UserError

CONTENT = random.Random(0).randbytes(300_007)
MD5 = md5(CONTENT)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(data.download, "PAUSE", 0)
    with Server({"/set.tar": CONTENT}) as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "set.tar"


def write_part(file: Path, content: bytes) -> Path:
    file.parent.mkdir()
    part = file.with_name("set.tar.part")
    part.write_bytes(content)
    return part


def test_a_file_comes_whole(server: Server, file: Path) -> None:
    download(f"{server.url}/set.tar", file, MD5)
    assert files_below(file.parent) == {"set.tar": CONTENT}
    assert server.ranges == [None]


def test_a_broken_connection_goes_on_where_it_stopped(server: Server, file: Path) -> None:
    server.cuts = [100_000, 0, 70_001]
    download(f"{server.url}/set.tar", file, MD5)
    assert server.ranges == [None, "bytes=100000-", "bytes=100000-", "bytes=170001-"]
    assert files_below(file.parent) == {"set.tar": CONTENT}


def test_a_silent_server_is_asked_anew(server: Server, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = iter([0.5, 60])  # the second answer may take long on a busy machine

    def impatient(request: Request, timeout: float) -> Any:
        assert timeout == data.download.TIMEOUT
        return urlopen(request, timeout=next(timeouts))

    monkeypatch.setattr(data.download, "urlopen", impatient)
    server.cuts, server.ending = [100_000], "silence"
    download(f"{server.url}/set.tar", file, MD5)
    assert server.ranges == [None, "bytes=100000-"]
    assert file.read_bytes() == CONTENT


def test_a_reset_connection_goes_on_too(server: Server, file: Path) -> None:
    server.cuts, server.ending = [100_000], "reset"
    download(f"{server.url}/set.tar", file, MD5)
    assert len(server.ranges) == 2  # how much of the first answer arrived is the system's affair
    assert file.read_bytes() == CONTENT


def test_attempts_are_counted_from_the_last_progress(server: Server, file: Path) -> None:
    server.cuts = ([0] * (ATTEMPTS - 1) + [10_000]) * 3
    download(f"{server.url}/set.tar", file, MD5)
    assert file.read_bytes() == CONTENT
    assert len(server.ranges) == 3 * ATTEMPTS + 1


def test_a_server_without_ranges_begins_anew(server: Server, file: Path) -> None:
    server.knows_ranges, server.cuts = False, [100_000]
    download(f"{server.url}/set.tar", file, MD5)
    assert server.ranges == [None, "bytes=100000-"]
    assert file.read_bytes() == CONTENT


def test_beginning_anew_is_no_progress(server: Server, file: Path) -> None:
    server.knows_ranges, server.cuts = False, [100_000] * 50
    with pytest.raises(UserError, match="broke off"):
        download(f"{server.url}/set.tar", file, MD5)
    assert len(server.ranges) == 1 + ATTEMPTS


def test_an_earlier_process_is_continued(server: Server, file: Path) -> None:
    write_part(file, CONTENT[:123_456])
    download(f"{server.url}/set.tar", file, MD5)
    assert server.ranges == ["bytes=123456-"]
    assert files_below(file.parent) == {"set.tar": CONTENT}


def test_a_part_that_lacks_nothing_is_the_file(server: Server, file: Path) -> None:
    write_part(file, CONTENT)
    download(f"{server.url}/set.tar", file, MD5)
    assert server.ranges == [f"bytes={len(CONTENT)}-"]
    assert files_below(file.parent) == {"set.tar": CONTENT}


@pytest.mark.parametrize("before", [b"", b"other" * 1000, b"other" * 100_000], ids=["none", "shorter", "longer"])
def test_a_wrong_hash_deletes_what_came(server: Server, file: Path, before: bytes) -> None:
    write_part(file, before)
    with pytest.raises(UserError, match=r"damaged.*deleted.*put the right file at"):
        download(f"{server.url}/set.tar", file, MD5 if before else "0" * 32)
    assert files_below(file.parent) == {}


def test_a_file_that_is_there_is_only_checked(server: Server, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(CONTENT)
    download(f"{server.url}/set.tar", file, MD5)
    file.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=r"set\.tar: not the file at .*delete it"):
        download(f"{server.url}/set.tar", file, MD5)
    assert server.ranges == []
    assert files_below(file.parent) == {"set.tar": CONTENT[:-1]}


@pytest.mark.parametrize("code", [403, 404])
def test_a_refusal_is_final(server: Server, file: Path, code: int) -> None:
    server.codes = [code] * 50
    with pytest.raises(UserError, match=rf"{server.url}/set.tar .*{code}.* put the file at {file} by hand"):
        download(f"{server.url}/set.tar", file, MD5)
    assert len(server.ranges) == 1
    assert files_below(file.parent) == {}


def test_a_busy_server_is_asked_again(server: Server, file: Path) -> None:
    server.codes = [503, 429]
    download(f"{server.url}/set.tar", file, MD5)
    assert file.read_bytes() == CONTENT


def test_what_came_before_the_server_went_is_kept(server: Server, file: Path) -> None:
    server.cuts = [100_000] + [0] * 50
    message = rf"{server.url}/set.tar .*broke off.* 100kB .* same command continues.* put the file at {file} by hand"
    with pytest.raises(UserError, match=message):
        download(f"{server.url}/set.tar", file, MD5)
    assert len(server.ranges) == 1 + ATTEMPTS
    assert files_below(file.parent) == {"set.tar.part": CONTENT[:100_000]}


def test_no_server_at_all(server: Server, file: Path) -> None:
    write_part(file, b"12345")
    with socket.socket() as deaf:  # it has a port, which nobody else gets, and does not listen
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=r"cannot be downloaded \(.*refused\); 5.*same command"):
            download(f"http://127.0.0.1:{deaf.getsockname()[1]}/set.tar", file, MD5)
    assert files_below(file.parent) == {"set.tar.part": b"12345"}


@pytest.mark.parametrize("knows_ranges", [True, False])
@pytest.mark.parametrize(
    ("there", "free", "fits"), [(0, 300_006, False), (100_000, 200_006, False), (100_000, 200_007, True)]
)
def test_too_small_a_disk_is_refused_before_it_is_full(
    server: Server, file: Path, there: int, free: int, fits: bool, knows_ranges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.knows_ranges = knows_ranges  # if not, the part makes room for the whole
    part = write_part(file, CONTENT[:there])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    if fits:
        download(f"{server.url}/set.tar", file, MD5)
        assert file.read_bytes() == CONTENT
        return
    with pytest.raises(UserError, match=r"needs \d+kB more .* \d+kB are free; make room"):
        download(f"{server.url}/set.tar", file, MD5)
    assert part.stat().st_size == there


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_disk_that_fills_up_is_named(server: Server, file: Path) -> None:
    file.parent.mkdir()
    file.with_name("set.tar.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"set\.tar: .*No space left") as raised:
        download(f"{server.url}/set.tar", file, MD5)
    assert isinstance(raised.value.__cause__, OSError)
    assert raised.value.__cause__.errno == errno.ENOSPC
    assert len(server.ranges) == 1


def test_a_place_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file, not a folder")
    with pytest.raises(UserError, match=r"raw/set\.tar: cannot be read or written"):
        download(f"{server.url}/set.tar", tmp_path / "raw" / "set.tar", MD5)


INSIDE = {"VOCdevkit/VOC2012/a.txt": b"new a", "VOCdevkit/VOC2012/sub/b.txt": CONTENT[:5000], "readme": b"new"}


@pytest.fixture(params=[".tar", ".tgz", ".tar.gz", ".zip"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"set{request.param}"
    if request.param == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in INSIDE.items():
                packed.writestr(name, content)
    else:
        write_tar(path, INSIDE)
    return path


def write_tar(path: Path, contents: dict[str, bytes]) -> None:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as packed:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))


def test_an_archive_is_unpacked_into_what_is_there(
    archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    others = {"VOCdevkit/VOC2012/other.txt": b"old", "VOCdevkit/VOC2007/a.txt": b"old", "other": b"old"}
    for name, content in {**others, "VOCdevkit/VOC2012/a.txt": b"old a", "readme": b"old"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    with caplog.at_level("INFO"):
        extract(archive, folder)
    assert files_below(folder) == {**others, **INSIDE}
    assert {p.name for p in folder.iterdir()} == {"VOCdevkit", "readme", "other"}
    assert f"extracting {archive}" in caplog.text


def test_an_archive_is_unpacked_into_a_new_folder(archive: Path, tmp_path: Path) -> None:
    extract(archive, tmp_path / "new" / "data")
    assert files_below(tmp_path / "new" / "data") == INSIDE


def test_an_interruption_leaves_nothing(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = []

    def interrupt(source: Path, target: Path) -> None:
        unpacked.append(files_below(source))
        raise KeyboardInterrupt

    monkeypatch.setattr(data.download, "_merge", interrupt)
    with pytest.raises(KeyboardInterrupt):
        extract(archive, tmp_path / "data")
    assert unpacked == [INSIDE]
    assert list((tmp_path / "data").iterdir()) == []


def test_a_full_disk_is_not_the_archives_fault(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_up(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fill_up)
    monkeypatch.setattr(tarfile, "copyfileobj", fill_up)
    with pytest.raises(UserError, match="No space left") as raised:
        extract(archive, tmp_path / "data")
    assert "delete" not in str(raised.value)
    assert list((tmp_path / "data").iterdir()) == []
