"""The name of a model: ``tenant.algorithm.name``, for example ``retail.intent.service-desk``.

The same text names the model in the registry, in the serving URL, in events and as a queue of
annotation tasks, so its characters are those that all of them (and a file system) take as
they are: letters, Chinese characters, digits, ``-`` and ``_``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from closedloop.core.errors import InputError

MAX_PART_CHARS = 60
_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_PART = re.compile(rf"[A-Za-z0-9{_HAN}][A-Za-z0-9{_HAN}_-]{{0,{MAX_PART_CHARS - 1}}}")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class ModelRef:
    """Names one model; its versions are integers and its aliases live in the registry.

    Raises
    ------
    InputError
        A part is empty, too long or holds another character.

    Examples
    --------
    >>> ModelRef.parse("retail.intent.service-desk").tenant
    'retail'
    >>> str(ModelRef(tenant="零售", algorithm="intent", name="desk"))
    '零售.intent.desk'
    """

    tenant: str
    algorithm: str
    name: str

    def __post_init__(self) -> None:
        for what in ("tenant", "algorithm", "name"):
            part = getattr(self, what)
            if not _PART.fullmatch(part):
                raise InputError(
                    f"{part[:80]!r} cannot be the {what} of a model reference.",
                    remedy=f"Use 1 to {MAX_PART_CHARS} letters, digits, '-' or '_', beginning"
                    " with a letter or digit.",
                )

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Read ``tenant.algorithm.name``.

        Raises
        ------
        InputError
            The text does not have three valid parts.
        """
        parts = text.split(".")
        if len(parts) != 3:
            raise InputError(
                f"{text[:200]!r} is not a model reference.",
                remedy="Write it as tenant.algorithm.name, for example retail.intent.desk.",
            )
        return cls(tenant=parts[0], algorithm=parts[1], name=parts[2])

    def __str__(self) -> str:
        return f"{self.tenant}.{self.algorithm}.{self.name}"
