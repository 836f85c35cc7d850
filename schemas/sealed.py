"""Secrets that the host keeps for long: sealed where they lie, opened for the moment in which they are used.

Threat: a core dump, a swapped page, a repr, a pickle, a log line, a value taken for another. A sealed value is ciphertext
(ChaCha20-Poly1305) under a key that this process made for itself and never wrote anywhere; whose secret it is, is authenticated
with it, so that one owner's value does not open as another's.

What this cannot do: the key lies in the same memory. Who reads all of it reads the secrets, too. Python's strings cannot be wiped:
what was opened lies about until its memory is used again, and so does the text of the registry that the secret came from.
"""

from __future__ import annotations

import functools
import hmac
import itertools
import os
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

NONCE_BYTES = 12


class SealBroken(Exception):
    """What was to be opened is not what was sealed, or not by this owner."""


class Vault:
    """One key, and nonces that never come twice: a count. Safe from any thread."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # a tenth of a start; few need it

        self.pid = os.getpid()
        self._cipher: ChaCha20Poly1305 = ChaCha20Poly1305(ChaCha20Poly1305.generate_key())
        self._nonces = itertools.count()

    def seal(self, secret: bytes, owner: str) -> tuple[bytes, bytes]:
        """Nonce and ciphertext."""
        nonce = next(self._nonces).to_bytes(NONCE_BYTES, "little")
        return nonce, self._cipher.encrypt(nonce, secret, owner.encode())

    def open(self, nonce: bytes, sealed: bytes, owner: str) -> bytes:
        """The secret. Raises SealBroken."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(nonce, sealed, owner.encode())
        except InvalidTag:
            raise SealBroken(f"not what was sealed for {owner}") from None


@functools.lru_cache(maxsize=2)
def _vault(pid: int) -> Vault:
    return Vault()


class Sealed:
    """A text that only its owner's name opens. Compares in constant time; has no repr, pickle or JSON that says anything."""

    __slots__ = ("_nonce", "_sealed", "_vault", "owner")

    def __init__(self, secret: str, owner: str) -> None:
        """`owner` is whose it is, in words that the one who opens it knows: `databases.orders`."""
        self.owner = owner
        self._vault = _vault(
            os.getpid()
        )  # a forked child counts its own nonces under its own key, and opens what it inherited
        self._nonce, self._sealed = self._vault.seal(secret.encode(), owner)

    def open(self, owner: str) -> str:
        """The secret; let go of it soon. Raises SealBroken for another's, or when a bit of it has changed."""
        return self._vault.open(self._nonce, self._sealed, owner).decode()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sealed):
            return NotImplemented
        return self.owner == other.owner and hmac.compare_digest(
            self.open(self.owner).encode(), other.open(other.owner).encode()
        )

    def __hash__(self) -> int:
        return hash(self.owner)

    def __repr__(self) -> str:
        return f"Sealed({self.owner!r})"

    def __copy__(self) -> Sealed:
        return self

    def __deepcopy__(self, _memo: object) -> Sealed:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a sealed secret does not leave its process")


def opened(secret: str | Sealed, owner: str) -> str:
    """What is sealed, or was never. Raises SealBroken."""
    return secret.open(owner) if isinstance(secret, Sealed) else secret
