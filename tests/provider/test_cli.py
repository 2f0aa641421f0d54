"""What ``airflow providers`` and ``airflow config`` show of the provider, without a word of complaint."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from airflow_provider_cohere_datasets.get_provider_info import ASSET_URIS, CONFIG, CONN_FIELDS, get_provider_info
from tests.versions import SHOWS_FORMS

INFO = get_provider_info()
#: What Airflow 3.1 says of every hook where that library is not installed.
NO_FORMS = "the 'flask_appbuilder' package is not installed"
HOOK = "airflow_provider_cohere_datasets.hooks.datasets.CohereDatasetsHook"
#: Runs all commands in one process, since starting Airflow is what takes the time. The commands keep warnings to
#: themselves, so Airflow reads everything before, when it does not.
SHOW = """
import contextlib, io, json, sys
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
manager.hooks, manager.field_behaviours, manager.connection_form_widgets, manager.extra_links_class_names
manager.initialize_providers_configuration()
try:
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
except ImportError:
    runtime = manager
else:
    runtime = ProvidersManagerTaskRuntime()
name = "dataset" if hasattr(runtime, "dataset_factories") else "asset"
kinds = ("uri_handlers", "factories", "to_openlineage_converters")
registered = [getattr(runtime, f"{name}_{kind}").get("cohere") for kind in kinds]
shown = {"assets": [found and f"{found.__module__}.{found.__name__}" for found in registered]}
from airflow.cli.cli_parser import get_parser
parser = get_parser()
for command in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        arguments = parser.parse_args(command.split())
        arguments.func(arguments)
    shown[command] = out.getvalue()
print("SHOWN" + json.dumps(shown))
"""
LISTS = ("hooks", "links", "triggers", "behaviours", "widgets")
COMMANDS = [
    f"providers get {INFO['package-name']} --full --output json",
    *(f"providers {name} --output json" for name in LISTS),
    *(f"config get-value cohere_datasets {name}" for name in CONFIG["cohere_datasets"]["options"]),
]


@pytest.fixture(scope="module")
def ran() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "default", "-c", SHOW, json.dumps(COMMANDS)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


@pytest.fixture(scope="module")
def shown(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What each command printed."""
    _, _, found = ran.stdout.rpartition("SHOWN")
    answers: dict[str, Any] = json.loads(found)
    return answers


def rows(shown: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the rows of a list that are about this provider."""
    printed = shown[f"providers {name} --output json"]
    # Airflow 2 prints warnings of its own in front.
    found: list[dict[str, Any]] = json.loads(printed[printed.index("[") :])
    return [row for row in found if "cohere_datasets" in json.dumps(row)]


def test_airflow_does_not_complain_about_the_provider(ran: subprocess.CompletedProcess[str]) -> None:
    before, _, _ = ran.stdout.rpartition("SHOWN")
    lines = (before + ran.stderr).splitlines()
    assert [line for line in lines if "cohere" in line.lower() and NO_FORMS not in line] == []


def test_the_lists_of_airflow_have_what_the_provider_offers(shown: dict[str, Any]) -> None:
    assert [row["class"] for row in rows(shown, "hooks")] == [HOOK]
    assert [row["extra_link_class_name"] for row in rows(shown, "links")] == INFO["extra-links"]
    modules = [module for entry in INFO["triggers"] for module in entry["python-modules"]]
    assert [row["class"] for row in rows(shown, "triggers")] == modules
    behaviours = [row["field_behaviours"] for row in rows(shown, "behaviours")]
    assert behaviours == (["cohere_datasets"] if SHOWS_FORMS else [])


def test_the_details_of_the_provider_are_shown(shown: dict[str, Any]) -> None:
    printed = shown[COMMANDS[0]]
    assert INFO["package-name"] in printed
    assert "CohereDatasetsLink" in printed


def test_the_fields_of_the_form_are_listed(shown: dict[str, Any]) -> None:
    listed = {row["connection_parameter_name"] for row in rows(shown, "widgets")}
    if not listed:
        pytest.skip("Airflow below 3.2 reads the fields from the hook, which has none")
    assert listed == {f"extra__cohere_datasets__{name}" for name in CONN_FIELDS}


def test_the_section_of_the_configuration_has_its_defaults(shown: dict[str, Any]) -> None:
    for name, option in CONFIG["cohere_datasets"]["options"].items():
        assert shown[f"config get-value cohere_datasets {name}"].strip() == option["default"]


def test_airflow_registers_the_scheme_of_our_assets(shown: dict[str, Any]) -> None:
    (uris,) = ASSET_URIS
    assert shown["assets"] == [uris["handler"], uris["factory"], uris["to_openlineage_converter"]]
