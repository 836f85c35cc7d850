"""Coverage-guided fuzzing of the memory bridge with atheris: `make fuzz-guided` or `python -m tests.fuzz.guided -runs=1000000 -seed=7`.

Arguments are libFuzzer's. What makes it fail is printed and written to a file, which plays it again when given as an argument.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["sandbox", "tests.fuzz.bridge"]):
    from tests.fuzz.bridge import Fenced, access, imports, strike

IMPORTS = imports()


def one_input(raw: bytes) -> None:
    """The first byte chooses what is called, the next ones are its numbers, the rest is what the memory holds."""
    given = atheris.FuzzedDataProvider(raw)
    which = given.ConsumeIntInRange(0, len(IMPORTS) + 5)
    numbers = [given.ConsumeUInt(4) if given.ConsumeBool() else given.ConsumeIntInRange(0, 1 << 14) for _ in range(9)]
    if which < len(IMPORTS):
        one = IMPORTS[which]
        strike(one, Fenced(given.ConsumeBytes(1 << 13)), numbers[: len(one.parameters)])
        return
    data = given.ConsumeBytes(numbers[2] % 128)
    access(Fenced(given.ConsumeBytes(1 << 13)), which - len(IMPORTS), numbers[0], numbers[1], data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
