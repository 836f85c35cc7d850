"""Attacks on what runs out: a grant's uses, its window, its end, under a clock that is moved by hand, also backwards."""

from __future__ import annotations

import threading

import pytest

from schemas.capabilities import Capability
from tests.hostile.conftest import MakeWorld
from tests.hostile.puppet import OUT, call
from tests.hostile.rig import DENIED, NOW_MS, ROOM, Stopped, Tenant, grant
from tests.sandbox.guests import batch

NOW = call("now_ms")
RANDOM = call("random", OUT, 8)


def allowed(tenant: Tenant, calls: int) -> int:
    """How many of so many calls in one event were not denied."""
    return sum(status == 0 for status in tenant.do(*[RANDOM] * calls).returned)


def limited(make: MakeWorld, **end: int) -> Tenant:
    return make().tenant("random", grants=[grant("random", **end)])


def test_calling_more_often_than_granted_is_denied_from_there_on(make_world: MakeWorld) -> None:
    tenant = limited(make_world, uses=3)
    assert tenant.do(*[RANDOM] * 5).returned == (0, 0, 0, DENIED, DENIED)
    assert tenant.used("random") == (3, 2)


def test_a_new_event_does_not_renew_the_uses(make_fast_world: MakeWorld) -> None:
    tenant = limited(make_fast_world, uses=3)
    assert [allowed(tenant, 2) for _ in range(3)] == [2, 1, 0]


def test_a_fresh_guest_does_not_renew_the_uses(make_fast_world: MakeWorld) -> None:
    world = make_fast_world()
    tenant = world.tenant("random", grants=[grant("random", uses=3)])
    assert allowed(tenant, 3) == 3
    tenant.session.close()
    assert allowed(tenant, 1) == 0


def test_a_second_lane_does_not_renew_the_uses(make_fast_world: MakeWorld) -> None:
    """All sessions of a transformer share its gate."""
    from sandbox import Transformer
    from schemas.capabilities import Grants
    from tests.hostile.puppet import puppet, script, told
    from tests.hostile.rig import LIMITS
    from tests.sandbox.guests import spec, values

    world = make_fast_world()
    imports = world.tenant("random", grants=[grant("random")]).imports
    granted = Grants((grant("random", uses=3),))
    transformer: Transformer = world.sandbox.load(spec("shared", capabilities=granted, limits=LIMITS), puppet(imports))
    seen = []
    for _ in range(2):
        (value,) = values(transformer.run(batch([script(imports, [RANDOM] * 2)])).outcomes[0])
        assert value is not None
        seen += told([RANDOM] * 2, value).returned
    assert seen == [0, 0, 0, DENIED]


