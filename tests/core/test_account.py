"""Connections become accounts: keys, base URLs and policies, and what is refused."""

from __future__ import annotations

import pytest

from airflow_provider_cohere_datasets.core.account import DEFAULT_BASE_URL, Account, RequestPolicy
from airflow_provider_cohere_datasets.core.errors import CohereInputError

KEY = "k" * 40


def account(host: str | None = None, password: str | None = KEY, **values: object) -> Account:
    return Account.of(conn_id="my_conn", host=host, password=password, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        (None, DEFAULT_BASE_URL),
        ("", DEFAULT_BASE_URL),
        ("  ", DEFAULT_BASE_URL),
        ("https://api.cohere.com", DEFAULT_BASE_URL),
        ("https://api.cohere.com/", DEFAULT_BASE_URL),
        ("https://api.cohere.com/v1", DEFAULT_BASE_URL),
        ("https://api.cohere.com/v1/", DEFAULT_BASE_URL),
        (" https://api.cohere.com/v1// ", DEFAULT_BASE_URL),
        ("HTTPS://API.Cohere.com/v1", DEFAULT_BASE_URL),
        ("api.cohere.com", DEFAULT_BASE_URL),
        ("api.cohere.com/v1", DEFAULT_BASE_URL),
        ("https://proxy.example/cohere/v1/", "https://proxy.example/cohere"),
        ("https://proxy.example/cohere//v1", "https://proxy.example/cohere"),
        ("https://proxy.example/X/v1", "https://proxy.example/X"),
        ("https://proxy.example/X/", "https://proxy.example/X"),
        ("https://proxy.example/v1x", "https://proxy.example/v1x"),
        ("https://proxy.example:8443/v1", "https://proxy.example:8443"),
        ("localhost:8000", "http://localhost:8000"),
        ("127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("http://LOCALHOST:8000", "http://localhost:8000"),
        ("http://127.0.0.53", "http://127.0.0.53"),
        ("http://[::1]", "http://[::1]"),
    ],
)
def test_base_urls(host: str | None, base_url: str) -> None:
    assert account(host).base_url == base_url


@pytest.mark.parametrize(
    ("host", "schema", "port", "base_url"),
    [
        ("localhost", "http", 8000, "http://localhost:8000"),
        ("localhost", "https", 8000, "https://localhost:8000"),
        ("localhost:9000", None, 8000, "http://localhost:9000"),
        ("proxy.example", "ftp", None, "https://proxy.example"),
        ("proxy.example", None, 8443, "https://proxy.example:8443"),
        ("proxy.example.", None, 65535, "https://proxy.example.:65535"),
        (f"{'a' * 63}.example", None, 1, f"https://{'a' * 63}.example:1"),
        ("https://proxy.example", "http", 8443, "https://proxy.example:8443"),
    ],
)
def test_hosts_out_of_a_connection_uri(host: str, schema: str | None, port: int | None, base_url: str) -> None:
    assert account(host, schema=schema, port=port).base_url == base_url


@pytest.mark.parametrize(
    "host",
    [
        "http://api.cohere.com",
        "http://192.168.0.1",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "http://0.0.0.0",
        "http://2130706433",
    ],
)
def test_plain_http_only_for_loopback(host: str) -> None:
    with pytest.raises(CohereInputError, match="plain http, which would show the API key on the network"):
        account(host)
    with pytest.raises(CohereInputError, match=r'plain http.* "allow_insecure_http": true in the extra'):
        account(host, extra={"allow_insecure_http": False})
    for yes in (True, "true", "True", " yes ", 1, "on"):
        assert account(host, extra={"allow_insecure_http": yes}).base_url == host


def test_plain_http_from_the_scheme_of_a_uri_too() -> None:
    with pytest.raises(CohereInputError, match="plain http"):
        account("proxy.example", schema="http")


@pytest.mark.parametrize(
    "host",
    [
        "ftp://api.cohere.com",
        "https://",
        "https:///v1",
        "https://api.cohere.com?x=1",
        "https://api.cohere.com/#x",
        "https://api.cohere.com:port",
        "https://api.cohere.com:99999",
        "https://[::1",
        "https://api..cohere.example",
        "https://.cohere.example",
        "https://api.cohere.example..",
        "https://.",
        "https://*.cohere.example",
        "https://api%2e.cohere.example",
        f"https://{'a' * 64}.example",
        "[::1",
        "::1",
        "https://api.cohere.com/a b",
        "https://api.cohere.com\\@other.invalid",
        "https://api.cohere.com\\other",
        "https://api.cohere.com/ü",
        "https://other\u2100.invalid",
    ],
)
def test_what_is_no_base_url(host: str) -> None:
    with pytest.raises(CohereInputError, match=r"^The base URL in the host of connection 'my_conn' "):
        account(host)


