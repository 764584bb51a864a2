import wave

import numpy as np
import pytest

from edgepack.data import open_data
from edgepack.data.audio import framed, read_wav, resampled
from edgepack.errors import UsageError
from edgepack.spec.recipe import DataTable
from edgepack.spec.samples import AudioTable
from edgepack.types import TensorSpec

SIGNAL = TensorSpec(name="signal", dtype="float32", shape=("batch", "n"))
STATE = TensorSpec(name="h", dtype="float32", shape=(2, "batch", 4))
RATE = TensorSpec(name="sr", dtype="int64", shape=())


def write(path, values, width=2, channels=1, rate=8000):
    """Write whole numbers as PCM of so many bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    offset = 128 if width == 1 else 0
    raw = b"".join(
        int(v + offset).to_bytes(width, "little", signed=width > 1) for v in np.ravel(values)
    )
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(raw)
    return path


def opened(folder, *inputs, state=None, **table):
    data = DataTable.model_validate(table)
    return open_data("wavs", folder, inputs=lambda: inputs, state=state, table=data)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_width_spans_minus_one_to_one(tmp_path, width):
    full = 2 ** (8 * width - 1)
    path = write(tmp_path / "a.wav", [-full, 0, full // 2], width, rate=22050)
    signal, rate = read_wav(path, "a.wav")
    assert (signal.tolist(), signal.dtype, rate) == ([-1, 0, 0.5], np.float32, 22050)


def test_channels_are_averaged(tmp_path):
    path = write(tmp_path / "a.wav", [[16384, 0], [0, -16384]], channels=2)
    assert read_wav(path, "")[0].tolist() == [0.25, -0.25]


@pytest.mark.parametrize(("rate", "to"), [(44100, 16000), (8000, 16000), (48000, 16000)])
def test_a_tone_below_the_band_is_kept_and_one_above_is_gone(rate, to):
    def tone(hertz, at):
        return np.sin(2 * np.pi * hertz * np.arange(at // 4) / at).astype(np.float32)

    kept = resampled(tone(1000, rate), rate, to)
    assert kept.shape == (to // 4,)
    middle = slice(200, -200)
    assert np.abs(kept - tone(1000, to))[middle].max() < 1e-3
    if rate > to:
        assert np.abs(resampled(tone(9500, rate), rate, to))[middle].max() < 1e-3


def test_a_constant_stays_what_it_is_and_a_length_follows_the_rates():
    found = resampled(np.ones(1001, np.float32), 7000, 3000)
    assert len(found) == 429
    assert np.allclose(found[40:-40], 1, atol=1e-6)


@pytest.mark.parametrize(
    ("table", "frames"),
    [
        ({"window": 2}, [[1, 2], [3, 4], [5, 0]]),
        ({"window": 4, "hop": 1}, [[1, 2, 3, 4], [2, 3, 4, 5]]),
        ({"window": 2, "context": 1}, [[0, 1, 2], [2, 3, 4], [4, 5, 0]]),
        ({"window": 7}, [[1, 2, 3, 4, 5, 0, 0]]),
    ],
)
def test_frames(table, frames):
    found = framed(np.arange(1, 6), AudioTable.model_validate(table))
    assert [frame.tolist() for frame in found] == frames


def test_a_file_is_one_sample(tmp_path):
    write(tmp_path / "wavs" / "no" / "a.wav", [16384, 0, 0])
    write(tmp_path / "wavs" / "yes" / "b.wav", [0, 16384])
    first, second = opened(tmp_path, SIGNAL)
    assert (first.inputs[0]["signal"].tolist(), first.label) == ([[0.5, 0, 0]], 0)
    assert (second.inputs[0]["signal"].shape, second.label) == ((1, 2), 1)
    fixed = TensorSpec(name="signal", dtype="float32", shape=(1, 1, 2))
    cut, _ = opened(tmp_path, fixed)
    assert cut.inputs[0]["signal"].tolist() == [[[0.5, 0]]]


def test_frames_of_a_stateful_net_are_runs_beside_state_and_constants(tmp_path):
    write(tmp_path / "wavs" / "a.wav", [16384] * 5)
    (tmp_path / "wavs" / "labels.jsonl").write_text('{"file": "a.wav", "label": [0, 1]}')
    (sample,) = opened(
        tmp_path, SIGNAL, STATE, RATE,
        state={"h": "hn"}, audio={"window": 4}, constants={"sr": 8000},
    )  # fmt: skip
    assert [run["signal"].shape for run in sample.inputs] == [(1, 4)] * 2
    assert sample.inputs[0]["h"].tolist() == np.zeros((2, 1, 4)).tolist()
    assert sample.inputs[0]["sr"] == 8000
    assert (sample.label, sample.state) == ([0, 1], {"h": "hn"})


def test_files_of_two_rates_need_one_to_be_named(tmp_path):
    write(tmp_path / "wavs" / "a.wav", [1] * 80, rate=8000)
    write(tmp_path / "wavs" / "b.wav", [1] * 80, rate=16000)
    with pytest.raises(UsageError, match="cannot be read") as caught:
        list(opened(tmp_path, SIGNAL))
    assert (caught.value.code, caught.value.where) == ("E295", "wavs/b.wav")
    both = opened(tmp_path, SIGNAL, audio={"rate": 16000})
    assert [s.inputs[0]["signal"].shape[1] for s in both] == [160, 80]


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVE", b"not a wav at all"])
def test_what_is_no_wav_is_named(tmp_path, content):
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs" / "a.wav").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        list(opened(tmp_path, SIGNAL))
    assert (caught.value.code, caught.value.where) == ("E295", "wavs/a.wav")


def test_an_empty_wav_is_refused(tmp_path):
    write(tmp_path / "wavs" / "a.wav", [])
    with pytest.raises(UsageError, match="cannot be read"):
        list(opened(tmp_path, SIGNAL))


def test_a_model_that_takes_no_sound_is_refused(tmp_path):
    write(tmp_path / "wavs" / "a.wav", [1])
    with pytest.raises(UsageError) as caught:
        list(opened(tmp_path, SIGNAL, RATE))
    assert caught.value.code == "E294"
    assert "data.constants" in caught.value.fix
