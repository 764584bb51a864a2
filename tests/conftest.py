import signal

import pytest
from hypothesis import settings

# How long a test takes says how busy the machine is.
settings.register_profile("edgepack", deadline=None)
settings.load_profile("edgepack")


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard():
    """A shell that runs the tests in the background has its children ignore some signals."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
