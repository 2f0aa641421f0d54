"""The fixture that other projects get: what it gives, what it costs, and what it says without the extra."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from airflow_provider_cohere_datasets.emulator import Emulator, pytest_plugin
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook

pytest_plugins = ["pytester"]

VARIABLE = "AIRFLOW_CONN_COHERE_DEFAULT"
#: A project that knows of the provider only that it is installed.
PROJECT = f"""
import json, os, urllib.request

def ask(emulator):
    connection = json.loads(os.environ["{VARIABLE}"])
    assert connection == json.loads(emulator.connection_json())
    headers = {{"Authorization": "Bearer " + connection["password"]}}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
    with opener.open(urllib.request.Request(connection["host"] + "/v1/datasets", headers=headers)) as answer:
        return json.load(answer)["datasets"]

def test_one(cohere_datasets_emulator):
    ids = cohere_datasets_emulator.seed(3)
    assert sorted(dataset["id"] for dataset in ask(cohere_datasets_emulator)) == sorted(ids)
    assert [request.path for request in cohere_datasets_emulator.requests] == ["/v1/datasets"]

def test_the_next_finds_it_as_good_as_new(cohere_datasets_emulator):
    assert not cohere_datasets_emulator.requests
    assert not ask(cohere_datasets_emulator)

def test_without_it():
    assert os.environ.get("{VARIABLE}") == "as it was"
"""


def test_the_default_connection_leads_to_it(cohere_datasets_emulator: Emulator) -> None:
    ids = cohere_datasets_emulator.seed(2)
    hook = CohereDatasetsHook()
    assert {dataset.id for dataset in hook.list_datasets()} == set(ids)
    assert hook.get_conn().account.base_url == cohere_datasets_emulator.base_url


@pytest.mark.parametrize(
    ("others", "bypassed"), [(None, "127.0.0.1"), ("example.com", "127.0.0.1,example.com"), ("*", "*")]
)
def test_a_proxy_is_passed_by(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, others: str | None, bypassed: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    if others:
        monkeypatch.setenv("NO_PROXY", others)
    request.getfixturevalue("cohere_datasets_emulator")
    assert CohereDatasetsHook().get_usage() == 0
    assert os.environ["no_proxy"] == bypassed


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setitem(sys.modules, "fastavro", None)
    with pytest.raises(pytest.fail.Exception, match=r"needs fastavro: install airflow-provider-cohere-datasets\["):
        request.getfixturevalue("cohere_datasets_emulator")


def test_every_project_gets_it_without_a_word(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "as it was")
    pytester.makepyfile(PROJECT)
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=3)
    assert os.environ[VARIABLE] == "as it was"


def test_it_can_be_left_out(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(cohere_datasets_emulator): ...")
    ran = pytester.runpytest_subprocess("-W", "error", "-p", "no:cohere_datasets")
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*fixture 'cohere_datasets_emulator' not found*"])


def test_without_the_extra_one_sentence_says_what_to_install(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import sys\nfor name in ('fastapi', 'fastavro'): sys.modules[name] = None")
    pytester.makepyfile("def test_one(cohere_datasets_emulator): ...\ndef test_two(): ...")
    ran = pytester.runpytest_subprocess("-W", "error")
    ran.assert_outcomes(errors=1, passed=1)
    sentence = (
        "The fixture cohere_datasets_emulator needs fastapi, fastavro: "
        "install airflow-provider-cohere-datasets[emulator]."
    )
    assert sentence in ran.stdout.lines
    assert "Traceback" not in ran.stdout.str()


def test_loading_it_imports_nothing_but_itself() -> None:
    (entry_point,) = entry_points(group="pytest11", name="cohere_datasets")
    assert entry_point.load() is pytest_plugin
    code = """
import json, sys
import pytest
before = set(sys.modules)
__import__(sys.argv[1])
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    command = [sys.executable, "-W", "error", "-c", code, pytest_plugin.__name__]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    parts = pytest_plugin.__name__.split(".")
    assert json.loads(ran.stdout) == [".".join(parts[: n + 1]) for n in range(len(parts))]
