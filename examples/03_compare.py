"""Compare the precoders on the same episodes over signal-to-noise ratio, and write a report to open in a browser."""

import argparse

import wirelessgym

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--output", default="precoding.html")
    options = parser.parse_args()
    table = wirelessgym.compare(
        "precoding",
        agents=["mrt", "zf", "rzf", "wmmse"],
        scenario="uma-nlos-32",
        episodes=options.episodes,
        seed=7,
        sweep="snr_db=0:20:10",
    )
    print(table.to_html(options.output))
