"""report.html: whole in itself, right in its numbers, and alive in a browser."""

import html.parser
import re
import shutil
import subprocess

import numpy as np
import pytest

from fcn_tf.data.base import DatasetSpec
from fcn_tf.metrics import bootstrap, confusion
from fcn_tf.metrics.per_image import PerImageStats
from fcn_tf.reports import evaluation_page
from tests import tiny_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NAMES = ("road <&> path", "car", "sky", "bench")
SPEC = DatasetSpec("town", NAMES, ((90, 90, 90), (200, 30, 30), (80, 140, 220), (150, 110, 40)), 255)


def page(spec=SPEC, images=11, **extra):
    """The report of predictions that are right but for a random tenth, each image a little worse than the last."""
    rng = np.random.default_rng(0)
    classes = min(spec.num_classes, 3)  # the last one occurs nowhere
    labels = [np.arange(40 * 60).reshape(40, 60) // 7 % classes for _ in range(images)]
    data = tiny_run.dataset([(label % 3, label) for label in labels], spec=spec)
    stats = PerImageStats(data, boundary=True)
    for i, example in enumerate(data.examples):
        picture, truth = data.read(example)
        wrong = rng.random(truth.shape) < 0.02 * (i + 1)
        guess = np.where(wrong, (truth + 1) % classes, truth).astype(np.uint8)
        counts = confusion.confusion(truth, guess, num_classes=spec.num_classes, ignore_label=spec.ignore_label)
        stats.add(i, picture, truth, guess, counts)
    summary = {
        "split": "validation",
        "images": images,
        "model": "logs/model.keras",
        **confusion.summarize(stats.counts, spec.class_names, spec.ignore_label),
        "intervals": {**bootstrap.intervals(stats.pixel_counts), "rules": bootstrap.RULES},
        "boundary": stats.boundary(),
        "settings": {"tta": False},
        **extra,
    }
    flags = {"learning_rate": 0.0001, "arch": "fcn8s"}
    made = evaluation_page.build(summary, stats.counts, spec, best=stats.best, worst=stats.worst, flags=flags)
    return made.decode(), summary


class Outline(html.parser.HTMLParser):
    """Checks that tags close in order, and collects what a page would load."""

    VOID = {"meta", "img", "link", "br", "input"}

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.images = [], [], 0

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        self.images += tag == "img"
        self.loads += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


def test_the_page_is_whole_and_loads_nothing():
    text, _ = page()
    outline = Outline()
    outline.feed(text)
    assert not outline.open
    assert outline.images == 8 * 4  # the four worst and the four best, four pictures each
    assert all(re.match(r"data:image/(jpeg|png);base64,", each) for each in outline.loads)
    assert "http" not in text and "@import" not in text and "url(" not in text


def test_the_numbers_and_names_are_there():
    text, summary = page()
    low, high = summary["intervals"]["mean_iou"]
    assert f"<strong>{100 * summary['mean_iou']:.2f}</strong>" in text
    assert f"{100 * low:.2f} to {100 * high:.2f}" in text
    for row in summary["per_class"][:3]:
        assert f'data-value="{row["iou"]}"' in text and f">{100 * row['iou']:.2f}</td>" in text
    assert "road &lt;&amp;&gt; path" in text and "road <" not in text
    assert f"{100 * summary['boundary']['bf']:.2f}" in text
    for expected in ("--learning_rate", "0.0001", "logs/model.keras", "SceneParsing", "image10", "tta"):
        assert expected in text
    assert text.index("image10") < text.index("image0<")  # the worst come first
    assert 'id="comparison"' not in text


def test_a_class_without_a_value_has_none():
    text, _ = page()
    (row,) = re.findall(r'<tr class="absent"><td class="name" data-value="bench">.*?</tr>', text, re.S)
    assert 'data-value=""' in row and "–" in row


def test_classes_that_occur_nowhere_are_folded_away_and_no_part_of_the_matrix():
    spec = DatasetSpec("many", tuple(f"class {i}" for i in range(151)), ((9, 9, 9),) * 151)
    text, _ = page(spec, images=2)
    assert text.count('<tr class="absent">') == 148 and text.count('<tr><td class="name" data-value="class') == 3
    assert "show the 148 classes that occur neither in the ground truth nor in a prediction" in text
    (matrix,) = re.findall(r'<table class="matrix">.*?</table>', text, re.S)
    assert re.findall(r"<span>(.*?)</span>", matrix) == ["class 0", "class 1", "class 2"]
    assert len(re.findall(r'class="[^"]*diagonal"', matrix)) == 3
    assert "show the class that occurs neither" in page()[0]
    three = DatasetSpec("three", NAMES[:3], SPEC.colors[:3], 255)
    assert 'id="absent"' not in page(three)[0] and "that do not occur" not in page(three)[0]


def test_the_pictures_come_first_and_the_heads_say_that_they_sort():
    text, _ = page()
    order = [
        "<h1>",
        "mean IoU <strong>",
        "Worst images",
        "2 more",
        "Best images",
        "<h2>Scores</h2>",
        "<h2>Classes</h2>",
    ]
    places = [text.index(each) for each in order]
    assert places == sorted(places)
    assert "Click a head to sort by it" in text and "accu\u00adracy %" in text


def test_confusions_are_ordered():
    counts = np.array([[50, 10, 0], [30, 60, 5], [0, 0, 9]])
    spec = DatasetSpec("three", ("a", "b", "c"), ((0, 0, 0),) * 3)
    rows = evaluation_page._confusions(counts, spec)
    assert [(row["ground_truth"], row["prediction"], row["pixels"]) for row in rows] == [
        ("b", "a", 30),
        ("a", "b", 10),
        ("b", "c", 5),
    ]
    assert rows[0]["share"] == 30 / 95 and rows[0]["of_errors"] == 30 / 45


def test_many_classes_show_the_matrix_as_a_picture(monkeypatch):
    monkeypatch.setattr(evaluation_page, "_LARGEST_TABLE", 2)
    text, _ = page()
    assert '<table class="matrix">' not in text and 'src="data:image/png;base64,' in text


def test_an_ignored_class_is_no_row():
    spec = DatasetSpec("scenes", ("other", "wall", "sky"), ((0, 0, 0),) * 3, ignore_label=0)
    text, _ = page(spec)
    assert '<th class="name">wall</th>' in text and '<th class="name">other</th>' not in text


def test_a_comparison_is_told():
    comparison = {
        "other": "logs/old",
        "other_scored": "logs/old/model.keras",
        "mean_iou": 0.5,
        "other_mean_iou": 0.45,
        "difference": 0.05,
        "interval": [0.02, 0.08],
        "differs": True,
    }
    text, _ = page(comparison=comparison)
    assert "45.00 of logs/old/model.keras\n  (--compare=logs/old):" in text
    assert "The two runs differ." in text and "+5.00" in text and "(+2.00 to +8.00)" in text


@pytest.fixture
def browse(tmp_path):
    """Opens the report in a browser: (fragment, flags) -> (document afterwards, what the console said)."""
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    (tmp_path / "report.html").write_text(page()[0])

    def run(fragment="", *arguments):
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}/profile",
            "--enable-logging=stderr", "--virtual-time-budget=3000", *arguments, "--dump-dom",
            f"file://{tmp_path}/report.html{fragment}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
        console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
        return done.stdout, console

    return run


