"""The site of documentation: README, the pages of docs/ and the public names.

    pip install -c constraints.txt -e '.[docs]'
    sphinx-build --fail-on-warning --conf-dir docs . site

It opens from the disk and asks the network for nothing. Names and docstrings are read from the
sources, so that neither torch nor Ray has to be installed.
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from api_pages import api_text  # noqa: E402

project = "Pixel-wise adversarial segmentation, swept"
project_copyright = "2026, the pixelwise-adversarial-sweeps authors"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md"]
exclude_patterns = [".*", "build", "figures", "mlruns", "runs", "site"]
myst_enable_extensions = ["colon_fence", "fieldlist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = project
html_extra_path = ["index.html"]
html_show_sphinx = False
python_maximum_signature_line_length = 80
highlight_language = "default"

# The order of the pages beside the text; GitHub, which shows the README, has no use for it.
PARTS = {
    "Use": "docs/install docs/real-data docs/own-data docs/own-network docs/search docs/cluster "
    "docs/mlflow docs/figures docs/command-line docs/python",
    "Understand": "docs/statistics docs/reproducing docs/design docs/demo docs/benchmarks",
    "Take part": "CONTRIBUTING SECURITY CHANGELOG",
}


def add_what_only_the_site_has(_app: Sphinx, name: str, source: list[str]) -> None:
    """Give the first page the contents of the site, and the page on Python the public names."""
    if name == root_doc:
        for caption, pages in PARTS.items():
            listed = "\n".join(f"/{page}" for page in pages.split())
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"
    if name == "docs/python":
        source[0] += "\n" + api_text(HERE.parent)


def setup(app: Sphinx) -> None:
    """Connect the function above to the reading of the pages."""
    app.connect("source-read", add_what_only_the_site_has)
