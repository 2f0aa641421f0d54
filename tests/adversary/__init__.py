"""A local Datasets API that misbehaves on demand, to test clients against.

.. code-block:: python

    with AdversarialServer(make_datasets(230), Listing(cap=100)) as server:
        server.script("GET", "/v1/datasets", [Reset(), Through(), error(503, retry_after="0")])
        ...  # use server.url with the key "test-key"
        assert server.count("GET", "/v1/datasets") == 5
"""

from __future__ import annotations

from tests.adversary.answers import (
    Answer,
    control_message,
    empty_502,
    error,
    html,
    long_message,
    oversized,
    per_minute,
    per_month,
    redirect,
    retry_after_date,
)
from tests.adversary.chaos import Chaos
from tests.adversary.faults import (
    AnswerEarly,
    BreakUpload,
    Chunked,
    Close,
    CutBody,
    CutHead,
    DripBody,
    DripHeaders,
    EarlyHints,
    EndlessBody,
    Hang,
    Lost,
    Reset,
    StaleKeepAlive,
)
from tests.adversary.listing import Listing
from tests.adversary.model import Churn, Model
from tests.adversary.rows import make_dataset, make_datasets, timestamp
from tests.adversary.server import AdversarialServer
from tests.adversary.spoil import (
    Computed,
    Fault,
    Rewritten,
    Slow,
    Through,
    bom,
    broken_json,
    echo_authorization,
    gzipped,
    invalid_utf8,
    not_gzip,
    redirect_loop,
    truncated_gzip,
    wrong_content_type,
)
from tests.adversary.uploads import Upload
from tests.adversary.wire import Request

__all__ = [
    "AdversarialServer",
    "Answer",
    "AnswerEarly",
    "BreakUpload",
    "Chaos",
    "Chunked",
    "Churn",
    "Close",
    "Computed",
    "CutBody",
    "CutHead",
    "DripBody",
    "DripHeaders",
    "EarlyHints",
    "EndlessBody",
    "Fault",
    "Hang",
    "Listing",
    "Lost",
    "Model",
    "Request",
    "Reset",
    "Rewritten",
    "Slow",
    "StaleKeepAlive",
    "Through",
    "Upload",
    "bom",
    "broken_json",
    "control_message",
    "echo_authorization",
    "empty_502",
    "error",
    "gzipped",
    "html",
    "invalid_utf8",
    "long_message",
    "make_dataset",
    "make_datasets",
    "not_gzip",
    "oversized",
    "per_minute",
    "per_month",
    "redirect",
    "redirect_loop",
    "retry_after_date",
    "timestamp",
    "truncated_gzip",
    "wrong_content_type",
]
