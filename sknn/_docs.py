"""What both estimators present to the user in the same way: documentation and names of methods.

The documentation of parameters and attributes that both share is written once, here.
"""

from __future__ import annotations

import inspect
from types import CellType, FunctionType

PARAMETERS = """\
hidden_layer_sizes : array-like of int or int, default=(100,)
    Number of units in each hidden layer. An empty tuple gives a linear model.
activation : str, callable, or list of them, default='relu'
    Function of the hidden layers: 'identity' (x), 'logistic' (1 / (1 + exp(-x))), 'tanh', 'relu'
    (max(0, x)); or one of 'leaky_relu', 'elu', 'selu', 'gelu', 'silu', 'mish', 'softplus', by the
    formulas of :mod:`torch.nn` with its defaults; or 'parametric_selu', which is
    `z + a * (selu(z) - z)` with a learned weight `a` of each unit, 1 at first [18]_; or a callable
    that returns a
    :class:`torch.nn.Module`, such as `torch.nn.PReLU`, and is called once for each hidden layer. A
    list has one item for each hidden layer.

    The initial weights are uniform on [-b, b]. For scikit-learn's four functions and for callables,
    `b = sqrt(6 / (n_in + n_out))` (with 2 in place of 6 for 'logistic'), and the biases are drawn
    in the same way, as in scikit-learn. For 'leaky_relu', 'elu', 'gelu', 'silu' and 'mish',
    `b = sqrt(6 / n_in)` [7]_. For 'selu' [8]_ and 'softplus', `b = sqrt(3 / n_in)`. With these
    seven the biases are zero, and an output layer that follows one of them has
    `b = sqrt(3 / n_in)` and zero biases.
solver : str, or class or partial of torch.optim.Optimizer, default='adam'
    - 'adam': Adam [1]_, with steps of adaptive size on batches;
    - 'adamw': Adam with decoupled weight decay [9]_: before each update, all weights are multiplied
      by `1 - rate * alpha`, and the loss has no penalty;
    - 'sgd': stochastic gradient descent with momentum [2]_;
    - 'lbfgs': L-BFGS-B of SciPy on all rows at once, which is often best below a few thousand rows;
    - a subclass of :class:`torch.optim.Optimizer`, or a :func:`functools.partial` of one with its
      options. Its `lr` is `learning_rate_init`, and `alpha` is the penalty of the loss. Optimizers
      of :mod:`torch.optim` that treat every value by itself get all parameters as one vector. All
      others get the weights and biases of each layer. An optimizer that needs a closure is an
      error.
alpha : float, default=0.0001
    Strength of the L2 penalty on the weights, but not the biases: `alpha / 2` times the sum of
    their squares, divided by the sum of the sample weights of the batch, is part of the loss. It
    does not act on the parameters of normalization and of your own activations.
batch_size : int, 'auto' or 'by_rows', default='auto'
    Number of rows in one step of a stochastic solver, at most all of them. 'auto' is
    `min(200, n_samples)`. 'by_rows' grows with the number of rows to learn from: 32 below 3,000
    rows, 64 below 5,000, 128 below 15,000, 256 below 100,000, 512 below 300,000, and 1,024 from
    there on.
learning_rate : str or callable, default='constant'
    Schedule of the learning rate. The first three act with `solver='sgd'` only, the others with
    every stochastic solver.

    - 'constant': the rate is `learning_rate_init` throughout;
    - 'invscaling': after each epoch, the rate is `learning_rate_init / (t + 1) ** power_t`, where
      `t` is the number of rows seen;
    - 'adaptive': the rate is divided by 5 each time that training would otherwise stop for lack of
      improvement, until it is at most 1e-6;
    - 'cosine': the rate falls with each step, from `learning_rate_init` along half a cosine to 0 at
      the end of `max_iter` epochs [10]_;
    - 'coslog': the rate rises to `learning_rate_init` and falls to 0 four times, each time for
      twice as many steps as the time before [18]_;
    - 'one_cycle': the rate rises to `learning_rate_init` and falls again [11]_, as with
      :class:`torch.optim.lr_scheduler.OneCycleLR` and its defaults, but momentum and betas do not
      change;
    - a callable that takes the torch optimizer and returns a scheduler of
      :mod:`torch.optim.lr_scheduler`, which is stepped after each epoch. A `ReduceLROnPlateau`
      gets the validation loss, or without validation rows the training loss.

    'cosine', 'coslog' and 'one_cycle' reach their end only if all `max_iter` epochs are run; set
    `n_iter_no_change=np.inf` to ensure this, and no warning says then that `max_iter` was reached.
    With `partial_fit` the horizon is `max_iter` calls.
learning_rate_init : float, default=0.001
    The first rate of a stochastic solver, or the highest rate of 'one_cycle' and 'coslog'.
power_t : float, default=0.5
    Exponent of 'invscaling'.
max_iter : int or 'by_rows', default=200
    Largest number of epochs of a stochastic solver (how often each row is used, not the number of
    steps), or of iterations of L-BFGS. 'by_rows', for stochastic solvers, follows from the number
    of rows to learn from: it is 128 below 1,000 rows, 64 up to 50,000, and falls above so that 3.2
    million rows are read in all, but not below 8.
shuffle : bool, default=True
    Whether the rows are put in a new order in each epoch of a stochastic solver.
random_state : int, RandomState instance or None, default=None
    Source of the initial weights, the validation split and the order of rows. An int gives the
    same model each time. None draws from NumPy's global generator.
tol : float, default=1e-4
    An epoch counts as no improvement if the training loss does not fall by `tol` below the best
    one, or, with `early_stopping`, if the validation score does not rise by `tol` above the best
    one. L-BFGS stops when no element of the gradient is larger.
verbose : bool, int or 'progress', default=False
    Whether to print the loss of each epoch. 'progress' shows one bar for all epochs instead, with
    loss, validation score, rate and time left. Each of several fits that joblib runs side by side
    prints one line when it ends.
warm_start : bool, default=False
    Whether `fit` starts from the weights of the fitted model.
momentum : float, default=0.9
    Momentum of 'sgd', in [0, 1].
nesterovs_momentum : bool, default=True
    Whether the momentum is Nesterov's [2]_.
early_stopping : bool or 'waves', default=False
    Whether a stochastic solver sets rows aside, stops when their score does not improve, and
    restores the weights of the best score. The score is the accuracy, or R2, or what `scoring`
    says. The split is stratified for two classes only; if `scoring` is a scorer, each class of two
    rows or more has at least one row on both sides. Validation rows given to `fit` as `X_val`
    replace the split.

    'waves' is for `learning_rate='coslog'`, whose rate falls to 0 four times [18]_. The weights are
    restored of that of the four ends which has the least validation loss. But if the third wave
    takes off more than 5% + n ** -0.5 of the loss that the second one has left, with n validation
    rows, the network does not over-fit: then the last wave, more than half of the epochs, learns
    from the rows that were set aside too, and its weights are kept. A training that ends before the
    first end keeps its last weights. `n_iter_no_change` and `tol` are not read, and the split is
    not stratified, but each class of two rows or more has one on both sides.
validation_fraction : float, default=0.1
    Share of the rows that early stopping sets aside, in [0, 1).
beta_1 : float, default=0.9
    Decay of Adam's first moment, in [0, 1).
beta_2 : float, default=0.999
    Decay of Adam's second moment, in [0, 1).
epsilon : float, default=1e-8
    Number that Adam adds to the root of the second moment before its bias is corrected.
n_iter_no_change : int or inf, default=10
    Training stops after more than this number of epochs in a row without improvement.
max_fun : int, default=15000
    Largest number of evaluations of the loss by L-BFGS.
dropout : float or list of float, default=0.0
    Share of the outputs of a hidden layer that a training step leaves out at random, in [0, 1). The
    other outputs are divided by one minus the share, so that prediction needs no change [12]_. A
    float is the rate of all hidden layers, and a list has one rate for each. Rates act as the
    nearest multiple of 2 ** -16. The draws follow from `random_state`, and do not change the
    initial weights and the order of rows.
input_dropout : float, default=0.0
    Share of the features that a training step leaves out at random, as `dropout` does in layers.
normalization : {'layer', 'batch'} or None, default=None
    Normalization between the linear map and the activation of each hidden layer. 'layer' normalizes
    over the units of a row [13]_, as :class:`torch.nn.LayerNorm` does. 'batch' normalizes over the
    rows of a batch [14]_, and in prediction by running statistics, as
    :class:`torch.nn.BatchNorm1d` does. A batch of one row is normalized by the running statistics.
    The statistics of a small last batch are poor: choose a `batch_size` that leaves no such batch.
warmup_fraction : float, default=0.0
    Share of all steps, in [0, 1), over which a stochastic solver's rate rises linearly from zero to
    what it would be otherwise. 'cosine' begins where the rise ends. 'one_cycle' has its own rise.
max_grad_norm : float or None, default=None
    Largest norm of a gradient of a stochastic solver, over all parameters and with the penalty. A
    larger gradient is scaled down to this norm [15]_.
scoring : str, callable or None, default=None
    The score that early stopping watches: a scorer of scikit-learn by name, a callable
    `(estimator, X, y) -> float`, or 'loss' for the negative loss of the validation rows. None is
    the accuracy, or R2; with `loss='quantile'` it is the D2 pinball score, and with `loss='gamma'`
    the loss. A scorer of scikit-learn
    knows the classes of the network, even those without validation rows: metrics of probabilities
    get them as `labels`, and of two classes the second is the positive one, unless 1 is a class or
    the scorer sets `pos_label`. A scorer that cannot be computed is an error before training.
callbacks : list or None, default=None
    Callbacks of skorch: instances, classes, or pairs of a name and one of these. `fit` uses copies,
    which are in `callbacks_` afterwards. They get the model as a skorch net, whose `predict`
    returns your own labels. To use callbacks of scikit-learn, call `set_callbacks`.
dtype : {'auto', 'float32', 'float64', 'bfloat16'}, default='auto'
    Precision of the computation and of the weights. 'auto' is float32 if `X` is float32, and
    float64 otherwise. In a later `partial_fit`, or a `fit` with `warm_start`, 'auto' keeps the
    precision of the model. 'bfloat16' is mixed precision [3]_, for wide layers: activations and
    matrix products of the training are bfloat16, while the weights, the state of the solver, sums,
    the loss and predictions are float32. A processor without a unit for such products is slower,
    and a warning says so. With `solver='lbfgs'`, whose line search needs exact losses, 'bfloat16'
    acts as 'float32'.
device : str, default='cpu'
    Device to compute on: any device string of torch ('cpu', 'cuda', 'cuda:1', 'mps', ...) or
    'auto'. 'auto' is the accelerator (CUDA, else MPS, which never gets float64) if there is one and
    a step takes at least 1e8 operations, and the CPU otherwise. A step takes six operations for
    each weight and row of the batch, which count twice in float64. A device that is absent is an
    error. Data that take up to half of the device's free memory are moved there once, and larger
    data in chunks.
process_group : 'world', torch.distributed.ProcessGroup or None, default=None
    Processes that train one network together. Each of them calls `fit` with its own rows and the
    same parameters. 'world' is all processes that `torchrun` or
    :func:`torch.distributed.init_process_group` has made. All end with the model that one process
    would learn from the rows of all, in the order of the ranks, with the `random_state` of the
    first. Each process draws its own dropout and computes its own statistics of batch
    normalization, of which those of the first process are kept. A group object belongs to this
    session, so a pickle holds None in its place.
checkpoint_dir : str, os.PathLike or None, default=None
    Directory in which `fit` keeps a file of the running training. It is made if it is missing. The
    same `fit`, started again after the process has died or after Ctrl-C, continues from the file
    and ends with the model of a training that was never interrupted, bit by bit. It is the same
    `fit` if data, parameters, starting point and versions are the same; the name of the file is
    derived from them. The file is removed when training ends. In a search, a cross-validation, or
    anything else whose fits joblib runs, the file is kept, so that the same search, run again,
    takes the model from it. Checkpoints need an int as `random_state` and a stochastic solver, and
    leave out the state of your own callbacks. `partial_fit` makes no file.
checkpoint_every : int, default=10
    Number of epochs from one checkpoint to the next.
n_members : int, default=1
    Number of networks of an ensemble [16]_ [17]_, which are trained at once, on the same batches.
    Each member has initial weights, dropout, normalization and activations of its own. The
    probabilities of a classifier, and the predictions of a regressor, are means over the members.

    The initial weights of the first member are those of `n_members=1`. Those of the others come
    from a generator that `random_state` decides, and that leaves the split and the order of rows as
    they are with one network. The training loss is the mean of the members' losses, and
    `max_grad_norm` bounds the gradient of each member by itself. The validation loss, and the score
    that early stopping watches, are those of the mean prediction. `solver='lbfgs'` allows one
    network only.
numeric_embedding : 'periodic', PeriodicEmbedding or None, default=None
    Learned functions of each column that has more than two values, which stand beside the columns:
    periodic ones, as :class:`PeriodicEmbedding` describes them [18]_. 'periodic' stands for its
    defaults, and `numeric_embedding__scale` names a parameter of an object. All members share the
    functions, but no weights. Rows must be dense.
input_scaling : bool, default=False
    Whether each input of the first layer is multiplied by a learned factor, which is 1 at first.
    It lets the network weigh the columns [18]_. 'adam' and 'adamw' change the factors at 64 times
    the rate.
initialization : 'data' or None, default=None
    How the initial weights are drawn. None follows the activation, as said there. 'data' looks at
    up to 2,048 rows: the weights of a unit are normal, and scaled so that its values on these rows
    have a standard deviation of 1, and its bias makes it zero at a random mean of five of them
    [18]_.
regularization_schedule : 'flat_cos' or None, default=None
    How strong regularization is in the course of a stochastic solver's steps. None leaves it as it
    is. 'flat_cos' leaves it for the first half of the steps, and lets it fall to 0 along half a
    cosine in the second [18]_. It acts on the rates of `dropout` and `input_dropout`, and on the
    decay of the weights by 'adamw', and changes nothing without these.
"""

