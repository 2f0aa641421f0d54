"""What Cohere allows, and defaults; apart, because DAG files are parsed without the code that uses them."""

from __future__ import annotations

from datetime import timedelta

#: Bytes that an organisation may store (Cohere's documentation).
QUOTA = 10_000_000_000
#: How long after its creation Cohere deletes a dataset (Cohere's documentation).
RETENTION = timedelta(days=30)
#: Rows of the list to ask for at a time.
DEFAULT_PAGE_SIZE = 100
