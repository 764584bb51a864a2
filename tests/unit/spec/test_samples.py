import pytest

from edgepack.errors import UsageError
from edgepack.spec.recipe import Recipe


@pytest.fixture
def read(tmp_path):
    def make(text):
        (tmp_path / "edgepack.toml").write_text(f'[model]\nsource = "m.onnx"\n{text}')
        return Recipe.resolve(path=tmp_path / "edgepack.toml").data

    return make


def test_tables_are_read_as_written(read):
    data = read(
        "[data.pictures]\nresize = 256\ncrop = [224, 192]\nmean = [0.5]\n"
        "[data.audio]\nrate = 16000\nwindow = 512\ncontext = 64\n[data.constants]\nsr = 16000\n"
    )
    assert (data.pictures.resize, data.pictures.crop) == (256, (224, 192))
    assert (data.pictures.mean, data.pictures.std, data.pictures.scale) == ((0.5,), (), 255)
    assert (data.audio.rate, data.audio.window, data.audio.hop) == (16000, 512, None)
    assert data.constants == {"sr": 16000}


@pytest.mark.parametrize(
    ("text", "code", "fix"),
    [
        ("[data.pictures]\ncolor = 'rgb'", "E206", "did you mean `colour`?"),
        ("[data.pictures]\nmean = [1, 2]", "E208", "one number or three for mean"),
        ("[data.pictures]\nstd = [0]", "E208", "greater than 0"),
        ("[data.pictures]\ninterpolation = 'bilinar'", "E208", "did you mean `bilinear`?"),
        ("[data.audio]\nhop = 4", "E208", "hop and context need window"),
        ("[data.audio]\nwindow = '4'", "E208", "a whole number"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(read, text, code, fix):
    with pytest.raises(UsageError) as caught:
        read(text)
    assert caught.value.code == code
    assert fix in caught.value.fix
    assert caught.value.where.startswith("edgepack.toml:")
