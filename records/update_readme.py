"""Write the README's tables from the records that stand beside this file: ``python records/update_readme.py``."""

import re
from pathlib import Path

from wirelessgym.record import read_records
from wirelessgym.report import markdown_table

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- table: (?P<folder>[\w/-]+) -->\n)(.*?)(<!-- end of table -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """Return the text with the table of each ``<!-- table: FOLDER -->`` block made anew."""

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}\n{markdown_table(read_records(ROOT / match['folder']))}\n\n{match[4]}"

    return BLOCK.sub(table, text)


if __name__ == "__main__":
    for path in (ROOT / "README.md", ROOT / "records/README.md"):
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
