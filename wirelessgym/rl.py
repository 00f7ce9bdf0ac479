"""Batched environments for Stable-Baselines3, whose own ``VecEnv`` would step them one by one (extra ``rl``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatten_space
from gymnasium.vector import AutoresetMode
from gymnasium.vector import VectorEnv as GymnasiumVectorEnv

from wirelessgym.env.spaces import Array

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise ImportError("wirelessgym.rl needs Stable-Baselines3: pip install 'wirelessgym[rl]'") from error


class StableBaselinesVecEnv(VecEnv):  # type: ignore[misc]  # the package ships without types
    """A Gymnasium vector environment, wrapped or not, as a Stable-Baselines3 ``VecEnv``.

    Each row's info holds the step's metrics and, where an episode ended, ``terminal_observation`` and
    ``TimeLimit.truncated``. Scalar entries of observations get an axis of one: Stable-Baselines3 needs one to flatten.

    Args:
        env: autoreset mode ``SAME_STEP``; observations an array or a dict of arrays.

    Raises:
        ValueError: for another autoreset mode: the step that ends an episode has to return the next one's observation.
    """

    def __init__(self, env: GymnasiumVectorEnv[Any, Any, Any]) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(f"autoreset_mode: Stable-Baselines3 needs SAME_STEP, got {mode}")
        self.env = env
        self._actions: Array = np.empty(0)
        super().__init__(env.num_envs, _space_with_axis(env.single_observation_space), env.single_action_space)

    def reset(self) -> Any:
        """Start an episode in every row; with the seeds given to ``seed()``, if any."""
        seeds = None if None in self._seeds else self._seeds
        obs, _ = self.env.reset(seed=seeds)
        self._reset_seeds()
        return _batch_with_axis(obs)

    def step_async(self, actions: Array) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, Array, Array, list[dict[str, Any]]]:
        """Take the kept actions: observations, rewards, ends, infos."""
        obs, reward, terminated, truncated, batch = self.env.step(self._actions)
        done = terminated | truncated
        infos = _rows(batch, self.num_envs)
        if done.any():
            for row, final in enumerate(_rows(batch["final_info"], self.num_envs)):
                infos[row] |= final
            for row in np.flatnonzero(done).tolist():
                last = batch["final_obs"][row]
                infos[row]["terminal_observation"] = _row_with_axis(last)
                infos[row]["TimeLimit.truncated"] = bool(truncated[row])
        return _batch_with_axis(obs), reward, done, infos

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[Array | None]:
        """Draw every row."""
        frames: Any = self.env.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return the environment's attribute, once for each row."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Rows share their attributes, so setting one row's is refused.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"rows of a batched environment share {attr_name!r}; set it on the environment itself")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Rows have no methods of their own, so calling one is refused.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"rows of a batched environment have no method {method_name!r} of their own")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Rows are never wrapped one by one."""
        return [False] * len(list(self._get_indices(indices)))


def _space_with_axis(space: Any) -> Any:
    if not isinstance(space, spaces.Dict):
        return space
    return spaces.Dict({key: flatten_space(entry) if entry.shape == () else entry for key, entry in space.items()})


def _batch_with_axis(obs: Any) -> Any:
    return {key: value[:, None] if value.ndim == 1 else value for key, value in obs.items()} if isinstance(obs, dict) else obs


def _row_with_axis(obs: Any) -> Any:
    return {key: np.atleast_1d(value) for key, value in obs.items()} if isinstance(obs, dict) else obs


def _rows(batch: dict[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Split infos with masks into one dict for each row."""
    names = [key for key in batch if not key.startswith("_") and not key.startswith("final_")]
    columns = [batch[key] for key in names]
    valid = [batch[f"_{key}"] for key in names]
    return [
        {key: column[row] for key, column, mask in zip(names, columns, valid, strict=True) if mask[row]}
        for row in range(num_envs)
    ]
