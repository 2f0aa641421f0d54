"""The model behaves like the API, and its list endpoint as each knob says."""

from __future__ import annotations

import hashlib
import random
from typing import Any
from urllib.parse import quote

import pytest

from tests.adversary import AdversarialServer, Churn, Listing, Model, make_dataset, make_datasets
from tests.adversary.client import Client, Got

LIST = "/v1/datasets"
ROWS = make_datasets(30)
NEWEST = [row["id"] for row in reversed(ROWS)]


def ask(server: AdversarialServer, target: str, method: str = "GET", **options: Any) -> Got:
    with Client(server, options.pop("key", "test-key")) as client:
        return client.ask(method, target, **options)


def ids(server: AdversarialServer, listing: Listing, query: str = "") -> list[str]:
    server.model.listing = listing
    return [row["id"] for row in ask(server, f"{LIST}?{query}").json["datasets"]]


def walk(server: AdversarialServer, listing: Listing, limit: int = 7) -> list[str]:
    """Page by rows received until an empty page."""
    server.model.listing = listing
    found: list[str] = []
    with Client(server) as client:
        while page := client.ask("GET", f"{LIST}?limit={limit}&offset={len(found)}").json.get("datasets"):
            found += [row["id"] for row in page]
    return found


def test_page_sizes(server: AdversarialServer) -> None:
    assert ids(server, Listing()) == NEWEST
    assert ids(server, Listing(), "limit=4&offset=3") == NEWEST[3:7]
    assert len(ids(server, Listing(default_size=11))) == 11
    assert len(ids(server, Listing(cap=5), "limit=20")) == 5
    assert len(ids(server, Listing(default_size=6, ignore_limit=True), "limit=20")) == 6
    assert ids(server, Listing(ignore_offset=True), "limit=4&offset=3") == NEWEST[:4]
    assert ids(server, Listing(), "offset=30") == []
    assert ask(server, f"{LIST}?limit=-1").status == 400


def test_refused_pages(server: AdversarialServer) -> None:
    for how, status, text in (("422", 422, "limit"), ("413", 413, "large"), ("429", 429, "larger than max")):
        server.model.listing = Listing(reject_limit_above=10, reject_with=how)  # type: ignore[arg-type]
        got = ask(server, f"{LIST}?limit=11")
        assert got.status == status
        assert text in got.json["message"]
        assert ask(server, LIST).status == status
        assert ask(server, f"{LIST}?limit=10").status == 200
    server.model.listing = Listing(max_bytes=3000)
    assert ask(server, LIST).status == 429
    assert ask(server, f"{LIST}?limit=2").status == 200


@pytest.mark.parametrize(
    ("how", "body"), [("list", b'{"datasets": []}'), ("null", b'{"datasets": null}'), ("missing", b"{}")]
)
def test_empty_lists(server: AdversarialServer, how: Any, body: bytes) -> None:
    server.model.listing = Listing(empty_as=how)
    assert ask(server, f"{LIST}?offset=99").body == body


def test_orders(server: AdversarialServer) -> None:
    server.model.update(ROWS[3]["id"], validation_status="failed")
    assert ids(server, Listing(order="oldest")) == NEWEST[::-1]
    assert ids(server, Listing(order="id")) == sorted(NEWEST)
    assert ids(server, Listing(order="name")) == [r["id"] for r in sorted(ROWS, key=lambda row: str(row["name"]))]
    by_status = [ROWS[3]["id"], *(each for each in NEWEST if each != ROWS[3]["id"])]
    assert ids(server, Listing(order="status")) == by_status
    once = Listing(order="shuffled-once", seed=1)
    assert ids(server, once) == ids(server, once) != NEWEST
    assert sorted(ids(server, once)) == sorted(NEWEST)
    always = Listing(order="random-each-request")
    assert ids(server, always) != ids(server, always)


def test_ties(server: AdversarialServer) -> None:
    tied = make_datasets(30, ties=10)
    server.reset(tied)
    assert len({row["created_at"] for row in tied}) == 3
    assert ids(server, Listing()) == ids(server, Listing())
    unstable = Listing(unstable_ties=True)
    first, second = ids(server, unstable), ids(server, unstable)
    assert first != second
    assert {*first[:10]} == {*second[:10]} == {row["id"] for row in tied[20:]}


def test_short_pages_are_never_empty_and_lose_nothing(server: AdversarialServer) -> None:
    assert walk(server, Listing(short_pages=1.0)) == NEWEST
    assert server.count("GET", LIST) > 6


def test_repeated_ids_lose_nothing(server: AdversarialServer) -> None:
    found = walk(server, Listing(repeat_ids=0.5, seed=2))
    assert len(found) > 35
    assert set(found) == set(NEWEST)


