"""Starting and stopping: the context manager, the state file, the command line, the cost of importing."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

import airflow_provider_cohere_datasets.emulator as package
from airflow_provider_cohere_datasets.emulator import Emulator, EmulatorSettings, running_emulator
from airflow_provider_cohere_datasets.emulator.__main__ import main
from airflow_provider_cohere_datasets.emulator.store import StoredDataset
from airflow_provider_cohere_datasets.emulator.validation import UploadedFile, Verdict
from tests.emulator.conftest import VirtualClock, client_of
from tests.emulator.test_http import assert_error

MODULE = "airflow_provider_cohere_datasets.emulator"
READY = re.compile(r"Cohere Datasets emulator ready at (\S+) - AIRFLOW_CONN_COHERE_DEFAULT=(.*)\n")


def post(http: httpx.Client) -> httpx.Response:
    files = {"data": ("a.jsonl", b'{"text": "a"}')}
    return http.post("/v1/datasets", params={"name": "n", "type": "embed-input"}, files=files)


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


class TestContextManager:
    def test_it_serves_inside_and_is_gone_outside(self) -> None:
        with running_emulator() as emulator:
            url = emulator.base_url
            folder = emulator.store.folder("any").parent
            with client_of(emulator, emulator.api_key) as http:
                assert http.get("/v1/datasets").status_code == 200
            assert folder.exists()
        assert emulator.base_url == ""
        assert not folder.exists()
        with pytest.raises(httpx.ConnectError):
            httpx.get(url, trust_env=False)

    def test_it_stops_when_the_body_fails(self) -> None:
        urls = []

        def body() -> None:
            with running_emulator() as emulator:
                urls.append(emulator.base_url)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            body()
        with pytest.raises(httpx.ConnectError):
            httpx.get(urls[0], trust_env=False)

    def test_a_taken_port_is_an_error(self) -> None:
        with running_emulator() as emulator:
            port = int(emulator.base_url.rpartition(":")[2])
            with pytest.raises(OSError, match="in use"), running_emulator(EmulatorSettings(port=port)):
                pytest.fail("two servers on one port")

    @pytest.mark.parametrize(
        ("host", "pattern"),
        [
            ("0.0.0.0", r"http://127\.0\.0\.1:\d+"),
            ("::1", r"http://\[::1\]:\d+"),
            ("::", r"http://\[::1\]:\d+"),
        ],
    )
    def test_the_url_is_one_to_connect_to(self, host: str, pattern: str) -> None:
        if ":" in host and not has_ipv6():
            pytest.skip("this machine has no IPv6")
        with running_emulator(EmulatorSettings(host=host)) as emulator:
            assert re.fullmatch(pattern, emulator.base_url)
            assert httpx.get(f"{emulator.base_url}/v1/datasets", trust_env=False).status_code == 401

    def test_a_server_that_cannot_start_does_not_hang(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
        with running_emulator() as emulator:
            assert emulator.base_url


class TestSettings:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"api_keys": ()},
            {"api_keys": ("",)},
            {"api_keys": ("fine", " blank ")},
            {"api_keys": ("line\n",)},
            {"api_keys": ("ké",)},
            {"state": Path()},
            {"port": 65536},
            {"validation_seconds": -1},
            {"validation_seconds": float("nan")},
            {"validation_seconds": 1e13},
            {"phase_weights": (0, 0, 0)},
            {"phase_weights": (-1, 1, 1)},
            {"phase_weights": (0, float("inf"), 0)},
            {"phase_weights": (float("nan"), 1, 1)},
            {"phase_weights": (1, 1)},
            {"page_size": 0},
            {"page_size": 10**20},
            {"page_cap": 0},
            {"page_cap": 10**20},
            {"retention_seconds": 0},
            {"retention_seconds": float("inf")},
            {"retention_seconds": float("nan")},
            {"url_lifetime_seconds": -1},
            {"url_lifetime_seconds": float("inf")},
        ],
    )
    def test_nonsense_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="API key" if "api_keys" in wrong else next(iter(wrong))):
            EmulatorSettings(**wrong)

    def test_whatever_is_not_refused_works(self) -> None:
        century = 100 * 365 * 24 * 3600.0
        settings = EmulatorSettings(
            validation_seconds=century,
            phase_weights=(0, 5e-324, 1e308),
            page_size=2**63 - 1,
            page_cap=2**63 - 1,
            retention_seconds=century,
            url_lifetime_seconds=century,
        )
        with running_emulator(settings) as emulator, client_of(emulator, emulator.api_key) as http:
            dataset_id = post(http).json()["id"]
            [dataset] = http.get("/v1/datasets").json()["datasets"]
            assert dataset["id"] == dataset_id
            assert httpx.get(dataset["dataset_parts"][0]["url"], trust_env=False).status_code == 200

    def test_no_time_at_all(self, clock: VirtualClock) -> None:
        with running_emulator(EmulatorSettings(validation_seconds=0, clock=clock)) as emulator:
            [dataset_id] = emulator.seed(lifecycle=True)
            with client_of(emulator, emulator.api_key) as http:
                dataset = http.get(f"/v1/datasets/{dataset_id}").json()["dataset"]
            assert dataset["validation_status"] == "validated"


class TestState:
    def test_everything_survives_a_restart(self, tmp_path: Path, clock: VirtualClock) -> None:
        settings = EmulatorSettings(state=tmp_path / "sub" / "state.db", clock=clock, validation_seconds=10)
        with running_emulator(settings) as emulator, client_of(emulator, emulator.api_key) as http:
            dataset_id = post(http).json()["id"]
            clock.advance(5)
            before = http.get(f"/v1/datasets/{dataset_id}").json()["dataset"]
            usage = http.get("/v1/datasets/usage").json()
            url = httpx.URL(before["dataset_parts"][0]["url"])
        assert before["validation_status"] == "processing"
        clock.advance(5)
        with running_emulator(settings) as emulator, client_of(emulator, emulator.api_key) as http:
            after = http.get(f"/v1/datasets/{dataset_id}").json()["dataset"]
            assert after["validation_status"] == "validated"
            assert after["created_at"] == before["created_at"]
            assert http.get("/v1/datasets/usage").json() == usage
            port = httpx.URL(emulator.base_url).port
            assert httpx.get(url.copy_with(port=port), trust_env=False).status_code == 200
        assert (tmp_path / "sub" / "state.db-data").is_dir()

    def test_what_is_added_at_the_last_moment_keeps_its_files(self, tmp_path: Path) -> None:
        store = Emulator(EmulatorSettings(state=tmp_path / "state.db")).store
        with store.new_folder("last") as folder:
            store.add([StoredDataset("last", "last", "embed-input", store.now_us(), 0, 0, 0, "validated")])
            store.close()
        assert folder.is_dir()

    def test_what_killed_uploads_left_is_cleared_away(self, tmp_path: Path) -> None:
        settings = EmulatorSettings(state=tmp_path / "state.db")
        with running_emulator(settings) as emulator, client_of(emulator, emulator.api_key) as http:
            dataset_id = post(http).json()["id"]
        data = tmp_path / "state.db-data"
        for folder, file in (("old", "part-0.avro"), ("young", "part-0.avro"), ("foreign", "letter.txt")):
            (data / folder).mkdir()
            (data / folder / file).touch()
        (data / "a-file").touch()
        two_hours_ago = time.time() - 7200
        for name in ("old", "foreign", "a-file", dataset_id):
            os.utime(data / name, (two_hours_ago, two_hours_ago))
        Emulator(settings).close()
        # Another process may be at work on the young one; the foreign ones are somebody's own.
        assert {path.name for path in data.iterdir()} == {"young", "foreign", "a-file", dataset_id}


class TestImport:
    def test_importing_the_package_costs_nothing(self) -> None:
        code = (
            f"import sys, {MODULE} as m; m.EmulatorSettings();"
            "print([n for n in ('fastapi', 'uvicorn', 'fastavro', 'airflow') if n in sys.modules])"
        )
        run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == "[]"

    def test_its_names(self) -> None:
        assert package.Emulator is Emulator
        with pytest.raises(AttributeError, match="no attribute 'nope'"):
            _ = package.nope


class Terminal:
    """A terminal whose user presses Ctrl-C as soon as the emulator is ready."""

    def __init__(self, number: int) -> None:
        self.text = ""
        self.status = 0
        self._number = number

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        if match := READY.fullmatch(self.text):
            connection = json.loads(*shlex.split(match[2]))
            headers = {"Authorization": f"Bearer {connection['password']}"}
            self.status = httpx.get(f"{match[1]}/v1/datasets", headers=headers, trust_env=False).status_code
            signal.raise_signal(self._number)


@pytest.fixture
def handlers() -> Iterator[None]:
    """As in a terminal; what runs the tests may have been started by nohup or in the background."""
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    after = {number: signal.getsignal(number) for number in usual}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == usual


@pytest.mark.usefixtures("handlers")
class TestCommandLine:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    @pytest.mark.parametrize("key", ["one", "o'ne"])
    def test_ready_line_and_clean_exit(self, monkeypatch: pytest.MonkeyPatch, number: int, key: str) -> None:
        """What it prints is for a shell, whatever stands in the key."""
        terminal = Terminal(number)
        monkeypatch.setattr(sys, "stdout", terminal)
        assert main(["--port", "0", "--api-key", key, "--api-key", "two", "--page-cap", "5"]) == 0
        assert terminal.status == 200
        match = READY.fullmatch(terminal.text)
        assert match
        connection = json.loads(*shlex.split(match[2]))
        assert connection == {"conn_type": "cohere_datasets", "host": match[1], "password": key}

    def test_a_signal_that_is_ignored_stays_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As nohup wants it."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:

            class Closed(Terminal):
                def write(self, text: str) -> int:
                    signal.raise_signal(signal.SIGHUP)
                    return super().write(text)

            terminal = Closed(signal.SIGTERM)
            monkeypatch.setattr(sys, "stdout", terminal)
            assert main(["--port", "0"]) == 0
            assert terminal.status is not None
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_as_a_process_with_state(self, tmp_path: Path) -> None:
        state = tmp_path / "state.db"
        command = [sys.executable, "-W", "error", "-m", MODULE, "--port", "0", "--state", str(state)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert process.stderr
            assert READY.fullmatch(process.stdout.readline())
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
            assert process.stdout.read() == process.stderr.read() == ""
        assert state.exists()

    def test_a_taken_port(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            assert main(["--port", str(taken.getsockname()[1])]) == 2
        assert_one_sentence(capsys, "in use")

    def test_an_impossible_address(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--host", "no.such.host.invalid"]) == 2
        assert_one_sentence(capsys, "cannot serve on")

    def test_a_state_file_that_is_none(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        state = tmp_path / "letter.txt"
        state.write_text("Dear reader, this is not a database. " * 50)
        assert main(["--port", "0", "--state", str(state)]) == 2
        assert_one_sentence(capsys, "state file")
        assert state.read_text().startswith("Dear reader")
        assert list(tmp_path.iterdir()) == [state]

    @pytest.mark.parametrize(
        ("state", "culprit"), [("state.db", "state.db-data"), ("letter.txt/state.db", "letter.txt")]
    )
    def test_a_folder_that_cannot_be_made(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, state: str, culprit: str
    ) -> None:
        (tmp_path / culprit).touch()
        assert main(["--port", "0", "--state", str(tmp_path / state)]) == 2
        assert_one_sentence(capsys, f"cannot use {tmp_path / culprit}: ")

    def test_nonsense_on_the_command_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stopped:
            main(["--validation-seconds", "-1"])
        assert stopped.value.code == 2
        assert "validation_seconds" in capsys.readouterr().err

    def test_a_missing_extra(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setitem(sys.modules, "fastavro", None)
        assert main(["--port", "0"]) == 2
        assert_one_sentence(capsys, "fastavro missing: install airflow-provider-cohere-datasets[emulator]")


def assert_one_sentence(capsys: pytest.CaptureFixture[str], text: str) -> None:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert text in captured.err
    assert captured.err.count("\n") == 1


def test_an_open_connection_does_not_hold_up_the_end() -> None:
    with running_emulator() as emulator:
        http = client_of(emulator, emulator.api_key)
        http.get("/v1/datasets")
    with pytest.raises(httpx.TransportError):
        http.get("/v1/datasets")
    http.close()


def post_alone(emulator: Emulator) -> httpx.Response:
    with client_of(emulator, emulator.api_key) as http:
        return post(http)


class SlowValidation:
    """Stands in for a validation that has written half a part when the server ends."""

    def __init__(self) -> None:
        self.begun, self.resume = threading.Event(), threading.Event()
        self.thread = threading.current_thread()
        self.folder = Path()

    def __call__(self, dataset_id: str, query: Any, uploads: Sequence[UploadedFile], folder: Path) -> Verdict:
        self.thread, self.folder = threading.current_thread(), folder
        (folder / "part-0.avro").write_bytes(b"half")
        self.begun.set()
        self.resume.wait()
        return Verdict("validated")


def test_an_upload_that_the_end_cuts_short_is_answered_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    validation = SlowValidation()
    monkeypatch.setattr("airflow_provider_cohere_datasets.emulator.app.validate", validation)
    monkeypatch.setattr("airflow_provider_cohere_datasets.emulator.server._GRACE_SECONDS", 0)
    settings = EmulatorSettings(state=tmp_path / "state.db")
    with ThreadPoolExecutor() as pool, ExitStack() as at_the_end:
        at_the_end.callback(validation.resume.set)
        with running_emulator(settings) as emulator:
            answer = pool.submit(post_alone, emulator)
            assert validation.begun.wait(30)
        assert_error(answer.result(), 503, "shutting down")
        assert [request.status for request in emulator.requests] == [503]
        assert not validation.folder.exists()
    validation.thread.join(30)
    assert not any(record.exc_info for record in caplog.records)
    with running_emulator(settings) as emulator, client_of(emulator, emulator.api_key) as http:
        assert http.get("/v1/datasets").json() == {"datasets": []}
    assert not list((tmp_path / "state.db-data").iterdir())


def test_without_the_extra_a_name_says_what_to_install() -> None:
    script = (
        "import sys\n"
        "sys.modules['uvicorn'] = None\n"
        "from airflow_provider_cohere_datasets.emulator import running_emulator\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    said = ran.stderr.splitlines()[-1]
    assert said.endswith("uvicorn is missing: install airflow-provider-cohere-datasets[emulator]")
