"""The drawings of a report: what `gc.draw` gives, as parts of one page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from graphc.errors import GraphcError
from graphc.show.draw import Drawing, draw
from graphc.show.html import Html, tag, together
from graphc.show.render import render
from graphc.show.report_facts import Facts

_SVG = "{http://www.w3.org/2000/svg}"
_TIP = "{http://www.w3.org/1999/xlink}title"
_KERNEL = re.compile(r"kernel (\d+)\b")


def drawings(facts: Facts) -> Html:
    """The kernels and the graph as it was written, one of which is seen, and what moves them."""
    views = ["kernels", "graph"] if facts.kernels else ["graph"]
    boxes, buttons = list[Html](), list[Html]()
    for view in views:
        name, is_first = f"drawing-{view}", not boxes
        try:
            drawing = draw(facts.function, view=view)
            assert isinstance(drawing, Drawing)
            inside = _inline(drawing, f"{view}-", facts)
        except GraphcError as error:  # no engine, or a graph that is too large
            inside = tag("pre", str(error))
        boxes.append(tag("div", inside, class_="drawing", id=name, hidden=not is_first))
        pressed = "true" if is_first else "false"
        buttons.append(
            tag("button", view, type="button", data_drawing=name, aria_pressed=pressed)
        )
    tools = [
        tag("span", *buttons),
        tag("input", type="search", id="search", placeholder="search", aria_label="search"),
        tag("output", id="found"),
        tag("button", "whole", type="button", id="whole"),
        tag("button", "+", type="button", id="closer", aria_label="closer"),
        tag("button", "-", type="button", id="further", aria_label="further away"),
    ]
    text = (
        "Drag to move, turn the wheel to zoom; Enter in the search goes to the next one that was"
        " found. A click on a kernel leads to its equations, code and cost."
    )
    return together([tag("p", text), tag("div", *tools, class_="tools"), *boxes])


def _inline(drawing: Drawing, prefix: str, facts: Facts) -> Html:
    """The SVG of a drawing as a part of a page: ids with a prefix of their own, tooltips as titles,
    and on each frame of a kernel the kernel's id."""
    root = ElementTree.fromstring(render(drawing.source, "svg", drawing.engine))
    names = {call.node: kernel.name for kernel in facts.function.kernels for call in kernel.calls}
    numbered = [names.get(node) for node in drawing.kernels]
    for style in root.findall(f"{_SVG}style"):  # its colours in the dark: the page has one style
        facts.styles.append(style.text or "")
        root.remove(style)
    for group in list(root.iter(f"{_SVG}g")):
        if "id" in group.attrib:
            group.set("id", prefix + group.get("id", ""))
        title = group.find(f"{_SVG}title")
        if title is not None:
            title.text = _tip(group) if group.get("class") in ("node", "cluster") else ""
            if not title.text:
                group.remove(title)
        if group.get("class") == "cluster":
            first = group.find(f".//{_SVG}text")
            found = _KERNEL.match(first.text or "") if first is not None else None
            number = int(found[1]) if found else 0
            if 0 < number <= len(numbered) and numbered[number - 1]:
                group.set("data-kernel", str(numbered[number - 1]))
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    return Html("".join(_written(root)))


def _tip(group: ElementTree.Element) -> str:
    """The tooltip of a mark, which Graphviz writes as an attribute of a link that leads nowhere."""
    return next((link.get(_TIP, "").strip() for link in group.iter(f"{_SVG}a")), "")


def _written(element: ElementTree.Element) -> Iterator[str]:
    """An element of SVG as HTML has it: without namespaces, and without links around marks."""
    name = element.tag.removeprefix(_SVG)
    children = [part for child in element for part in _written(child)]
    inside = together([element.text.strip() if element.text else "", *map(Html, children)])
    if name == "a":
        yield inside
        return
    plain = {key: value for key, value in element.attrib.items() if not key.startswith("{")}
    yield tag(name, inside, **plain)
