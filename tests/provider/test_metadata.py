"""What Airflow reads of the provider is valid, and true."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.providers.common.compat.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger

import airflow_provider_cohere_datasets
from airflow_provider_cohere_datasets.get_provider_info import get_provider_info
from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator
from tests.versions import AIRFLOW, SHOWS_FORMS

PACKAGE = airflow_provider_cohere_datasets.__name__
FOLDER = Path(airflow_provider_cohere_datasets.__file__).parent
INFO = get_provider_info()
#: Rooms that are imported inside functions only.
BEHIND = {"core", "emulator", "lake", "transport"}
#: Libraries that parsing a DAG file must not pay for.
HEAVY = {
    "aiohttp",
    "cohere",
    "fastapi",
    "fastavro",
    "httpx",
    "numpy",
    "openlineage",
    "pandas",
    "pyarrow",
    "pydantic",
    "requests",
    "uvicorn",
}
#: All of our modules that a DAG file with each operator and the sensor loads, by room. Each costs time at every parse.
PARSED = {
    "assets": ["datasets", "events"],
    "core": ["errors", "filters", "gating", "limits", "poll_policy", "selection", "urls"],
    "hooks": ["configuration", "datasets", "errors", "retries"],
    "lineage": ["datasets"],
    "links": ["datasets"],
    "operators": ["base", "create", "datasets", "delete", "gate", "get", "list", "usage"],
    "sensors": ["datasets"],
    "transfers": ["parquet"],
}
#: What a file with an asset watcher loads besides.
WATCHED = {"triggers": ["datasets", "events"]}
#: Arguments of triggers and the like that have no default.
SAMPLES = {"dataset_id": "a", "dataset_ids": ["a", "b"]}


def modules_in_airflows_rooms() -> list[str]:
    paths = [path.relative_to(FOLDER) for path in FOLDER.rglob("*.py") if path.name != "__main__.py"]
    names = [path.with_suffix("").parts for path in paths if path.parts[0] not in BEHIND]
    return sorted({".".join((PACKAGE, *parts)).removesuffix(".__init__") for parts in names})


def listed_modules() -> list[str]:
    names = [entry["python-module"] for entry in INFO.get("transfers", ())]
    for kind in ("hooks", "operators", "sensors", "triggers"):
        names += [module for entry in INFO.get(kind, ()) for module in entry["python-modules"]]
    return names


def classes(base: type[Any]) -> list[type[Any]]:
    """Return the public classes of this provider below a base."""
    members = [vars(importlib.import_module(name)).values() for name in modules_in_airflows_rooms()]
    found = {
        member
        for values in members
        for member in values
        if inspect.isclass(member) and issubclass(member, base) and member.__module__.startswith(PACKAGE)
    }
    return sorted((cls for cls in found if not cls.__name__.startswith("_")), key=lambda cls: cls.__name__)


def schema(name: str) -> dict[str, Any]:
    path = Path(airflow.__file__).with_name(name)
    if not path.exists():
        pytest.skip(f"Airflow {airflow.__version__} does not ship {name}")
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "default", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def test_airflow_accepts_the_provider_info() -> None:
    jsonschema.validate(INFO, schema("provider_info.schema.json"))


@pytest.mark.parametrize("key", sorted(INFO.keys() - {"package-name", "name", "description"}))
def test_the_provider_info_is_as_strict_as_for_airflows_own_providers(key: str) -> None:
    strict = schema("provider.yaml.schema.json")
    if key not in strict["properties"]:
        pytest.skip(f"Airflow {airflow.__version__} does not know {key}")
    if key == "integrations" and AIRFLOW < (3, 2):
        pytest.skip(f"Airflow {airflow.__version__} allows its own providers one tag")
    jsonschema.validate(INFO[key], {**strict["properties"][key], "definitions": strict.get("definitions", {})})


def test_the_package_name_is_the_name_of_the_distribution() -> None:
    dist = distribution("airflow-provider-cohere-datasets")
    assert INFO["package-name"] == dist.metadata["Name"]
    assert dist.version == airflow_provider_cohere_datasets.__version__
    (entry_point,) = dist.entry_points.select(group="apache_airflow_provider")
    assert entry_point.load()() == INFO


def test_every_listed_module_exists_and_offers_every_class() -> None:
    listed = listed_modules()
    assert len(listed) == len(set(listed))
    offered = {member for name in listed for member in vars(importlib.import_module(name)).values() if callable(member)}
    public = [cls for cls in (*classes(BaseOperator), *classes(BaseTrigger)) if cls is not CohereDatasetsOperator]
    assert [cls for cls in public if cls not in offered] == []


@pytest.mark.parametrize("cls", classes(BaseTrigger))
def test_a_trigger_can_be_rebuilt_and_takes_keywords_of_newer_versions(cls: type[BaseTrigger]) -> None:
    needed = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
    trigger = cls(**{name: SAMPLES[name] for name in needed if name in SAMPLES})
    path, kwargs = trigger.serialize()
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name) is cls
    sent = json.loads(json.dumps(kwargs))
    assert cls(**sent).serialize() == (path, kwargs)
    assert cls(**sent, from_a_newer_version=1).serialize() == (path, kwargs)


@pytest.mark.parametrize("cls", classes(BaseOperator))
def test_template_fields_are_arguments_and_are_told_in_the_docstring(cls: type[Any]) -> None:
    ours = [base for base in cls.__mro__ if base.__module__.startswith(PACKAGE)]
    arguments = {name for base in ours for name in inspect.signature(base.__init__).parameters}
    assert set(cls.template_fields) <= arguments
    assert len(cls.template_fields) == len(set(cls.template_fields))
    documented = "\n".join(inspect.getdoc(base) or "" for base in ours)
    own = {name for name, p in inspect.signature(cls.__init__).parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert [name for name in sorted(own & arguments) if f":param {name}:" not in documented] == []


@pytest.mark.skipif(not SHOWS_FORMS, reason="Airflow 3.1 knows the forms only with a library of Flask")
def test_airflow_finds_the_hook_and_its_form_without_warnings() -> None:
    code = """
