from __future__ import annotations

import csv
import errno
import html.parser
import itertools
import re
import struct
import subprocess
import zlib
from pathlib import Path

import markdown_it
import pytest
from synthetic import SETTINGS, at_point, record, sweep

from wirelessgym.doctor import BROWSERS, find_browser
from wirelessgym.evaluate import compare
from wirelessgym.record import Sweep, Value, write_record
from wirelessgym.report import markdown_table, write_csv, write_html, write_markdown
from wirelessgym.report.pictures import pictures
from wirelessgym.report.scales import linear, logarithmic
from wirelessgym.report.sweep_figure import sweep_figure
from wirelessgym.report.tables import best_agents, number, point_table, sections
from wirelessgym.report.text import commands, result, setting

VOID = {"meta", "br", "hr", "img", "link", "input", "path", "use"}


class Page(html.parser.HTMLParser):
    """Collects elements, and complains about tags that don't match."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_html(at_point() + sweep(), tmp_path_factory.mktemp("report") / "report.html")


def test_page_is_well_formed_and_loads_nothing(page_path: Path) -> None:
    page = Page(page_path)
    text = page_path.read_text(encoding="utf-8")
    assert "http:" not in text and "https:" not in text and "//" not in re.sub(r"<script>.*?</script>", "", text)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed")
        for name in ("href", "src", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("data:image/png;base64," if tag == "img" else "#")
        assert not any(name.startswith("on") for name in attributes)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.elements


def test_ids_on_the_page_are_unique_and_every_reference_has_its_target(page_path: Path) -> None:
    text = page_path.read_text(encoding="utf-8")
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids)) >= 5  # two tables, what was run, metrics, notes
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)) <= {(i, "") for i in ids} | {("", i) for i in ids}


def test_what_an_agent_is_called_and_raises_stands_there_as_text(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>'
    records = [record(evil, 21.0, notes=(evil,)), record("rzf|zf"), *at_point()[3:]]
    page = Page(write_html(records, tmp_path / "r.html", title=evil))
    assert sum(tag == "script" for tag, _ in page.elements) == 1
    assert page.text.count(evil) >= 4
    assert "ValueError: <b>no</b>" in page.text and not any(tag == "b" and a for tag, a in page.elements)
    assert r"rzf\|zf" in markdown_table(records)


@pytest.mark.parametrize(
    "evil", ["a|b", "*a*", "_a_", "<b>a</b>", "[a](https://b.c)", "`a`", "a\n\n# b", "&lt;", "- a", "~~a~~", "a\\"]
)
def test_what_an_agent_is_called_stands_in_markdown_as_text(evil: str, tmp_path: Path) -> None:
    records = [record(evil, notes=(evil,), command="wirelessgym compare 'a\n# b'"), record("rzf", 19.0), *at_point()[3:]]
    rendered = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).parse(
        write_markdown(records, tmp_path / "r.md", title=evil).read_text(encoding="utf-8")
    )
    inline = [token for token in rendered if token.type == "inline"]
    texts = ["".join(child.content for child in token.children or ()) for token in inline]
    said = evil.replace("\n\n", " ")
    assert texts[0] == said and said in texts and f"{said}: {said}" in texts
    kinds = {child.type for token in inline for child in token.children or ()}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close", "em_open", "em_close"}


def test_names_and_intervals_keep_their_look_in_markdown() -> None:
    table = markdown_table([record("robust_wmmse"), record("zf", 19.0)])
    assert "| robust_wmmse |" in table.replace("**", "") and "\\" not in table


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@a", "\t=1"])
def test_no_text_is_a_formula_in_a_spreadsheet(evil: str, tmp_path: Path) -> None:
    with write_csv([record(evil, -3.0)], tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        (line, *_) = csv.DictReader(file)
    assert line["agent"] == f"'{evil}" and line["mean"] == "-3.0"


@pytest.mark.parametrize("name", ["$x", "$\\frac$", "_hidden"])
def test_a_figure_draws_names_as_they_are(name: str, tmp_path: Path) -> None:
    renamed = [r.model_copy(update={"agent": name}) if r.agent == "wmmse" else r for r in at_point() + sweep()]
    text = write_html(renamed, tmp_path / "r.html").read_text(encoding="utf-8")
    drawn = [figure for figure in re.findall(r"<svg class=.plot.*?</svg>", text) if f">{name}" in figure]
    assert len(drawn) == 2
    assert f"<span>{name}</span>" in text  # the legend's


@pytest.mark.parametrize("write", [write_html, write_markdown, write_csv])
def test_a_report_that_cannot_be_written_leaves_the_old_one(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(at_point(), tmp_path / "report")
    before = path.read_bytes()

    def full(self: Path, text: str, **options: object) -> int:
        self.write_bytes(text[:50].encode())
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write(sweep(), path)
    assert caught.value.filename == str(path)
    assert [p.name for p in tmp_path.iterdir()] == ["report"] and path.read_bytes() == before


def test_headline_table_has_intervals_difference_gap_latency_and_number_of_episodes(page_path: Path) -> None:
    text = Page(page_path).text
    for wanted in (
        "21.31",
        "[21.06, 21.56]",
        "+1.310",
        "[1.270, 1.360]",
        "< 0.001",
        "2.690",
        "14.3",
        "n = 1,000 episodes",
    ):
        assert wanted in text
    assert "user_rate[0]" not in text


def test_columns_can_be_sorted_from_the_keyboard(page_path: Path) -> None:
    heads = [(tag, a) for tag, a in Page(page_path).elements if tag in ("th", "button")]
    columns = [index for index, (tag, a) in enumerate(heads) if tag == "th" and "aria-sort" in a]
    assert columns and all(heads[index + 1][0] == "button" for index in columns)


def test_floor_and_bound_stand_apart_from_the_agents() -> None:
    table = point_table([*reversed(at_point())])
    assert [row.role for row in table.rows] == ["agent"] * 4 + ["floor", "bound"]
    assert not any(cell.best for row in table.rows[4:] for cell in row.cells)


def test_best_agent_follows_the_direction_of_the_metric_and_ties_share_it() -> None:
    def error(agent: str, mean: float) -> list[object]:
        value = Value(mean=mean, ci95=(mean, mean), unit="1", higher_is_better=False)
        return record(agent, metrics={"nmse": value}, headline="nmse", higher_is_better=False)

    records = [error("a", 0.1), error("b", 0.1), error("c", 0.2)]
    assert best_agents(records, "nmse") == {"a", "b"}
    assert best_agents(records[:2], "nmse") == set()
    assert best_agents(at_point(), "sum_rate") == {"wmmse"}


def test_digits_follow_the_interval() -> None:
    assert number(27.01234, 0.25) == "27.01"
    assert number(-0.02, 0.03) == "−0.020"
    assert number(1234.5, 60.0) == "1234"
    assert number(3.9e-8, 5e-8) == "3.90e−08"
    assert number(None) == number(float("nan")) == "–"


def test_mean_without_interval_is_not_shown(tmp_path: Path) -> None:
    bare = Value(mean=33.333, ci95=None, unit="bit/s/Hz", higher_is_better=True)
    records = [record("rzf"), record("zf", metrics={"sum_rate": bare})]
    for path in (write_html(records, tmp_path / "r.html"), write_markdown(records, tmp_path / "r.md")):
        assert "33.3" not in path.read_text(encoding="utf-8")


def test_sweep_points_are_one_section_in_order_and_other_settings_another() -> None:
    shuffled = sweep()[::-1]
    (section,) = sections(shuffled)
    assert [value for value, _ in section.points] == [0.0, 5.0, 10.0, 15.0, 20.0]
    assert len(sections([record("zf"), record("zf", seed=8)])) == 2


def test_agents_stand_best_first_and_failed_ones_last_whatever_the_order_of_the_records() -> None:
    for records in (at_point(), at_point()[::-1]):
        (section,) = sections(records)
        assert section.agents == ["wmmse", "rzf", "zf", "my_agent", "floor", "bound"]


def test_setting_names_what_is_in_force_and_leaves_out_what_is_swept() -> None:
    (point,) = sections(at_point())
    assert setting(point) == "UMa, NLOS, 4 users, 8 × 8 antennas, SNR 10 dB, speed 10 to 100 km/h, 10 steps"
    (swept,) = sections(sweep())
    assert setting(swept) == "UMa, NLOS, 4 users, 8 × 8 antennas, speed 10 to 100 km/h, 10 steps"
    fixed_noise = SETTINGS | {"noise_power_dbw": -10.0, "tx_power_dbw": 20.0, "num_users": 1, "horizon": 1}
    (point,) = sections([record(scenario_settings=fixed_noise)])
    assert "1 user, " in setting(point) and setting(point).endswith("1 step") and "SNR" not in setting(point)
    assert "transmit power 20 dBW, noise power -10 dBW" in setting(point)


def test_commands_of_one_sweep_are_told_as_one() -> None:
    records = [record(command=f"wirelessgym compare precoding --sweep snr_db={snr} --seed 7") for snr in (0, 5)]
    assert commands(records) == ["wirelessgym compare precoding --sweep snr_db=0,5 --seed 7"]


def test_difference_within_chance_is_not_told_as_better() -> None:
    zf = at_point()[0]
    better = zf.model_copy(update={"paired": zf.paired.model_copy(update={"difference": 0.1})})
    (section,) = sections([better])
    assert "can't be told from rzf" in result(section)


def test_csv_has_a_line_for_every_metric_of_every_record(tmp_path: Path) -> None:
    with write_csv(at_point(), tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 5 + 1
    (wmmse,) = (line for line in lines if line["agent"] == "wmmse" and line["metric"] == "sum_rate")
    assert (wmmse["mean"], wmmse["difference"], wmmse["reference"]) == ("21.31", "1.31", "rzf")
    assert next(line for line in lines if line["agent"] == "my_agent")["status"] == "failed"


def test_same_records_give_the_same_page(tmp_path: Path) -> None:
    pages = [write_html(at_point(), tmp_path / name).read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_report_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one record"):
        write_html([], tmp_path / "r.html")


def browse(folder: Path, *arguments: str) -> str:
    browser = find_browser()
    if browser is None:
        pytest.skip(f"needs Chromium: none of {', '.join(BROWSERS)} is on the PATH")
    quiet = ["--disable-background-networking", "--no-first-run", "--disable-component-update", "--disable-sync"]
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={folder / 'profile'}"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=True).stdout


def colours(png: Path) -> int:
    """Number of different bytes in the first megabyte of an image's unfiltered rows: 1 or 2 for a blank page."""
    data = png.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed = 8, b""
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        packed += data[at + 8 : at + 8 + length] if data[at + 4 : at + 8] == b"IDAT" else b""
        at += length + 12
    return len(set(zlib.decompress(packed)[: 1 << 20]))


