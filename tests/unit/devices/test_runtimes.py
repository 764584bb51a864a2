import json

import pytest

from edgepack.devices import Opening, runtimes
from edgepack.devices.local import Local
from edgepack.devices.qemu import Qemu
from edgepack.errors import HostError, UsageError

PACKAGE, VERSION = "onnxruntime-openvino", "1.24.1"
LIBRARY = "onnxruntime/capi/onnxruntime_pybind11_state.so"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Pip:
    """Stands in for pip, and remembers what it was asked for."""

    def __init__(self):
        self.installed, self.announced, self.left_out = [], [], ""

    def install(self, wheels, site):
        self.installed.append(wheels)
        write(site / LIBRARY, "runtime")
        write(site / "onnxruntime/__init__.py", "marker = 'the other one'\n")
        for wheel in wheels:
            name, _, version = wheel.partition("==")
            if name != self.left_out:
                folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
                write(folder / "METADATA", f"Name: {name}\nVersion: {version}\n")

    def ensure(self, package=PACKAGE, version=VERSION, offline=False):
        return runtimes.ensure(package, version, offline=offline, announce=self.announced.append)


@pytest.fixture
def pip(tmp_path, monkeypatch):
    pip = Pip()
    monkeypatch.setenv("EDGEPACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(runtimes, "_install", pip.install)
    return pip


def refused(act, *given, **named):
    with pytest.raises(HostError) as caught:
        act(*given, **named)
    return caught.value


def test_it_is_set_up_and_announced_once(pip):
    first = pip.ensure()
    assert pip.ensure() == pip.ensure(offline=True) == first
    assert [wheels[0] for wheels in pip.installed] == [f"{PACKAGE}=={VERSION}"]
    assert all(wheel.count("==") == 1 for wheel in pip.installed[0])
    assert len(pip.announced) == 1
    assert f"{PACKAGE} {VERSION}" in pip.announced[0]
    assert runtimes.check(runtimes.place(PACKAGE, VERSION)) == []


def test_offline_forbids_and_names_the_command(pip):
    problem = refused(pip.ensure, offline=True)
    assert problem.code == "E312"
    assert f"edgepack doctor --fix {PACKAGE}" in problem.fix
    assert (pip.installed, pip.announced) == ([], [])


def test_a_library_that_changed_is_set_up_again(pip):
    whole = pip.ensure()
    (whole.site / LIBRARY).write_text("another")
    assert runtimes.check(runtimes.place(PACKAGE, VERSION)) == [LIBRARY]
    assert "damaged" in refused(pip.ensure, offline=True).what
    assert pip.ensure() == whole
    assert len(pip.installed) == 2


def test_bytecode_is_no_damage(pip):
    site = pip.ensure().site
    write(site / "onnxruntime/__pycache__/__init__.pyc", "x")
    assert runtimes.check(runtimes.place(PACKAGE, VERSION)) == []


@pytest.mark.parametrize("given", [("onnxruntime-rocket", VERSION), (PACKAGE, "1.0.0")])
def test_what_is_not_pinned_is_refused(pip, given):
    problem = refused(pip.ensure, *given)
    assert problem.code == "E314"
    assert f"{PACKAGE} {VERSION}" in problem.fix


def test_what_pip_installed_is_checked_and_nothing_stays(pip):
    pip.left_out = "numpy"
    problem = refused(pip.ensure)
    assert problem.code == "E315"
    assert "numpy==" in problem.why
    assert not runtimes.place(PACKAGE, VERSION).exists()


def test_pip_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(runtimes.sys, "executable", str(tmp_path / "python"))
    write(tmp_path / "python", "#!/bin/sh\necho 'no such wheel' >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    problem = refused(runtimes._install, ("a==1",), tmp_path / "site")
    assert (problem.code, problem.why) == ("E313", "no such wheel")


def test_the_agent_sees_that_runtime_and_nothing_of_this_environment(pip, tmp_path):
    channel = Local("", Opening(VERSION, announce=pip.announced.append, package=PACKAGE))
    program = tmp_path / "program.py"
    program.write_text(
        "import json, sys\nimport onnxruntime\n"
        "json.dump([onnxruntime.marker, sys.path], open('found', 'w'))\n"
    )
    channel.push({"agent.py": program})
    assert channel.run([], seconds=30).status == 0
    channel.pull("found", tmp_path / "found")
    info = channel.info()
    channel.close()
    marker, path = json.loads((tmp_path / "found").read_text())
    assert marker == "the other one"
    assert not any("site-packages" in place for place in path)
    assert info.runtime == f"{PACKAGE} {VERSION}"
    own = Local("", Opening("1.31.1"))
    assert own.info().digest != info.digest
    own.close()


def test_offline_the_channel_is_a_host_that_lacks_it(pip):
    channel = Local("", Opening(VERSION, offline=True, package=PACKAGE))
    assert refused(channel.info).code == "E312"
    channel.close()


def test_an_emulated_processor_has_no_such_runtime():
    with pytest.raises(UsageError) as caught:
        Qemu("Haswell", Opening(VERSION, package=PACKAGE))
    assert (caught.value.code, caught.value.fix) == ("E216", "verify it with `--on local`")
