"""`penstock build`: what it writes, what it refuses, what it says. With C, which builds in a blink."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from pipeline.workshop import toolchains
from pipeline.workshop.build import build, compile_project
from pipeline.workshop.errors import BuildError, MissingToolchainError
from pipeline.workshop.project import Project, read_project
from sandbox.sections import Metadata, append_metadata, read_metadata
from tests.workshop.tools import absent, need, penstock


@pytest.fixture(scope="module", autouse=True)
def _compiler() -> None:
    need("c")
    try:
        toolchains.zig()
    except MissingToolchainError as error:
        absent(error)


SOURCE = """\
/* The least that is a guest: it asks for no SDK. */
static unsigned char block[65536];
__attribute__((export_name("penstock_v1_alloc"))) unsigned give(unsigned size) {
    return size <= sizeof block ? (unsigned)(unsigned long)block : 0;
}
__attribute__((export_name("penstock_v1_transform"))) unsigned long long answer(unsigned ptr, unsigned len) {
    (void)len;
    return (unsigned long long)ptr << 32;
}
"""
MANIFEST = """\
name = "{0}"
version = "0.1.0"
language = "c"
module = "build/{0}.wasm"

[build]
stack = 8192
"""
REGISTRY = """\
version: 1
transformers:
  {0}:
    module: build/{0}.wasm # pinned below
    limits: untrusted
routes:
  {0}: {{ from: words.in, through: [{0}], to: words.out }}
