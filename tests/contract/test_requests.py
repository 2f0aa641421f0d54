"""Every request that the hook can send is one of the public description."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.dataset_page import read_page
from airflow_provider_cohere_datasets.core.filters import VALIDATION_STATUSES, ListFilters
from airflow_provider_cohere_datasets.core.new_dataset import DATASET_TYPES
from airflow_provider_cohere_datasets.core.retries import exchange
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from tests.adversary import AdversarialServer, Request, make_dataset, make_datasets
from tests.contract.description import METHODS, description, operation_of, operations, request_problems

#: An id with everything that means something in a URL.
ODD = "a/b ?c#d%2Fe&f=g+ü"
ROWS = [{"text": "hello", "author": "me"}, {"text": "world", "author": "you"}]


def create(hook: CohereDatasetsHook, folder: Path, **options: Any) -> None:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    hook.create_dataset(**{"name": "My rows", "dataset_type": "embed-input", "data": path, **options})


def create_with_everything(hook: CohereDatasetsHook, folder: Path) -> None:
    table = folder / "rows.csv"
    table.write_text("text;author\nhello;me\n")
    create(
        hook,
        folder,
        data=table,
        eval_data=table,
        keep_original_file=True,
        skip_malformed_input=False,
        keep_fields=["author", "a b&c"],
        optional_fields=["ü"],
        text_separator="\n\n",
        csv_delimiter=";",
    )


def without_blocking(hook: CohereDatasetsHook, folder: Path) -> None:
    """Send what a trigger sends."""

    async def run() -> None:
        async with await hook.get_async_conn() as transport:
            policy = transport.account.policy
            await transport.run(exchange(calls.get_dataset(ODD), calls.read_dataset, policy))
            call = calls.list_datasets(ListFilters.of(**WINDOW), limit=100, offset=0)
            await transport.run(exchange(call, read_page, policy))

    asyncio.run(run())


WINDOW: dict[str, Any] = {
    "dataset_type": "embed-input",
    "validation_status": "validated",
    "after": "2026-01-01T01:00:00+01:00",
    "before": "2026-02-01",
}
USES: dict[str, Callable[[CohereDatasetsHook, Path], object]] = {
    "list": lambda hook, _: hook.list_datasets(),
    "list with every filter": lambda hook, _: hook.list_datasets(**WINDOW, page_size=2, limit=5),
    "get": lambda hook, _: hook.get_dataset(ODD),
    "usage": lambda hook, _: hook.get_usage(),
    "create": create,
    "create with every option": create_with_everything,
    "create from a table": lambda hook, folder: create(hook, folder, skip_malformed_input=True, keep_fields=["author"]),
    "delete": lambda hook, _: hook.delete_dataset(ODD),
    "check the key": lambda hook, _: hook.test_connection(),
    "triggers": without_blocking,
}


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Request]]]:
    """What a server got for each use."""
    requests: dict[str, list[Request]] = {}
    with AdversarialServer() as server, pytest.MonkeyPatch.context() as patch:
        connection = {"conn_type": "cohere_datasets", "host": server.url, "password": "test-key"}
        patch.setenv("AIRFLOW_CONN_COHERE_DEFAULT", json.dumps(connection))
        for name, use in USES.items():
            server.reset([make_dataset(0, id=ODD), *make_datasets(5, first=1)])
            use(CohereDatasetsHook(), tmp_path_factory.mktemp("rows"))
            assert server.requests
            assert {request.fate for request in server.requests} == {"model"}
            requests[name] = list(server.requests)
        yield requests


@pytest.mark.parametrize("use", USES)
def test_every_request_is_described(sent: dict[str, list[Request]], use: str) -> None:
    for request in sent[use]:
        problems = request_problems(request.method, request.raw_target, request.headers, request.body)
        assert problems == [], request.raw_target


def test_every_operation_is_used_with_every_parameter(sent: dict[str, list[Request]]) -> None:
    used: dict[str, set[str]] = {}
    for request in (request for requests in sent.values() for request in requests):
        match = operation_of(request.method, request.raw_target)
        assert match is not None
        used.setdefault(match[0].name, set()).update(name for name, _ in request.query)
    assert used == {operation.name: set(operation.parameters("query")) for operation in operations()}


def test_nothing_of_the_description_is_overlooked() -> None:
    ways = {method for node in description()["paths"].values() for method in node}
    assert ways == set(METHODS)


def test_types_and_statuses_are_those_of_the_description() -> None:
    schemas = description()["components"]["schemas"]
    assert tuple(schemas["DatasetType"]["enum"]) == DATASET_TYPES
    assert tuple(schemas["DatasetValidationStatus"]["enum"]) == VALIDATION_STATUSES


@pytest.mark.parametrize(
    ("method", "target", "says"),
    [
        ("GET", "/v1/dataset", "there is no GET"),
        ("PUT", "/v1/datasets", "there is no PUT"),
        ("GET", "/v1/datasets?dataset_type=a", "dataset_type is no parameter"),
        ("GET", "/v1/datasets?validationStatus=done", "validationStatus$: 'done' is not one of"),
        ("GET", "/v1/datasets?before=2026-01-01T00:00:00", "before$: '2026-01-01T00:00:00' is not a 'date-time'"),
        ("GET", "/v1/datasets?limit=many", "limit is ['many']"),
        ("GET", "/v1/datasets?limit=1&limit=2", "limit is ['1', '2']: it comes more than once"),
        ("POST", "/v1/datasets?name=a", "type is missing"),
        ("POST", "/v1/datasets?name=a&type=embed-input&keep_original_file=1", "keep_original_file$: 1 is not of type"),
        ("POST", "/v1/datasets?name=a&type=embed-input", "its body is , not multipart/form-data"),
        ("GET", "/v1/datasets/usage", "the header X-Client-Name is missing"),
        ("GET", "/v1/datasets/usage", "it has no bearer token"),
        ("DELETE", "/v1/datasets/usage", "id$: 'usage' does not match"),
    ],
)
def test_the_yardstick_finds_what_is_wrong(method: str, target: str, says: str) -> None:
    assert any(problem.startswith(says) for problem in request_problems(method, target, {}, b""))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ([("eval_data", "x")], "data is missing"),
        ([("data", "x"), ("data", "x")], "data comes twice"),
        ([("data", "x"), ("more", "x")], "more is no field"),
        ([("data", "")], 'form-data; name="data"; filename="" is no file'),
    ],
)
def test_the_yardstick_reads_bodies(fields: list[tuple[str, str]], says: str) -> None:
    head = 'Content-Disposition: form-data; name="{}"; filename="{}"'
    parts = [f"--b\r\n{head.format(*field)}\r\n\r\nrow\r\n" for field in fields]
    headers = {"content-type": "multipart/form-data; boundary=b"}
    target = "/v1/datasets?name=a&type=embed-input"
    assert says in request_problems("POST", target, headers, "".join([*parts, "--b--\r\n"]).encode())
