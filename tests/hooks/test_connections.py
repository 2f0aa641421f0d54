"""What a connection may look like, and what it may not."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException, BaseHook, Connection

from airflow_provider_cohere_datasets.core.account import DEFAULT_BASE_URL, Account, RequestPolicy
from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.emulator import Emulator
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from tests.adversary import AdversarialServer, error
from tests.hooks.conftest import KEY, Connect
from tests.versions import AIRFLOW

SECRET = "co-Sup3rSecret"


def account(hook: CohereDatasetsHook) -> Account:
    return hook.get_conn().account


@pytest.mark.parametrize("conn_type", ["cohere_datasets", "cohere"])
def test_both_types_of_connection_work(emulator: Emulator, connect: Connect, conn_type: str) -> None:
    emulator.seed(2)
    connect("mine", conn_type=conn_type, host=emulator.base_url, password=emulator.api_key)
    assert len(CohereDatasetsHook("mine").list_datasets()) == 2


def test_a_connection_may_be_a_uri(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    host, port = emulator.base_url.removeprefix("http://").split(":")
    forms = [
        f"cohere-datasets://:{emulator.api_key}@{host}:{port}",
        f"cohere-datasets://:{emulator.api_key}@{host}:{port}/http",
        f"cohere://:{emulator.api_key}@{quote(emulator.base_url, safe='')}",
        f"cohere://:{emulator.api_key}@{quote(emulator.base_url, safe='')}?max_tries=2",
    ]
    for number, uri in enumerate(forms):
        monkeypatch.setenv(f"AIRFLOW_CONN_FORM_{number}", uri)
        hook = CohereDatasetsHook(f"form_{number}")
        assert hook.get_usage() == 0
        assert account(hook).base_url == emulator.base_url
    assert account(hook).policy.max_tries == 2


def test_a_connection_may_be_made_of_fields() -> None:
    connection = Connection(
        conn_id="x", conn_type="cohere_datasets", host="api.example.com", port=8443, password="k" * 20, extra="{}"
    )
    found = CohereDatasetsHook("x").account_of(connection)
    assert (found.base_url, found.api_key) == ("https://api.example.com:8443", "k" * 20)


def test_airflow_gives_out_our_hook_for_our_type(emulator: Emulator, connect: Connect) -> None:
    connect("mine", host=emulator.base_url, password=emulator.api_key)
    hook = BaseHook.get_hook("mine")
    assert isinstance(hook, CohereDatasetsHook)
    assert hook.conn_id == "mine"
    assert hook.get_usage() == 0


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "//"])
def test_the_base_url_may_end_as_people_paste_it(server: AdversarialServer, connect: Connect, suffix: str) -> None:
    connect(host=server.url + suffix)
    CohereDatasetsHook().get_usage()
    assert [request.raw_target for request in server.requests] == ["/v1/datasets/usage"]


@pytest.mark.parametrize("suffix", ["", "/", "/v1"])
def test_the_base_url_may_have_a_prefix(server: AdversarialServer, connect: Connect, suffix: str) -> None:
    connect(host=f"{server.url}/proxy/cohere{suffix}")
    server.script("GET", None, [error(404)])
    with pytest.raises(AirflowFailException):
        CohereDatasetsHook().get_usage()
    assert [request.raw_target for request in server.requests] == ["/proxy/cohere/v1/datasets/usage"]


@pytest.mark.parametrize("host", [None, "", "  ", "api.cohere.com", "https://api.cohere.com/v1/"])
def test_without_a_host_the_base_url_is_production(connect: Connect, host: str | None) -> None:
    connect(host=host)
    assert account(CohereDatasetsHook()).base_url == DEFAULT_BASE_URL == "https://api.cohere.com"


def test_the_default_connection_is_the_one_of_the_official_provider(server: AdversarialServer) -> None:
    assert CohereDatasetsHook.default_conn_name == "cohere_default"
    CohereDatasetsHook().get_usage()
    assert server.count() == 1


@pytest.mark.parametrize(
    "password",
    [
        None,
        "",
        f"{SECRET}\n",
        f"{SECRET}\r\nX-Injected: 1",
        f" {SECRET}",
        f"{SECRET} {SECRET}",
        f"{SECRET}é",
        f"{SECRET}\u200b",
    ],
)
def test_what_cannot_be_a_key_is_refused_and_never_shown(
    server: AdversarialServer, connect: Connect, password: str | None
) -> None:
    connect("the_one", host=server.url, password=password)
    with pytest.raises(CohereInputError) as caught:
        CohereDatasetsHook("the_one").get_usage()
    message = str(caught.value)
    assert isinstance(caught.value, AirflowFailException)
    assert "'the_one'" in message
    assert "API key" in message
    assert "\n" not in message
    assert message.count(". ") == 0
    assert SECRET not in message
    assert server.requests == []


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("ftp://api.cohere.com", "must look like"),
        ("https://", "must look like"),
        (f"https://api.cohere.com/?key={SECRET}", "without a query"),
        (f"https://api.cohere.com/#{SECRET}", "without a query"),
        ("https://api.cohere.com:port", "not a URL"),
        (f"https://user:{SECRET}@api.cohere.com", "user or password"),
        ("http://api.cohere.com", "plain http"),
        ("https://api.cohère.com", "character"),
    ],
)
def test_what_cannot_be_a_base_url_is_refused(connect: Connect, host: str, names: str) -> None:
    connect("the_one", host=host)
    with pytest.raises(CohereInputError, match=names) as caught:
        CohereDatasetsHook("the_one").get_usage()
    assert "'the_one'" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_environment_never_wins(
    server: AdversarialServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CO_API_URL", f"{server.url}/elsewhere")
    monkeypatch.setenv("CO_API_KEY", "another-key")
    CohereDatasetsHook().get_usage()
    assert [request.path for request in server.requests] == ["/v1/datasets/usage"]
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    connect(host="")
    assert account(CohereDatasetsHook()).base_url == DEFAULT_BASE_URL
    connect(password="")
    with pytest.raises(CohereInputError, match="API key is missing"):
        CohereDatasetsHook().get_usage()


@pytest.mark.parametrize("policy", [5, ["max_tries"], "max_tries"])
def test_a_policy_that_is_no_mapping(connect: Connect, policy: Any) -> None:
    connect()
    with pytest.raises(CohereInputError, match=r"^request_policy must be a mapping, not "):
        CohereDatasetsHook(request_policy=policy).get_usage()


def test_the_hook_wins_over_the_extra_and_that_over_the_defaults(connect: Connect) -> None:
    connect(extra={"max_tries": 3, "read_timeout": "7.5"})
    assert account(CohereDatasetsHook()).policy == RequestPolicy(max_tries=3, read_timeout=7.5)
    hook = CohereDatasetsHook(request_policy={"max_tries": 2, "backoff_max": 0.5})
    assert account(hook).policy == RequestPolicy(max_tries=2, read_timeout=7.5, backoff_max=0.5)


def test_tries_are_what_the_policy_says(server: AdversarialServer, connect: Connect) -> None:
    server.script("GET", None, [error(503)], repeat=True)
    connect(host=server.url, extra={"max_tries": 2, "backoff_base": 0})
    with pytest.raises(Exception, match="503"):
        CohereDatasetsHook().get_usage()
    assert server.count() == 2
    with pytest.raises(Exception, match="503"):
        CohereDatasetsHook(request_policy={"max_tries": 3}).get_usage()
    assert server.count() == 5


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", True, [], "nan"])
def test_a_bad_policy_is_named(server: AdversarialServer, connect: Connect, value: Any) -> None:
    with pytest.raises(CohereInputError, match="max_tries in request_policy"):
        CohereDatasetsHook(request_policy={"max_tries": value}).get_usage()
    connect("mine", host=server.url, extra={"max_tries": value})
    with pytest.raises(CohereInputError, match="max_tries in the extra of connection 'mine'"):
        CohereDatasetsHook("mine").get_usage()
    assert server.requests == []


def test_a_misspelt_policy_is_not_ignored(server: AdversarialServer) -> None:
    with pytest.raises(CohereInputError, match="no value 'retries', only max_tries"):
        CohereDatasetsHook(request_policy={"retries": 9}).get_usage()
    assert server.requests == []


def test_other_keys_of_the_extra_are_nobodys_business(server: AdversarialServer, connect: Connect) -> None:
    connect(host=server.url, extra={"team": "search", "client_name": "nightly-export"})
    CohereDatasetsHook().get_usage()
    assert server.requests[0].headers["x-client-name"] == "nightly-export"


def extra_refused() -> Any:
    """Airflow 2 warns of such an extra, 3.0 and 3.1 refuse the connection, and later ones take it without a word."""
    if (3, 0) <= AIRFLOW < (3, 2):
        return pytest.raises(AirflowNotFoundException, match="mine")
    return pytest.raises(CohereInputError, match="extra of connection 'mine' must be a JSON object")


@pytest.mark.filterwarnings("ignore:Encountered JSON value in `extra`")
@pytest.mark.filterwarnings("ignore:Encountered non-JSON in `extra`")
@pytest.mark.parametrize("extra", [["a"], "text", 5])
def test_an_extra_that_is_not_an_object_is_refused(server: AdversarialServer, connect: Connect, extra: Any) -> None:
    connect("mine", host=server.url, extra=json.dumps(extra))
    with extra_refused():
        CohereDatasetsHook("mine").get_usage()
    assert server.requests == []


def test_an_unknown_connection_is_airflows_own_error() -> None:
    with pytest.raises(AirflowNotFoundException, match="no_such_connection"):
        CohereDatasetsHook("no_such_connection").get_usage()


def test_the_form_for_older_airflows() -> None:
    form = CohereDatasetsHook.get_ui_field_behaviour()
    assert form["relabeling"] == {"password": "API key", "host": "Base URL"}
    assert "password" not in form["hidden_fields"]
    assert form["placeholders"]["host"] == DEFAULT_BASE_URL
