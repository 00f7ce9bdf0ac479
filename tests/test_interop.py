import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from toy_task import USERS, Toy

import wirelessgym
from wirelessgym.agent import as_agent
from wirelessgym.env import Env, VectorEnv
from wirelessgym.registry import load_scenario
from wirelessgym.rollouts import rollout


def toy(**options):
    return Toy(scenario=load_scenario("rayleigh-32", {"horizon": 3}), **options)


@pytest.fixture(scope="module")
def interop(tmp_path_factory):
    pytest.importorskip("tensorflow", reason="needs the extra tensorflow")
    import wirelessgym.tensorflow

    return wirelessgym.tensorflow


@pytest.fixture(scope="module")
def rl():
    pytest.importorskip("stable_baselines3", reason="needs the extra rl")
    import wirelessgym.rl

    return wirelessgym.rl


def test_the_simulator_imports_neither_tensorflow_nor_stable_baselines3():
    code = "import sys, wirelessgym.env; print({'tensorflow', 'keras', 'stable_baselines3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.int64, torch.bool])
def test_tensors_cross_to_tensorflow_and_back_on_the_same_memory(interop, dtype):
    tensor = torch.arange(6).reshape(2, 3).to(dtype)
    crossed = interop.to_tensorflow(tensor)
    assert crossed.dtype.name == str(dtype).removeprefix("torch.")
    back = interop.from_tensorflow(crossed)
    assert back.data_ptr() == tensor.data_ptr()
    assert torch.equal(back, tensor)


def test_transposed_conjugated_and_tracked_tensors_cross_by_value(interop):
    tensor = torch.randn(2, 3, dtype=torch.complex64, requires_grad=True)
    assert np.array_equal(interop.to_tensorflow(tensor.mH).numpy(), tensor.detach().numpy().conj().T)


def test_a_dataset_holds_the_first_observations_of_its_episodes_in_order(interop):
    batches = list(interop.as_dataset(toy(), range(10, 15), seed=3, batch=2))
    assert [len(batch["noise_power"]) for batch in batches] == [2, 2, 1]
    _, obs = toy().reset(range(10, 15), seed=3)
    for key, value in obs.items():
        joined = np.concatenate([batch[key].numpy() for batch in batches])
        assert joined.dtype == value.numpy().dtype
        assert np.array_equal(joined, value.numpy())


def test_a_dataset_can_be_shuffled_repeated_and_mapped_like_any_other(interop):
    data = interop.as_dataset(toy(), range(4), batch=4).map(lambda obs: obs["received"]).repeat(2)
    first, second = list(data)
    assert np.array_equal(first.numpy(), second.numpy())


def test_an_empty_dataset_is_refused(interop):
    with pytest.raises(ValueError, match="at least one episode and a batch of at least 1, got 0 and 256"):
        interop.as_dataset(toy(), [])


@pytest.mark.parametrize("two_entries", [False, True])
def test_a_keras_model_acts_as_what_it_computes(interop, two_entries):
    import keras

    received = keras.Input((USERS, 2), name="received")
    halved = keras.layers.Rescaling(0.5)(received)
    answer = {"symbols": halved, "trust": keras.layers.Rescaling(0.0)(received)[..., 0]} if two_entries else halved
    task = toy(two_entries=two_entries)
    agent = interop.keras_agent(keras.Model({"received": received}, answer, name="half"), ["received"])
    state, obs = task.reset(range(5))
    metrics = rollout(task, lambda obs: agent.act(task, obs), state, obs)

    def by_hand(obs):
        symbols = obs["received"] / 2
        return {"symbols": symbols, "trust": torch.zeros(5, USERS)} if two_entries else symbols

    assert torch.equal(metrics["nmse"], rollout(task, by_hand, state, obs)["nmse"])
    assert (agent.name, agent.num_parameters) == ("half", 0)


def test_stable_baselines_sees_what_its_own_vecenv_would_show_it(rl):
    from stable_baselines3.common.vec_env import DummyVecEnv

    ours = rl.StableBaselinesVecEnv(VectorEnv(toy(early_end=True), 3))
    theirs = DummyVecEnv([lambda: Env(toy(early_end=True))] * 3)
    ours.seed(5)
    theirs.seed(5)
    obs, obs_too = ours.reset(), theirs.reset()
    ours.action_space.seed(0)
    for _ in range(8):
        assert obs.keys() == obs_too.keys()
        assert all(np.array_equal(obs[key].reshape(obs_too[key].shape), obs_too[key]) for key in obs)
        actions = np.stack([ours.action_space.sample() for _ in range(3)])
        obs, reward, done, infos = ours.step(actions)
        obs_too, reward_too, done_too, infos_too = theirs.step(actions)
        assert np.array_equal(reward, reward_too)
        assert np.array_equal(done, done_too)
        for info, info_too in zip(infos, infos_too, strict=True):
            assert info["nmse"] == info_too["nmse"]
            assert info.get("TimeLimit.truncated", False) == info_too["TimeLimit.truncated"]
            assert ("terminal_observation" in info) == ("terminal_observation" in info_too)
            for key, value in info.get("terminal_observation", {}).items():
                assert np.array_equal(np.squeeze(value), np.squeeze(info_too["terminal_observation"][key]))


def test_a_stable_baselines_model_trains_on_the_batch_and_plugs_in_as_an_agent(rl):
    from stable_baselines3 import PPO

    env = rl.StableBaselinesVecEnv(VectorEnv(toy(), 4))
    model = PPO("MultiInputPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=0, device="cpu").learn(64)
    agent = as_agent(model)
    task = toy()
    state, obs = task.reset(range(6))
    assert rollout(task, lambda obs: agent.act(task, obs), state, obs)["nmse"].isfinite().all()


def test_a_model_trained_on_one_flattened_link_plugs_in_as_an_agent(rl):
    from stable_baselines3 import PPO

    name, settings = "wirelessgym/Precoding-v0", {"scenario": "rayleigh-32", "action": "structure", "num_users": (2, 3)}
    env = gym.wrappers.FlattenObservation(gym.make(name, **settings))
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu", seed=0).learn(16)
    task = wirelessgym.make_task("precoding", **settings)
    _, obs = task.reset([0], 3)
    flat, _ = env.reset(seed=3)
    agent = wirelessgym.as_agent(model)
    expected, _ = model.predict(flat, deterministic=True)
    np.testing.assert_array_equal(agent.act(task, obs)[0], expected)
    other = wirelessgym.make_task("precoding", **settings | {"num_users": 2})
    with pytest.raises(ValueError, match=r"PPO was trained on observations of \(\d+,\) numbers, this task's flatten to"):
        agent.act(other, other.reset([0], 3)[1])


def test_the_adapter_needs_same_step_autoreset(rl):
    with pytest.raises(ValueError, match=r"needs SAME_STEP, got AutoresetMode\.DISABLED"):
        rl.StableBaselinesVecEnv(VectorEnv(toy(), 2, AutoresetMode.DISABLED))


def test_rows_cannot_be_changed_one_by_one(rl):
    env = rl.StableBaselinesVecEnv(VectorEnv(toy(), 2))
    assert env.get_attr("render_mode") == [None, None]
    assert env.env_is_wrapped(gym.Wrapper) == [False, False]
    with pytest.raises(NotImplementedError, match="share 'render_mode'"):
        env.set_attr("render_mode", None)
    with pytest.raises(NotImplementedError, match="no method 'reset'"):
        env.env_method("reset")
