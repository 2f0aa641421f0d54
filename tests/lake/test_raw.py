from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.lake.conftest import decode

SECRET = "X-Goog-Signature=0123abcd"
URL = "https://storage.example.com/o/1?"


def raws(body: str, **options: Any) -> list[str]:
    column: list[str] = decode(body, keep_raw=True, **options).rows.column("_raw").to_pylist()
    return column


def test_the_row_stays_as_it_came_but_for_the_space_between_tokens() -> None:
    row = '{"id":"a","new":[1.10,1e3,-0,NaN,123456789012345678901234567890,true,null,{}],"x":1,"x":2,"n":"\u4e2d\\n"}'
    spaced = row.replace(",", " ,\n ").replace(":", " : ")
    assert raws(f'{{"datasets":[{spaced}]}}') == [row]


def test_a_lone_surrogate_stays_an_escape() -> None:
    assert raws('{"datasets":[{"id":"a","name":"\\ud800 \u4e2d"}]}') == ['{"id":"a","name":"\\ud800 \\u4e2d"}']


@pytest.mark.parametrize("body", ["{}", '{"datasets":null}', '{"datasets":[]}'])
def test_an_empty_page_has_no_rows(body: str) -> None:
    assert raws(body) == []


@pytest.mark.parametrize("odd", ["[" * 50_000 + "]" * 50_000, "Inf"], ids=["deep", "no JSON"])
def test_what_only_the_fast_path_can_pass_over_costs_only_the_raw_text(odd: str) -> None:
    page = decode(f'{{"datasets":[{{"id":"a","name":"x","new":{odd}}}]}}', keep_raw=True)
    assert page.rows.column("name").to_pylist() == ["x"]
    assert page.rows.column("_raw").to_pylist() == [None]
    assert "_raw" in page.problems[0][0]


@pytest.mark.parametrize("depth", [1_500, 50_000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"x":', "}")], ids=["arrays", "objects"])
@pytest.mark.parametrize("last", ['{"id":"c"}', '{"id":"c","name":7}'])
def test_a_value_nested_too_deeply_costs_no_other_row_its_raw_text(
    depth: int, brackets: tuple[str, str], last: str
) -> None:
    deep = f"{brackets[0] * depth}1{brackets[1] * depth}"
    page = decode(f'{{"datasets":[{{"id":"a"}},{{"id":"b","new":{deep}}},{last}]}}', keep_raw=True)
    assert page.ids == ["a", "b", "c"]
    assert page.rows.column("_raw").to_pylist() == ['{"id":"a"}', None, last]
    assert sorted(page.problems) == ([1, 2] if "name" in last else [1])


ROW = {
    "id": "a",
    "dataset_parts": [{"url": URL + SECRET, "original_url": URL + SECRET, "samples": [f"see {URL}x=1", URL + "x=1"]}],
    "future": {"download": [URL + SECRET], "plain": "https://example.com/", "text": "what? yes"},
    "validation_error": f"could not read {URL}{SECRET}&x=1, or so?",
    "schema": '{"doc":"https://example.com/?page=1"}',
    "metrics": {
        "finetune_dataset_metrics": {
            "classify_data_metrics": {"label_metrics": [{"samples": ["s"]}, {"samples": None}]}
        }
    },
}


@pytest.mark.parametrize("url_key", ["url", "\\u0075rl"])
def test_signatures_do_not_land_by_the_raw_text(url_key: str) -> None:
    body = json.dumps({"datasets": [ROW]}).replace('"url"', f'"{url_key}"')
    stripped = json.loads(raws(body)[0])
    assert SECRET not in json.dumps(stripped)
    assert stripped["dataset_parts"][0] == {
        "url": URL[:-1],
        "original_url": URL[:-1],
        "samples": [f"see {URL}x=1", URL + "x=1"],
    }
    assert stripped["future"] == {"download": [URL[:-1]], "plain": "https://example.com/", "text": "what? yes"}
    assert stripped["validation_error"] == f"could not read {URL[:-1]} or so?"
    assert stripped["schema"] == ROW["schema"]
    dropped = json.loads(raws(body, part_urls="drop")[0])
    assert dropped["dataset_parts"][0].keys() == {"samples"}
    assert SECRET not in json.dumps(dropped)
    assert json.loads(raws(body, part_urls="keep")[0]) == ROW


def test_a_long_text_of_a_new_field_takes_as_long_as_it_is() -> None:
    long = "a://" * 250_000
    started = time.process_time()
    assert json.loads(raws(json.dumps({"datasets": [{"id": "a", "new": long}]}))[0])["new"] == long
    assert time.process_time() - started < 5


def test_samples_are_emptied_in_the_raw_text_too() -> None:
    raw = json.loads(raws(json.dumps({"datasets": [ROW]}), include_samples=False)[0])
    assert raw["dataset_parts"][0]["samples"] == []
    labels = raw["metrics"]["finetune_dataset_metrics"]["classify_data_metrics"]["label_metrics"]
    assert labels == [{"samples": []}, {"samples": None}]


@pytest.mark.parametrize("samples", ["SECRET", {"rows": ["SECRET"]}, [["SECRET"]], 5])
def test_samples_that_are_no_list_are_emptied_too(samples: Any) -> None:
    body = json.dumps({"datasets": [{"id": "a", "dataset_parts": [{"samples": samples}]}]})
    raw = json.loads(raws(body, include_samples=False)[0])
    assert raw["dataset_parts"] == [{"samples": []}]
