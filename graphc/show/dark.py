"""Pictures for dark pages: an SVG says its colours there too, by the same hues."""

from __future__ import annotations

import colorsys
import re

_COLOUR = re.compile(rb'\b(fill|stroke)="(#[0-9a-f]{6}|white|black)"')
_NAMED = {"white": "#ffffff", "black": "#000000"}
_DARKEST, _RANGE = 0.12, 0.8  # the lightness of what was white, and how much more black gets


def with_dark(svg: bytes) -> bytes:
    """`svg` with a style for pages whose readers prefer dark colours; other pictures on the page
    keep theirs."""
    found = sorted(set(_COLOUR.findall(svg)))
    rules = "".join(
        f'.graphc [{kind.decode()}="{colour.decode()}"]{{{kind.decode()}:{dark(colour.decode())}}}'
        for kind, colour in found
    )
    style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    opening = svg.index(b"<svg")
    end = svg.index(b">", opening) + 1
    marked = svg[opening:end].replace(b"<svg", b'<svg class="graphc"', 1)
    return svg[:opening] + marked + style.encode() + svg[end:]


def dark(colour: str) -> str:
    """A colour with its lightness turned around.

    >>> dark("#ffffff"), dark("black"), dark("#0072b2")
    ('#1f1f1f', '#ebebeb', '#48bdff')
    """
    text = _NAMED.get(colour, colour)
    red, green, blue = (int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    turned = colorsys.hls_to_rgb(
        hue, _DARKEST + _RANGE * (1 - lightness), saturation if lightness < 0.7 else saturation / 2
    )
    return "#" + "".join(f"{round(255 * part):02x}" for part in turned)
