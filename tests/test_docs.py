"""README and docs name what exists: files, functions, commands, figures and modules."""

import re

import pytest
import typer

import interp
from interp.cli import app
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_names_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = [one for found in re.findall(r"\]\(([^)#\s]+)\)|src=\"([^\"]+)\"", text) for one in found if one]
    links = [link for link in links if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    compile(code, page.name, "exec")
    own = set(re.findall(r"def (\w+)\(", code))
    for name in set(re.findall(r"interp\.plot\.(\w+)", text)) - own:
        assert name in dir(interp.plot), f"interp.plot.{name}"
    for name in set(re.findall(r"(?<![\w/.])interp\.(\w+)[\(.]", code)):
        assert hasattr(interp, name), f"interp.{name}"
    commands = set(typer.main.get_command(app).commands)
    for command in re.findall(r"^ {4}interp ([a-z-]+) ", text, re.MULTILINE):
        assert command in commands, f"interp {command}"
    for module in re.findall(r"python -m (analyses|benchmarks)", text):
        assert (ROOT / module / "__main__.py").exists()


def test_every_page_is_reached_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [page.name for page in PAGES[1:] if f"docs/{page.name}" not in readme]