@pytest.mark.browser
@pytest.mark.parametrize("size", ["1280,1600", "500,1600"], ids=["desktop", "narrow"])
def test_browser_draws_the_page(page_path: Path, tmp_path: Path, size: str) -> None:
    shot = tmp_path / "page.png"
    browse(tmp_path, f"--screenshot={shot}", f"--window-size={size}", page_path.as_uri())
    assert colours(shot) > 50


@pytest.mark.browser
def test_page_fits_a_phone_and_sorts_on_click(page_path: Path, tmp_path: Path) -> None:
    """Chromium's own window is never narrower than 500 pixels, so the phone is a frame of 390."""
    probe = """<script>addEventListener("load", () => {
      const page = document.documentElement, table = document.querySelector("table");
      const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].firstChild.data).join(" ");
      table.tHead.rows[0].cells[1].firstElementChild.click();
      const up = names();
      table.tHead.rows[0].cells[1].firstElementChild.click();
      const sort = table.tHead.rows[0].cells[1].getAttribute("aria-sort");
      parent.postMessage([page.scrollWidth, innerWidth, up, names(), sort].join("|"), "*");
    });</script>"""
    inner = page_path.read_text(encoding="utf-8").replace("</body>", probe + "</body>")
    (tmp_path / "inner.html").write_text(inner, encoding="utf-8")
    frame = '<iframe src="inner.html" style="width:390px;height:800px;border:0"></iframe>'
    listen = "<script>addEventListener('message', (e) => { document.title = e.data; });</script>"
    (tmp_path / "frame.html").write_text(f"<!DOCTYPE html><title></title>{listen}{frame}", encoding="utf-8")
    dom = browse(tmp_path, "--virtual-time-budget=5000", "--dump-dom", (tmp_path / "frame.html").as_uri())
    found = re.search(r"<title>(.+?)</title>", dom)
    assert found, dom
    scroll, width, up, down, order = found[1].split("|")
    assert int(width) == 390 and int(scroll) <= 390
    assert up.split() == ["zf", "rzf", "wmmse", "my_agent"]
    assert down.split() == ["wmmse", "rzf", "zf", "my_agent"]
    assert order == "descending"


