import sys
from textwrap import dedent

import pytest

from edgepack.base import Context, Silent
from edgepack.errors import ModelError, UsageError
from edgepack.source.factory import FactorySource
from edgepack.usercode import closure

GOOD = """
    import torch
    from torch import nn
    from layers import WIDTH

    def build():
        return nn.Linear(WIDTH, 3), (torch.zeros(1, WIDTH),)
"""


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, 0, {}, None, Silent())


@pytest.fixture
def write(tmp_path):
    (tmp_path / "layers.py").write_text("WIDTH = 5\n")

    def source(text, function="build"):
        (tmp_path / "net.py").write_text(dedent(text))
        return FactorySource(tmp_path / "net.py", function, f"torch:net.py:{function}")

    return source


def body(*lines, top=""):
    inner = "\n".join(f"    {line}" for line in lines)
    return f"import torch\nfrom torch import nn\n{top}\n\ndef build():\n{inner}\n"


def test_a_factory_gives_a_model(write, context):
    source = write(GOOD)
    model = source.load(context)
    assert [str(s) for s in (*model.inputs, *model.outputs)] == [
        "input: float32[batch, 5]",
        "output: float32[batch, 3]",
    ]
    assert model.digest == source.fresh(context).digest
    assert not {"net", "layers"} & set(sys.modules)
    assert str(source.file.parent) not in sys.path


def test_the_digest_covers_what_is_imported_and_named_beside(write, tmp_path):
    text = GOOD + "\n        # reads 'weights.bin'\n    FILE = 'weights.bin'\n"
    first = write(text).digest
    assert write(text).digest == first
    (tmp_path / "unrelated.py").write_text("")
    assert write(text).digest == first
    (tmp_path / "layers.py").write_text("WIDTH = 6\n")
    second = write(text).digest
    (tmp_path / "weights.bin").write_bytes(b"x")
    assert len({first, second, write(text).digest}) == 3


def test_imports_are_followed_through_packages(write, tmp_path):
    (tmp_path / "blocks" / "deep").mkdir(parents=True)
    (tmp_path / "blocks" / "__init__.py").write_text("from .deep.leaf import leaf")
    (tmp_path / "blocks" / "deep" / "leaf.py").write_text(
        "from .. import sizes; from ..side import x"
    )
    (tmp_path / "blocks" / "sizes.py").write_text("")
    (tmp_path / "blocks" / "side.py").write_text("import torch")
    source = write("def build():\n    from blocks import leaf")
    assert list(closure(source.file, "model.py:build")) == [
        "blocks/__init__.py",
        "blocks/deep/leaf.py",
        "blocks/side.py",
        "blocks/sizes.py",
        "net.py",
    ]


def test_no_code_runs_before_the_model_is_loaded(write):
    assert write("raise SystemExit\ndef build(): ...").digest


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (
            ["return nn.Bilinear(2, 3, 1), (torch.zeros(1, 2), torch.zeros(1, 3))"],
            ["input1", "input2"],
        ),
        (["return nn.Linear(2, 3), torch.zeros(1, 2)"], ["input"]),
        (["return nn.Linear(2, 3), {'input': torch.zeros(1, 2)}"], ["input"]),
        (["m = nn.Linear(2, 3)", "m.example_inputs = torch.zeros(4, 2)", "return m"], ["input"]),
        (
            ["return nn.Bilinear(2, 3, 1), dict(input2=torch.ones(1, 3), input1=torch.ones(1, 2))"],
            ["input1", "input2"],
        ),
    ],
)
def test_example_inputs_come_in_several_forms(write, context, lines, names):
    model = write(body(*lines)).load(context)
    assert [spec.name for spec in model.inputs] == names
    assert {spec.shape[0] for spec in model.inputs} == {"batch"}


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (body("return nn.Linear(2, 3)"), "E448", "example inputs"),
        (body("return nn.Linear(2, 3), (torch.zeros(1, 2), 3)"), "E448", "example inputs"),
        (body("return nn.Linear(2, 3), {'x': torch.zeros(1, 2)}"), "E448", "`forward` takes"),
        (body("return nn.Linear(2, 3), 5"), "E448", "int"),
        (body("return 5"), "E446", "no torch module but int"),
        (body("return nn.Linear(2, 3), torch.zeros(1, 4)"), "E433", "does not run"),
        (body("return nn.Linear(1 // 0, 3)"), "E446", "net.py:6"),
        (body("return nn.Linear(2, 3)", top="import nowhere_at_all"), "E446", "net.py:3"),
        (
            body(
                "COUNT.append(1)",
                "return nn.Linear(2, len(list(FILE.parent.iterdir()))), torch.zeros(1, 2)",
                top="import pathlib, tempfile\nFILE = pathlib.Path(__file__)\nCOUNT = []\n"
                "tempfile.mkdtemp(dir=FILE.parent)",
            ),
            "E447",
            "`bias` is",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(write, context, text, code, says):
    with pytest.raises(ModelError) as caught:
        write(text).load(context)
    assert caught.value.code == code
    assert says in str(caught.value)


@pytest.mark.parametrize(("text", "code"), [("def build(:", "E272"), ("def make(): ...", "E273")])
def test_a_file_without_the_function_is_refused_unread(write, text, code):
    with pytest.raises(UsageError) as caught:
        write(text)
    assert caught.value.code == code
