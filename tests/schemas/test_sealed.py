from __future__ import annotations

import copy
import gc
import json
import os
import pickle
import subprocess
import sys
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.capabilities import Credential, credential_owner
from schemas.sealed import SealBroken, Sealed, Vault, opened
from schemas.specs import DatabaseSpec

OWNER = "databases.orders"


@given(st.text(), st.text())
def test_what_is_sealed_opens_for_its_owner_and_for_nobody_else(secret: str, other: str) -> None:
    sealed = Sealed(secret, OWNER)
    assert sealed.open(OWNER) == opened(sealed, OWNER) == opened(secret, OWNER) == secret
    if other != OWNER:
        with pytest.raises(SealBroken):
            sealed.open(other)


@given(st.binary(max_size=64), st.data())
def test_a_changed_bit_is_seen(secret: bytes, data: st.DataObject) -> None:
    vault = Vault()
    nonce, sealed = vault.seal(secret, OWNER)
    assert vault.open(nonce, sealed, OWNER) == secret
    at = data.draw(st.integers(0, 8 * len(sealed) - 1))
    changed = bytearray(sealed)
    changed[at // 8] ^= 1 << at % 8
    with pytest.raises(SealBroken):
        vault.open(nonce, bytes(changed), OWNER)


def test_a_nonce_never_comes_twice_and_another_vault_opens_nothing() -> None:
    vault = Vault()
    made = [vault.seal(b"the same", OWNER) for _ in range(1000)]
    assert len({nonce for nonce, _ in made}) == len({sealed for _, sealed in made}) == 1000
    with pytest.raises(SealBroken):
        Vault().open(*made[0], OWNER)


FORK = """
import os
from schemas.sealed import Sealed
inherited = Sealed("hunter2", "o")
child = os.fork()
fresh = Sealed("hunter2", "o")
assert inherited.open("o") == fresh.open("o") == "hunter2"
assert (fresh._vault is inherited._vault) == bool(child)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_child_seals_under_a_key_of_its_own_and_opens_what_it_inherited() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)


def test_nothing_that_shows_a_value_shows_the_secret() -> None:
    sealed = Sealed("hunter2-hunter2", OWNER)
    spec = DatabaseSpec("orders", "postgresql", dsn=Sealed("password=hunter2-hunter2", OWNER), password=sealed)
    credential = Credential("Authorization", Sealed("Bearer hunter2-hunter2", credential_owner("Authorization")))
    for one in (sealed, spec, credential, [sealed], asdict(spec)):
        assert "hunter2" not in f"{one} {one!r}"
    assert b"hunter2" not in sealed._sealed
    for out in (pickle.dumps, json.dumps):
        with pytest.raises(TypeError):
            out(sealed)
    assert credential.reveal() == "Bearer hunter2-hunter2"
    assert spec.owner == OWNER and opened(spec.password or "", spec.owner) == "hunter2-hunter2"


def test_at_rest_the_secret_is_in_no_object_of_the_process() -> None:
    sealed = Sealed("".join(["hun", "ter", str(os.getpid()), "-at-rest"]), OWNER)
    needle = "".join(["ter", str(os.getpid()), "-at-"])
    gc.collect()
    held = [one for one in gc.get_referents(sealed) if isinstance(one, str | bytes)]
    assert held and not any(needle in one if isinstance(one, str) else needle.encode() in one for one in held)


def test_two_sealed_values_are_equal_when_owner_and_secret_are() -> None:
    assert Sealed("a", OWNER) == Sealed("a", OWNER) != Sealed("b", OWNER)
    assert Sealed("a", OWNER) != Sealed("a", "another") and Sealed("a", OWNER) != "a"
    assert hash(Sealed("a", OWNER)) == hash(Sealed("a", OWNER))
    sealed = Sealed("a", OWNER)
    assert copy.copy(sealed) is copy.deepcopy(sealed) is sealed
