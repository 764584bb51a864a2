import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from edgepack.devices import sysroot
from edgepack.devices.cpus import CPUS
from edgepack.errors import HostError

RUNTIME = "1.31.1"
LIBRARY = f"{sysroot.SITE}/onnxruntime/capi/onnxruntime_pybind11_state.so"
PYTHON = f"usr/bin/python{sysroot.PYTHON}"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Builder:
    """Stands in for Debian and pip, and remembers what it was asked for."""

    def __init__(self):
        self.unpacked, self.installed, self.announced = [], [], []

    def unpack(self, packages, arch, work, to):
        assert list(work.iterdir()) == []
        self.unpacked.append((packages, arch))
        write(to / PYTHON, "interpreter")
        write(to / "usr/lib/libc.so.6", "libc")
        (to / "usr/lib/links").symlink_to("/proc/version")  # leads out of the system
        write(to / "usr/share/doc/libc/copyright", "words")
        (to / "lib").symlink_to("usr/lib")
        return ["libc-bin_2.36_arm64.deb"]

    def install(self, wheels, site):
        self.installed.append(wheels)
        write(site / LIBRARY.removeprefix(f"{sysroot.SITE}/"), "runtime")

    def ensure(self, runtime=RUNTIME, offline=False):
        return sysroot.ensure(runtime, offline=offline, announce=self.announced.append)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPACK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/sysroots" / f"arm64-{RUNTIME}"


@pytest.fixture
def builder(place, monkeypatch):
    builder = Builder()
    monkeypatch.setattr(sysroot, "unpack", builder.unpack)
    monkeypatch.setattr(sysroot, "_install", builder.install)
    monkeypatch.setattr(sysroot, "_compile", lambda root: None)
    monkeypatch.setattr(sysroot, "require_debian", lambda: None)
    return builder


def test_it_is_built_and_announced_once(builder, place):
    system = builder.ensure()
    assert (system.path, system.root) == (place, place / "root")
    assert (system.root / LIBRARY).read_text() == "runtime"
    assert builder.ensure() == system
    assert builder.ensure(offline=True) == system
    assert builder.unpacked == [(sysroot.PACKAGES, "arm64")]
    assert len(builder.announced) == len(builder.installed) == 1
    assert RUNTIME in builder.announced[0]
    assert sysroot.check(place) == []


def test_the_wheels_are_pinned_and_documentation_is_left_out(builder, place):
    system = builder.ensure()
    wheels = builder.installed[0]
    assert wheels[0] == f"onnxruntime=={RUNTIME}"
    assert all(wheel.count("==") == 1 for wheel in wheels)
    assert not (system.root / "usr/share/doc").exists()
    seal = json.loads((place / "seal.json").read_bytes())
    assert seal["packages"] == ["libc-bin_2.36_arm64.deb"]
    assert seal["wheels"] == list(wheels)
    assert sorted(seal["files"]) == sorted([LIBRARY, PYTHON, "usr/lib/libc.so.6"])


def test_offline_names_the_fix_and_touches_nothing(builder, tmp_path):
    with pytest.raises(HostError) as caught:
        builder.ensure(offline=True)
    assert caught.value.code == "E301"
    assert sysroot.FIX in caught.value.fix
    assert builder.announced == builder.unpacked == list(tmp_path.iterdir()) == []


def test_an_unknown_runtime_is_answered_with_the_known(builder, tmp_path):
    with pytest.raises(HostError) as caught:
        builder.ensure("1.0.0")
    assert caught.value.code == "E304"
    assert "1.0.0" in caught.value.what
    assert RUNTIME in caught.value.fix
    assert builder.announced == builder.unpacked == list(tmp_path.iterdir()) == []


def test_another_kind_of_machine_is_refused_before_anything_is_announced(builder, monkeypatch):
    def refuse():
        raise HostError("E302", "not Debian", fix="-")

    monkeypatch.setattr(sysroot, "require_debian", refuse)
    with pytest.raises(HostError) as caught:
        builder.ensure()
    assert caught.value.code == "E302"
    assert builder.announced == builder.unpacked == []


@pytest.mark.parametrize("name", [LIBRARY, PYTHON])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_vital_file_is_noticed_and_built_anew(builder, place, name, damage):
    whole = builder.ensure()
    if damage == "changed":
        (place / "root" / name).write_text("xxxxxxx")
    else:
        (place / "root" / name).unlink()
    with pytest.raises(HostError) as caught:
        builder.ensure(offline=True)
    assert caught.value.code == "E301"
    assert builder.ensure() == whole
    assert len(builder.announced) == len(builder.unpacked) == 2
    assert sysroot.check(place) == []


@pytest.mark.parametrize(
    "seal", [None, "", "{", "null", "[]", "3", "{}", '{"files": 3}', '{"files": {}}']
)
def test_a_damaged_seal_is_noticed_and_built_anew(builder, place, seal):
    whole = builder.ensure()
    if seal is None:
        (place / "seal.json").unlink()
    else:
        (place / "seal.json").write_text(seal)
    assert sysroot.check(place) != []
    assert builder.ensure() == whole
    assert len(builder.unpacked) == 2


