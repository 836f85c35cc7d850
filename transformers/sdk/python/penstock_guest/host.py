"""What a guest may ask of the host. Each needs its capability, in guest.toml (to build) and in the registry (to run).

Requests and answers are those of guest ABI v1.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock_guest import packed

TRACE, DEBUG, INFO, WARNING, ERROR = range(5)


_STATUSES = {
    -1: "denied",
    -2: "a bad request",
    -3: "too large",
    -4: "unavailable",
    -5: "too late",
    -6: "an invalid request",
}


class HostError(OSError):
    """The host said no. `status` is the ABI's number: -1 denied, -2 bad request, -3 too large, -4 unavailable, -5 too late,
    -6 not what the host or the database takes.
    """

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"{name}: {_STATUSES.get(status, 'failed')} ({status})")
        self.status = status


def log(text: str, level: int = INFO) -> None:
    """A line for the operator. Capability `log`."""
    _import("log")(level, text)


def now_ms() -> int:
    """Milliseconds since 1970. Capability `clock`."""
    found: int = _import("now_ms")()
    return found


def monotonic_ns() -> int:
    """Nanoseconds from an unnamed moment. Capability `clock`."""
    found: int = _import("monotonic_ns")()
    return found


def random(length: int) -> bytes:
    """So many random bytes, 1 MiB at most. Capability `random`. Python's own `random` always gives the same numbers in a guest."""
    return _answer("random", _import("random")(length))


def env_get(name: str) -> str | None:
    """An environment variable that the operator lets through. Capability `environment`."""
    found: str | None = request("env_get", name)
    return found


def file_read(path: str) -> bytes:
    """A file's contents. Capability `filesystem-read`."""
    found: bytes = request("file_read", path)
    return found


def file_write(path: str, data: bytes) -> None:
    """Write a file. Capability `filesystem-write`."""
    request("file_write", [path, data])


def http_request(
    method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> dict[str, Any]:
    """`status`, `headers` and `body` of the answer. Capability `network-client`."""
    found: dict[str, Any] = request(
        "http_request", {"method": method, "url": url, "headers": list((headers or {}).items()), "body": body}
    )
    return found


def kv_get(key: str) -> bytes | None:
    """What was kept under this key. Capability `key-value`."""
    found: bytes | None = request("kv_get", key)
    return found


def kv_put(key: str, value: bytes) -> None:
    """Keep this under the key. Capability `key-value`."""
    request("kv_put", [key, value])


def kv_delete(key: str) -> None:
    """Forget the key. Capability `key-value`."""
    request("kv_delete", key)


def lookup(table: str, key: Any) -> dict[str, Any] | None:
    """The row with this key in a table. Capability `database-read`."""
    found: dict[str, Any] | None = request("lookup", [table, key])
    return found


def lookup_many(table: str, keys: list[Any]) -> list[dict[str, Any] | None]:
    """The rows with these keys, in their order. Capability `database-read`."""
    found: list[dict[str, Any] | None] = request("lookup_many", [table, keys])
    return found


def db_query(statement: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """The rows of a statement that only reads. Capability `database-query`."""
    found: list[dict[str, Any]] = request("db_query", [statement, list(parameters)])
    return found


def db_execute(statement: str, parameters: Sequence[Any] = ()) -> int:
    """Run a statement; how many rows it changed. Capability `database-write`."""
    found: int = request("db_execute", [statement, list(parameters)])
    return found


def db_transaction(statements: Sequence[tuple[str, Sequence[Any]]]) -> list[int]:
    """Run statements, each with its parameters, of which all happen or none; how many rows each changed. Capability
    `database-transaction`.
    """
    asked = [[statement, list(parameters)] for statement, parameters in statements]
    found: list[int] = request("db_transaction", asked)
    return found


def request(name: str, content: Any) -> Any:
    """Ask the host function of this name; its answer. Raises HostError."""
    sent = packed.packb(content).decode("latin-1")
    return packed.unpackb(_answer(name, _import(name)(sent)))


def _answer(name: str, answer: tuple[int, str]) -> bytes:
    status, text = answer
    if status:
        raise HostError(name, status)
    return text.encode("latin-1")


def _import(name: str) -> Callable[..., Any]:
    """The function, which is there only when guest.toml asks for its capability."""
    import wit_world  # there is one in a component only; it is loaded when that is built

    found: Callable[..., Any] | None = getattr(wit_world, f"penstock_{name}", None)
    if found is None:
        raise RuntimeError(
            f"`{name}` is not among what this guest may use: add its capability to guest.toml and build again"
        )
    return found
