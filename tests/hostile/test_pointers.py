"""Attacks with addresses and bytes: ranges outside memory, lengths that overflow, requests that are no requests. On both call paths."""

from __future__ import annotations

import msgspec
import pytest

from sandbox.host import HostImport, known_imports
from sandbox.host.wasi import MODULE as WASI
from schemas.abi import IMPORT_MODULE
from schemas.capabilities import Capability
from tests.hostile.conftest import MakeWorld
from tests.hostile.puppet import ARENA, MEMORY_BYTES, OUT, call
from tests.hostile.rig import BAD_POINTER, DENIED, INVALID, ROOM, TOO_LARGE, UNAVAILABLE, Tenant, World, grant

MIB = 1 << 20
RANGES = {
    "one byte beyond the end": (MEMORY_BYTES + 3 * MIB, 1),
    "the last address there is": (0xFFFF_FFFF, 1),
    "across the end": (MEMORY_BYTES + 3 * MIB - 1, MIB),
    "wraps around to the start": (0xFFFF_FFF0, 0x20),
    "half of all, twice": (0x8000_0000, 0x8000_0000),
    "address as a negative number": (-16, 8),
    "length as a negative number": (0, -1),
}
"""3 MiB: what the puppet's own work adds to its memory at most."""
REQUESTS = [
    name
    for (module, name), one in known_imports().items()
    if module == IMPORT_MODULE and one.capability and one.parameters == ("i32",) * 4
]
EVERYTHING = [grant(*Capability)]


def tenant(make: MakeWorld, *names: str, extra: tuple[HostImport, ...] = ()) -> Tenant:
    return make(extra=extra).tenant(*names, grants=EVERYTHING)


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("attack", RANGES)
def test_a_request_that_lies_outside_memory_is_a_code(make_world: MakeWorld, name: str, attack: str) -> None:
    one = tenant(make_world, name)
    address, length = RANGES[attack]
    (status,) = one.do(call(name, address, length, OUT, ROOM)).returned
    assert status in {BAD_POINTER, TOO_LARGE}
    assert one.report is not None and one.report.escape_attempts == (status == BAD_POINTER)


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("attack", RANGES)
def test_an_answer_that_would_lie_outside_memory_is_a_code_and_nothing_is_done(
    make_world: MakeWorld, name: str, attack: str
) -> None:
    one = tenant(make_world, name)
    address, length = RANGES[attack]
    (status,) = one.do(call(name, ARENA, 2, address, length), data=b"\xa1a").returned
    assert status == BAD_POINTER
    assert one.report is not None and one.report.escape_attempts == 1 and not one.report.uses


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_of_more_than_one_mib_is_too_large(make_world: MakeWorld, name: str) -> None:
    assert tenant(make_world, name).do(call(name, ARENA, MIB + 1, OUT, ROOM)).returned == (TOO_LARGE,)


