"""Documentation and method names that both estimators share.

The documentation of parameters and attributes that both share is written once, here.
"""

from __future__ import annotations

import inspect
from types import CellType, FunctionType

PARAMETERS = """\
hidden_layer_sizes : array-like of int or int, default=(100,)
    Number of units in each hidden layer. An empty tuple gives a linear model.
activation : str, callable, or list of them, default='relu'
    Activation function of the hidden layers:

    - 'identity' (x), 'logistic' (1 / (1 + exp(-x))), 'tanh' or 'relu' (max(0, x));
    - 'leaky_relu', 'elu', 'selu', 'gelu', 'silu', 'mish' or 'softplus', defined as in
      :mod:`torch.nn` with its default options;
    - 'parametric_selu', which is `z + a * (selu(z) - z)`, where each unit has its own learned
      weight `a`, which is initially 1 [18]_;
    - a callable that returns a :class:`torch.nn.Module`, such as `torch.nn.PReLU`. It is called
      once for each hidden layer.

    A list has one item for each hidden layer.

    The initial weights are uniform on [-b, b]. For scikit-learn's four functions and for callables,
    `b = sqrt(6 / (n_in + n_out))` (with 2 in place of 6 for 'logistic'), and the biases are drawn
    in the same way, as in scikit-learn. For 'leaky_relu', 'elu', 'gelu', 'silu' and 'mish',
    `b = sqrt(6 / n_in)` [7]_. For 'selu' [8]_ and 'softplus', `b = sqrt(3 / n_in)`. With these
    seven functions, the biases start at zero. An output layer that follows one of them has
    `b = sqrt(3 / n_in)` and zero biases.
solver : str, or class or partial of torch.optim.Optimizer, default='adam'
    - 'adam': Adam [1]_, a stochastic method with adaptive step sizes;
    - 'adamw': Adam with decoupled weight decay [9]_: before each update, all weights are multiplied
      by `1 - rate * alpha`, where `rate` is the current learning rate, and the loss has no penalty;
    - 'sgd': stochastic gradient descent with momentum [2]_;
    - 'lbfgs': SciPy's L-BFGS-B on all samples at once, which is often the best choice for up to a
      few thousand samples;
    - a subclass of :class:`torch.optim.Optimizer`, or a :func:`functools.partial` of one that sets
      its options. Its `lr` is `learning_rate_init`, and `alpha` is a penalty in the loss.
      Optimizers of :mod:`torch.optim` that update each value independently receive all parameters
      as one vector. All others receive the weights and biases of each layer. Optimizers that
      require a closure are not supported.
alpha : float, default=0.0001
    Strength of the L2 penalty on the weights. The penalty is `alpha / 2` times the sum of the
    squared weights, divided by the sum of the sample weights of the batch, and is added to the
    loss. Biases and the parameters of normalization and of your own activations are not penalized.
batch_size : int, 'auto' or 'by_rows', default='auto'
    Number of samples in each step of a stochastic solver. It is limited to the number of samples.
    'auto' is `min(200, n_samples)`. 'by_rows' depends on the number of training samples: 32 below
    3,000 samples, 64 below 5,000, 128 below 15,000, 256 below 100,000, 512 below 300,000, and 1,024
    otherwise.
learning_rate : str or callable, default='constant'
    Schedule of the learning rate. The first three only have an effect with `solver='sgd'`, the
    others with every stochastic solver.

    - 'constant': the learning rate is always `learning_rate_init`;
    - 'invscaling': after each epoch, the learning rate becomes
      `learning_rate_init / (t + 1) ** power_t`, where `t` is the number of samples processed so
      far;
    - 'adaptive': whenever training would otherwise stop because there is no improvement, the
      learning rate is divided by 5 instead, until it is at most 1e-6;
    - 'cosine': the learning rate decreases at every step, along half a cosine, from
      `learning_rate_init` to 0 at the end of `max_iter` epochs [10]_;
    - 'coslog': the learning rate rises to `learning_rate_init` and falls to 0 four times. Each of
      these waves takes twice as many steps as the one before [18]_;
    - 'one_cycle': the learning rate rises to `learning_rate_init` and falls again [11]_, as with
      :class:`torch.optim.lr_scheduler.OneCycleLR` and its defaults, but momentum and betas stay
      constant;
    - a callable that takes the torch optimizer and returns a scheduler from
      :mod:`torch.optim.lr_scheduler`. The scheduler takes one step after each epoch. A
      `ReduceLROnPlateau` scheduler monitors the validation loss, or the training loss if there are
      no validation data.

    'cosine', 'coslog' and 'one_cycle' only reach their end if all `max_iter` epochs are run. Set
    `n_iter_no_change=np.inf` to ensure this. In that case, there is no warning that `max_iter` was
    reached. With `partial_fit`, these schedules span `max_iter` calls.
learning_rate_init : float, default=0.001
    Initial learning rate of a stochastic solver. For 'one_cycle' and 'coslog', it is the maximum
    learning rate.
power_t : float, default=0.5
    Exponent of 'invscaling'.
max_iter : int or 'by_rows', default=200
    Maximum number of epochs of a stochastic solver (how often each sample is used, not the number
    of steps), or of iterations of L-BFGS. 'by_rows', which is for stochastic solvers, depends on
    the number of training samples: 128 epochs below 1,000 samples, 64 up to 50,000, and fewer for
    larger data, so that about 3.2 million samples are processed in total, but at least 8 epochs.
shuffle : bool, default=True
    Whether to shuffle the samples in each epoch of a stochastic solver.
random_state : int, RandomState instance or None, default=None
    Determines the initial weights, the validation split and the order of the samples. Pass an int
    to obtain the same model in each call. None uses NumPy's global generator.
tol : float, default=1e-4
    Tolerance for the stopping rule. An epoch counts as an improvement if the training loss falls by
    at least `tol` below the best one or, with `early_stopping`, if the validation score rises by at
    least `tol` above the best one. L-BFGS stops when no element of the gradient is larger than
    `tol` in absolute value.
verbose : bool, int or 'progress', default=False
    Whether to print the loss of each epoch. 'progress' instead shows one progress bar for all
    epochs, with the loss, the validation score, the learning rate and the remaining time. If joblib
    runs several fits in parallel, each of them prints one line when it ends.
warm_start : bool, default=False
    Whether `fit` starts from the weights of the fitted model instead of new initial weights.
momentum : float, default=0.9
    Momentum of 'sgd', in [0, 1].
nesterovs_momentum : bool, default=True
    Whether to use Nesterov's momentum [2]_.
early_stopping : bool or 'waves', default=False
    Whether a stochastic solver sets validation data aside, stops when the validation score no
    longer improves, and restores the weights with the best score. The score is the accuracy or R2,
    unless `scoring` is set. The validation split is only stratified for two classes. If `scoring`
    is a scorer, the training set and the validation set both contain every class with at least two
    samples. If you pass `X_val` to `fit`, it replaces the validation split.

    'waves' is for `learning_rate='coslog'`, where the learning rate falls to 0 four times [18]_. Of
    the weights at these four points, those with the smallest validation loss are restored. In two
    cases, the last wave, which makes up more than half of the epochs, also trains on the samples of
    the validation split, and its weights are kept instead. In both, the third wave decides: it is
    compared with the best of the two waves before.

    - If it reduces the validation loss by more than a share of `0.04 + 0.5 * n ** -0.5`, where n is
      the number of validation samples, the network does not overfit.
    - If it reduces the loss by less, or increases it by at most 10%, more regularization keeps the
      network from overfitting: until the end, dropout rates are doubled, up to 0.5, and the weight
      decay of 'adamw' is five times as high. If the loss increases, they are raised even more, by a
      factor of up to 1.5. This requires a classifier, `dropout` or `input_dropout`, and
      `regularization_schedule`.

    If it increases the loss by more than 10%, training ends. If training ends before the end of the
    first wave, the last weights are kept. `n_iter_no_change` and `tol` are ignored. The split is
    not stratified, but both parts contain every class with at least two samples.
validation_fraction : float, default=0.1
    Fraction of the samples that early stopping sets aside for validation, in [0, 1).
beta_1 : float, default=0.9
    Decay rate of Adam's estimate of the first moment, in [0, 1).
beta_2 : float, default=0.999
    Decay rate of Adam's estimate of the second moment, in [0, 1).
epsilon : float, default=1e-8
    Value that Adam adds to the square root of the second moment, before the bias correction of the
    second moment.
n_iter_no_change : int or inf, default=10
    Training stops after more than this number of consecutive epochs without improvement.
max_fun : int, default=15000
    Maximum number of evaluations of the loss by L-BFGS.
dropout : float or list of float, default=0.0
    Fraction of the outputs of a hidden layer that each training step sets to zero at random, in
    [0, 1). The remaining outputs are divided by one minus this fraction, so prediction works
    without dropout [12]_. A float applies to all hidden layers, and a list has one rate for each of
    them. Rates are rounded to the nearest multiple of 2 ** -16. `random_state` determines the
    dropout masks. They do not change the initial weights or the order of the samples.
input_dropout : float, default=0.0
    Fraction of the features that each training step sets to zero at random, like `dropout` for
    hidden layers.
normalization : {'layer', 'batch'} or None, default=None
    Normalization between the linear map and the activation of each hidden layer. 'layer' normalizes
    over the units for each sample [13]_, like :class:`torch.nn.LayerNorm`. 'batch' normalizes over
    the samples of a batch during training [14]_, and with running statistics in prediction, like
    :class:`torch.nn.BatchNorm1d`. A batch of one sample is normalized with the running statistics.
    A small last batch has inaccurate statistics, so choose a `batch_size` that avoids one.
warmup_fraction : float, default=0.0
    Fraction of all steps, in [0, 1), during which the learning rate of a stochastic solver rises
    linearly from zero to its usual value. 'cosine' and 'coslog' begin after the warm-up.
    'one_cycle' has its own warm-up.
max_grad_norm : float or None, default=None
    Maximum norm of the gradient in a stochastic solver. The norm is taken over all parameters and
    includes the penalty. A larger gradient is scaled down to this norm [15]_.
scoring : str, callable or None, default=None
    Score that early stopping monitors: the name of a scikit-learn scorer, a callable
    `(estimator, X, y) -> float`, or 'loss' for the negative validation loss. None uses the accuracy
    or R2, the D2 pinball score with `loss='quantile'`, and the negative validation loss with
    `loss='gamma'`. scikit-learn's scorers know all classes of the network, even if the validation
    data lack some of them: metrics of probabilities receive the classes as `labels`, and of two
    classes, the second is the positive one, unless 1 is a class or the scorer sets `pos_label`. If
    a scorer cannot be computed, `fit` raises an error before training.
callbacks : list or None, default=None
    List of skorch callbacks: instances, classes, or pairs of a name and one of these. `fit` uses
    copies, which are stored in `callbacks_`. They receive the model as a skorch net, whose
    `predict` returns your original labels. Use `set_callbacks` for scikit-learn's callbacks.
dtype : {'auto', 'float32', 'float64', 'bfloat16'}, default='auto'
    Precision of the computation and of the weights. 'auto' is float32 if `X` is float32, and
    float64 otherwise. In a later call of `partial_fit`, or of `fit` with `warm_start`, 'auto' keeps
    the precision of the model. 'bfloat16' uses mixed precision [3]_, which is meant for wide
    layers: activations and matrix products in training are bfloat16, while the weights, the state
    of the solver, sums, the loss and predictions are float32. It is slower than float32 on
    processors without bfloat16 units, and `fit` warns about this. With `solver='lbfgs'`, whose line
    search needs exact losses, 'bfloat16' has the same effect as 'float32'.
device : str, default='cpu'
    Device for the computation: any device string of torch ('cpu', 'cuda', 'cuda:1', 'mps', ...) or
    'auto'. 'auto' selects an accelerator (CUDA, or else MPS, which does not support float64) if
    there is one and a step takes at least 1e8 operations, and the CPU otherwise. A step takes six
    operations for each weight and sample of the batch, and twice as many in float64. If the device
    is not available, `fit` raises an error. Data that fit into half of the free memory of the
    device are copied to it once. Larger data are copied in chunks.
process_group : 'world', torch.distributed.ProcessGroup or None, default=None
    Processes that train one network together. Each process calls `fit` with its own samples and the
    same parameters. 'world' stands for all processes that were started by `torchrun` or
    :func:`torch.distributed.init_process_group`. Every process ends with the model that a single
    process would learn from the samples of all processes, in the order of the ranks, with the
    `random_state` of the first process. There are two exceptions: each process draws its own
    dropout masks, and computes its own statistics for batch normalization, of which those of the
    first process are kept. A group object is only valid in the current session, so it is pickled
    as None.
checkpoint_dir : str, os.PathLike or None, default=None
    Directory in which `fit` saves a checkpoint during training. The directory is created if it does
    not exist. If the process is killed, or after Ctrl-C, call the same `fit` again to continue from
    the checkpoint. The final model is the same, bit by bit, as without the interruption. Two calls
    are the same `fit` if the data, the parameters, the initial state and the versions are equal.
    The name of the file is derived from these. The file is removed when training ends. However, if
    joblib runs the fits, as in a search or a cross-validation, the file is kept, so that the same
    search, run again, loads the model from it. Checkpoints require an int as `random_state` and a
    stochastic solver. They do not contain the state of your own callbacks. `partial_fit` does not
    save checkpoints.
checkpoint_every : int, default=10
    Number of epochs between two checkpoints.
n_members : int, default=1
    Number of networks in an ensemble [16]_ [17]_. They are trained at the same time, on the same
    batches. Each member has its own initial weights, dropout masks, normalization and activations.
    The probabilities of a classifier and the predictions of a regressor are averaged over the
    members.

    The first member has the same initial weights as with `n_members=1`. The others are initialized
    by a separate generator, which also depends on `random_state`, so the validation split and the
    order of the samples are the same as with one network. The training loss is the mean of the
    members' losses, and `max_grad_norm` limits the gradient of each member separately. The
    validation loss, and the score that early stopping monitors, are computed from the averaged
    prediction. `solver='lbfgs'` only supports one network.
numeric_embedding : 'periodic', PeriodicEmbedding or None, default=None
    Adds learned periodic functions of each column that has more than two values to the inputs, as
    described in :class:`PeriodicEmbedding` [18]_. 'periodic' uses its default parameters. To set a
    parameter of a `PeriodicEmbedding`, use a name such as `numeric_embedding__scale`. All members
    share these functions, but no weights. Sparse input is not supported.
input_scaling : bool, default=False
    Whether to multiply each input of the first layer by a learned factor, which is initially 1. The
    factors let the network weight the columns [18]_. 'adam' and 'adamw' update them with 64 times
    the learning rate.
initialization : 'data' or None, default=None
    Method for drawing the initial weights. None uses the method described for `activation`. 'data'
    uses up to 2,048 training samples: the weights of each unit are drawn from a normal distribution
    and scaled so that its values on these samples have a standard deviation of 1. Its bias is
    chosen so that the unit is zero at a randomly weighted mean of five samples [18]_.
regularization_schedule : 'flat_cos' or None, default=None
    Schedule of the regularization during the steps of a stochastic solver. None keeps it constant.
    'flat_cos' keeps it constant in the first half of the steps, and decreases it to 0 along half a
    cosine in the second half [18]_. The schedule applies to the rates of `dropout` and
    `input_dropout`, and to the weight decay of 'adamw'. It has no effect without these.
    `early_stopping='waves'` may replace it in the last wave.
"""

