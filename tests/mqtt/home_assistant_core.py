"""A real Home Assistant Core as a separate process, driven over its REST and WebSocket APIs."""

import json
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import requests

from simulator.immich.ports import free_port
from tests.mqtt.mosquitto import PASSWORD, USER, Mosquitto
from tests.support import waiting

wait_until: Final = partial(waiting.wait_until, timeout=120.0, interval=0.2)
"""Poll Home Assistant less often: it is slow, and each poll is an HTTP request."""

START_TIMEOUT: Final = 900.0
"""Seconds. At its first start Home Assistant installs the packages of its integrations."""

RESPONSE_TIMEOUT: Final = 60.0

CONFIGURATION: Final = """\
homeassistant:
  name: Test
  latitude: 50
  longitude: 8
  elevation: 100
  unit_system: metric
  time_zone: UTC
http:
  server_host: 127.0.0.1
  server_port: {port}
api:
config:
automation: !include automations.yaml
notify:
logger:
  default: warning
"""


class Core:
    """Home Assistant Core, as a context manager.

    Args:
        runner: a program that runs a command where Home Assistant is installed.
        folder: the configuration folder; it must have the same path there.
    """

    def __init__(self, runner: Path, folder: Path) -> None:
        self._runner = runner
        self._folder = folder
        self._port = free_port()
        self._session = requests.Session()
        self._session.trust_env = False
        self._token = ""
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        (folder / "automations.yaml").write_text("[]\n")
        configuration = CONFIGURATION.format(port=self._port)
        (folder / "configuration.yaml").write_text(configuration)

    def __enter__(self) -> Self:
        self.start()
        self._onboard()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """The log: warnings and errors."""
        return (self._folder / "log.txt").read_text(errors="replace")

    def start(self) -> None:
        """Start Home Assistant and wait until it has started."""
        with (self._folder / "log.txt").open("ab") as log:
            command = [str(self._runner), "hass", "-c", str(self._folder)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._responds, "Home Assistant responds", timeout=START_TIMEOUT)
        if self._token:
            wait_until(lambda: self.get("config")["state"] == "RUNNING", "Home Assistant runs")

    def stop(self) -> None:
        """Stop Home Assistant through its API; kill it if that fails."""
        if self._process is None:
            return
        with suppress(requests.RequestException):
            self.call("homeassistant.stop")
        try:
            self._process.wait(RESPONSE_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop and start Home Assistant."""
        self.stop()
        self.start()

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Send a GET request to the REST API and return the JSON of the response."""
        response = self._session.get(f"{self._url}/api/{path}", timeout=RESPONSE_TIMEOUT)
        response.raise_for_status()
        return response.json()

    def post(self, path: str, body: Mapping[str, object]) -> Any:  # noqa: ANN401 - JSON
        """Send a POST request to the REST API and return the JSON of the response."""
        url = f"{self._url}/api/{path}"
        response = self._session.post(url, json=body, timeout=RESPONSE_TIMEOUT)
        response.raise_for_status()
        return response.json()

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the state and attributes of every entity by its ID."""
        return {state["entity_id"]: state for state in self.get("states")}

    def state(self, entity: str) -> str | None:
        """Return the state of an entity, None if there is no such entity."""
        state = self.states().get(entity)
        return None if state is None else str(state["state"])

    def call(self, action: str, entity: str = "", **data: object) -> None:
        """Call an action, as the user interface does."""
        target = {"entity_id": entity} if entity else {}
        self.post(f"services/{action.replace('.', '/')}", {**target, **data})

    def set_state(self, entity: str, state: str) -> None:
        """Set the state of an entity that no integration provides."""
        self.post(f"states/{entity}", {"state": state})

    def send_command(self, **command: object) -> Any:  # noqa: ANN401 - JSON
        """Send a command to the WebSocket API and return the result."""
        program = Path(__file__).with_name("websocket_command.py").read_text()
        arguments = [self._url, self._token, json.dumps(command)]
        completed = subprocess.run(
            [self._runner, "python", "-", *arguments],
            input=program,
            text=True,
            check=True,
            stdout=subprocess.PIPE,
        )
        return json.loads(completed.stdout)

    def set_automations(self, automations: str) -> None:
        """Replace all automations by these, given in YAML."""
        (self._folder / "automations.yaml").write_text(automations)
        self.call("automation.reload")

    def set_up_mqtt(self, broker: Mosquitto) -> None:
        """Set up the MQTT integration through its config flow, as a user does."""
        form = self.post("config/config_entries/flow", {"handler": "mqtt"})
        values: dict[str, object] = {
            "broker": "127.0.0.1",
            "port": broker.port,
            "username": USER,
            "password": PASSWORD,
        }
        for field in form["data_schema"]:
            # Newer versions have more required fields.
            if field["name"] == "protocol":
                values["protocol"] = field["default"]
            if field["name"] == "other_settings":
                disabled = {"set_client_cert": False, "set_ca_cert": "off", "tls_insecure": False}
                values["other_settings"] = {**disabled, "transport": "tcp"}
        result = self.post(f"config/config_entries/flow/{form['flow_id']}", values)
        assert result["type"] == "create_entry", result

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _responds(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        with suppress(requests.RequestException):
            self.get("onboarding" if not self._token else "config")
            return True
        return False

    def _onboard(self) -> None:
        """Complete the onboarding of a new installation."""
        client_id = f"{self._url}/"
        user = {"client_id": client_id, "name": "Test", "username": "test", "language": "en"}
        created = self.post("onboarding/users", {**user, "password": "password-of-tests"})
        form = {
            "client_id": client_id,
            "grant_type": "authorization_code",
            "code": created["auth_code"],
        }
        url = f"{self._url}/auth/token"
        response = self._session.post(url, data=form, timeout=RESPONSE_TIMEOUT)
        response.raise_for_status()
        self._token = response.json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {self._token}"
        for step in ("core_config", "analytics"):
            self.post(f"onboarding/{step}", {})
        self.post("onboarding/integration", {"client_id": client_id, "redirect_uri": client_id})
        wait_until(lambda: self.get("config")["state"] == "RUNNING", "Home Assistant runs")
