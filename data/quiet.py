"""Silence decoders that write to the console themselves."""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0  # threads that decode


def _streams() -> tuple[ctypes.c_void_p, int, int] | None:
    """Return the variable `stderr` of the C library, its value, and a stream to nowhere; None if it cannot be set."""
    if platform.libc_ver()[0] != "glibc":  # others keep the variable in memory that is read-only
        return None
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    nowhere = library.fopen(os.fsencode(os.devnull), b"w")
    stream = ctypes.c_void_p.in_dll(library, "stderr")
    return (stream, stream.value, nowhere) if nowhere and stream.value else None


_found = _streams()


@contextmanager
def quiet() -> Iterator[None]:
    """Discard what C code prints to `stderr`.

    libjpeg and libpng report damage there without the name of the file ("Corrupt JPEG data: premature end of data
    segment"). Python's `sys.stderr` does not use that stream, so that other threads can write as usual.
    """
    global _inside
    if _found is None:
        yield
        return
    stream, console, nowhere = _found
    with _lock:
        _inside += 1
        stream.value = nowhere
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                stream.value = console


@contextmanager
def overheard() -> Iterator[Callable[[], str]]:
    """Keep what `quiet` discards meanwhile, in all threads; yield a function that returns the text so far.

    The text is empty where `quiet` has no effect.
    """
    global _found
    if _found is None:
        yield lambda: ""
        return
    stream, console, nowhere = before = _found
    library = ctypes.CDLL(None)
    library.fdopen.restype = ctypes.c_void_p
    descriptor = os.memfd_create("overheard")
    kept = library.fdopen(descriptor, b"w")
    library.setvbuf(ctypes.c_void_p(kept), None, 2, 0)  # unbuffered
    _found = stream, console, kept
    try:
        yield lambda: os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")
    finally:
        with _lock:
            _found = before
            if _inside:
                stream.value = nowhere
        library.fclose(ctypes.c_void_p(kept))
