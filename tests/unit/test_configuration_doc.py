"""docs/configuration.md lists every field and every option, as the code defines them.

Invariant: both tables are made from the definitions. To write them anew: `python -m tests.unit.test_configuration_doc`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from airflow_webhook_notify.config import OPTIONS
from airflow_webhook_notify.connection_form import ENDPOINT, FIELDS, SIGNING_SECRET, describe_connection_type

DOC = Path(__file__).parents[2] / "docs" / "configuration.md"
_BLOCK = r"(<!-- generated: {name} -->\n)(.*?)(<!-- end -->)"


def table(*lines: Sequence[str]) -> str:
    """Return a table of Markdown, with an empty line around it."""
    head, *rows = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join(["", head, "|" + "---|" * len(lines[0]), *rows, "", ""])


def fields_table() -> str:
    rows = [(field.label, f"`{field.key}`", field.description.replace("|", r"\|")) for field in FIELDS]
    return table(("Field", "Key of `extra`", "Meaning"), *rows)


def options_table() -> str:
    rows = [
        (f"`{option.name}`", f"`{option.default}`" if option.default else "", option.description, _code(option.example))
        for option in OPTIONS
    ]
    return table(("Option", "Default", "Meaning", "Example"), *rows)


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""


TABLES = {"fields": fields_table, "options": options_table}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_as_the_code_has_it(name: str) -> None:
    found = re.findall(_BLOCK.format(name=name), DOC.read_text(encoding="utf-8"), re.S)
    assert [block for _, block, _ in found] == [TABLES[name]()], "python -m tests.unit.test_configuration_doc"


def test_the_standard_fields_are_named_as_the_form_names_them() -> None:
    labels = describe_connection_type()["ui-field-behaviour"]["relabeling"]
    assert labels == {"host": ENDPOINT, "password": SIGNING_SECRET, "description": "Nickname"}
    text = DOC.read_text(encoding="utf-8")
    for column, label in labels.items():
        assert f"\n| {label} | `{column}` |" in text


def write() -> None:
    """Write both tables anew."""
    text = DOC.read_text(encoding="utf-8")
    for name, make in TABLES.items():
        # By position, since a description may hold what a replacement's text gives a meaning to.
        block = re.search(_BLOCK.format(name=name), text, re.S)
        assert block, name
        text = text[: block.start(2)] + make() + text[block.end(2) :]
    DOC.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
