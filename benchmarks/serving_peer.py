"""The peer of the serving benchmark: FastAPI and uvicorn around the same pipelines.

What an engineer writes in an afternoon, and well: pydantic checks the body, the pipelines lie
in a dictionary, the handler runs on the event loop (a thread pool is slower for work this
short). No key, no masking, no events.
"""

from __future__ import annotations

import os

import joblib
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI()
models = joblib.load(os.environ["PEER_MODELS"])


class Question(BaseModel):
    """One text."""

    text: str


class Answer(BaseModel):
    """One label."""

    label: str


@app.post("/models/{name}/predict")
async def predict(name: str, question: Question) -> Answer:
    """Answer a text."""
    pipeline = models.get(name)
    if pipeline is None:
        raise HTTPException(404)
    return Answer(label=pipeline.predict([question.text])[0])
