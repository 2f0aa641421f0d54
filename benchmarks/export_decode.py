"""What it costs to decode one page of the list."""

from __future__ import annotations

import io
import statistics
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks.export_server import DatasetList

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS, TIMES = 1000, 15
ORJSON, POLARS = "orjson.loads alone, to dictionaries", "polars.read_json alone, to a frame with times as texts"


@dataclass(frozen=True)
class Decoding:
    """One way to decode a page.

    :param ms: for one page, the median; ``None`` if it is not installed.
    """

    way: str
    ms: float | None

    @property
    def cells(self) -> list[str]:
        if self.ms is None:
            return [self.way, "not installed", ""]
        return [self.way, f"{self.ms:.2f}", f"{1000 * ROWS / self.ms:,.0f}"]


def measure() -> list[Decoding]:
    """Decode one page in all ways, in turns."""
    import pyarrow as pa

    from airflow_provider_cohere_datasets.core import calls
    from airflow_provider_cohere_datasets.core.dataset_page import read_page
    from airflow_provider_cohere_datasets.core.filters import ListFilters
    from airflow_provider_cohere_datasets.lake.decode import Decoder
    from airflow_provider_cohere_datasets.lake.schema import DATASET, TIME

    with io.BytesIO() as file:
        start, size = DatasetList(file, ROWS).span(0, ROWS)
        body = b'{"datasets":[%b]}' % file.getvalue()[start : start + size]
    call = calls.list_datasets(ListFilters.of(), limit=ROWS, offset=0)
    reply = calls.Reply(call.target, 200, body=body)
    decoder = Decoder()
    ways: dict[str, Callable[[], Any] | None] = {
        "our decoder, to an Arrow batch": lambda: decoder(call, reply),
        "json.loads and pydantic models": lambda: read_page(call, reply),
        ORJSON: None,
        POLARS: None,
    }
    if find_spec("orjson"):
        import orjson

        ways[ORJSON] = lambda: orjson.loads(body)
    if find_spec("polars"):
        import polars

        # It reads no times that end with Z.
        row = pa.struct([field.with_type(pa.string()) if field.type == TIME else field for field in DATASET])
        schema = polars.DataFrame(pa.schema({"datasets": pa.list_(row)}).empty_table()).schema
        ways[POLARS] = lambda: polars.read_json(body, schema=schema)
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(TIMES):
        for way, decode in ways.items():
            if decode is not None:
                started = time.perf_counter()
                decode()
                times[way].append(1000 * (time.perf_counter() - started))
    return [Decoding(way, statistics.median(spent) if spent else None) for way, spent in times.items()]
