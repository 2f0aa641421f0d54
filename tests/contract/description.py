"""The public description of the API as a yardstick: an excerpt of Cohere's OpenAPI description is beside this file."""

from __future__ import annotations

import copy
import email
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

Tree = dict[str, Any]

METHODS = ("get", "post", "delete")
_FORMATS = FormatChecker(formats=())


@_FORMATS.checks("date-time", raises=ValueError)
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@_FORMATS.checks("int64")
def _is_int64(value: object) -> bool:
    return not isinstance(value, int | float) or (value == int(value) and -(2**63) <= value < 2**63)


@_FORMATS.checks("int32")
def _is_int32(value: object) -> bool:
    return not isinstance(value, int | float) or (value == int(value) and -(2**31) <= value < 2**31)


@cache
def description() -> Tree:
    """Give the description as it is."""
    loaded: Tree = yaml.safe_load(Path(__file__).with_name("cohere-datasets-openapi.yaml").read_text())
    return loaded


@cache
def _registry() -> Registry[Any]:
    """Make the description resolvable: as it is, and closed, so that no property may come that it does not know."""
    closed = copy.deepcopy(description())
    _close(closed)
    documents = {"urn:open": description(), "urn:closed": closed}
    return (
        Registry()
        .with_resources(
            (name, Resource.from_contents(document, default_specification=DRAFT202012))
            for name, document in documents.items()
        )
        .crawl()
    )


def _close(node: Any) -> None:
    if isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            node["additionalProperties"] = False
        for value in node.values():
            _close(value)
    elif isinstance(node, list):
        for value in node:
            _close(value)


def problems(value: Any, *pointer: str, closed: bool = False) -> list[str]:
    """Say what is wrong with a value.

    :param value: a JSON value
    :param pointer: the steps to its schema in the description
    :param closed: whether properties that the description does not know are wrong
    """
    steps = "/".join(step.replace("~", "~0").replace("/", "~1") for step in pointer)
    schema = {"$ref": f"{'urn:closed' if closed else 'urn:open'}#/{steps}"}
    validator = Draft202012Validator(schema, registry=_registry(), format_checker=_FORMATS)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def resolved(node: Tree) -> tuple[Tree, tuple[str, ...]]:
    """Follow a reference; give what it leads to, and the steps to there, none if it was no reference."""
    steps = tuple(str(node.get("$ref", "")).removeprefix("#/").split("/")) if "$ref" in node else ()
    for step in steps:
        node = (description() if step == steps[0] else node)[step]
    return node, steps


@dataclass(frozen=True)
class Operation:
    """One operation of the API."""

    path: str
    method: str

    @property
    def node(self) -> Tree:
        """What the description says of it."""
        node: Tree = description()["paths"][self.path][self.method]
        return node

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.node["operationId"])

    def parameters(self, place: str) -> dict[str, tuple[Tree, tuple[str, ...]]]:
        """Give the parameters in the query, the path or the headers, with the steps to each."""
        found = {}
        for number, node in enumerate(self.node["parameters"]):
            parameter, steps = resolved(node)
            if parameter["in"] == place:
                here = ("paths", self.path, self.method, "parameters", str(number))
                found[parameter["name"]] = (parameter, steps or here)
        return found

    def answer_problems(self, status: int, body: Any) -> list[str]:
        """Say what is wrong with an answer, where nothing may come that is not described."""
        here = ("paths", self.path, self.method, "responses", str(status))
        node = self.node["responses"].get(str(status))
        if node is None:
            return [f"{self.name} has no answer {status}"]
        _, steps = resolved(node)
        return problems(body, *(steps or here), "content", "application/json", "schema", closed=True)

    def query_problems(self, query: list[tuple[str, str]]) -> list[str]:
        """Say what is wrong with the query of a request."""
        known = self.parameters("query")
        sent: dict[str, list[str]] = {}
        for name, value in query:
            sent.setdefault(name, []).append(value)
        found = [f"{name} is no parameter" for name in sent.keys() - known.keys()]
        found += [
            f"{name} is missing" for name, (node, _) in known.items() if node.get("required") and name not in sent
        ]
        for name in sent.keys() & known.keys():
            node, steps = known[name]
            try:
                value = _read(sent[name], resolved(node["schema"])[0]["type"])
            except ValueError as error:
                found.append(f"{name} is {sent[name]}: {error}")
            else:
                found += [f"{name}{problem}" for problem in problems(value, *steps, "schema")]
        return found

    def body_problems(self, content_type: str, body: bytes) -> list[str]:
        """Say what is wrong with the body of a request."""
        if "requestBody" not in self.node:
            return ["it has a body"] if body else []
        ((described, content),) = self.node["requestBody"]["content"].items()
        message = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
        if message.get_content_type() != described:
            return [f"its body is {content_type}, not {described}"]
        parts = [part.get_param("name", header="content-disposition") for part in message.get_payload()]  # type: ignore[union-attr]
        fields = content["schema"]["properties"]
        found = [f"{name} is no field" for name in parts if name not in fields]
        found += [f"{name} is missing" for name in content["schema"]["required"] if name not in parts]
        found += [f"{name} comes twice" for name in set(parts) if parts.count(name) > 1]
        return found + [
            f"{part['content-disposition']} is no file"
            for part in message.get_payload()
            if not part.get_filename()  # type: ignore[union-attr]
        ]


