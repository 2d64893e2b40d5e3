"""A real broker: Debian's mosquitto on a port of this machine, which asks for a password."""

import getpass
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.model.settings import Broker
from simulator.immich.ports import free_port
from tests.support.programs import ServerProcess, find_program

USER: Final = "ha"
PASSWORD: Final = "secret-of-the-broker"
STRANGER: Final = "stranger"
"""A user who may do nothing but listen to what is not ours."""


class Mosquitto(ServerProcess):
    """The broker; it keeps nothing.

    Args:
        folder: for its files.
        certificate: of the server, with its key beside it: it speaks TLS then.
        port: where it listens.
    """

    def __init__(
        self, folder: Path, *, certificate: Path | None = None, port: int | None = None
    ) -> None:
        super().__init__(folder / "log.txt")
        self.port = port or free_port()
        users = folder / "users"
        users.touch(mode=0o600)
        for user in (USER, STRANGER):
            command = [find_program("mosquitto_passwd"), "-b", str(users), user, PASSWORD]
            subprocess.run(command, check=True, capture_output=True)
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

    def command(self) -> list[str]:
        """Return what starts it."""
        return [find_program("mosquitto"), "-c", str(self._configuration)]

    def is_ready(self) -> bool:
        """Return whether it listens."""
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        return False


@contextmanager
def mosquitto(folder: Path) -> Iterator[Mosquitto]:
    """Give a running broker."""
    folder.mkdir(exist_ok=True)
    with Mosquitto(folder) as broker:
        yield broker
