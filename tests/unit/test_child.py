"""Children answer, or their end has a name."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from edgepack.child import ChildError, Limits, Pipe, call

ECHO = """
import json, sys
for line in sys.stdin.buffer:
    message = json.loads(line)
    raw = sys.stdin.buffer.read(message["bytes"])
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\\n" + raw)
    sys.stdout.buffer.flush()
"""


def python(code, **limits):
    return Pipe([sys.executable, "-P", "-c", code], Limits(**{"seconds": 20.0, **limits}))


def test_a_function_answers_with_json():
    assert call("edgepack.types:digest_of", {}) == call("edgepack.types:digest_of", {})
    assert call("os.path:basename", {"p": "a/b"}) == "b"


def test_what_a_function_raises_is_its_answer():
    with pytest.raises(ChildError, match="raised: ModuleNotFoundError: No module") as caught:
        call("edgepack.nothing:at_all", {})
    assert caught.value.reason == "raised"


def test_frames_of_any_size_come_back():
    with python(ECHO) as pipe:
        for size in (0, 1, 65536, 3_000_001):
            data = os.urandom(size)
            assert pipe.ask({"bytes": size}, [data]) == {"bytes": size}
            assert pipe.take(size) == data


def test_a_child_that_hangs_is_ended_in_time():
    began = time.monotonic()
    with (
        python("import time; time.sleep(60)", seconds=0.5) as pipe,
        pytest.raises(ChildError, match=r"no answer within 0\.5 s") as caught,
    ):
        pipe.ask({})
    assert caught.value.reason == "deadline"
    assert time.monotonic() - began < 5


def test_a_child_that_does_not_read_is_ended_in_time():
    with (
        python("import time; time.sleep(60)", seconds=0.5) as pipe,
        pytest.raises(ChildError, match="deadline"),
    ):
        pipe.ask({}, [bytes(10_000_000)])


def test_a_child_that_answers_in_part_is_ended_in_time():
    code = "import time; print('{}', flush=True); print('abc', end='', flush=True); time.sleep(60)"
    with python(code, seconds=1.0) as pipe:
        assert pipe.ask({}) == {}
        with pytest.raises(ChildError, match="deadline"):
            pipe.take(4)


def test_a_signal_is_named():
    with (
        python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)") as pipe,
        pytest.raises(ChildError, match="SIGSEGV") as caught,
    ):
        pipe.ask({})
    assert (caught.value.reason, caught.value.status) == ("crashed", -11)


def test_last_words_are_kept():
    with (
        python("import sys; sys.exit('the end')") as pipe,
        pytest.raises(ChildError, match="the end") as caught,
    ):
        pipe.ask({})
    assert (caught.value.reason, caught.value.status) == ("crashed", 1)


def test_memory_has_a_limit():
    code = "import sys; sys.stdin.readline(); x = bytes(1 << 30)"
    with python(code, memory=1 << 29) as pipe, pytest.raises(ChildError) as caught:
        pipe.ask({})
    assert caught.value.reason == "memory"


def test_children_are_quiet(monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    code = (
        "import json, os; names = ('ORT_DISABLE_TELEMETRY', 'HF_HUB_OFFLINE', 'PYTHONHASHSEED')\n"
        "print(json.dumps([os.environ[n] for n in names]), flush=True); input()"
    )
    with python(code) as pipe:
        assert pipe.ask({}) == ["1", "1", "0"]


@pytest.mark.parametrize(
    "code",
    [
        "print('what a library says', flush=True); input()",
        "import sys; sys.stdout.buffer.write(b'\\xff' * 99 + b'\\n'); sys.stdout.flush(); input()",
        "print('[' * 100_000, flush=True); input()",
        "while True: print('x' * 65536, end='', flush=True)",
    ],
    ids=["words", "bytes", "deep", "endless"],
)
def test_an_answer_that_is_none_is_the_child_s_fault(code):
    with python(code) as pipe, pytest.raises(ChildError, match="it answered") as caught:
        pipe.ask({})
    assert caught.value.reason == "crashed"


def test_a_frame_that_cannot_be_is_refused():
    with python(ECHO) as pipe:
        pipe.ask({"bytes": 0})
        for size in (-1, 1 << 60, "9"):
            with pytest.raises(ChildError, match="it answered a frame of"):
                pipe.take(size)


def test_a_child_that_closes_its_output_and_lives_on_is_ended():
    code = "import os, time; os.close(1); time.sleep(60)"
    with python(code, seconds=1.0) as pipe, pytest.raises(ChildError, match="it answered no more"):
        pipe.ask({})


def test_a_busy_child_ends_when_its_parent_is_killed(tmp_path):
    program = textwrap.dedent("""
        import os, sys
        from edgepack.child import Limits, Pipe
        code = "import os; print(os.getpid(), flush=True)\\nwhile True: pass"
        with Pipe([sys.executable, "-P", "-c", code], Limits()) as pipe:
            print(pipe.ask({}), flush=True)
            os.kill(os.getpid(), 9)
    """)
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert done.returncode == -9
    child = int(done.stdout)
    for _ in range(100):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    os.kill(child, 9)
    pytest.fail("the child outlives its parent")
