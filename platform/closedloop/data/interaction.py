"""The interaction: one user turn with what became of it, the row that analysis is done on.

The ETL writes them to the lake table ``interactions`` from turns, predictions and feedback;
the cube is built over them, and slices are drawn from them.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),  # the prediction's, else the turn's
        pa.field("ts", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("channel", pa.string()),
        pa.field("dialogue_id", pa.string()),  # a session's derived id where the log had none
        pa.field("turn", pa.int32()),  # place in the dialogue, from 1
        pa.field("user_id", pa.string()),  # pseudonym
        pa.field("language", pa.string()),  # en, zh
        pa.field("text", pa.string()),  # masked
        pa.field("model", pa.string()),  # null where no model answered
        pa.field("model_version", pa.int32()),
        pa.field("intent", pa.string()),  # what the model answered
        pa.field("confidence", pa.float64()),
        pa.field("rule_id", pa.string()),
        pa.field("latency_ms", pa.float64()),
        pa.field("feedback", pa.string()),  # up, down: the user's last word on this answer
        pa.field("rephrased", pa.bool_(), nullable=False),  # the user said it again in other words
        pa.field("handover", pa.bool_(), nullable=False),  # the next turn asks for a human
        pa.field("abandoned", pa.bool_(), nullable=False),  # last of a dialogue left unsolved
        pa.field("low_confidence", pa.bool_(), nullable=False),
        pa.field("bad", pa.bool_(), nullable=False),  # thumbs down, or an implicit signal
        # Attributes of the turn that most assistants have, as columns of their own: filters on
        # them must not unpack a map.
        pa.field("merchant", pa.string()),
        pa.field("product", pa.string()),
        pa.field("region", pa.string()),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),  # the others
    ]
)
