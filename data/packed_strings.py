"""A list of strings that many processes can share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np


class PackedStrings:
    """Strings in one array of bytes.

    Reading an element of a list writes its reference count, which copies the memory page in each worker process: with
    100,000 paths, hundreds of megabytes over an epoch.

    Attributes:
        bytes: all strings in UTF-8, uint8.
        ends: where each ends, int64.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        encoded = [string.encode("utf-8", "surrogatepass") for string in strings]
        self.bytes = np.frombuffer(b"".join(encoded), np.uint8)
        self.ends = np.cumsum([len(string) for string in encoded], dtype=np.int64)

    @classmethod
    def from_arrays(cls, content: np.ndarray, ends: np.ndarray) -> PackedStrings:
        """Return the strings with these `bytes` and `ends`."""
        packed = cls(())
        packed.bytes, packed.ends = content, ends
        return packed

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"string {index} of {len(self)}")
        start = self.ends[index - 1] if index else 0
        return self.bytes[start : self.ends[index]].tobytes().decode("utf-8", "surrogatepass")
