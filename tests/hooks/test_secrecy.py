"""The key is in no log record, whatever happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError, CohereRedirectError
from airflow_provider_cohere_datasets.core.retries import exchange
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from tests.adversary import (
    AdversarialServer,
    Answer,
    Close,
    Fault,
    Reset,
    Through,
    broken_json,
    echo_authorization,
    empty_502,
    error,
    html,
    make_datasets,
    per_month,
    redirect,
    truncated_gzip,
)
from tests.hooks.conftest import Connect
from tests.hooks.secrecy import SECRET, Ear, unmask


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Ear:
    unmask(monkeypatch)
    return Ear(caplog, capfd)


@pytest.fixture
def hook(server: AdversarialServer, connect: Connect) -> CohereDatasetsHook:
    server.reset(make_datasets(3), key=SECRET)
    connect(host=server.url, password=SECRET)
    return CohereDatasetsHook(request_policy={"max_tries": 2})


def asynchronously(hook: CohereDatasetsHook) -> int:
    async def usage() -> int:
        async with await hook.get_async_conn() as transport:
            flow = exchange(calls.get_usage(), calls.read_usage, transport.account.policy)
            return await transport.run(flow)

    return asyncio.run(usage())


def everything(path: Path) -> list[Callable[[CohereDatasetsHook], object]]:
    path.write_text('{"text": "hello"}\n')
    return [
        lambda hook: hook.list_datasets(),
        lambda hook: hook.get_dataset(hook.list_datasets()[0].id),
        lambda hook: hook.get_usage(),
        lambda hook: hook.create_dataset(name="x", dataset_type="embed-input", data=path),
        lambda hook: hook.delete_dataset("gone"),
        lambda hook: hook.test_connection(),
        asynchronously,
    ]


def test_the_ear_hears_a_key_that_is_said(hook: CohereDatasetsHook, ear: Ear) -> None:
    hook.get_conn()
    for say in (logging.getLogger("urllib3.connectionpool").debug, hook.log.info, print):
        say(f"the key is {SECRET}")
        assert SECRET in ear.heard()
    logging.getLogger("x").debug("the key is %s", SECRET)
    assert SECRET in ear.heard()


@pytest.mark.parametrize(
    "fault",
    [
        Through(),
        echo_authorization(401),
        echo_authorization(503),
        error(404),
        per_month(),
        empty_502(),
        html(),
        broken_json(),
        truncated_gzip(),
        Reset(),
        Close(),
        redirect("https://elsewhere.invalid/"),
    ],
)
def test_nothing_says_the_key(
    server: AdversarialServer, hook: CohereDatasetsHook, ear: Ear, tmp_path: Path, fault: Fault
) -> None:
    server.script(None, None, [fault], repeat=True)
    for act in everything(tmp_path / "rows.jsonl"):
        try:
            result = act(hook)
        except CohereDatasetsError as failure:
            result = (failure, str(failure), failure.details(), failure.__cause__)
        assert SECRET not in repr(result)
        assert SECRET not in repr((hook, hook.get_conn().account, vars(hook)))
        said = ear.heard()
        assert SECRET not in said
    assert all(request.headers["authorization"] == f"Bearer {SECRET}" for request in server.requests)


def test_a_key_that_json_escapes_is_found(server: AdversarialServer, hook: CohereDatasetsHook) -> None:
    escaped = "".join(f"\\u{ord(letter):04X}" for letter in SECRET[:-3]) + SECRET[-3:]
    by_an_encoder = SECRET.replace("-", r"\u002d")
    assert by_an_encoder != SECRET
    for spelt, room in ((escaped, ""), (by_an_encoder, " " * (1 << 20))):
        named = f'{{"dataset": {{"id": "a", "name": "{spelt} \\u0026"}}}}{room}'
        server.script("GET", "/v1/datasets/a", [Answer(body=named.encode())])
        assert hook.get_dataset("a").name == "*** &"
    server.script("GET", "/v1/datasets/a", [Answer(401, body=f'{{"message": "no: {escaped}"}}'.encode())])
    with pytest.raises(CohereDatasetsError, match=r"answered 401: no: \*\*\*\."):
        hook.get_dataset("a")


@pytest.mark.parametrize("to", [f"https://elsewhere.invalid/{SECRET}", f"https://user:{SECRET}@elsewhere.invalid/"])
def test_a_redirect_that_carries_the_key_is_not_quoted(
    server: AdversarialServer, hook: CohereDatasetsHook, ear: Ear, to: str
) -> None:
    server.script(None, None, [redirect(to)], repeat=True)
    with pytest.raises(CohereRedirectError, match=r"to https://elsewhere\.invalid") as caught:
        hook.get_usage()
    assert SECRET not in f"{caught.value} {caught.value.details()} {ear.heard()}"