def test_check_names_what_changed_is_missing_or_came_in(builder, place):
    root = builder.ensure().root
    (root / "usr/lib/libc.so.6").write_text("another")
    (root / LIBRARY).unlink()
    write(root / "opt/site/extra.py", "")
    assert sysroot.check(place) == ["opt/site/extra.py", LIBRARY, "usr/lib/libc.so.6"]


def test_check_of_nothing_names_the_seal(place):
    assert sysroot.check(place) == ["seal.json"]


def test_other_files_make_another_digest(builder, place):
    first = builder.ensure()
    shutil.rmtree(place)
    plain = builder.unpack

    def other(packages, arch, work, to):
        packages = plain(packages, arch, work, to)
        write(to / "usr/lib/libc.so.6", "a newer libc")
        return packages

    sysroot.unpack = other  # the fixture puts the original back
    assert builder.ensure().digest != first.digest


@pytest.mark.parametrize("step", ["unpack", "_install", "_compile"])
def test_a_failure_leaves_nothing_behind_and_does_not_stay(builder, place, monkeypatch, step):
    def fail(*_):
        raise HostError("E303", "no network", fix="-")

    with monkeypatch.context() as patch:
        patch.setattr(sysroot, step, fail)
        with pytest.raises(HostError) as caught:
            builder.ensure()
        assert caught.value.code == "E303"
    assert list(place.parent.iterdir()) == []
    assert sysroot.check(builder.ensure().path) == []


def test_a_failed_repair_leaves_what_was_there(builder, place, monkeypatch):
    builder.ensure()
    (place / "root" / LIBRARY).write_text("damaged")
    monkeypatch.setattr(sysroot, "_install", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        builder.ensure()
    assert [p.name for p in place.parent.iterdir()] == [place.name]
    assert sysroot.check(place) == [LIBRARY]


def test_a_system_without_its_vital_files_is_not_passed_off_as_one(builder, monkeypatch):
    monkeypatch.setattr(sysroot, "unpack", lambda packages, arch, work, to: to.mkdir() or [])
    monkeypatch.setattr(sysroot, "_install", lambda wheels, site: None)
    with pytest.raises(HostError) as caught:
        builder.ensure()
    assert caught.value.code == "E306"


def test_a_cache_that_cannot_be_made_is_a_fault_of_the_host(builder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEPACK_CACHE", str(tmp_path / "file"))
    with pytest.raises(HostError) as caught:
        builder.ensure()
    assert caught.value.code == "E320"


def test_a_failing_pip_is_quoted(tmp_path, monkeypatch):
    pip = tmp_path / "python"
    pip.write_text('#!/bin/sh\necho "$@" >arguments\necho "no matching wheel" >&2\nexit 1\n')
    pip.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(pip))
    with pytest.raises(HostError) as caught:
        sysroot._install(("onnxruntime==1.31.1",), tmp_path / "site")
    assert (caught.value.code, caught.value.why) == ("E305", "no matching wheel")
    arguments = (tmp_path / "arguments").read_text()
    assert "manylinux_2_28_aarch64" in arguments
    assert f"--target {tmp_path}/site" in arguments
    assert "x86_64" not in arguments


def test_processes_at_once_build_once(place, tmp_path):
    program = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from edgepack.devices import sysroot
        ready, log = Path({str(tmp_path)!r}), Path({str(tmp_path / "log")!r})

        def write(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")

        def unpack(packages, arch, work, to):
            with log.open("a") as stream: stream.write("unpacked\\n")
            time.sleep(0.3)
            write(to / {PYTHON!r})
            return []

        sysroot.unpack = unpack
        sysroot._install = lambda wheels, site: write(site / "onnxruntime_pybind11_state.so")
        sysroot._compile = lambda root: None
        sysroot.require_debian = lambda: None
        (ready / f"ready-{{sys.argv[1]}}").touch()
        while len(list(ready.glob("ready-*"))) < 3: time.sleep(0.005)
        print(sysroot.ensure({RUNTIME!r}, offline=False, announce=print).digest)
    """)
    command = [sys.executable, "-c", program]
    running = [
        subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True, env=os.environ)
        for n in range(3)
    ]
    told = [process.communicate(timeout=60)[0].splitlines() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "unpacked\n"
    assert sorted(map(len, told)) == [1, 1, 2]  # one announced it
    assert len({lines[-1] for lines in told}) == 1


def test_a_processor_gets_a_root_of_links_with_its_own_cpuinfo(builder, tmp_path):
    system = builder.ensure()
    before = sysroot.check(system.path)
    folder = tmp_path / "overlay"
    folder.mkdir()
    cpu = CPUS["cortex-a53"]
    assert system.for_cpu(cpu, folder) == folder
    assert (folder / "proc/cpuinfo").read_text() == cpu.cpuinfo()
    assert (folder / PYTHON).read_text() == "interpreter"
    assert (folder / "lib/libc.so.6").read_text() == "libc"
    assert sysroot.check(system.path) == before == []
