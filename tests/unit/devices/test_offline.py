"""Set-up happens when a channel is used, in a private place, and never offline."""

import pytest

from edgepack.devices import sysroot
from edgepack.devices.cpus import CPUS
from edgepack.devices.open import open_channel
from edgepack.errors import HostError
from edgepack.spec.target import load_target, names

RUNTIME = "1.31.1"


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEPACK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_opening_a_channel_sets_nothing_up(cache):
    open_channel("qemu", runtime=RUNTIME).close()
    assert not cache.exists()


def test_offline_names_the_command_that_mends_it(cache):
    channel = open_channel("qemu", runtime=RUNTIME, offline=True, announce=pytest.fail)
    with pytest.raises(HostError) as error:
        channel.info()
    channel.close()
    assert error.value.code == "E301"
    assert "edgepack doctor --fix arm64" in error.value.fix
    assert not cache.exists()


def test_a_damaged_system_is_called_so(cache):
    sysroot.place(RUNTIME).mkdir(parents=True)
    with pytest.raises(HostError, match="damaged"):
        sysroot.ensure(RUNTIME, offline=True, announce=pytest.fail)


def test_nobody_else_may_look_into_the_cache(cache):
    assert sysroot.cached("sysroots") == cache / "sysroots"
    assert [path.stat().st_mode & 0o777 for path in (cache, cache / "sysroots")] == [0o700, 0o700]


def test_another_debians_python_is_refused_by_name(cache, monkeypatch):
    def unpack(packages, arch, work, to):
        (to / "usr/bin").mkdir(parents=True)
        (to / "usr/bin/python3.13").touch()
        return []

    monkeypatch.setattr(sysroot, "unpack", unpack)
    monkeypatch.setattr(sysroot, "require_debian", lambda: None)
    with pytest.raises(HostError, match=r"Python 3\.11") as error:
        sysroot.ensure(RUNTIME, offline=False, announce=lambda _: None)
    assert error.value.code == "E309"
    assert list((cache / "sysroots").iterdir()) == []


def test_an_x86_processor_is_not_emulated_on_another_machine(cache, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    channel = open_channel("qemu:Haswell", runtime=RUNTIME)
    with pytest.raises(HostError) as error:
        channel.info()
    channel.close()
    assert error.value.code == "E311"


@pytest.mark.parametrize("name", names())
def test_a_target_is_proven_on_processors_that_have_its_features_and_architecture(name):
    target = load_target(name)
    for channel in target.verify:
        kind, _, cpu = channel.partition(":")
        if kind == "qemu":
            assert CPUS[cpu].arch == target.isa.arch
            assert set(target.isa.features) <= set(CPUS[cpu].features)