@pytest.mark.browser
def test_curves_can_be_hidden_read_and_put_on_another_axis(tmp_path: Path) -> None:
    probe = """<script>addEventListener("load", () => {
      const figure = document.querySelector("figure.plots"), [log, linear] = figure.querySelectorAll("div.plot");
      const shown = () => [log, linear].map((plot) => getComputedStyle(plot).display !== "none").join();
      const before = shown();
      figure.querySelector(".scales [data-scale=linear]").click();
      const after = shown(), curve = linear.querySelector(".series[data-curve='0']");
      const point = curve.querySelectorAll(".point")[1], box = linear.querySelector("svg").getBoundingClientRect();
      const unit = box.width / 640, near = [Number(point.dataset.x) + 4, Number(point.dataset.y)];
      const at = { clientX: box.left + near[0] * unit, clientY: box.top + near[1] * unit };
      const tip = figure.querySelector(".tip");
      linear.querySelector("svg").dispatchEvent(new PointerEvent("pointermove", at));
      const words = tip.hidden ? "" : tip.textContent;
      figure.querySelector(".keys button").click();
      const gone = getComputedStyle(curve).display;
      document.title = [before, after, words, gone].join("|");
    });</script>"""
    records = error_sweep(("ep", "agent", (0.5, 0.25, 0.0)), ("mf", "agent", (0.9, 0.9, 0.9)))
    page = write_html(records, tmp_path / "r.html")
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", probe + "</body>"), encoding="utf-8")
    found = re.search(r"<title>(.+?)</title>", browse(tmp_path, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()))
    assert found and found[1] == "true,false|false,true|ep at SNR 5 dB: 0.250 [0.200, 0.300]|none"


