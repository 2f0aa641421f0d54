"""Amounts that signatures name; a module of its own, because DAG files are parsed without the code that uses them."""

#: Bytes that an organisation may store (Cohere's documentation).
QUOTA = 10_000_000_000
#: Rows of the list to ask for at a time.
DEFAULT_PAGE_SIZE = 100
