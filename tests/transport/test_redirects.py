"""Redirects: followed on the same origin where that is safe, refused everywhere else."""

from __future__ import annotations

import pytest

from airflow_provider_cohere_datasets.core.errors import CohereRedirectError
from tests import adversary
from tests.adversary import AdversarialServer, Answer, error
from tests.transport.conftest import ID, LIST, ONE, Connect
from tests.transport.harness import KEY, Client


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", [ONE, f"{{url}}{ONE}", ID, f"./x/../{ID}", f"{ONE}#part"])
def test_a_get_on_the_same_origin_is_followed(server: AdversarialServer, client: Client, status: int, to: str) -> None:
    server.script("GET", "/v1/datasets/old", [adversary.redirect(to.format(url=server.url), status)])
    server.script("GET", ONE, [Answer(json={"dataset": {"id": "old"}})])
    assert client.get("old").id == "old", "still the dataset that was asked for"
    assert [request.path for request in server.requests] == ["/v1/datasets/old", ONE]
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert client.pauses == []


def test_the_query_of_the_redirect_is_used(server: AdversarialServer, client: Client) -> None:
    server.script("GET", LIST, [adversary.redirect(f"{LIST}?limit=1&offset=2&token=a%20b%2F&flag=")])
    assert len(client.page().rows) == 1
    assert server.requests[1].query == [("limit", "1"), ("offset", "2"), ("token", "a b/"), ("flag", "")]


def test_a_redirect_without_a_query_keeps_that_of_the_call(server: AdversarialServer, client: Client) -> None:
    server.script("GET", LIST, [adversary.redirect(f"{LIST}/"), adversary.redirect(f"{LIST}?")])
    server.script("GET", f"{LIST}/", [adversary.redirect(LIST)])
    client.page()
    assert len({tuple(request.query) for request in server.requests}) == 1
    assert server.requests[-1].query


def test_a_redirect_that_drops_a_part_of_the_query_is_refused(server: AdversarialServer, client: Client) -> None:
    server.script("GET", LIST, [adversary.redirect(f"{LIST}?limit=1")], repeat=True)
    with pytest.raises(CohereRedirectError, match="in a way that is not followed"):
        client.page()
    assert server.count() == 1


def test_a_failure_behind_a_redirect_is_tried_again(server: AdversarialServer, client: Client) -> None:
    server.script("GET", "/v1/datasets/old", [adversary.redirect(ONE)])
    server.script("GET", ONE, [error(503), error(503), Answer(json={"dataset": {"id": "old"}})])
    assert client.get("old").id == "old"
    assert [request.path for request in server.requests] == ["/v1/datasets/old", ONE, ONE, ONE]
    assert client.pauses == [1, 2], "a redirect is no failed try"


@pytest.mark.parametrize(
    "to",
    [
        "http://other.invalid/v1/datasets",
        "https://127.0.0.1:{port}" + ONE,
        "http://localhost:{port}" + ONE,
        "http://127.0.0.1:1" + ONE,
        "//other.invalid" + ONE,
        "http://127.0.0.1:{port}@other.invalid" + ONE,
        "http://127.0.0.1:{port}.other.invalid" + ONE,
        "http://127.0.0.1:{port}\\@other.invalid" + ONE,
        "http://127.0.0.1:99999999" + ONE,
        "http://[" + ONE,
        "ftp://127.0.0.1:{port}" + ONE,
        "file:///etc/passwd",
        "javascript:alert(1)",
    ],
)
@pytest.mark.parametrize("status", [302, 307])
def test_another_origin_is_refused(server: AdversarialServer, client: Client, to: str, status: int) -> None:
    server.script("GET", ONE, [adversary.redirect(to.format(port=server.port), status)], repeat=True)
    with pytest.raises(CohereRedirectError, match="Check the base URL") as got:
        client.get(ID)
    assert server.count() == 1
    assert got.value.status == status
    assert KEY not in str(got.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_key_never_leaves_its_origin(
    server: AdversarialServer, elsewhere: AdversarialServer, client: Client, status: int
) -> None:
    server.script(None, None, [adversary.redirect(f"{elsewhere.url}{ONE}", status)], repeat=True)
    for operation in (lambda: client.get(ID), lambda: client.delete(ID), client.create, client.check_key):
        with pytest.raises(CohereRedirectError, match=f"to {elsewhere.url}"):
            operation()
    assert (server.count(), elsewhere.count()) == (4, 0)


@pytest.mark.parametrize("secret", ["/v1/datasets?X-Goog-Signature=secret", "/secret", "#secret"])
def test_the_refused_place_is_shown_without_its_secrets(server: AdversarialServer, client: Client, secret: str) -> None:
    server.script("GET", ONE, [adversary.redirect(f"https://user:secret@other.invalid{secret}")])
    with pytest.raises(CohereRedirectError, match=r"to https://other\.invalid\)") as got:
        client.get(ID)
    assert "secret" not in str(got.value)


def test_a_place_that_is_no_url(server: AdversarialServer, client: Client) -> None:
    server.script("GET", ONE, [adversary.redirect("http://[")])
    with pytest.raises(CohereRedirectError, match=r"status 307, to something that is no URL\)"):
        client.get(ID)


@pytest.mark.parametrize("status", [300, 304, 305, 306, 307])
def test_without_a_place_to_go(server: AdversarialServer, client: Client, status: int) -> None:
    server.script("GET", ONE, [adversary.redirect(None, status)], repeat=True)
    with pytest.raises(CohereRedirectError, match=rf"status {status}, to nowhere\)"):
        client.get(ID)
    assert server.count() == 1


def test_a_loop(server: AdversarialServer, client: Client) -> None:
    server.script("GET", ONE, [adversary.redirect_loop()], repeat=True)
    with pytest.raises(CohereRedirectError, match="redirected in a loop that is not followed"):
        client.get(ID)
    assert server.count() == 6


@pytest.mark.parametrize("status", [307, 308])
def test_a_delete_stays_a_delete(server: AdversarialServer, client: Client, status: int) -> None:
    server.script("DELETE", "/v1/datasets/old", [adversary.redirect(ONE, status)])
    client.delete("old")
    assert [(r.method, r.path) for r in server.requests] == [("DELETE", "/v1/datasets/old"), ("DELETE", ONE)]
    assert server.model.deleted == [ID]


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_delete_never_becomes_a_get(server: AdversarialServer, client: Client, status: int) -> None:
    server.script("DELETE", ONE, [adversary.redirect(ONE, status)], repeat=True)
    with pytest.raises(CohereRedirectError):
        client.delete(ID)
    assert server.count() == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_create_is_not_sent_to_another_place(server: AdversarialServer, client: Client, status: int) -> None:
    server.script("POST", LIST, [adversary.redirect(LIST, status)], repeat=True)
    with pytest.raises(CohereRedirectError):
        client.create()
    assert server.count() == 1


@pytest.mark.parametrize("inside", [True, False])
def test_a_base_url_with_a_path_is_not_left(server: AdversarialServer, connect: Connect, inside: bool) -> None:
    client = connect(f"{server.url}/gateway")
    to = "/gateway/v1/datasets/new" if inside else "/other/v1/datasets/new"
    server.script("GET", f"/gateway{ONE}", [adversary.redirect(to)])
    server.script("GET", "/gateway/v1/datasets/new", [Answer(json={"dataset": {"id": ID}})])
    if inside:
        assert client.get(ID).id == ID
    else:
        with pytest.raises(CohereRedirectError):
            client.get(ID)
    assert server.count() == 1 + inside
