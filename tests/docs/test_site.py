"""The documentation's own code works: its links, reference pages, formulas and check of links."""

import inspect
import re
import runpy
import sys
import types
from pathlib import Path

import pytest

import sknn

ROOT = Path(__file__).resolve().parents[2]
EXTENSIONS = ROOT / "docs" / "_ext"
sys.path.insert(0, str(EXTENSIONS))  # where Sphinx finds them, and they each other
links = types.SimpleNamespace(**runpy.run_path(str(EXTENSIONS / "repository_links.py")))
public_api = types.SimpleNamespace(**runpy.run_path(str(EXTENSIONS / "public_api.py")))
gallery = types.SimpleNamespace(**runpy.run_path(str(EXTENSIONS / "gallery_sources.py")))
parameters = types.SimpleNamespace(**runpy.run_path(str(EXTENSIONS / "parameters.py")))
pictures = types.SimpleNamespace(**runpy.run_path(str(EXTENSIONS / "benchmark_pictures.py")))
mathml = types.SimpleNamespace(**runpy.run_path(str(EXTENSIONS / "mathml.py")))
check_links = types.SimpleNamespace(**runpy.run_path(str(ROOT / ".ci" / "check_links.py")))

# These are made before the first test, as a watch on global state wraps the methods while tests
# run.
REFERENCE = public_api.pages(sknn)
PUBLIC = public_api.public_objects(sknn)
OWN = public_api.members(sknn.FeedForwardClassifier)
OTHERS = public_api.inherited(sknn.FeedForwardClassifier)


@pytest.mark.parametrize(
    ("source", "page", "link", "expected"),
    [
        ("docs/resume.md", "resume.md", "processes.md#errors", "processes.md#errors"),
        ("docs/guide/losses.md", "guide/losses.md", "../resume.md", "../resume.md"),
        ("SECURITY.md", "security.md", "docs/persistence.md", "persistence.md"),
        ("docs/resume.md", "resume.md", "../SECURITY.md", "security.md"),
        ("examples/benchmarks/README.md", "benchmarks.md", "../../docs/resume.md#a", "resume.md#a"),
        (
            "docs/guide/a.md",
            "guide/a.md",
            "../../examples/plot_search.py",
            "../auto_examples/start/plot_search.rst",
        ),
        (
            "docs/a.md",
            "a.md",
            "../examples/plot_ensembles.py",
            "auto_examples/training/plot_ensembles.rst",
        ),
        ("docs/a.md", "a.md", "../examples/quickstart.py", "scripts.md#quickstartpy"),
        ("SECURITY.md", "security.md", "tests/test_security.py", "../tests/test_security.py"),
        ("docs/a.md", "a.md", "https://example.org/b.md", "https://example.org/b.md"),
        ("docs/a.md", "a.md", "#here", "#here"),
    ],
)
def test_link_to_a_file_becomes_one_to_its_page(source, page, link, expected):
    text = links.rewrite(f"See [this]({link}).", ROOT / source, ROOT, ROOT / "docs" / page)
    assert text == f"See [this]({expected})."


def test_link_in_code_is_left_as_it_is():
    text = "`[a](../SECURITY.md)`\n\n```\n[a](../SECURITY.md)\n```\n\n[a](../SECURITY.md)"
    page = ROOT / "docs" / "a.md"
    assert links.rewrite(text, page, ROOT, page) == text[: -len("../SECURITY.md)")] + "security.md)"