@pytest.mark.parametrize(("host", "port"), [("https://a.example:0", None), (None, 0), (None, -1), (None, 65536)])
def test_what_is_no_port(host: str | None, port: int | None) -> None:
    with pytest.raises(CohereInputError, match=r"^The port of connection 'my_conn' must be from 1 to 65535, not -?\d+"):
        account(host, port=port)


@pytest.mark.parametrize("host", ["https://user:secret@api.cohere.com", f"https://{KEY}@api.cohere.com", "a:b@c.de"])
def test_a_password_in_the_base_url_is_refused_and_not_shown(host: str) -> None:
    with pytest.raises(CohereInputError, match="contains a user or password") as got:
        account(host)
    assert "secret" not in str(got.value)
    assert KEY not in str(got.value)


@pytest.mark.parametrize("password", [None, ""])
def test_a_missing_key(password: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CO_API_KEY", KEY)
    with pytest.raises(CohereInputError, match="API key is missing: set it as the password of connection 'my_conn'"):
        account(password=password)


def test_the_environment_never_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CO_API_KEY", "environment")
    monkeypatch.setenv("CO_API_URL", "https://environment.example")
    assert (account().base_url, account().api_key) == (DEFAULT_BASE_URL, KEY)


@pytest.mark.parametrize("bad", ["\n", "\r", " ", "\t", "\x00", "\x7f", "é", "\u200b", "\xa0", "\u2028"])
@pytest.mark.parametrize("shape", ["{0}{1}", "{1}{0}", "{1}{0}{1}"])
def test_what_cannot_be_a_key_is_refused_and_not_shown(bad: str, shape: str) -> None:
    with pytest.raises(CohereInputError, match="cannot be a key; it may have been pasted wrongly") as got:
        account(password=shape.format(bad, KEY))
    assert KEY not in str(got.value)
    assert bad == " " or bad not in str(got.value)


def test_the_key_is_not_in_the_representation() -> None:
    assert KEY not in repr(account())
    assert KEY not in str(account())


def test_client_names() -> None:
    assert account().client_name == "airflow-provider-cohere-datasets"
    assert account(extra={"client_name": ""}).client_name == "airflow-provider-cohere-datasets"
    assert account(extra={"client_name": " my team "}).client_name == "my team"
    for bad in ("a\nb", "größe"):
        with pytest.raises(CohereInputError, match="client_name in the extra of connection 'my_conn'"):
            account(extra={"client_name": bad})


def test_every_value_of_the_policy_can_be_set() -> None:
    values = {
        "max_tries": 2,
        "backoff_base": 0,
        "backoff_max": 0.5,
        "max_retry_after": 0,
        "connect_timeout": 1,
        "read_timeout": 2.5,
        "total_timeout": 3,
        "upload_timeout": 4,
    }
    expected = RequestPolicy(2, 0.0, 0.5, 0.0, 1.0, 2.5, 3.0, 4.0)
    assert account(extra={**values, "unrelated": "x"}).policy == expected
    assert account(extra={name: f"{value}" for name, value in values.items()}).policy == expected
    assert account(overrides=values).policy == expected
    assert account(extra=dict.fromkeys(values, 9), overrides=values).policy == expected
    assert account(extra=dict.fromkeys(values, ""), overrides=dict.fromkeys(values)).policy == (RequestPolicy())
    assert isinstance(account(extra={"max_tries": "3"}).policy.max_tries, int)
    assert account(extra={"max_tries": 1}).policy.max_tries == 1


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", True, [], float("nan"), float("inf"), "nan", 10**400])
def test_numbers_of_tries_that_are_none(value: object) -> None:
    with pytest.raises(
        CohereInputError, match=r"^max_tries in the extra of connection 'my_conn' must be a whole number"
    ):
        account(extra={"max_tries": value})


@pytest.mark.parametrize("name", ["connect_timeout", "read_timeout", "total_timeout", "upload_timeout"])
@pytest.mark.parametrize("value", [0, -1, "soon", False, {}, "-inf", 10**400, 1e9])
def test_seconds_that_are_none(name: str, value: object) -> None:
    says = f"^{name} in request_policy must be a number of seconds and below 1000000000, not "
    with pytest.raises(CohereInputError, match=says):
        account(overrides={name: value})


def test_the_pace_may_come_from_the_configuration() -> None:
    assert account().policy.requests_per_minute is None
    pace = {"requests_per_minute": "0.5"}
    assert account(defaults=pace).policy.requests_per_minute == 0.5
    assert account(defaults=pace, extra={"requests_per_minute": 30}).policy.requests_per_minute == 30
    with pytest.raises(
        CohereInputError,
        match=r"^requests_per_minute in Airflow's configuration must be a number above 0 and.*not 0\.$",
    ):
        account(defaults={"requests_per_minute": 0})


@pytest.mark.parametrize("name", ["backoff_base", "backoff_max", "max_retry_after"])
def test_no_negative_waits(name: str) -> None:
    with pytest.raises(CohereInputError, match=f"^{name} "):
        account(extra={name: -0.1})
