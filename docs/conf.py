"""The configuration of Sphinx: ``make docs``. The build needs no network."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent

sys.path.insert(0, str(DOCS.parent))  # for the directives that read benchmarks/
sys.path.insert(0, str(DOCS / 'extensions'))

from pyramid_progress.version import __version__  # noqa: E402

project = 'pyramid_progress'
version = release = __version__
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'benchmark', 'command', 'element', 'openapi']
exclude_patterns = ['build']
show_warning_types = True

html_theme = 'furo'
html_title = f'pyramid_progress {__version__}'
html_static_path = ['_static']
html_css_files = ['site.css']
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
# The file that other programs read; the page about HTTP shows it.
html_extra_path = ['openapi.json']

myst_enable_extensions = ['attrs_inline', 'attrs_block', 'colon_fence', 'deflist']
# Links to headings have the form that GitHub uses, too.
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'

nitpicky = True
# Sphinx takes the names of the built-in exceptions from the Python that runs it. 3.10 does not have this one.
nitpick_ignore = [('py:class', 'ExceptionGroup')]
# Names of other packages, whose documentation would have to be loaded to link to it.
nitpick_ignore_regex = [
    # Internal types in the signatures of public functions.
    (r'py:class', r'pyramid_progress\.(runtime\.Runtime|statuses\._Keep|web\.rendering\.Markup|work\.run\.TaskRun)'),
    (
        r'py:.*',
        r'(beaker|builtins|celery|collections|concurrent|contextvars|decimal|numbers|pyramid|time|tqdm|typing)\..*',
    ),
]
