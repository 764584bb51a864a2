import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from edgepack.base import Silent
from edgepack.errors import HostError, ModelError, UsageError
from edgepack.model.fit import Schedule, Task, fit
from edgepack.model.run import repeatable

PLAIN = Schedule(epochs=4, learning_rate=0.05, batch_size=8)
INPUTS = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
WANTED = INPUTS.sum(1, keepdim=True)


class Heard(Silent):
    def __init__(self):
        self.notes, self.told, self.steps = [], [], []

    def note(self, text):
        self.notes.append(text)

    def figures(self, what, values):
        self.told.append(values)

    def progress(self, what, done, total):
        self.steps.append((done, total))


class KilledError(Exception):
    """Stands for a process that ends."""


def objective(module, places):
    return mse_loss(module(INPUTS[list(places)]), WANTED[list(places)])


def trained(schedule=PLAIN, heard=None, resume=None, net=None, **task):
    """Return weights, buffers and how it went, from one seed."""
    with repeatable(0):
        net = net() if net else nn.Linear(4, 1)
        went = fit(
            net,
            Task("train", len(INPUTS), objective, **task),
            schedule,
            heard or Silent(),
            resume,
        )
    assert not net.training
    return net.state_dict(), went


def noisy():
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1)
    )


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def close(one, other):
    return all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)


def after_steps(count):
    """Return what ends a training in its step number `count`."""
    steps = iter(range(1, 1000))

    def after(module):
        if next(steps) == count:
            raise KilledError

    return after


def test_a_loss_falls_and_is_told():
    heard = Heard()
    _, went = trained(heard=heard)
    assert went.losses[-1] < went.losses[0]
    assert went.steps == 20
    assert heard.steps[-1] == (20, 20)
    assert [told["epoch"] for told in heard.told] == [1, 2, 3, 4]
    assert heard.told[-1]["loss"] == went.losses[-1]


def test_the_rate_rises_then_falls_along_half_a_cosine():
    schedule = replace(PLAIN, warmup=0.2)
    rates = [schedule.rate(step, 10) for step in range(10)]
    assert rates[:3] == [0.025, 0.05, 0.05]
    assert rates[6] == pytest.approx(0.025)
    assert sorted(rates[2:], reverse=True) == rates[2:]


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_an_accumulated_batch_is_the_whole_batch(parts):
    assert close(trained()[0], trained(replace(PLAIN, accumulate=parts))[0])


def test_sixteen_bits_train_and_weights_stay_float32():
    whole, went = trained(replace(PLAIN, precision="bf16"))
    assert {value.dtype for value in whole.values()} == {torch.float32}
    assert went.losses[-1] < went.losses[0]
    assert not same(whole, trained()[0])


def test_a_gradient_is_clipped_to_its_largest_norm():
    start = trained(replace(PLAIN, epochs=1, learning_rate=1e-12))[0]
    clipped = trained(replace(PLAIN, epochs=1, optimizer="sgd", learning_rate=1, clip=1e-6))[0]
    assert 0 < (clipped["weight"] - start["weight"]).norm() < 1e-4


def test_weights_decay():
    free, held = trained()[0], trained(replace(PLAIN, weight_decay=1.0))[0]
    assert held["weight"].norm() < free["weight"].norm()


def test_what_is_trained_along_and_what_follows_a_step():
    extra, calls = nn.Linear(1, 1), []
    before = extra.weight.clone()

    def through(module, places):
        return mse_loss(extra(module(INPUTS[list(places)])), WANTED[list(places)])

    with repeatable(0):
        fit(
            nn.Linear(4, 1),
            Task("train", 40, through, extra=extra, after=calls.append),
            PLAIN,
            Silent(),
        )
    assert not torch.equal(before, extra.weight)
    assert len(calls) == 20


def forgetful():
    """Return an objective that gets worse on what is held out after two epochs."""
    held = iter([3.0, 1.0, 2.0, 5.0, 4.0, 6.0])

    def objective_(module, places):
        given = objective(module, places)
        return given if module.training else given * 0 + next(held)

    return objective_


@pytest.mark.parametrize("kept", [False, True])
def test_it_stops_early_and_keeps_the_best_epoch(kept, tmp_path):
    stopping = replace(PLAIN, epochs=6, hold_out=0.2, patience=2, checkpoint_every=3 if kept else 0)
    after = []
    with repeatable(0):
        net = nn.Linear(4, 1)
        went = fit(
            net,
            Task(
                "train",
                40,
                forgetful(),
                after=lambda m: after.append(m.weight.detach().clone()),
            ),
            stopping,
            Silent(),
            tmp_path,
        )
    assert went.held == [3.0, 1.0, 2.0, 5.0]
    assert (went.best, went.steps) == (2, 4 * 4)
    assert torch.equal(net.weight, after[2 * 4 - 1])


