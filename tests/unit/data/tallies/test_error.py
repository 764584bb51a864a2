import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from edgepack.errors import MeasurementError


def test_errors_are_those_of_scikit_learn(score):
    random = np.random.default_rng(3)
    labels, answers = random.normal(size=(2, 30, 4))
    samples = [(want, got[None]) for want, got in zip(labels, answers, strict=True)]
    assert score("mae", samples) == pytest.approx(mean_absolute_error(labels, answers))
    want = root_mean_squared_error(labels.ravel(), answers.ravel())
    assert score("rmse", samples) == pytest.approx(want)
    assert score("mae", [(1.5, [[1.0]]), ([1, 2], [[1.0]], [[3.0]])]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("label", "output", "code"),
    [([1, 2], [[1.0]], "E505"), ("far", [[1.0]], "E505"), (1, [[np.inf]], "E510")],
)
def test_what_does_not_fit_is_refused(score, label, output, code):
    with pytest.raises(MeasurementError) as caught:
        score("mae", [(label, output)])
    assert caught.value.code == code


def test_the_interval_of_a_mean_is_near_the_normal_one(tally):
    errors = np.random.default_rng(4).exponential(size=400)
    found = tally("mae", [(0.0, [[e]]) for e in errors])
    half = 1.96 * errors.std() / 20
    want = (errors.mean() - half, errors.mean() + half)
    assert found.interval() == pytest.approx(want, abs=0.03)
    assert found.interval() == found.interval()
    assert tally("mae", [(0.0, [[1.0]])]).interval() is None
