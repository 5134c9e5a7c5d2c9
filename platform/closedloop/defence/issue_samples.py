"""From an issue to the annotation queue: its texts become tasks that are asked for first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from closedloop.core.errors import InputError
from closedloop.data.lake import Lake
from closedloop.defence.issues.issue import Issue
from closedloop.defence.issues.sighting import TypicalText
from closedloop.samples.annotation import AnnotationQueue
from closedloop.samples.annotation_task import NewTask
from closedloop.samples.normal_form import normalise
from closedloop.samples.slice_queue import Sent, known_texts

_PRIORITY = 2.0  # before all that is chosen at leisure
_REASON_CHARS = 300
_NEIGHBOURS = 4


def send_samples(
    issue: Issue,
    lake: Lake,
    queue: AnnotationQueue,
    *,
    model: str,
    most: int = 100,
    votes_needed: int = 1,
) -> Sent:
    """Queue an issue's texts for labelling; texts that differ in form alone count once.

    Parameters
    ----------
    issue : Issue
        With its samples, as `IssueBook.get` returns it.
    model : str
        Reference of the model that the labels are for, ``tenant.algorithm.name``.
    most : int
        Texts to send, at most.

    Returns
    -------
    Sent

    Raises
    ------
    InputError
        The model is another tenant's: what one tenant's users say never reaches another's model.
    """
    tenant, _, _ = model.partition(".")
    if tenant != issue.tenant:
        raise InputError(
            f"The issue is of {issue.tenant!r}, the model {model} of another tenant.",
            remedy=f"Choose a model of {issue.tenant!r}.",
        )
    texts = issue.sighting.samples or issue.sighting.typical
    known = set(map(normalise, known_texts(lake, queue, model)))
    fresh: dict[str, TypicalText] = {}
    passed: set[str] = set()
    for one in texts:
        form = normalise(one.text)
        if form in known:
            passed.add(form)
        elif len(fresh) < most:
            fresh.setdefault(form, one)
    tasks = [_task(issue, one, model) for one in fresh.values()]
    sent = queue.enqueue(model, tasks, votes_needed=votes_needed)
    return Sent(sent=sent, known=len(passed) + len(tasks) - sent, turns=len(texts))


def _task(issue: Issue, one: TypicalText, model: str) -> NewTask:
    answered = one.answer if one.model == model and one.answer else None
    typical = [other.text for other in issue.sighting.typical if other.text != one.text]
    details: dict[str, Any] = {
        "issue": issue.id,
        "asked_at": datetime.fromtimestamp(one.at, UTC).isoformat(),
        "keywords": list(issue.sighting.terms),
        "neighbours": typical[:_NEIGHBOURS],
    }
    if one.channel:
        details["channel"] = one.channel
    if one.answer and answered is None:
        details |= {"answered_by": one.model, "its_answer": one.answer}
    return NewTask(
        sample_id=one.event_id,
        text=one.text,
        reason=f"issue “{issue.title}”"[:_REASON_CHARS],
        suggestion=answered,
        priority=_PRIORITY,
        details=details,
    )
