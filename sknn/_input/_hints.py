"""Say what the user may have meant, after an error about a name that this package does not have.

The tables hold names of other libraries (scikit-learn, Keras, torch, skorch, XGBoost, LightGBM) and
what to write for them here. The names stand without capitals and punctuation. Typing errors are
found by their likeness to a name. Nothing here decides what is an error.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, TypeVar

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import StrOptions

Function = TypeVar("Function", bound=Callable)

_CLASSIFIER, _REGRESSOR = "FeedForwardClassifier", "FeedForwardRegressor"
# What only one of the estimators has.
_OWNERS = {
    **dict.fromkeys(("focal_gamma", "label_smoothing", "class_weight"), _CLASSIFIER),
    **dict.fromkeys(("huber_delta", "quantile", "target_scaling"), _REGRESSOR),
}
_LOSSES_OF_CLASSIFIER = ("'log_loss'", "'focal'")

# Values of parameters: what to write here, and the names that others have for it. An answer that
# has "=" in it says by itself which parameter is meant.
_VALUES = {
    "activation": {
        "'identity'": "linear none",
        "'logistic'": "sigmoid",
        "'leaky_relu'": "lrelu",
        "'silu'": "swish",
        "torch.nn.CELU": "celu",
        "torch.nn.Hardswish": "hardswish",
        "torch.nn.PReLU": "prelu",
        "torch.nn.ReLU6": "relu6",
        "torch.nn.Softsign": "softsign",
    },
    "solver": {
        "'lbfgs'": "bfgs lbfgsb",
        "'sgd'": "momentum nesterov gd",
        "torch.optim.ASGD": "asgd",
        "torch.optim.Adadelta": "adadelta",
        "torch.optim.Adagrad": "adagrad",
        "torch.optim.Adamax": "adamax",
        "torch.optim.NAdam": "nadam",
        "torch.optim.RAdam": "radam",
        "torch.optim.RMSprop": "rmsprop",
        "torch.optim.Rprop": "rprop",
    },
    "learning_rate": {
        "'cosine'": "cosineannealing cosinedecay",
        "'one_cycle'": "1cycle",
        "learning_rate='cosine', warmup_fraction=0.1": "cosinewithwarmup warmupcosine",
        "learning_rate='constant', warmup_fraction=0.1": "constantwithwarmup warmup",
        "lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)": (
            "exponential exponentialdecay"
        ),
        "lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10)": "step steps",
        "torch.optim.lr_scheduler.ReduceLROnPlateau": "plateau reduceonplateau",
    },
    "loss": {
        "'log_loss'": (
            "bce bcewithlogits binarycrossentropy categoricalcrossentropy ce crossentropy deviance"
            " logistic nll softmax softprob sparsecategoricalcrossentropy"
        ),
        "'focal'": "binaryfocalcrossentropy categoricalfocalcrossentropy",
        "'squared_error'": "l2 ls mse meansquarederror rmse rootmeansquarederror squarederror",
        "'absolute_error'": "l1 lad mae meanabsoluteerror",
        "'huber'": "pseudohuber pseudohubererror smoothl1",
        "'poisson'": "poissonnll",
        "'quantile'": "pinball quantileerror",
    },
    "scoring": {
        "'accuracy'": "acc binaryaccuracy categoricalaccuracy",
        "'average_precision'": "ap aucpr prauc",
        "'balanced_accuracy'": "bacc",
        "'f1_macro'": "macrof1",
        "'loss'": "valloss validationloss",
        "'matthews_corrcoef'": "mcc",
        "'neg_brier_score'": "brier",
        "'neg_log_loss'": "crossentropy logloss nll",
        "'neg_mean_absolute_error'": "l1 mae",
        "'neg_mean_absolute_percentage_error'": "mape",
        "'neg_mean_squared_error'": "l2 mse",
        "'neg_mean_squared_log_error'": "msle",
        "'neg_root_mean_squared_error'": "rmse",
        "'r2'": "rsquared",
        "scoring='roc_auc', or 'roc_auc_ovr' for three or more classes": "auc auroc roc rocauc",
    },
    "dtype": {
        "'float32'": "32 f32 fp32 single float",
        "'float64'": "64 f64 fp64 double",
        "'bfloat16'": "16 16mixed amp bf16 f16 float16 fp16 half mixed",
    },
    "device": {
        "'cpu'": "host",
        "'cuda'": "gpu nvidia rocm",
        "'cuda:0'": "gpu0 0",
        "'cuda:1'": "gpu1 1",
        "'mps'": "apple metal",
    },
    "normalization": {
        "'batch'": "batchnorm batchnorm1d batchnormalization bn",
        "'layer'": "layernorm layernormalization ln",
        "None": "none",
    },
    "initialization": {
        "None": (
            "default glorot glorotnormal glorotuniform he henormal heuniform kaiming kaiminguniform"
            " none xavier xavieruniform"
        ),
        "'data'": "datadriven lsuv",
    },
    "numeric_embedding": {"'periodic'": "fourier pbld plr", "None": "none"},
    "regularization_schedule": {"'flat_cos'": "flatcosine", "None": "none"},
    "target_scaling": {
        "'standard'": "standardize standardscaler zscore",
        "'clipped'": "clip clamp bounded limited",
        "None": "none",
    },
    "class_weight": {"'balanced'": "auto balance"},
    "early_stopping": {"early_stopping=True, scoring='loss'": "loss valloss"},
    "batch_size": {"batch_size=len(X)": "all full"},
}

# Names of parameters: ours, and those that others have for it.
_PARAMETERS = {
    "hidden_layer_sizes": (
        "architecture hiddendim hiddendims hiddenlayers hiddensize hiddensizes hiddenunits layers"
        " layersizes layersunits module neurons nhidden nneurons nunits units"
    ),
    "activation": "act activationfn activationfunction nonlinearity",
    "solver": "optim optimizer",
    "alpha": "kernelregularizer l2 l2reg lambdal2 reglambda weightdecay",
    "batch_size": "bs minibatchsize",
    "learning_rate": "lrschedule lrscheduler lrpolicy scheduler",
    "learning_rate_init": "eta eta0 lr rate stepsize",
    "max_iter": (
        "epoch epochs iterations maxepoch maxepochs nepoch nepochs niter niterations"
        " numboostround numepochs numiterations"
    ),
    "random_state": "randomseed seed",
    "verbose": "verbosity",
    "momentum": "mu",
    "nesterovs_momentum": "nesterov",
    "early_stopping=True, n_iter_no_change=...": (
        "earlystoppinground earlystoppingrounds niternoimprovement patience"
    ),
    "early_stopping=True, validation_fraction=...": (
        "trainsplit valfraction valsplit validationsize validationsplit"
    ),
    "beta_1=..., beta_2=...": "betas",
    "epsilon": "eps",
    "dropout": "dropoutp dropoutrate droprate pdropout",
    "input_dropout": "featuredropout",
    "normalization": "batchnorm batchnormalization layernorm norm usebn",
    "warmup_fraction": "warmup warmupepochs warmupratio warmupsteps",
    "max_grad_norm": "clipgradnorm clipnorm globalclipnorm gradclip gradientclipval maxnorm",
    "scoring": "evalmetric metric metrics monitor scorer",
    "dtype": "precision",
    "device": "accelerator cuda gpu usegpu",
    "checkpoint_dir": "checkpoint checkpointpath",
    "n_members": "ensemblesize nensemble nestimators nmodels nnetworks",
    "initialization": "init initializer kernelinitializer weightinit",
    "loss": "criterion lossfn lossfunction objective",
    "class_weight": "posweight scaleposweight",
    "huber_delta": "delta huberslope",
    "focal_gamma": "gamma",
    "quantile": "quantilealpha quantiles tau",
    "warm_start": "initmodel reuseweights",
}
_OF_FIT = {
    "sample_weight": "sampleweights w weight weights",
    "X_val=..., y_val=...": (
        "evalset evalsets evalx evaly validationdata validset validsets validx valdata xvalid"
    ),
    "X_val": "",
    "y_val": "",
    "sample_weight_val": "evalsampleweight sampleweightevalset",
}
_ELSEWHERE = {
    "partial_fit(X, y, classes=...)": "classes",
    "torch.set_num_threads(...)": "njobs nthread nthreads numthreads",
}

# Endings that a name may have or not, as in MSELoss, f1_score and CosineAnnealingLR.
_ENDINGS = ("loss", "score", "lr")
# How alike, from 0 to 1, a typing error and the name that is suggested are at least.
_LIKENESS = 0.74


def _plain(name: str) -> str:
    """Return a name without capitals and punctuation, as it stands in the tables."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _candidates(table: dict[str, str]) -> dict[str, str]:
    """Return the answers of a table by the names of others, and by their own."""
    found = {}
    for answer, names in table.items():
        if "=" not in answer:
            found[_plain(answer)] = answer
        found |= dict.fromkeys(names.split(), answer)
    return found