@pytest.mark.parametrize(("path", "page"), links.PAGES.items())
def test_file_outside_the_documentation_has_a_page(path, page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert (ROOT / path).is_file()
    assert f"{{include}} ../{path}" in text


def test_scripts_that_the_gallery_does_not_run_are_shown():
    text = (ROOT / "docs" / "scripts.md").read_text(encoding="utf-8")
    shown = re.findall(r"^## (\w+\.py)\n\n```{literalinclude} \.\./examples/(\S+)$", text, re.M)
    scripts = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert sorted(shown) == sorted((name, name) for name in scripts if not name.startswith("plot_"))


def test_reference_has_a_page_for_each_public_name_and_its_members():
    assert set(REFERENCE) == {"index.rst", *(f"{name}.rst" for name in sknn.__all__)}
    for name in PUBLIC:
        owner, _, member = name.partition(".")
        directive = rf"^\.\. auto\w+:: {re.escape(name)}$"
        assert re.search(directive, REFERENCE[f"{owner}.rst"], re.MULTILINE), name
        assert member or f"   {owner}\n" in REFERENCE["index.rst"]


def test_members_leave_out_what_scikit_learn_makes():
    assert {"fit", "partial_fit", "predict_proba", "net_"} <= set(OWN)
    assert {"get_params", "set_params", "set_fit_request"} <= set(OTHERS)
    assert not set(OWN) & set(OTHERS)


def test_staged_examples_are_replaced_and_removed_with_their_sources(tmp_path):
    gallery.stage({"plot_a.py": "1\n", "plot_b.py": "2\n"}, tmp_path / "examples")
    gallery.stage({"plot_b.py": "3\n"}, tmp_path / "examples")
    files = {path.name: path.read_text() for path in (tmp_path / "examples").iterdir()}
    assert files == {"plot_b.py": "3\n"}


def test_every_example_is_in_one_section_of_the_gallery():
    names = [name for section in gallery.SECTIONS.values() for name in section.names]
    scripts = [path.name for path in (ROOT / "examples").glob("plot_*.py")]
    assert sorted(names) == sorted(gallery.name_of(script) for script in scripts)
    for folder, section in gallery.SECTIONS.items():
        inside = [s for s in scripts if gallery.section_of(s) == folder]
        assert tuple(map(gallery.name_of, sorted(inside, key=gallery.place_of))) == section.names


def test_pictures_of_examples_in_pages_are_those_of_examples_that_are_there():
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "guide").glob("*.md")]
    shown = [
        name
        for page in pages
        for name in re.findall(
            r"^```{gallery-picture} (\S+)\n\S", page.read_text(encoding="utf-8"), re.MULTILINE
        )
    ]
    assert len(shown) > 10
    assert {f"{name}.py" for name in shown} <= {p.name for p in (ROOT / "examples").glob("plot_*")}


def test_page_of_an_example_shows_its_picture_before_its_code():
    code = ".. GENERATED FROM PYTHON SOURCE LINES 1-2\n\n"
    picture = ".. image-sg:: /a.png\n   :alt: a\n   :class: b\n"
    block = ".. code-block:: Python\n\n    1\n"
    page = f"Title\n=====\n\nThe text.\n\n{code}{block}\n{picture}\n{code}The end.\n"
    shown = gallery.pictures_first(page)
    assert [shown.index(part) for part in ("The text.", picture, block, "The end.")] == sorted(
        shown.index(part) for part in ("The text.", picture, block, "The end.")
    )
    assert shown.count(picture) == 1
    assert gallery.pictures_first(page.replace(picture, "")) == page.replace(picture, "")


ESTIMATORS = [sknn.FeedForwardClassifier, sknn.FeedForwardRegressor]


def test_every_parameter_of_the_estimators_is_in_one_group():
    names = [name for group in parameters.GROUPS.values() for name in group]
    taken = {name for estimator in ESTIMATORS for name in inspect.signature(estimator).parameters}
    assert sorted(names) == sorted(taken)


def test_parameters_of_a_page_are_under_the_headings_of_their_groups():
    lines = [
        *("Text.", "", ":Parameters:", ""),
        *("    **alpha** : float, default=1", "        The penalty.", "", "        More.", ""),
        *("    **solver** : str, default='adam'", "        The solver.", ""),
        *(":Attributes:", "", "    **loss_** : float", "        The loss."),
    ]
    shown = parameters.grouped(lines, "Network")
    places = [
        next(i for i, line in enumerate(shown) if part in line)
        for part in (
            *(":Parameters:", "<#network-optimization>", ".. rubric:: Optimization"),
            *("**solver**", ".. rubric:: Regularization", "**alpha**", "More.", ":Attributes:"),
        )
    ]
    assert places == sorted(places)
    with pytest.raises(KeyError, match="no_such_parameter"):
        parameters.grouped([":Parameters:", "    **no_such_parameter** : int", "        It."], "A")