def test_a_metric_that_is_the_same_for_all_agents_has_no_column() -> None:
    whole = Value(mean=1.0, ci95=(1.0, 1.0), unit="1", higher_is_better=True)
    part = Value(mean=0.5, ci95=(0.4, 0.6), unit="1", higher_is_better=True)
    alike = [record(agent, mean) for agent, mean in (("zf", 19.0), ("rzf", 20.0))]
    never = [r.model_copy(update={"metrics": r.metrics | {"power_scale": whole}}) for r in alike]
    once = [never[0], never[1].model_copy(update={"metrics": never[1].metrics | {"power_scale": part}})]
    assert "power_scale" not in [column.title for column in point_table(never).columns]
    assert "power_scale" in [column.title for column in point_table(once).columns]


def error_sweep(*rows: tuple[str, str, tuple[float, ...]]) -> list[object]:
    """Detection errors: (agent, role, NMSE at 0, 5, ... dB), each with an interval of a fifth."""

    def value(mean: float) -> Value:
        return Value(mean=mean, ci95=(0.8 * mean, 1.2 * mean), unit="1", higher_is_better=False)

    return [
        record(agent, role=role, headline="nmse", higher_is_better=False, metrics={"nmse": value(mean)},
               sweep=Sweep(axis="snr_db", value=5 * i), scenario_settings=SETTINGS | {"snr_db": 5 * i})
        for agent, role, means in rows
        for i, mean in enumerate(means)
    ]  # fmt: skip


def plots(records: list[object]) -> dict[str, str]:
    (section,) = sections(records)
    figure = sweep_figure(section)
    return {plot.scale: str(plot.svg) for plot in figure.plots}


def test_an_exact_zero_leaves_errors_on_a_logarithmic_axis_and_is_marked(tmp_path: Path) -> None:
    records = error_sweep(("ep", "agent", (0.1, 0.01, 0.0)), ("bound", "bound", (0.05, 1e-9, 0.0)))
    assert list(plots(records)) == ["log", "linear"]  # the first is the one to start with
    drawn = plots(records)["log"]
    assert drawn.count('class="clipped"') == 3 and ">0.01<" in drawn and "10⁻⁹" not in drawn
    assert 'class="clipped"' not in plots(records)["linear"]
    assert "An open triangle lies below the axis" in write_html(records, tmp_path / "r.html").read_text(encoding="utf-8")
    whole = error_sweep(("ep", "agent", (0.1, 0.01, 0.001)))
    assert "An open triangle" not in write_html(whole, tmp_path / "s.html").read_text(encoding="utf-8")


