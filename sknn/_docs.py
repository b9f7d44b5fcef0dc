"""The documentation that both estimators share, written once."""

from __future__ import annotations

import inspect

PARAMETERS = """\
hidden_layer_sizes : array-like of int or int, default=(100,)
    Number of units in each hidden layer. An empty tuple gives a linear model.
activation : str, callable, or list of them, default='relu'
    Function of the hidden layers: 'identity' (x), 'logistic' (1 / (1 + exp(-x))), 'tanh', 'relu'
    (max(0, x)); or one of 'leaky_relu', 'elu', 'selu', 'gelu', 'silu', 'mish', 'softplus', by the
    formulas of :mod:`torch.nn` with its defaults; or a callable that returns a
    :class:`torch.nn.Module`, called once for each hidden layer, such as `torch.nn.PReLU`. A list
    has one for each hidden layer.

    The initial weights are uniform on [-b, b]. For scikit-learn's four, and for callables,
    `b = sqrt(6 / (n_in + n_out))` (2 in place of 6 for 'logistic'), biases too, as there. For
    'leaky_relu', 'elu', 'gelu', 'silu' and 'mish' `b = sqrt(6 / n_in)` [7]_; for 'selu' [8]_ and
    'softplus' `b = sqrt(3 / n_in)`; the biases are zero. After those, the output layer has
    `b = sqrt(3 / n_in)` and zero biases.

    .. versionchanged:: 0.1
        All but scikit-learn's four.
solver : str, or class or partial of torch.optim.Optimizer, default='adam'
    - 'adam': Adam [1]_, steps of adaptive size on batches;
    - 'adamw': Adam with decoupled weight decay [9]_: before each update, all weights are multiplied
      by `1 - rate * alpha`, and there is no penalty in the loss;
    - 'sgd': stochastic gradient descent with momentum [2]_;
    - 'lbfgs': L-BFGS-B of SciPy on all rows at once; often best below a few thousand rows;
    - a subclass of :class:`torch.optim.Optimizer`, or a :func:`functools.partial` of one with its
      options; its `lr` is `learning_rate_init`, and `alpha` is the penalty of the loss. Those of
      :mod:`torch.optim` that treat every value by itself are given all parameters as one vector,
      and all others the weights and biases of each layer. One that needs a closure is an error.

    .. versionchanged:: 0.1
        'adamw' and optimizers of torch.
alpha : float, default=0.0001
    Strength of the L2 penalty on the weights, not the biases: `alpha / 2` times the sum of
    their squares, over the sum of the sample weights of the batch, is part of the loss. It does not
    act on the parameters of normalization and of your own activations.
batch_size : int or 'auto', default='auto'
    Rows of a step of a stochastic solver, at most all of them. 'auto' is `min(200, n_samples)`.
learning_rate : str or callable, default='constant'
    Schedule. The first three act with `solver='sgd'` only, the others with every stochastic solver.

    - 'constant': `learning_rate_init` throughout;
    - 'invscaling': after each epoch `learning_rate_init / (t + 1) ** power_t`, where t counts
      rows seen;
    - 'adaptive': divided by 5 each time that training would otherwise stop for lack of
      improvement, until it is at most 1e-6;
    - 'cosine': from `learning_rate_init` along half a cosine to 0 at the end of `max_iter` epochs,
      step by step [10]_;
    - 'one_cycle': up to `learning_rate_init` and down again [11]_, by the rates of
      :class:`torch.optim.lr_scheduler.OneCycleLR` with its defaults; momentum and betas are left;
    - a callable that takes the torch optimizer and returns a scheduler of
      :mod:`torch.optim.lr_scheduler`, which is stepped after each epoch. A `ReduceLROnPlateau`
      is given the validation loss, or the training loss where there is none.

    'cosine' and 'one_cycle' reach their end if all `max_iter` epochs are run: set
    `n_iter_no_change=np.inf` for that. With `partial_fit` the horizon is `max_iter` calls.

    .. versionchanged:: 0.1
        'cosine', 'one_cycle', callables.
learning_rate_init : float, default=0.001
    The rate of the stochastic solvers: the first one, or the highest of 'one_cycle'.
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
verbose : bool, int or 'progress', default=False
    Whether to print the loss of each epoch. 'progress' shows one bar for all epochs instead, with
    loss, validation score, rate and time left.

    .. versionchanged:: 0.1
        'progress'.
warm_start : bool, default=False
    Whether `fit` starts from the weights that are there.
momentum : float, default=0.9
    Momentum of 'sgd', in [0, 1].
nesterovs_momentum : bool, default=True
    Whether that momentum is Nesterov's [2]_.
early_stopping : bool, default=False
    Whether a stochastic solver sets rows aside, stops when their score does not improve, and
    restores the weights of the best score. The score is the accuracy, or R2, or what `scoring`
    says. The split is stratified for two classes only. Validation rows given to `fit` as `X_val`
    take its place.
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
dropout : float or list of float, default=0.0
    Share of the outputs of a hidden layer that a training step leaves out at random, in [0, 1); the
    others are divided by one minus it, so that prediction needs no change [12]_. One for all hidden
    layers, or a list with one for each. Rates act as the nearest multiple of 2 ** -16. The draws
    are decided by `random_state`, and leave initial weights and the order of rows as they are.

    .. versionadded:: 0.1
input_dropout : float, default=0.0
    The same for the features.

    .. versionadded:: 0.1
normalization : {'layer', 'batch'} or None, default=None
    Normalization between the linear map and the activation of each hidden layer: over the units of
    a row [13]_, or over the rows of a batch [14]_ and by running statistics in prediction, as
    :class:`torch.nn.LayerNorm` and :class:`torch.nn.BatchNorm1d` do. A batch of one row is
    normalized by the running statistics. A last batch of a few rows has poor statistics of its own:
    choose a `batch_size` that leaves none.

    .. versionadded:: 0.1
warmup_fraction : float, default=0.0
    Share of all steps, in [0, 1), over which a stochastic solver's rate rises linearly from zero to
    what it would be else. 'cosine' begins where it ends. 'one_cycle' has a rise of its own.

    .. versionadded:: 0.1
max_grad_norm : float or None, default=None
    The norm to which a larger gradient of a stochastic solver, over all parameters and with the
    penalty, is scaled down [15]_.

    .. versionadded:: 0.1
scoring : str, callable or None, default=None
    What early stopping watches: a scorer of scikit-learn by name, a callable
    `(estimator, X, y) -> float`, or 'loss' for the negative loss of the validation rows. None is
    the accuracy, or R2 (with `loss='quantile'` the D2 pinball score).

    .. versionadded:: 0.1
callbacks : list or None, default=None
    Callbacks of skorch: instances, classes, or pairs of a name and one of these. `fit` uses copies,
    which are in `callbacks_` afterwards. They are given the model as a skorch net, whose `predict`
    returns your own labels. scikit-learn's callbacks are set by `set_callbacks`.

    .. versionadded:: 0.1
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
    'auto': the accelerator (CUDA, else MPS, which never gets float64) if there is one and a step
    is of at least 1e8 operations, which are six for each weight and row of the batch (float64
    counts twice); else the CPU. A device that is absent is an error. Data that take up to half of
    the device's free memory are moved there once, others in chunks.

    .. versionadded:: 0.1
process_group : 'world', torch.distributed.ProcessGroup or None, default=None
    Processes that train one network together, each of which calls `fit` with its own rows and the
    same parameters: 'world' is all of them, as `torchrun` or
    :func:`torch.distributed.init_process_group` have made them. All end with the model that one
    process would learn from the rows of all, in the order of the ranks, with the `random_state` of
    the first. Dropout and the statistics of batch normalization are each process's own; the
    statistics kept are the first one's. A group object is for this session: a pickle holds None.

    .. versionadded:: 0.1
checkpoint_dir : str, os.PathLike or None, default=None
    Directory in which `fit` keeps a file of the running training, made if it is missing. The same
    `fit`, started again after the process has died or after Ctrl-C, goes on from it and ends with
    the model of a training that was never interrupted, bit by bit. The same are data, parameters,
    starting point and versions, of which the file's name is made. The file is removed when training
    ends. It needs an int as `random_state` and a stochastic solver, and leaves out the state of
    your own callbacks. `partial_fit` makes no file.

    .. versionadded:: 0.1
checkpoint_every : int, default=10
    Epochs from one save to the next.

    .. versionadded:: 0.1
"""

