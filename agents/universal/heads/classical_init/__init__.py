"""Heads of the default preset, one file per task: what a good receiver already knows goes in, a correction of it comes out."""
