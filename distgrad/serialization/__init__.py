"""Saving and loading: structures with tensors in them as safetensors files, never as pickles.

``container`` is the file format, read strictly; ``structure`` turns nested objects into JSON and arrays; ``files``
puts them together, with checksums and atomic writing.
"""

from __future__ import annotations

from .container import LoadError
from .files import load, save

__all__ = ["LoadError", "load", "save"]
