"""The configuration of Sphinx. The site is built without a network."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from importlib.metadata import version as version_of
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
# Airflow writes a configuration into its home as soon as it is imported; not into the user's.
home = tempfile.mkdtemp(prefix="cohere-datasets-docs-")
atexit.register(shutil.rmtree, home, ignore_errors=True)
os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}

from airflow_provider_cohere_datasets.lake.schema import SCHEMA_VERSION  # noqa: E402

project = "airflow-provider-cohere-datasets"
author = "The airflow-provider-cohere-datasets authors"
copyright = author
release = version = version_of(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "graphs", "tables"]
# Pages that others include.
exclude_patterns = ["_build", "benchmarks_table.md"]
myst_heading_anchors = 3
myst_enable_extensions = ["substitution"]
myst_substitutions = {"schema_version": SCHEMA_VERSION}

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "exclude-members": "template_fields,ui_color,model_config"}
# A reference to something of ours that is not there is a mistake; the others have no pages here.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!airflow_provider_cohere_datasets\.).*")]

html_theme = "furo"
html_title = f"{project} {release}"
