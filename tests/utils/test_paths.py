import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from utils.errors import Unreadable, UserError
from utils.paths import files_below, is_file, is_folder, is_there, read_bytes, refuse_special, user_path


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder `inside` that may not be entered, in one that may; the test runs as nobody where this is root."""
    folder = Path(tempfile.mkdtemp())  # those of pytest are closed to nobody as a whole
    folder.chmod(0o755)
    (folder / "inside").mkdir()
    (folder / "inside" / "a.jpg").touch()
    (folder / "inside").chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield folder / "inside"
    finally:
        if is_root:
            os.seteuid(0)
        (folder / "inside").chmod(0o755)
        shutil.rmtree(folder)


def test_home_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert user_path("~/a b.jpg") == tmp_path / "me" / "a b.jpg"
    assert user_path("a/~/b") == Path("a/~/b")


def test_a_user_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"input=~nouser/a\.jpg: there is no home folder ~nouser; .* \./~name"):
        user_path("~nouser/a.jpg", "input")
    Path("~nouser").mkdir()
    assert user_path("~nouser") == Path("~nouser")  # a name like others, as shells take it


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param("x" * 256, "File name too long", id="256 letters"),
        pytest.param("李" * 90 + "/a.jpg", "File name too long", id="270 bytes"),
        ("a\0b", r"a\\x00b: not a path \(embedded null byte\)"),
        ("loop/a", "Too many levels of symbolic links"),
        ("pipe", "it is a named pipe, not a file"),
        ("link to pipe", "it is a named pipe"),
        ("/dev/null", "it is a device"),
        ("socket", "it is a socket"),
    ],
)
def test_what_cannot_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    Path("link to pipe").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        for ask in (lambda path: user_path(path, "input"), is_file, is_folder, is_there):
            with pytest.raises(UserError, match=words) as caught:
                ask(given)
            assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "nowhere").symlink_to("missing")
    told = {name: (is_file(tmp_path / name), is_folder(tmp_path / name), is_there(tmp_path / name))
            for name in (".", "file", "file/below", "nowhere", "missing")}  # fmt: skip
    assert told == {
        ".": (False, True, True),
        "file": (True, False, True),
        "file/below": (False, False, False),
        "nowhere": (False, False, False),
        "missing": (False, False, False),
    }
    assert user_path(str(tmp_path / "missing" / "x.png")) == tmp_path / "missing" / "x.png"


def test_without_permission(closed: Path) -> None:
    for path in (closed, closed / "a.jpg"):
        with pytest.raises(UserError, match=r"input=.*: Permission denied"):
            user_path(path, "input")
    with pytest.raises(UserError, match=r"inside: the folder cannot be read \(Permission denied\)"):
        files_below(closed.parent)


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="it is a named pipe, not a file"):
        read_bytes(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a device, not a file"):
        refuse_special("/dev/zero")
    with pytest.raises(Unreadable, match="null byte"):
        read_bytes("a\0b")
    (tmp_path / "file").write_bytes(b"12")
    assert read_bytes(tmp_path / "file") == b"12"


def test_pointers_of_git_lfs_are_not_the_file(tmp_path: Path) -> None:
    pointer = tmp_path / "a.png"
    pointer.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 4\n")
    with pytest.raises(Unreadable, match=r"a\.png: a pointer of Git LFS, .*git lfs pull"):
        read_bytes(pointer)


def test_hidden_and_system_folders_are_left_out(tmp_path: Path) -> None:
    for name in (
        *("b.jpg", "a/c.jpg", "a/b/d.jpg", "a.txt", ".hidden.jpg"),
        *(".ipynb_checkpoints/b-checkpoint.jpg", "a/@eaDir/c.jpg/SYNO.jpg", "__MACOSX/a/._c.jpg", "__MACOSX/c.jpg"),
        *("a/$RECYCLE.BIN/x.jpg", "lost+found/y.jpg"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_below(tmp_path) == ["a.txt", "a/b/d.jpg", "a/c.jpg", "b.jpg"]
    assert files_below(tmp_path / ".ipynb_checkpoints") == ["b-checkpoint.jpg"]  # what was asked for is not hidden


def test_a_link_to_itself_is_a_file(tmp_path: Path) -> None:
    """Which cannot be read, but the others of its folder can."""
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").symlink_to("b.png")
    assert files_below(tmp_path) == ["a.png", "b.png"]
    with pytest.raises(Unreadable, match=r"b\.png: cannot be read \(Too many levels of symbolic links\)"):
        read_bytes(tmp_path / "b.png")


def test_each_real_folder_is_visited_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for path in (root / "a.jpg", root / "real" / "b.jpg", tmp_path / "elsewhere" / "c.jpg"):
        path.touch()
    (root / "a link").symlink_to("real")  # its own path counts, though the link comes first
    (root / "real" / "up").symlink_to("..")
    (root / "real" / "self").symlink_to(".")
    (root / "out").symlink_to("../elsewhere")
    (root / "out again").symlink_to("../elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    (root / "linked.jpg").symlink_to("a.jpg")
    (root / "nowhere.jpg").symlink_to("missing")  # named when it is read
    assert files_below(root) == ["a.jpg", "linked.jpg", "nowhere.jpg", "out/c.jpg", "real/b.jpg"]
    (tmp_path / "entry").symlink_to("root/real")
    assert files_below(tmp_path / "entry") == ["b.jpg", "up/a.jpg", "up/linked.jpg", "up/nowhere.jpg", "up/out/c.jpg"]