ATTRIBUTES = """\
coefs_ : list of ndarray of shape (n_in, n_out)
    Weights of each layer. They may be edited or replaced: prediction, `partial_fit` and a warm
    start take what is there.
intercepts_ : list of ndarray of shape (n_out,)
    Biases of each layer.
module_state_ : dict of str to ndarray
    Scale, shift and running statistics of normalization, and parameters and buffers of your own
    activations, by their names in the state of the torch module. Empty without these.
loss_ : float
    Training loss of the last epoch, penalty included.
loss_curve_ : list of float
    Training loss of every epoch. With the stochastic solvers only.
learning_rate_curve_ : list of float
    Learning rate at the first step of every epoch. With the stochastic solvers only.
best_loss_ : float or None
    Least training loss; None with `early_stopping`. With the stochastic solvers only.
validation_scores_ : list of float or None
    Score of the validation rows after every epoch; None without `early_stopping` and `X_val`.
validation_loss_curve_ : list of float or None
    Loss of the validation rows after every epoch, without penalty and label smoothing; None
    without `early_stopping` and `X_val`.
best_validation_score_ : float or None
    The highest of the scores; None without `early_stopping` and `X_val`.
t_ : int
    Number of rows seen in training, repetitions included.
n_iter_ : int
    Number of epochs of the last call, or iterations of L-BFGS.
n_layers_ : int
    Number of layers, input and output included.
n_outputs_ : int
    Number of output units.
out_activation_ : str
    'softmax', 'logistic', 'identity', 'exp', or 'sort' for several quantiles.
n_features_in_ : int
    Number of features.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of the features, if all are strings.
callbacks_ : list of (str, skorch.callbacks.Callback)
    The copies of `callbacks` that the last call used, with their names.
device_ : str
    The device that was computed on. A model that is unpickled where it is absent says 'cpu'.
module_ : torch.nn.Sequential
    The model as an ordinary torch module, in eval mode and on the CPU, with its own copy of the
    weights, made anew on each access. Its outputs are raw, before the output activation.

    .. versionadded:: 0.1
net_ : skorch.NeuralNet
    The model as a skorch net, with its own copy of the weights, made anew on each access. Its
    outputs are raw, before the output activation.
    `net_.history` has one record for each epoch: `epoch`, `train_loss`, `train_loss_best`, `dur` in
    seconds, with validation rows `valid_score`, `valid_loss` and `valid_loss_best`, and what
    callbacks have recorded.
"""

