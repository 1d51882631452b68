"""The site is built from these pages: ``uv run --group docs sphinx-build -W --keep-going docs site``."""

from importlib import metadata
from typing import Any

project = "quantdiff"
release = metadata.version("quantdiff")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests run the notebooks; here stands what they gave
smartquotes_action = "D"  # dashes, but the quotes that were typed
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
add_module_names = False
# "recorded:DUMP: first: #1" in what a command printed is taken for a prompt, and what follows for a command.
suppress_warnings = ["misc.highlighting_failure"]
html_theme = "furo"
html_title = "quantdiff"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False


def setup(app: Any) -> None:
    """Have defaults that a factory makes shown as ``...``: else the whole signature is taken for text."""
    app.connect(
        "autodoc-process-signature", lambda *event: (event[-2] and event[-2].replace("<factory>", "..."), event[-1])
    )
