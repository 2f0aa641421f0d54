"""Answers are judged: the status decides, then whether the body is what was asked for."""

from __future__ import annotations

import gzip

import pytest

from airflow_provider_cohere_datasets.core.calls import TransportFailure
from airflow_provider_cohere_datasets.core.errors import (
    CohereApiError,
    CohereDatasetNotFoundError,
    CohereDatasetsError,
    CohereInvalidRequestError,
    CoherePageTooLargeError,
    CohereQuotaError,
    CohereRateLimitError,
    CohereServerError,
    CohereTransportError,
    CohereUnexpectedAnswerError,
    CohereUploadUnknownError,
)
from airflow_provider_cohere_datasets.transport import blocking, limits, nonblocking
from tests import adversary
from tests.adversary import AdversarialServer, Answer, CutHead, error, make_dataset
from tests.transport.conftest import ID, LIST, ONE, Connect
from tests.transport.harness import Client


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(json={"dataset": None}), "no dataset in it"),
        (Answer(json={"dataset": []}), "no dataset in it"),
        (Answer(json={}), "no dataset in it"),
        (Answer(json={"dataset": {"name": "x"}}), "without a readable id"),
        (Answer(json={"dataset": {"id": ""}}), "without a readable id"),
        (Answer(json={"dataset": {"id": 7}}), "without a readable id"),
        (Answer(json={"dataset": make_dataset(99)}), "another dataset, 'dataset-99-"),
        (Answer(json=None), "JSON that is not an object but a NoneType"),
        (Answer(json="text"), "JSON that is not an object but a str"),
        (adversary.html(), r"\d+ bytes that are not JSON \(text/html\)"),
        (Answer(body=b"\xff", content_type=None), r"1 bytes that are not JSON \(no content type\)"),
        (Answer(body=b"[" * 100_000), "JSON that is nested too deeply"),
        (Answer(body=b"1" * 10_000), "not JSON"),
        (Answer(body='{"dataset":null}'.encode("utf-16")), "not JSON"),
        (Answer(status=204, content_type=None), "answered 204 with an empty body"),
        (Answer(status=206, json={"dataset": None}), "answered 206 with no dataset"),
    ],
)
def test_what_is_no_dataset(server: AdversarialServer, client: Client, answer: Answer, words: str) -> None:
    server.script("GET", ONE, [answer] * 3)
    with pytest.raises(CohereUnexpectedAnswerError, match=words) as got:
        client.get(ID)
    assert server.count() == 3
    assert (got.value.dataset_id, got.value.method, got.value.path) == (ID, "GET", ONE)


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b"\xef\xbb\xbf{}", b'{"deleted":true}'])
def test_a_delete_may_say_little(server: AdversarialServer, client: Client, body: bytes) -> None:
    server.script("DELETE", ONE, [Answer(body=body)])
    client.delete(ID)
    assert server.count() == 1


def test_a_delete_may_say_no_content(server: AdversarialServer, client: Client) -> None:
    server.script("DELETE", ONE, [Answer(204, content_type=None)])
    client.delete(ID)
    assert server.count() == 1


def test_a_head_that_breaks_off_is_no_delete(server: AdversarialServer, client: Client) -> None:
    server.script("DELETE", ONE, [CutHead(Answer(json={}))], repeat=True)
    with pytest.raises(CohereTransportError, match="the answer broke off"):
        client.delete(ID)


def test_a_login_page_is_no_delete(server: AdversarialServer, client: Client) -> None:
    server.script("DELETE", ONE, [adversary.html()], repeat=True)
    with pytest.raises(CohereUnexpectedAnswerError):
        client.delete(ID)
    assert server.model.deleted == []


@pytest.mark.parametrize(
    ("value", "usage"),
    [({}, 0), ({"organization_usage": None}, 0), ({"organization_usage": "10737418240"}, 10737418240)],
)
def test_usage(server: AdversarialServer, client: Client, value: object, usage: int) -> None:
    server.script("GET", "/v1/datasets/usage", [Answer(json=value)])
    assert client.usage() == usage


@pytest.mark.parametrize("value", [{"organization_usage": "much"}, {"organization_usage": [1]}, {"message": "no"}])
def test_what_is_no_usage(server: AdversarialServer, client: Client, value: object) -> None:
    server.script("GET", "/v1/datasets/usage", [Answer(json=value)], repeat=True)
    with pytest.raises(CohereUnexpectedAnswerError):
        client.usage()


@pytest.mark.parametrize("value", [{"datasets": {}}, {"datasets": "x"}, {"error": "x"}, []])
def test_what_is_no_page(server: AdversarialServer, client: Client, value: object) -> None:
    server.script("GET", LIST, [Answer(json=value)], repeat=True)
    with pytest.raises(CohereUnexpectedAnswerError):
        client.page()


