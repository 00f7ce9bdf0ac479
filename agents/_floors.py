"""Floors that keep divisions and logarithms finite."""

TINY = 1e-30  # below what any path loss leaves, above the smallest float32
LEAST_NOISE = 1e-9  # relative to the channel's power per entry
