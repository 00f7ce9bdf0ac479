"""Agents, one file each: the file's name is the agent's id.

The folder is imported as ``wirelessgym.agents``; a bare ``import agents`` would collide with other packages of that name.
"""

if __name__ != "wirelessgym.agents":
    raise ImportError(f"import this package as wirelessgym.agents, not as {__name__}")
