from importlib.metadata import EntryPoint

import pytest

from edgepack.devices import Opening
from edgepack.devices import open as opening
from edgepack.devices.open import open_channel
from edgepack.errors import UsageError


class Plugged:
    """A channel that another package brings."""

    def __init__(self, address, how):
        self.address, self.how = address, how


@pytest.fixture
def installed(monkeypatch):
    def install(*pairs):
        points = [EntryPoint(name, value, "edgepack.channels") for name, value in pairs]
        monkeypatch.setattr(
            opening, "entry_points", lambda group: points if group == "edgepack.channels" else []
        )

    return install


def refused(text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        open_channel(text, runtime="1.31.1")
    return caught.value


@pytest.mark.parametrize("text", ["qemo", "qemo:cortex-a72", "Qemu"])
def test_an_unknown_channel_is_answered_with_the_closest(text):
    problem = refused(text)
    assert (problem.code, problem.fix) == ("E248", "did you mean `qemu`?")
    assert f"`{text.partition(':')[0]}`" in problem.what


def test_a_name_near_to_nothing_is_answered_with_all(installed):
    installed(("ssh", "far.channel:Ssh"))
    problem = refused("://")
    assert (problem.code, problem.fix) == ("E248", "known: local, qemu, ssh")


def test_an_unknown_processor_is_answered_with_the_closest():
    problem = refused("qemu:cortexa72")
    assert (problem.code, problem.fix) == ("E247", "did you mean `cortex-a72`?")
    assert "`cortexa72`" in problem.what


@pytest.mark.parametrize("text", ["qemu:max", "qemu:cortex-a72:extra", "qemu: cortex-a72"])
def test_only_processors_that_are_proven_are_emulated(text):
    assert refused(text).code == "E247"


def test_local_has_no_address():
    problem = refused("local:x")
    assert (problem.code, problem.fix) == ("E246", "write `local` alone")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("local", "local"),
        ("local:", "local"),
        ("qemu", "qemu:cortex-a72"),
        ("qemu:", "qemu:cortex-a72"),
        ("qemu:Haswell", "qemu:Haswell"),
    ],
)
def test_a_channel_is_named_in_full(text, name):
    channel = open_channel(text, runtime="1.31.1", offline=True, announce=pytest.fail)
    try:
        assert channel.name == name
        assert channel.counts is not channel.real_clock
    finally:
        channel.close()


def test_an_installed_channel_gets_its_address_and_the_opening(installed):
    installed(("ssh", f"{__name__}:Plugged"))
    channel = open_channel("ssh://pi:22", runtime="1.2", offline=True, announce=print)
    assert channel.address == "//pi:22"
    assert channel.how == Opening("1.2", True, print)


def test_the_package_of_a_channel_that_is_not_opened_is_not_imported(installed):
    installed(("broken", "no.such.package:Channel"))
    open_channel("local", runtime="1.2").close()


@pytest.mark.parametrize(
    ("pairs", "name"),
    [
        ([("local", "other:Local")], "local"),
        ([("ssh", "one:Ssh"), ("ssh", "two:Ssh")], "ssh"),
    ],
)
def test_two_claims_to_one_name_are_refused_whatever_is_opened(installed, pairs, name):
    installed(*pairs)
    problem = refused("qemu")
    assert problem.code == "E249"
    assert f"`{name}`" in problem.what
    assert pairs[-1][1] in problem.where
    assert (opening.CHANNELS.get(name) or pairs[0][1]) in problem.where
