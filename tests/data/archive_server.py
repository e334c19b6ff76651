"""A file server whose connections break on request, archives to serve, and simulated interruptions."""

from __future__ import annotations

import hashlib
import shutil
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


class Server(ThreadingHTTPServer):
    """A context manager that serves files as its attributes say, and records the requests.

    Args:
        files: contents by path; other paths get a 404.

    Attributes:
        url: prefix of the paths.
        paths: of each request so far.
        ranges: the Range header of each request so far, None for one without.
        cuts: bytes after which the first responses break off, one number per response.
        ending: how they break off: `close` closes the connection, `reset` resets it, `silence` continues after 3 s.
        codes: HTTP errors that the first requests get.
        knows_ranges: whether Range requests get partial content.
        shift: added to the requested start of a range.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.paths: list[str] = []
        self.ranges: list[str | None] = []
        self.cuts: list[int] = []
        self.ending = "close"
        self.codes: list[int] = []
        self.knows_ranges = True
        self.shift = 0
        self.over = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers["Range"]
        server.paths.append(self.path)
        server.ranges.append(asked)
        if server.codes or self.path not in server.files:
            self.send_error(server.codes.pop(0) if server.codes else 404)
            return
        content = server.files[self.path]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.knows_ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        start += server.shift if asked else 0
        self.send_response(206 if asked and server.knows_ranges else 200)
        if asked and server.knows_ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if not server.cuts:
            self.wfile.write(content[start:])
            return
        stop = start + server.cuts.pop(0)
        self.wfile.write(content[start:stop])
        if server.ending == "silence" and not server.over.wait(3):
            self.wfile.write(content[stop:])
        if server.ending == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *words: object) -> None:
        pass


def packed(root: Path, folder: str, kind: str) -> bytes:
    """Return an archive of `root/folder`, in a folder of that name; `kind` is `tar`, `gztar` or `zip`."""
    with TemporaryDirectory() as place:
        return Path(shutil.make_archive(f"{place}/archive", kind, root, folder)).read_bytes()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def files_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def interrupted(function: Callable[..., Any], call: int) -> Callable[..., Any]:
    """Wrap a function to raise KeyboardInterrupt at the given call, counted from 1."""
    calls = 0

    def wrapped(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    return wrapped