def _read(texts: list[str], kind: str) -> Any:
    """Read a query parameter as its type; arrays come as a parameter that is repeated."""
    if kind == "array":
        return texts
    if len(texts) > 1:
        raise ValueError("it comes more than once")
    return texts[0] if kind == "string" else json.loads(texts[0])


def operations() -> Iterator[Operation]:
    """Give all operations."""
    for path, node in description()["paths"].items():
        yield from (Operation(path, method) for method in METHODS if method in node)


def operation_of(method: str, target: str) -> tuple[Operation, dict[str, str]] | None:
    """Find the operation of a request; give it with the values in its path.

    :param method: of the request
    :param target: as it was sent, with the query
    """
    segments = target.partition("?")[0].split("/")
    matches = []
    for operation in operations():
        template = operation.path.split("/")
        named = {name[1:-1]: unquote(value) for name, value in zip(template, segments, strict=False) if name[:1] == "{"}
        same = all(name[:1] == "{" or name == value for name, value in zip(template, segments, strict=False))
        if operation.method == method.lower() and len(template) == len(segments) and same:
            matches.append((operation, named))
    return min(matches, key=lambda match: len(match[1]), default=None)


def request_problems(method: str, target: str, headers: Mapping[str, str], body: bytes) -> list[str]:
    """Say what is wrong with a request.

    :param method: as sent
    :param target: as sent, with the query
    :param headers: names in lower case
    :param body: as sent
    """
    match = operation_of(method, target)
    if match is None:
        return [f"there is no {method} {target}"]
    operation, named = match
    found = operation.query_problems(parse_qsl(target.partition("?")[2], keep_blank_values=True))
    for name, (_, steps) in operation.parameters("path").items():
        found += [f"{name}{problem}" for problem in problems(named[name], *steps, "schema")]
    for name in operation.parameters("header"):
        found += [] if headers.get(name.lower()) else [f"the header {name} is missing"]
    if not headers.get("authorization", "").startswith("Bearer "):
        found.append("it has no bearer token")
    return found + operation.body_problems(headers.get("content-type", ""), body)


def documented(node: Tree) -> Any:
    """Give the properties of a schema by name, each with its own, down to ``text``, ``count``, ``time`` and lists."""
    schema, _ = resolved(node)
    match schema["type"]:
        case "object":
            return {name: documented(value) for name, value in schema["properties"].items()}
        case "array":
            return [documented(schema["items"])]
        case "string":
            return "time" if schema.get("format") == "date-time" else "text"
        case "integer" | "number":
            return "count"
    raise ValueError(f"nothing is known of the type {schema['type']}")


def missing(wanted: Any, there: Any, where: str = "") -> list[str]:
    """Name what one tree has and another one lacks, or has otherwise."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        nested = [missing(value, there.get(name), f"{where}.{name}") for name, value in wanted.items()]
        return [name for names in nested for name in names]
    if isinstance(wanted, list) and isinstance(there, list):
        return missing(wanted[0], there[0], f"{where}[]")
    return [] if wanted == there else [f"{where}: {wanted}, not {there}"]
