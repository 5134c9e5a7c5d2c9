"""The loop as a picture: eight stations in a ring, each with its live figure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape
from itertools import pairwise
from typing import Any

import streamlit as st

from closedloop.ui.app.standing import Station

_WIDTH, _HEIGHT = 1080, 300
_BOX_W, _BOX_H = 216, 104
_COLUMNS_X = (12, 292, 572, 852)
_TOP_Y, _BOTTOM_Y = 12, 184
_STYLE = """
.cl-loop{width:100%;height:auto;font-family:inherit}
.cl-loop .box{fill:#fff;stroke:#d5d9d0;stroke-width:1.5}
.cl-loop .running .box{stroke:#0f6b5c;stroke-width:2.5}
.cl-loop .failed .box{stroke:#b3402e;stroke-width:2.5}
.cl-loop .title{font-size:15px;fill:#5b6661;font-weight:600}
.cl-loop .figure{font-size:30px;fill:#1d2623;font-weight:650}
.cl-loop .unit{font-size:13.5px;fill:#5b6661}
.cl-loop .way{fill:none;stroke:#8fa39b;stroke-width:2}
.cl-loop .note{font-size:13px;fill:#5b6661}
.cl-loop .lamp{fill:none}
.cl-loop .running .lamp{fill:#0f6b5c}
.cl-loop .failed .lamp{fill:#b3402e}
@media (prefers-reduced-motion:no-preference){
.cl-loop .running .lamp{animation:cl-pulse 1.4s infinite}}
@keyframes cl-pulse{50%{opacity:.25}}
"""
_SCRIPT = """
export default function ({ data, parentElement }) {
  let place = parentElement.querySelector("div.loop");
  if (!place) {
    place = document.createElement("div");
    place.className = "loop";
    parentElement.append(place);
  }
  if (place.shown !== data) {
    place.shown = data;
    place.innerHTML = data;
  }
}
"""


def loop_picture(stations: Sequence[Station]) -> str:
    """Return the loop as one SVG element with its style.

    Parameters
    ----------
    stations : sequence of 8 Station
        In the loop's order: the first four run along the top, the others back below.
    """
    places = [(x, _TOP_Y) for x in _COLUMNS_X] + [(x, _BOTTOM_Y) for x in reversed(_COLUMNS_X)]
    boxes = "".join(_box(station, x, y) for station, (x, y) in zip(stations, places, strict=True))
    spoken = ", ".join(f"{s.title}: {s.figure} {s.unit}" for s in stations)
    return (
        f"<style>{_STYLE}</style>"
        f'<svg class="cl-loop" viewBox="11 0 {_WIDTH - 22} {_HEIGHT}" role="img" '
        f'aria-label="The loop. {escape(spoken)}">'
        '<defs><marker id="cl-tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 10 5 0 10z" fill="#8fa39b"></path>'
        f"</marker></defs>{_ways()}{boxes}</svg>"
    )


def show_loop(stations: Sequence[Station]) -> None:
    """Draw the loop on the page; an unchanged picture is left alone."""
    _component()(key="loop", data=loop_picture(stations))


@cache
def _component() -> Any:
    # st.html refuses SVG. Every text in the picture was escaped above.
    return st.components.v2.component("closedloop_loop", js=_SCRIPT)


def _box(station: Station, x: int, y: int) -> str:
    return (
        f'<g class="{escape(station.state)}" data-station="{escape(station.key)}">'
        f'<rect class="box" x="{x}" y="{y}" width="{_BOX_W}" height="{_BOX_H}" rx="10"></rect>'
        f'<circle class="lamp" cx="{x + _BOX_W - 20}" cy="{y + 22}" r="6"></circle>'
        f'<text class="title" x="{x + 18}" y="{y + 27}">{escape(station.title)}</text>'
        f'<text class="figure" x="{x + 18}" y="{y + 63}">{escape(station.figure)}</text>'
        f'<text class="unit" x="{x + 18}" y="{y + 87}">{escape(station.unit)}</text></g>'
    )


def _ways() -> str:
    """Return the arrows: along the top, down, back along the bottom, and up to the labels."""
    ways = []
    for left, right in pairwise(_COLUMNS_X):
        start, end = left + _BOX_W + 4, right - 5
        ways.append(f"M{start} {_TOP_Y + _BOX_H // 2}H{end}")
        ways.append(f"M{right - 4} {_BOTTOM_Y + _BOX_H // 2}H{left + _BOX_W + 5}")
    last = _COLUMNS_X[-1]
    right_lane, left_lane = last + 150, last + 48
    ways.append(f"M{right_lane} {_TOP_Y + _BOX_H + 4}V{_BOTTOM_Y - 5}")  # labels → model
    first, gutter = _COLUMNS_X[0] + _BOX_W // 2, (_TOP_Y + _BOX_H + _BOTTOM_Y) // 2
    ways.append(
        f"M{first} {_BOTTOM_Y - 4}V{gutter + 12}Q{first} {gutter} {first + 12} {gutter}"
        f"H{left_lane - 12}Q{left_lane} {gutter} {left_lane} {gutter - 12}V{_TOP_Y + _BOX_H + 5}"
    )
    drawn = "".join(
        f'<path class="way" d="{way}" marker-end="url(#cl-tip)"></path>' for way in ways
    )
    middle = (_COLUMNS_X[1] + _COLUMNS_X[2] + _BOX_W) // 2
    return (
        f"{drawn}"
        f'<rect x="{middle - 172}" y="{gutter - 11}" width="344" height="22" fill="#fbfbf9"></rect>'
        f'<text class="note" x="{middle}" y="{gutter + 5}" text-anchor="middle">'
        "what users complained about is labelled and learned</text>"
    )