import json
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
hook = manager.hooks["cohere_datasets"]
form = manager.field_behaviours["cohere_datasets"]
version = manager.providers["airflow-provider-cohere-datasets"].version
print(json.dumps([version, hook.hook_class_name, hook.hook_name, form]))
"""
    ran = run_python(code)
    *before, last = ran.stdout.splitlines()
    (behaviour,) = (entry["ui-field-behaviour"] for entry in INFO["connection-types"])
    hook = INFO["connection-types"][0]["hook-class-name"]
    version, hook_class, hook_name, form = json.loads(last)
    assert (version, hook_class, hook_name) == (airflow_provider_cohere_datasets.__version__, hook, "Cohere Datasets")
    assert {name.replace("_", "-"): value for name, value in form.items()}.items() >= {
        "hidden-fields": behaviour["hidden-fields"],
        "relabeling": behaviour["relabeling"],
    }.items()
    assert [line for line in (*before, *ran.stderr.splitlines()) if "cohere" in line.lower()] == []


def test_importing_the_provider_loads_no_heavy_library() -> None:
    code = """
import importlib, sys
from airflow.providers.common.compat import sdk
import airflow.triggers.base
for name in ("BaseHook", "BaseOperator", "BaseSensorOperator", "PokeReturnValue", "Asset", "ObjectStoragePath"):
    getattr(sdk, name)
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module(name)
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(loaded))
"""
    ran = run_python(code, *modules_in_airflows_rooms(), f"{PACKAGE}.emulator")
    loaded = set(ran.stdout.split())
    assert PACKAGE in loaded
    assert loaded & HEAVY == set()


def test_parsing_a_dag_file_loads_only_what_it_needs() -> None:
    code = f"""
