"""Commands: python -m tools.<name>."""

import sys

if sys.argv[:1] == ["-m"]:  # while Python looks for the module of -m: signals during its imports may be swallowed
    from utils.interruption import end_at_once

    end_at_once()
