"""Train a Keras model on observations from ``tf.data``, and compare it as an agent (extra ``tensorflow``).

The model gives each user a power and a regularisation, and TensorFlow computes precoder and sum rate itself.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

import wirelessgym
from wirelessgym.tensorflow import as_dataset, keras_agent

SCENARIO, USERS, ANTENNAS = "uma-hard-16", 8, 16


@keras.saving.register_keras_serializable()  # each comparison works on a copy of the model
class StructuredPrecoder(keras.Model):
    """A small network per user, then row k of the precoder along ``(I + sum_i l_i h_i h_i^H / noise)^-1 h_k``."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.hidden = keras.layers.Dense(32, activation="silu")
        self.out = keras.layers.Dense(2)

    def call(self, obs):
        """Precoders as (re, im), shape (batch, users, antennas, 2)."""
        csi = tf.complex(obs["csi"][..., 0], obs["csi"][..., 1])
        power, noise = obs["tx_power"][:, None], obs["noise_power"][:, None]
        gain = tf.reduce_sum(tf.abs(csi) ** 2, -1)
        seen = tf.stack([gain * power / noise, gain / tf.reduce_sum(gain, -1, keepdims=True)], -1)
        p, regularisation = tf.unstack(tf.nn.softmax(self.out(self.hidden(tf.math.log(seen))), 1), axis=-1)
        loading = as_complex(regularisation * power / noise)[:, None, :]
        system = tf.eye(USERS, dtype=tf.complex64) + tf.matmul(csi, csi, adjoint_b=True) * loading
        directions = tf.linalg.solve(system, csi)
        norm = tf.sqrt(tf.reduce_sum(tf.abs(directions) ** 2, -1, keepdims=True))
        w = directions * as_complex(tf.sqrt(p * power)[..., None] / norm)
        return tf.stack([tf.math.real(w), tf.math.imag(w)], -1)


def as_complex(x):
    """A real tensor as a complex one (the gradient of ``tf.cast`` would warn)."""
    return tf.complex(x, tf.zeros_like(x))


def sum_rate(csi, precoder, noise_power):
    """Expected rate when the known channel has errors of a tenth of its power: these add to the noise."""
    w = tf.complex(precoder[..., 0], precoder[..., 1])
    received = tf.abs(tf.matmul(tf.math.conj(csi), w, transpose_b=True)) ** 2
    signal = tf.linalg.diag_part(received)
    return tf.reduce_sum(tf.math.log(1 + signal / (tf.reduce_sum(received, -1) - signal + noise_power[:, None])), -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--episodes", type=int, default=200, help="held-out episodes")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    task = wirelessgym.make_task("precoding", SCENARIO)
    model, optimiser = StructuredPrecoder(), keras.optimizers.Adam(1e-2)
    for obs in as_dataset(task, range(64 * options.batches), seed=1_000, batch=64).prefetch(1):
        inputs = dict(obs) | {"csi": tf.stack([tf.math.real(obs["csi"]), tf.math.imag(obs["csi"])], -1)}
        with tf.GradientTape() as tape:
            noise = obs["noise_power"] + obs["csi_noise_power"] * obs["tx_power"]
            loss = -tf.reduce_mean(sum_rate(obs["csi"], model(inputs), noise))
        optimiser.apply_gradients(zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights, strict=True))
    wirelessgym.compare(
        "precoding",
        agents=["rzf", "wmmse", keras_agent(model)],
        scenario=SCENARIO,
        episodes=options.episodes,
        seed=7,
        processes=1,  # other processes don't know the class above
    )


if __name__ == "__main__":
    main()