import json, sys
from airflow.providers.common.compat.sdk import DAG

def loaded():
    ours = [name.split(".") for name in sys.modules if name.startswith("{PACKAGE}.") and "provider_info" not in name]
    rooms = {{room: [] for _, room, *_ in ours}}
    for _, room, *module in sorted(ours):
        rooms[room] += module
    return rooms

from {PACKAGE}.operators.datasets import *
from {PACKAGE}.sensors.datasets import CohereDatasetValidationSensor
from {PACKAGE}.transfers.parquet import CohereDatasetsToParquetOperator
with DAG("parsed"):
    create = CohereCreateDatasetOperator(task_id="create", name="a", dataset_type="embed-input", data="a.jsonl")
    CohereDatasetValidationSensor(task_id="wait", dataset_id=create.output["id"], deferrable=True, max_wait=60)
    CohereDatasetGateOperator(task_id="gate", dataset_ids=["a", "b"], max_failed=0.5, min_total_examples=1)
    CohereGetDatasetOperator(task_id="get", dataset_id="a")
    CohereListDatasetsOperator(task_id="list", page_size=10, limit=10)
    CohereGetDatasetUsageOperator(task_id="usage", fail_above=0.9)
    CohereDeleteDatasetOperator(task_id="delete", older_than=60, max_deletions=10)
    CohereDatasetsToParquetOperator(task_id="export", output_path="a.parquet", page_size=10)
parsed = loaded()
from {PACKAGE}.triggers.datasets import CohereDatasetEventTrigger
CohereDatasetEventTrigger(name_pattern="a*")
print(json.dumps([parsed, loaded()]))
"""
    parsed, watched = json.loads(run_python(code).stdout.splitlines()[-1])
    assert parsed == PARSED
    assert watched == PARSED | WATCHED


def test_all_rooms_of_airflow_are_looked_at() -> None:
    rooms = {name.split(".")[1] for name in modules_in_airflows_rooms() if name != PACKAGE}
    assert rooms >= {"assets", "hooks", "lineage", "links", "operators", "sensors", "transfers", "triggers"}


def test_what_airflow_imports_for_every_asset_imports_nothing() -> None:
    code = f"""
import sys
import {PACKAGE}.assets.datasets as module
module.sanitize_uri(module.urlsplit("cohere://api.cohere.com/datasets/a"))
print(*(name.partition(".")[0] for name in sys.modules))
"""
    assert set(run_python(code).stdout.split()) & {"airflow", *HEAVY} == set()


def test_classes_and_functions_that_airflow_is_told_of_exist() -> None:
    (uris,) = INFO["asset-uris"]
    kinds = ("handler", "factory", "to_openlineage_converter")
    paths = [*INFO["extra-links"], *(uris[kind] for kind in kinds)]
    for path in paths:
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
    assert INFO["dataset-uris"] == INFO["asset-uris"]


@pytest.mark.parametrize("name", sorted(INFO["config"]["cohere_datasets"]["options"]))
def test_an_option_of_the_configuration_is_of_its_type(name: str) -> None:
    option = INFO["config"]["cohere_datasets"]["options"][name]
    read = {"float": float, "integer": int}[option["type"]]
    assert read(option["example"]) > 0
    assert option["default"] == "" or read(option["default"]) > 0


def test_the_page_size_of_the_configuration_is_that_of_the_pager() -> None:
    from airflow_provider_cohere_datasets.core import limits, paging

    configured = int(INFO["config"]["cohere_datasets"]["options"]["page_size"]["default"])
    assert configured == paging.DEFAULT_PAGE_SIZE == limits.DEFAULT_PAGE_SIZE


def test_what_every_airflow_process_imports_imports_nothing() -> None:
    code = f"""
import sys
import {PACKAGE}.get_provider_info as module
module.get_provider_info()
print(*(name for name in sys.modules if name.partition(".")[0] in ("airflow", "pydantic", "requests")))
"""
    assert run_python(code).stdout.split() == []
