"""Kinds of channel, one file each: the file's name is the ``kind`` in a scenario's ``[channel]`` table."""
