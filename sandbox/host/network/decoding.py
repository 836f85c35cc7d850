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
        self._stream: zlib._Decompress | None = None
        self._head = b""
        """The first bytes, until they say what the rest is."""
        self._bytes_max = bytes_max
        self._received = 0
        self._content = bytearray()

    def take(self, piece: bytes) -> None:
        """Raises TooLarge, BadCoding."""
        self._received += len(piece)
        if self._received > self._bytes_max:
            raise TooLarge
        if self._window is None:
            self._content += piece
            return
        if self._stream is None:
            self._head += piece
            if len(self._head) < 2:
                return
            piece, self._head = self._head, b""
            if self._window == _ZLIB and not _begins_as_zlib(piece):
                self._window = _RAW
            self._stream = zlib.decompressobj(self._window)
        try:
            self._unpack(self._stream, piece)
        except zlib.error:
            raise BadCoding from None

    def end(self) -> bytes:
        """All of it. Raises BadCoding when something is missing."""
        if self._window is not None and self._received and not (self._stream and self._stream.eof):
            raise BadCoding
        return bytes(self._content)

    def _unpack(self, stream: zlib._Decompress, piece: bytes) -> None:
        while piece:
            if stream.eof:  # gzip may be several members, one after another
                if self._window != _GZIP:
                    raise BadCoding
                stream = self._stream = zlib.decompressobj(_GZIP)
            self._content += stream.decompress(piece, self._bytes_max - len(self._content) + 1)
            if len(self._content) > self._bytes_max:
                raise TooLarge
            piece = stream.unconsumed_tail or stream.unused_data


def _begins_as_zlib(piece: bytes) -> bool:
    """By its header (RFC 1950); some servers take `deflate` for what is inside alone."""
    return piece[0] & 0x0F == 8 and int.from_bytes(piece[:2], "big") % 31 == 0
