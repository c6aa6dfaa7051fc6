"""The embedded server, as a real process."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL

import pytest
from redis import Redis

from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.processes import embedded
from arqway.workers.processes.embedded import EmbeddedServer, HomeInUse
from tests.support.waiting import wait_until

OWN_AND_WAIT = """
import sys
from pathlib import Path
from arqway.workers.processes.embedded import EmbeddedServer

server = EmbeddedServer(Path(sys.argv[1]))
server.start()
print("started", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that does not exist yet."""
    return tmp_path / "home"


@pytest.fixture
def told() -> list[str]:
    """What the server told its owner."""
    return []


def start_in_killed_process(home: Path) -> int:
    """Start the server from a process that is killed at once; return the server's process id."""
    with subprocess.Popen(
        [sys.executable, "-c", OWN_AND_WAIT, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"started\n"
        owner.send_signal(SIGKILL)
    return int((home / "valkey" / "valkey.pid").read_text())


def server_pid(url: str) -> int:
    """Return the process id that the server itself tells."""
    with Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def test_a_started_server_answers_on_a_private_socket_only(home: Path) -> None:
    """It has no TCP port, its socket is its owner's alone, and it is set up so that accepted jobs are kept."""
    with EmbeddedServer(home) as server, Redis.from_url(server.url) as client:
        config = client.config_get("*")
        socket = Path(config["unixsocket"])

        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert config["port"] == "0"
        assert (config["appendonly"], config["appendfsync"]) == ("yes", "everysec")
        assert config["maxmemory-policy"] == "noeviction"


def test_a_stopped_server_is_gone(home: Path) -> None:
    """After stop no process of this home runs, no socket is left, and stopping again does nothing."""
    server = EmbeddedServer(home)
    server.start()
    pid = server_pid(server.url)

    server.stop()
    server.stop()

    assert not server.is_running()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_data_survives_a_restart(home: Path) -> None:
    """What was written before stop is there after start, and the server answers only once all of it is loaded."""
    values = {f"key-{number}": "x" * 50 for number in range(100_000)}
    with EmbeddedServer(home) as server, Redis.from_url(server.url) as client:
        client.mset(values)

    with EmbeddedServer(home) as server, Redis.from_url(server.url) as client:
        assert client.dbsize() == len(values)


def test_a_killed_server_leaves_data_and_a_pid_file_that_is_explained(home: Path, told: list[str]) -> None:
    """After SIGKILL the next start says so in one line, and every write that was answered is there."""
    server = EmbeddedServer(home)
    server.start()
    with Redis.from_url(server.url) as client:
        client.set("kept", "yes")
    pid = server_pid(server.url)
    os.kill(pid, SIGKILL)
    server.stop()

    with EmbeddedServer(home, tell=told.append) as server, Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"

    assert len(told) == 1
    assert f"process {pid}" in told[0]


def test_a_server_that_outlived_its_owner_is_adopted(home: Path, told: list[str]) -> None:
    """After the owner's SIGKILL the next start takes over the running server, says so, and stops it in the end."""
    pid = start_in_killed_process(home)

    server = EmbeddedServer(home, tell=told.append)
    server.start()
    adopted = server_pid(server.url)
    server.stop()

    assert adopted == pid
    assert len(told) == 1
    assert "adopted" in told[0]
    assert not server.is_running()


def test_a_second_server_is_never_started_on_the_same_data(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of this home that runs but cannot be reached is left alone, and the start is refused."""
    monkeypatch.setattr(embedded, "_ANSWER_WITHIN_S", 0.2)
    pid = start_in_killed_process(home)
    server = EmbeddedServer(home)
    socket = Path(server.url.removeprefix("unix://"))
    hidden = socket.rename(socket.with_name("hidden"))

    with pytest.raises(ConfigurationError, match=f"process {pid}.*does not answer"):
        server.start()

    assert server.is_running()
    hidden.rename(socket)
    with server:
        assert server_pid(server.url) == pid


def test_a_home_has_one_owner(home: Path) -> None:
    """A second owner is refused, and told whose the home is."""
    with EmbeddedServer(home), pytest.raises(HomeInUse, match=f"in use by process {os.getpid()}"):
        EmbeddedServer(home).start()


def test_a_second_process_can_attach_and_leaves_the_server_running(home: Path) -> None:
    """Who attached uses the same server, and stops nothing when it leaves."""
    with EmbeddedServer(home) as server:
        guest = EmbeddedServer(home)
        guest.start_or_attach()
        assert (guest.url, guest.owned) == (server.url, False)

        guest.stop()

        assert server_pid(server.url) > 0


@pytest.mark.parametrize("name", ["deep/" * 40, "a b'c\"é?#%41"], ids=["too long for a socket", "odd characters"])
def test_any_folder_can_be_a_home(tmp_path: Path, name: str) -> None:
    """The URL leads to the server, whatever the path of the home."""
    with EmbeddedServer(tmp_path / name) as server:
        assert server_pid(server.url) > 0


def test_a_long_path_leaves_nothing_in_the_temporary_folder(tmp_path: Path) -> None:
    """The socket's folder outside of the home is private, and goes with the server."""
    with EmbeddedServer(tmp_path / ("deep/" * 40)) as server:
        folder = Path(server.url.removeprefix("unix://")).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_a_home_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    """The error names the folder and the reason."""
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(ConfigurationError, match=r"home cannot be used: Not a directory$"):
        EmbeddedServer(file / "home").start()


def test_what_the_server_said_is_in_the_error_when_it_cannot_start(home: Path) -> None:
    """A damaged append-only file is reported in the server's own words, and the home is free again."""
    with EmbeddedServer(home):
        pass
    (home / "valkey" / "appendonlydir" / "appendonly.aof.manifest").write_text("damaged")

    with pytest.raises(ConfigurationError, match=r"the server did not start: .*valkey\.log"):
        EmbeddedServer(home).start()
    with pytest.raises(ConfigurationError, match="the server did not start"):
        EmbeddedServer(home).start()


async def test_the_server_is_not_reached_by_ctrl_c(home: Path) -> None:
    """It leads a process group of its own, so the terminal's SIGINT leaves it to its owner to stop it."""
    with EmbeddedServer(home) as server:
        pid = server_pid(server.url)
        assert os.getpgid(pid) == pid
        os.killpg(pid, SIGKILL)
        await wait_until(lambda: not server.is_running(), "the server has ended")
