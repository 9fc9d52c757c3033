"""Where a file comes from: the command, the code and the hash of the input, in every format that interp writes."""

import hashlib
import io
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pyarrow.parquet as pq
import pytest
from PIL import Image

import interp
from analyses._tables import write_table
from interp import ConfigError, plot
from interp.plot.saving import one_browser
from interp.plot.stamps import stamped
from interp.reports.sweep_words import doubts
from interp.utils.provenance import Provenance, as_typed, identity, made_from, provenance
from tests.conftest import ROOT
from tests.processes import HAS_BROWSER, interp as shell, outside

MADE = Provenance("interp figures runs/λ --figure 'a \"b\" (c)'", "interp 0.1.0, torch 2.13.0", "runs/λ sha256 00ff")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("python -m analyses --run checkpoints/mod113-seed0 ridge_delay",
         "python -m analyses --run checkpoints/mod113-seed0 ridge_delay"),
        ("/usr/bin/python3 -X dev -W error -u /opt/bin/interp figures HERE/runs/mine -o /elsewhere/deep/out",
         "interp figures runs/mine -o .../out"),
        ("python HERE/scripts/draw.py --folder=HERE/out --also=/a/b,/c/d", "python scripts/draw.py --folder=out "
         "--also=.../b,.../d"),
        ("python -m interp measure https://me:secret@host.org/run/model.pth?token=1",
         "python -m interp measure https://host.org/run/model.pth"),
        ("python -m interp measure s3://bucket/run", "python -m interp measure s3://bucket/run"),
        ("python -m ipykernel_launcher -f /home/me/kernel.json", "a notebook"),
        ("python -c print(1)", "python -c …"),
        ("python", "Python"),
    ],
)  # fmt: skip
def test_a_command_is_said_as_typed_without_directories_of_the_machine(typed, said):
    assert as_typed(typed.replace("HERE", os.getcwd()).split()) == said


def test_a_command_is_one_line_of_the_shell():
    assert as_typed(["python", "/bin/interp", "report", "a b", "new\nline"]) == "interp report 'a b' 'new line'"


def test_the_code_is_the_commit_of_interp():
    asked = [
        subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True)
        for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    ]
    found = re.fullmatch(r"interp [\d.]+( of commit [0-9a-f]{40}( with changes)?)?, torch \S+", provenance().code)
    assert found
    if not (ROOT / ".git").exists():
        assert found[1] is None
    elif asked[0].returncode == 0:
        assert asked[0].stdout.strip() in found[1]
        assert bool(found[2]) == bool(asked[1].stdout)


def sha256sum(*files: Path, within: Path) -> str:
    """What sha256sum prints of files, hashed: as a user can check it."""
    lines = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(within)}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_the_identity_of_a_run_is_that_of_its_settings_split_history_and_checkpoints(small_run_path, tmp_path):
    run = shutil.copytree(small_run_path, tmp_path / "run")
    files = [run / "config.json", run / "split.npz", run / "history.parquet", *sorted(run.glob("checkpoints/*"))]
    before = identity(run)
    assert before == sha256sum(*files, within=run)
    (run / "measures.parquet").write_bytes(b"derived")
    assert identity(run) == before
    with made_from(run), made_from(interp.load_run(run)):
        assert provenance().input == f".../run sha256 {before}"
    content = bytearray(files[-1].read_bytes())
    content[-1] ^= 1
    files[-1].write_bytes(content)
    assert identity(run) != before == identity(small_run_path)


def test_the_identity_of_a_shipped_sweep_is_that_of_its_table_and_of_a_file_its_own(tmp_path):
    sweep = ROOT / "checkpoints" / "seeds-mod113"
    own = hashlib.sha256((sweep / "results.parquet").read_bytes()).hexdigest()
    assert identity(sweep) == identity(sweep / "results.parquet") == own
    (result := tmp_path / "runs" / "ab" / "abc" / "result.json").parent.mkdir(parents=True)
    result.write_text("{}")
    table = shutil.copy(sweep / "results.parquet", tmp_path)
    assert identity(tmp_path) == sha256sum(Path(table), result, within=tmp_path)


