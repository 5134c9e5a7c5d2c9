"""Says which terms of a text speak for and against a label."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from closedloop.core.errors import Conflict, InputError
from closedloop.serve.http.explain_messages import ExplainRequest, ExplainResponse, TermOut
from closedloop.serve.model_host import Served

Run = Callable[[str, Callable[[], ExplainResponse]], Awaitable[ExplainResponse]]
_ALL_TERMS = 1_000_000
_SHOWN_LABELS = 20


class Contribution(Protocol):
    """What one term added to a label's score."""

    @property
    def term(self) -> str:
        """The term."""

    @property
    def score(self) -> float:
        """Above zero where it speaks for the label."""


@runtime_checkable
class Explainable(Protocol):
    """What explaining needs of a model."""

    classes: tuple[str, ...]

    @property
    def sees_terms_only(self) -> bool:
        """Whether the terms are all that it sees of a text."""

    def probabilities(self, texts: Sequence[str]) -> Any:
        """Return probabilities, shape (n, classes)."""

    def explain(self, text: str, label: str, *, most: int) -> Sequence[Contribution]:
        """Return what terms added to a label's score, the strongest first."""


class Explainer:
    """One replica's explanations; they leave no event.

    Parameters
    ----------
    mask : callable
        Replaces personal data in a text.
    run : callable
        Does a tenant's work in a thread.
    """

    def __init__(self, *, mask: Callable[[str], str], run: Run) -> None:
        self._mask = mask
        self._run = run

    async def explain(self, served: Served, request: ExplainRequest) -> ExplainResponse:
        """Explain a champion's answer.

        Raises
        ------
        InputError
            The model has no such label.
        Conflict
            The model has no terms to tell.
        """
        model, name = served.model, str(served.champion.ref)
        if not isinstance(model, Explainable):
            raise Conflict(
                f"The model {name!r} cannot be explained.",
                remedy="Ask a linear text model, such as those that 'closedloop run' trains.",
            )
        if request.label is not None and request.label not in model.classes:
            known = ", ".join(model.classes[:_SHOWN_LABELS])
            raise InputError(
                f"The model {name!r} has no label {request.label[:80]!r}.",
                remedy=f"It has {len(model.classes)} labels: {known}"
                + (", …" if len(model.classes) > _SHOWN_LABELS else "."),
            )
        # The terms of a long text take milliseconds; others are answered meanwhile.
        return await self._run(
            served.champion.ref.tenant, lambda: self._explained(model, served, request)
        )

    def _explained(
        self, model: Explainable, served: Served, request: ExplainRequest
    ) -> ExplainResponse:
        text = self._mask(request.text)
        shares = model.probabilities([text])[0]
        label = request.label or model.classes[int(shares.argmax())]
        terms = model.explain(text, label, most=_ALL_TERMS)
        supporting = [_out(each) for each in terms if each.score > 0]
        opposing = [_out(each) for each in terms if each.score < 0]
        return ExplainResponse(
            model=str(served.champion.ref),
            version=served.champion.version,
            label=label,
            confidence=float(shares[model.classes.index(label)]),
            supporting=supporting[: request.most],
            opposing=opposing[: request.most],
            complete=model.sees_terms_only,
        )


def _out(told: Contribution) -> TermOut:
    return TermOut(term=told.term, score=told.score)
