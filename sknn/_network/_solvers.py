"""Solvers turn a gradient vector into a new parameter vector, by scikit-learn's formulas.

Each stochastic solver is a `torch.optim.Optimizer` over the one vector of `FlatParameters`. The
values that it keeps for each parameter are the rows of `FlatParameters.slots`; `numbers` and
`restore` save and restore its few other values. `TorchSolver` wraps an optimizer of torch, or of
the user.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from sknn._network._parameters import FlatParameters
from sknn._network._solver_options import SOLVER_OPTIONS
from sknn._platform import _compat
from sknn._platform._torch_settings import float32_as_default, is_float32_default
from sknn._platform._user_code import blamed_on

# Number of values in a block: few enough to stay in cache, and enough for the calls to cost little.
_BLOCK = 2**18
# Torch's loops round the last values of a vector, which do not fill a register, in another way than
# the others. So a vector is cut only at multiples of this number, which all registers divide.
_REGISTERS = 64


class Solver(torch.optim.Optimizer):
    """A first-order update of one flat vector.

    Subclasses define `n_slots`, the number of values that they keep for each parameter, and
    implement `update`. Those that can add the penalty in their own pass over memory also define the
    number of weights from which on that pays (`n_weights_of_large`). The training loop calls
    `update` and not `step`, because torch wraps every `step` in a profiler's record, which costs as
    much as the update of a small network.
    """

    n_slots: ClassVar[int]
    n_weights_of_large: ClassVar[float] = math.inf

    def __init__(self, parameters: FlatParameters, learning_rate_init: float, **defaults: Any):
        # Views are made once: in a step of a small network, each costs as much as an operation.
        self._vector, self._gradient = parameters.storage[0], parameters.gradient
        self._slots = list(parameters.slots)
        self._n_weights = len(parameters.penalized)
        self._decay = 0.0
        self.n_updates = 0
        _compat.mark_as_stepped(self)
        super().__init__(
            [parameters.vector],
            {"lr": learning_rate_init, "learning_rate_init": learning_rate_init, **defaults},
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group. Torch's method imports its compiler, which takes a second."""
        group = {**self.defaults, **param_group}
        self.param_groups.append({**group, "params": list(group["params"])})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Call `update` under torch's name. The gradient is the `grad` of the vector."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        self.update()
        return value

    def update(self) -> None:
        """Update the vector by its gradient."""
        raise NotImplementedError

    def takes_penalty(self) -> bool:
        """Return whether a step may leave the penalty to `penalize`, and prepare for it.

        That is worth it for many weights, on one thread of a CPU. The results are the same.
        """
        is_on_one_thread = self._vector.device.type == "cpu" and torch.get_num_threads() == 1
        return is_on_one_thread and self._n_weights >= self.n_weights_of_large

    def penalize(self, decay: float) -> None:
        """Let the next update add the weights times a factor to their gradient first.

        This saves a pass over memory. The gradient need not contain the penalty afterwards.
        """
        self._decay = decay

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer that schedulers and callbacks are given."""
        return self

    def mark(self) -> dict[str, Any]:
        """Return the values beside the slots that an interrupted epoch may have changed."""
        return {"lr": self.param_groups[0]["lr"], "n_updates": self.n_updates}

    def numbers(self) -> dict[str, Any]:
        """Return the values beside the slots that a later `partial_fit` needs to continue."""
        group = {k: v for k, v in self.param_groups[0].items() if k != "params"}
        return {**group, "n_updates": self.n_updates}

    def restore(self, numbers: dict[str, Any]) -> None:
        """Restore what `numbers` or `mark` returned, including the first call's hyperparameters."""
        numbers = dict(numbers)
        self.n_updates = numbers.pop("n_updates")
        self.param_groups[0].update(numbers)


