import shlex

import pytest

from jobs.terminal import console
from jobs.terminal.console import print_next_step, print_settings, progress_bar, stdout_console, table


def test_a_table_shows_every_cell(capsys: pytest.CaptureFixture[str]):
    stdout_console().print(table("a title", ("layer", "rows"), [(1, "1,000"), (12, "7")]))
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].strip() == "a title"
    assert [part in out for part in ("layer", "rows", "1,000", "12")] == [True] * 4


def test_decisions_stand_under_each_other(capsys: pytest.CaptureFixture[str]):
    print_settings(stdout_console(), {"model": "[red]dir[/red]", "runs on": "cpu"})
    assert capsys.readouterr().out == "model    [red]dir[/red]\nruns on  cpu\n"


def test_a_command_can_be_copied_however_long_it_is(capsys: pytest.CaptureFixture[str]):
    words = ["score", *["--input", "somewhere"] * 20, "--output", "[bold] my dir", 0.01]
    print_next_step(stdout_console(), *words)
    start, told = capsys.readouterr().out.rstrip("\n").split("next: ")
    assert (start, shlex.split(told)) == ("", ["fastbert-jobs", *map(str, words)])


def test_progress_is_on_standard_error(capsys: pytest.CaptureFixture[str]):
    with progress_bar(rate="rate") as bar:
        task = bar.add_task("score", total=10, rate="")
        bar.update(task, completed=10, rate="5 rows/s")
    out, err = capsys.readouterr()
    assert out == ""
    assert "score" in err
    assert "10/10" in err
    assert "5 rows/s" in err


def test_where_no_terminal_is_progress_is_a_line_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    now = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with progress_bar(rate="rate") as bar:
        task = bar.add_task("score", total=100, rate="")
        for done in range(0, 91):
            now[0] += 2.0
            bar.update(task, completed=done, rate=f"{done} rows/s")
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("score: ")]
    assert 2 <= len(lines) <= 4
    assert lines[0] == "score: 30 of 100, 30 rows/s"


def test_a_total_that_is_not_known_is_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    with progress_bar(rate="rate") as bar:
        task = bar.add_task("score", total=None, rate="")
        bar.update(task, completed=7)
    assert "7/?" in capsys.readouterr().err


def test_of_what_fails_no_bar_is_left_where_no_terminal_is(capsys: pytest.CaptureFixture[str]):
    def fail() -> None:
        with progress_bar(rate="rate") as bar:
            bar.add_task("score", total=10, rate="")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert capsys.readouterr().err == ""


NAMES = [
    "[/b]",
    "[bold]x[/bold]",
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "a\nb",
    "a\rb",
    "\u202egnirts",
    ":smile:",
    "é中",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_and_do_nothing(capsys: pytest.CaptureFixture[str], name: str):
    console = stdout_console()
    console.print(table(name, (name, "rows"), [(name, "7")]))
    print_settings(console, {"model": name})
    print_next_step(console, f"audit {name}")
    out = capsys.readouterr().out
    shown = name.encode("unicode_escape").decode() if not name.isprintable() else name
    assert out.count(shown) >= 4
    assert all(letter.isprintable() or letter == "\n" for letter in out)
