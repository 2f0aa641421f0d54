"""Exports in a real Airflow whose processes are killed: the old file or a whole new one, whenever that happens."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
import pyarrow.parquet as pq
import pytest

from tests.adversary import AdversarialServer, Listing, Through, make_datasets
from tests.adversary.answers import Exchange
from tests.adversary.spoil import Fault
from tests.system.api import AirflowApi, AirflowRequestError
from tests.system.killing import With, killed, until, until_gone
from tests.system.processes import command_line
from tests.system.s3 import S3
from tests.system.standalone import Standalone, copy_dags

pytestmark = pytest.mark.system

DAG_ID = "exporting_to_a_lake"
LIST = "/v1/datasets"
BUCKET = "lake"
OLD = b"the file of yesterday"
#: A row group is written after 10,000 rows; these are requested before the end of the list is reached.
DATASETS = 11_000
IN_THE_MIDDLE, AT_THE_END = 2_500, 10_500
#: Bytes of each row of an export to S3, so that one row group is more than two blocks.
ROW, BLOCK = 2048, 5 << 20
#: What Airflow ends, and what the machine ends; the former can clean up.
TOLD_TO_STOP = ("marked_failed", "s3_terminated")
KILLED_LOCALLY = (
    "reading",
    "reading_the_first_time",
    "written",
    "written_under_a_name",
    "before_it_has_a_name",
    "before_the_rename",
    "after_the_rename",
    "with_its_machine",
)
KILLED_WITH_S3 = ("s3_in_a_part", "s3_before_completion", "s3_after_completion")
TASKS = (*KILLED_LOCALLY, *KILLED_WITH_S3, *TOLD_TO_STOP)
PUBLISHED = ("after_the_rename", "s3_after_completion")
HIDDEN = re.compile(r"\.[0-9a-f]{32}\.tmp")


@dataclass(frozen=True)
class Lake:
    """Where a task's file stands, as a reader and an administrator see it.

    :param path: what the task gets.
    :param read: returns what is there, or nothing.
    :param version: tells apart what is there.
    :param others: returns what else is there: names beside the file, or the parts of each unfinished upload.
    """

    path: str
    read: Callable[[], bytes | None]
    version: Callable[[], object]
    others: Callable[[], list[str] | list[int]]


@dataclass(frozen=True)
class Moment:
    """What there was after a process had ended and before the next one began."""

    data: bytes | None
    others: list[str] | list[int]
    #: Bytes, or parts of an upload, that the process had written when it was stopped.
    written: int
    #: Datasets that it had been sent.
    served: int


@dataclass
class Reader:
    """Looks at all files all the time, and remembers each that it saw."""

    lakes: dict[str, Lake]
    seen: dict[str, list[bytes | None]] = field(default_factory=dict)
    looks: int = 0
    _versions: dict[str, object] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Reader:
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _read(self) -> None:
        while not self._ended.wait(0.02):
            self._look()

    def _look(self) -> None:
        self.looks += 1
        for task_id, lake in self.lakes.items():
            version, seen = lake.version(), self.seen.setdefault(task_id, [])
            if not seen or version != self._versions[task_id]:
                self._versions[task_id] = version
                # Between the two looks the file may have become the next one, which is then found once more.
                if (data := lake.read()) not in seen[-1:]:
                    seen.append(data)


@dataclass(frozen=True)
class Story:
    """What happened.

    :param states: state and tries of each task when all had ended.
    :param moments: what there was when its first process had ended.
    :param finals: what there was at the end.
    :param left: what else there was at the end.
    :param seen: what a reader saw of each file, in order.
    :param looks: how often it looked.
    :param logs: the log of the first try.
    :param seconds: from the start of the run to its end.
    """

    states: dict[str, tuple[str, int]]
    moments: dict[str, Moment]
    finals: dict[str, bytes | None]
    left: dict[str, list[str] | list[int]]
    seen: dict[str, list[bytes | None]]
    looks: int
    logs: dict[str, list[str]]
    seconds: float


class AtOffset:
    """Play another fault at the first request for rows that far down the list, and let all else through.

    What is asked for ahead from behind the end may come first, and nobody waits for it.
    """

    needs_body: int | None = None

    def __init__(self, offset: int, fault: Fault) -> None:
        self._offset = offset
        self._faults = [fault]

    def play(self, exchange: Exchange) -> None:
        there = self._offset <= int(exchange.request.param("offset") or 0) < DATASETS
        fault = self._faults.pop() if there and self._faults else Through()
        fault.play(exchange)


class Ends:
    """Ends processes, each in its way, and remembers what there was when they had ended.

    :param api: the API of the Airflow that runs them.
    :param servers: what each task reads.
    :param lakes: where it writes.
    """

    def __init__(self, api: AirflowApi, servers: dict[str, AdversarialServer], lakes: dict[str, Lake]) -> None:
        self._api = api
        self._servers = servers
        self._lakes = lakes
        self.moments: dict[str, Moment] = {}
        #: The run of the tasks.
        self.run_id = ""

    def kill(self, task_id: str, process: psutil.Process, carry_out: Callable[[], object] | None = None) -> None:
        """Kill a task in place of what it asks for."""
        with killed(process):
            written = self._written(task_id, process)
        self._look(task_id, written)

    def kill_after(self, task_id: str, process: psutil.Process, carry_out: Callable[[], object]) -> None:
        """Kill a task after what it asks for, but before it knows that this was done."""
        with killed(process):
            carry_out()
        self._look(task_id, 0)

    def kill_when_written(self, task_id: str, process: psutil.Process) -> None:
        """Kill a task when rows are in its file."""
        self._until_written(task_id, process)
        self.kill(task_id, process)

    def kill_with_machine(self, task_id: str, process: psutil.Process) -> None:
        """Kill a task when rows are in its file, and the process that would report that."""
        self._until_written(task_id, process)
        supervisor = process.parent()
        assert "LocalExecutor" in command_line(supervisor)
        with killed(supervisor, process):
            written = self._written(task_id, process)
        self._look(task_id, written)

    def mark_failed(self, task_id: str, process: psutil.Process) -> None:
        """Mark a task as failed when rows are in its file, as the user interface does."""
        written = self._until_written(task_id, process)
        self._api.set_state(DAG_ID, self.run_id, task_id, "failed")
        until_gone(process)
        self._look(task_id, written)

    def terminate(self, task_id: str, process: psutil.Process) -> None:
        """End a task when a part of its object is there, as a supervisor does that has to end itself."""
        until("a part is uploaded", lambda: any(self._lakes[task_id].others()))
        process.terminate()
        until_gone(process)
        self._look(task_id, 1)

    def _until_written(self, task_id: str, process: psutil.Process) -> int:
        until("rows are written", lambda: self._written(task_id, process))
        return self._written(task_id, process)

    def _written(self, task_id: str, process: psutil.Process) -> int:
        """Count the bytes in files that a process has open beside a local file, with or without a name."""
        folder = urlsplit(self._lakes[task_id].path).path.rpartition("/")[0]
        found = 0
        for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # It was closed in between.
                if str(descriptor.readlink()).startswith(f"{folder}/"):
                    found += descriptor.stat().st_size
        return found

    def _look(self, task_id: str, written: int) -> None:
        lake, served = self._lakes[task_id], len(self._servers[task_id].model.served)
        self.moments[task_id] = Moment(lake.read(), lake.others(), written, served)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, AdversarialServer]]:
    rows = make_datasets(DATASETS)
    noise = random.Random(7)
    large = [{**row, "schema": base64.b64encode(noise.randbytes(ROW * 3 // 4)).decode()} for row in rows]
    with ExitStack() as stack:
        yield {
            task_id: stack.enter_context(AdversarialServer(large if task_id.startswith("s3_") else rows, Listing()))
            for task_id in TASKS
        }


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3(BUCKET) as s3:
        yield s3


@pytest.fixture(scope="module")
def lakes(s3: S3, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lake]:
    root = tmp_path_factory.mktemp("lake")
    return {
        task_id: in_bucket(s3, f"{task_id}/datasets.parquet")
        if task_id.startswith("s3_")
        else in_folder(root / task_id / "datasets.parquet")
        for task_id in TASKS
    }


@pytest.fixture(scope="module")
def airflow(
    servers: dict[str, AdversarialServer], s3: S3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Standalone]:
    connections = {
        f"AIRFLOW_CONN_COHERE_{task_id.upper()}": json.dumps(
            {"conn_type": "cohere_datasets", "host": server.url, "password": "test-key"}
        )
        for task_id, server in servers.items()
    }
    env = {
        **connections,
        "AIRFLOW_CONN_LAKE_S3": s3.connection_json(),
        "FSSPEC_S3": json.dumps({"default_block_size": BLOCK}),
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        # That a machine is gone, or that a task shall end, is noticed after seconds.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    }
    dags = copy_dags(tmp_path_factory.mktemp("dags"), Path(__file__).parent / "dags")
    with Standalone(tmp_path_factory.mktemp("airflow"), dags=dags, env=env) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def story(airflow: Standalone, servers: dict[str, AdversarialServer], s3: S3, lakes: dict[str, Lake]) -> Story:
    api, ends = airflow.api, Ends(airflow.api, servers, lakes)
    acts: dict[str, tuple[int, Callable[..., None]]] = {
        "reading": (IN_THE_MIDDLE, ends.kill),
        "reading_the_first_time": (IN_THE_MIDDLE, ends.kill),
        "written": (AT_THE_END, ends.kill_when_written),
        "written_under_a_name": (AT_THE_END, ends.kill_when_written),
        "with_its_machine": (AT_THE_END, ends.kill_with_machine),
        "marked_failed": (AT_THE_END, ends.mark_failed),
        "s3_terminated": (AT_THE_END, ends.terminate),
    }
    for task_id, (offset, act) in acts.items():
        servers[task_id].script("GET", LIST, [AtOffset(offset, With(partial(act, task_id)))], repeat=True)
    for task_id in ("before_it_has_a_name", "before_the_rename", "after_the_rename"):
        servers[task_id].script("GET", "/knock", [With(partial(ends.kill, task_id))])
    for task_id, method, query, act in (
        ("s3_in_a_part", "PUT", "partNumber=2", ends.kill),
        ("s3_before_completion", "POST", "uploadId=", ends.kill),
        ("s3_after_completion", "POST", "uploadId=", ends.kill_after),
    ):
        s3.on(method, f"{task_id}/datasets.parquet", query, partial(act, task_id))

    conf = {
        "paths": {task_id: lake.path for task_id, lake in lakes.items()},
        "servers": {task_id: server.url for task_id, server in servers.items()},
    }
    begun = time.monotonic()
    with Reader(lakes) as reader:
        run_id = ends.run_id = api.trigger(DAG_ID, conf)

        def states() -> dict[str, tuple[str, int]]:
            return {task.task_id: (task.state, task.try_number) for task in api.tasks(DAG_ID, run_id)}

        def all_have_ended() -> bool:
            try:
                return {state for state, _ in states().values()} == {"success", "failed"}
            except AirflowRequestError:  # It was too busy to answer.
                return False

        # Each question is work for the server that all tasks report to.
        until("all have ended", all_have_ended, 420, every=1, found=lambda: f"{states()}\n{airflow.last_output(100)}")
        seconds = time.monotonic() - begun
    for server in servers.values():
        server.check()
    return Story(
        states(),
        ends.moments,
        {task_id: lake.read() for task_id, lake in lakes.items()},
        {task_id: lake.others() for task_id, lake in lakes.items()},
        reader.seen,
        reader.looks,
        {task_id: api.log(DAG_ID, run_id, task_id) for task_id in TASKS},
        seconds,
    )


def in_folder(path: Path) -> Lake:
    """Put the old file into a folder of its own, unless the task is to begin with nothing."""
    if path.parent.name != "reading_the_first_time":
        path.parent.mkdir()
        path.write_bytes(OLD)

    def version() -> object:
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def others() -> list[str]:
        folder = path.parent
        return sorted(each.name for each in folder.iterdir() if each != path) if folder.exists() else []

    return Lake(path.as_uri(), lambda: path.read_bytes() if path.exists() else None, version, others)


def in_bucket(s3: S3, key: str) -> Lake:
    """Put the old object into the bucket."""
    s3.put(key, OLD)
    return Lake(
        f"s3://lake_s3@{BUCKET}/{key}", lambda: s3.get(key), lambda: s3.version(key), lambda: s3.unfinished(key)
    )


def ids_in(data: bytes | None) -> list[str]:
    """Return the ids in a Parquet file; fail if it is none."""
    assert data is not None
    ids: list[str] = pq.read_table(io.BytesIO(data), columns=["id"])["id"].to_pylist()
    return ids


@pytest.mark.parametrize("task_id", TASKS)
def test_the_old_file_stands_while_no_process_lives(story: Story, task_id: str) -> None:
    if task_id in PUBLISHED:
        assert len(ids_in(story.moments[task_id].data)) == DATASETS
    else:
        assert story.moments[task_id].data == (None if task_id == "reading_the_first_time" else OLD)


@pytest.mark.parametrize("task_id", KILLED_LOCALLY)
def test_the_process_had_come_exactly_that_far(story: Story, task_id: str) -> None:
    moment = story.moments[task_id]
    if task_id.startswith("reading"):
        assert 0 < moment.served < DATASETS
        assert moment.written == 0
    elif task_id == "after_the_rename":
        assert moment.written == 0
    else:
        assert moment.written > 0
    if task_id.startswith("before"):
        assert moment.written > len(OLD)
        assert moment.served == DATASETS


@pytest.mark.parametrize("task_id", [task_id for task_id in TASKS if task_id != "marked_failed"])
def test_the_next_try_has_every_dataset_once(story: Story, servers: dict[str, AdversarialServer], task_id: str) -> None:
    assert story.states[task_id] == ("success", 2)
    assert sorted(ids_in(story.finals[task_id])) == sorted(servers[task_id].model.ids())


@pytest.mark.parametrize("task_id", TASKS)
def test_a_reader_never_sees_half_a_file(story: Story, task_id: str) -> None:
    first, *later = story.seen[task_id]
    assert first == (None if task_id == "reading_the_first_time" else OLD)
    assert [len(ids_in(data)) for data in later] == [DATASETS] * len(later)
    assert len(later) == (2 if task_id in PUBLISHED else 0 if task_id == "marked_failed" else 1)


@pytest.mark.parametrize(
    "task_id", [each for each in KILLED_LOCALLY if each not in ("written_under_a_name", "before_the_rename")]
)
def test_a_file_without_a_name_ends_with_its_process(story: Story, task_id: str) -> None:
    assert story.moments[task_id].others == story.left[task_id] == []


@pytest.mark.parametrize("task_id", ["written_under_a_name", "before_the_rename"])
def test_a_file_that_has_a_hidden_name_by_then_stays(story: Story, task_id: str) -> None:
    (name,) = story.moments[task_id].others
    assert HIDDEN.fullmatch(str(name))
    assert story.left[task_id] == [name]


def test_s3_keeps_the_parts_of_an_upload_that_nobody_ended(story: Story) -> None:
    (in_a_part,), (all_parts,) = story.moments["s3_in_a_part"].others, story.moments["s3_before_completion"].others
    assert (in_a_part, story.left["s3_in_a_part"]) == (1, [1])
    assert int(all_parts) > 1
    assert story.left["s3_before_completion"] == [all_parts]
    assert story.moments["s3_after_completion"].others == story.left["s3_after_completion"] == []


@pytest.mark.parametrize("task_id", TOLD_TO_STOP)
def test_who_is_told_to_stop_leaves_nothing_behind(story: Story, task_id: str) -> None:
    moment = story.moments[task_id]
    assert moment.written > 0
    assert moment.others == story.left[task_id] == []
    assert any("was told to stop; nothing was changed" in line for line in story.logs[task_id])


def test_what_is_marked_failed_is_not_tried_again(story: Story) -> None:
    assert story.states["marked_failed"] == ("failed", 1)
    assert story.finals["marked_failed"] == OLD


def test_how_long_it_took(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{len(TASKS)} exports of {DATASETS} datasets, each ended once by force:")
        print(f"  {story.seconds:.0f} s until all had ended; a reader looked {story.looks} times")
        for task_id in TASKS:
            moment, (state, tries) = story.moments[task_id], story.states[task_id]
            print(f"  {task_id}: {state} after {tries} tries; in hand {moment.written}, beside it {moment.others}")
