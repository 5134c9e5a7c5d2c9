"""The text classifier that the loop trains: linear, on three views of a text.

One-versus-rest linear support vector machines over the views of
:class:`~closedloop.samples.vectorise.TextVectoriser`, each view scaled by a weight that tuning
may choose. Scores become confidences by a temperature that is learned on out-of-fold scores, so
that "0.8" is right four times in five. It trains in seconds on two cores and answers in about a
millisecond.

This module imports neither MLflow nor Ray: serving loads it.

References
----------
Fan, R.-E. et al. (2008). LIBLINEAR: a library for large linear classification. JMLR 9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.special import softmax
from sklearn.svm import LinearSVC

from closedloop.core.errors import InputError, TooFewLabels
from closedloop.models.calibration import fit_temperature
from closedloop.models.folds import stratified_folds
from closedloop.models.prediction import Prediction
from closedloop.samples.vectorise import TextVectoriser, TextViews

STATE_FORMAT = 1
_CALIBRATION_FOLDS = 3
_ONE_FOLD_ABOVE_ROWS = 3_000  # there a single fold holds rows enough to learn one number
_MAX_ITER = 2_000
_NEVER = -10.0  # score of a class without a row; others lie around -1 and 1

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierParameters:
    """What tuning may choose."""

    c: float = 1.0  # inverse strength of the regularisation
    words_weight: float = 1.0
    characters_weight: float = 1.0
    latent_weight: float = 1.0
    semantic_weight: float = 2.0


class TextClassifier:
    """Linear classifier of short texts in any language.

    Parameters
    ----------
    parameters : ClassifierParameters, optional
    seed : int
        Of the solver and of the calibration folds.

    Examples
    --------
    >>> texts = ["where is my parcel", "parcel is late", "pay by card", "card was refused"]
    >>> model = TextClassifier().fit(texts, ["delivery", "delivery", "payment", "payment"])
    >>> model.predict_many(["my parcel"])[0].label
    'delivery'
    """

    def __init__(self, parameters: ClassifierParameters | None = None, *, seed: int = 0) -> None:
        self.parameters = parameters or ClassifierParameters()
        self.seed = seed
        self.classes: tuple[str, ...] = ()
        self.temperature = 1.0

    def fit(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        unlabelled: Sequence[str] = (),
        vectoriser: TextVectoriser | None = None,
    ) -> TextClassifier:
        """Learn from labelled texts.

        Parameters
        ----------
        texts, labels : sequence of str, length n
        unlabelled : sequence of str
            More texts of the log; they teach word weights and latent directions.
        vectoriser : TextVectoriser, optional
            A fitted one, where the caller has it already; ``unlabelled`` is then not used.

        Raises
        ------
        TooFewLabels
            When there are fewer than two classes.
        InputError
            When texts and labels differ in length.
        """
        if len(texts) != len(labels):
            raise InputError(
                f"{len(texts)} texts came with {len(labels)} labels.",
                remedy="Pass one label for each text.",
            )
        self.vectoriser = vectoriser or TextVectoriser(seed=self.seed).fit([*texts, *unlabelled])
        return self.fit_views(self.vectoriser.transform(texts), labels)

    def fit_views(
        self,
        views: TextViews,
        labels: Sequence[str],
        *,
        weights: npt.NDArray[np.floating] | None = None,
        calibrate: bool = True,
    ) -> TextClassifier:
        """Learn from texts that are vectorised already.

        Parameters
        ----------
        views : TextViews
            Of n texts.
        labels : sequence of str, length n
        weights : ndarray, shape (n,), optional
            How much each row's error costs; 1 for every row where it is left out.
        calibrate : bool
            Without calibration, confidences are not to be shown; scores rank as always.
        """
        self.classes = tuple(sorted(set(labels)))
        if len(self.classes) < 2:
            raise TooFewLabels(
                f"A classifier needs two classes; the {len(labels)} labels hold "
                f"{len(self.classes)}.",
                remedy="Label texts of another class.",
            )
        features = stack(views, self.parameters)
        number = {label: i for i, label in enumerate(self.classes)}
        targets = np.asarray([number[label] for label in labels])
        self.temperature = self._calibrate(features, targets) if calibrate else 1.0
        self._weights, self._bias = fit_linear(
            features,
            targets,
            len(self.classes),
            c=self.parameters.c,
            seed=self.seed,
            weights=weights,
        )
        return self

    def scores(self, views: TextViews) -> Scores:
        """Signed distances to each class's plane, shape (n, classes)."""
        scores = self._bias
        start = 0
        # View by view: for one text, laying them side by side costs more than the products.
        for view, weight in weighted(views, self.parameters):
            stop = start + view.shape[1]
            scores = scores + weight * (view @ self._weights[start:stop])
            start = stop
        return np.asarray(scores, dtype=np.float32)

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """Calibrated probabilities, shape (n, classes), columns as ``classes``."""
        return self.probabilities_of(self.vectoriser.transform(texts))

    def probabilities_of(self, views: TextViews) -> Scores:
        """Calibrated probabilities of texts that are vectorised already."""
        return np.asarray(softmax(self.scores(views) / self.temperature, axis=1))

    def predict_many(self, texts: Sequence[str], *, top: int = 3) -> list[Prediction]:
        """Answer texts.

        Parameters
        ----------
        texts : sequence of str
            An empty text is answered too, with the confidence that it deserves.
        top : int
            How many labels to name in each answer.
        """
        if not texts:
            return []
        probabilities = self.probabilities(texts)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, : max(1, top)]
        answers = []
        for row, order in zip(probabilities, best, strict=True):
            ranked = tuple((self.classes[i], float(row[i])) for i in order)
            answers.append(Prediction(label=ranked[0][0], confidence=ranked[0][1], top=ranked))
        return answers

    def state(self) -> dict[str, Any]:
        """Return the model as plain values and arrays, for a model file."""
        return {
            "format": STATE_FORMAT,
            "parameters": asdict(self.parameters),
            "seed": self.seed,
            "classes": list(self.classes),
            "temperature": float(self.temperature),
            "weights": self._weights,
            "bias": self._bias,
            "vectoriser": self.vectoriser.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TextClassifier:
        """Rebuild a model from :meth:`state`.

        Raises
        ------
        InputError
            When the state was written by another, incompatible release.
        """
        found = state.get("format") if isinstance(state, Mapping) else None
        if found != STATE_FORMAT:
            raise InputError(
                f"The model has format {found!r}; this release reads {STATE_FORMAT}.",
                remedy="Train the model again with this release.",
            )
        model = cls(ClassifierParameters(**state["parameters"]), seed=state["seed"])
        model.classes = tuple(state["classes"])
        model.temperature = state["temperature"]
        model._weights = state["weights"]
        model._bias = state["bias"]
        model.vectoriser = TextVectoriser.from_state(state["vectoriser"])
        return model

    def _calibrate(self, features: sp.csr_matrix, targets: npt.NDArray[np.intp]) -> float:
        """Learn the temperature on scores of rows that the scoring model has not seen."""
        folds = stratified_folds(targets, _CALIBRATION_FOLDS, seed=self.seed)
        used = 1 if len(targets) > _ONE_FOLD_ABOVE_ROWS else _CALIBRATION_FOLDS
        scores, truth = [], []
        for fold in range(used):
            held, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            # A class whose only rows are held out has no plane: it cannot be judged here.
            held = held[np.isin(targets[held], targets[rest])]
            if len(held) == 0 or len(np.unique(targets[rest])) < 2:
                continue
            weights, bias = fit_linear(
                features[rest],
                targets[rest],
                len(self.classes),
                c=self.parameters.c,
                seed=self.seed,
            )
            scores.append(features[held] @ weights + bias)
            truth.append(targets[held])
        if not scores:
            return 1.0
        return fit_temperature(np.vstack(scores), np.concatenate(truth))


def weighted(
    views: TextViews, parameters: ClassifierParameters
) -> tuple[tuple[sp.csr_matrix | Scores, float], ...]:
    """Return each view with its weight, in the order of the classifier's features."""
    return (
        (views.words, parameters.words_weight),
        (views.characters, parameters.characters_weight),
        (views.latent, parameters.latent_weight),
        (views.semantic, parameters.semantic_weight),
    )


def stack(views: TextViews, parameters: ClassifierParameters) -> sp.csr_matrix:
    """Scale the views by their weights and lay them side by side."""
    blocks = [sp.csr_matrix(view * weight) for view, weight in weighted(views, parameters)]
    return sp.hstack(blocks, format="csr", dtype=np.float32)


def fit_linear(
    features: sp.csr_matrix,
    targets: npt.NDArray[np.intp],
    classes: int,
    *,
    c: float,
    seed: int,
    weights: npt.NDArray[np.floating] | None = None,
) -> tuple[Scores, Scores]:
    """Fit one plane a class; a class without a row gets a plane that never wins.

    Returns
    -------
    planes : ndarray of float32, shape (features, classes)
        In this order a product with one text reads only its own features' rows.
    bias : ndarray of float32, shape (classes,)
    """
    machine = LinearSVC(C=c, dual=True, max_iter=_MAX_ITER, random_state=seed, tol=1e-3)
    machine.fit(features, targets, sample_weight=weights)
    coefficients, intercepts = machine.coef_, machine.intercept_
    if len(machine.classes_) == 2:  # scikit-learn keeps one plane for two classes
        coefficients = np.vstack([-coefficients, coefficients])
        intercepts = np.concatenate([-intercepts, intercepts])
    planes = np.zeros((features.shape[1], classes), dtype=np.float32)
    bias = np.full(classes, _NEVER, dtype=np.float32)
    planes[:, machine.classes_] = coefficients.T
    bias[machine.classes_] = intercepts
    return planes, bias
