"""Scenario files, one TOML file each: the file's name is the scenario's id. Imported as ``wirelessgym.scenarios``."""
