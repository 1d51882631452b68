"""The site is built from these pages: ``uv run --group docs sphinx-build -W --keep-going docs site``."""

from importlib import metadata

project = "quantdiff"
release = metadata.version("quantdiff")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
smartquotes = False  # two hyphens begin an option
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
add_module_names = False
html_theme = "furo"
html_title = "quantdiff"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