NO_REQUESTS = {
    "nothing at all": b"",
    "a code msgpack does not have": b"\xc1",
    "nil": b"\xc0",
    "true": b"\xc3",
    "an integer": b"\x07",
    "not a number": b"\xcb\x7f\xf8" + bytes(6),
    "an empty list": b"\x90",
    "an empty map": b"\x80",
    "a list in a list in a list …": b"\x91" * 100_000 + b"\xc0",
    "a map in a map in a map …": b"\x81\xa1a" * 50_000 + b"\xc0",
    "a list that claims four thousand million items": b"\xdd\xff\xff\xff\xff",
    "a map that claims four thousand million items": b"\xdf\xff\xff\xff\xff",
    "a text that claims four GiB": b"\xdb\xff\xff\xff\xff",
    "bytes that claim more than there are": b"\xc4\x10abc",
    "half a text": b"\xd9",
    "two requests in one": b"\xa1a\xa1b",
    "a text that is no UTF-8": b"\xa2\xff\xfe",
    "a lone surrogate": b"\xa3\xed\xa0\x80",
    "a map with a map as its key": b"\x81\x80\xc0",
    "a map with a list as its key": b"\x81\x91\x80\xc0",
    "a map with not a number as its key": b"\x81\xcb\x7f\xf8" + bytes(6) + b"\xc0",
    "a timestamp": b"\xd6\xff\xff\xff\xff\xff",
    "a timestamp beyond all time": b"\xc7\x0c\xff\0\0\0\0\x7f" + b"\xff" * 7,
    "an extension of no known type": b"\xd4\x05\x00",
    "a hundred thousand nils": b"\xdd\x00\x01\x86\xa0" + b"\xc0" * 100_000,
    "a map of a name twice": b"\x82\xa1a\x01\xa1a\x02",
    "a list of an extension and itself": b"\x92\xd4\x05\x00\xd4\x05\x00",
    "a text with a NUL within": b"\xa3a\x00b",
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("attack", NO_REQUESTS)
def test_what_is_no_request_is_a_code_and_never_an_error_of_the_host(
    make_fast_world: MakeWorld, name: str, attack: str
) -> None:
    answer = tenant(make_fast_world, name).ask_raw(name, NO_REQUESTS[attack])
    assert answer.status in {DENIED, INVALID, TOO_LARGE, UNAVAILABLE}, answer


@pytest.mark.parametrize("attack", RANGES)
def test_random_bytes_for_a_range_outside_memory_are_not_written(make_world: MakeWorld, attack: str) -> None:
    one = tenant(make_world, "random")
    (status,) = one.do(call("random", *RANGES[attack])).returned
    assert status in {BAD_POINTER, TOO_LARGE}


def test_more_than_one_mib_of_random_bytes_is_too_large(make_world: MakeWorld) -> None:
    one = tenant(make_world, "random")
    assert one.do(call("random", OUT, MIB + 1), call("random", OUT, MIB)).returned == (TOO_LARGE, 0)


@pytest.mark.parametrize("attack", RANGES)
def test_a_line_outside_memory_is_no_line(make_world: MakeWorld, attack: str) -> None:
    one = tenant(make_world, "log")
    address, length = RANGES[attack]
    one.do(call("log", 2, address, length))
    assert one.report is not None
    assert all(len(line.text) <= 4096 for line in one.report.logs)
    assert not one.report.logs or attack == "length as a negative number"


def test_a_line_with_what_a_terminal_obeys_is_made_printable(make_world: MakeWorld) -> None:
    one = tenant(make_world, "log")
    data = b"\x1b[2J\x1b]0;owned\x07\r\nlevel=error forged=true \x00\xff\xe2\x80\xae"
    one.do(call("log", 2, ARENA, len(data)), data=data)
    assert one.report is not None
    (line,) = one.report.logs
    assert not {"\x1b", "\x07", "\r", "\x00", "\u202e"} & set(line.text)


def test_more_log_than_a_batch_may_have_is_suppressed_and_counted(make_world: MakeWorld) -> None:
    one = tenant(make_world, "log")
    one.do(*[call("log", 2, ARENA, 4096)] * 100, data=b"x" * 4096)
    assert one.report is not None
    assert sum(len(line.text) for line in one.report.logs) <= 16 << 10
    assert one.report.logs_suppressed > 90


@pytest.mark.parametrize("level", [5, 99, 0x7FFF_FFFF, -1])
def test_a_level_that_does_not_exist_is_the_highest(make_world: MakeWorld, level: int) -> None:
    one = tenant(make_world, "log")
    one.do(call("log", level, ARENA, 1), data=b"x")
    assert one.report is not None and [line.level for line in one.report.logs] == [4]


WASI_IMPORTS = {name: one for (module, name), one in known_imports().items() if module == WASI}
WASI_ENDS = ("proc_exit", "proc_raise")


@pytest.mark.parametrize("name", [name for name in WASI_IMPORTS if name not in WASI_ENDS])
@pytest.mark.parametrize("number", [0xFFFF_FFFF, 0x8000_0000, MEMORY_BYTES + 4 * MIB, 3])
def test_wasi_with_the_same_wild_number_everywhere_is_an_errno(make_world: MakeWorld, name: str, number: int) -> None:
    """Every argument at once: descriptors, addresses, lengths, flags."""
    one = tenant(make_world, f"wasi.{name}")
    (errno,) = one.do(call(name, *[number] * len(WASI_IMPORTS[name].parameters))).returned
    assert 0 <= errno <= 76


def test_request_and_answer_in_the_same_place_are_no_confusion(make_world: MakeWorld) -> None:
    from sandbox.host.requests import HostRequest, request_import

    def serve(request: HostRequest) -> object:
        request.admit()
        return request.value

    echo = request_import("echo", Capability.KEY_VALUE, serve)
    one = tenant(make_world, "echo", extra=(echo,))
    raw = msgspec.msgpack.encode("the same place")
    found = one.do(call("echo", ARENA, len(raw), ARENA, ROOM), data=raw, look=(ARENA, len(raw)))
    assert (found.returned, found.seen) == ((len(raw),), raw)


@pytest.mark.parametrize("room", [0, 1, 3])
def test_no_room_for_even_the_size_writes_nothing(make_world: MakeWorld, room: int) -> None:
    from sandbox.host.requests import HostRequest, request_import

    def serve(request: HostRequest) -> object:
        request.admit()
        return "four bytes and more"

    echo = request_import("echo", Capability.KEY_VALUE, serve)
    one = tenant(make_world, "echo", extra=(echo,))
    found = one.do(call("echo", ARENA, 1, ARENA + 8, room), data=b"\xc0" + bytes(range(100, 115)), look=(ARENA + 8, 8))
    assert (found.returned, found.seen) == ((TOO_LARGE,), bytes(range(107, 115)))


def test_an_answer_at_the_very_end_of_memory_fits_to_the_byte(make_world: MakeWorld) -> None:
    from sandbox.host.requests import HostRequest, request_import

    def serve(request: HostRequest) -> object:
        request.admit()
        return "abc"

    world: World = make_world(extra=(request_import("echo", Capability.KEY_VALUE, serve),))
    one = world.tenant("echo", grants=EVERYTHING)
    found = one.do(
        call("echo", ARENA, 0, MEMORY_BYTES - 4, 4), call("echo", ARENA, 1, MEMORY_BYTES - 4, 4), data=b"\xc0"
    )
    assert found.returned == (INVALID, 4)
