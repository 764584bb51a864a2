import pytest

from edgepack.devices import emulator
from edgepack.errors import HostError


@pytest.fixture
def qemu(monkeypatch, tmp_path):
    """Put a program on the PATH that says which version it is."""

    def install(words, name="qemu-aarch64"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho '{words}'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))
        return program

    monkeypatch.setenv("EDGEPACK_CACHE", str(tmp_path / "cache"))
    return install


def ensure(**options):
    return emulator.ensure("aarch64", **{"offline": True, "announce": lambda _: None} | options)


def test_the_machines_own_is_taken(qemu):
    program = qemu("qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7)")
    assert ensure() == emulator.Emulator(program, "7.2.22")


@pytest.mark.parametrize("version", ["7.2", "8.0.0", "10.0.13"])
def test_a_later_one_will_do(qemu, version):
    qemu(f"qemu-aarch64 version {version}")
    assert ensure().version == version


@pytest.mark.parametrize("version", ["5.2.0", "6.2", "7.1.9"])
def test_one_that_lacks_instructions_is_refused(qemu, version):
    qemu(f"qemu-aarch64 version {version}")
    with pytest.raises(HostError, match="too old") as error:
        ensure()
    assert error.value.code == "E308"


def test_one_that_does_not_run_is_refused(qemu):
    qemu("nonsense")
    with pytest.raises(HostError, match="does not run"):
        ensure()


def test_offline_names_the_command(qemu):
    qemu("another program", name="other")
    with pytest.raises(HostError) as error:
        ensure()
    assert error.value.code == "E307"
    assert "edgepack doctor --fix arm64" in error.value.fix


def test_the_unpacked_one_runs_with_its_own_libraries_and_keeps_two_programs(
    qemu, monkeypatch, tmp_path
):
    qemu("another program", name="other")

    def unpack(packages, arch, work, to):
        (to / "usr/bin").mkdir(parents=True)
        for name in ("aarch64", "x86_64", "mips"):
            program = to / f"usr/bin/qemu-{name}"
            program.write_text('#!/bin/sh\necho "qemu version 7.2.22"\n')
            program.chmod(0o755)

    told = []
    monkeypatch.setattr(emulator, "unpack", unpack)
    monkeypatch.setattr(emulator, "require_debian", lambda: None)
    found = [ensure(offline=False, announce=told.append) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0].libraries is not None
    assert found[0].program.is_relative_to(tmp_path / "cache")
    programs = sorted(path.name for path in found[0].program.parent.iterdir())
    assert programs == ["qemu-aarch64", "qemu-x86_64"]
    assert len(told) == 1
