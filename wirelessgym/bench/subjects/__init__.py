"""What `wirelessgym bench` can time: one file for each subject, named after it, whose first line says what it is.

A subject has a function ``bench(fast)`` that prints its tables and returns their rows; with a second parameter, ``out``, it can
write them to a file, too. ``BY_DEFAULT = True`` makes it part of a bench without arguments.
"""
