import shutil

import pytest


@pytest.fixture
def directory(checkpoints, request, tmp_path):
    """A copy of a checkpoint, to be damaged."""
    return shutil.copytree(checkpoints[request.param], tmp_path / request.param)