class SGD(Solver):
    """Stochastic gradient descent with momentum, by scikit-learn's formulas.

    With velocity v, rate r, momentum m and gradient g, the update is v <- m v - r g, then
    w <- w + v. Nesterov's momentum applies the velocity once more: w <- w + m v - r g (Sutskever et
    al., 2013).
    """

    n_slots = SOLVER_OPTIONS["sgd"].n_slots
    n_weights_of_large = 2**20  # because each block costs five calls

    def __init__(
        self,
        parameters: FlatParameters,
        learning_rate_init: float = 0.001,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        learning_rate: str = "constant",
        power_t: float = 0.5,
    ) -> None:
        # The schedule is kept here because it outlives one call of partial_fit. `_stopping` applies
        # it.
        super().__init__(
            parameters,
            learning_rate_init,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            learning_rate=learning_rate,
            power_t=power_t,
        )

        self._blocks = self._cut(len(self._vector))

    def _cut(self, size: int) -> list[tuple[torch.Tensor, ...]]:
        """Cut the vectors into blocks: all parameters, gradient, velocity; weights, gradient."""
        vectors = (self._vector, self._gradient, *self._slots)
        weights = [vector[: self._n_weights] for vector in vectors[:2]]
        return [
            tuple(vector[start : start + size] for vector in (*vectors, *weights))
            for start in range(0, len(self._vector), size)
        ]

    def takes_penalty(self) -> bool:
        if not super().takes_penalty():
            return False
        self._blocks = self._cut(_BLOCK)  # which the update passes over while it is in cache
        return True

    def update(self) -> None:
        group = self.param_groups[0]
        rate, momentum, is_nesterov = group["lr"], group["momentum"], group["nesterovs_momentum"]
        for vector, gradient, velocity, weights, weight_gradient in self._blocks:
            if self._decay:
                weight_gradient.add_(weights, alpha=self._decay)
            velocity.mul_(momentum).add_(gradient, alpha=-rate)
            if is_nesterov:
                vector.add_(velocity, alpha=momentum).add_(gradient, alpha=-rate)
            else:
                vector.add_(velocity)
        self.n_updates += 1