ATTRIBUTES = """\
coefs_ : list of ndarray of shape (n_in, n_out) or (n_members, n_in, n_out)
    Weights of each layer, with a leading dimension if there are several members. You can edit or
    replace them: prediction, `partial_fit` and a warm start use the current values. You can also
    set them without calling `fit`, together with `intercepts_` and, for a classifier, `classes_`.
    See docs/elsewhere.md.
intercepts_ : list of ndarray of shape (n_out,) or (n_members, n_out)
    Biases of each layer, with a leading dimension if there are several members.
module_state_ : dict of str to ndarray
    Scale, shift and running statistics of the normalization layers, and parameters and buffers of
    your own activations. The keys are the names in the state of the torch module. The dict is empty
    if there are none. If there are several members, each array has a leading dimension for them.
loss_ : float
    Training loss of the last epoch, including the penalty. If there are several members, `loss_`
    and the loss curves are means over the members.
loss_curve_ : list of float
    Training loss of every epoch. Only available with stochastic solvers.
learning_rate_curve_ : list of float
    Learning rate at the first step of every epoch. Only available with stochastic solvers.
best_loss_ : float or None
    Smallest training loss, or None with `early_stopping`. Only available with stochastic solvers.
validation_scores_ : list of float or None
    Score on the validation data after every epoch, or None if neither `early_stopping` nor `X_val`
    is used. Only available with stochastic solvers.
validation_loss_curve_ : list of float or None
    Loss on the validation data after every epoch, without penalty and label smoothing, or None if
    neither `early_stopping` nor `X_val` is used. If there are several members, it is the loss of
    the averaged prediction. Only available with stochastic solvers.
best_validation_score_ : float or None
    Highest score on the validation data, or None if neither `early_stopping` nor `X_val` is used.
    Only available with stochastic solvers.
best_epoch_ : int or None
    Epoch whose weights `early_stopping` has restored, counted from 1 in `loss_curve_`. It is None
    without `early_stopping`, or if no epoch was better than the weights with which a warm start
    began. Only available with stochastic solvers.
t_ : int
    Number of samples processed in training, including repetitions.
n_iter_ : int
    Number of epochs of the last call, or number of iterations of L-BFGS.
n_layers_ : int
    Number of layers, including the input and output layers.
n_outputs_ : int
    Number of output units.
out_activation_ : str
    Activation function of the output layer: 'softmax', 'logistic', 'identity', 'exp', or 'sort' for
    several quantiles.
n_features_in_ : int
    Number of features seen during `fit`.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of the features seen during `fit`. Defined only when `X` has column names that are all
    strings.
callbacks_ : list of (str, skorch.callbacks.Callback)
    Copies of `callbacks` that the last call used, with their names.
device_ : str
    Device of the last training. It is 'cpu' if the model was unpickled on a machine without that
    device.
module_ : torch.nn.Sequential, or torch.fx.GraphModule if there are several members
    The model as an ordinary torch module, in eval mode and on the CPU. Each access creates a new
    module with its own copy of the weights. It returns raw outputs, before the output activation.
net_ : skorch.NeuralNet
    The model as a skorch net. Each access creates a new net with its own copy of the weights. Its
    `predict`, `predict_proba` and `score` return the same results as the estimator, and `forward`
    and `infer` return raw outputs, before the output activation.
    `net_.history` has one record for each epoch. A record contains `epoch`, `train_loss`,
    `train_loss_best` and `dur` in seconds, with validation data also `valid_score`, `valid_loss`
    and `valid_loss_best`, and everything that callbacks have recorded. Files do not store `dur`,
    which is NaN after loading.
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