def _exact(name: str, candidates: dict[str, str]) -> str | None:
    """Return the answer for a name that is in the table, perhaps with a module or an ending."""
    names = [_plain(name), _plain(re.split("[.:]", name)[-1])]
    names += [n.removesuffix(ending) for n in names for ending in _ENDINGS]
    return next((candidates[n] for n in names if n in candidates), None)


def _alike(name: str, candidates: dict[str, str]) -> str | None:
    """Return the answer for the name that is most like another one.

    Short names of others, such as rmse and msle, are alike without being meant.
    """
    names = [n for n, answer in candidates.items() if len(n) > 4 or n == _plain(answer)]
    found = difflib.get_close_matches(_plain(name), names, n=1, cutoff=_LIKENESS)
    return candidates[found[0]] if found else None


def _closest(name: str, candidates: dict[str, str]) -> str:
    """Return a question about what a name may stand for, or ''."""
    answer = _exact(name, candidates) or _alike(name, candidates)
    return _question(answer) if answer else ""


def _question(answer: str) -> str:
    return f"Did you mean {answer}?"


def _options(estimator: BaseEstimator, name: str) -> set[str]:
    """Return the strings that a parameter may be."""
    table = estimator._parameter_constraints.get(name, ())
    return {o for of in table if isinstance(of, StrOptions) for o in of.options}


