"""Greets whoever is in the row: adds `greeting` to `after`."""

from dataclasses import dataclass

from penstock_guest import ChangeEvent, Outcome, Reject, transformer


@dataclass(frozen=True)
class Config:
    """`config:` of the registry."""

    greeting: str = "Hello"


@transformer
def transform(event: ChangeEvent, config: Config) -> Outcome:
    """Called once for each event."""
    row = event.after
    if row is None:  # a delete, a truncate, a message
        return event.unchanged()
    name = row.get("name")
    if name == "":
        return event.drop()
    if not isinstance(name, str):
        raise Reject("no-name", f"after.name is {row.shown('name')}: a text was expected")
    row["greeting"] = f"{config.greeting}, {name}!"
    return event.emit()
