"""How Sphinx builds the site.

The command is ``python -m sphinx -W --keep-going -b html docs
docs/_build/html``. The site works without a network, also from a directory: no
fonts, scripts or inventories come from elsewhere, and formulas are MathML.
``.ci/check_links.py`` holds the built pages to it.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

import gallery_sources  # noqa: E402

import sknn  # noqa: E402 (the import of the extensions' directory comes first)

project = "sknn"
author = "the sknn developers"
copyright = "the sknn developers"  # noqa: A001 (Sphinx's name)
release = version = sknn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "sphinx_design",
    "benchmark_pictures",
    "gallery_sources",
    "mathml",
    "page_pictures",
    "parameters",
    "public_api",
    "repository_links",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_ext", "_examples", "_pictures", "_templates"]

# References to nothing are warnings, and warnings are errors. What belongs to
# other packages has no page here, and their inventories would have to be
# downloaded.
nitpicky = True
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(functools|sklearn|skorch|torch|numpy|pandas|polars|matplotlib|onnx|skl2onnx)(\..*)?",
    ),
]

# --- Markdown, with GitHub's names for the headings

myst_enable_extensions = [
    "amsmath",
    "colon_fence",
    "dollarmath",
    "substitution",
]
myst_substitutions = {"release": release}
myst_heading_anchors = 4
myst_links_external_new_tab = False
# A block without a language holds commands, or what they print.
highlight_language = "text"

# --- The reference

autosummary_generate = False  # public_api writes the pages
default_role = "code"  # what single backticks of a docstring mean
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # numpydoc's types are those that are meant
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# --- The gallery

sphinx_gallery_conf = {
    "examples_dirs": "_examples",  # made by gallery_sources
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "subsection_order": [
        f"_examples/{folder}" for folder in gallery_sources.SECTIONS
    ],
    "within_subsection_order": "gallery_sources.place_of",
    "abort_on_example_error": True,
    "backreferences_dir": "auto_examples/backreferences",
    "doc_module": ("sknn",),
    "download_all_examples": False,
    "image_scrapers": ("gallery_sources.scraper",),
    "thumbnail_size": (480, 336),
    "image_srcset": ["2x"],
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}

# --- How it looks

html_theme = "pydata_sphinx_theme"
html_title = f"sknn {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
# No bar on the left where there is nothing to list, and where lines of code
# need the width.
html_sidebars = dict.fromkeys(
    [
        "index",
        "getting_started",
        "coming_from",
        "differences",
        "scripts",
        "installation",
        "auto_examples/**",
    ],
    [],
)
html_theme_options = {
    "logo": {"text": "sknn"},
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_selector = "div:not(.highlight-output) > div.highlight > pre"
