"""The cube as the Explore page asks it: opened once, and with values to suggest."""

from __future__ import annotations

import streamlit as st

from closedloop.core.errors import ClosedLoopError
from closedloop.data.cube.cube import Cube
from closedloop.data.cube.query import Query
from closedloop.data.lake import Lake
from closedloop.ui.app.services import services

_SUGGESTED = 200
_SUGGESTIONS_TTL_S = 300


@st.cache_resource(show_spinner="Opening the cube …")
def opened_cube() -> Cube:
    """Return the lake's cube, for all sessions; it follows refreshes by itself."""
    return Cube(Lake(services().settings.lake_url))


@st.cache_data(ttl=_SUGGESTIONS_TTL_S, max_entries=200, show_spinner=False)
def suggestions(field: str, lake_version: int) -> list[str]:
    """Return values to offer for a field: all of them, or the most frequent of many.

    Parameters
    ----------
    lake_version : int
        Of the cube; another one has other values.
    """
    cube = opened_cube()
    declaration = cube.declaration
    try:
        if field in declaration.indexed:
            # By the alphabet the first 200 of 20,000 would be those that nobody looks for.
            query = Query(by=(field,), order_by="-turns", limit=_SUGGESTED)
            values = cube.query(query).rows[field].to_list()
        elif field in ("month", "day"):
            days = cube.days
            values = list(days) if field == "day" else sorted({day[:7] for day in days})
        elif field == "hour":
            values = list(range(24))
        elif field in declaration.names:
            values = list(cube.values(field, limit=_SUGGESTED))
        else:
            return []
    except ClosedLoopError:
        return []  # a value can still be typed
    return [str(value) for value in values if value is not None]
