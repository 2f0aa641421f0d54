"""Uploads: what is refused at once, what validation finds, what is kept, and when it is shown."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event, Semaphore
from typing import Any

import fastavro
import httpx
import pytest

from airflow_provider_cohere_datasets.emulator.rows import CELL_LIMIT
from airflow_provider_cohere_datasets.emulator.validation import validate
from tests.emulator.conftest import Upload, VirtualClock, jsonl
from tests.emulator.test_http import assert_error

Settled = Callable[..., dict[str, Any]]
CHAT = {"messages": [{"role": "User", "content": "hi"}, {"role": "Chatbot", "content": "hello there"}]}
RERANK = {"query": "q", "relevant_passages": ["a", "b"], "hard_negatives": ["c"]}
GOOD_ROWS: dict[str, dict[str, Any]] = {
    "embed-input": {"text": "t"},
    "chat-finetune-input": CHAT,
    "reranker-finetune-input": RERANK,
    "single-label-classification-finetune-input": {"text": "t", "label": "l"},
    "multi-label-classification-finetune-input": {"text": "t", "label": ["l", "m"]},
    "batch-chat-input": {"custom_id": "1", "body": {}},
    "batch-openai-chat-input": {"custom_id": "1", "body": {}},
    "batch-chat-v2-input": {"custom_id": "1", "body": {}},
    "batch-embed-v2-input": {"custom_id": "1", "body": {}},
}


def records(dataset: dict[str, Any], index: int = 0) -> list[Any]:
    response = httpx.get(dataset["dataset_parts"][index]["url"], trust_env=False).raise_for_status()
    return list(fastavro.reader(io.BytesIO(response.content)))


def test_many_uploads_leave_room_for_other_requests(
    http: httpx.Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = Semaphore(0), Event()

    def wait_and_validate(*args: Any) -> Any:
        begun.release()
        go_on.wait(60)
        return validate(*args)

    monkeypatch.setattr("airflow_provider_cohere_datasets.emulator.app.validate", wait_and_validate)
    # As many as the server has threads, and some more.
    with ThreadPoolExecutor(45) as pool:
        uploads = [pool.submit(upload) for _ in range(45)]
        try:
            for _ in range(8):
                assert begun.acquire(timeout=60)
            assert http.get("/v1/datasets/usage", timeout=30).status_code == 200
            assert not begun.acquire(blocking=False)
        finally:
            go_on.set()
        assert {done.result().status_code for done in uploads} == {200}


class TestRefusedAtOnce:
    @pytest.mark.parametrize("field", ["data", "eval_data"])
    def test_a_part_without_a_file_name(self, http: httpx.Client, field: str) -> None:
        files: Any = {"data": ("rows.jsonl", b'{"text": "a"}'), field: (None, b'{"text": "a"}')}
        response = http.post("/v1/datasets", params={"name": "n", "type": "embed-input"}, files=files)
        assert_error(response, 400, f"{field} must be a file: its part has no file name")

    @pytest.mark.parametrize(
        ("params", "text"),
        [
            ({"name": ""}, "name"),
            ({"name": "  "}, "name"),
            ({"name": "n" * 50}, "50"),
            ({"type": ""}, "type"),
            ({"type": "no-such-type"}, "unknown type"),
            ({"type": "embed-result"}, "result"),
            ({"csv_delimiter": ""}, "csv_delimiter"),
            ({"csv_delimiter": ";;"}, "csv_delimiter"),
            ({"csv_delimiter": "\n"}, "csv_delimiter"),
        ],
    )
    def test_bad_parameters(self, upload: Upload, http: httpx.Client, params: dict[str, str], text: str) -> None:
        assert_error(upload(**params), 400, text)
        assert http.get("/v1/datasets").json() == {"datasets": []}

    @pytest.mark.parametrize("missing", ["name", "type"])
    def test_a_missing_parameter(self, http: httpx.Client, missing: str) -> None:
        params = {"name": "n", "type": "embed-input"}
        del params[missing]
        response = http.post("/v1/datasets", params=params, files={"data": ("a.jsonl", b"{}")})
        assert_error(response, 400, missing)

    def test_bad_files(self, upload: Upload, http: httpx.Client) -> None:
        assert_error(upload(""), 400, "data")
        assert_error(upload(eval_data=""), 400, "eval_data")
        assert_error(upload("x", "rows.parquet"), 400, ".parquet")
        assert_error(http.post("/v1/datasets", params={"name": "n", "type": "embed-input"}), 400, "data")


class TestIds:
    @pytest.mark.parametrize(
        ("name", "pattern"),
        [
            ("My Set №1!", r"my-set-1-[a-z0-9]{6}"),
            ("n" * 49, r"n{49}-[a-z0-9]{6}"),
            ("日本", r"dataset-[a-z0-9]{6}"),
        ],
    )
    def test_slug_and_suffix(self, settled: Settled, name: str, pattern: str) -> None:
        dataset = settled(name=name)
        assert re.fullmatch(pattern, dataset["id"])
        assert dataset["name"] == name

    def test_names_may_repeat(self, upload: Upload) -> None:
        assert upload().json()["id"] != upload().json()["id"]


class TestLifecycle:
    def test_status_by_age_and_the_contents_before_the_verdict(
        self, upload: Upload, http: httpx.Client, clock: VirtualClock
    ) -> None:
        dataset_id = upload('{"text": "a"}\nno\n', skip_malformed_input=True).json()["id"]
        seen = []
        for _ in range(5):
            seen.append(http.get(f"/v1/datasets/{dataset_id}").json()["dataset"])
            clock.advance(0.5)
        queued, _, processing, _, validated = seen
        assert [dataset["validation_status"] for dataset in seen] == [
            "queued",
            "queued",
            "processing",
            "processing",
            "validated",
        ]
        bare = {"id", "name", "created_at", "updated_at", "dataset_type", "validation_status"}
        assert set(queued) == bare
        assert set(processing) == bare | {"schema", "required_fields", "dataset_parts"}
        assert processing["dataset_parts"][0]["num_rows"] == 1
        assert set(validated) == set(processing) | {"validation_warnings"}
        assert {dataset["updated_at"] for dataset in seen} == {"2026-09-21T14:13:20.250000Z"}
        assert queued["created_at"] == queued["updated_at"]

    def test_a_failure_shows_only_at_the_end(self, upload: Upload, http: httpx.Client, clock: VirtualClock) -> None:
        dataset_id = upload("{}").json()["id"]
        clock.advance(1.9)
        processing = http.get(f"/v1/datasets/{dataset_id}").json()["dataset"]
        assert (processing["validation_status"], processing.get("validation_error")) == ("processing", None)
        clock.advance(0.1)
        failed = http.get(f"/v1/datasets/{dataset_id}").json()["dataset"]
        assert failed["validation_status"] == "failed"
        assert failed["validation_error"] == 'line 1: required field "text" is missing'
        assert "dataset_parts" not in failed
        assert http.get("/v1/datasets/usage").json() == {}


class TestGoodRows:
    @pytest.mark.parametrize("dataset_type", GOOD_ROWS)
    def test_every_type(self, settled: Settled, dataset_type: str) -> None:
        row = GOOD_ROWS[dataset_type]
        dataset = settled(jsonl({**row, "dropped": 1}, row), type=dataset_type)
        assert dataset["validation_status"] == "validated"
        assert dataset["dataset_type"] == dataset_type
        kept = {key: json.dumps(value) if key == "body" else value for key, value in row.items()}
        assert records(dataset) == [kept, kept]
        assert json.loads(dataset["schema"])["type"] == "record"
        part = dataset["dataset_parts"][0]
        assert [json.loads(sample) for sample in part["samples"]] == [kept, kept]
        assert part["num_rows"] == 2
        assert part["name"] == "rows.jsonl"
        assert "original_url" not in part
        download = httpx.get(part["url"], trust_env=False)
        assert part["size_bytes"] == len(download.content)

    def test_lists_that_may_be_empty(self, settled: Settled) -> None:
        rerank, labels = {**RERANK, "hard_negatives": []}, {"text": "t", "label": []}
        assert records(settled(jsonl(rerank), type="reranker-finetune-input")) == [rerank]
        assert records(settled(jsonl(labels), type="multi-label-classification-finetune-input")) == [labels]

    def test_a_cell_may_be_a_whole_document(self, settled: Settled) -> None:
        text = "word " * 100_000
        assert records(settled(f'text\n"{text}"\n', file_name="a.csv")) == [{"text": text}]

    def test_blank_lines_before_a_header(self, settled: Settled) -> None:
        assert records(settled("\n\ntext\nx\n", file_name="a.csv")) == [{"text": "x"}]

    def test_what_csv_cells_may_have_elsewhere_does_not_change(self, settled: Settled) -> None:
        usual = csv.field_size_limit()
        settled("text\na\n", file_name="a.csv")
        settled("no\na\n", file_name="a.csv")
        assert csv.field_size_limit() == usual

    def test_of_two_uploads_at_once_the_first_to_end_takes_nothing_from_the_other(self) -> None:
        usual = csv.field_size_limit()
        with ExitStack() as first:
            first.enter_context(CELL_LIMIT.lifted())
            lifted = csv.field_size_limit()
            with CELL_LIMIT.lifted():
                first.close()
                assert csv.field_size_limit() == lifted > usual
        assert csv.field_size_limit() == usual

    def test_optional_hard_negatives(self, settled: Settled) -> None:
        row = {"query": "q", "relevant_passages": ["a"]}
        assert records(settled(jsonl(row), type="reranker-finetune-input")) == [{**row, "hard_negatives": None}]

    def test_kept_and_optional_fields(self, settled: Settled) -> None:
        values = [1, 2.5, True, None, "s", [1], {"a": None}, 2**70]
        rows = [{"text": "t", "keep": value, "text2": "dropped"} for value in values]
        rows[0]["maybe"] = "here"
        dataset = settled(jsonl(*rows), keep_fields=["keep", "text"], optional_fields=["maybe", "keep"])
        assert dataset["preserve_fields"] == ["keep", "text", "maybe"]
        stored = [1, 2.5, True, None, "s", "[1]", '{"a": null}', str(2**70)]
        assert [row["keep"] for row in records(dataset)] == stored
        assert [row["maybe"] for row in records(dataset)] == ["here", *[None] * 7]
        assert set(records(dataset)[0]) == {"text", "keep", "maybe"}

    def test_only_a_few_samples(self, settled: Settled) -> None:
        dataset = settled(jsonl(*({"text": str(number)} for number in range(10))))
        assert len(dataset["dataset_parts"][0]["samples"]) == 3

    def test_eval_data_is_the_second_part(self, settled: Settled) -> None:
        dataset = settled(eval_data='{"text": "eval"}')
        train, evaluation = dataset["dataset_parts"]
        assert "index" not in train
        assert evaluation["index"] == 1
        assert evaluation["name"] == "eval-rows.jsonl"
        assert records(dataset, 1) == [{"text": "eval"}]

    def test_more_than_fits_in_memory_spooling(self, settled: Settled) -> None:
        text = "x" * 100
        dataset = settled(jsonl(*[{"text": text}] * 20_000), keep_original_file=True)
        assert dataset["dataset_parts"][0]["num_rows"] == 20_000
        original = httpx.get(dataset["dataset_parts"][0]["original_url"], trust_env=False).text
        assert original == jsonl({"text": text}) * 20_000

    @pytest.mark.parametrize("offset", range(4))
    def test_a_separator_between_two_chunks(self, settled: Settled, offset: int) -> None:
        long, other = "x" * ((1 << 20) - offset), "y" * (3 << 20)
        dataset = settled(f"{long}==={other}===z", "rows.txt", text_separator="===")
        assert [row["text"] for row in records(dataset)] == [long, other, "z"]

    @pytest.mark.parametrize(
        ("content", "file_name", "params", "texts"),
        [
            (b'\xef\xbb\xbf{"text": "bom"}\n\n  \n{"text": "b"}', "rows.JSONL", {}, ["bom", "b"]),
            ('{"text": "\\u00e9\\ud83d\\ude00"}', "no-suffix", {}, ["é😀"]),
            (b'\xef\xbb\xbftext,x\r\n"a\nb",1\r\n\r\nc,2\r\n', "rows.csv", {}, ["a\nb", "c"]),
            ("x\ttext\n1\ta\n", "rows.csv", {"csv_delimiter": "\t"}, ["a"]),
            (b"\xef\xbb\xbfone\r\ntwo\n\n", "rows.txt", {}, ["one", "two"]),
            ("one--two\nlines--", "rows.txt", {"text_separator": "--"}, ["one", "two\nlines"]),
            ("é" * 1_000_001 + "\nend", "rows.txt", {}, ["é" * 1_000_001, "end"]),
        ],
    )
    def test_formats(
        self, settled: Settled, content: str | bytes, file_name: str, params: dict[str, str], texts: list[str]
    ) -> None:
        assert [row["text"] for row in records(settled(content, file_name, **params))] == texts


class TestBadRows:
    @pytest.mark.parametrize(
        ("dataset_type", "row", "text"),
        [
            ("embed-input", {"text": 1}, "must be a string"),
            ("embed-input", {"text": None}, "must be a string"),
            ("embed-input", {"text": " "}, "is empty"),
            ("embed-input", [], "not a JSON object"),
            ("chat-finetune-input", {}, '"messages" is missing'),
            ("chat-finetune-input", {"messages": "hi"}, "list of messages"),
            ("chat-finetune-input", {"messages": ["hi"]}, "list of messages"),
            ("chat-finetune-input", {"messages": [{"role": "User"}]}, '"content" in message 1'),
            ("chat-finetune-input", {"messages": [{"role": "", "content": "c"}]}, '"role" in message 1'),
            ("chat-finetune-input", {"messages": [{"role": "Foo", "content": "c"}]}, "or Chatbot in message 1"),
            ("chat-finetune-input", {"messages": [CHAT["messages"][0]]}, "chatbot"),
            ("chat-finetune-input", {"messages": [CHAT["messages"][1]]}, "user"),
            ("reranker-finetune-input", {"query": "q"}, '"relevant_passages" is missing'),
            ("reranker-finetune-input", {**RERANK, "relevant_passages": []}, "is empty"),
            ("reranker-finetune-input", {**RERANK, "hard_negatives": "c"}, "list of strings"),
            (
                "single-label-classification-finetune-input",
                {"text": "t", "label": 1},
                '"label" must be a string',
            ),
            ("multi-label-classification-finetune-input", {"text": "t", "label": "l"}, "list of strings"),
            ("multi-label-classification-finetune-input", {"text": "t", "label": [1]}, "list of strings"),
            ("batch-chat-input", {"body": {}}, '"custom_id" is missing'),
            ("batch-embed-v2-input", {"custom_id": "1", "body": "{}"}, "must be an object"),
        ],
    )
    def test_the_error_names_line_and_field(self, settled: Settled, dataset_type: str, row: Any, text: str) -> None:
        dataset = settled(jsonl(GOOD_ROWS[dataset_type], GOOD_ROWS[dataset_type], row), type=dataset_type)
        assert dataset["validation_status"] == "failed"
        assert dataset["validation_error"].startswith("line 3: ")
        assert text in dataset["validation_error"]

    @pytest.mark.parametrize(
        ("content", "file_name", "error"),
        [
            ('{"text": "a"}\n{"text": ', "a.jsonl", "line 2: malformed JSON"),
            (b'{"text": "\xff"}', "a.jsonl", "line 1: not valid UTF-8"),
            ('{"text": "\\ud800"}', "a.jsonl", "line 1: not valid UTF-8"),
            ('{"text": "a", "n": NaN}', "a.jsonl", "line 1: malformed JSON: NaN"),
            ('{"text": "a", "n": 1e999}', "a.jsonl", "line 1: malformed JSON: 1e999"),
            ('{"text": "a", "n": 1.5} x', "a.jsonl", "line 1: malformed JSON: Extra data"),
            ('\n{"text": ' + "[" * 100_000, "a.jsonl", "line 2: malformed JSON"),
            ("\n \n", "a.jsonl", "line 1: the file has no valid rows"),
            ("text\n", "a.csv", "line 1: the file has no valid rows"),
            ("\n\n", "a.csv", "line 1: the file has no valid rows"),
            ("\n\n", "a.txt", "line 1: the file has no valid rows"),
            ("a,b\n1,2\n", "a.csv", 'line 2: required field "text" is missing'),
            ('text,b\n"x\ny",2\n1\n', "a.csv", "line 4: 1 cells where the header has 2"),
            ('text\na\n"b', "a.csv", "line 3: malformed CSV"),
            ('"text', "a.csv", "line 1: malformed CSV"),
            ("text,text\n", "a.csv", "line 1: two columns"),
            (b"text\na\n\xff\n", "a.csv", "line 3: not valid UTF-8"),
            (b"te\xffxt\na\n", "a.csv", "line 1: not valid UTF-8"),
            (b"a\nb\n\nc\xff\n", "a.txt", "line 4: not valid UTF-8"),
        ],
    )
    def test_malformed_files(self, settled: Settled, content: str | bytes, file_name: str, error: str) -> None:
        dataset = settled(content, file_name)
        assert dataset["validation_status"] == "failed"
        assert dataset["validation_error"].startswith(error)

    def test_a_kept_field_must_be_there(self, settled: Settled) -> None:
        content = jsonl({"text": "a", "keep": 1}, {"text": "a"})
        assert settled(content, keep_fields="keep")["validation_error"].startswith("line 2: ")
        assert settled(content, optional_fields="keep")["validation_status"] == "validated"

    def test_a_kept_field_must_be_there_though_its_type_does_without(self, settled: Settled) -> None:
        row = {"query": "q", "relevant_passages": ["a"]}
        dataset = settled(jsonl(row), type="reranker-finetune-input", keep_fields="hard_negatives")
        assert dataset["validation_error"] == 'line 1: required field "hard_negatives" is missing'

    def test_nested_too_deeply_to_be_kept(self, settled: Settled) -> None:
        deep = "[" * 100_000 + "]" * 100_000
        dataset = settled(f'{{"text": "a", "keep": {deep}}}', keep_fields="keep")
        assert dataset["validation_error"].startswith("line 1: ")

    def test_eval_data_says_so(self, settled: Settled) -> None:
        assert settled(eval_data="\nno")["validation_error"].startswith("eval_data line 2: malformed JSON")


class TestSkippedRows:
    def test_bad_rows_become_warnings(self, settled: Settled) -> None:
        content = jsonl({"text": "a"}, {}, {"text": "b"}) + "no\n"
        dataset = settled(content, skip_malformed_input=True, eval_data='{"text": 1}\n{"text": "e"}')
        assert dataset["validation_status"] == "validated"
        assert records(dataset) == [{"text": "a"}, {"text": "b"}]
        warnings = [warning.split(":")[0] for warning in dataset["validation_warnings"]]
        assert warnings == ["line 2", "line 4", "eval_data line 1"]

    def test_the_rows_after_a_bad_one_are_read(self, settled: Settled) -> None:
        dataset = settled(b'text\na\n\xff\n"b" c\nd\n', "a.csv", skip_malformed_input=True)
        assert records(dataset) == [{"text": "a"}, {"text": "d"}]
        assert [warning[:6] for warning in dataset["validation_warnings"]] == ["line 3", "line 4"]

    def test_a_flood_of_warnings_is_summed_up(self, settled: Settled) -> None:
        dataset = settled("{}\n" * 150 + '{"text": "a"}', skip_malformed_input=True)
        assert len(dataset["validation_warnings"]) == 101
        assert dataset["validation_warnings"][-1] == "50 more rows were dropped"

    def test_nothing_left_is_a_failure(self, settled: Settled) -> None:
        dataset = settled("{}\n{}\n", skip_malformed_input=True)
        assert dataset["validation_status"] == "failed"
        assert "no valid rows; line 1" in dataset["validation_error"]


class TestMetrics:
    def metrics(self, dataset: dict[str, Any]) -> Any:
        return dataset["metrics"]["finetune_dataset_metrics"]

    def test_chat(self, settled: Settled) -> None:
        system = {"role": "System", "content": "Be kind."}
        late = {"role": "System", "content": "Never mind."}
        preamble = {"messages": [system, *CHAT["messages"], late]}
        dataset = settled(jsonl(CHAT, preamble), type="chat-finetune-input", eval_data=jsonl(CHAT))
        assert self.metrics(dataset) == {
            "trainable_token_count": 3 + 9,
            "total_examples": 3,
            "train_examples": 2,
            "train_size_bytes": len(json.dumps(CHAT)) + len(json.dumps(preamble)),
            "eval_examples": 1,
            "eval_size_bytes": len(json.dumps(CHAT)),
            "chat_data_metrics": {"num_train_turns": 6, "num_eval_turns": 2, "preamble": "Be kind."},
        }

    def test_reranker_leaves_zeros_out(self, settled: Settled) -> None:
        metrics = self.metrics(settled(jsonl(RERANK, RERANK), type="reranker-finetune-input"))
        assert metrics["trainable_token_count"] == 8
        assert "eval_examples" not in metrics
        assert metrics["reranker_data_metrics"] == {
            "num_train_queries": 2,
            "num_train_relevant_passages": 4,
            "num_train_hard_negatives": 2,
        }

    def test_labels(self, settled: Settled) -> None:
        rows = [{"text": f"t{number}", "label": "a"} for number in range(4)]
        single = settled(jsonl(*rows), type="single-label-classification-finetune-input")
        assert self.metrics(single)["classify_data_metrics"]["label_metrics"] == [
            {"total_examples": 4, "label": "a", "samples": ["t0", "t1", "t2"]}
        ]
        multi = settled(
            jsonl({"text": "t", "label": ["a", "b"]}),
            type="multi-label-classification-finetune-input",
            eval_data=jsonl({"text": "e", "label": ["b"]}),
        )
        assert self.metrics(multi)["classify_data_metrics"]["label_metrics"] == [
            {"total_examples": 1, "label": "a", "samples": ["t"]},
            {"total_examples": 2, "label": "b", "samples": ["t", "e"]},
        ]

    def test_none_for_other_types(self, settled: Settled) -> None:
        assert "metrics" not in settled()
