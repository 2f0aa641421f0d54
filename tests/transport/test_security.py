"""The key goes to one origin and into no message; ids and URLs cannot steer requests elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from airflow_provider_cohere_datasets.core.account import Account
from airflow_provider_cohere_datasets.core.calls import Call, Reply
from airflow_provider_cohere_datasets.core.errors import (
    CohereApiError,
    CohereAuthenticationError,
    CohereInputError,
    CohereTransportError,
    CohereUnexpectedAnswerError,
)
from airflow_provider_cohere_datasets.transport.limits import reply_for
from tests import adversary
from tests.adversary import AdversarialServer, Answer, Computed, Request, make_dataset
from tests.transport.conftest import ID, LIST, ONE, Connect
from tests.transport.harness import DRIVERS, KEY, Client

LONG_KEY = "Aa0-_+/=." * 4 + "zzzz"


@pytest.mark.parametrize("netrc", ["HOME", "NETRC"])
def test_neither_netrc_nor_environment_win(
    server: AdversarialServer,
    elsewhere: AdversarialServer,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    netrc: str,
) -> None:
    file = tmp_path / ".netrc"
    file.write_text("machine 127.0.0.1 login mallory password netrc-secret\ndefault login a password b\n")
    file.chmod(0o600)
    monkeypatch.setenv(netrc, str(tmp_path if netrc == "HOME" else file))
    monkeypatch.setenv("CO_API_URL", elsewhere.url)
    monkeypatch.setenv("CO_API_KEY", "environment-secret")
    client = connect()
    client.get(ID)
    client.page()
    client.delete(ID)
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert (server.count(), elsewhere.count()) == (3, 0)


@pytest.mark.parametrize("kind", list(DRIVERS))
@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "//", "/gateway", "/gateway/v1/"])
def test_base_urls_end_up_right(server: AdversarialServer, kind: str, suffix: str) -> None:
    client = Client(kind, Account.of(conn_id="c", host=server.url + suffix, password=KEY))
    prefix = "/gateway" if "gateway" in suffix else ""
    server.script("GET", f"{prefix}{ONE}", [Answer(json={"dataset": make_dataset(0)})])
    try:
        assert client.get(ID).id == ID
    finally:
        client.close()
    assert [request.raw_target for request in server.requests] == [f"{prefix}{ONE}"]


@pytest.mark.parametrize(
    ("dataset_id", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("a?b=c#d", "a%3Fb%3Dc%23d"),
        ("../../usage", "..%2F..%2Fusage"),
        ("a b", "a%20b"),
        ("%2e%2e", "%252e%252e"),
        ("a%2Fb", "a%252Fb"),
        ("a\\b", "a%5Cb"),
        ("größe-日本", "gr%C3%B6%C3%9Fe-%E6%97%A5%E6%9C%AC"),
        ("usage/", "usage%2F"),
        ("...", "..."),
        ("a;b&c=d+e@f:g", "a%3Bb%26c%3Dd%2Be%40f%3Ag"),
        ("A-z_0.9~", "A-z_0.9~"),
    ],
)
def test_an_id_is_one_segment(server: AdversarialServer, client: Client, dataset_id: str, segment: str) -> None:
    server.model.add(make_dataset(50, id=dataset_id))
    assert client.get(dataset_id).id == dataset_id
    client.delete(dataset_id)
    assert [request.raw_target for request in server.requests] == [f"/v1/datasets/{segment}"] * 2
    assert server.model.deleted == [dataset_id]


@pytest.mark.parametrize(
    "dataset_id",
    ["", " ", ".", "..", "usage", "None", "a\nb", "a\rb", "a\x00", "\x7f", "a\x85b", "\ud800", "x" * 501, None, 5],
)
def test_other_ids_cost_no_request(server: AdversarialServer, client: Client, dataset_id: str) -> None:
    for operation in (client.get, client.delete):
        with pytest.raises(CohereInputError, match="dataset_id"):
            operation(dataset_id)
    assert server.count() == 0


@pytest.mark.parametrize("status", [400, 401, 498, 500])
@pytest.mark.parametrize("key", [KEY, LONG_KEY])
def test_an_echoed_key_is_masked(server: AdversarialServer, connect: Connect, status: int, key: str) -> None:
    server.script("GET", ONE, [adversary.echo_authorization(status)], repeat=True)
    with pytest.raises(
        CohereApiError, match=r"invalid api token '\*\*\*' in header Authorization: Bearer \*\*\*"
    ) as got:
        connect(key=key).get(ID)
    assert key not in str(got.value)
    assert key not in repr(got.value.details())


@pytest.mark.parametrize("key", ['quoted"key\\with/escapes-0123', KEY])
def test_a_key_that_json_spells_otherwise_is_masked(server: AdversarialServer, connect: Connect, key: str) -> None:
    server.script("GET", ONE, [adversary.echo_authorization()])
    with pytest.raises(CohereAuthenticationError) as got:
        connect(key=key).get(ID)
    assert "Bearer ***" in str(got.value)
    assert key not in str(got.value)


@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize("key", ['quoted"key\\with/escapes-0123', "0123456789-abcdef\\"])
@pytest.mark.parametrize(
    "spell",
    [
        lambda key: json.dumps(key)[1:-1],
        lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
        lambda key: quote(key, safe=""),
    ],
    ids=["as JSON", "as the JSON of PHP", "as a URL"],
)
def test_a_key_is_masked_whoever_spells_it(key: str, status: int, spell: Callable[[str], str]) -> None:
    body = f'{{"message": "{spell(key)}"}}'.encode()
    reply = reply_for(Account("http://localhost", key), Call("get", "GET", ONE), status, {}, body)
    assert isinstance(reply, Reply)
    assert json.loads(reply.body) == {"message": "***"}


def test_a_key_echoed_in_a_header_or_an_id_is_masked(server: AdversarialServer, client: Client) -> None:
    def echo(request: Request) -> Answer:
        key = request.headers["authorization"].removeprefix("Bearer ")
        return Answer(400, json={"id": key, "message": "no"}, headers={"X-Key": key})

    server.script("GET", ONE, [Computed(echo)])
    with pytest.raises(CohereApiError) as got:
        client.get(ID)
    assert got.value.error_id == "***"


def test_a_success_that_echoes_the_key_does_not_show_it(server: AdversarialServer, connect: Connect) -> None:
    server.script("GET", ONE, [Answer(json={"dataset": {"id": f"x{LONG_KEY}x"}}, content_type=LONG_KEY)], repeat=True)
    with pytest.raises(CohereUnexpectedAnswerError) as got:
        connect(key=LONG_KEY).get(ID)
    assert LONG_KEY not in str(got.value)


def test_a_redirect_that_carries_the_key_does_not_show_it(server: AdversarialServer, client: Client) -> None:
    server.script("GET", ONE, [adversary.redirect(f"https://{KEY}.invalid/?key={KEY}")])
    with pytest.raises(CohereApiError, match=r"https://\*\*\*\.invalid") as got:
        client.get(ID)
    assert KEY not in str(got.value)


@pytest.mark.parametrize("key", ["demo", "d", "dataset", "test-key"])
def test_a_short_key_spoils_no_data(server: AdversarialServer, connect: Connect, key: str) -> None:
    """A key for a local server may be a word that datasets have in their names."""
    server.reset([make_dataset(1, id="demo-dataset-test-key", name="demo test-key")], key=key)
    client = connect(key=key)
    assert client.get("demo-dataset-test-key").name == "demo test-key"
    assert client.page().ids == ["demo-dataset-test-key"]


def test_what_is_sent_with_every_request(server: AdversarialServer, connect: Connect) -> None:
    client = connect(client_name="my team")
    client.page()
    client.check_key()
    client.delete(ID)
    for request in server.requests:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["x-client-name"] == "my team"
        assert request.headers["accept"] == "application/json"
        assert request.headers["user-agent"].startswith("airflow-provider-cohere-datasets/")
    assert [(r.method, r.path) for r in server.requests] == [
        ("GET", LIST),
        ("POST", "/v1/check-api-key"),
        ("DELETE", ONE),
    ]


def test_the_key_is_in_no_representation(connect: Connect, server: AdversarialServer) -> None:
    client = connect(key=LONG_KEY)
    assert LONG_KEY not in repr(client.account)
    server.script("GET", ONE, [adversary.Close()], repeat=True)
    with pytest.raises(CohereTransportError) as got:
        client.get(ID)
    chain: BaseException | None = got.value
    while chain is not None:
        assert LONG_KEY not in repr(chain)
        chain = chain.__cause__ or chain.__context__


def test_a_wrong_key(server: AdversarialServer, connect: Connect) -> None:
    with pytest.raises(CohereAuthenticationError, match="Cohere refuses the API key"):
        connect(key="wrong").get(ID)
    assert server.count() == 1
