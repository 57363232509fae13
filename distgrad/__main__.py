"""``python -m distgrad``: see :mod:`distgrad.cli`."""

from __future__ import annotations

import sys

from distgrad.cli import main

sys.exit(main())
