import numpy as np
import pytest

from edgepack.data import resolve
from edgepack.errors import MeasurementError, UsageError
from edgepack.types import Sample


def fill(metric, samples):
    """Tally (label, output, ...) samples; several outputs are several runs."""
    tally = metric.start()
    for label, *outputs in samples:
        runs = [{"first": np.asarray(o), "other": np.zeros(1)} for o in outputs]
        tally.add(Sample(tuple({} for _ in runs), label), runs, runs)
    assert tally.samples == len(samples)
    return tally


@pytest.fixture
def score(tmp_path):
    return lambda name, samples: fill(resolve(name, tmp_path), samples).value()


def test_accuracy_is_the_percentage_of_right_classes(score):
    logits = [[0.1, 0.9, 0.0]]
    samples = [(1, logits), (0, logits), (1.0, logits), (np.int64(1), logits)]
    assert score("accuracy", samples) == 75
    assert score("accuracy", [(2, np.array([2])), (1, np.array([2]))]) == 50


def test_an_answer_of_nan_is_wrong(score):
    for name in ("accuracy", "top1"):
        assert score(name, [(1, [[0.0, np.nan]]), (1, [[-np.inf, 0.0]])]) == 50


def test_frames_and_tokens_each_count(score):
    logits = [[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]]
    assert score("accuracy", [([0, 0, 1], logits), ([0, 1, -100], logits)]) == 80
    runs = [[[1.0, 0.0]], [[1.0, 0.0]]]
    assert score("accuracy", [([0, 1], *runs), (np.array([0, 0]), *runs)]) == 75
    assert score("accuracy", [([3, 4], np.array([[3, 3]]))]) == 50


@pytest.mark.parametrize(
    ("label", "output", "code"),
    [(None, [[1.0, 0.0]], "E505"), ("pos", [[1.0, 0.0]], "E505"), (2, [[1.0, 0.0]], "E505"),
     (-1, [[1.0, 0.0]], "E505"), (0.5, [[1.0, 0.0]], "E505"), (-100, [[1.0, 0.0]], "E505"),
     ([0, 1], [[1.0, 0.0]], "E505"), ([0, 2], [[[1.0, 0.0], [1.0, 0.0]]], "E505"),
     (0, [[1.0]], "E506"), (0, 1.0, "E506"), (0, [[[1.0, 0.0], [1.0, 0.0]]], "E506"),
     ([-100], [[1.0, 0.0]], "E507"), ([-100, -100], [[[1.0, 0.0], [1.0, 0.0]]], "E507")],
)  # fmt: skip
def test_what_accuracy_cannot_score_is_refused(score, label, output, code):
    with pytest.raises(MeasurementError) as caught:
        score("accuracy", [(label, output)])
    assert caught.value.code == code


def test_a_label_that_is_wrong_is_named_by_its_sample(score):
    with pytest.raises(MeasurementError) as caught:
        score("accuracy", [(0, [[1.0, 0.0]]), (7, [[1.0, 0.0]])])
    assert caught.value.where == "sample 1"


def test_cosine_compares_with_the_reference(tmp_path):
    metric = resolve("cosine", tmp_path)
    tally = metric.start()
    assert metric.compares
    tally.add(Sample(({},)), [{"o": np.array([1.0, 0.0])}], [{"o": np.array([1.0, 0.0])}])
    tally.add(Sample(({},)), [{"o": np.array([1.0, 0.0])}], [{"o": np.array([0.0, 1.0])}])
    assert tally.value() == 50


def test_a_users_metric_sees_all_outputs_and_labels(score, tmp_path):
    (tmp_path / "data.py").write_text(
        "def metric(outputs, labels):\n"
        "    first = outputs[0] if isinstance(outputs[0], dict) else outputs[0][1]\n"
        "    return float(first['first'].sum()) + sum(labels) + len(outputs)\n"
        "def broken(outputs, labels): return None\n"
    )
    assert score("data.py:metric", [(10, [1.0]), (20, [9.0])]) == 33
    assert score("data.py:metric", [(10, [1.0], [2.0])]) == 13
    with pytest.raises(MeasurementError, match="gave None"):
        score("data.py:broken", [(1, [1.0])])


@pytest.mark.parametrize("mark", ["", "metric.lower_is_better = True"])
def test_a_users_metric_may_count_mistakes(tmp_path, mark):
    (tmp_path / "data.py").write_text(f"def metric(outputs, labels): return 4\n{mark}")
    metric = resolve("data.py:metric", tmp_path)
    tally = fill(metric, [(1, [1.0]), (2, [2.0])])
    assert tally.value() == 4
    assert tally.lower_is_better == tally.relative == bool(mark)
    assert (tally.interval(), tally.rows()) == (None, ())
    assert metric.drop_interval((), (), 2) is None


def test_the_digest_of_a_users_metric_follows_its_code(tmp_path):
    digests = set()
    for body in ("return 1", "return 2"):
        (tmp_path / "data.py").write_text(f"def metric(o, l): {body}")
        digests.add(resolve("data.py:metric", tmp_path).digest)
    digests |= {resolve(n, tmp_path).digest for n in ("accuracy", "cosine", "top5", "top3")}
    assert len(digests) == 6


NAMES = ["accuracy", "auc", "cer", "cosine", "f1", "mae", "pearson", "perplexity", "top-5"]


@pytest.mark.parametrize("name", NAMES)
def test_no_samples_no_score(score, name):
    with pytest.raises(MeasurementError, match="over no samples"):
        score(name, [])


def test_unknown_metrics_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no metric named `acuracy`") as caught:
        resolve("acuracy", tmp_path)
    assert "did you mean `accuracy`" in caught.value.fix
    with pytest.raises(UsageError, match=r"no file data\.py"):
        resolve("data.py:metric", tmp_path)
    with pytest.raises(UsageError) as caught:
        resolve("wer", tmp_path)
    assert "wer-space-4" in caught.value.fix
    for name in ("top0", "top", "cer-blank", "cer-space-3", "f1-macro"):
        with pytest.raises(UsageError):
            resolve(name, tmp_path)
