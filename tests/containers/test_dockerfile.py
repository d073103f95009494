"""The image, as far as it can be told without an engine to build it."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.contract.worker_environment import python_version
from tools.image_steps import DOCKERFILE, ROOT, CleanEnvironment, arguments, instructions, run_steps, stages

TEXT = DOCKERFILE.read_text()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CleanEnvironment]:
    """All stages, their steps run in clean virtual environments, nothing downloaded."""
    return run_steps(tmp_path_factory.mktemp("image"), offline=True)


def test_its_versions_are_those_of_this_project():
    values = arguments(TEXT)
    (beam,) = re.findall(r"^apache-beam==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert values["BEAM_VERSION"] == beam == version("apache-beam")
    project = (ROOT / "pyproject.toml").read_text()
    assert f'requires-python = ">={values["PYTHON_VERSION"]}"' in project
    assert f"Python :: {values['PYTHON_VERSION']}" in project
    launcher = f"python{values['PYTHON_VERSION'].replace('.', '')}-template-launcher-base"
    bases = [stage.base for stage in stages(TEXT)]
    assert bases == [
        f"apache/beam_python{values['PYTHON_VERSION']}_sdk:{beam}",
        f"gcr.io/dataflow-templates-base/{launcher}",
        f"python:{values['PYTHON_VERSION']}-slim",
        f"python:{values['PYTHON_VERSION']}-slim",
        "worker",
        "worker",
    ]


def test_each_version_stands_once():
    of_args = [each.rest for each in instructions(TEXT) if each.name == "ARG"]
    assert sum("2." in each or "3." in each for each in of_args) == 2
    elsewhere = [each.rest for each in instructions(TEXT) if each.name != "ARG"]
    assert not any(re.search(r"\d+\.\d+", each) for each in elsewhere)


def test_workers_are_booted_by_beam_and_templates_by_their_launcher():
    ends = {stage.name: stage.instructions[-1].rest for stage in stages(TEXT) if stage.instructions}
    assert ends["worker"] == '["/opt/apache/beam/boot"]'
    assert ends["template"] == '["/opt/google/dataflow/python_template_launcher"]'
    # What is built where no target is named.
    assert stages(TEXT)[-1].base == "worker"


def test_its_steps_work_in_a_clean_environment(image: dict[str, CleanEnvironment]):
    worker = image["worker"]
    assert worker.run("fastbert-jobs --version") == f"fastbert-jobs {version('fastbert-jobs')}\n"
    where = worker.run('python -c "import jobs, pipeline, model; print(jobs.__file__, model.__file__)"')
    assert all(path.startswith(str(worker.python.parents[1])) for path in where.split())
    if python_version() == arguments(TEXT)["PYTHON_VERSION"]:
        assert "score" in worker.run("fastbert-jobs --help")


def test_its_files_are_in_place(image: dict[str, CleanEnvironment]):
    worker = image["worker"]
    assert Path(worker.place("/opt/models")).is_dir()
    assert worker.environment["FASTBERT_JOBS_IMAGE_MODELS"] == "/opt/models"
    launch = worker.environment["FLEX_TEMPLATE_PYTHON_PY_FILE"]
    assert worker.place(launch).read_bytes() == (ROOT / "containers" / "launch.py").read_bytes()
    assert worker.run(f"python {worker.place(launch)} --command=score --help").startswith("Usage")


def test_what_is_copied_is_not_left_out_of_the_build():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source.partition("/")[0]
        for each in instructions(TEXT)
        if each.name == "COPY" and "--from" not in each.rest
        for source in each.rest.split()[:-1]
    }
    assert copied <= kept
    left_out = (ROOT / ".gcloudignore").read_text().split()
    assert not copied & set(left_out)


def test_a_step_that_fails_is_told(image: dict[str, CleanEnvironment]):
    with pytest.raises(RuntimeError, match="a reason"):
        image["worker"].run("echo a reason; false")