def test_rates_have_a_linear_axis_and_errors_a_choice() -> None:
    assert list(plots(sweep())) == ["linear"]
    assert list(plots(error_sweep(("ep", "agent", (0.1, 0.09, 0.08))))) == ["linear", "log"]


def test_a_logarithmic_axis_has_equal_steps_for_equal_factors_and_clips_below() -> None:
    scale = logarithmic([0.0, 1e-3, 1.0], start=300, end=0, floor=1e-4)
    assert scale.low > 5e-4 and scale.clips(0.0) and not scale.clips(1e-3)
    assert scale.place(0.0) == 300 and 0 < scale.place(1.0) < 25
    steps = [scale.place(10.0**power) for power in (-3, -2, -1, 0)]
    assert steps[0] - steps[1] == pytest.approx(steps[1] - steps[2]) == pytest.approx(steps[2] - steps[3])
    assert [words for _, words in scale.ticks()] == ["0.001", "0.01", "0.1", "1"]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2, 17.0), (0.00113, 0.00121), (1e4, 9e4), (-30.0, -2.0)])
def test_ticks_are_round_evenly_spaced_and_within_the_axis(low: float, high: float) -> None:
    scale = linear([low, high], 0, 100)
    values = [value for value, _ in scale.ticks()]
    assert 3 <= len(values) <= 8 and scale.low <= values[0] and values[-1] <= scale.high
    assert [b - a for a, b in itertools.pairwise(values)] == pytest.approx([values[1] - values[0]] * (len(values) - 1))
    assert [float(words.replace("−", "-")) for _, words in scale.ticks()] == pytest.approx(values, rel=1e-9, abs=1e-12)


def test_every_point_of_a_figure_says_its_numbers_even_without_a_script(page_path: Path) -> None:
    text = page_path.read_text(encoding="utf-8")
    assert "<title>wmmse at SNR 20 dB: 34.56 [34.31, 34.81] bit/s/Hz</title>" in text
    assert "<title>wmmse: 21.31 [21.06, 21.56] bit/s/Hz</title>" in text


def test_axes_have_names_and_units_instead_of_keys(page_path: Path) -> None:
    text = page_path.read_text(encoding="utf-8")
    figures = "".join(re.findall(r"<svg class=.plot.*?</svg>", text))
    assert ">SNR (dB)</text>" in figures and "snr_db" not in figures and "sum_rate" not in figures
    assert "Sum rate (bit/s/Hz), higher is better" in text


def test_a_page_of_several_tables_has_contents_whose_links_lead_somewhere(page_path: Path) -> None:
    elements = Page(page_path).elements
    targets = {a["id"] for _, a in elements if a.get("id")}
    links = [a["href"].removeprefix("#") for tag, a in elements if tag == "a"]
    assert len(links) == 5 and set(links) <= targets


def test_data_beside_the_page_are_linked_and_nothing_else(tmp_path: Path) -> None:
    records = at_point()
    (tmp_path / "other" / "records").mkdir(parents=True)
    assert "results.csv" not in write_html(records, tmp_path / "r.html").read_text(encoding="utf-8")
    write_csv(records, tmp_path / "results.csv")
    write_record(records[0], tmp_path / "a b" / "records")
    links = [a["href"] for tag, a in Page(write_html(records, tmp_path / "r.html")).elements if tag == "a"]
    assert links == ["results.csv", "a%20b/records/"]


def test_pictures_are_of_the_best_of_the_projects_own_agents() -> None:
    options = {"scenario": "rayleigh-32", "episodes": 4, "processes": 1, "progress": False, "show": False, "horizon": 1}
    made = compare("precoding", ["mrt", "rzf", "wmmse:iterations=3"], **options).records
    (section,) = sections(made)
    at, found = pictures(section)
    assert at == "" and len(found) == 2 and {picture.agent for picture in found} <= {"rzf", "wmmse"}
    assert all(picture.source.startswith("data:image/png;base64,iVBOR") for picture in found)
    for away in ({"seed": "sha256:1234"}, {"task": "my_task"}, {"command": "wirelessgym compare precoding --agents my:rzf"}):
        (section,) = sections([r.model_copy(update=away) for r in made])
        assert pictures(section) == ("", [])