@pytest.mark.parametrize("value", [{}, {"datasets": None}, {"datasets": []}])
def test_an_empty_page(server: AdversarialServer, client: Client, value: object) -> None:
    server.script("GET", LIST, [Answer(json=value)])
    assert client.page().datasets == []


def test_an_error_with_an_id_is_no_new_dataset(server: AdversarialServer, client: Client) -> None:
    server.script("POST", LIST, [Answer(json={"id": "0b1c9a", "message": "internal error"})], repeat=True)
    with pytest.raises(CohereUploadUnknownError, match="answered 200 with an error"):
        client.create()


@pytest.mark.parametrize("value", [{}, {"id": None}, {"id": ""}, {"id": ".."}, {"id": 5}, {"id": "a\nb"}])
def test_a_create_without_a_usable_id(server: AdversarialServer, client: Client, value: object) -> None:
    server.script("POST", LIST, [Answer(json=value)], repeat=True)
    with pytest.raises(CohereUploadUnknownError, match=r"no usable dataset id.*not known whether this took effect"):
        client.create()
    assert server.count() == 1


@pytest.mark.parametrize("value", [{}, {"valid": "yes"}, {"valid": None}])
def test_a_key_check_that_says_nothing(server: AdversarialServer, client: Client, value: object) -> None:
    server.script("POST", "/v1/check-api-key", [Answer(json=value)], repeat=True)
    with pytest.raises(CohereUnexpectedAnswerError):
        client.check_key()


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_the_status_decides_not_the_body(server: AdversarialServer, client: Client, status: int) -> None:
    server.script("GET", ONE, [Answer(status, json={"dataset": make_dataset(0)})], repeat=True)
    with pytest.raises(CohereApiError) as got:
        client.get(ID)
    assert got.value.status == status


def test_a_200_is_no_failure_even_if_it_talks_of_one(server: AdversarialServer, client: Client) -> None:
    server.script("GET", ONE, [Answer(json={"dataset": make_dataset(0), "message": "rate limit", "error": "x"})])
    assert client.get(ID).id == ID
    assert server.count() == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(429, "You are limited to 1000 API calls / Month."), CohereQuotaError),
        (error(429, "monthly limit reached"), CohereQuotaError),
        (error(429, "limited to 500 calls a minute"), CohereRateLimitError),
        (Answer(429, content_type=None), CohereRateLimitError),
        (adversary.html(429), CohereRateLimitError),
        (adversary.oversized(), CoherePageTooLargeError),
        (error(413, "too large"), CoherePageTooLargeError),
        (error(422, "limit must not be greater than 100"), CoherePageTooLargeError),
        (error(422, "page size must not exceed 30"), CoherePageTooLargeError),
        (error(400, "too many rows asked for"), CoherePageTooLargeError),
        (Answer(422, json={"detail": [{"loc": ["query", "limit"], "msg": "too big"}]}), CoherePageTooLargeError),
        (error(400, "invalid limit"), CoherePageTooLargeError),
        (error(400, "too many values for validationStatus"), CohereInvalidRequestError),
        (Answer(422, json={"detail": [{"msg": "no", "input": {"limit": "9"}}]}), CohereInvalidRequestError),
        (Answer(429, json={"error": {"window": "minute", "monthly_left": 998}}), CohereRateLimitError),
        (error(422, "rate limit"), CohereInvalidRequestError),
        (error(422, "no such filter"), CohereInvalidRequestError),
        (error(404, "page not found"), CohereDatasetNotFoundError),
        (error(418), CohereInvalidRequestError),
        (error(511), CohereServerError),
    ],
)
def test_refusals_of_a_page(server: AdversarialServer, client: Client, answer: Answer, kind: type[Exception]) -> None:
    server.script("GET", LIST, [answer], repeat=True)
    with pytest.raises(CohereDatasetsError) as got:
        client.page()
    assert type(got.value) is kind
    assert server.count() == (1 if got.value.permanent else 3)


def test_only_a_page_can_be_too_large(server: AdversarialServer, client: Client) -> None:
    server.script("GET", ONE, [adversary.oversized()] * 3)
    with pytest.raises(CohereRateLimitError):
        client.get(ID)
    server.script("POST", LIST, [error(413, "the file is too large")])
    with pytest.raises(CohereInvalidRequestError) as got:
        client.create()
    assert type(got.value) is CohereInvalidRequestError
    assert server.count() == 4


