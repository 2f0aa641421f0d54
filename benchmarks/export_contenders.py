"""The ways to export that are compared; as a program it runs one of them once, so that its memory is its own."""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    #: What a contender does once all it needs is imported.
    Work = Callable[[], object]

CONN_ID, HTTP_CONN_ID = "cohere_benchmark", "http_benchmark"
#: As long as a real one, and like that of letters and digits, because each answer is searched for it.
API_KEY = "benchmark0123456789012345678901234567890"
OURS, DOWNLOAD, DOWNLOAD_TWO = "ours", "download", "download-two"
SDK, DLT, DLT_TABLES, HTTP, NORMALIZE = "sdk", "dlt", "dlt-tables", "http-operator", "json-normalize"
OURS_DEFAULT = "ours-default-pages"
#: What others import when they begin: pyarrow takes pandas with the first values from Python, wherever it is installed.
_IMPORTED_BY_DLT = ("pandas", "dlt.common.libs.pyarrow")
_IMPORTED_BY_OUR_TASK = (
    "airflow.providers.common.compat.lineage.hook",
    "airflow_provider_cohere_datasets.lake.decode",
    "airflow_provider_cohere_datasets.lake.export",
    "airflow_provider_cohere_datasets.lake.publish",
    "airflow_provider_cohere_datasets.transport.blocking",
)


@dataclass(frozen=True)
class Task:
    """What a contender has to do.

    :param contender: its name in :data:`CONTENDERS`.
    :param url: where the API is.
    :param rows: how many datasets it has.
    :param page_size: rows to ask for at a time, which the server gives.
    :param folder: an empty folder, in which the Parquet files shall land.
    """

    contender: str
    url: str
    rows: int
    page_size: int
    folder: str

    @property
    def path(self) -> str:
        return f"{self.folder}/datasets.parquet"


@dataclass(frozen=True)
class Outcome:
    """What one run took.

    :param seconds: from the first request to the whole file; imports are not counted.
    :param cpu_seconds: CPU time of the process meanwhile, in all its threads.
    :param interpreter_mb: resident memory before: Python, and Airflow with its plugins if the contender is a task.
    :param baseline_mb: the same with all that the contender imports.
    :param peak_mb: the most resident memory.
    """

    seconds: float
    cpu_seconds: float
    interpreter_mb: float
    baseline_mb: float
    peak_mb: float


@dataclass(frozen=True)
class Contender:
    """A way to export.

    :param title: how the table calls it.
    :param prepare: imports all it needs and returns the work.
    :param needs: the distributions that it needs beside the provider.
    :param in_airflow: whether it is an Airflow task, so that its process has imported Airflow anyway.
    :param large: whether a million rows are measured without being asked for.
    :param writes: whether it writes files at all.
    :param page_size: rows to ask for at a time, if not as many as the server gives.
    """

    title: str
    prepare: Callable[[Task], Work]
    needs: tuple[str, ...] = ()
    in_airflow: bool = False
    large: bool = False
    writes: bool = True
    page_size: int | None = None


def ours(task: Task) -> Work:
    # A task imports these when it runs; here it shall be before the clock starts, as for everybody.
    _import(*_IMPORTED_BY_OUR_TASK)
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    # Airflow imports all installed providers' file systems to find that of a path.
    _ = ObjectStoragePath(f"file://{task.path}").fs
    from airflow_provider_cohere_datasets.transfers.parquet import CohereDatasetsToParquetOperator

    export = CohereDatasetsToParquetOperator(
        task_id="export", conn_id=CONN_ID, output_path=task.path, page_size=task.page_size
    )
    context: Any = {"run_id": "benchmark", "logical_date": datetime(2026, 1, 2, tzinfo=UTC), "outlet_events": {}}
    return lambda: export.execute(context)


def _import(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module.partition(".")[0]):
            importlib.import_module(module)


def sdk(task: Task) -> Work:
    import cohere
    import pandas as pd
    import pyarrow.parquet  # noqa: F401

    client = cohere.Client(API_KEY, base_url=task.url)

    def pages() -> Iterator[list[Any]]:
        offset = 0
        while page := client.datasets.list(limit=task.page_size, offset=offset).datasets:
            yield page
            offset += len(page)

    def work() -> None:
        datasets = [dataset.model_dump() for page in pages() for dataset in page]
        pd.DataFrame(datasets).to_parquet(task.path)

    return work


def dlt_one_table(task: Task) -> Work:
    return _dlt(task, max_table_nesting=0)


def dlt_child_tables(task: Task) -> Work:
    return _dlt(task, max_table_nesting=None)


def _dlt(task: Task, max_table_nesting: int | None) -> Work:
    """Return what dlt does.

    :param max_table_nesting: 0 to land lists as JSON; ``None``, as is usual, to land each list as a table of its own.
    """
    import dlt
    import pyarrow.parquet  # noqa: F401

    _import(*_IMPORTED_BY_DLT)
    from dlt.destinations import filesystem
    from dlt.sources.rest_api import rest_api_source

    pages = {"type": "offset", "limit": task.page_size, "total_path": None, "stop_after_empty_page": True}
    endpoint = {"path": "v1/datasets", "data_selector": "datasets", "paginator": pages}
    source = rest_api_source(
        {
            "client": {"base_url": f"{task.url}/", "auth": {"type": "bearer", "token": API_KEY}},
            "resources": [{"name": "datasets", "endpoint": endpoint}],
        },
        max_table_nesting=max_table_nesting,
    )
    pipeline = dlt.pipeline(
        "benchmark",
        pipelines_dir=f"{task.folder}/dlt",
        destination=filesystem(bucket_url=Path(task.folder, "lake").as_uri()),
        dataset_name="export",
    )
    return lambda: pipeline.run(source, loader_file_format="parquet")


