"""A signal becomes a status, whatever a library makes of it."""

import signal
import subprocess
import sys
import textwrap

import pytest


@pytest.mark.parametrize("swallowed", [False, True])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_status_names_the_signal(name, swallowed):
    program = textwrap.dedent(f"""
        import os, signal, sys
        from edgepack.cli import interrupt
        interrupt.catch()
        try:
            os.kill(os.getpid(), signal.{name})
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.{name})  # once more, in the cleaning up
        sys.exit(interrupt.status(70 if {swallowed} else 130))
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (128 + getattr(signal, name), "")


def test_what_the_shell_ignores_stays_ignored():
    program = textwrap.dedent("""
        import os, signal
        from edgepack.cli import interrupt
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        interrupt.catch()
        os.kill(os.getpid(), signal.SIGHUP)
    """)
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
