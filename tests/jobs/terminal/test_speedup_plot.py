from io import BytesIO

import pytest
from matplotlib import image

from jobs.terminal.speedup_plot import speedup_plot

CURVE = [(1.5, 1.52), (2.0, 1.98), (4.0, 4.1)]


@pytest.mark.parametrize("job", [None, (3.0, 2.9)])
@pytest.mark.parametrize("curve", [CURVE, []])
def test_is_a_picture(curve, job):
    picture = image.imread(BytesIO(speedup_plot(curve, job=job)))
    assert picture.shape[0] > 300
    assert picture.std() > 0.01


def test_the_job_is_on_it():
    pictures = [image.imread(BytesIO(speedup_plot(CURVE, job=job))) for job in ((3.0, 2.9), (3.0, 3.1))]
    assert (pictures[0] != pictures[1]).any()


def test_the_same_plot_is_the_same_bytes():
    assert speedup_plot(CURVE) == speedup_plot(CURVE)
