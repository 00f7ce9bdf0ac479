"""Training of learned agents: what is behind ``wirelessgym train CONFIG`` and ``wirelessgym.train.train``.

Every step samples fresh episodes, lets the agent act, and follows the gradient of its loss: through the task's own step where
that is differentiable, by the score function where actions are choices, see `wirelessgym.policy_gradient`.
"""

from wirelessgym.train.config import Configuration, ConfigurationError, TaskEntry, read_configuration
from wirelessgym.train.loop import DivergedError, train

__all__ = ["Configuration", "ConfigurationError", "DivergedError", "TaskEntry", "read_configuration", "train"]