def test_many_threads_at_once_do_not_share_out_one_use_twice(make_fast_world: MakeWorld) -> None:
    from schemas.capabilities import Grants
    from tests.hostile.puppet import puppet, script, told
    from tests.hostile.rig import LIMITS
    from tests.sandbox.guests import spec, values

    world = make_fast_world()
    imports = world.tenant("random", grants=[grant("random")]).imports
    granted = Grants((grant("random", uses=100),))
    transformer = world.sandbox.load(spec("raced", capabilities=granted, limits=LIMITS), puppet(imports))
    calls = [RANDOM] * 50
    seen: list[int] = []

    def attack() -> None:
        (value,) = values(transformer.run(batch([script(imports, calls)])).outcomes[0])
        assert value is not None
        seen.extend(told(calls, value).returned)

    threads = [threading.Thread(target=attack) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (seen.count(0), seen.count(DENIED)) == (100, 200)
    use = transformer.gate.totals()[Capability.RANDOM, ""]
    assert (use.allowed, use.denied) == (100, 200)


def test_calls_with_bad_pointers_use_the_grant_up_too(make_world: MakeWorld) -> None:
    tenant = limited(make_world, uses=2)
    assert tenant.do(call("random", -1, 1), call("random", -1, 1), RANDOM).returned == (-2, -2, DENIED)


def test_a_window_gives_its_uses_again_when_it_is_over_and_not_before(make_fast_world: MakeWorld) -> None:
    tenant = limited(make_fast_world, uses=2, per_ms=60_000)
    assert allowed(tenant, 3) == 2
    tenant.world.pass_ms(59_999)
    assert allowed(tenant, 1) == 0
    tenant.world.pass_ms(1)
    assert allowed(tenant, 3) == 2


def test_waiting_does_not_save_up_windows(make_fast_world: MakeWorld) -> None:
    tenant = limited(make_fast_world, uses=2, per_ms=1_000)
    tenant.world.pass_ms(3_600_000)
    assert allowed(tenant, 10) == 2


def test_denied_calls_do_not_push_the_window_on(make_fast_world: MakeWorld) -> None:
    tenant = limited(make_fast_world, uses=1, per_ms=1_000)
    assert allowed(tenant, 1) == 1
    for _ in range(9):
        tenant.world.pass_ms(100)
        assert allowed(tenant, 1) == 0
    tenant.world.pass_ms(100)
    assert allowed(tenant, 1) == 1


def test_a_clock_set_back_does_not_renew_a_windows_uses(make_fast_world: MakeWorld) -> None:
    """NTP, or an operator: swinging the clock must not make a rate of any height."""
    tenant = limited(make_fast_world, uses=2, per_ms=60_000)
    total = 0
    for step in (0, -1, 1, -1, 1, -30_000, 30_000, -1, -86_400_000, 90_000_000, 60_000):
        tenant.world.now_ms += step
        total += allowed(tenant, 2)
    assert total == 2


def test_a_clock_set_back_does_not_lock_a_window_for_ever(make_fast_world: MakeWorld) -> None:
    tenant = limited(make_fast_world, uses=1, per_ms=60_000)
    assert allowed(tenant, 1) == 1
    tenant.world.now_ms -= 365 * 86_400_000
    assert allowed(tenant, 1) == 0
    tenant.world.pass_ms(60_000)
    assert allowed(tenant, 1) == 1


def test_an_ended_grant_is_denied_at_the_very_millisecond(make_world: MakeWorld) -> None:
    tenant = limited(make_world, until_ms=NOW_MS + 1_000)
    tenant.world.pass_ms(999)
    assert allowed(tenant, 1) == 1
    tenant.world.pass_ms(1)
    assert allowed(tenant, 1) == 0


def test_a_grant_ends_in_the_middle_of_an_event(make_fast_world: MakeWorld) -> None:
    from sandbox.host import HostImport

    world = make_fast_world(
        extra=(HostImport("tick", ("i32",), None, lambda state, memory, ms: world.pass_ms(ms), module="test"),)
    )
    tenant = world.tenant("random", "tick", grants=[grant("random", until_ms=NOW_MS + 5)])
    assert tenant.do(RANDOM, call("tick", 5), RANDOM).returned == (0, 0, DENIED)


def test_a_clock_set_back_does_not_revive_an_ended_grant(make_fast_world: MakeWorld) -> None:
    tenant = limited(make_fast_world, until_ms=NOW_MS + 1_000)
    tenant.world.now_ms += 1_000
    assert allowed(tenant, 1) == 0
    tenant.world.now_ms -= 86_400_000
    assert allowed(tenant, 1) == 0


def test_a_grant_that_has_ended_before_the_module_is_loaded_denies_the_first_call(make_fast_world: MakeWorld) -> None:
    assert allowed(limited(make_fast_world, until_ms=NOW_MS), 1) == 0
    assert allowed(limited(make_fast_world, until_ms=0), 1) == 0


def test_uses_of_one_grant_do_not_pay_for_another(make_fast_world: MakeWorld) -> None:
    world = make_fast_world()
    tenant = world.tenant("random", "now_ms", grants=[grant("random", uses=1), grant("clock", uses=2)])
    found = tenant.do(RANDOM, RANDOM, NOW, NOW, NOW).returned
    assert found == (0, DENIED, NOW_MS, NOW_MS, DENIED)
    assert (tenant.used("random"), tenant.used("clock")) == ((1, 1), (2, 1))


def test_one_budget_for_two_capabilities_is_one_budget(make_fast_world: MakeWorld) -> None:
    world = make_fast_world()
    tenant = world.tenant("random", "now_ms", grants=[grant("random", "clock", uses=2)])
    assert tenant.do(RANDOM, NOW, RANDOM, NOW).returned == (0, NOW_MS, DENIED, DENIED)


def test_two_grants_of_one_capability_are_spent_one_after_the_other(make_fast_world: MakeWorld) -> None:
    world = make_fast_world()
    tenant = world.tenant("random", grants=[grant("random", uses=1), grant("random", uses=2)])
    assert allowed(tenant, 5) == 3


def test_a_profile_does_not_lift_the_end_of_a_grant_beside_it(make_fast_world: MakeWorld) -> None:
    """`standard` has random; the grant that says how much of it is the one that counts."""
    world = make_fast_world()
    tenant = world.tenant("random", profile="standard", grants=[grant("random", uses=1)])
    assert allowed(tenant, 3) == 1


def test_wasi_is_no_way_around_a_spent_grant(make_world: MakeWorld) -> None:
    world = make_world()
    tenant = world.tenant("random", "wasi.random_get", grants=[grant("random", uses=1)])
    assert tenant.do(RANDOM, call("random_get", OUT, 8)).returned == (0, 76)


def test_wasis_clock_ends_with_the_grant(make_world: MakeWorld) -> None:
    tenant = make_world().tenant("wasi.clock_time_get", grants=[grant("clock", until_ms=NOW_MS + 1)])
    asked = call("clock_time_get", 0, 0, OUT)
    assert tenant.do(asked).returned == (0,)
    tenant.world.pass_ms(1)
    assert tenant.do(asked).returned == (76,)


def test_a_spent_log_keeps_no_line(make_world: MakeWorld) -> None:
    tenant = make_world().tenant("log", grants=[grant("log", uses=1)])
    tenant.do(*[call("log", 2, 0x10_0000, 4)] * 3, data=b"line")
    assert tenant.report is not None and [one.text for one in tenant.report.logs] == ["line"]
    assert tenant.used("log") == (1, 2)


@pytest.mark.parametrize("attack", ["spent", "ended"])
def test_with_strict_the_event_is_a_violation_and_counted(make_world: MakeWorld, attack: str) -> None:
    end = {"uses": 1} if attack == "spent" else {"until_ms": NOW_MS}
    tenant = make_world().tenant("random", strict=True, grants=[grant("random", **end)])
    with pytest.raises(Stopped, match=r"denied: `random`: .*see transformers\.tenant\.capabilities") as caught:
        tenant.do(RANDOM, RANDOM)
    assert caught.value.kind == "capability"
    assert tenant.used("random")[1] >= 1


def test_with_strict_only_the_event_that_asks_is_lost(make_fast_world: MakeWorld) -> None:
    tenant = make_fast_world().tenant("random", strict=True, grants=[grant("random", until_ms=0)])
    from tests.hostile.puppet import script
    from tests.sandbox.guests import kinds

    values = [script(tenant.imports, calls) for calls in ([], [RANDOM], [])]
    assert kinds(tenant.session.run(batch(values)).outcomes) == ["emitted", "capability", "emitted"]


def test_with_strict_a_guest_cannot_go_on_after_its_denied_call(make_world: MakeWorld) -> None:
    tenant = make_world().tenant("random", "log", strict=True, grants=[grant("random", until_ms=0), grant("log")])
    with pytest.raises(Stopped):
        tenant.do(RANDOM, call("log", 2, 0x10_0000, 5), data=b"after")
    assert tenant.report is not None and not tenant.report.logs


def test_denied_calls_in_an_endless_row_end_with_the_deadline(make_fast_world: MakeWorld) -> None:
    """Being denied is no way to hold the worker: each call costs time, and the epoch stops the guest."""
    from sandbox.host import HostImport
    from tests.sandbox.guests import kinds, spec, wat

    world = make_fast_world(
        extra=(HostImport("tick", ("i32",), None, lambda state, memory, ms: world.pass_ms(ms), module="test"),)
    )
    wasm = wat("""(module (import "penstock" "now_ms" (func $now (result i64)))
      (import "test" "tick" (func $tick (param i32)))
      (memory (export "memory") 2) (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 8))
      (func (export "penstock_v1_transform") (param i32 i32) (result i64)
        (loop $on (drop (call $now)) (call $tick (i32.const 1)) (br $on)) (i64.const 0)))""")
    from schemas.capabilities import Grants

    transformer = world.sandbox.load(spec(capabilities=Grants((grant("clock", uses=5),))), wasm)
    report = transformer.run(batch([b"x"]))
    assert kinds(report.outcomes) == ["deadline"]
    (use,) = report.uses
    assert use.allowed == 5 and use.denied > 50


def test_an_answer_asked_for_again_with_more_room_is_one_use(make_world: MakeWorld) -> None:
    """Where there is no such import the corpus says so at its end (`test_corpus`)."""
    from sandbox.host import HostImport
    from sandbox.host.requests import HostRequest, request_import

    served: list[object] = []

    def serve(request: HostRequest) -> object:
        request.admit()
        served.append(request.value)
        return "x" * 1_000

    echo = request_import("echo", Capability.KEY_VALUE, serve)
    extra: tuple[HostImport, ...] = (echo,)
    tenant = make_world(extra=extra).tenant("echo", grants=[grant("key-value", uses=1)])
    data = b"\xa1a"
    small, large = call("echo", 0x10_0000, 2, OUT, 8), call("echo", 0x10_0000, 2, OUT, ROOM)
    assert tenant.do(small, large, large, data=data).returned == (-3, 1_003, DENIED)
    assert served == ["a"]
    assert tenant.used("key-value") == (1, 1)


def test_a_kept_answer_is_not_given_to_another_request(make_world: MakeWorld) -> None:
    from sandbox.host.requests import HostRequest, request_import

    def serve(request: HostRequest) -> object:
        request.admit()
        return [request.value] * 100

    echo = request_import("echo", Capability.KEY_VALUE, serve)
    tenant = make_world(extra=(echo,)).tenant("echo", grants=[grant("key-value")])
    small = call("echo", 0x10_0000, 2, OUT, 8)
    found = tenant.do(small, call("echo", 0x10_0002, 2, OUT, ROOM), data=b"\xa1a\xa1b", look=(OUT, 5))
    assert found.returned[0] == -3 and found.seen[3:5] == b"\xa1b"
    assert tenant.used("key-value") == (2, 0)


STRAIGHT = """(module (import "penstock" "now_ms" (func $now (result i64)))
  (import "penstock" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 2) (data (i32.const 64) "after")
  (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "penstock_v1_transform") (param i32 i32) (result i64)
    (drop (call $now)) (call $log (i32.const 2) (i32.const 64) (i32.const 5)) (i64.const 0)))"""


def test_with_strict_the_very_next_call_does_nothing(make_world: MakeWorld) -> None:
    """Without a loop or a function in between, where an interrupt would be looked for."""
    from schemas.capabilities import Grants
    from tests.sandbox.guests import kinds, spec, wat

    granted = Grants((grant("clock", until_ms=0), grant("log")), strict=True)
    report = make_world().sandbox.load(spec(capabilities=granted), wat(STRAIGHT)).run(batch([b"x"]))
    assert kinds(report.outcomes) == ["capability"]
    assert not report.logs


def test_a_guest_that_the_host_stops_did_not_run_into_its_deadline(make_world: MakeWorld) -> None:
    from sandbox.host import HostImport
    from tests.sandbox.guests import kinds, spec, wat

    wasm = wat("""(module (import "test" "stop" (func $stop)) (func $inner (param i32))
      (memory (export "memory") 2) (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 1024))
      (func (export "penstock_v1_transform") (param i32 i32) (result i64) (call $stop) (call $inner (i32.const 1)) (i64.const 0)))""")
    stop = HostImport("stop", (), None, lambda state, memory: state.trap(), module="test")
    report = make_world(extra=(stop,)).sandbox.load(spec(), wasm).run(batch([b"x"]))
    assert kinds(report.outcomes) == ["trap"]
