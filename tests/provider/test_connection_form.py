"""The form of a connection, and every other way to write one down, as the documentation has them."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook, Connection

from airflow_provider_cohere_datasets.core.account import Account, RequestPolicy
from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR, get_provider_info
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook

DOCUMENT = (Path(__file__).parents[2] / "docs" / "connection.md").read_text()
POLICY = {field.name: field.default for field in fields(RequestPolicy)}
GATEWAY = "https://gateway.example.com/cohere"
#: What the documented forms mean, in their order.
MEANT = [
    ("https://api.cohere.com", {}),
    (GATEWAY, {"max_tries": 3, "read_timeout": 30}),
    ("https://api.cohere.com", {}),
    ("https://gateway.example.com:8443", {"max_tries": 3}),
    (GATEWAY, {}),
]


def account(connection: Any) -> Account:
    return CohereDatasetsHook("cohere_default").account_of(connection)


def stored(values: dict[str, Any]) -> Account:
    """Return the account of a connection with an extra."""
    return account(Connection(conn_id="c", conn_type="cohere_datasets", password="a-key", extra=json.dumps(values)))


def test_the_documentation_has_each_form_once() -> None:
    assert len(re.findall(r"^export AIRFLOW_CONN", DOCUMENT, re.M)) == len(MEANT)


@pytest.mark.parametrize("number", range(len(MEANT)))
def test_airflow_reads_each_documented_form(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    value = re.findall(r"^export AIRFLOW_CONN_COHERE_DEFAULT='(.*?)'$", DOCUMENT, re.M | re.S)[number]
    base_url, policy = MEANT[number]
    monkeypatch.setenv("AIRFLOW_CONN_COHERE_DEFAULT", value)
    connection = BaseHook.get_connection("cohere_default")
    assert connection.conn_type == "cohere_datasets"
    found = account(connection)
    assert (found.base_url, found.api_key, found.policy) == (base_url, "your-api-key", RequestPolicy(**policy))


def test_airflow_reads_the_documented_command() -> None:
    from airflow.cli.cli_parser import get_parser

    (command,) = re.findall(r"^airflow (connections add .*?)\n```", DOCUMENT, re.M | re.S)
    given = get_parser().parse_args(shlex.split(command.replace("\\\n", "")))
    connection = Connection(
        conn_id=given.conn_id, conn_type=given.conn_type, password=given.conn_password, extra=given.conn_extra
    )
    assert connection.conn_type == CohereDatasetsHook.conn_type
    assert account(connection).policy == RequestPolicy(max_tries=3)


def test_the_documented_section_holds_the_defaults() -> None:
    import configparser

    from airflow_provider_cohere_datasets.get_provider_info import CONFIG

    (section,) = re.findall(r"^```ini\n(.*?)^```", DOCUMENT, re.M | re.S)
    parser = configparser.ConfigParser()
    parser.read_string(section)
    options = CONFIG["cohere_datasets"]["options"]
    assert dict(parser["cohere_datasets"]) == {name: option["default"] for name, option in options.items()}


def test_airflows_form_shows_the_fields() -> None:
    """The API server builds the form from the metadata alone."""
    connections = pytest.importorskip("airflow.api_fastapi.core_api.services.ui.connections", reason="Airflow 2")
    from airflow.providers_manager import ProvidersManager

    if not hasattr(ProvidersManager, "iter_connection_type_hook_ui_metadata"):
        pytest.skip("Airflow below 3.2 builds the form from the hook")
    (form,) = [
        found
        for found in connections.HookMetaService.hook_meta_data()
        if found.connection_type == CohereDatasetsHook.conn_type
    ]
    assert form.hook_name == "Cohere Datasets"
    assert form.standard_fields.password.title == "API key"
    assert form.standard_fields.host.placeholder == "https://api.cohere.com"
    assert form.standard_fields.url_schema.hidden
    assert [field["schema"]["title"] for field in form.extra_fields.values()] == [
        field["label"] for field in CONN_FIELDS.values()
    ]
    # What the form stores if nothing is filled in.
    assert stored({name: field["value"] for name, field in form.extra_fields.items()}) == stored({})


def test_the_list_of_providers_can_show_the_link_of_the_description() -> None:
    """Airflow 3 makes a link of the address alone, without a space after it, so nothing may follow."""
    assert get_provider_info()["description"].endswith(" `Cohere <https://docs.cohere.com/docs/datasets>`__")


def test_fields_of_the_form_are_values_of_the_extra_and_tell_their_defaults() -> None:
    assert set(CONN_FIELDS) - set(POLICY) <= {"client_name", "allow_insecure_http", "requests_per_minute"}
    for name in set(CONN_FIELDS) & set(POLICY):
        default: Any = POLICY[name]
        if default is not None:
            assert CONN_FIELDS[name]["description"].endswith(f"; {default:g} if empty.")


@pytest.mark.parametrize("name", [name for name in CONN_FIELDS if name in POLICY])
def test_the_arrows_of_a_number_stop_where_the_policy_does(name: str) -> None:
    """The form knows "minimum" and no "exclusiveMinimum"."""
    minimum = CONN_FIELDS[name]["schema"]["minimum"]
    with pytest.raises(CohereInputError, match=name):
        stored({name: minimum - 1})
    assert getattr(stored({name: minimum + 1}).policy, name) == minimum + 1


@pytest.mark.parametrize("name", [name for name in CONN_FIELDS if name in POLICY])
@pytest.mark.parametrize("value", [7, "7"])
def test_a_number_of_the_form_reaches_the_policy(name: str, value: object) -> None:
    assert getattr(stored({name: value}).policy, name) == 7


@pytest.mark.parametrize("value", [None, ""])
def test_an_empty_field_is_not_set(value: object) -> None:
    assert stored(dict.fromkeys(CONN_FIELDS, value)) == stored({})


@pytest.mark.parametrize("value", [True, "true", "True", "1"])
def test_the_switch_of_the_form_allows_plain_http(value: object) -> None:
    extra = json.dumps({"allow_insecure_http": value})
    connection = Connection(conn_id="c", conn_type="x", host="http://far.example", password="a-key", extra=extra)
    assert account(connection).base_url == "http://far.example"


def test_airflows_that_read_the_form_from_the_hook_get_the_same() -> None:
    legacy = CohereDatasetsHook.get_ui_field_behaviour()
    assert {name.replace("_", "-"): value for name, value in legacy.items()} == UI_FIELD_BEHAVIOUR
