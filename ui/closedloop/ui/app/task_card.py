"""One annotation task on the screen: what is shown, and what the annotator did with it.

The card is drawn in the browser by ``task_card.js``, so that filtering hundreds of labels and
every key answer at once; Python hears only of acts. An act names the token of the task that
was on the screen: a key pressed twice answers one task, never the next one unseen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import streamlit as st

from closedloop.samples.annotation_task import LeasedTask

ActKind = Literal["label", "skip", "undo", "renew", "next"]

_HERE = Path(__file__).parent
_KINDS = ("label", "skip", "undo", "renew", "next")


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """What the annotator did on the card."""

    kind: ActKind
    token: str  # the task it was done to
    label: str = ""


def card_data(
    task: LeasedTask, labels: Sequence[str], *, can_undo: bool, now: float
) -> dict[str, Any]:
    """Return what the browser may know of a task.

    Only named fields are passed on: whatever else a workflow keeps in ``details`` (a simulated
    run keeps the true label for its annotators) stays on the server.

    Parameters
    ----------
    labels : sequence of str
        Labels to offer, in order; the first nine get number keys.
    can_undo : bool
        Whether there is an answer to take back.
    now : float
        Unix seconds. The browser gets the time that is left, since its clock may differ.
    """
    details = task.details
    return {
        "token": task.token,
        "text": task.text,
        "reason": task.reason,
        "suggestion": task.suggestion or "",
        "disliked": str(details.get("disliked answer") or ""),
        "cluster": details.get("cluster"),
        "keywords": _texts(details.get("keywords"))[:8],
        "neighbours": _texts(details.get("neighbours"))[:4],
        "language": str(details.get("language") or ""),
        "labels": list(labels),
        "can_undo": can_undo,
        "seconds_left": max(0.0, task.expires_at - now),
    }


def proposed_labels(task: LeasedTask) -> list[str]:
    """Return the labels that come with a task: its queue's list and its suggestion."""
    return [*_texts(task.details.get("labels")), *([task.suggestion] if task.suggestion else [])]


def read_act(value: object) -> Act | None:
    """Return the act that a browser sent, None where it sent nothing of use."""
    if not isinstance(value, Mapping) or value.get("kind") not in _KINDS:
        return None
    return Act(
        kind=cast(ActKind, value["kind"]),
        token=str(value.get("token", "")),
        label=str(value.get("label", "")),
    )


def task_card(
    task: LeasedTask,
    labels: Sequence[str],
    *,
    can_undo: bool,
    key: str,
    on_act: Callable[[], None],
) -> None:
    """Show a task; ``on_act`` runs when ``st.session_state[key].act`` holds an act."""
    _component()(
        key=key,
        data=card_data(task, labels, can_undo=can_undo, now=time.time()),
        on_act_change=on_act,
    )


@cache
def _component() -> Any:
    read = {part: (_HERE / f"task_card.{part}").read_text("utf-8") for part in ("css", "js")}
    return st.components.v2.component("closedloop_task_card", css=read["css"], js=read["js"])


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list | tuple) else []
