import io
import os
import sys
import tarfile

import pytest

from edgepack.devices import debian
from edgepack.errors import HostError

ARCHIVES = (
    "Debian|http://mirror.example/debian|bookworm|main\n"
    "Debian|http://mirror.example/debian|bookworm|main\n"
    "Debian|http://mirror.example/security|bookworm-security|main\n"
    "Somebody|http://ppa.example|stable|main\n"
    "a line of another kind\n"
)


def tool(folder, name, program):
    path = folder / name
    path.write_text(program)
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A folder of programs that stand before the machine's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def release(tmp_path, monkeypatch):
    def write(text):
        path = tmp_path / "os-release"
        if text is not None:
            path.write_text(text)
        monkeypatch.setattr(debian, "Path", lambda _: path)

    return write


def refused(call, *arguments) -> HostError:
    with pytest.raises(HostError) as caught:
        call(*arguments)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "ID=debian\n",
        'PRETTY_NAME="Ubuntu 24.04"\nID="ubuntu"\nID_LIKE=debian\n',
        'ID=linuxmint\nID_LIKE="ubuntu debian"\n',
        "ID=raspbian\nID_LIKE='debian'\n",
    ],
)
def test_debian_and_its_kin_are_taken(tools, release, text):
    for name in debian.NEEDED:
        tool(tools, name, "#!/bin/sh\n")
    release(text)
    debian.require_debian()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('ID=fedora\nID_LIKE="rhel"\n', "this is fedora"),
        ("ID=notdebian\n", "this is notdebian"),
        (None, "this is ?"),
    ],
)
def test_another_system_is_named(tools, release, text, why):
    for name in debian.NEEDED:
        tool(tools, name, "#!/bin/sh\n")
    release(text)
    problem = refused(debian.require_debian)
    assert (problem.code, problem.why) == ("E302", why)


def test_a_debian_without_its_tools_says_which(tools, release, monkeypatch):
    tool(tools, "apt-get", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tools))
    release("ID=debian\n")
    problem = refused(debian.require_debian)
    assert (problem.code, problem.why) == ("E302", "missing dpkg-deb")


@pytest.mark.parametrize("listed", ["", "Somebody|http://ppa.example|stable|main\n"])
def test_without_archives_of_debian_apt_must_be_updated(tools, tmp_path, listed):
    tool(tools, "apt-get", f"#!/bin/sh\nprintf '{listed}'\n")
    problem = refused(debian.unpack, ["x"], "arm64", tmp_path / "work", tmp_path / "root")
    assert problem.code == "E303"
    assert "apt-get update" in problem.fix
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("step", ["update", "install"])
def test_a_failing_apt_is_quoted(tools, tmp_path, step):
    script = (
        f"#!/bin/sh\ncase \"$*\" in\nindextargets*) printf '{ARCHIVES}' ;;\n"
        f"*{step}*) echo 'Reading lists' >&2; printf '\\nE: the mirror is gone\\n\\n' >&2; exit 100"
        " ;;\nesac\n"
    )
    tool(tools, "apt-get", script)
    problem = refused(debian.unpack, ["x"], "arm64", tmp_path / "work", tmp_path / "root")
    assert problem.code == "E303"
    assert problem.why == "apt-get: Reading lists; E: the mirror is gone"
    assert not (tmp_path / "root").exists()


def test_an_apt_that_never_ends_is_given_up(tools, tmp_path, monkeypatch):
    tool(tools, "apt-get", "#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(debian, "SECONDS", 0.2)
    problem = refused(debian.unpack, ["x"], "arm64", tmp_path / "work", tmp_path / "root")
    assert (problem.code, problem.why) == ("E303", "apt-get: no end after 0.2 s")


def archive(path, *members):
    """Write the tar that the stand-in for dpkg-deb hands over."""
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content or b""))


@pytest.fixture
def apt(tools, tmp_path):
    """Stand-ins for apt-get, which fetches two packages, and dpkg-deb, which hands over a tar."""
    store = tmp_path / "store"
    store.mkdir()
    archive(store / "b_2_arm64.deb", ("./lib/", None), ("./lib/ld.so", b"loader"))
    archive(store / "a_1_arm64.deb", ("./usr/", None), ("./usr/bin/a", b"program"))
    tool(
        tools,
        "apt-get",
        f"#!{sys.executable}\n"
        "import os, pathlib, shutil, sys\n"
        f"store = pathlib.Path({str(store)!r})\n"
        "with (store.parent / 'log').open('a') as log: log.write(' '.join(sys.argv[1:]) + '\\n')\n"
        "settings = dict(a.split('=', 1) for a in sys.argv if '::' in a and '=' in a)\n"
        f"if 'indextargets' in sys.argv: print({ARCHIVES!r}, end='')\n"
        "if 'install' in sys.argv:\n"
        "    for deb in store.iterdir():\n"
        "        shutil.copy(deb, settings['Dir::Cache'] + '/archives')\n",
    )
    tool(tools, "dpkg-deb", '#!/bin/sh\n[ "$1" = --fsys-tarfile ] && exec cat "$2"\n')
    return store


def test_packages_are_unpacked_through_the_links_of_a_merged_usr(apt, tmp_path):
    root = tmp_path / "root"
    names = debian.unpack(["a", "b"], "arm64", tmp_path / "work", root)
    assert names == ["a_1_arm64.deb", "b_2_arm64.deb"]
    assert (root / "lib").is_symlink()
    assert (root / "usr/lib/ld.so").read_text() == "loader"
    assert (root / "usr/bin/a").read_text() == "program"
    assert all((root / name).readlink().name == name for name in ("bin", "lib", "sbin"))


def test_apt_works_on_state_of_its_own_for_the_other_architecture(apt, tmp_path):
    work = tmp_path / "work"
    debian.unpack(["a", "b"], "arm64", work, tmp_path / "root")
    _, update, install = (tmp_path / "log").read_text().splitlines()
    for line in (update, install):
        options = line.split()
        assert "APT::Architecture=arm64" in options
        assert {f"Dir::State={work}", f"Dir::Cache={work}/cache"} <= set(options)
        assert f"Dir::State::status={work}/dpkg/status" in options
    assert update.endswith(" update")
    assert install.endswith(" --no-install-recommends a b")
    assert "--download-only" in install
    assert (work / "sources.list").read_text() == (
        "deb [arch=arm64] http://mirror.example/debian bookworm main\n"
        "deb [arch=arm64] http://mirror.example/security bookworm-security main\n"
    )


def test_a_package_that_does_not_unpack_is_quoted(apt, tools, tmp_path):
    tool(tools, "dpkg-deb", "#!/bin/sh\necho 'not a Debian archive' >&2\nexit 2\n")
    problem = refused(debian.unpack, ["a"], "arm64", tmp_path / "work", tmp_path / "root")
    assert (problem.code, problem.why) == ("E303", "dpkg-deb: not a Debian archive")


def test_a_package_whose_files_are_cut_short_is_a_failure(apt, tmp_path):
    deb = apt / "a_1_arm64.deb"
    deb.write_bytes(deb.read_bytes()[:1200])
    problem = refused(debian.unpack, ["a"], "arm64", tmp_path / "work", tmp_path / "root")
    assert problem.code == "E303"