def test_filters(server: AdversarialServer) -> None:
    server.reset([*ROWS, make_dataset(50, type="embed-result"), make_dataset(51, status="failed")])
    assert len(ids(server, Listing(), "datasetType=embed-result")) == 1
    assert len(ids(server, Listing(), "validationStatus=failed")) == 1
    assert len(ids(server, Listing(ignore_filters={"validationStatus"}), "validationStatus=failed")) == 32
    assert len(ids(server, Listing(), "datasettype=embed-result")) == 32
    edge = quote(ROWS[10]["created_at"].replace("Z", "+00:00"))
    assert len(ids(server, Listing(), f"after={edge}")) == 21
    assert len(ids(server, Listing(after_inclusive=True), f"after={edge}")) == 22
    assert len(ids(server, Listing(), f"before={edge}")) == 10
    assert len(ids(server, Listing(before_inclusive=True), f"before={edge}")) == 11
    assert ask(server, f"{LIST}?after={edge.replace('%2B', '+')}").status == 400  # the plus became a blank


@pytest.mark.parametrize("where", ["any", "head", "read"])
def test_churn_and_survivors(server: AdversarialServer, where: Any) -> None:
    churn = Churn(random.Random(4), inserts_per_request=2, deletes_per_request=3, where=where, stop_after=4)
    found = walk(server, Listing(between=churn))
    model = server.model
    assert len(model.deleted) == 12
    assert len(model.ids()) == 30 + 8 - 12
    assert model.survivors() == set(NEWEST) - set(model.deleted)
    assert model.ever() == set(NEWEST) | model.ids() | set(model.deleted)
    assert model.served == set(found)
    if where == "read":  # the point of it: plain paging loses living rows
        assert model.survivors() - set(found)


def test_a_dataset_that_went_and_came_back_is_no_survivor(server: AdversarialServer) -> None:
    ask(server, LIST)
    assert server.model.delete(NEWEST[0])
    server.model.add(ROWS[-1])
    assert server.model.survivors() == set(NEWEST[1:])
    assert server.model.ever() == server.model.ids() == set(NEWEST)


def test_between_sees_the_model(server: AdversarialServer) -> None:
    seen: list[int] = []

    def between(model: Model) -> None:
        seen.append(len(model.served))

    walk(server, Listing(between=between), limit=10)
    assert seen == [10, 20, 30, 30]


def test_keys(server: AdversarialServer) -> None:
    assert ask(server, "/v1/check-api-key", "POST").json["valid"] is True
    assert ask(server, "/v1/check-api-key", "POST", key="other").status == 401
    assert ask(server, LIST, key=None).status == 401
    server.model.key = None
    assert ask(server, LIST, key="other").status == 200


def test_get_delete_usage(server: AdversarialServer) -> None:
    odd = make_dataset(1, id="a/b ?#é", status="unknown")
    server.reset([odd])
    target = f"{LIST}/{quote(odd['id'], safe='')}"
    assert ask(server, target).json == {"dataset": odd}
    assert ask(server, f"{LIST}/usage").json == {}
    assert ask(server, target, "DELETE").json == {}
    assert ask(server, target, "DELETE").status == 404
    assert ask(server, target).status == 404
    server.model.add(*make_datasets(2))
    assert ask(server, f"{LIST}/usage").json == {"organization_usage": 201}
    assert ask(server, "/v2/x").status == 404


def form(content: bytes) -> tuple[bytes, list[str]]:
    head = b'--B\r\nContent-Disposition: form-data; name="data"; filename="a.jsonl"\r\n'
    return head + b"Content-Type: text/x\r\n\r\n" + content + b"\r\n--B--\r\n", [
        "Content-Type: multipart/form-data; boundary=B"
    ]


@pytest.mark.parametrize("content", [b"", b'{"text":"x"}\r\n--C\r\n\r\n', random.Random(0).randbytes(3_000_000)])
def test_create(server: AdversarialServer, content: bytes) -> None:
    body, headers = form(content)
    server.model.create_status = "queued"
    got = ask(server, f"{LIST}?name=My%20data&type=embed-input", "POST", body=body, headers=headers)
    created = got.json["id"]
    row = server.model.get(created)
    assert row is not None
    assert (row["name"], row["validation_status"]) == ("My data", "queued")
    upload = server.model.uploads[created]["data"]
    assert (upload.filename, upload.content_type, upload.length) == ("a.jsonl", "text/x", len(content))
    assert upload.sha256 == hashlib.sha256(content).hexdigest()
    assert server.requests[-1].complete
    assert server.requests[-1].length == len(body)


@pytest.mark.parametrize("query", ["type=embed-input", "name=x", "name=x&type=y", f"name={'x' * 50}&type=embed-input"])
def test_create_refuses(server: AdversarialServer, query: str) -> None:
    body, headers = form(b"x")
    assert ask(server, f"{LIST}?{query}", "POST", body=body, headers=headers).status == 400
    assert ask(server, f"{LIST}?name=x&type=embed-input", "POST", body=b"--B", headers=headers).status == 400
    assert server.model.ids() == set(NEWEST)
