"""What the client returns: frozen records, made of the API's JSON."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """The keyword rule that decided about a text, and what to do."""

    id: str
    name: str
    act: str  # answer: say the value; intent: the value is the label; hand-over: to a person
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a model, or a rule before it, answered for one text."""

    prediction_id: str
    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]
    model: str
    version: int
    rule: Rule | None = None  # that decided


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """Answers in the order of the texts, all by one version."""

    model: str
    version: int
    predictions: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LineError:
    """Why a line of a stream has no answer."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamAnswer:
    """What became of one line of a stream: an answer or an error."""

    line: int  # place in the stream, from 1
    id: str | int | None  # as it was sent
    answer: Answer | None
    error: LineError | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnCandidate:
    """What a model answered for a turn, whether or not that was given."""

    model: str
    version: int
    label: str
    confidence: float
    prediction_id: str  # name it in feedback


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnStep:
    """One step on the way to a turn's answer: ``route``, ``rule``, ``model`` or ``fallback``."""

    step: str
    outcome: str
    model: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnAnswer:
    """The answer to a dialogue turn; ``label`` is None where it is the fallback."""

    decided_by: str  # model or fallback
    fallback: bool
    label: str | None
    confidence: float | None
    prediction_id: str | None  # name it in feedback
    model: str | None
    version: int | None
    rule_id: str | None
    rule: Rule | None  # that decided: what to say or do
    candidates: tuple[TurnCandidate, ...]  # the surest first
    steps: tuple[TurnStep, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """A term of a text and what it added to a label's score."""

    term: str
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """The terms that speak for and against a label, the strongest first."""

    model: str
    version: int
    label: str
    confidence: float
    supporting: tuple[Term, ...]
    opposing: tuple[Term, ...]
    complete: bool  # False where the model also sees the text in ways that are no terms


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How the replica that answered stands: ``ok``, ``degraded`` or ``starting``."""

    status: str
    models_serving: int
    models_failed: int
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """A model that the key reaches."""

    model: str
    champion: int
    serving: int | None
    problem: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SentEvent:
    """What became of an event: ``accepted``, ``duplicate`` or ``refused``."""

    status: str
    event_id: str | None
    reason: str | None
    remedy: str | None