REFERENCES = """\
References
----------
.. [1] Kingma, D. and Ba, J. (2014). Adam: A Method for Stochastic Optimization. arXiv:1412.6980.
.. [2] Sutskever, I., Martens, J., Dahl, G. and Hinton, G. (2013). On the importance of
   initialization and momentum in deep learning. ICML.
.. [3] Micikevicius, P. et al. (2018). Mixed Precision Training. ICLR.
{own}
.. [7] He, K., Zhang, X., Ren, S. and Sun, J. (2015). Delving Deep into Rectifiers. ICCV.
.. [8] Klambauer, G. et al. (2017). Self-Normalizing Neural Networks. NeurIPS.
.. [9] Loshchilov, I. and Hutter, F. (2019). Decoupled Weight Decay Regularization. ICLR.
.. [10] Loshchilov, I. and Hutter, F. (2017). SGDR: Stochastic Gradient Descent with Warm Restarts.
   ICLR.
.. [11] Smith, L. and Topin, N. (2019). Super-Convergence. SPIE 11006.
.. [12] Srivastava, N. et al. (2014). Dropout: A Simple Way to Prevent Neural Networks from
   Overfitting. JMLR 15.
.. [13] Ba, J., Kiros, J. and Hinton, G. (2016). Layer Normalization. arXiv:1607.06450.
.. [14] Ioffe, S. and Szegedy, C. (2015). Batch Normalization. ICML.
.. [15] Pascanu, R., Mikolov, T. and Bengio, Y. (2013). On the difficulty of training recurrent
   neural networks. ICML.
"""

CLASSIFIER_REFERENCES = """\
.. [4] Lin, T.-Y. et al. (2017). Focal Loss for Dense Object Detection. ICCV.
.. [5] Szegedy, C. et al. (2016). Rethinking the Inception Architecture for Computer Vision. CVPR.
"""

REGRESSOR_REFERENCES = """\
.. [4] Huber, P. (1964). Robust Estimation of a Location Parameter. Ann. Math. Statist. 35.
.. [5] Koenker, R. and Bassett, G. (1978). Regression Quantiles. Econometrica 46.
.. [6] Chernozhukov, V., Fernandez-Val, I. and Galichon, A. (2010). Quantile and Probability Curves
   Without Crossing. Econometrica 78.
"""


def document(estimator: type) -> type:
    """Put the shared parts in the place of `{parameters}` and the like in a class's docstring."""
    own = CLASSIFIER_REFERENCES if "Classifier" in estimator.__name__ else REGRESSOR_REFERENCES
    parts = {
        "{parameters}": PARAMETERS,
        "{attributes}": ATTRIBUTES,
        "{references}": REFERENCES.replace("{own}\n", own),
    }
    text = inspect.cleandoc(estimator.__doc__ or "")
    for place, part in parts.items():
        text = text.replace(place, part.rstrip())
    estimator.__doc__ = text + "\n"
    return estimator