def of_value(estimator: BaseEstimator, name: str) -> str:
    """Return a question about what the value of a parameter may have been meant to be, or ''."""
    value, options = getattr(estimator, name), _options(estimator, name)
    if name == "activation" and isinstance(value, list | tuple):
        value = next((v for v in value if isinstance(v, str) and v not in options), None)
    if not isinstance(value, str):
        answer = _of_object(name, value)
    elif value in options:
        answer = None
    else:
        answer = _of_string(estimator, name, value)
    if answer is None or answer == repr(value):
        return ""
    if name == "loss" and answer[0] == "'" and answer.strip("'") not in options:
        owner = _CLASSIFIER if answer in _LOSSES_OF_CLASSIFIER else _REGRESSOR
        return _question(f"{owner}({name}={answer})")
    return _question(answer if "=" in answer else f"{name}={answer}")


def _of_string(estimator: BaseEstimator, name: str, value: str) -> str | None:
    """Return an answer for a string that is no value of a parameter."""
    options = {_plain(o): repr(o) for o in _options(estimator, name)}
    candidates = _candidates(_VALUES.get(name, {})) | options
    answer = _exact(value, candidates)
    if answer or name == "device":  # of which there are more than the table has
        return answer
    others = [n for n in estimator._parameter_constraints if value in _options(estimator, n)]
    return f"{others[0]}={value!r}" if len(others) == 1 else _alike(value, candidates)


