"""Runs the transformer over batches, and tells the host what went wrong and where before it gives up."""

import inspect
import json
import typing
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from penstock_guest import config as configs
from penstock_guest.event import ChangeEvent, Event
from penstock_guest.frames import Results, read_batch
from penstock_guest.outcome import UNCHANGED, Outcome, Reject

Function = TypeVar("Function", bound=Callable[..., Outcome])
NOWHERE = -1


def transformer(function: Function) -> Function:
    """Marks the one function that the module is made of: `(event)` or `(event, config)` to an outcome. Raises TypeError."""
    if _RUNTIME.function is not None:
        raise TypeError(f"{function.__name__}: a module has one @transformer, and {_RUNTIME.function.__name__} is it")
    _RUNTIME.take(function)
    return function


class Runtime:
    """The transformer of this module, and its config."""

    def __init__(self) -> None:
        self.function: Callable[..., Outcome] | None = None
        self._kind: type[Event] = Event
        self._shape: Any = None
        self._arguments: tuple[Any, ...] = ()

    def take(self, function: Callable[..., Outcome]) -> None:
        """Look at its annotations."""
        hints = typing.get_type_hints(function)
        names = list(inspect.signature(function).parameters)
        if not 1 <= len(names) <= 2:
            raise TypeError(f"{function.__name__}: a transformer takes an event, or an event and its config")
        kind = hints.get(names[0], Event)
        if kind not in (Event, ChangeEvent):
            raise TypeError(f"{function.__name__}: `{names[0]}` must be annotated as Event or ChangeEvent")
        self.function, self._kind = function, kind
        self._shape = hints.get(names[1], Any) if len(names) == 2 else None

    def configure(self, text: str) -> None:
        """Take the config. Fails with the reason when it cannot be used."""
        if self.function is None:
            _fail("config", "the module has no function with @transformer", NOWHERE)
        given = json.loads(text)
        try:
            if self._shape is not None:
                self._arguments = (configs.read(self._shape, given),)
            elif given:
                raise configs.ConfigError(f"config.{next(iter(given))}: the transformer takes no config")
        except configs.ConfigError as error:
            _fail("config", str(error), NOWHERE)
        except Exception as error:
            _fail("config", described(error), NOWHERE)

    def run(self, text: str) -> str:
        """One batch."""
        index = NOWHERE
        try:
            source, events = read_batch(text, self._kind)
            results = Results(source)
            add = results.add
            for index, event in enumerate(events):  # noqa: B007 - the host is told which event it was
                add(self._outcome(event))
            return results.text()
        except MemoryError:
            _fail("memory", "out of memory", index)
        except BaseException as error:
            _fail("exception", described(error), index)

    def _outcome(self, event: Event) -> Outcome:
        function = self.function
        assert function is not None, "configured"
        try:
            if type(event) is ChangeEvent and not event.read():
                return UNCHANGED
            return function(event, *self._arguments)
        except Reject as rejection:
            return rejection


def described(error: BaseException) -> str:
    """What happened and where: `KeyError: 'id' (orders.py:12, in transform)`."""
    said = str(error)
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    at = error.__traceback__
    if at is None:
        return text
    while at.tb_next is not None:
        at = at.tb_next
    code = at.tb_frame.f_code
    return f"{text} ({code.co_filename.rpartition('/')[2]}:{at.tb_lineno}, in {code.co_name})"


def _fail(code: str, message: str, event: int) -> NoReturn:
    import wit_world  # there is one in a component only; it is loaded when that is built

    wit_world.penstock_fail(code, message, event)
    raise SystemExit  # the host has stopped the guest: this is never reached


_RUNTIME = Runtime()
configure = _RUNTIME.configure
run = _RUNTIME.run
