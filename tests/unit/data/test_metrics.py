import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from edgepack.data import resolve
from edgepack.data.ranks import spearman
from edgepack.errors import MeasurementError, UsageError
from edgepack.types import Sample


def score(name, tmp_path, samples):
    """Score (label, output, ...) samples; several outputs are several runs."""
    tally = resolve(name, tmp_path).start()
    for label, *outputs in samples:
        runs = [{"first": np.asarray(o), "other": np.zeros(1)} for o in outputs]
        tally.add(Sample(tuple({} for _ in runs), label), runs, runs)
    assert tally.samples == len(samples)
    return tally.value()


def test_accuracy_is_the_percentage_of_right_classes(tmp_path):
    logits = [[0.1, 0.9, 0.0]]
    samples = [(1, logits), (0, logits), (1.0, logits), (np.int64(1), logits)]
    assert score("accuracy", tmp_path, samples) == 75
    assert score("accuracy", tmp_path, [(2, np.array([2])), (1, np.array([2]))]) == 50


def test_an_answer_of_nan_is_wrong(tmp_path):
    assert score("accuracy", tmp_path, [(1, [[0.0, np.nan]]), (1, [[-np.inf, 0.0]])]) == 50


@pytest.mark.parametrize(
    ("label", "output", "code"),
    [(None, [[1.0, 0.0]], "E505"), ("pos", [[1.0, 0.0]], "E505"), (2, [[1.0, 0.0]], "E505"),
     (-1, [[1.0, 0.0]], "E505"), (0.5, [[1.0, 0.0]], "E505"), (0, [[1.0]], "E506"),
     (0, 1.0, "E506"), (0, [[[1.0, 0.0], [1.0, 0.0]]], "E506")],
)  # fmt: skip
def test_what_accuracy_cannot_score_is_refused(tmp_path, label, output, code):
    with pytest.raises(MeasurementError) as caught:
        score("accuracy", tmp_path, [(label, output)])
    assert caught.value.code == code


@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-2, 2)), min_size=2, max_size=30))
def test_rank_correlation_is_that_of_scipy(pairs):
    left, right = zip(*pairs, strict=True)
    found = spearman(left, right)
    if len(set(left)) == 1 or len(set(right)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(spearmanr(left, right).statistic, abs=1e-12)


def test_spearman_of_pairs_ranks_cosines(tmp_path):
    near, far = ([[1.0, 0.0]], [[1.0, 0.1]]), ([[1.0, 0.0]], [[-1.0, 0.2]])
    middle = ([[1.0, 0.0]], [[0.5, 0.5]])
    assert score("spearman", tmp_path, [(5, *near), (3, *middle), (1, *far)]) == pytest.approx(100)
    assert score("spearman", tmp_path, [(1, *near), (3, *middle), (5, *far)]) == pytest.approx(-100)


def test_tokens_are_averaged_under_the_mask(tmp_path):
    tally = resolve("spearman", tmp_path).start()
    mask = {"attention_mask": np.array([[1, 1, 0]])}
    for label, kept in ((2, [1.0, 0.0]), (1, [0.0, 1.0]), (0, [-1.0, 0.0])):
        padded = {"tokens": np.array([[kept, kept, [0.0, 99.0]]])}
        pooled = {"tokens": np.array([[[1.0, 0.0]] * 3])}
        tally.add(Sample((mask, mask), label), [padded, pooled], [])
    assert tally.value() == pytest.approx(100)


def test_spearman_of_single_runs_ranks_the_number(tmp_path):
    samples = [(1, [[0.1]]), (2, [[0.3]]), (3, [[0.2]])]
    assert score("spearman", tmp_path, samples) == pytest.approx(50)
    for broken in ([[0.1, 0.2]], [[np.nan]]):
        with pytest.raises(MeasurementError) as caught:
            score("spearman", tmp_path, [(1, broken)])
        assert caught.value.code == "E506"


def test_where_ranks_say_nothing_it_says_so(tmp_path):
    for samples, word in (
        ([(1, [0.1]), (1, [0.2])], "labels"),
        ([(1, [0.1]), (2, [0.1])], "answers"),
    ):
        with pytest.raises(MeasurementError, match=f"all {word} of 2 samples are equal"):
            score("spearman", tmp_path, samples)


def test_cosine_compares_with_the_reference(tmp_path):
    metric = resolve("cosine", tmp_path)
    tally = metric.start()
    assert metric.compares
    tally.add(Sample(({},)), [{"o": np.array([1.0, 0.0])}], [{"o": np.array([1.0, 0.0])}])
    tally.add(Sample(({},)), [{"o": np.array([1.0, 0.0])}], [{"o": np.array([0.0, 1.0])}])
    assert tally.value() == 50


def test_a_users_metric_sees_all_outputs_and_labels(tmp_path):
    (tmp_path / "data.py").write_text(
        "def metric(outputs, labels):\n"
        "    first = outputs[0] if isinstance(outputs[0], dict) else outputs[0][1]\n"
        "    return float(first['first'].sum()) + sum(labels) + len(outputs)\n"
        "def broken(outputs, labels): return None\n"
    )
    assert score("data.py:metric", tmp_path, [(10, [1.0]), (20, [9.0])]) == 33
    assert score("data.py:metric", tmp_path, [(10, [1.0], [2.0])]) == 13
    with pytest.raises(MeasurementError, match="gave None"):
        score("data.py:broken", tmp_path, [(1, [1.0])])


def test_the_digest_of_a_users_metric_follows_its_code(tmp_path):
    digests = set()
    for body in ("return 1", "return 2"):
        (tmp_path / "data.py").write_text(f"def metric(o, l): {body}")
        digests.add(resolve("data.py:metric", tmp_path).digest)
    digests |= {resolve(n, tmp_path).digest for n in ("accuracy", "cosine", "spearman")}
    assert len(digests) == 5


@pytest.mark.parametrize("name", ["accuracy", "spearman", "cosine"])
def test_no_samples_no_score(tmp_path, name):
    with pytest.raises(MeasurementError, match="over no samples"):
        score(name, tmp_path, [])


def test_unknown_metrics_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no metric named `acuracy`") as caught:
        resolve("acuracy", tmp_path)
    assert "did you mean `accuracy`" in caught.value.fix
    with pytest.raises(UsageError, match=r"no file data\.py"):
        resolve("data.py:metric", tmp_path)
