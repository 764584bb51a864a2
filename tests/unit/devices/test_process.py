import os
import sys
import time

import pytest

from edgepack.devices import DeviceFailure
from edgepack.devices.process import LAST_WORDS, LIMITS, JobFolder


@pytest.fixture
def folder():
    folder = JobFolder()
    yield folder
    folder.close()


def python(folder, code, seconds=20.0, environment=None):
    return folder.run([sys.executable, "-S", "-c", code], environment or {}, seconds)


def test_files_travel_and_an_earlier_jobs_are_gone(folder, tmp_path):
    source = tmp_path / "source"
    source.write_text("one")
    folder.push({"a": source})
    folder.push({"b": source})
    assert [path.name for path in folder.path.iterdir()] == ["b"]
    folder.pull("b", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "one"


def test_a_link_left_by_a_job_is_not_followed(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder.path / "result.json").symlink_to(secret)
    with pytest.raises(DeviceFailure, match="left no"):
        folder.pull("result.json", tmp_path / "copy")


def test_nobody_else_may_look_in_and_nothing_stays(folder):
    assert folder.path.stat().st_mode & 0o77 == 0
    folder.close()
    assert not folder.path.exists()


def test_the_environment_is_the_one_given(folder, monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    code = "import os, sys; sys.stderr.write(','.join(sorted(set(os.environ) - {'LC_CTYPE'})))"
    assert python(folder, code, environment={"ONLY": "1"}).stderr == "ONLY"


def test_status_and_last_words(folder):
    code = f"import sys; sys.stderr.write('a' * {LAST_WORDS} + 'the end'); sys.exit(7)"
    outcome = python(folder, code)
    assert outcome.status == 7
    assert outcome.stderr.endswith("the end")
    assert len(outcome.stderr) == LAST_WORDS


def test_a_signal_is_negative(folder):
    assert python(folder, "import os; os.kill(os.getpid(), 11)").status == -11


def test_a_process_that_misses_its_deadline_is_ended(folder):
    code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    began = time.monotonic()
    with pytest.raises(DeviceFailure) as failure:
        python(folder, code, seconds=1.0)
    assert failure.value.reason == "deadline"
    assert time.monotonic() - began < 20
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder.path / "pid").read_text()), 0)


def test_limits_hold_in_the_process(folder):
    code = (
        "import resource, sys, time; time.sleep(0.3)\n"
        f"sys.stderr.write(repr([resource.getrlimit(k)[0] for k in {list(LIMITS)}]))"
    )
    assert python(folder, code).stderr == repr(list(LIMITS.values()))


def test_what_it_prints_fills_no_memory_of_ours(folder):
    code = "import sys\nfor _ in range(64): sys.stdout.write('x' * 65536)\nsys.stderr.write('done')"
    assert python(folder, code).stderr == "done"
