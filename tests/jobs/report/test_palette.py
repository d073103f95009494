from itertools import combinations

import pytest
from matplotlib.colors import to_rgb

from jobs.report.palette import CATEGORIES, COLOURS, INK, category, in_order


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, two):
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_placeholders_and_names_are_one_colour_s_each():
    assert (
        len({colour.drawn for colour in COLOURS}) == len({colour.name for colour in COLOURS}) == len(COLOURS)
    )


@pytest.mark.parametrize("colour", CATEGORIES, ids=lambda colour: colour.name)
def test_categories_stand_out_from_the_page(colour):
    assert contrast(colour.light, "#ffffff") > 2.8
    assert contrast(colour.dark, "#14171b") > 3


def test_ink_is_read():
    assert min(contrast(INK.light, "#ffffff"), contrast(INK.dark, "#14171b")) > 10


@pytest.mark.parametrize("number", [1, 2, 5, 12, 13, 25])
def test_what_is_ordered_has_a_colour_each(number):
    colours = [in_order(place, number) for place in range(number)]
    assert len({colour.name for colour in colours}) == number
    lights = [luminance(colour.light) for colour in colours]
    assert lights == sorted(lights)


def test_more_categories_begin_again():
    assert category(len(CATEGORIES)) is CATEGORIES[0]
    assert all(one != two for one, two in combinations(CATEGORIES, 2))
