"""Side-by-side measurements: python -m benchmarks.<name>."""

from utils import console

console.prepare()  # so that `python -m benchmarks.loss | head` ends quietly
