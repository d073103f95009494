"""What `model` and `pipeline` name is there, and naming it is cheap."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("model", "pipeline")
HEAVY = ("torch", "transformers", "pyarrow", "apache_beam")


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def test_importing_the_packages_imports_nothing_heavy():
    loaded = run_python(
        "import sys, model, pipeline; dir(model), dir(pipeline), model.__all__, pipeline.__all__; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert loaded.strip() == "[]"


def test_a_star_import_gives_every_name():
    # Both in one process: each imports nearly all there is.
    found = "print(sorted(name for name in names if not name.startswith('_')))"
    printed = run_python(
        "\n".join(f"names = {{}}; exec('from {package} import *', names); {found}" for package in PACKAGES)
    )
    assert printed.splitlines() == [str(sorted(import_module(package).__all__)) for package in PACKAGES]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_is_the_object_of_its_module(package: str):
    module = import_module(package)
    for name, place in module._MODULES.items():
        assert getattr(module, name) is getattr(import_module(place), name)
        assert getattr(module, name).__module__ == place
        assert place.split(".")[0] == package


@pytest.mark.parametrize("package", PACKAGES)
def test_the_names_are_those_of_the_lazy_table(package: str):
    module = import_module(package)
    assert list(module.__all__) == sorted(module._MODULES)
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_is_not_there_is_an_ordinary_error(package: str):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = import_module(package).nothing
    assert not hasattr(import_module(package), "nothing")
