"""``save`` and ``load``: nested Python structures with tensors in them, in safetensors files, never as pickles.

The tensors are ordinary entries of the file, named by where they stand (``model.0.weight``), so any reader of
safetensors finds them.  The structure around them is strict JSON in the file's metadata, and so is a SHA-256 of every
tensor and of the structure itself: safetensors has no checksum, and a flipped bit would otherwise load in silence.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from .. import backend, dtypes
from ..autograd import Tensor
from . import container
from .container import LoadError
from .structure import Decoder, Encoder

__all__ = ["NoFolderError", "load", "save"]

FORMAT = "distgrad"
VERSION = 1
_STRUCTURE, _CHECK, _FORMAT = "distgrad", "distgrad.sha256", "format"

MapLocation = str | backend.device | dict[str, str] | None


class NoFolderError(FileNotFoundError, RuntimeError):
    """The folder to save into is not there: PyTorch's RuntimeError, and what Python calls it."""


def save(obj: object, f: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write ``obj`` to the path or binary file ``f``.

    Dicts (keys may be numbers, as in an optimizer's state), lists and tuples may be nested.  Each tensor is an entry of
    its own, which any reader of safetensors finds by its name; tensors that share memory share it again when
    :func:`load` reads them.  A path is written atomically: to a temporary file beside it, which takes its place, and
    its mode, when everything is on the disk.

    Raises:
        TypeError: something of another type is in ``obj``; the message says where and what is possible.
        RuntimeError: the folder does not exist (it is a FileNotFoundError too).
        OSError: the system refuses; the error names ``f``.

    >>> torch.save([torch.ones(2), ("anything", 1.5)], "file.safetensors")
    >>> torch.load("file.safetensors")
    [tensor([1., 1.]), ('anything', 1.5)]
    """
    tensors: dict[str, np.ndarray] = {}
    encoder = Encoder(tensors)
    root = encoder.encode(obj, ())
    encoder.place_arrays()
    described = {
        name: {"dtype": dtypes.from_numpy_dtype(a.dtype).name, "shape": list(a.shape), "sha256": _digest(a)}
        for name, a in tensors.items()
    }
    structure = json.dumps(
        {"version": VERSION, "root": root, "tensors": described}, allow_nan=False, separators=(",", ":")
    )
    metadata = {_FORMAT: FORMAT, _STRUCTURE: structure, _CHECK: hashlib.sha256(structure.encode()).hexdigest()}
    stored = {name: _storable(a) for name, a in tensors.items()}
    if isinstance(f, (str, os.PathLike)):
        with _replacing(Path(f)) as file:
            container.write(file, stored, metadata)
    elif hasattr(f, "write"):
        container.write(f, stored, metadata)
    else:
        raise TypeError(f"save() writes to a path or a binary file, got {type(f).__name__}")


def load(f: str | os.PathLike[str] | IO[bytes], map_location: MapLocation = None, weights_only: bool = True) -> Any:
    """Read what :func:`save` wrote; of a safetensors file from elsewhere, a dict of its tensors.

    Args:
        f: a path, or a binary file, which is read from where it stands.
        map_location: the device to put all tensors on, or a dict from saved to wanted device names; None puts each
            where it was saved from.
        weights_only: accepted for PyTorch's sake; no code in a file is ever run.

    Raises:
        LoadError: the file is damaged, cut short, hostile or of another kind; nothing of it is returned.
        FileNotFoundError: there is no such file.

    >>> torch.save({"weight": torch.ones(2), "epoch": 3}, "file.safetensors")
    >>> torch.load("file.safetensors")
    {'weight': tensor([1., 1.]), 'epoch': 3}
    """
    where = _mapping(map_location)
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            return _load(file, os.fstat(file.fileno()).st_size, repr(os.fspath(f)), where, exact=True)
    if not hasattr(f, "read"):
        raise TypeError(f"load() reads from a path or a binary file, got {type(f).__name__}")
    name = repr(getattr(f, "name", None) or type(f).__name__)
    if hasattr(f, "seekable") and f.seekable():
        start = f.tell()
        size = f.seek(0, os.SEEK_END) - start
        f.seek(start)
        return _load(f, size, name, where, exact=False)
    content = f.read()
    return _load(io.BytesIO(content), len(content), name, where, exact=True)


def _storable(array: np.ndarray) -> np.ndarray:
    """``array`` in a type that the format has: complex128 as pairs of float64."""
    if array.dtype != np.complex128:
        return array
    return array.reshape(-1).view(np.float64).reshape(*array.shape, 2)


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.reshape(-1).view(np.uint8).data if array.nbytes else b"").hexdigest()


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write; at the end, and only if all went well, it is on the disk under the name ``path``."""
    target = path.resolve()  # where a link points to, so that the link stays one
    if target.exists() and not target.is_file():  # /dev/stdout, a pipe, or a folder, for which open() has the message
        with open(target, "wb") as file:
            yield file
        return
    if not target.parent.is_dir():
        raise NoFolderError(f"Parent directory {target.parent} does not exist.")
    temporary = target.with_name(f".{target.name[:32]}.{secrets.token_hex(6)}.tmp")  # a name has 255 bytes at most
    try:
        file = open(temporary, "xb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise type(error)(error.errno, f"{error.strerror} (no file can be made beside it)", os.fspath(path)) from None
    try:
        with file:
            _take_over_rights(file, target)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename == os.fspath(temporary):
            error.filename = os.fspath(path)
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name is on the disk too
    finally:
        os.close(folder)


def _take_over_rights(file: IO[bytes], target: Path) -> None:
    """Mode and, where that is allowed, owner of the file that ``file`` will replace, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        before = target.stat()
        with contextlib.suppress(PermissionError):
            os.fchown(file.fileno(), before.st_uid, before.st_gid)
        os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))


# ------------------------------------------------------------------------------------------------------------ loading


def _load(file: IO[bytes], size: int, name: str, where: Callable[[str], backend.device], *, exact: bool) -> Any:
    entries, metadata = container.read_header(file, size, name, exact=exact)
    # One changed character may hide one of the three marks, never all.
    is_ours = metadata.get(_FORMAT) == FORMAT or _STRUCTURE in metadata or _CHECK in metadata
    structure = _structure(metadata, entries, name) if is_ours else None
    described = structure["tensors"] if structure else {}
    raws: dict[str, np.ndarray] = {}
    for entry in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
        raw = raws[entry.name] = container.read_raw(file, entry, name)
        if structure and _digest(raw) != described[entry.name]["sha256"]:
            raise LoadError(f"cannot load {name}: tensor {entry.name!r} is damaged: its SHA-256 is not the one saved")
    if structure is None:
        here = where("cpu")
        return {e.name: Tensor._wrap(backend.to_device(_shaped(raws[e.name], e), here), None) for e in entries.values()}
    try:
        return Decoder(entries, raws, described, where, name).decode(structure["root"])
    except RecursionError:
        raise LoadError(f"cannot load {name}: what it holds is nested too deeply") from None


def _shaped(raw: np.ndarray, entry: container.Entry) -> np.ndarray:
    return raw.view(entry.dtype.np).reshape(entry.shape)


def _structure(metadata: dict[str, str], entries: dict[str, container.Entry], name: str) -> dict[str, Any]:
    """The checked description of what :func:`save` was given."""
    text = metadata.get(_STRUCTURE)
    if metadata.get(_FORMAT) != FORMAT or text is None or _CHECK not in metadata:
        raise LoadError(f"cannot load {name}: its metadata is damaged: not all of what save() writes is there")
    if hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() != metadata[_CHECK]:
        raise LoadError(f"cannot load {name}: its structure is damaged: its SHA-256 is not the one saved")
    structure = container.strict_json(text.encode(errors="surrogatepass"), name, "its structure")
    if structure.get("version") != VERSION:
        raise LoadError(
            f"cannot load {name}: it is of version {structure.get('version')!r}; this distgrad reads version {VERSION}"
        )
    described = structure.get("tensors")
    if structure.keys() != {"version", "root", "tensors"} or not isinstance(described, dict):
        raise LoadError(f"cannot load {name}: its structure lacks or has surplus parts: {sorted(structure)}")
    for lost in sorted(described.keys() ^ entries.keys()):
        missing = "is missing" if lost in described else "is in the file but not in its structure"
        raise LoadError(f"cannot load {name}: tensor {lost!r} {missing}")
    for key, entry in entries.items():
        told = described[key]
        if not isinstance(told, dict) or told.keys() != {"dtype", "shape", "sha256"}:
            raise LoadError(f"cannot load {name}: the structure does not describe tensor {key!r}")
        found: tuple[Any, Any] = (entry.dtype.name, list(entry.shape))
        if told["dtype"] == "complex128":
            found = ("complex128" if entry.dtype is dtypes.float64 else entry.dtype.name, list(entry.shape[:-1]))
            found = found if entry.shape[-1:] == (2,) else (found[0], None)
        if (told["dtype"], told["shape"]) != found:
            raise LoadError(
                f"cannot load {name}: tensor {key!r} was saved as {told['dtype']} {told['shape']} and lies there as "
                f"{entry.dtype.name} {list(entry.shape)}"
            )
    return structure


def _mapping(map_location: object) -> Callable[[str], backend.device]:
    """Where a tensor saved from a device of some name shall go."""
    wanted: dict[str, str] | None = None
    if isinstance(map_location, (str, backend.device)):
        fixed = backend.resolve(map_location)
        return lambda saved: fixed
    if isinstance(map_location, dict):
        wanted = {str(saved): str(new) for saved, new in map_location.items()}
    elif map_location is not None:
        kind = type(map_location).__name__
        raise TypeError(f"map_location must be a device, its name, a dict of names or None, got {kind}")

    def find(saved: str) -> backend.device:
        name = saved if wanted is None else wanted.get(saved, saved)
        try:
            return backend.resolve(name)
        except RuntimeError as error:
            raise RuntimeError(
                f"a tensor was saved from device {saved!r}: {error}; load(..., map_location='cpu') puts all on the CPU"
            ) from None

    return find
