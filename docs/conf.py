"""Sphinx: MyST pages, the reference from docstrings, the diagrams from the tables."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "Treadle"
author = "The Treadle developers"
copyright = "2026, The Treadle developers"
release = version = version_of("treadle")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinxcontrib.mermaid",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["deflist", "colon_fence"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

# The standard library's index is fetched only when asked for: a build needs no network.
intersphinx_mapping: dict[str, tuple[str, None]] = {}

html_theme = "pydata_sphinx_theme"
html_title = "Treadle"
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}
html_show_sourcelink = False
suppress_warnings = [
    "myst.xref_missing",  # pages link to files of the repository, too
    "docutils",  # docstrings are prose for a terminal first
]
