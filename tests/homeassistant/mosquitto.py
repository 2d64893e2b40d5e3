"""A real broker: Debian's mosquitto on a port of this machine, which asks for a password."""

import getpass
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from immich_job_daemon.homeassistant.broker import Broker
from immich_job_daemon.secret import Secret
from immich_job_daemon.simulator.ports import free_port
from tests.held import until

USER: Final = "ha"
PASSWORD: Final = "secret-of-the-broker"
STRANGER: Final = "stranger"
"""A user who may do nothing but listen to what is not ours."""


class Mosquitto:
    """The broker, as a context manager; it can be killed and started again meanwhile.

    Args:
        folder: for its files.
        certificate: of the server, with its key beside it: it speaks TLS then.
        port: where it listens.
    """

    def __init__(
        self, folder: Path, *, certificate: Path | None = None, port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        users = folder / "users"
        users.touch(mode=0o600)
        for user in (USER, STRANGER):
            self._command("mosquitto_passwd", "-b", str(users), user, PASSWORD)
        rights = folder / "rights"
        rights.write_text(f"user {USER}\ntopic readwrite #\n\nuser {STRANGER}\ntopic read else/#\n")
        rights.chmod(0o600)
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"user {getpass.getuser()}",
            "allow_anonymous false",
            f"password_file {users}",
            f"acl_file {rights}",
            "persistence false",
        ]
        if certificate:
            lines += [f"certfile {certificate}", f"keyfile {certificate.with_suffix('.key')}"]
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text("\n".join([*lines, ""]))

    @property
    def url(self) -> str:
        """What is given as MQTT_URL."""
        return f"mqtt://{USER}:{PASSWORD}@127.0.0.1:{self.port}"

    @property
    def broker(self) -> Broker:
        """The same, read."""
        return Broker("127.0.0.1", self.port, USER, Secret(PASSWORD))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and return when it listens."""
        with (self._folder / "log.txt").open("ab") as log:
            command = [_found("mosquitto"), "-c", str(self._configuration)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._listens)

    def kill(self) -> None:
        """End it as a power cut does, with all that it kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log.txt").read_text()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        return False

    @staticmethod
    def _command(name: str, *arguments: str) -> None:
        subprocess.run([_found(name), *arguments], check=True, capture_output=True)


@contextmanager
def mosquitto(folder: Path) -> Iterator[Mosquitto]:
    """Give a running broker."""
    folder.mkdir(exist_ok=True)
    with Mosquitto(folder) as broker:
        yield broker


def _found(name: str) -> str:
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert path, f"{name} is missing: script/packages installs it"
    return path