def _of_object(name: str, value: Any) -> str | None:
    """Return an answer for a value of a parameter that is no string."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if name == "learning_rate" and is_number:
        return f"learning_rate_init={value!r}"
    if name == "early_stopping" and is_number and value > 1:
        return f"early_stopping=True, n_iter_no_change={value!r}"
    is_whole = is_number and isinstance(value, Integral)
    if name == "loss" and (is_whole or isinstance(value, list | tuple)):
        return f"hidden_layer_sizes={value!r}"
    if name == "numeric_embedding" and inspect.isclass(value):
        return "PeriodicEmbedding()"
    if name == "solver" and type(value).__module__.startswith("torch.optim"):
        return f"torch.optim.{type(value).__name__}"
    if name in ("dtype", "device"):  # objects of NumPy or torch, and numbers
        return _exact(getattr(value, "__name__", str(value)), _candidates(_VALUES[name]))
    return None


def of_parameter(name: str, known: Collection[str]) -> str:
    """Return a question about what a name that a constructor does not have may stand for, or ''.

    Parameters
    ----------
    name : str
        The name that was given.
    known : collection of str
        The names of the parameters that the constructor has.
    """
    others = {k: owner for k, owner in _OWNERS.items() if k not in known}
    candidates = {_plain(k): f"{owner}({k}=...)" for k, owner in others.items()}
    candidates |= _calls("fit(X, y, {})", _OF_FIT) | _candidates(_ELSEWHERE)
    candidates |= _candidates(_parameters(known))
    return _closest(name, candidates)


def alike(name: str, known: Collection[str]) -> str:
    """Return a question about which of the names may have been meant, or ''."""
    return _closest(name, {_plain(k): k for k in known})


def _of_fit(name: str, estimator: BaseEstimator) -> str:
    """Return a question about what a name that `fit` does not have may stand for, or ''."""
    own = _parameters(estimator.get_params(deep=False))
    of_constructor = _calls(f"{type(estimator).__name__}({{}})", own)
    return _closest(
        name, of_constructor | _calls("fit(X, y, {})", _OF_FIT) | _candidates(_ELSEWHERE)
    )


def _parameters(known: Collection[str]) -> dict[str, str]:
    """Return the table of parameters for a constructor that has these."""
    table = {a: names for a, names in _PARAMETERS.items() if a.partition("=")[0] in known}
    return {k: table.get(k, "") for k in known} | table


def _calls(call: str, table: dict[str, str]) -> dict[str, str]:
    """Return the candidates of a table, with answers that show the call in which they belong."""
    return {
        key: call.format(answer if "=" in answer else f"{answer}=...")
        for key, answer in _candidates(table).items()
    }


def explaining_keywords(function: Function) -> Function:
    """Decorate a constructor or `fit`: Python's error for an unknown keyword gets a question.

    The signature of the decorated function stays the one that is shown, also where a library does
    not look behind decorators.
    """

    @functools.wraps(function)
    def explained(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(self, *args, **kwargs)
        except TypeError as error:
            known = [*inspect.signature(function).parameters][1:]
            name = next((k for k in kwargs if k not in known), None)
            if name is None or isinstance(error, ValueError):  # an InvalidParameterError is both
                raise
            is_fit = function.__name__ == "fit"
            hint = _of_fit(name, self) if is_fit else of_parameter(name, known)
            if hint:
                refused = str(error).partition(". Did you mean")[0]  # Python 3.13 asks, too
                error.args = (f"{refused}. {hint}",)
            raise

    explained.__signature__ = inspect.signature(function)
    return explained


@contextmanager
def explaining_values(estimator: BaseEstimator) -> Iterator[None]:
    """Add to an error about the value of a parameter what may have been meant.

    Classes of this package get their public names.
    """
    try:
        yield
    except ValueError as error:
        message = re.sub(r"\bsknn(\._\w+)+\.(?=[A-Z])", "sknn.", str(error))
        named = re.match(r"The '(\w+)' parameter", message)
        hint = of_value(estimator, named[1]) if named else ""
        error.args = (f"{message} {hint}" if hint else message,)
        raise
