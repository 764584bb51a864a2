import os
import sys
import time
from importlib.metadata import version

import pytest

from edgepack.devices import DeviceFailure, Opening, local
from edgepack.devices.local import Local
from edgepack.devices.process import LAST_WORDS, JobFolder


@pytest.fixture
def channel(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    channel = Local("", Opening("1.31.1"))
    yield channel
    channel.close()


@pytest.fixture
def folder():
    folder = JobFolder()
    yield folder
    folder.close()


def agent(channel, tmp_path, program):
    """Push a program in the agent's place."""
    source = tmp_path / "program.py"
    source.write_text(program)
    channel.push({"agent.py": source})


def cpuinfo(monkeypatch, tmp_path, text):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(local, "Path", lambda name: tmp_path / name.removeprefix("/proc/"))


def test_its_clock_is_real_and_it_counts_nothing(channel):
    assert (channel.name, channel.real_clock, channel.counts) == ("local", True, False)


@pytest.mark.parametrize(
    ("text", "cpu", "features"),
    [
        (
            "processor\t: 0\nmodel name\t: Chip @ 2: fast\n"
            "flags\t\t: fpu avx2 avx512_vnni avx_vnni amx_int8\n\n"
            "processor\t: 1\nmodel name\t: Chip @ 2: fast\n"
            "flags\t\t: fpu avx2 avx512_vnni avx_vnni amx_int8\n",
            "Chip @ 2: fast",
            ("amx", "avx2", "vnni"),
        ),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm aes\n", None,
         ("asimd", "asimddp", "fp", "i8mm")),
        ("processor\t: 0\n", None, ()),
    ],
)  # fmt: skip
def test_the_processor_is_read_from_the_kernel(channel, tmp_path, monkeypatch, text, cpu, features):
    cpuinfo(monkeypatch, tmp_path, text)
    monkeypatch.setattr("platform.machine", lambda: "machine")
    info = channel.info()
    assert (info.cpu, info.arch, info.features) == (cpu or "machine", "machine", features)
    assert info.runtime == f"onnxruntime {version('onnxruntime')}"
    assert info.emulator == ""


def test_the_digest_follows_what_decides_an_answer(channel, tmp_path, monkeypatch):
    cpuinfo(monkeypatch, tmp_path, "model name: a\nflags: avx2\n")
    first = channel.info().digest
    assert channel.info().digest == first
    cpuinfo(monkeypatch, tmp_path, "model name: a\nflags: avx2 avx512_vnni\n")
    features = channel.info().digest
    cpuinfo(monkeypatch, tmp_path, "model name: b\nflags: avx2\n")
    name = channel.info().digest
    monkeypatch.setattr(local, "version", lambda _: "0.0")
    assert len({first, features, name, channel.info().digest}) == 4


def test_the_agent_runs_with_this_interpreter_and_nothing_of_our_environment(
    channel, tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    program = (
        "import os, pathlib, sys\n"
        "found = [sys.executable, os.getcwd(), *sys.argv[1:], *sorted(os.environ)]\n"
        "assert '' not in sys.path and os.getcwd() not in sys.path\n"
        "pathlib.Path('found').write_text('\\n'.join(found))\n"
    )
    agent(channel, tmp_path, program)
    assert channel.run(["job", "two"], seconds=30).status == 0
    channel.pull("found", tmp_path / "found")
    executable, folder, *rest = (tmp_path / "found").read_text().splitlines()
    assert executable == sys.executable
    assert os.path.dirname(folder) == os.path.realpath(tmp_path)  # noqa: PTH120
    assert rest[:2] == ["job", "two"]
    assert set(rest[2:]) <= {"PYTHONHASHSEED", "PATH", "LC_CTYPE"}


def test_a_status_and_the_last_words_come_back(channel, tmp_path):
    agent(channel, tmp_path, "import sys\nsys.exit('alas \\u00e9')\n")
    outcome = channel.run([], seconds=30, counted=True)
    assert (outcome.status, outcome.stderr.startswith("alas")) == (1, True)
    assert (outcome.counts, outcome.not_counted) == ((), "")


def test_a_signal_is_a_negative_status(channel, tmp_path):
    agent(channel, tmp_path, "import os\nos.kill(os.getpid(), 4)\n")
    assert channel.run([], seconds=30).status == -4


def test_close_removes_the_folder_with_all_in_it(channel, tmp_path):
    agent(channel, tmp_path, "import os\nos.makedirs('deep/er')\nopen('deep/er/file', 'w')\n")
    assert channel.run([], seconds=30).status == 0
    assert len(list(tmp_path.glob("edgepack-device-*"))) == 1
    channel.close()
    assert list(tmp_path.glob("edgepack-device-*")) == []


def test_a_deadline_ends_the_process(folder):
    began = time.monotonic()
    with pytest.raises(DeviceFailure) as caught:
        folder.run(["/bin/sh", "-c", "echo $$ >pid; exec sleep 60"], {"PATH": os.defpath}, 0.5)
    assert time.monotonic() - began < 20
    assert (caught.value.reason, caught.value.detail) == ("deadline", "no end after 0.5 s")
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder.path / "pid").read_text()), 0)


def test_only_the_last_words_are_kept_and_odd_bytes_do_no_harm(folder):
    program = "printf '%06000d\\377end' 0 >&2; echo noise"
    outcome = folder.run(["/bin/sh", "-c", program], {}, 30)
    assert len(outcome.stderr) == LAST_WORDS
    assert outcome.stderr.endswith("0\N{REPLACEMENT CHARACTER}end")


def test_a_push_leaves_nothing_of_the_job_before(folder, tmp_path):
    source = tmp_path / "source"
    source.write_text("new")
    (folder.path / "outputs.bin").write_text("old")
    (folder.path / "a").write_text("old")
    (folder.path / "b").symlink_to(source)
    (folder.path / "made").mkdir()
    (folder.path / "made/x").write_text("old")
    folder.push({"a": source})
    assert [p.name for p in folder.path.iterdir()] == ["a"]
    assert (folder.path / "a").read_text() == source.read_text() == "new"


@pytest.mark.parametrize("kind", ["nothing", "folder", "link", "pipe"])
def test_only_a_plain_file_is_pulled(folder, tmp_path, kind):
    secret = tmp_path / "secret"
    secret.write_text("of this machine")
    left = folder.path / "result.json"
    match kind:
        case "folder":
            left.mkdir()
        case "link":
            left.symlink_to(secret)
        case "pipe":
            os.mkfifo(left)
    with pytest.raises(DeviceFailure) as caught:
        folder.pull("result.json", tmp_path / "to")
    assert (caught.value.reason, caught.value.detail) == ("error", "it left no result.json")
    assert not (tmp_path / "to").exists()
