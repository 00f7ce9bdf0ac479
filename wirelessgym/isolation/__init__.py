"""A process of its own for an agent that isn't the project's own: observations go in, actions come out, scoring stays outside.

What comes out is numbers, text and shapes in a format of ours (`wire`), never a pickle: reading it runs nobody's code. The
process knows the task's settings (`TaskSpec`) and nothing of seeds, states or other agents. It is a process, not a sandbox:
files and the network are as open to it as to any program of the same user.
"""
