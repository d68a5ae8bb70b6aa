"""The site: `make site` builds it in runs/site, without the network and without running a cell."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import relcl_lib  # noqa: E402

project, author, release = "relcl", "the authors of relcl", relcl_lib.__version__
html_title = f"relcl {release}"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",
    "pages",
]

# Outputs are those that are stored; `make test` is what executes notebooks.
nb_execution_mode = "off"
nb_render_markdown_format = "myst"
nb_merge_streams = True
# Only answers are closed (`pages.lesson`).
nb_code_prompt_show, nb_code_prompt_hide = "Show the answer", "Hide the answer"
myst_enable_extensions = ["dollarmath", "amsmath", "html_image"]
myst_heading_anchors = 4
# Links lead to files of the repository; `pages` turns them to the pages made of these.
myst_all_links_external = True

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
add_module_names = False

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["wide.js"]
html_copy_source = html_show_sourcelink = html_show_sphinx = html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
