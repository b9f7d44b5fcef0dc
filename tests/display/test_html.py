"""scikit-learn's HTML diagrams show the layers and settings of a network."""

from __future__ import annotations

import html
import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._display._html import network_html
from sknn._display._summary import facts_of
from sknn._platform import _sklearn_compat

RNG = np.random.RandomState(0)
X = RNG.randn(60, 5)
Y = RNG.randint(0, 3, 60)


def fitted(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X, Y)


class Reader(HTMLParser):
    """A parser that collects the rows of tables, the captions, the ids, and the names of tags."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.captions, self.tags, self.ids, self._open = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._open.append((tag, attributes.get("class")))

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tag, kind = self._open[-1] if self._open else (None, None)
        if tag in ("td", "th"):
            self.rows[-1][-1] += data
        if kind == "caption":
            self.captions.append(data)


def has_network(text, model):
    """Return whether the rows of a diagram include those of a model's layers and settings."""
    rows, facts = Reader(text).rows, facts_of(model)
    expected = [list(layer.cells) for layer in facts.layers]
    expected += [list(item) for item in facts.settings.items()]
    return all(row in rows for row in expected)


def test_diagram_has_layers_settings_and_the_table_of_parameters():
    model = FeedForwardClassifier((7, 4), max_iter=2, dropout=0.5)
    for _ in range(2):  # before and after fit
        text = model._repr_html_()
        assert has_network(text, model)
        rows = [[cell.strip() for cell in row] for row in Reader(text).rows]
        assert ["", "learning_rate_init", "0.001"] in rows
        fitted(model)


def test_network_stands_before_the_parameters():
    text = FeedForwardClassifier()._repr_html_()
    assert text.index("Network") < text.index("<summary>Parameters")


@pytest.mark.parametrize("is_fitted", [False, True])
def test_network_is_shown_in_pipeline_and_search(is_fitted):
    pipeline = make_pipeline(StandardScaler(), FeedForwardClassifier((7,), max_iter=2))
    search = GridSearchCV(pipeline, {"feedforwardclassifier__alpha": [0.1]}, cv=2)
    shown = pipeline[-1]
    if is_fitted:
        fitted(search)
        fitted(pipeline)
        shown = search.best_estimator_[-1]
    assert has_network(estimator_html_repr(pipeline), pipeline[-1])
    assert has_network(estimator_html_repr(search), shown)


def test_caption_has_units_and_number_of_parameters():
    model = FeedForwardClassifier((7, 4), max_iter=2)
    assert Reader(model._repr_html_()).captions == ["? → 7 → 4 → ?"]
    pipeline = fitted(make_pipeline(StandardScaler(), model))
    assert "5 → 7 → 4 → 3, 89 parameters" in Reader(pipeline._repr_html_()).captions


def test_caption_has_the_number_of_members():
    model = FeedForwardClassifier((7, 4), max_iter=2, n_members=3)
    assert Reader(model._repr_html_()).captions == ["? → 7 → 4 → ?, 3 members"]
    pipeline = fitted(make_pipeline(StandardScaler(), model))
    text = pipeline._repr_html_()
    assert "5 → 7 → 4 → 3, 3 members, 267 parameters" in Reader(text).captions
    assert has_network(text, model)


def test_parameters_of_no_network_are_told_and_the_rest_is_shown():
    model = FeedForwardRegressor(hidden_layer_sizes=(3, -1), alpha=0.125)
    text = estimator_html_repr(make_pipeline(model))
    (told,) = [row for row in Reader(text).rows if row[0].startswith("These parameters do not")]
    assert "hidden_layer_sizes must be > 0, got [3, -1]" in told[0]
    assert "0.125" in text


@pytest.mark.parametrize("is_fitted", [False, True])
def test_embedding_is_drawn(is_fitted):
    model = FeedForwardClassifier((4,), numeric_embedding="periodic", max_iter=2)
    text = (fitted(model) if is_fitted else model)._repr_html_()
    assert "embedding" in text and "periodic" in text


@pytest.mark.parametrize("is_fitted", [False, True])
def test_names_of_the_user_are_escaped(is_fitted):
    name = "<script>alert('1')</script>"
    activation = type(name, (torch.nn.ReLU,), {})
    estimator = type(name, (FeedForwardClassifier,), {"__init__": FeedForwardClassifier.__init__})
    model = estimator((4,), activation, max_iter=1)
    if is_fitted:
        fitted(model)
    own = network_html(model)
    assert html.escape(name) in own
    assert "script" not in Reader(own).tags
    # The whole diagram has scikit-learn's own scripts and no others.
    usual = Reader(FeedForwardClassifier()._repr_html_()).tags.count("script")
    assert Reader(model._repr_html_()).tags.count("script") == usual


