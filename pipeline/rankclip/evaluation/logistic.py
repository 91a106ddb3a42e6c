"""Multinomial logistic regression with an L2 penalty, solved by L-BFGS.

The objective is scikit-learn's: the sum of the cross entropies plus penalty / 2 * ||weight||^2, the intercept
free, and for two classes one weight vector; its `C` is 1 / penalty.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from rankclip.evaluation.linear_layer import ROWS, Linear

if TYPE_CHECKING:
    from typing import Any

ITERATIONS = 1000
"""Most L-BFGS iterations of a fit: Radford et al., ICML 2021 (CLIP), appendix A.3."""
HISTORY = 20
"""Steps that L-BFGS remembers."""
FIRST_ROUND = 25
"""Iterations until the preconditioner is made anew, then twice as many, and so on: curvature falls as a
classifier grows sure of its rows."""
TOLERANCE = 1e-5
"""Largest slope at which a fit has arrived: of the objective relative to where the round began, in
preconditioned weights, where the curvature is about 1. Half its square is what a weight may still gain."""
LEAST_CURVATURE = 1e-3
"""Of the mean curvature at equal probabilities; keeps the scale of sure classifiers away from zero."""

LARGEST_PENALTY = 1e6
"""From which on a fit without a start begins at zero."""

log = logging.getLogger(__name__)


class Regression:
    """The rows of one training set, turned so that a fit of any penalty takes few iterations.

    Rows are centred (the free intercept takes up the mean) and rotated onto their principal axes (the penalty
    is the same there), which moves the optimum along and changes nothing else. On these axes the Hessian is
    nearly diagonal, exactly so where all classes are equally likely, and its diagonal preconditions L-BFGS.
    Where rows are fewer than dimensions, so are the axes: the optimum lies in the span of the rows.
    """

    def __init__(self, rows: Tensor, labels: Tensor, classes: int) -> None:
        """Takes `rows` `[N, D]` with `labels` `[N]` in `0..classes-1`; computes in float64 on their device.

        A class without a row is never predicted.
        """
        self.classes = classes
        self.present, self.targets = torch.unique(labels, return_inverse=True)
        self.mean = rows.mean(dim=0, dtype=torch.float64)
        self.axes, squares = _principal(rows, self.mean)
        self.rows = self.mean.new_ones(len(rows), self.axes.shape[1] + 1)
        """`[N, R + 1]`; the last column is the intercept's."""
        for part, turned in zip(torch.split(rows, ROWS), torch.split(self.rows, ROWS), strict=True):
            turned[:, :-1] = (part.double() - self.mean) @ self.axes
        self.squares = torch.cat([squares, squares.new_tensor([len(rows)])])
        """Sum of squares `[R + 1]` of each column."""

    def fit(
        self,
        penalty: float,
        start: Linear | None = None,
        iterations: int = ITERATIONS,
        tolerance: float = TOLERANCE,
    ) -> Linear:
        """The classifier of a `penalty` > 0, beginning at `start`, a classifier of this regression.

        Without a start the fit goes by way of larger penalties, two decades a step: rows that can be told
        apart without a mistake leave much open that a weak penalty alone decides slowly.
        """
        if start is None and (larger := 100 * penalty) <= LARGEST_PENALTY:
            start = self.fit(larger, None, iterations, tolerance)
        penalties = self.squares.new_full((len(self.squares), 1), penalty)
        if len(self.present) == 2:
            penalties *= 2  # two opposite rows have half the squared length of the one that they stand for
        penalties[-1] = 0
        weights = self._turned(start)
        done, round_ = 0, FIRST_ROUND
        while done < iterations:
            at_most = min(round_, iterations - done)
            weights, arrived = self._descend(weights, penalties, at_most, tolerance)
            if arrived:
                return self._straight(weights)
            done, round_ = done + round_, 2 * round_
        log.info("logistic regression with penalty %.3g stopped after %d iterations", penalty, iterations)
        return self._straight(weights)

    def _descend(
        self, weights: Tensor, penalties: Tensor, iterations: int, tolerance: float
    ) -> tuple[Tensor, bool]:
        """Weights after at most so many iterations, preconditioned at `weights`, and whether they arrived.

        The objective counts in units of where it starts: a loss near zero may have a long way to go still.
        """
        unit = self._objective(weights, penalties)[0]
        if not unit:
            return weights, True
        scale = ((self.squares[:, None] * self._curvature(weights) + penalties) / unit).sqrt()
        scaled = weights * scale
        optimiser = torch.optim.LBFGS(
            [scaled],
            max_iter=iterations,
            max_eval=100 * iterations,  # no limit of its own
            tolerance_grad=tolerance,
            tolerance_change=1e-12,
            history_size=HISTORY,
            line_search_fn="strong_wolfe",
        )
        last = 1.0

        def relative() -> float:
            nonlocal last
            value, slope = self._objective(scaled / scale, penalties)
            scaled.grad = slope / scale / unit
            last = value / unit
            return last

        optimiser.step(relative)  # type: ignore[no-untyped-call]
        state: dict[str, Any] = optimiser.state[scaled]
        return scaled / scale, state["n_iter"] < iterations and last > 0.5

    def _objective(self, weights: Tensor, penalties: Tensor) -> tuple[float, Tensor]:
        """The objective and its gradient `[R + 1, P]` at `weights`."""
        loss, slope = self._cross_entropy(weights)
        return loss + float((penalties * weights.square()).sum()) / 2, slope.addcmul_(penalties, weights)

    def _cross_entropy(self, weights: Tensor) -> tuple[float, Tensor]:
        """Sum of the cross entropies and its gradient `[R + 1, P]` at `weights`, rows in parts for memory."""
        loss = weights.new_zeros(())
        slope = torch.zeros_like(weights)
        for rows, targets in zip(torch.split(self.rows, ROWS), torch.split(self.targets, ROWS), strict=True):
            logs = functional.log_softmax(rows @ weights, dim=1)
            own = targets[:, None]
            loss -= logs.gather(1, own).sum()
            wrong = logs.exp_().scatter_add_(1, own, logs.new_full(own.shape, -1.0))
            slope.addmm_(rows.T, wrong)
        return float(loss), slope

    def _curvature(self, weights: Tensor) -> float:
        """Mean eigenvalue of the Hessian of a row's cross entropy in its logits; 1 / P at zero."""
        count = len(self.present)
        if count == 1:
            return 1.0
        spread = 0.0
        for rows in torch.split(self.rows, ROWS):
            spread += float((1 - functional.softmax(rows @ weights, dim=1).square().sum(dim=1)).sum())
        return max(spread / len(self.rows) / (count - 1), LEAST_CURVATURE / count)

    def _turned(self, linear: Linear | None) -> Tensor:
        """Weights `[R + 1, P]` of the classes present, in the coordinates of `rows`."""
        if linear is None:
            return self.rows.new_zeros(self.rows.shape[1], len(self.present))
        weight = linear.weight[self.present]
        bias = linear.bias[self.present] + weight @ self.mean
        return torch.cat([self.axes.T @ weight.T, (bias - bias.mean())[None]])

    def _straight(self, weights: Tensor) -> Linear:
        """The inverse of `_turned`."""
        weight = self.mean.new_zeros(self.classes, len(self.mean))
        bias = self.mean.new_full((self.classes,), -torch.inf)
        weight[self.present] = weights[:-1].T @ self.axes.T
        bias[self.present] = weights[-1] - weight[self.present] @ self.mean
        return Linear(weight, bias)


def _principal(rows: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Principal axes `[D, R]` of `rows` `[N, D]` less `mean`, R = min(N, D), and sums of squares `[R]`."""
    if len(rows) < len(mean):
        _, lengths, axes = torch.linalg.svd(rows.double() - mean, full_matrices=False)
        return axes.T.contiguous(), lengths.square()
    products = mean.new_zeros(len(mean), len(mean))
    for part in torch.split(rows, ROWS):
        centred = part.double() - mean
        products.addmm_(centred.T, centred)
    squares, axes = torch.linalg.eigh(products)
    return axes, squares.clamp_min(0)
