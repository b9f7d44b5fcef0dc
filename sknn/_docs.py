"""The documentation that both estimators share, written once."""

from __future__ import annotations

import inspect

PARAMETERS = """\
hidden_layer_sizes : array-like of int or int, default=(100,)
    Number of units in each hidden layer. An empty tuple gives a linear model.
activation : {'identity', 'logistic', 'tanh', 'relu'}, default='relu'
    Function of the hidden layers: x, 1 / (1 + exp(-x)), tanh(x), or max(0, x).
solver : {'lbfgs', 'sgd', 'adam'}, default='adam'
    - 'adam': Adam [1]_, steps of adaptive size on batches;
    - 'sgd': stochastic gradient descent with momentum [2]_;
    - 'lbfgs': L-BFGS-B of SciPy on all rows at once; often best below a few thousand rows.
alpha : float, default=0.0001
    Strength of the L2 penalty on the weights, not the biases: `alpha / 2` times the sum of
    their squares, over the sum of the sample weights of the batch, is part of the loss.
batch_size : int, default='auto'
    Rows of a step of a stochastic solver, at most all of them. 'auto' is `min(200, n_samples)`.
learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
    Schedule, used with `solver='sgd'` only.

    - 'constant': `learning_rate_init` throughout;
    - 'invscaling': after each epoch `learning_rate_init / (t + 1) ** power_t`, where t counts
      rows seen;
    - 'adaptive': divided by 5 each time that training would otherwise stop for lack of
      improvement, until it is at most 1e-6.
learning_rate_init : float, default=0.001
    The first rate of the stochastic solvers.
power_t : float, default=0.5
    Exponent of 'invscaling'.
max_iter : int, default=200
    Most epochs of a stochastic solver (how often each row is used, not the number of steps), or
    most iterations of L-BFGS.
shuffle : bool, default=True
    Whether the rows are put in a new order in each epoch of a stochastic solver.
random_state : int, RandomState instance or None, default=None
    Source of the initial weights, the validation split and the order of rows. An int gives the
    same model each time; None draws from NumPy's global generator.
tol : float, default=1e-4
    An epoch counts as no improvement if the training loss does not fall by `tol` below the
    best, or with `early_stopping` the validation score does not rise by `tol` above it. For
    L-BFGS, the largest element of the gradient at which it stops.
verbose : bool, default=False
    Whether to print the loss of each epoch.
warm_start : bool, default=False
    Whether `fit` starts from the weights that are there.
momentum : float, default=0.9
    Momentum of 'sgd', in [0, 1].
nesterovs_momentum : bool, default=True
    Whether that momentum is Nesterov's [2]_.
early_stopping : bool, default=False
    Whether a stochastic solver sets rows aside, stops when their score does not improve, and
    restores the weights of the best score. The score is the accuracy, or R2. The split is
    stratified for two classes only.
validation_fraction : float, default=0.1
    Share of the rows set aside, in [0, 1).
beta_1 : float, default=0.9
    Decay of Adam's first moment, in [0, 1).
beta_2 : float, default=0.999
    Decay of Adam's second moment, in [0, 1).
epsilon : float, default=1e-8
    Added to the root of Adam's second moment before its bias is corrected.
n_iter_no_change : int or inf, default=10
    Training stops after more than this number of epochs in a row without improvement.
max_fun : int, default=15000
    Most evaluations of the loss by L-BFGS.
dtype : {'auto', 'float32', 'float64', 'bfloat16'}, default='auto'
    Precision of the computation and of the weights. 'auto' is that of `X`: float32 if it is
    float32, else float64. The 'auto' of a later `partial_fit`, or of a `fit` with `warm_start`,
    keeps the model's. 'bfloat16' is mixed precision [3]_, for wide layers: activations and matrix
    products of the training are bfloat16; the weights, what the solver keeps, sums, the loss and
    predictions are float32. A processor without a unit for such products is slower, and a
    warning says so. With `solver='lbfgs'`, whose line search needs exact losses, it is 'float32'.

    .. versionadded:: 0.1
device : str, default='cpu'
    Where to compute: any device string of torch ('cpu', 'cuda', 'cuda:1', 'mps', ...), or
    'auto' for the accelerator if there is one. A device that is absent is an error.

    .. versionadded:: 0.1
"""

ATTRIBUTES = """\
coefs_ : list of ndarray of shape (n_in, n_out)
    Weights of each layer. They may be edited or replaced: prediction, `partial_fit` and a warm
    start take what is there.
intercepts_ : list of ndarray of shape (n_out,)
    Biases of each layer.
loss_ : float
    Training loss of the last epoch, penalty included.
loss_curve_ : list of float
    Training loss of every epoch. With the stochastic solvers only.
best_loss_ : float or None
    Least training loss; None with `early_stopping`. With the stochastic solvers only.
validation_scores_ : list of float or None
    Score of the validation rows after every epoch; None without `early_stopping`.
best_validation_score_ : float or None
    The highest of them; None without `early_stopping`.
t_ : int
    Number of rows seen in training, repetitions included.
n_iter_ : int
    Number of epochs of the last call, or iterations of L-BFGS.
n_layers_ : int
    Number of layers, input and output included.
n_outputs_ : int
    Number of output units.
out_activation_ : str
    'softmax', 'logistic', 'identity' or 'exp'.
n_features_in_ : int
    Number of features.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the features, if all are strings.
device_ : str
    The device that was computed on. A model that is unpickled where it is absent says 'cpu'.
net_ : skorch.NeuralNet
    The model as a skorch net, with its own copy of the weights, made anew on each access.
    `net_.history` has one record for each epoch: `epoch`, `train_loss`, `valid_score` with
    `early_stopping`, and `dur` in seconds.
"""

REFERENCES = """\
References
----------
.. [1] Kingma, D. and Ba, J. (2014). Adam: A Method for Stochastic Optimization. arXiv:1412.6980.
.. [2] Sutskever, I., Martens, J., Dahl, G. and Hinton, G. (2013). On the importance of
   initialization and momentum in deep learning. ICML.
.. [3] Micikevicius, P. et al. (2018). Mixed Precision Training. ICLR.
"""


def document(estimator: type) -> type:
    """Put the shared parts in the place of `{parameters}` and the like in a class's docstring."""
    parts = {
        "{parameters}": "Parameters\n----------\n" + PARAMETERS,
        "{parameters_without_heading}": PARAMETERS,
        "{attributes}": ATTRIBUTES,
        "{references}": REFERENCES,
    }
    text = inspect.cleandoc(estimator.__doc__ or "")
    for place, part in parts.items():
        text = text.replace(place, part.rstrip())
    estimator.__doc__ = text
    return estimator