def test_message_of_an_error_is_escaped():
    text = network_html(FeedForwardClassifier((3, 3), activation=["relu", "<img src=x>"]))
    assert "img" not in Reader(text).tags
    assert "&lt;img src=x&gt;" in text


def test_many_on_one_page_share_no_id_and_own_no_style_or_script():
    model = fitted(FeedForwardClassifier((4,), max_iter=1))
    own = Reader(network_html(model))
    assert own.ids == []
    assert not {"style", "script"} & set(own.tags)
    ids = Reader(model._repr_html_() + model._repr_html_()).ids
    assert len(ids) == len(set(ids))


def test_tags_are_closed():
    text = network_html(fitted(FeedForwardClassifier((4,), max_iter=1)))
    for tag in {"div", "details", "summary", "table", "tbody", "tr", "td", "th"}:
        assert len(re.findall(rf"<{tag}[ >]", text)) == text.count(f"</{tag}>") > 0


def test_text_display_has_no_diagram():
    with config_context(display="text"):
        assert not hasattr(FeedForwardClassifier(), "_repr_html_")


def test_without_captions_the_plain_block_is_drawn(monkeypatch):
    monkeypatch.setattr(_sklearn_compat, "_VisualBlock", None)
    model = FeedForwardClassifier((7,))
    assert not hasattr(model, "_sk_visual_block_")
    text = model._repr_html_()
    assert has_network(text, model)
    assert Reader(text).captions == []


def test_table_of_another_kind_is_left_as_it_is():
    table = {"alpha": 0.1}
    assert _sklearn_compat.with_html_before(table, lambda: "network") is table
    assert table == {"alpha": 0.1}


def test_table_of_parameters_is_still_a_mapping_of_them():
    model = FeedForwardClassifier((7,))
    assert dict(model._get_params_html()) == model.get_params()


@pytest.mark.skipif(
    not _sklearn_compat.has_table_of_attributes(), reason="scikit-learn 1.9 has the table"
)
def test_table_of_attributes_has_all_that_are_stored_and_reads_no_property(monkeypatch):
    model = fitted(FeedForwardClassifier((4,), max_iter=1))
    monkeypatch.setattr(FeedForwardClassifier, "net_", property(lambda self: 1 / 0))
    monkeypatch.setattr(FeedForwardClassifier, "module_", property(lambda self: 1 / 0))
    table = model._get_fitted_attr_html()
    assert set(table) == {n for n in vars(model) if n.endswith("_") and not n.startswith("_")}
    assert table.estimator_class is FeedForwardClassifier
    assert table["coefs_"]["value"] is model.coefs_


def test_attributes_are_listed_without_reading_those_that_are_made(monkeypatch):
    model = fitted(FeedForwardClassifier((4,), max_iter=1))
    before = {name for name in object.__dir__(model) if hasattr(model, name)}
    before -= {"onnx_parser", "onnx_shape_calculator", "onnx_converter"}
    monkeypatch.setattr(FeedForwardClassifier, "net_", property(lambda self: 1 / 0))
    monkeypatch.setattr(FeedForwardClassifier, "module_", property(lambda self: 1 / 0))
    assert set(dir(model)) == before
    assert {"net_", "module_", "coefs_", "predict_proba", "summary"} <= before
    assert not {"net_", "module_"} & set(dir(FeedForwardClassifier()))
    assert "partial_fit" not in dir(FeedForwardClassifier(solver="lbfgs"))


def test_weights_of_other_shapes_do_not_hinder_the_diagram():
    model = fitted(FeedForwardClassifier((4,), max_iter=1, normalization="batch"))
    model.coefs_[0], model.module_state_ = model.coefs_[0][:, :2], {}
    text = estimator_html_repr(make_pipeline(model))
    assert "<summary>Network</summary>" in text


@pytest.mark.matrix
@pytest.mark.parametrize(
    "parameters",
    [
        *({"normalization": True}, {"dtype": np.float32}, {"dtype": torch.float32}),
        *({"device": torch.device("cpu")}, {"device": None}, {"activation": None}),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_fitted", [False, True])
def test_parameter_of_another_type_is_told_in_the_diagram(is_fitted, parameters):
    model = FeedForwardClassifier((4,), max_iter=1)
    if is_fitted:
        fitted(model)
    text = model.set_params(**parameters)._repr_html_()
    (told,) = [row for row in Reader(text).rows if row[0].startswith("These parameters do not")]
    assert f"The '{next(iter(parameters))}' parameter of FeedForwardClassifier must be" in told[0]