def http_operator(task: Task) -> Work:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from airflow.providers.http.operators.http import HttpOperator

    _import("pandas")
    window = {"limit": task.page_size, "offset": 0}

    def next_page(response: Any) -> dict[str, Any] | None:
        if not response.json()["datasets"]:
            return None
        window["offset"] += task.page_size
        return {"data": dict(window)}

    def write(responses: list[Any]) -> int:
        rows = [row for response in responses for row in response.json()["datasets"]]
        pq.write_table(pa.Table.from_pylist(rows), task.path)
        return len(rows)

    export = HttpOperator(
        task_id="export",
        http_conn_id=HTTP_CONN_ID,
        method="GET",
        endpoint="v1/datasets",
        data=dict(window),
        headers={"Authorization": f"Bearer {API_KEY}"},
        pagination_function=next_page,
        response_filter=write,
    )
    return lambda: export.execute({})


def json_normalize(task: Task) -> Work:
    import pandas as pd
    import pyarrow.parquet  # noqa: F401
    import requests

    def pages() -> Iterator[list[Any]]:
        offset = 0
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {API_KEY}"
            while True:
                window = {"limit": task.page_size, "offset": offset}
                answer = session.get(f"{task.url}/v1/datasets", params=window, timeout=60)
                answer.raise_for_status()
                page = answer.json()["datasets"]
                if not page:
                    return
                yield page
                offset += len(page)

    def work() -> None:
        rows = [row for page in pages() for row in page]
        pd.json_normalize(rows).to_parquet(task.path)

    return work


def download(task: Task) -> Work:
    return _download(task, in_flight=1)


def download_two(task: Task) -> Work:
    return _download(task, in_flight=2)


def _download(task: Task, in_flight: int) -> Work:
    """Fetch every row once and the end of the list, with the client of the export, and decode nothing."""
    import threading

    from airflow_provider_cohere_datasets.core import calls
    from airflow_provider_cohere_datasets.core.account import Account
    from airflow_provider_cohere_datasets.core.filters import ListFilters
    from airflow_provider_cohere_datasets.transport.blocking import BlockingTransport

    account = Account.of(conn_id=CONN_ID, host=task.url, password=API_KEY)
    filters = ListFilters.of()
    local = threading.local()

    def fetch(offset: int) -> int:
        if not hasattr(local, "transport"):
            local.transport = BlockingTransport(account)
        reply = local.transport.send(calls.list_datasets(filters, limit=task.page_size, offset=offset))
        if getattr(reply, "status", None) != 200:
            raise RuntimeError(f"no page came: {reply}")
        return len(reply.body)

    def work() -> None:
        offsets = range(0, task.rows + task.page_size, task.page_size)
        if in_flight == 1:
            sizes = [fetch(offset) for offset in offsets]
        else:
            with ThreadPoolExecutor(in_flight) as pool:
                sizes = list(pool.map(fetch, offsets))
        if sum(sizes) < 2000 * task.rows or sizes[-1] > 100:
            raise RuntimeError(f"{sum(sizes)} bytes came, which is not the whole list")

    return work


CONTENDERS = {
    OURS: Contender("ours", ours, in_airflow=True, large=True),
    OURS_DEFAULT: Contender("ours, pages of 100", ours, in_airflow=True, page_size=100),
    SDK: Contender("official SDK + pandas", sdk, ("cohere", "pandas")),
    DLT: Contender("dlt, lists as JSON", dlt_one_table, ("dlt",)),
    DLT_TABLES: Contender("dlt, lists as tables", dlt_child_tables, ("dlt",)),
    HTTP: Contender("HttpOperator + pyarrow", http_operator, ("apache-airflow-providers-http",), in_airflow=True),
    NORMALIZE: Contender("requests + json_normalize", json_normalize, ("pandas",)),
    DOWNLOAD: Contender("download alone", download, large=True, writes=False),
    DOWNLOAD_TWO: Contender("download alone, two at a time", download_two, large=True, writes=False),
}


def _become_a_task() -> None:
    """Do what Airflow's task runner has done when it calls ``execute``: import Airflow and load all plugins."""
    from airflow.providers.common.compat.sdk import BaseOperator  # noqa: F401

    try:
        importlib.import_module("airflow.sdk.execution_time.task_runner")
        from airflow.sdk.plugins_manager import integrate_macros_plugins
    except ImportError:  # Airflow below 3.2
        from airflow.plugins_manager import integrate_macros_plugins
    integrate_macros_plugins()


def run(task: Task) -> Outcome:
    """Run a contender in this process, which should have done nothing before."""
    contender = CONTENDERS[task.contender]
    if contender.in_airflow:
        _become_a_task()
    interpreter = _memory("VmRSS")
    work = contender.prepare(task)
    baseline = _memory("VmRSS")
    started, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    return Outcome(seconds, cpu_seconds, interpreter, baseline, _memory("VmHWM"))


def _memory(name: str) -> float:
    """Return resident memory in MB: ``VmRSS`` for now, ``VmHWM`` for the most ever."""
    # On Linux, getrusage() counts what the parent had when it started this process; this file does not.
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields[name].split()[0]) / 1024
    # Elsewhere there is only the most ever; macOS gives it in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def main() -> None:
    outcome = run(Task(**json.loads(sys.argv[1])))
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