def test_what_is_held_out_is_not_trained_on():
    seen, judged = set(), set()

    def watching(module, places):
        (seen if module.training else judged).update(places)
        return objective(module, places)

    with repeatable(0):
        fit(nn.Linear(4, 1), Task("t", 40, watching), replace(PLAIN, hold_out=0.25), Silent())
    assert len(judged) == 10
    assert seen == set(range(40)) - judged


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_hold_out_that_leaves_nothing_is_refused(share):
    with pytest.raises(UsageError) as caught:
        trained(replace(PLAIN, hold_out=share))
    assert caught.value.code == "E223"


def test_a_batch_norm_left_with_one_sample_is_refused():
    with pytest.raises(UsageError, match="batch norm") as caught:
        trained(replace(PLAIN, accumulate=8), net=noisy)
    assert caught.value.code == "E223"


def test_a_loss_that_is_no_number_is_refused():
    with pytest.raises(ModelError) as caught:
        trained(replace(PLAIN, learning_rate=1e30, optimizer="sgd"))
    assert caught.value.code == "E434"


STOPS = [(4, 2), (11, 4), (13, 1), (19, 6)]


@pytest.mark.parametrize(("killed", "every"), STOPS, ids=[f"at-{a}-every-{b}" for a, b in STOPS])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_killed_training_goes_on_bit_by_bit(killed, every, optimizer, tmp_path):
    long = replace(PLAIN, optimizer=optimizer, hold_out=0.2, checkpoint_every=every, epochs=5)
    whole, went = trained(long, net=noisy, resume=tmp_path / "whole")
    with pytest.raises(KilledError):
        trained(long, net=noisy, resume=tmp_path / "killed", after=after_steps(killed))
    heard = Heard()
    again, still = trained(long, heard, tmp_path / "killed", noisy)
    assert same(whole, again)
    assert still == went
    assert heard.notes == [f"train goes on from step {(killed - 1) // every * every} of 20"]
    assert heard.steps[0][0] == (killed - 1) // every * every + 1
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds == {".json", ".safetensors"}


def shortened(folder):
    path = folder / "last" / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def turned(folder):
    path = folder / "last" / "tensors.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut(folder):
    path = folder / "last" / "state.json"
    path.write_bytes(path.read_bytes()[:-8])


def emptied(folder):
    (folder / "last" / "state.json").write_text("[]")


def moved(folder):
    path = folder / "last" / "state.json"
    told = json.loads(path.read_bytes())
    told["state"]["trained"]["steps"] += 1
    path.write_text(json.dumps(told))


def bereft(folder):
    (folder / "best" / "tensors.safetensors").unlink()


@pytest.mark.parametrize("damage", [shortened, turned, cut, emptied, moved, bereft])
def test_a_damaged_checkpoint_is_left_with_a_word(damage, tmp_path):
    long = replace(PLAIN, hold_out=0.2, checkpoint_every=3)
    with pytest.raises(KilledError):
        trained(long, resume=tmp_path, after=after_steps(14))
    damage(tmp_path)
    heard = Heard()
    again, _ = trained(long, heard, tmp_path)
    assert same(again, trained(long)[0])
    assert heard.steps[0][0] == 1
    assert len(heard.notes) == 1
    assert "damaged" in heard.notes[0]


def test_a_checkpoint_of_more_processes_is_left_with_a_word(tmp_path, monkeypatch):
    long = replace(PLAIN, checkpoint_every=3)
    with monkeypatch.context() as patch:
        patch.setattr("edgepack.model.shares.Shares.size", 2)
        patch.setattr("edgepack.model.shares.Shares.sum", lambda _, value: value)
        patch.setattr("edgepack.model.shares.Shares.buffers", lambda _, module: None)
        with pytest.raises(KilledError):
            trained(long, resume=tmp_path, after=after_steps(4))
    heard = Heard()
    again, _ = trained(long, heard, tmp_path)
    assert same(again, trained(long)[0])
    assert heard.notes == ["the checkpoint is of 2 processes, not 1; it is left"]


def test_a_log_for_tensorboard_holds_the_losses(tmp_path):
    pytest.importorskip("tensorboard")
    _, went = trained(replace(PLAIN, log=str(tmp_path / "log")))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = (tmp_path / "log").rglob("events.*")
    found = EventAccumulator(str(events.parent))
    found.Reload()
    losses = [one.value for one in found.Scalars("loss") if one.step < 5]
    assert sum(losses) / 5 == pytest.approx(went.losses[0], rel=1e-5)


def test_a_log_without_tensorboard_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("edgepack.model.shares.find_spec", lambda name: None)
    with pytest.raises(HostError, match="not installed") as caught:
        trained(replace(PLAIN, log=str(tmp_path)))
    assert caught.value.code == "E325"
    assert "pip install tensorboard" in caught.value.fix


def test_a_log_where_nothing_can_be_written_is_refused(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "log").write_text("")
    with pytest.raises(HostError) as caught:
        trained(replace(PLAIN, log=str(tmp_path / "log")))
    assert caught.value.code == "E325"