def rows_in(document):
    """The class names in the order of the sortable table."""
    (table,) = re.findall(r'id="classes".*?</table>', document, re.S)
    return re.findall(r'<td class="name" data-value="([^"]*)">', table)


@pytest.mark.browser
@pytest.mark.parametrize("fragment", ["", "#sort=iou", "#sort=-iou", "#sort=name", "#sort=nonsense"])
def test_the_table_sorts_in_a_browser(browse, fragment):
    document, console = browse(fragment)
    assert console == []
    _, summary = page()
    values = {row["name"].replace("&", "&amp;"): row["iou"] for row in summary["per_class"]}
    found = rows_in(document)
    names = [name.replace("&lt;", "<").replace("&gt;", ">") for name in found]
    if fragment == "#sort=name":
        assert names == sorted(names)
        assert 'data-key="name" aria-sort="ascending"' in document
    elif "iou" in fragment:
        assert names[-1] == "bench"  # no value: last, both ways
        scores = [values[name] for name in names[:-1]]
        assert scores == sorted(scores, reverse="-" in fragment)
    else:
        assert names == list(values)


@pytest.mark.browser
def test_a_phone_shows_every_column_and_a_box_shows_the_absent_classes(tmp_path, browse):
    path = tmp_path / "report.html"
    path.write_text(
        path.read_text().replace(
            "</body>",
            """<script>addEventListener("load", () => {
              document.body.style.width = "400px";
              const table = document.querySelector("#classes").parentElement;
              document.body.dataset.hidden = table.scrollWidth - table.clientWidth;
              const row = document.querySelector(".absent"), box = document.querySelector("#absent");
              document.body.dataset.before = row.offsetHeight;
              box.click();
              document.body.dataset.after = row.offsetHeight > 0;
            });</script></body>""",
        )
    )
    document, console = browse("", "--window-size=500,900")
    assert console == []
    assert 'data-hidden="0"' in document
    assert 'data-before="0"' in document and 'data-after="true"' in document


@pytest.mark.browser
def test_clicks_sort_and_pictures_load_in_a_browser(tmp_path, browse):
    path = tmp_path / "report.html"
    path.write_text(
        path.read_text().replace(
            "</body>",
            """<script>addEventListener("load", () => {
              const button = document.querySelector("[data-key=iou] button");
              button.click(); button.click();
              document.body.dataset.loaded = [...document.images].filter(each => each.naturalWidth > 0).length;
              document.body.dataset.overflow = document.documentElement.scrollWidth > innerWidth;
            });</script></body>""",
        )
    )
    document, console = browse("", "--window-size=500,900")
    assert console == []
    assert 'data-loaded="32"' in document and 'data-overflow="false"' in document
    assert 'data-key="iou" aria-sort="descending"' in document