ATTRIBUTES = """\
coefs_ : list of ndarray of shape (n_in, n_out) or (n_members, n_in, n_out)
    Weights of each layer, with a leading dimension if there are several members. They may be edited
    or replaced: prediction, `partial_fit` and a warm start use the values that they find. They may
    also be set without a fit, together with `intercepts_` and the `classes_` of a classifier. See
    docs/elsewhere.md.
intercepts_ : list of ndarray of shape (n_out,) or (n_members, n_out)
    Biases of each layer, with a leading dimension if there are several members.
module_state_ : dict of str to ndarray
    Scale, shift and running statistics of normalization, and parameters and buffers of your own
    activations, by their names in the state of the torch module. It is empty if there are none. If
    there are several members, each array has a leading dimension for them.
loss_ : float
    Training loss of the last epoch, including the penalty. Here and in the curves, it is the mean
    over the members if there are several.
loss_curve_ : list of float
    Training loss of every epoch. Only stochastic solvers set it.
learning_rate_curve_ : list of float
    Learning rate at the first step of every epoch. Only stochastic solvers set it.
best_loss_ : float or None
    Smallest training loss, or None with `early_stopping`. Only stochastic solvers set it.
validation_scores_ : list of float or None
    Score of the validation rows after every epoch, or None without `early_stopping` and `X_val`.
    Only stochastic solvers set it.
validation_loss_curve_ : list of float or None
    Loss of the validation rows after every epoch, without penalty and label smoothing, or None
    without `early_stopping` and `X_val`. Of several members, it is the loss of the mean prediction.
    Only stochastic solvers set it.
best_validation_score_ : float or None
    Highest of the scores, or None without `early_stopping` and `X_val`. Only stochastic solvers set
    it.
best_epoch_ : int or None
    Epoch, counted from 1 in `loss_curve_`, whose weights `early_stopping` has restored. It is None
    without `early_stopping`, and if no epoch was better than the weights that a warm start began
    with. Only stochastic solvers set it.
t_ : int
    Number of rows seen in training, repetitions included.
n_iter_ : int
    Number of epochs of the last call, or iterations of L-BFGS.
n_layers_ : int
    Number of layers, input and output included.
n_outputs_ : int
    Number of output units.
out_activation_ : str
    Function of the output layer: 'softmax', 'logistic', 'identity', 'exp', or 'sort' for several
    quantiles.
n_features_in_ : int
    Number of features.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of the features. It is set only if `X` has names of columns that are all strings.
callbacks_ : list of (str, skorch.callbacks.Callback)
    The copies of `callbacks` that the last call used, with their names.
device_ : str
    Device of the last training. It is 'cpu' after unpickling on a machine without that device.
module_ : torch.nn.Sequential, or torch.fx.GraphModule if there are several members
    The model as an ordinary torch module, in eval mode and on the CPU, with its own copy of the
    weights, made anew on each access. Its outputs are raw, before the output activation.
net_ : skorch.NeuralNet
    The model as a skorch net, with its own copy of the weights, made anew on each access. Its
    `predict`, `predict_proba` and `score` give the estimator's results, and `forward` and `infer`
    give raw outputs, before the output activation.
    `net_.history` has one record for each epoch. It holds `epoch`, `train_loss`, `train_loss_best`,
    `dur` in seconds, with validation rows also `valid_score`, `valid_loss` and `valid_loss_best`,
    and what callbacks have recorded. Files do not keep `dur`, which is NaN after loading.
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
.. [16] Hansen, L. and Salamon, P. (1990). Neural Network Ensembles. IEEE PAMI 12.
.. [17] Lakshminarayanan, B., Pritzel, A. and Blundell, C. (2017). Simple and Scalable Predictive
   Uncertainty Estimation using Deep Ensembles. NeurIPS.
.. [18] Holzmueller, D., Grinsztajn, L. and Steinwart, I. (2024). Better by Default: Strong
   Pre-Tuned MLPs and Boosted Trees on Tabular Data. NeurIPS.
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
    """Fill in the shared parts, such as `{parameters}`, in the docstring of a class.

    The public methods that the class inherits from this package become its own.
    """
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
    for name in dir(estimator):
        method = inspect.getattr_static(estimator, name)
        is_ours = inspect.isfunction(method) and method.__module__.startswith("sknn.")
        if is_ours and name not in vars(estimator) and not name.startswith("_"):
            setattr(estimator, name, _method_of(estimator, method))
    return estimator


def _method_of(owner: type, function: FunctionType) -> FunctionType:
    """Return a copy of a method of a base class that has the name of another class.

    Python takes the name in "fit() got an unexpected keyword argument" from `__qualname__`, which
    would be that of a private base class. Where a decorator wraps the method, the method is copied
    too, because it is the one that refuses an argument. The module is that of the owner, so that
    pickle finds the copy by its name.
    """
    cells = function.__closure__
    attributes = dict(vars(function))
    if "__wrapped__" in attributes:
        wrapped = attributes["__wrapped__"]
        attributes["__wrapped__"] = copy = _method_of(owner, wrapped)
        cells = tuple(CellType(copy) if c.cell_contents is wrapped else c for c in cells)
    method = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, cells
    )
    for name in ("__annotations__", "__doc__", "__kwdefaults__"):
        setattr(method, name, getattr(function, name))
    vars(method).update(attributes)
    method.__module__ = owner.__module__
    method.__qualname__ = f"{owner.__name__}.{function.__name__}"
    return method
