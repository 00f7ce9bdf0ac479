"""Heads that start from a classical solution, one file per task: a good receiver's estimate goes in, a correction comes out."""
