"""``python -m distgrad``: see :mod:`distgrad.cli`."""

from __future__ import annotations

import os
import sys

from distgrad.cli import main


def _run() -> int:
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read has enough, as head has; the interpreter's last flush must not fail either
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return 130


sys.exit(_run())