def test_other_folders_are_all_their_files_and_what_has_no_hash_says_why(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / ".hidden").write_text("x")
    for name in ("b.pth", "a.pth", "models/c.pth"):
        (tmp_path / name).write_text(name)
    files = [tmp_path / name for name in ("a.pth", "b.pth", "models/c.pth")]
    assert identity(tmp_path) == sha256sum(*files, within=tmp_path)
    for source, said in (
        (tmp_path / "nothing", ".../nothing, not hashed: there is no file"),
        ("https://host.org/model.pth?key=1", "https://host.org/model.pth, not hashed: it is an address"),
        (pd.DataFrame({"step": [0]}), "a DataFrame in memory"),
    ):
        with made_from(source):
            assert provenance().input == said
    monkeypatch.setattr("interp.utils.provenance._LARGEST", 10)
    with made_from(tmp_path):
        assert provenance().input.endswith(", not hashed: it has more than 0.0 GB")


def test_inputs_hold_within_their_context():
    assert provenance().input == "unknown"
    with made_from():
        assert provenance().input == "none: no file was given"
        with made_from(ROOT / "LICENSE", ROOT / "LICENSE"):
            license = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
            assert provenance().input.count(f"LICENSE sha256 {license}") == 2
        assert provenance().input == "none: no file was given"
        elsewhere = []
        threading.Thread(target=lambda: elsewhere.append(provenance().input)).start()
    assert provenance().input == "unknown"
    with (
        pytest.raises(ConfigError, match="made_from takes paths, or objects opened from one, such as a Run; got 3"),
        made_from(3),
    ):
        pass


# ── in files ─────────────────────────────────────────────────────────────────────────────────────────────────────


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_an_image_is_the_same_with_its_provenance(kind):
    plain = picture({"jpg": "JPEG"}.get(kind, kind))
    found = Image.open(io.BytesIO(stamped(plain, kind, MADE)))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(Image.open(io.BytesIO(plain))))
    found.load()
    if kind == "png":
        assert found.text == MADE.fields()
    else:
        assert found.info["comment"].decode() == MADE.sentence()


def information(file: bytes) -> dict[str, str]:
    """The document information of a PDF, found as a reader finds it: startxref, the table, the trailer, the object."""
    at = int(re.findall(rb"startxref\s+(\d+)\s+%%EOF", file)[-1])
    assert file[at:].startswith(b"xref\n")
    table, trailer = file[at:].split(b"trailer", 1)
    number = int(re.search(rb"/Info (\d+) 0 R", trailer)[1])
    place = int(re.search(rb"\n%d 1\n(\d{10}) 00000 n " % number, table)[1])
    assert file[place:].startswith(b"%d 0 obj\n<<" % number)
    assert file[int(re.search(rb"/Prev (\d+)", trailer)[1]) :].startswith(b"xref")
    assert re.search(rb"/Root (\d+) 0 R", trailer)[1] in re.findall(rb"(\d+) 0 obj\n<</Type /Catalog", file)
    entries = re.findall(rb"/(\w+) <feff([0-9a-f]*)>", file[place : file.index(b"endobj", place)])
    return {name.decode(): bytes.fromhex(value.decode()).decode("utf-16-be") for name, value in entries}


@pytest.mark.skipif(not HAS_BROWSER, reason="images need Chromium or Chrome")
def test_every_format_of_a_figure_says_where_it_comes_from_and_is_the_same_each_time(tmp_path):
    figure = go.Figure([go.Scatter(y=[1, 3, 2]), go.Heatmap(z=[[1, 2], [3, 4]])])
    formats = ["pdf", "png", "svg", "jpg", "webp"]
    with one_browser():
        for folder in ("one", "two"):
            with plot.gallery(tmp_path / folder, progress=False):
                plot.save(figure, tmp_path / folder, "drawn", formats, made_from=ROOT / "LICENSE")
    with made_from(ROOT / "LICENSE"):
        made = provenance()
    assert "sha256" in made.input
    one, two = (
        {file.suffix[1:]: file.read_bytes() for file in (tmp_path / folder).glob("drawn.*")}
        for folder in ("one", "two")
    )
    assert set(one) == {"html", *formats}
    for kind, content in one.items():
        assert content == two[kind], kind
        assert str(tmp_path).encode() not in content
    assert Image.open(io.BytesIO(one["png"])).text == made.fields()
    assert Image.open(io.BytesIO(one["jpg"])).info["comment"].decode() == made.sentence()
    webp = Image.open(io.BytesIO(one["webp"]))
    webp.load()
    assert webp.info["xmp"].decode().count(f"{made.input}.</rdf:li>") == 1
    assert f"{made.input}.</metadata>" in one["svg"].decode()
    assert information(one["pdf"]) == {
        "Producer": "Chromium", "Subject": made.sentence(), "Command": made.command, "Code": made.code,
        "Input": made.input,
    }  # fmt: skip
    for name, value in made.fields().items():
        assert f'<meta name="{name}" content="{value}">' in one["html"].decode()


