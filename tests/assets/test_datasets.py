"""The URI of a dataset: one form, whoever writes it down, and nothing else is one."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.sdk import Asset
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cohere_datasets.assets.datasets import HOST, SCHEME, create_asset, dataset_uri, sanitize_uri
from airflow_provider_cohere_datasets.core.account import DEFAULT_BASE_URL
from airflow_provider_cohere_datasets.get_provider_info import ASSET_URIS


def sanitized(uri: str) -> str:
    return sanitize_uri(urlsplit(uri)).geturl()


def test_scheme_and_host_are_those_of_the_rest_of_the_provider() -> None:
    assert urlsplit(DEFAULT_BASE_URL).hostname == HOST
    assert [uris["schemes"] for uris in ASSET_URIS] == [[SCHEME]]


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        ("api.cohere.com", "api.cohere.com"),
        ("API.Cohere.com:443", "api.cohere.com"),
        ("https://api.cohere.com", "api.cohere.com"),
        ("https://gateway.example.com:8443/team/cohere", "gateway.example.com:8443"),
        ("http://127.0.0.1:9123", "127.0.0.1:9123"),
        ("http://[::1]:9123", "[::1]:9123"),
    ],
)
def test_the_uri_has_the_host_but_not_the_way_to_it(host: str, authority: str) -> None:
    assert dataset_uri("my-id-123", host) == f"cohere://{authority}/datasets/my-id-123"


@pytest.mark.parametrize(
    ("uri", "one_form"),
    [
        ("cohere://api.cohere.com/datasets/a-1", "cohere://api.cohere.com/datasets/a-1"),
        ("COHERE://API.COHERE.COM:443/datasets/a-1/", "cohere://api.cohere.com/datasets/a-1"),
        ("cohere://api.cohere.com/datasets/a%2d1#part", "cohere://api.cohere.com/datasets/a-1"),
        ("cohere://api.cohere.com/datasets", "cohere://api.cohere.com/datasets"),
        ("cohere://localhost:8080/datasets/a b", "cohere://localhost:8080/datasets/a%20b"),
        ("cohere://localhost:8080/datasets/a%2Fb", "cohere://localhost:8080/datasets/a%2Fb"),
    ],
)
def test_airflow_brings_a_uri_into_its_one_form(uri: str, one_form: str) -> None:
    assert Asset(uri).normalized_uri == one_form


@pytest.mark.parametrize(
    "uri",
    [
        "cohere:///datasets/a",
        "cohere://api.cohere.com",
        "cohere://api.cohere.com/",
        "cohere://api.cohere.com/models/a",
        "cohere://api.cohere.com/datasets/a/parts",
        "cohere://api.cohere.com/datasets/.",
        "cohere://api.cohere.com/datasets/..",
        "cohere://api.cohere.com/datasets/%20",
        "cohere://api.cohere.com/datasets/%ff",
        "cohere://api.cohere.com/datasets/a?version=2",
        "cohere://api.cohere.com:port/datasets/a",
        "cohere://someone@api.cohere.com/datasets/a",
        "cohere://someone:secret@api.cohere.com/datasets/a",
    ],
)
def test_what_is_no_dataset_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        sanitized(uri)


def test_the_one_form_of_a_uri_is_told_when_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must look like cohere://api\.cohere\.com/datasets/<id>, not 'cohere://x/y'"):
        sanitized("cohere://x/y")


@given(st.text(min_size=1).filter(lambda text: text.strip() and text not in {".", ".."}))
def test_any_id_gives_a_uri_that_stays_as_it_is(dataset_id: str) -> None:
    try:
        uri = dataset_uri(dataset_id)
    except UnicodeEncodeError:  # Half a character.
        return
    assert uri.isascii()
    assert sanitized(uri) == uri
    assert dataset_uri(dataset_id + "x") != uri


@pytest.mark.parametrize("dataset_id", ["", " ", ".", "..", None, 5])
def test_what_cannot_be_an_id_is_refused(dataset_id: object) -> None:
    with pytest.raises(ValueError, match="id"):
        create_asset(dataset_id=dataset_id)  # type: ignore[arg-type]


def test_the_factory_makes_the_asset_that_users_would_write() -> None:
    made = create_asset(dataset_id="a-1", extra={"team": "search"})
    assert made == Asset("cohere://api.cohere.com/datasets/a-1", extra={"team": "search"})
    assert create_asset(dataset_id="a-1", host="localhost:8080").uri == "cohere://localhost:8080/datasets/a-1"
