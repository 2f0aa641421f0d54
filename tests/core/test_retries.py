"""How long a server asks to wait, and what a driver may answer; the rest is proved by real requests."""

from __future__ import annotations

import time

import pytest

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.account import RequestPolicy
from airflow_provider_cohere_datasets.core.calls import Call, Pause, Reply, TransportFailure
from airflow_provider_cohere_datasets.core.errors import CohereTransportError, CohereUploadUnknownError
from airflow_provider_cohere_datasets.core.retries import exchange, retry_after

NOW = 1580702706.0  # Mon, 03 Feb 2020 04:05:06 GMT
DATE = "Mon, 03 Feb 2020 04:05:06 GMT"
LATER = "Mon, 03 Feb 2020 04:05:36 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "30"}, 30),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "3."}, 3),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250.5", "retry-after": "9"}, 0.2505),
        ({"retry-after-ms": "-1", "retry-after": "9"}, 9),
        ({"retry-after": LATER, "date": DATE}, 30),
        ({"retry-after": DATE, "date": LATER}, 0),
        ({"retry-after": LATER}, 30),
        ({"retry-after": LATER, "date": "today"}, 30),
        ({"retry-after": "Monday, 03-Feb-20 04:05:36 GMT", "date": DATE}, 30),
        ({"retry-after": "Mon Feb  3 04:05:36 2020", "date": DATE}, 30),
        ({"retry-after": "Mon, 03 Feb 2020 05:05:36 +0100", "date": DATE}, 30),
        ({"retry-after": "Mon, 03 Feb 2020 04:05:36 -0000"}, 30),
        ({"retry-after": "Mon, 03 Feb 99999999999999999999999 04:05:06 GMT"}, None),
        ({"retry-after": "Mon, 32 Feb 2020 04:05:06 GMT"}, None),
        ({"retry-after": "1" * 13}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-30"}, None),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_what_the_server_asks_for(
    headers: dict[str, str], seconds: float | None, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert retry_after(headers, NOW) == (None if seconds is None else pytest.approx(seconds))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_ceiling_survives_any_number_of_tries() -> None:
    policy = RequestPolicy(max_tries=2000, backoff_base=1, backoff_max=1e9)
    flow = exchange(calls.get_usage(), calls.read_usage, policy, uniform=lambda low, high: high)
    next(flow)
    pauses = []
    for _ in range(1999):
        pause = flow.send(TransportFailure("no"))
        assert isinstance(pause, Pause)
        pauses.append(pause.seconds)
        flow.send(0.0)
    with pytest.raises(CohereTransportError, match="Gave up after 2000 tries"):
        flow.send(TransportFailure("no"))
    assert pauses == sorted(pauses)
    assert max(pauses) == 1e9


@pytest.mark.parametrize("status", [102, 103, 199])
def test_an_answer_that_announces_another_is_no_refusal(status: int) -> None:
    flow = exchange(calls.get_usage(), calls.read_usage, RequestPolicy())
    next(flow)
    assert isinstance(flow.send(Reply("u", status)), Pause)
    upload = exchange(Call("upload it", "POST", "/v1/datasets", repeatable=False), calls.read_usage, RequestPolicy())
    next(upload)
    with pytest.raises(CohereUploadUnknownError, match=f"answered {status}"):
        upload.send(Reply("u", status))


@pytest.mark.parametrize("outcome", [None, 1.5, "reply"])
def test_a_driver_that_answers_with_something_else(outcome: object) -> None:
    flow = exchange(calls.get_usage(), calls.read_usage, RequestPolicy())
    next(flow)
    with pytest.raises(TypeError, match="a driver must answer a call with a reply or a failure"):
        flow.send(outcome)  # type: ignore[arg-type]


def test_a_flow_ends_with_its_result() -> None:
    flow = exchange(calls.get_usage(), calls.read_usage, RequestPolicy())
    next(flow)
    with pytest.raises(StopIteration) as stop:
        flow.send(Reply("u", 200, body=b"{}"))
    assert stop.value.value == 0
