from jobs.report.svg import inline_svg

SVG = b"""<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt" height="9pt"
 viewBox="0 0 9 9" version="1.1">
 <metadata>m</metadata><defs><style>* {fill: none}</style><path id="m1"/></defs>
 <g id="axes_1" clip-path="url(#p1)"><use xlink:href="#m1" style="fill: #000001; stroke: #000002"/></g>
 <defs><clipPath id="p1"/></defs>
 <text style="font-size: 10px; font-family: 'DejaVu Sans', sans-serif; fill: #000010">a &lt; b</text>
</svg>"""


def test_is_a_part_of_a_page():
    svg = inline_svg(SVG, "plot-1", "<what>\x1b")
    assert svg.startswith('<svg viewBox="0 0 9 9" role="img" aria-labelledby="plot-1-title">')
    assert r'<title id="plot-1-title">&lt;what&gt;\x1b</title>' in svg
    assert "xmlns" not in svg
    assert "metadata" not in svg
    assert "<style" not in svg
    assert "a &lt; b" in svg


def test_ids_are_its_own():
    svg = inline_svg(SVG, "plot-1", "")
    assert '<path id="plot-1-m1" />' in svg
    assert 'href="#plot-1-m1"' in svg
    assert 'clip-path="url(#plot-1-p1)"' in svg
    assert "axes_1" not in svg


def test_colours_and_letters_are_the_page_s():
    svg = inline_svg(SVG, "plot-1", "")
    assert 'style="fill: currentColor; stroke: var(--grid)"' in svg
    assert 'style="font-size: 10px; fill: var(--blue)"' in svg