"""


def make(name: str, into: Path) -> Project:
    """A project of one file."""
    folder = into / name
    (folder / "src").mkdir(parents=True)
    (folder / "guest.toml").write_text(MANIFEST.format(name))
    (folder / "registry.yaml").write_text(REGISTRY.format(name))
    (folder / "src" / "guest.c").write_text(SOURCE)
    return read_project(folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make("shout", tmp_path)


def again(project: Project, old: str = "", new: str = "", file: str = "guest.toml") -> Project:
    """The project with a text replaced, read anew."""
    path = project.folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1) if old else text + new)
    return read_project(project.folder)


def test_a_build_is_the_same_anywhere_and_from_nothing(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(project)
    assert first.changed
    wasm = project.module.read_bytes()
    assert (first.size_bytes, first.sha256) == (len(wasm), hashlib.sha256(wasm).hexdigest())
    assert not build(project).changed
    far = tmp_path / "a" / "longer folder" / "é"
    shutil.copytree(project.folder, far)
    monkeypatch.setenv(toolchains.BUILD_CACHE, str(tmp_path / "cold"))
    assert build(read_project(far)).sha256 == first.sha256


def test_the_module_says_who_it_is(project: Project) -> None:
    build(project)
    said = read_metadata(project.module.read_bytes())
    assert said is not None
    assert (said.name, said.version, said.encoding, said.abi) == ("shout", "0.1.0", "raw", 1)
    assert re.fullmatch(r"c/\d+\.\d+\.\d+", said.sdk)


def test_sources_that_do_not_compile_leave_the_old_module(project: Project) -> None:
    build(project)
    before = project.module.read_bytes()
    again(project, new="\nint broken(void) { retrun 1; }\n", file="src/guest.c")
    with pytest.raises(BuildError) as failed:
        build(project)
    assert "src/guest.c:" in failed.value.text
    assert "error: use of undeclared identifier 'retrun'" in failed.value.text
    assert project.module.read_bytes() == before
    assert [path.name for path in project.module.parent.iterdir()] == [project.module.name]


def test_what_is_no_guest_is_not_written(project: Project) -> None:
    (project.folder / "src/guest.c").write_text('__attribute__((export_name("f"))) int f(void) { return 1; }\n')
    with pytest.raises(BuildError, match="what was built is no guest: does not export `penstock_v1_alloc`"):
        build(project)
    assert not project.module.exists()


def test_an_import_that_nobody_asked_for_names_the_line_to_write(project: Project) -> None:
    text = (project.folder / "src/guest.c").read_text()
    declared = '__attribute__((import_module("penstock"), import_name("now_ms"))) long long own_now(void);\n'
    text += '\n__attribute__((export_name("now"))) long long own_use(void) { return own_now(); }\n'
    (project.folder / "src/guest.c").write_text(declared + text)
    with pytest.raises(BuildError, match=r"needs the capability `clock`") as refused:
        build(project)
    assert "guest.toml: capabilities = [clock]" in refused.value.text
    built = build(again(project, 'language = "c"\n', 'language = "c"\ncapabilities = ["clock"]\n'))
    assert built.metadata.capabilities == ("clock",)


def test_a_capability_whose_import_is_declared_by_hand_can_be_built_for(project: Project) -> None:
    text = (project.folder / "src/guest.c").read_text()
    declared = '__attribute__((import_module("penstock"), import_name("env_get"))) int own_get(int, int, int, int);\n'
    text += '\n__attribute__((export_name("get"))) int own_use(void) { return own_get(0, 0, 0, 0); }\n'
    (project.folder / "src/guest.c").write_text(declared + text)
    built = build(again(project, 'language = "c"\n', 'language = "c"\ncapabilities = ["environment"]\n'))
    assert "environment" in built.metadata.capabilities


def test_a_section_that_says_otherwise_than_guest_toml_is_refused(project: Project) -> None:
    section = append_metadata(b"\0asm\x01\0\0\0", Metadata(name="whisper", version="0.1.0", sdk="c/0.1.0"))
    own = section[section.index(b"{") :].decode().replace('"', '\\"')
    again(
        project,
        new=f'\n__asm__(".section .custom_section.penstock,\\"\\",@\\n.ascii \\"{own.replace(chr(92), chr(92) * 3)}\\"\\n");\n',
        file="src/guest.c",
    )
    with pytest.raises(BuildError, match=r"name is 'whisper' in the module, 'shout' in guest\.toml"):
        build(project)
    built = build(again(project, '"shout"', '"whisper"'))
    assert built.metadata.name == "whisper"


def test_the_maximum_of_memory_is_declared(project: Project) -> None:
    project = again(project, 'language = "c"\n', 'language = "c"\nmemory = "1MiB"\n')
    build(project)
    done = penstock("inspect", str(project.module), "--json", cwd=project.folder)
    assert json.loads(done.stdout)["memories"][0]["bytes_max"] == 1 << 20


def test_warnings_are_shown(project: Project) -> None:
    again(project, new="\nstatic int unused_one;\n", file="src/guest.c")
    assert "warning: unused variable 'unused_one'" in build(project).said


def test_no_sources_is_said(project: Project) -> None:
    (project.folder / "src/guest.c").unlink()
    with pytest.raises(BuildError, match=r"no file matches src/\*\.c"):
        compile_project(project)


def test_wasm_opt_runs_where_it_is_asked_for_and_only_there(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = build(project)
    optimized = again(project, 'language = "c"\n', 'language = "c"\nwasm_opt = "-O3 --strip-debug"\n')
    try:
        toolchains.wasm_opt()
    except MissingToolchainError as error:
        absent(error)
    found = build(optimized)
    assert found.size_bytes < plain.size_bytes
    assert found.metadata == plain.metadata
    assert build(again(project, "-O3 --strip-debug", "-O3 --strip-debug ")).sha256 == found.sha256
    with pytest.raises(BuildError, match="wasm-opt failed"):
        build(again(project, "--strip-debug", "--no-such-pass"))
    monkeypatch.setenv("PATH", str(project.folder))
    with pytest.raises(MissingToolchainError, match="install nodejs npm"):
        build(again(project, " --no-such-pass", ""))


# The command


def test_inside_of_a_project_from_its_parent_and_by_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make(name, tmp_path)
    inside = penstock("build", cwd=tmp_path / "one" / "src")
    assert inside.returncode == 0, inside.stderr
    assert re.search(r"^one  \S+one\.wasm  [\d,]+ bytes  [\d.]+ s\n  sha256 [0-9a-f]{64}\n$", inside.stdout)
    assert not (tmp_path / "two" / "build").exists()
    both = penstock("build", "--json", cwd=tmp_path)
    lines = [json.loads(line) for line in both.stdout.splitlines()]
    assert [(line["name"], line["ok"], line["changed"]) for line in lines] == [
        ("one", True, False),
        ("two", True, True),
    ]
    assert hashlib.sha256(Path(lines[1]["module"]).read_bytes()).hexdigest() == lines[1]["sha256"]
    assert lines[1]["metadata"]["name"] == "two"


def test_pinned_and_stale_pins(project: Project) -> None:
    registry = project.registry.read_text()
    assert "#" in registry
    assert penstock("build", "--pin", cwd=project.folder).returncode == 0
    sha256 = hashlib.sha256(project.module.read_bytes()).hexdigest()
    pinned = project.registry.read_text()
    assert f'    sha256: "{sha256}"\n' in pinned
    assert pinned.replace(f'    sha256: "{sha256}"\n', "") == registry
    assert penstock("check", "registry.yaml", cwd=project.folder).returncode == 0
    again(project, 'version = "0.1.0"', 'version = "0.2.0"')
    stale = penstock("build", cwd=project.folder)
    assert "shout pins another module; `penstock build --pin` writes the new one" in stale.stderr
    assert penstock("check", "registry.yaml", cwd=project.folder).returncode == 2
    elsewhere = project.folder.parent / "ops.yaml"
    elsewhere.write_text(
        f"version: 1\ntransformers:\n  louder: {{module: shout/{project.module.relative_to(project.folder)}}}\n"
    )
    assert penstock("build", "--registry", "../ops.yaml", cwd=project.folder).returncode == 0
    assert hashlib.sha256(project.module.read_bytes()).hexdigest() in elsewhere.read_text()


def test_a_compilers_error_is_exit_code_1_and_the_others_are_built(tmp_path: Path) -> None:
    broken = make("broken", tmp_path)
    make("sound", tmp_path)
    again(broken, new="\n#error no such luck\n", file="src/guest.c")
    done = penstock("build", cwd=tmp_path)
    assert done.returncode == 1
    assert "error: broken: zig cc failed" in done.stderr
    assert "error: no such luck" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("sound")


def test_a_mistake_in_guest_toml_is_exit_code_2(project: Project) -> None:
    again(project, "stack", "stak")
    done = penstock("build", cwd=project.folder)
    assert done.returncode == 2
    assert "build.stak: unknown key — did you mean 'stack'?" in done.stderr
    assert penstock("build", "nothing", cwd=project.folder).returncode == 2


def test_help_has_an_example() -> None:
    for command in ("new", "build", "inspect"):
        done = penstock(command, "--help", cwd=Path.cwd())
        assert done.returncode == 0
        assert f"Example: penstock {command}" in done.stdout