class Adam(Solver):
    """Adam (Kingma and Ba, 2014) in scikit-learn's form.

    With moments m and v and step t, the update is w <- w - r_t m / (sqrt(v) + epsilon) with the
    rate r_t = r sqrt(1 - beta_2^t) / (1 - beta_1^t). So epsilon is added to the root *before* its
    bias is corrected. Torch adds epsilon after the correction: dividing ours by sqrt(1 - beta_2^t)
    gives the same update, so that torch's fused kernel can do it in one pass over memory.
    """

    n_slots = SOLVER_OPTIONS["adam"].n_slots
    n_weights_of_large = 2**16  # because one call is added

    def __init__(
        self,
        parameters: FlatParameters,
        learning_rate_init: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        factors: Sequence[tuple[slice, float]] = (),
    ) -> None:
        super().__init__(
            parameters, learning_rate_init, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon
        )
        device = parameters.vector.device
        self._fused = _compat.has_adam_kernel(device.type)
        self._step_count = torch.zeros((), dtype=torch.float32, device=device)
        self._vectors = [self._vector, self._gradient, *self._slots]
        # The kernel decays all that it is given. So the first part consists of weights only.
        n_first = self._n_weights // _REGISTERS * _REGISTERS
        self._first = [vector[:n_first] for vector in self._vectors]
        self._rest = [vector[n_first:] for vector in self._vectors]
        self._other_weights = [vector[n_first : self._n_weights] for vector in self._vectors[:2]]
        self._parts = [([v[of] for v in self._vectors], factor) for of, factor in factors]
        self._has_factors = bool(factors)
        if not factors:
            self._parts = [(self._vectors, 1.0)]

    def takes_penalty(self) -> bool:
        return self._fused and not self._has_factors and super().takes_penalty()

    def update(self) -> None:
        group = self.param_groups[0]
        beta_1, beta_2, epsilon = group["beta_1"], group["beta_2"], group["epsilon"]
        self.n_updates += 1
        t = self.n_updates
        root = math.sqrt(1 - beta_2**t)
        if self._fused:
            parts = [(vectors, factor, 0.0) for vectors, factor in self._parts]
            if self._decay:
                weights, gradient = self._other_weights
                gradient.add_(weights, alpha=self._decay)
                parts = [(self._first, 1.0, self._decay), (self._rest, 1.0, 0.0)]
            self._step_count.fill_(t)
            for vectors, factor, decay in parts:
                _compat.adam_step_(
                    *vectors,
                    self._step_count,
                    lr=group["lr"] * factor,
                    beta_1=beta_1,
                    beta_2=beta_2,
                    epsilon=epsilon / root,
                    decay=decay,
                )
            return
        _, gradient, mean, square = self._vectors
        mean.mul_(beta_1).add_(gradient, alpha=1 - beta_1)
        square.mul_(beta_2).addcmul_(gradient, gradient, value=1 - beta_2)
        rate = group["lr"] * root / (1 - beta_1**t)
        for (vector, _, mean, square), factor in self._parts:
            vector.addcdiv_(mean, square.sqrt().add_(epsilon), value=-rate * factor)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Before the update of Adam, every weight is multiplied by 1 - r alpha, with the rate r of the
    step. Biases are not multiplied, and the loss and its gradient contain no penalty.
    """

    def __init__(
        self,
        parameters: FlatParameters,
        learning_rate_init: float = 0.001,
        *,
        alpha: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(parameters, learning_rate_init, **options)
        self.param_groups[0]["alpha"] = alpha
        self._penalized = parameters.penalized
        self.strength = 1.0  # of the decay, which a schedule may change from step to step

    def update(self) -> None:
        group = self.param_groups[0]
        self._penalized.mul_(1 - group["lr"] * group["alpha"] * self.strength)
        super().update()


SOLVERS: dict[str, type[Solver]] = {"adam": Adam, "adamw": AdamW, "sgd": SGD}

# Optimizers of torch that update every value independently of the others. They give the same result
# for one flat vector. All other optimizers are given the tensors of the layers.
_ELEMENTWISE = frozenset(
    getattr(torch.optim, name)
    for name in (
        "ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax",
        "NAdam", "RAdam", "RMSprop", "Rprop", "SGD",
    )
)  # fmt: skip


class TorchSolver:
    """An optimizer of torch, or of the user, with the methods that the training loop calls.

    Parameters
    ----------
    solver : type of torch.optim.Optimizer, or functools.partial of one
        Function that makes the optimizer.
    parameters : FlatParameters
        The parameters to update.
    module : torch.nn.Module
        Module whose parameters are given to an optimizer that depends on their shapes.
    learning_rate_init : float
        Learning rate of the optimizer.

    Raises
    ------
    ValueError
        If the optimizer refuses its options or the shapes of the parameters.
    """

    def __init__(
        self,
        solver: type | partial,
        parameters: FlatParameters,
        module: nn.Module,
        learning_rate_init: float,
    ) -> None:
        optimizer_class = solver.func if isinstance(solver, partial) else solver
        if optimizer_class in _ELEMENTWISE:
            self._vector = parameters.vector
            tensors = [parameters.vector]
        else:
            self._vector = None
            parameters.attach_gradients(module)
            tensors = list(module.parameters())
        where, refusal = f"The 'solver' parameter is {optimizer_class.__name__}, which", None
        with blamed_on(where), float32_as_default():
            try:
                self.optimizer = solver(tensors, lr=learning_rate_init)
            except (TypeError, ValueError) as error:
                refusal = error
        if refusal is not None:
            raise ValueError(
                f"{where} rejected its options"
                f" (including lr={learning_rate_init} from learning_rate_init), or parameters with"
                f" the shapes {[tuple(t.shape) for t in tensors]}: {refusal}"
            ) from refusal
        if any("lr" not in group for group in self.optimizer.param_groups):
            raise ValueError(
                f"The 'solver' parameter is {optimizer_class.__name__}, whose param_groups"
                " contain no 'lr'. An optimizer must accept its learning rate as lr and store it"
                " there, as the optimizers of torch.optim do."
            )
        _compat.mark_as_stepped(self.optimizer)
        self._step = self.optimizer.step if is_float32_default() else self._step_as_usual

    def _step_as_usual(self) -> None:
        with float32_as_default():
            self.optimizer.step()

    def update(self) -> None:
        """Update the parameters by their gradients."""
        where, overflow = (
            f"The 'solver' parameter is {type(self.optimizer).__name__}, whose step",
            None,
        )
        with blamed_on(where):
            try:
                self._step()
            except RuntimeError as error:
                # Torch raises this for a number that is too large for the dtype of the parameters.
                if "without overflow" not in str(error):
                    raise
                overflow = error
        if overflow is not None:
            raise ValueError(
                f"{where} is beyond the range of {self.param_groups[0]['params'][0].dtype}:"
                f" {overflow}. Lower learning_rate_init or the options of the optimizer, or"
                " use dtype='float64'."
            ) from overflow

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def _state_dict(self) -> dict[str, Any]:
        with blamed_on(
            f"The 'solver' parameter is {type(self.optimizer).__name__}, whose state_dict"
        ):
            return self.optimizer.state_dict()

    def mark(self) -> dict[str, Any]:
        """Return a copy of the optimizer's state."""
        return _map_leaves(
            lambda v: v.clone() if isinstance(v, torch.Tensor) else v, self._state_dict()
        )

    def numbers(self) -> dict[str, Any]:
        """Return the optimizer's state with arrays in place of tensors."""
        return _map_leaves(
            lambda v: v.detach().cpu().numpy().copy() if isinstance(v, torch.Tensor) else v,
            self._state_dict(),
        )

    def restore(self, numbers: dict[str, Any]) -> None:
        """Restore what `numbers` or `mark` returned."""
        tensors = _map_leaves(
            lambda v: torch.from_numpy(v.copy()) if isinstance(v, np.ndarray) else v, numbers
        )
        groups = self.optimizer.param_groups
        if self._vector is not None:
            _refuse_other_shapes(tensors["state"], self._vector.shape)
        self.optimizer.load_state_dict(tensors)
        # Torch has made new groups, but schedules hold the old ones, which are put back.
        for group, loaded in zip(groups, self.optimizer.param_groups, strict=True):
            group.update(loaded)
        self.optimizer.param_groups = groups
        # Torch has also converted the state of a parameter to the dtype of the parameter. That is
        # right for vectors (the dtype may differ from the one before), but NAdam keeps a number in
        # float32 beside them.
        vectors = dict(enumerate(vector for group in groups for vector in group["params"]))
        for index, state in tensors["state"].items():
            kept = self.optimizer.state[vectors.get(index, index)]
            for name, saved in state.items():
                is_number = isinstance(saved, torch.Tensor) and not saved.dim()
                if is_number and saved.dtype != kept[name].dtype:
                    kept[name] = saved.to(kept[name].device)


