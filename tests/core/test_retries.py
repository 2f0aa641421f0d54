"""How long a server asks to wait, and what a driver may answer; the rest is proved by real requests."""

from __future__ import annotations

import json
import time

import pytest

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.account import RequestPolicy
from airflow_provider_cohere_datasets.core.calls import Call, Pause, Reply, TransportFailure
from airflow_provider_cohere_datasets.core.errors import (
    CohereRedirectError,
    CohereServerError,
    CohereTransportError,
    CohereUploadUnknownError,
)
from airflow_provider_cohere_datasets.core.retries import error_for, exchange, redirected, retry_after

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
        ({"retry-after": "1" * 13}, 1111111111111),
        ({"retry-after": "1" * 301}, None),
        ({"retry-after": "600, 700"}, 600),
        ({"retry-after-ms": "250,soon"}, 0.25),
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


@pytest.mark.parametrize(("status", "seconds", "asks_again"), [(503, 5, True), (503, 6, False), (429, 6, True)])
def test_a_wait_that_is_too_long_is_left_to_the_caller(status: int, seconds: int, asks_again: bool) -> None:
    flow = exchange(calls.get_usage(), calls.read_usage, RequestPolicy(), patience=5.0)
    answer = Reply("http://x/v1/datasets/usage", status, {"retry-after": str(seconds)}, b"{}")
    next(flow)
    if asks_again:
        pause = flow.send(answer)
        assert isinstance(pause, Pause)
        assert pause.seconds >= seconds
    else:
        with pytest.raises(CohereServerError) as caught:
            flow.send(answer)
        assert (caught.value.tries, caught.value.retry_after) == (1, seconds)


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


def test_an_error_says_what_was_done_to_what() -> None:
    headers = {"retry-after": "9"}
    found = error_for(
        calls.get_dataset("a"), Reply("http://x/v1/datasets/a", 404, headers, b'{"id": "e1", "message": "no."}')
    )
    assert found.message == "Cohere does not know the dataset 'a'. GET /v1/datasets/a answered 404: no."
    assert (found.dataset_id, found.status, found.method, found.path) == ("a", 404, "GET", "/v1/datasets/a")
    assert (found.error_id, found.retry_after) == ("e1", 9.0)
    other = error_for(calls.get_usage(), Reply("http://x/v1/datasets/usage", 404))
    assert other.message == "Cohere does not know it. GET /v1/datasets/usage answered 404."
    assert error_for(calls.get_usage(), Reply("http://x", 503)).message.startswith(
        "Cohere could not get the usage just"
    )
    assert error_for(calls.delete_dataset("a"), Reply("http://x", 400)).message.startswith(
        "Cohere refuses to delete the"
    )
    assert error_for(calls.check_api_key(), Reply("http://x", 403)).message.startswith(
        "The API key may not check the API"
    )


def test_the_servers_words_may_be_no_utf8_and_are_cut() -> None:
    def words(body: bytes) -> str:
        return error_for(calls.get_usage(), Reply("http://x", 500, {}, body)).message.partition("answered 500")[2]

    assert words(b"caf\xe9") == ": caf\ufffd."
    assert words(b"x" * 1000) == f": {'x' * 1000}."
    assert words(b"x" * 1001) == f": {'x' * 1000}…."
    # A key in it would not have been found.
    assert words('{"message": "no"}'.encode("utf-16")) == "."


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"detail": [{"loc": ["query", "limit"]}]}, ': {"detail": [{"loc": ["query", "limit"]}]}.'),
        ({"message": 5}, ': {"message": 5}.'),
        ({"message": "", "error": "no"}, ": no."),
        ({"message": ""}, "."),
        ({"detail": {"url": "https:\\/\\/s.example/c?sig=1"}}, ': {"detail": {"url": "https://s.example/c"}}.'),
        ({"detail": {"url": "https://s.example/c?v=1\\u0026sig=1"}}, ': {"detail": {"url": "https://s.example/c"}}.'),
        ({}, "."),
    ],
)
def test_the_servers_words_may_be_more_than_a_text(value: object, said: str) -> None:
    # As other servers write it.
    body = json.dumps(value).replace("\\\\", "\\")
    found = error_for(calls.get_usage(), Reply("http://x", 400, {}, body.encode()))
    assert found.message.partition("answered 400")[2] == said


def test_signed_urls_in_the_servers_words_lose_their_signature() -> None:
    said = b'{"id": "https://x/y?sig=1", "message": "Get \\"https://storage.invalid/part?X-Signature=abc\\": too late"}'
    found = error_for(calls.get_usage(), Reply("http://x", 500, {}, said))
    assert found.message.endswith('answered 500: Get "https://storage.invalid/part": too late.')
    assert found.error_id == "https://x/y"


def test_an_upload_whose_fate_is_unknown_keeps_the_facts() -> None:
    flow = exchange(calls.create_dataset((), ()), calls.read_created, RequestPolicy())
    next(flow)
    with pytest.raises(CohereUploadUnknownError) as caught:
        flow.send(Reply("http://x/v1/datasets", 503, {"retry-after": "9"}, b'{"id": "e1"}'))
    found = caught.value
    assert (found.status, found.method, found.path) == (503, "POST", "/v1/datasets")
    assert (found.error_id, found.retry_after, found.tries) == ("e1", 9.0, 1)
    assert found.message.startswith("Cohere could not create the dataset just now.")


@pytest.mark.parametrize(
    ("base", "location", "followed"),
    [
        ("https://x", "https://x:443/v1/other", True),
        ("https://x:443", "https://x/v1/other", True),
        ("http://x", "http://x:80/v1/other", True),
        ("https://x", "https://x:80/v1/other", False),
        ("https://x", "http://x:443/v1/other", False),
        ("https://x", "https://y/v1/other", False),
        ("https://x", "https://[", False),
        ("https://x", "", False),
    ],
)
def test_a_redirect_stays_at_its_origin(base: str, location: str, followed: bool) -> None:
    call = calls.get_usage()
    reply = Reply(f"{base}{call.target}", 307, {"location": location} if location else {})
    if followed:
        assert redirected(call, reply, 1).target == "/v1/other"
        return
    with pytest.raises(CohereRedirectError) as caught:
        redirected(call, reply, 1)
    assert (caught.value.method, caught.value.path, caught.value.status) == ("GET", "/v1/datasets/usage", 307)
    expected = "in a way" if not location else "to another place"
    assert f"was redirected {expected} that is not followed" in caught.value.message


def test_five_redirects_are_no_loop() -> None:
    call = calls.get_usage()
    reply = Reply(f"https://x{call.target}", 307, {"location": "/v1/other"})
    assert redirected(call, reply, 5).target == "/v1/other"
    with pytest.raises(CohereRedirectError, match="was redirected in a loop"):
        redirected(call, reply, 6)


def test_a_server_may_ask_for_as_long_as_is_allowed() -> None:
    policy = RequestPolicy(max_retry_after=9.0, max_tries=2)
    flow = exchange(calls.get_usage(), calls.read_usage, policy, uniform=lambda low, high: 0.0)
    next(flow)
    assert flow.send(Reply("http://x", 503, {"retry-after": "9"})) == Pause(9.0)
