"""Exports to the paths in the run's conf, with points where a task asks the test whether it may go on."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cohere_datasets.transfers.parquet import CohereDatasetsToParquetOperator


def knock(context: Any, result: Any = None) -> None:
    """Make a request to the server of this task; which answer it gives does not matter."""
    door = HTTPConnection(urlsplit(context["dag_run"].conf["servers"][context["task"].task_id]).netloc, timeout=60)
    door.request("GET", "/knock")
    door.getresponse().read()
    door.close()


def knock_before(event: str) -> Callable[[Any], None]:
    """Make something that lets a task knock whenever it is about to do something in the folder of its file.

    :param event: the name under which Python announces that to an audit hook.
    """

    def pre_execute(context: Any) -> None:
        folder = Path(urlsplit(context["task"].output_path).path).parent

        def hook(announced: str, arguments: tuple[Any, ...]) -> None:
            if announced == event and Path(os.fsdecode(arguments[1])).parent == folder:
                knock(context)

        sys.addaudithook(hook)

    return pre_execute


def without_nameless_files(context: Any) -> None:
    """Behave as a file system that has no files without a name, such as NFS."""

    def hook(announced: str, arguments: tuple[Any, ...]) -> None:
        if announced == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    sys.addaudithook(hook)


TASKS: dict[str, dict[str, Any]] = {
    "reading": {},
    "reading_the_first_time": {},
    "written": {},
    "written_under_a_name": {"pre_execute": without_nameless_files},
    "before_it_has_a_name": {"pre_execute": knock_before("os.link")},
    "before_the_rename": {"pre_execute": knock_before("os.rename")},
    "after_the_rename": {"post_execute": knock},
    "with_its_machine": {},
    "marked_failed": {},
    "s3_in_a_part": {},
    "s3_before_completion": {},
    "s3_after_completion": {},
    "s3_terminated": {},
}

with DAG(
    "exporting_to_a_lake",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 1, "retry_delay": timedelta(seconds=1)},
):
    for task_id, options in TASKS.items():
        CohereDatasetsToParquetOperator(
            task_id=task_id,
            conn_id=f"cohere_{task_id}",
            output_path="{{ dag_run.conf['paths'][task.task_id] }}",
            page_size=1000,
            **options,
        )