def _refuse_other_shapes(states: dict[int, dict[str, Any]], shape: torch.Size) -> None:
    """Raise an error if a tensor of the state does not have the shape of the parameters.

    Torch's fused kernels would read and write beyond the end of a tensor that is too small.
    """
    for state in states.values():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape not in ((), shape):
                raise ValueError(
                    f"the solver's state holds {name!r} of shape {tuple(value.shape)} for"
                    f" parameters of shape {tuple(shape)}"
                )


def _map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to all values in nested dicts, lists and tuples."""
    if isinstance(tree, dict):
        return {key: _map_leaves(function, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_map_leaves(function, value) for value in tree)
    return function(tree)


def clip_gradient_(gradient: torch.Tensor, max_norm: float) -> None:
    """Scale a gradient down to the norm `max_norm` if its norm is larger (Pascanu et al., 2013).

    The norm is read on a CPU only. The host would have to wait for it on another device.
    """
    if gradient.device.type == "cpu":
        array = gradient.numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            square = float(np.dot(array, array))
            if math.isinf(square):  # it overflowed in float32
                square = float(np.square(array, dtype=np.float64).sum())
            if math.isinf(square):  # it overflowed in float64
                largest = float(np.abs(array).max())
                root = math.sqrt(np.square(array / largest).sum())
                if largest * root > max_norm:
                    gradient.div_(largest).mul_(max_norm / root)
                return
        if square > max_norm * max_norm:
            gradient.mul_(max_norm / math.sqrt(square))
        return
    norm = torch.linalg.vector_norm(gradient)
    gradient.mul_(torch.clamp(max_norm / norm, max=1.0))


def clipping_of(parameters: FlatParameters, max_norm: float) -> Callable[[], None]:
    """Return a function that clips the gradient of each member by the member's own norm.

    The values of a member, which have gaps between them, are clipped in a copy. What members share
    is clipped by its own norm. The views are made once, because in a step of a small network each
    costs as much as an operation.
    """
    gradient = parameters.gradient
    if parameters.n_members == 1:
        return partial(clip_gradient_, gradient, max_norm)
    members = [parameters.of_member(gradient, i) for i in range(parameters.n_members)]
    shared = parameters.shared(gradient)
    sizes = [view.numel() for view in members[0]]
    own = gradient.new_empty(sum(sizes))
    parts = [p.view(v.shape) for p, v in zip(own.split(sizes), members[0], strict=True)]

    def clip_each() -> None:
        if len(shared):
            clip_gradient_(shared, max_norm)
        for views in members:
            for part, view in zip(parts, views, strict=True):
                part.copy_(view)
            clip_gradient_(own, max_norm)
            for part, view in zip(parts, views, strict=True):
                view.copy_(part)

    return clip_each


def solver_name(solver: str | type | partial) -> str:
    """Return the name of a solver in the state that outlives a training."""
    if isinstance(solver, str):
        return solver
    optimizer_class = solver.func if isinstance(solver, partial) else solver
    return f"{optimizer_class.__module__}.{optimizer_class.__qualname__}"


def make_solver(
    parameters: FlatParameters,
    module: nn.Module,
    options: Mapping[str, Any],
    resumed: dict[str, Any] | None = None,
) -> Solver | TorchSolver:
    """Return the solver that `options` name, new or in the state that an earlier call has left."""
    name, rate = options["solver"], options["learning_rate_init"]
    if name not in SOLVERS:
        solver = TorchSolver(name, parameters, module, rate)
    else:
        chosen = {n: options[n] for n in SOLVER_OPTIONS[name].names}
        if callable(chosen.get("learning_rate")):
            del chosen["learning_rate"]  # a scheduler of torch, which keeps its own state
        if issubclass(SOLVERS[name], Adam):
            chosen["factors"] = parameters.rate_factors()
        solver = SOLVERS[name](parameters, rate, **chosen)
    if resumed is not None:
        solver.restore(resumed["numbers"])
        for row, arrays in enumerate(resumed["slots"], 1):
            parameters.write(*arrays, row=row)
    return solver
