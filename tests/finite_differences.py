"""Gradients through a task's step against central differences."""

import pytest
import torch


def assert_gradient_is_finite_difference(task, state, point, direction, step, **tolerance):
    """Compare the slope of the summed reward along ``direction`` with a difference over ``step`` to both sides."""
    action = point.clone().requires_grad_()
    task.step(state, action)[1].reward.sum().backward()

    def value(t):
        return float(task.step(state, point + t * direction)[1].reward.double().sum())

    slope = float((action.grad.conj() * direction).sum().real)
    assert slope == pytest.approx((value(step) - value(-step)) / (2 * step), **tolerance)


def complex_pair(*shape):
    """A point and a direction."""
    return torch.randn(2, *shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
