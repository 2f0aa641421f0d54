"""The button *Test connection*: one free call, and the truth."""

from __future__ import annotations

import socket

import pytest

from airflow_provider_cohere_datasets.emulator import Emulator
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from tests.adversary import (
    AdversarialServer,
    Answer,
    Fault,
    Reset,
    echo_authorization,
    error,
    html,
    per_minute,
    redirect,
    redirect_loop,
)
from tests.hooks.conftest import Connect


def test_a_good_key(emulator: Emulator, cohere_connection: str) -> None:
    works, message = CohereDatasetsHook(cohere_connection).test_connection()
    assert works
    assert emulator.store.organization_id in message
    assert [(request.method, request.path) for request in emulator.requests] == [("POST", "/v1/check-api-key")]


def test_a_good_key_of_an_unnamed_organisation(server: AdversarialServer) -> None:
    server.script("POST", "/v1/check-api-key", [Answer(json={"valid": True})])
    assert CohereDatasetsHook().test_connection() == (True, "The API key is valid.")


def test_a_bad_key(emulator: Emulator, connect: Connect) -> None:
    connect("mine", host=emulator.base_url, password="another-key")
    works, message = CohereDatasetsHook("mine").test_connection()
    assert not works
    assert "refuses the API key" in message
    assert "'mine'" in message
    assert "another-key" not in message
    assert len(emulator.requests) == 1


def test_a_key_that_cohere_calls_invalid(server: AdversarialServer) -> None:
    server.script("POST", "/v1/check-api-key", [Answer(json={"valid": False})])
    works, message = CohereDatasetsHook().test_connection()
    assert not works
    assert "'cohere_default'" in message
    assert "not valid" in message
    assert server.count() == 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (html(200), "not JSON"),
        (Answer(json=[]), "not an object"),
        (Answer(json={}), "no word on whether the key is valid"),
        (Answer(json={"valid": "yes"}), "no word on whether the key is valid"),
        (error(404, "no route"), "no Cohere API at http://127.0.0.1:"),
        (html(404), "no Cohere API at http://127.0.0.1:"),
        (html(405), "405"),
        (redirect("https://login.invalid/?next=x"), "redirected to another place"),
        (redirect("/login", 302), "redirected"),
        (redirect(None), "redirected"),
        (html(503), "503"),
        (error(403, "not from this address"), "not from this address"),
        (per_minute(), "Too many requests"),
        (echo_authorization(), "***"),
        (Reset(), "connection failed"),
    ],
)
def test_what_is_not_the_api_costs_one_call(server: AdversarialServer, fault: Fault, says: str) -> None:
    server.script(None, None, [fault], repeat=True)
    works, message = CohereDatasetsHook().test_connection()
    assert not works
    assert says in message
    assert "test-key" not in message
    assert "\n" not in message
    assert server.count() == 1


def test_a_redirect_loop_ends(server: AdversarialServer) -> None:
    server.script(None, None, [redirect_loop()], repeat=True)
    works, message = CohereDatasetsHook().test_connection()
    assert not works
    assert "loop" in message


def test_a_port_where_nobody_listens(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    connect(host=f"http://127.0.0.1:{port}")
    works, message = CohereDatasetsHook().test_connection()
    assert not works
    assert "refused" in message


def test_a_host_that_does_not_exist(connect: Connect) -> None:
    connect(host="https://no-such-host.invalid")
    works, message = CohereDatasetsHook().test_connection()
    assert not works
    assert "host name is not known" in message


def test_a_connection_that_is_not_usable(server: AdversarialServer, connect: Connect) -> None:
    connect(host=server.url, password="")
    works, message = CohereDatasetsHook().test_connection()
    assert not works
    assert "API key is missing" in message
    assert server.requests == []


def test_a_connection_that_does_not_exist() -> None:
    works, message = CohereDatasetsHook("no_such_connection").test_connection()
    assert not works
    assert "no_such_connection" in message
