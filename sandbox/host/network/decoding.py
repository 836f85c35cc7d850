"""Content codings, undone within a bound: a kilobyte that unpacks to a gigabyte costs no more than the bound."""

from __future__ import annotations

import zlib

_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_WINDOWS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


class UnknownCoding(ValueError):
    """A coding that was not asked for."""


class BadCoding(ValueError):
    """The content is not what its coding says, or ends early."""


class TooLarge(ValueError):
    """More than `bytes_max`."""


class Content:
    """Takes a body in pieces; keeps at most `bytes_max` of it, packed and unpacked. `coding` is the header `Content-Encoding`."""

    def __init__(self, coding: str, bytes_max: int) -> None:
        names = [name for one in coding.lower().split(",") if (name := one.strip()) not in ("", "identity")]
        if len(names) > 1 or any(name not in _WINDOWS for name in names):
            raise UnknownCoding
        self._window = _WINDOWS[names[0]] if names else None
        self._stream = zlib.decompressobj(self._window) if self._window else None
        self._bytes_max = bytes_max
        self._received = 0
        self._content = bytearray()

    def take(self, piece: bytes) -> None:
        """Raises TooLarge, BadCoding."""
        self._received += len(piece)
        if self._received > self._bytes_max:
            raise TooLarge
        if self._stream is None:
            self._content += piece
            return
        first = self._received == len(piece)
        try:
            self._unpack(piece)
        except zlib.error:
            if not (first and self._window == _ZLIB):
                raise BadCoding from None
            self._window, self._stream = _RAW, zlib.decompressobj(_RAW)  # what some servers take `deflate` for
            self._retry(piece)

    def end(self) -> bytes:
        """All of it. Raises BadCoding when something is missing."""
        if self._stream is not None and self._received and not self._stream.eof:
            raise BadCoding
        return bytes(self._content)

    def _retry(self, piece: bytes) -> None:
        try:
            self._unpack(piece)
        except zlib.error:
            raise BadCoding from None

    def _unpack(self, piece: bytes) -> None:
        assert self._stream is not None and self._window is not None
        while piece:
            if self._stream.eof:  # gzip may be several members, one after another
                if self._window != _GZIP:
                    raise BadCoding
                self._stream = zlib.decompressobj(self._window)
            self._content += self._stream.decompress(piece, self._bytes_max - len(self._content) + 1)
            if len(self._content) > self._bytes_max:
                raise TooLarge
            piece = self._stream.unconsumed_tail or self._stream.unused_data
