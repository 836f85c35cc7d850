"""`guest.toml`: what it says, and every mistake in it at once, each with its line and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.workshop.guest_file import FILE_NAME
from pipeline.workshop.languages import c
from pipeline.workshop.project import Project, read_project
from schemas.errors import ConfigError

LEAST = 'name = "shout"\nversion = "0.1.0"\nlanguage = "c"\nmodule = "build/shout.wasm"\n'


def read(folder: Path, text: str) -> Project:
    (folder / FILE_NAME).write_text(text)
    return read_project(folder)


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read(folder, text).options(c.Options)
    return [str(fault).replace(str((folder / FILE_NAME).resolve()), "F") for fault in refused.value.faults]


def test_the_least_that_it_takes(tmp_path: Path) -> None:
    project = read(tmp_path, LEAST)
    assert (project.name, project.version, project.language) == ("shout", "0.1.0", "c")
    assert project.module == tmp_path.resolve() / "build" / "shout.wasm"
    assert (project.encoding, project.capabilities, project.wasm_opt) == ("raw", (), ())
    assert project.memory_bytes_max == 256 << 20
    assert project.options(c.Options) == c.Options()


def test_all_that_it_takes(tmp_path: Path) -> None:
    more = 'encoding = "event"\ncapabilities = ["log", "clock", "log"]\nmemory = "100KiB"\nwasm_opt = "-O3 --strip-debug"\n'
    project = read(tmp_path, LEAST + more + '[build]\nstack = 4096\nflags = ["-DX"]\n')
    assert (project.encoding, project.capabilities) == ("event", ("log", "clock"))
    assert project.memory_bytes_max == 128 << 10  # whole pages
    assert project.wasm_opt == ("-O3", "--strip-debug")
    assert project.options(c.Options) == c.Options(stack=4096, flags=["-DX"])


def test_every_mistake_at_once_each_at_its_line(tmp_path: Path) -> None:
    text = 'nam = "x"\nversion = 1\nlanguage = "c"\nmodule = "../a.wasm"\ncapabilities = ["lgo"]\nencoding = "xml"\n'
    said = faults(tmp_path, text)
    assert [line.partition(" ")[0] for line in said] == [
        "F:1:1:", "F:2:1:", "F:4:1:", "F:6:1:", "F:5:1:", "F:1:1:",
    ]  # fmt: skip
    assert "name: 'name' is missing — add name = \"shout\"" in said[0]
    assert "'1' is not a version — write it like \"0.1.0\", in quotes" in said[1]
    assert "'../a.wasm' is outside of the project" in said[2]
    assert "is no capability — did you mean 'log'?" in said[4]
    assert "'xml' is not one of the choices — choose one of: raw, event" in said[3]
    assert "nam: unknown key — did you mean 'name'?" in said[5]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('name = "Shout"', "'Shout' is not a guest's name"),
        ('name = "1st"', "is not a guest's name"),
        ("name = 7", "'7' is not a guest's name"),
        ('language = "cobol"', "'cobol' is not a language"),
        ('language = "pyhton"', "did you mean 'python'?"),
        ('version = ""', "is not a version"),
        ('version = "one"', "'one' is not a version"),
        ('module = "build/shout"', "a path that ends in .wasm"),
        ('module = "/tmp/a.wasm"', "is outside of the project"),
        ('memory = "4 bananas"', "memory: "),
        ('memory = "1KiB"', "is out of range"),
        ("capabilities = 'log'", "is not a list"),
        ('capabilities = ["sudo"]', "choose one of: log, clock, random, environment"),
        ("build = 3", "is not a table"),
        ("wasm_opt = true", "is not text — put it in quotes"),
        ("wasm-opt = '-O'", "unknown key — did you mean 'wasm_opt'?"),
    ],
)
def test_a_mistake_says_what_to_do(tmp_path: Path, line: str, said: str) -> None:
    key = line.partition(" ")[0]
    kept = [one for one in LEAST.splitlines() if not one.startswith(f"{key} ")]
    (fault,) = faults(tmp_path, "\n".join([*kept, line]))
    if "pyhton" in line:
        assert "choose one of" in fault or said in fault
        return
    assert said in fault
    assert fault.startswith(f"F:{len(kept) + 1}:1: {key}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stak = 1", "F:6:1: build.stak: unknown key — did you mean 'stack'?"),
        ('stack = "1"', "F:6:1: build.stack: '1' is not a whole number — write digits, without quotes"),
        ('sources = "a.c"', "F:6:1: build.sources: is not a list"),
    ],
)
def test_a_mistake_in_the_languages_table(tmp_path: Path, line: str, said: str) -> None:
    (fault,) = faults(tmp_path, f"{LEAST}[build]\n{line}\n")
    assert fault.startswith(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = ", "F:1: is not TOML: Invalid value"),
        (b"\xff\xfe", "F: is not UTF-8 text"),
        (b"a = 1\na = 2\n", "F:2:6: is not TOML: Cannot overwrite a value"),
        (b"#" * 300_000, "F: is larger than 256 KiB"),
        (b"a = " + b"[" * 50_000, "F"),
    ],
)
def test_what_is_no_toml_is_one_fault(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_project(tmp_path)
    (fault,) = refused.value.faults
    assert str(fault).replace(str(tmp_path.resolve() / FILE_NAME), "F").startswith(said)


def test_a_folder_without_one_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"No such file or directory — a guest project is a folder with a guest\.toml"
    ):
        read_project(tmp_path)


WORDS = st.sampled_from(
    ["name", "module", "build", "language", "=", "[", "]", '"', "'", "{", "}", "\n", "1", ".", "#", "c"]
)


@given(st.lists(WORDS, max_size=40).map(" ".join))
def test_any_text_is_a_project_or_faults(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-text"
    folder.mkdir(exist_ok=True)
    (folder / FILE_NAME).write_text(text)
    try:
        read_project(folder)
    except ConfigError as error:
        assert error.faults
