"""The house's rules, held over every file."""

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import edgepack
from edgepack import errors
from edgepack.registry import PASSES, load_pass

ROOT = Path(edgepack.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
HEAVY = ("torch", "onnx", "onnx_ir", "onnxruntime", "transformers")


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_no_file_is_larger_than_one_can_hold_in_mind():
    sizes = {str(f.relative_to(ROOT)): lines(f) for f in FILES}
    assert {name: n for name, n in sizes.items() if n > 400} == {}
    assert statistics.median(n for n in sizes.values() if n > 1) < 150


def test_no_file_is_a_drawer_for_everything():
    assert [f for f in FILES if f.stem in {"utils", "util", "common", "helpers", "misc"}] == []


def test_no_class_is_named_for_nothing():
    empty = re.compile(r"(Manager|Handler|Helper|Utils|Common|Wrapper|Engine|Processor)$")
    classes = [
        f"{f.name}:{node.name}"
        for f in FILES
        for node in ast.walk(ast.parse(f.read_text()))
        if isinstance(node, ast.ClassDef) and empty.search(node.name)
    ]
    assert classes == []


def raised() -> list[tuple[str, str, str]]:
    """Every `SomeError("E123", ...)` in the package: class, code, file."""
    kinds = {"UsageError", "HostError", "ModelError", "MeasurementError", "ArtifactError"}
    return [
        (node.func.id, node.args[0].value, f.name)
        for f in FILES
        for node in ast.walk(ast.parse(f.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in kinds
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]


def test_an_error_code_begins_with_the_exit_status_of_its_class():
    for kind, code, file in raised():
        assert re.fullmatch(r"E\d{3}", code), (file, code)
        assert code[1] == str(getattr(errors, kind).status), (file, code)


def test_an_error_code_belongs_to_one_file():
    owners: dict[str, set[str]] = {}
    for _, code, file in raised():
        owners.setdefault(code, set()).add(file)
    assert {code: files for code, files in owners.items() if len(files) > 1} == {}


def loaded_by(statement: str) -> set[str]:
    """Names of heavy modules that a statement loads in a fresh interpreter."""
    probe = f"import sys\n{statement}\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.splitlines()[-1].split()) if done.stdout.strip() else set()


@pytest.mark.parametrize("name", sorted(PASSES))
def test_a_pass_module_loads_nothing_heavy(name):
    module = PASSES[name].partition(":")[0]
    assert loaded_by(f"import {module}") == set()


@pytest.mark.parametrize("name", sorted(PASSES))
def test_a_pass_is_named_as_it_is_registered(name):
    assert load_pass(name).name == name


@pytest.mark.parametrize(
    "arguments", [["--help"], ["targets"], ["plan", "builtin:digits", "--target", "arm64"]]
)
def test_verbs_that_only_read_load_nothing_heavy(arguments):
    statement = f"from edgepack.cli import run\nassert run({arguments!r}) == 0"
    assert loaded_by(statement) == set()


def test_help_answers_as_fast_as_click_itself():
    """Counted by modules, not by time: neither pydantic, rich nor numpy is loaded for --help."""
    probe = (
        "import sys\nfrom edgepack.cli import run\nrun(['--help'])\n"
        "print([m for m in ('pydantic', 'rich', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_package_hides_a_function_of_the_interface():
    inside = {path.stem for path in ROOT.iterdir()}
    assert inside & set(edgepack.__all__) == set()