def test_a_table_says_so_in_both_formats(tmp_path):
    table = pd.DataFrame({"setting": ["a", "b, c"], "steps": [1, 2]})
    with made_from(ROOT / "LICENSE"):
        csv, markdown = write_table(table, tmp_path, "table")
        made = provenance()
    pd.testing.assert_frame_equal(pd.read_csv(csv, comment="#"), table)
    assert csv.read_text().startswith(
        f"# command: {made.command}\n# code: {made.code}\n# input: {made.input}\nsetting,"
    )
    assert markdown.read_text().splitlines()[-1] == f"<!-- {made.sentence()} -->"


def test_the_shell_writes_its_command_into_pages_and_parquet(small_run_path, tmp_path):
    """Two reports in a row are the same bytes. No file names a directory of this machine."""
    options = ("--figure", "training_curves", "--formats", "html", "-o", tmp_path)
    done = shell("figures", small_run_path, *options, fresh=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "training_curves.html").read_text()
    command = f"python -m interp figures .../{small_run_path.name} --figure training_curves --formats html -o .../"
    assert f'<meta name="command" content="{command}{tmp_path.name}">' in page
    assert str(tmp_path.parent) not in page

    one, two = tmp_path / "one" / "page.html", tmp_path / "two" / "page.html"
    for file in (one, two):
        assert shell("report", small_run_path, "-o", file).returncode == 0
    assert one.read_bytes() == two.read_bytes()
    said = dict(re.findall(r'<meta name="(command|code|input)" content="(.*?)">', one.read_text()[:3_000]))
    assert said["input"] == f".../{small_run_path.name} sha256 {identity(small_run_path)}"
    footer = f"Made by {said['command']}, with {said['code']}. Input: {said['input']}."
    assert f"<footer>{footer}</footer>" in one.read_text()
    assert str(tmp_path.parent) not in one.read_text()

    table = tmp_path / "m.parquet"
    assert shell("measure", small_run_path, "--measures", "loss", "--parquet", table).returncode == 0
    metadata = pq.read_schema(table).metadata
    assert {name: metadata[name.encode()].decode() for name in said} == said
    assert pd.read_parquet(table)["loss"].notna().all()


def test_figures_of_a_run_and_an_animation_name_it(small_run, tmp_path):
    interp.figures(small_run, tmp_path, ["training_curves"], formats=(), progress=False)
    said = f".../{small_run.path.name} sha256 {identity(small_run.path)}"
    for page in ("training_curves.html", "index.html"):
        assert f'<meta name="input" content="{said}">' in (tmp_path / page).read_text()
    interp.animate(small_run, tmp_path / "circles.gif", steps=small_run.steps[:2], width=360, progress=False)
    assert Image.open(tmp_path / "circles.gif").info["comment"].decode().endswith(f"Input: {said}.")


def test_a_process_names_the_command_that_began_it():
    said = outside(
        """
        from interp.utils.provenance import in_child, provenance
        in_child("python -m analyses neighbours", "interp 0.1.0")
        print(provenance().sentence())
        """
    )
    assert said == "Made by python -m analyses neighbours, with interp 0.1.0. Input: unknown.\n"


# ── tables of runs ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_table_of_runs_of_several_commits_versions_or_devices_says_so(tmp_path):
    table = pd.read_parquet(ROOT / "checkpoints" / "seeds-mod113" / "results.parquet")
    table["trained_on"] = ["cpu", "cuda", "cpu", "cpu", None]
    table["torch"] = ["2.11.0", "2.12.0", "2.13.0", "2.13.0", None]
    table["commit"] = ["a", "b", "b", "b", None]
    table.to_parquet(tmp_path / "results.parquet")
    said = (
        "come from 2 commits, 3 versions of torch (2.11.0, 2.12.0, 2.13.0) and 2 devices (cpu, cuda), which may move "
        "steps by rounding; the columns commit, torch and trained_on tell which."
    )
    with pytest.warns(UserWarning, match="come from") as caught:
        sweep = interp.load_sweep(tmp_path)
    assert [str(one.message) for one in caught] == [f"The runs of {tmp_path} {said}"]
    assert f"The runs {said}" in doubts(sweep.table, ["seed"])


def test_a_table_of_one_commit_says_nothing():
    sweep = interp.load_sweep(ROOT / "checkpoints" / "seeds-mod113")  # a warning would be an error here
    assert not any("come from" in one for one in doubts(sweep.table, ["seed"]))
