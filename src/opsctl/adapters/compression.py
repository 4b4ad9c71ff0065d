"""How many bytes a file takes when it is packed as servers pack it: gzip, brotli, zstd.

Each library lets other threads run meanwhile. They are imported when they are asked for.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opsctl.core.errors import Exit, OpsError

GZIP_WRAPPER = 31
"""zlib's window bits of the largest window within gzip's header and trailer."""


@dataclass(frozen=True)
class Method:
    """One way to pack."""

    name: str
    """As the Accept-Encoding header of a browser says it, but for brotli: gzip, brotli, zstd."""
    engine: str
    """The library: two of them make different sizes of the same level."""
    level: int

    @property
    def label(self) -> str:
        """Say it all: `gzip (libdeflate 6)`; sizes with different labels cannot be compared."""
        return f"{self.name} ({self.engine} {self.level})"


_LIBRARIES = {"libdeflate": "deflate", "brotli": "brotli", "zstd": "zstandard"}
"""Engine -> module; zlib comes with Python."""


def choose_methods(
    names: Sequence[str], *, gzip_engine: str, gzip_level: int, brotli_level: int, zstd_level: int
) -> tuple[Method, ...]:
    """Return those of the named ways to pack (gzip, brotli, zstd) whose libraries are there.

    `gzip_engine` is zlib, libdeflate, or auto: libdeflate where it is there. Raises OpsError
    `library-missing` (exit 3) for a libdeflate that is asked for by name and not there.
    """
    if gzip_engine == "libdeflate" and not _is_there("libdeflate"):
        raise OpsError(
            "The library libdeflate was not found",
            why="bundle.gzip_engine asks for it by name",
            hint="pip install 'opsctl[bundle]', or set bundle.gzip_engine to auto",
            code="library-missing",
            exit=Exit.UNKNOWN,
        )
    methods = []
    if "gzip" in names:
        fast = gzip_engine != "zlib" and _is_there("libdeflate")
        methods.append(Method("gzip", "libdeflate" if fast else "zlib", gzip_level))
    if "brotli" in names and _is_there("brotli"):
        methods.append(Method("brotli", "brotli", brotli_level))
    if "zstd" in names and _is_there("zstd"):
        methods.append(Method("zstd", "zstd", zstd_level))
    return tuple(methods)


def packer(method: Method) -> Callable[[bytes], int]:
    """Return a function from bytes to how many they are when packed."""
    level = method.level
    if method.engine == "zlib":
        return lambda data: len(zlib.compress(data, level, GZIP_WRAPPER))
    library = importlib.import_module(_LIBRARIES[method.engine])
    if method.engine == "libdeflate":
        return lambda data: len(library.gzip_compress(data, level))
    if method.engine == "brotli":
        return lambda data: len(library.compress(data, quality=level))
    # A compressor of its own each time: they may not be shared by threads.
    return lambda data: len(library.ZstdCompressor(level=level).compress(data))


def _is_there(engine: str) -> bool:
    try:
        importlib.import_module(_LIBRARIES[engine])
    except ImportError:
        return False
    return True