STEPS = """<!-- steps -->

| network | batch | rows | solver | dtype | / scikit-learn |
| --- | ---: | --- | --- | --- | ---: |
| 4-5-3 | 100 | dense | adam | float32 | 0.25 |
| 4-5-3 | 100 | dense | adam | float64 | 0.50~ |
| 4-5-3 | 100 | dense | sgd | float32 | 0.75 |

<!-- end steps -->
"""
TABLES = """<!-- tabular -->

| data | what | sknn | / MLP | / trees |
| --- | --- | ---: | ---: | ---: |
| wine | error | 0.020 | 0.50 | - |
| wine | log loss | 0.1 | 0.9 | 0.9 |
| diamonds | RMSE | 1,234 | 0.75 | 1.25 |
| geometric mean | error or RMSE | - | 0.61 | 1.25 |

<!-- end tabular -->
"""


FEATURES = """<!-- features -->

| feature | 4-5-3 | 64-100-10 | 64-100-10, float64 |
| --- | ---: | ---: | ---: |
| nothing | 1.00 | 1.01 | 1.02 |
| dropout | 1.1 | 1.2~ | 1.3 |

<!-- end features -->
"""
MEMBERS = """<!-- members -->

| network | dtype | members | / turns |
| --- | --- | ---: | ---: |
| 4-5-3 | float32 | 2 | 0.9 |
| 4-5-3 | float32 | 8 | 0.3 |
| 4-5-3 | float64 | 8 | 0.4 |

<!-- end members -->
"""
PROCESSES = """<!-- processes -->

| network | 2 processes | / 1 process |
| --- | ---: | ---: |
| 4-5-3 | 30 | 1.5 |

<!-- end processes -->
"""


@pytest.mark.long
def test_pictures_have_the_numbers_of_the_benchmarks_tables():
    assert pictures.steps(STEPS).groups == {"4-5-3": [0.25, 0.5]}
    assert pictures.tables(TABLES).groups == {"wine": [0.5, None], "diamonds": [0.75, 1.25]}
    assert pictures.features(FEATURES).groups == {"dropout": [1.2, 1.3]}
    assert pictures.members(MEMBERS).groups == {"4-5-3": [0.3, 0.4]}
    assert pictures.processes(PROCESSES).groups == {"4-5-3": [1.5]}
    pytest.importorskip("matplotlib")
    for bars in (pictures.steps(STEPS), pictures.processes(PROCESSES)):
        light, dark = (pictures.drawn(bars, theme) for theme in pictures.THEMES)
        assert "<svg" in light and light != dark
        assert light == pictures.drawn(bars, "light")


def test_table_without_numbers_has_no_picture():
    assert pictures.steps("<!-- steps -->\n\n<!-- end steps -->") is None
    for picture in pictures.PICTURES.values():
        assert picture("No table.") is None


def test_pages_show_pictures_of_tables_that_have_numbers():
    named = [
        name
        for page in (ROOT / "docs").rglob("*.md")
        for names in re.findall(
            r"^```{benchmark-pictures} (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE
        )
        for name in names.split()
    ]
    assert sorted(named) == sorted(pictures.available())


def test_features_of_the_picture_are_those_of_the_table():
    found = pictures.available()["features"].groups
    assert set(found) == set(pictures.FEATURES)