def test_the_server_is_quoted(server: AdversarialServer, client: Client) -> None:
    server.script("GET", ONE, [error(422, "the moon is wrong")])
    with pytest.raises(CohereInvalidRequestError, match=f"GET {ONE} answered 422: the moon is wrong") as got:
        client.get(ID)
    assert got.value.error_id == "00000000-0000-4000-8000-000000000000"
    assert (got.value.status, got.value.dataset_id) == (422, ID)


@pytest.mark.parametrize(
    "answer",
    [
        adversary.long_message(400),
        Answer(400, body=b"x" * 5_000_000, content_type="text/plain"),
        Answer(400, json={"error": "y" * 10_000}),
        Answer(400, json={"detail": "z" * 10_000}),
    ],
)
def test_a_long_message_is_cut(server: AdversarialServer, client: Client, answer: Answer) -> None:
    server.script("GET", ONE, [answer])
    with pytest.raises(CohereInvalidRequestError) as got:
        client.get(ID)
    assert 1000 < len(str(got.value)) < 1200
    assert str(got.value).endswith("….")


@pytest.mark.parametrize("answer", [adversary.html(400), adversary.html(401)])
def test_a_page_for_browsers_is_not_quoted(server: AdversarialServer, client: Client, answer: Answer) -> None:
    server.script("GET", ONE, [answer])
    with pytest.raises(CohereApiError, match=rf"answered {answer.status}\.$"):
        client.get(ID)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(400, json=["wrong", 1]), '["wrong", 1]'),
        (Answer(400, json="wrong"), '"wrong"'),
        (Answer(400, body=b"wrong", content_type="text/plain"), "wrong"),
        (Answer(400, json={"error": "wrong", "message": None}), "wrong"),
        (adversary.bom(error(400, "wrong")), "wrong"),
        (adversary.gzipped(error(400, "wrong")), "wrong"),
    ],
)
def test_other_ways_to_say_what_is_wrong(server: AdversarialServer, client: Client, answer: Answer, said: str) -> None:
    server.script("GET", ONE, [answer])
    with pytest.raises(CohereInvalidRequestError) as got:
        client.get(ID)
    assert str(got.value).endswith(f"answered 400: {said}.")


def test_a_message_cannot_forge_the_log(server: AdversarialServer, client: Client) -> None:
    forged = adversary.control_message(400)
    body = {"id": "a\nb\x1b[31m\u202e", "message": forged.json["message"]}
    server.script("GET", ONE, [Answer(400, json=body)])
    with pytest.raises(CohereInvalidRequestError) as got:
        client.get(ID)
    assert str(got.value).isprintable()
    assert "bad X-Injected: 1 [2026-01-01] INFO all is well" in str(got.value)
    assert str(got.value.error_id).isprintable()


def test_an_empty_502_has_a_plain_sentence(server: AdversarialServer, client: Client) -> None:
    server.script("GET", ONE, [adversary.empty_502()] * 3)
    with pytest.raises(CohereServerError) as got:
        client.get(ID)
    assert str(got.value) == (
        f"Cohere could not get the dataset just now. GET {ONE} answered 502. Gave up after 3 tries."
    )


def test_compression_that_was_not_asked_for_is_not_unpacked(server: AdversarialServer, client: Client) -> None:
    """Each of several would unpack all that the one before it made."""
    bomb = gzip.compress(gzip.compress(b" " * (100 << 20)))
    server.script("GET", ONE, [Answer(body=bomb, headers={"Content-Encoding": "gzip, gzip"})])
    assert client.get(ID).id == ID
    server.script("GET", ONE, [Answer(body=bomb, headers={"Content-Encoding": "gzip, gzip"})], repeat=True)
    with pytest.raises(CohereTransportError, match="is compressed in a way that was not asked for"):
        client.get(ID)


def test_a_body_without_end_is_not_read_to_its_end(
    server: AdversarialServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (blocking, limits, nonblocking):
        monkeypatch.setattr(module, "MAX_BODY_BYTES", 1 << 20)
    bomb = Answer(body=gzip.compress(b" " * (50 << 20)), headers={"Content-Encoding": "gzip"})
    client = connect(max_tries=1)
    for answer in (bomb, adversary.EndlessBody()):
        server.script("GET", ONE, [answer])
        with pytest.raises(CohereTransportError, match="the answer is larger than"):
            client.get(ID)


def test_what_is_too_large_is_not_unpacked_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BODY_BYTES", 1 << 20)
    broken_at_its_end = gzip.compress(b" " * (50 << 20))[:-8] + bytes(8)
    assert limits.unpacked(broken_at_its_end) == TransportFailure(limits.TOO_LARGE)
