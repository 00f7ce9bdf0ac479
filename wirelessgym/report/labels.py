"""Labels: settings and metrics as an engineer writes them on an axis, ``CSI SNR (dB)`` for ``csi_snr_db``."""

from __future__ import annotations

UNITS = {
    "db": "dB", "dbm": "dBm", "dbw": "dBW", "w": "W", "hz": "Hz", "khz": "kHz", "mhz": "MHz", "ghz": "GHz", "s": "s", "ms": "ms",
    "us": "µs", "ns": "ns", "kmh": "km/h", "m": "m", "km": "km", "deg": "°", "wavelengths": "wavelengths", "slots": "slots",
    "bits": "bits",
}  # fmt: skip
ABBREVIATIONS = {
    "ber", "bler", "bs", "cdl", "cqi", "csi", "gmi", "harq", "ldpc", "los", "mcs", "mimo", "nmse", "nlos", "ofdm", "qam", "ser",
    "sinr", "snr", "tdl", "ut",
}  # fmt: skip
NAMES = {"tx_power_dbw": "transmit power", "speed_kmh": "speed", "num_users": "number of users", "delay_slots": "report delay"}
METRICS = {
    "sum_rate": "sum rate",
    "min_rate": "rate of the weakest user",
    "nmse": "NMSE",
    "nmse_db": "NMSE",
    "ser": "symbol error rate",
    "ber": "bit error rate",
    "bler": "block error rate",
}


def field_name(key: str) -> str:
    """A setting's name in words, without its unit: ``CSI SNR``, ``panel columns``; nested keys are dotted."""
    if key in NAMES:
        return NAMES[key]
    words = key.replace(".", "_").split("_")
    if words[0] == "num" and len(words) > 1:
        return f"number of {_spelled(words[1:])}"
    return _spelled(words[:-1] if len(words) > 1 and words[-1] in UNITS else words)


def field_unit(key: str) -> str:
    """A setting's unit from the end of its key; empty for pure numbers and names."""
    head, _, last = key.rpartition("_")
    return UNITS.get(last, "") if head else ""


def field_label(key: str) -> str:
    """Name and unit for an axis: ``CSI SNR (dB)``."""
    unit = field_unit(key)
    return field_name(key) + (f" ({unit})" if unit else "")


def metric_name(key: str) -> str:
    """A metric's name in words: ``sum rate``, ``NMSE``."""
    return METRICS.get(key) or field_name(key)


def capitalised(text: str) -> str:
    """The text with a capital first letter and the rest as it was."""
    return text[:1].upper() + text[1:]


def _spelled(words: list[str]) -> str:
    return " ".join(word.upper() if word in ABBREVIATIONS else word for word in words)