def test_landing_page_says_what_the_picture_shows():
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert "Each network in the picture trains faster than with scikit-learn" in text
    ratios = pictures.available()["steps"].groups.values()
    assert max(max(of_network) for of_network in ratios) < 1


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (r"\alpha \lVert W \rVert^2", "α‖W‖2"),
        (r"(n_1, \dots, n_{L-1})", "(n1,…,nL−1)"),
        (r"n / \texttt{batch\_size} \text{ rows}", "n/batch_size\N{NO-BREAK SPACE}rows"),
    ],
)
def test_formula_is_written_as_mathml_without_a_script(formula, text):
    from docutils import nodes

    translator = types.SimpleNamespace(body=[])
    with pytest.raises(nodes.SkipNode):
        mathml.visit_inline(translator, nodes.math("", formula))
    markup = "".join(translator.body)
    assert re.fullmatch(r'<span class="math notranslate"><math .*</math></span>', markup, re.S)
    shown = "".join(re.findall(r">([^<]*)<", re.sub(r"\n *", "", markup)))
    assert shown == text


def test_formula_that_cannot_be_converted_is_a_warning_and_shown(caplog):
    from docutils import nodes

    translator = types.SimpleNamespace(body=[])
    with pytest.raises(nodes.SkipNode):
        mathml.visit_inline(translator, nodes.math("", r"a < \nosuchcommand"))
    assert r"<code>a &lt; \nosuchcommand</code>" in translator.body[0]
    assert "cannot be shown as MathML" in caplog.text


@pytest.fixture
def site(tmp_path):
    """Make a site of two pages without a fault."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "style.css").write_text("@font-face {src: url('a.woff2?v=1')} /* url(b.png) */")
    (tmp_path / "a.woff2").touch()
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="style.css"><h1 id="top-of-it">A</h1>'
        '<a href="sub/page.html#there">in</a> <a href="https://example.org/x">out</a>'
        '<a href="#">up</a> <a href="#top-of-it">up</a>'
    )
    (tmp_path / "sub" / "page.html").write_text(
        '<p id="there"></p><a href="../index.html">back</a>'
    )
    return tmp_path


def test_site_without_a_fault_passes(site):
    assert check_links.problems(site) == []
    assert check_links.main(site) == 0


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<a href="sub/missing.html">', "no such file"),
        ('<img src="missing.png">', "no such file"),
        ('<img srcset="a.woff2, missing.png 2x">', "no such file"),
        ('<a href="sub/page.html#missing">', "no such anchor"),
        ('<a href="#missing">', "no such anchor"),
        ('<a href="/index.html">', "absolute"),
        ('<a href="../outside.html">', "no such file"),
        ('<script src="https://cdn.example.org/x.js">', "from elsewhere"),
        ('<script src="//cdn.example.org/x.js">', "from elsewhere"),
        ('<link rel="stylesheet" href="https://fonts.example.org/x.css">', "from elsewhere"),
    ],
)
def test_planted_fault_in_a_page_is_found(site, html, fault):
    page = site / "index.html"
    page.write_text(page.read_text() + html)
    (problem,) = check_links.problems(site)
    assert problem.startswith("index.html: ")
    assert fault in problem
    assert check_links.main(site) == 1


@pytest.mark.parametrize(
    ("css", "fault"),
    [
        ("a {background: url(missing.png)}", "no such file"),
        ('@import "https://fonts.example.org/x.css";', "from elsewhere"),
        ("@font-face {src: url(https://fonts.example.org/a.woff2)}", "from elsewhere"),
    ],
)
def test_planted_fault_in_a_style_is_found(site, css, fault):
    (site / "style.css").write_text(css)
    (problem,) = check_links.problems(site)
    assert fault in problem


def test_site_that_is_not_there_is_a_failure(tmp_path):
    assert check_links.main(tmp_path) == 1


def test_pages_that_a_docstring_names_are_links_to_pages_that_are_there():
    lines = ["See docs/guide/losses.md.", "No page: docs.py"]
    public_api.link_pages(None, "function", "name", None, None, lines)
    assert lines == ["See :doc:`/guide/losses`.", "No page: docs.py"]


def test_version_is_the_same_wherever_it_is_written():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (version,) = re.findall(r"^version: (.+)$", citation, re.MULTILINE)
    (date,) = re.findall(r"^date-released: (.+)$", citation, re.MULTILINE)
    assert version == sknn.__version__
    # Between two releases, the top section of the changelog has no number yet.
    assert re.search(rf"^## {re.escape(version)} \({date}\)$", changelog, re.MULTILINE)
